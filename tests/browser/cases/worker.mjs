// What the page keeps when the vault, the clock, another tab or a cache fail beneath it.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Team } from '../lib/agents.mjs';
import { test } from '../lib/cases.mjs';
import { scratch } from '../lib/scratch.mjs';
import { damage, noted, records, setGeneration, until } from '../lib/vault.mjs';
import { OBEDIENT, insideWorker, tellWorker } from '../lib/worker.mjs';

/** A record of the transcript. */
const MESSAGE = 0x80;
const TEN_YEARS = 10 * 365 * 24 * 60 * 60_000;
/** Large enough to be under way for a while. */
const LARGE = 24 * 1024 * 1024;

/** Begins to send a large file; answers while it is being encrypted. */
async function attachLarge(visitor) {
  const path = join(await scratch(), 'large.bin');
  await writeFile(path, randomBytes(LARGE));
  await visitor.page.setInputFiles('input[type=file]', path);
  await visitor.page.waitForFunction(() => document.querySelector('.message[data-state=saving] progress')?.value > 0);
}

async function retry(visitor) {
  await visitor.page.click('.failed .quiet');
  await visitor.page.waitForFunction(
    () => [...document.querySelectorAll('.message.mine:has(.file)')].some((one) => ['sent', 'delivered', 'read'].includes(one.dataset.state)),
    undefined,
    { timeout: 90_000 },
  );
  assert.equal((await visitor.page.$$('.message.mine:has(.file)')).length, 1);
}

test('a file under way when the vault fails comes back to be tried again', { time: 180_000 }, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  await visitor.write('Before');
  await visitor.state('Before', 'read');
  await attachLarge(visitor);
  const generation = await setGeneration(page, 1_000_000);
  await page.waitForSelector('.failed', { timeout: 60_000 });
  assert.match(await page.textContent('.failed'), /This device could not store the chat/);
  await setGeneration(page, generation);
  await retry(visitor);
});

test('a file under way when another tab takes over comes back to be tried again', { time: 180_000 }, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  await visitor.write('Before');
  await visitor.state('Before', 'read');
  const second = await visitor.tab();
  await second.goto(visitor.demo.page);
  await second.waitForSelector('.screen .primary');
  await attachLarge(visitor);
  await second.click('.screen .primary');
  await page.waitForSelector('.screen h1');
  await second.close();
  await page.waitForSelector('.failed');
  assert.match(await page.textContent('.failed'), /opened in another tab before this was stored/);
  await retry(visitor);
});

test('an alarm stands: no lesser notice, no button and no reload takes it away', {}, async (visitor) => {
  await insideWorker(visitor, OBEDIENT);
  await visitor.enter();
  const { page } = visitor;
  await visitor.write('Before');
  await visitor.see('You said: Before');
  await noted(page, () => tellWorker(page, { problems: ['fork', 'unavailable', 'rate_limited', 'relay_restored', 'no_prekeys', 'equivocation'] }));
  const alarm = async () => {
    await page.waitForSelector('.alert:has(code:text-is("fork"))');
    const found = await page.$$('.alert:has(code:text-is("fork"))');
    assert.equal(found.length, 1);
    assert.match(await found[0].textContent(), /do not see the same/);
    assert.equal(await found[0].$('button'), null);
  };
  await alarm();
  await page.click('.alert button');
  await alarm();
  await page.reload();
  await visitor.see('You said: Before');
  await alarm();
  await visitor.checkAccess();
  // It belongs to its chat, and goes with it.
  await page.click('.panel-actions button');
  await page.click('.confirm .primary');
  await page.waitForSelector('.ended');
  await alarm();
  await page.click('.panel-actions button');
  await page.click('.confirm .primary');
  await page.waitForSelector('.consent');
  await page.reload();
  await visitor.agree();
  assert.equal(await page.$('.alert'), null);
});

test('what the chat and the page say alike stands once, in the chat and before it, and goes by one click', {}, async (visitor) => {
  await insideWorker(visitor, OBEDIENT);
  await visitor.enter();
  const { page } = visitor;
  await tellWorker(page, { problems: ['consent_missing'], problemsOfPage: ['consent_missing', 'clock'] });
  await page.waitForSelector('.alert code:text-is("clock")');
  const codes = () => page.$$eval('.alert code', (found) => found.map((one) => one.textContent));
  assert.deepEqual(await codes(), ['consent_missing', 'clock']);
  assert.match(await page.textContent('.alert'), /Cause: the chat service/, 'the page always sends a consent');
  await page.click('.back');
  await page.waitForSelector('.consent .alert');
  assert.deepEqual(await codes(), ['consent_missing', 'clock']);
  await page.click('.alert button');
  assert.deepEqual(await codes(), ['clock']);
});

for (const code of ['bad_receipt', 'statement_refused']) {
  test(`an alarm stands as well: ${code}`, {}, async (visitor) => {
    await insideWorker(visitor, OBEDIENT);
    await visitor.enter();
    const { page } = visitor;
    await visitor.write('Before');
    await visitor.see('You said: Before');
    await noted(page, () => tellWorker(page, { problems: [code] }));
    await page.waitForSelector('.alert');
    await page.reload();
    await visitor.see('You said: Before');
    await page.waitForSelector('.alert');
    const found = await page.$$('.alert');
    assert.equal(found.length, 1);
    assert.match(await found[0].textContent(), new RegExp(`do not see the same.*${code}`));
    assert.equal(await found[0].$('button'), null);
  });
}

test('a damaged message is said, and hides no other', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  await visitor.write('One');
  await visitor.see('You said: One');
  await visitor.write('Two');
  await visitor.see('You said: Two');
  await visitor.state('Two', 'read');
  await damage(page, MESSAGE);
  await page.reload();
  await page.waitForSelector('.alert');
  assert.match(await page.textContent('.alert'), /damaged and cannot be shown/);
  assert.equal((await visitor.texts()).length, 3);
  await visitor.write('Three');
  await visitor.see('You said: Three');
});

/** Until the worker has done what it had begun, and the vault what it was asked for. */
async function idle(page) {
  for (let n = 0; n < 2; n++) {
    await tellWorker(page, { unreadable: false });
    await records(page);
  }
  assert.deepEqual((await page.evaluate(() => navigator.locks.query())).pending, [], 'nobody waits for the chat');
}

test('an error of the page itself stays on the screen', {}, async (visitor) => {
  await insideWorker(visitor, OBEDIENT);
  await visitor.enter();
  const { page } = visitor;
  await visitor.write('Before');
  await visitor.state('Before', 'read');
  await tellWorker(page, { unreadable: true });
  await setGeneration(page, 1_000_000);
  await visitor.write('Lost');
  await page.waitForSelector('.refusal');
  await idle(page);
  assert.match(await page.textContent('.refusal'), /Something went wrong on this page/, 'neither "in another tab" nor a new start');
});

test('an error while the vault is driven is not covered by "in another tab", and begins nothing anew', {}, async (visitor) => {
  await insideWorker(visitor, OBEDIENT);
  await visitor.enter();
  const { page } = visitor;
  await tellWorker(page, { wrong: true });
  await page.waitForSelector('.screen h1');
  // The lock is given back when the worker ends what it drove; a new start would ask for it again.
  await until(async () => (await page.evaluate(() => navigator.locks.query())).held.length === 0);
  await idle(page);
  assert.match((await page.textContent('.screen')) ?? '', /Something went wrong on this page/);
});

test('a vault that does not open is never passed over for a new one', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  await visitor.write('Before');
  await visitor.see('You said: Before');
  await insideWorker(visitor, `IDBFactory.prototype.open = () => { throw new DOMException('the disk does not answer', 'UnknownError'); };`);
  await page.reload();
  await page.waitForSelector('.refusal, .consent');
  assert.match(await page.textContent('.screen'), /did not open the chat/);
  assert.match(await page.textContent('.refusal'), /vault_unopened/);
  await visitor.context.unroute('**/worker-*.js');
  await page.reload();
  await visitor.see('You said: Before');
});

test('a clock that was wrong for a while spoils nothing', {}, async (visitor) => {
  await insideWorker(visitor, OBEDIENT);
  await visitor.enter();
  const { page } = visitor;
  await visitor.write('Before');
  await visitor.see('You said: Before');
  await tellWorker(page, { shift: TEN_YEARS });
  await visitor.write('In ten years');
  await visitor.see('You said: In ten years');
  await tellWorker(page, { shift: 0 });
  await visitor.write('And back');
  await visitor.see('You said: And back');
  await page.reload();
  await visitor.see('You said: And back');
  await visitor.write('After a reload');
  await visitor.see('You said: After a reload');
});

test('an older org.json from some cache is refused, and never opened with', { agents: true }, async (visitor, demo) => {
  const older = await readFile(join(demo.data, 'admin/org.json'), 'utf8');
  const team = await Team.found(demo, 'cached', 'Cached');
  await team.introduce(visitor);
  await insideWorker(visitor, OBEDIENT);
  await visitor.enter();
  const { page } = visitor;
  await visitor.write('Before');
  await visitor.state('Before', 'read');
  await visitor.context.route('**/org.json', (route) => route.fulfill({ body: older, contentType: 'application/json' }));
  // A leap of the clock makes the worker ask for the time, and with it for org.json.
  await tellWorker(page, { shift: 60_000 });
  await page.focus('.composer textarea');
  await page.keyboard.type('begun');
  await page.waitForSelector('.alert');
  assert.match(await page.textContent('.alert'), /org_refused/);
  const generation = await setGeneration(page, 1_000_000);
  await page.keyboard.press('Enter');
  await page.waitForSelector('.failed, .refusal');
  await setGeneration(page, generation);
  await page.click('.failed .quiet');
  await visitor.see('You said: begun');
});
