// With agents that do what the test says: waiting, typing, nobody who accepts, the safety number on both sides.

import assert from 'node:assert/strict';
import { Team } from '../lib/agents.mjs';
import { test } from '../lib/cases.mjs';
import { OBEDIENT, insideWorker, tellWorker } from '../lib/worker.mjs';

/** Opens the page with the team's topic chosen, and agrees. */
async function ask(visitor, team) {
  await team.introduce(visitor);
  await visitor.visit();
  await visitor.page.check(`.topic input[value=${team.id}]`);
  await visitor.agree();
}

test('typing shows on both sides; who can read and the safety number are the same on both', { agents: true }, async (visitor, demo) => {
  const team = await Team.found(demo, 'desk', 'Help desk');
  const nora = await team.hire('nora', 'Nora Lind');
  const { page } = visitor;
  await ask(visitor, team);
  await page.waitForSelector('.hint');
  assert.match(await page.textContent('.hint'), /in the queue/);
  await visitor.write('Is somebody there?');
  await visitor.state('Is somebody there?', 'waiting');
  await visitor.checkAccess();

  await nora.start();
  await page.waitForSelector('.status .icon-shield');
  assert.equal(await page.textContent('.who h1'), 'Nora Lind');
  assert.match(await page.textContent('.status'), /^Assigned by Demo Shop/);
  const conversation = await nora.accept();
  await nora.hear((line) => line.message?.text === 'Is somebody there?');
  await visitor.state('Is somebody there?', 'delivered', 'read');
  // Typing is told now or never, so both sides have to be there.
  await page.waitForFunction(() => /^Verified by/.test(document.querySelector('.status').textContent));

  await page.focus('.composer textarea');
  await page.keyboard.type('I am');
  await nora.hear((line) => line.typing?.on === true);
  await page.keyboard.press('Enter');
  await nora.hear((line) => line.typing?.on === false);

  await visitor.state('I am', 'delivered', 'read');
  await visitor.settle();
  await page.evaluate(() => {
    globalThis.arrived = [];
    document.addEventListener('animationstart', ({ animationName, target }) => {
      if (animationName === 'arrive') globalThis.arrived.push(target.querySelector('.text')?.textContent ?? 'typing');
    });
  });
  nora.tell({ typing: { on: true }, conversation });
  await page.waitForSelector('.typing');
  assert.equal(await page.textContent('.typing .vh'), 'Nora Lind is typing');
  await visitor.checkAccess();
  nora.tell({ typing: { on: false }, conversation });
  await page.waitForSelector('.typing', { state: 'detached' });
  nora.tell({ typing: { on: true }, conversation });
  await page.waitForSelector('.typing');
  nora.tell({ send: { text: 'Good morning' }, conversation });
  await visitor.see('Good morning');
  assert.equal(await page.$('.typing'), null, 'a message ends the typing');
  await visitor.settle();
  assert.deepEqual((await page.evaluate(() => globalThis.arrived)).filter((one) => one !== 'typing'), ['Good morning'], 'nothing older arrives again');

  nora.tell({ verify: {}, id: 'v' });
  const { verified } = await nora.hear((line) => line.id === 'v' && line.verified);
  const digits = (text) => text.replace(/\D/g, '');
  assert.equal(digits(await page.textContent('.safety')), digits(verified.safety_number));
  assert.equal(verified.readers.length, 2);
  const readers = await page.$$eval('.readers .reader', (found) => found.map((one) => one.textContent));
  assert.equal(readers.length, 2);
  assert.ok(readers.some((text) => text.startsWith('You, on this device')));
  assert.ok(readers.some((text) => /Nora Lindverified@nora · is answering you/.test(text)), readers.join(' / '));
});

test('nobody accepts: the customer is asked before a further person can read, and says who', { agents: true, time: 180_000 }, async (visitor, demo) => {
  const team = await Team.found(demo, 'night', 'Night shift');
  const [ada, bo, cem] = [await team.hire('ada', 'Ada'), await team.hire('bo', 'Bo'), await team.hire('cem', 'Cem')];
  const { page } = visitor;
  const named = (name) => page.waitForFunction((wanted) => document.querySelector('.who h1')?.textContent === wanted, name);
  const asked = '.hint.ask button';
  await ada.start();
  await ask(visitor, team);
  await named('Ada');
  await visitor.write('Hello?');
  // She goes without accepting: the first further person is asked by the relay.
  await ada.stop();
  await bo.start();
  await named('Bo');
  assert.equal(await page.$(asked), null, 'once is automatic');
  // He lets the time pass.
  await page.waitForSelector(asked, { timeout: 60_000 });
  assert.match(await page.textContent('.hint.ask'), /Anyone else who is asked will be able to read what you wrote/);
  await visitor.checkAccess();
  await cem.start();
  // Whatever the relay would have made of his coming is here before that.
  await visitor.write('Anybody?');
  await visitor.state('Anybody?', 'sent', 'delivered');
  assert.equal(await page.textContent('.who h1'), 'Bo', 'nobody is named without the click');
  await page.click(asked);
  await named('Cem');
  await page.waitForSelector(asked, { state: 'detached' });
  const conversation = await cem.accept();
  await cem.hear((line) => line.message?.text === 'Hello?');
  cem.tell({ send: { text: 'Here I am' }, conversation });
  await visitor.see('Here I am');
  const before = await page.$$eval('[aria-labelledby=readers-before] .reader bdi:first-child', (found) => found.map((one) => one.textContent));
  assert.deepEqual(before.filter((one) => !one.startsWith('@')).sort(), ['Ada', 'Bo'], 'who could have read before is listed');
});

test('a message below the screen counts as read once it is scrolled to', { agents: true }, async (visitor, demo) => {
  const team = await Team.found(demo, 'scroll', 'Scroll');
  const agent = await team.hire('pia', 'Pia');
  await agent.start();
  const { page } = visitor;
  await ask(visitor, team);
  const conversation = await agent.accept();
  const long = 'A text that takes several lines. '.repeat(40);
  for (let n = 1; n <= 6; n++) agent.tell({ send: { text: `${n} ${long}`.trim() }, conversation });
  agent.tell({ send: { text: 'last before' }, conversation, id: 'before' });
  const { done } = await agent.hear((line) => line.id === 'before' && line.done);
  await agent.hear((line) => line.receipt?.state === 'read' && line.receipt.message === done.message);
  await page.hover('.log');
  await page.mouse.wheel(0, -900);
  await visitor.below('>', 150);
  // The page hears of it with the frame that shows it.
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve))));
  agent.tell({ send: { text: 'below the screen' }, conversation, id: 'below' });
  const below = await agent.hear((line) => line.id === 'below' && line.done);
  await page.waitForSelector('.below');
  const [edge, shadow] = await page.$eval('.below', (button) => {
    const { borderTopStyle, boxShadow } = getComputedStyle(button);
    return [borderTopStyle, boxShadow];
  });
  assert.ok(edge === 'solid' && shadow !== 'none', 'it stands out from the text below it');
  await agent.hear((line) => line.receipt?.state === 'delivered' && line.receipt.message === below.done.message);
  await page.mouse.wheel(0, 5000);
  await agent.hear((line) => line.receipt?.state === 'read' && line.receipt.message === below.done.message);
});

test('a notice that changed since the page was loaded: nothing was opened, and the next chat shows the new one', { agents: true }, async (visitor, demo) => {
  const team = await Team.found(demo, 'legal', 'Legal');
  const ida = await team.hire('ida', 'Ida Ott');
  await ida.start();
  const { page } = visitor;
  await team.introduce(visitor);
  await visitor.visit();
  await page.check('.topic input[value=legal]');
  const before = await page.textContent('.notice-text');
  await team.notice('From now on something else holds.');
  try {
    await page.click('.consent button[type=submit]');
    await page.waitForSelector('.ended');
    assert.match(await page.textContent('.alert'), /The privacy notice has changed/);
    assert.equal(await page.$('.composer'), null, 'nothing waits in a queue that is none');
    await visitor.checkAccess();
    await team.introduce(visitor);
    // Without being loaded again.
    await page.click('.ended .primary');
    await page.waitForFunction(() => document.querySelector('.notice-text')?.textContent === 'From now on something else holds.');
    await page.check('.topic input[value=legal]');
    await visitor.agree();
    await page.waitForSelector('.status .icon-shield');
    await visitor.write('Now then');
    await visitor.state('Now then', 'sent', 'delivered', 'read');
  } finally {
    // Other visitors have the page as it was built.
    await team.notice(before);
  }
});

test('whoever answers is told what language the customer reads', { agents: true, browser: { locale: 'fi-FI' } }, async (visitor, demo) => {
  const team = await Team.found(demo, 'suomi', 'Suomi');
  const aino = await team.hire('aino', 'Aino Laine');
  await aino.start();
  await ask(visitor, team);
  const { assigned } = await aino.hear((line) => line.assigned?.topic === 'suomi');
  assert.equal(assigned.language, 'fi-FI');
});

test('a revoked agent stands under no shield, and nothing takes the banner away', { agents: true }, async (visitor, demo) => {
  const team = await Team.found(demo, 'lapse', 'Lapse');
  const otto = await team.hire('otto', 'Otto Berg');
  await otto.start();
  const { page } = visitor;
  await insideWorker(visitor, OBEDIENT);
  await ask(visitor, team);
  const conversation = await otto.accept();
  otto.tell({ send: { text: 'Good morning' }, conversation });
  await visitor.see('Good morning');
  await page.waitForSelector('.status .icon-shield');
  await page.waitForSelector('.readers .tag');

  await team.revoke('otto');
  const stands = async () => {
    await page.waitForSelector('.alert.lapsed[role=alert]');
    assert.match(await page.textContent('.alert.lapsed'), /^Otto Berg is no longer verified by Demo Shop\./);
    assert.deepEqual(await page.$$eval('.alert.lapsed button', (all) => all.map((one) => one.textContent)), ['Start a new chat']);
    const listed = await page.$$eval('.panel [aria-labelledby=readers-now] .reader', (all) => all.length);
    assert.equal(listed, await page.$('.panel') ? 1 : 0, 'who is cut off can read nothing more');
    assert.equal(await page.textContent('.status'), 'No longer verified');
    assert.equal(await page.$('.head .icon-shield'), null);
    assert.equal(await page.$('.readers .tag'), null);
    assert.equal(await page.textContent('.readers .caution'), 'No longer verified: nothing is sent to this device');
    assert.equal(await page.$('.alert code:text-is("certificate_revoked")'), null, 'it is not said twice');
  };
  await stands();
  await tellWorker(page, { problems: ['statement_refused', 'bad_frame', 'clock', 'relay_restored', 'unavailable', 'set_aside'] });
  await stands();
  const whole = page.viewportSize();
  for (const size of [{ width: 390, height: 844 }, { width: 844, height: 390 }]) {
    await page.setViewportSize(size);
    // However much is said, one can write. Both are measured in one layout: the panel goes as the window gets narrower.
    await page.waitForFunction(
      (width) => {
        const [talk, send] = ['.talk', '.composer'].map((part) => document.querySelector(part).getBoundingClientRect().bottom);
        return innerWidth === width && !document.querySelector('.panel') && send <= talk + 1;
      },
      size.width,
    );
  }
  await page.setViewportSize(whole);
  await visitor.write('Are you there?');
  await visitor.state('Are you there?', 'waiting');
  await visitor.checkAccess();
  await page.reload();
  await visitor.see('Good morning');
  await stands();
  await page.click('.panel-actions button');
  await page.click('.confirm .primary');
  // What was written has a moment to leave, which is said; and then that it never did.
  await page.waitForFunction(() => document.querySelector('.status').textContent === 'Ending the chat…');
  assert.ok(await page.isDisabled('.panel-actions button'));
  await page.waitForSelector('.ended');
  await visitor.state('Are you there?', 'undelivered');
  assert.equal(await page.$('.alert.lapsed'), null, 'nothing is asked of whoever has ended it');
  assert.equal(await page.$('.status .icon-shield'), null);
});
