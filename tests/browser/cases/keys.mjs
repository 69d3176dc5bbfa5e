// The organisation changes its keys while customers have chats open. Last: pages that were built before know the old keys.

import assert from 'node:assert/strict';
import { Team } from '../lib/agents.mjs';
import { test } from '../lib/cases.mjs';
import { until } from '../lib/vault.mjs';

/** Beside the page stands what `give` was told last; `asked` counts how often it was fetched. */
async function webServer(visitor, body) {
  const server = { asked: 0, give: (next) => (body = next) };
  await visitor.context.route('**/org.json', (route) => {
    server.asked += 1;
    return route.fulfill({ body, contentType: 'application/json' });
  });
  return server;
}

const codes = (page) => page.$$eval('.alert code', (found) => found.map((one) => one.textContent));

test('a change of keys: the page takes over what the old keys signed and nothing else, and the chat goes on', { agents: true, time: 300_000 }, async (visitor, demo) => {
  const team = await Team.found(demo, 'keys', 'Keys');
  const runa = await team.hire('runa', 'Runa Dahl');
  await runa.start();
  const { page } = visitor;
  const server = await webServer(visitor, await team.org());
  await visitor.visit();
  await page.check('.topic input[value=keys]');
  await visitor.agree();
  const conversation = await runa.accept();
  await visitor.write('Before the change');
  await runa.hear((line) => line.message?.text === 'Before the change');
  runa.tell({ send: { text: 'All well' }, conversation });
  await visitor.see('All well');
  await page.waitForFunction(() => /^Verified by/.test(document.querySelector('.status').textContent));
  const safety = await page.textContent('.safety');
  assert.deepEqual(await codes(page), []);

  const head = () => page.textContent('.status');

  // The relay has the new org.json first; the web server goes on with the older one.
  await team.rotate();
  const asked = server.asked;
  await page.waitForSelector('.alert code:text-is("revocations_refused")');
  await until(() => server.asked >= asked + 2);
  assert.deepEqual(await codes(page), ['revocations_refused'], 'the older one takes no warning back');
  assert.match(await head(), /^Verified by/, 'under the keys that are in force here, that is so');

  // One that the old keys did not sign is refused, and what was there stays in force.
  server.give(await team.foreign());
  await page.waitForSelector('.alert code:text-is("wrong_root")');
  await page.waitForSelector('.alert .problem-what:text("different organisations. This org.json was not accepted.")');
  await visitor.checkAccess();
  await visitor.write('Under the old keys');
  await visitor.state('Under the old keys', 'waiting', 'sent');

  // Nobody who is certified under the old key alone stands under a shield once the new one is known here.
  server.give(await team.org());
  await page.waitForSelector('.alert.clear:has-text("from Demo Shop is verified here again")');
  await page.waitForSelector('.alert.lapsed');
  assert.deepEqual(await codes(page), [], 'what was told of the older one is taken back');
  assert.equal(await head(), 'No longer verified');
  assert.equal(await page.$('.head .icon-shield'), null);
  assert.equal(await page.$('.readers .tag'), null);
  await visitor.write('In between');
  await visitor.state('In between', 'waiting');
  await visitor.checkAccess();

  await team.install('runa');
  await runa.hear((line) => line.certificate);
  for (const text of ['Under the old keys', 'In between']) {
    await runa.pick((line) => line.message?.text === text);
    await visitor.state(text, 'delivered', 'read');
  }
  runa.tell({ send: { text: 'Here again' }, conversation });
  await visitor.see('Here again');
  await page.waitForSelector('.alert.clear:has-text("Runa Dahl is verified by Demo Shop")');
  await page.waitForSelector('.alert.lapsed', { state: 'detached' });
  assert.match(await head(), /^Verified by/);
  await page.waitForSelector('.head .icon-shield');
  assert.equal(await page.textContent('.safety'), safety, 'the devices are the same');
  await visitor.checkAccess();
  await page.click('.alert.clear >> nth=0 >> button');
  await page.click('.alert.clear button');
  await page.waitForSelector('.alert.clear', { state: 'detached' });

  // The older one does not come back, and a chat under the new keys has nothing to say of it.
  await page.reload();
  await visitor.see('Here again');
  await page.waitForFunction(() => /^Verified by/.test(document.querySelector('.status').textContent));
  await visitor.write('After a reload');
  await visitor.state('After a reload', 'delivered', 'read');
  assert.equal(await page.$('.alert'), null);
});

test('a page of another organisation than the chat service: said in the page\'s language, once, and org.json is asked for again', { agents: true, browser: { locale: 'de' } }, async (visitor, demo) => {
  const team = await Team.found(demo, 'ours', 'Ours');
  const { page } = visitor;
  const others = await team.foreign('demo');
  const server = await webServer(visitor, others);
  await visitor.context.route('**/config.json', (route) => route.fulfill({ json: { root: JSON.parse(others).root, demo: false } }));
  await visitor.visit();
  await page.click('.consent button[type=submit]');
  await page.waitForSelector('.alert code:text-is("consent_missing")');
  const words = /Zustimmung zum Datenschutzhinweis nicht angenommen\..*Laden Sie die Seite neu.*Ursache: der Chat-Dienst/;
  assert.match(await page.textContent('.alert:has(code:text-is("consent_missing"))'), words);
  await visitor.checkAccess();
  // Once the company's server has what the chat service has, that is said as well; what was said before stands once.
  server.give(await team.org());
  await page.waitForSelector('.alert code:text-is("wrong_root")');
  // The list of the chat service's own organisation, if it has one, is refused here as well.
  const said = (await codes(page)).filter((code) => code !== 'revocations_refused');
  assert.deepEqual(said.sort(), ['consent_missing', 'wrong_root']);
});

test('a tab that gets the chat back does not come with an older organisation than the other tab knew', { agents: true }, async (visitor, demo) => {
  const team = await Team.found(demo, 'tabs', 'Tabs');
  const { page: first } = visitor;
  const server = await webServer(visitor, await team.org());
  await visitor.visit();
  await first.check('.topic input[value=tabs]');
  await visitor.agree();
  await visitor.write('From the first tab');
  const second = await visitor.tab();
  await second.goto(demo.page);
  await second.click('.screen .primary');
  await visitor.see('From the first tab', second);

  await Team.found(demo, 'later', 'Later');
  server.give(await team.org());
  await second.click('.head .back');
  await second.waitForSelector('.topic input[value=later]');
  await second.close();
  await first.waitForSelector('.composer textarea, .refusal');
  assert.equal(await first.$('.refusal'), null);
  await visitor.see('From the first tab');
});
