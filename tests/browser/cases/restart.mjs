// The relay dies, or the whole demo, and comes back. Last, since it ends the demo: a second start goes on with the same
// data.

import assert from 'node:assert/strict';
import { test } from '../lib/cases.mjs';
import { until } from '../lib/vault.mjs';
import { OBEDIENT, insideWorker, tellWorker } from '../lib/worker.mjs';

const LOST = /WebSocket connection to/;
/** The page tries again at growing intervals, ms. */
const BACK = 120_000;

test('relay restart: what is written meanwhile is kept, and delivered afterwards', { restarts: true, time: 15 * 60_000 }, async (visitor, demo) => {
  visitor.expect(LOST);
  await visitor.enter();
  await visitor.write('Before the crash');
  await visitor.see('You said: Before the crash');
  await demo.killRelay();
  await visitor.page.waitForSelector('.banner.link');
  await visitor.write('While it is down');
  await visitor.state('While it is down', 'waiting');
  await demo.start();
  await visitor.see('You said: While it is down', visitor.page, BACK);
  await visitor.page.waitForSelector('.banner.link', { state: 'detached' });
  const texts = await visitor.texts();
  assert.deepEqual(texts, ['Before the crash', 'You said: Before the crash', 'While it is down', 'You said: While it is down']);
});

test('"Try now" connects at once, in the middle of a pause', { restarts: true, time: 15 * 60_000 }, async (visitor, demo) => {
  visitor.expect(LOST);
  await insideWorker(visitor, OBEDIENT);
  await visitor.enter();
  const { page } = visitor;
  await visitor.write('Before the crash');
  await visitor.see('You said: Before the crash');
  // The pause after this loss does not end by itself.
  await tellWorker(page, { asleep: true });
  await demo.killRelay();
  await page.waitForSelector('.banner.link[data-link=offline]');
  await visitor.write('While it is down');
  await visitor.state('While it is down', 'waiting');
  await visitor.checkAccess();
  await demo.start();
  await page.getByRole('button', { name: 'Try now' }).focus();
  await page.keyboard.press('Enter');
  await page.waitForSelector('.banner.link', { state: 'detached' });
  // The focus does not get lost with the button.
  await page.waitForFunction(() => document.activeElement.matches('.log'));
  await visitor.see('You said: While it is down');
});

test('relay down from the start: the page says so and does not claim a queue; the first message leaves later', { restarts: true, time: 15 * 60_000 }, async (visitor, demo) => {
  visitor.expect(LOST);
  await visitor.visit();
  const { page } = visitor;
  await page.waitForSelector('.consent');
  await demo.killRelay();
  await visitor.agree();
  // One can write at once.
  await page.waitForFunction(() => document.activeElement === document.querySelector('.composer textarea'));
  await page.waitForSelector('.banner.link');
  assert.match(await page.textContent('.banner.link'), /Connecting to the chat service\. What you write is kept here/);
  assert.equal(await page.$('.hint'), null, 'nobody has queued it');
  await visitor.write('Is this thing on?');
  await visitor.state('Is this thing on?', 'waiting');
  await visitor.checkAccess();
  await demo.start();
  await visitor.see('You said: Is this thing on?', page, BACK);
  await page.waitForSelector('.banner.link', { state: 'detached' });
  assert.match(await page.title(), /Chat with Demo Shop$/);
});

test('kill -9 of the demo: relay and agent end with it, and the next start goes on', { restarts: true, time: 15 * 60_000 }, async (visitor, demo) => {
  visitor.expect(LOST);
  await visitor.enter();
  await visitor.write('Before the kill');
  await visitor.see('You said: Before the kill');
  assert.equal((await demo.programs()).length, 2);
  await demo.kill();
  // Relay and agent end with it.
  await until(async () => (await demo.programs()).length === 0);
  await demo.start();
  await visitor.write('After the kill');
  await visitor.see('You said: After the kill', visitor.page, BACK);
});
