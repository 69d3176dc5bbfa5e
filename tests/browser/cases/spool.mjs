// Ciphertext of attachments in the vault's spool: it goes when nothing needs it any more, and not before.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { SAVE, attach, choose, delivered, save } from '../lib/attachments.mjs';
import { test } from '../lib/cases.mjs';
import { leaveSpools, session, setGeneration, setSession, spooled, until } from '../lib/vault.mjs';
import { OBEDIENT, SLOW_KEY, insideWorker, tellWorker } from '../lib/worker.mjs';

/** Several pieces. */
const BYTES = randomBytes(300_123);
/** Four of them. */
const AT_ONCE = 4 * 32 * 1024;
/** Transfers before and behind all others. */
const [FIRST, LAST] = ['0'.repeat(32), 'f'.repeat(32)];

const hasSome = (page) => until(async () => (await spooled(page)).length > 0);
const isEmpty = (page) => until(async () => (await spooled(page)).length === 0);

/** A chat whose file only the relay has. */
async function enterWithFile(visitor) {
  await insideWorker(visitor, OBEDIENT);
  await visitor.enter();
  await attach(visitor, 'invoice.bin', BYTES);
  await visitor.page.reload();
  await visitor.page.waitForSelector(SAVE);
  await visitor.page.waitForSelector('.status .icon-shield');
}

/** Fetches the file; answers when all came that is asked for at once, and the worker has heard of no piece that it is stored. */
async function fetchHeld(visitor) {
  const { page } = visitor;
  await tellWorker(page, { held: true });
  await page.click(SAVE);
  await page.waitForFunction((most) => document.querySelector('.file progress')?.value >= most, AT_ONCE);
  await hasSome(page);
}

/** No step can be stored, so that the engine is dropped; answers what lets the next one work. */
async function breakVault(visitor) {
  const generation = await setGeneration(visitor.page, 1_000_000);
  await visitor.write('Not stored');
  await visitor.page.waitForSelector('.failed');
  return () => setGeneration(visitor.page, generation);
}

/** As if another tab had taken the vault over, before this one hears of it; the lock stays with that one. */
async function anotherTab(page) {
  await page.evaluate(async () => {
    const [{ name }] = (await navigator.locks.query()).held;
    void navigator.locks.request(name, () => new Promise(() => {}));
  });
  await setSession(page, 'of another tab');
}

test('a page that is closed while a file is encrypted leaves nothing of it', {}, async (visitor) => {
  await insideWorker(visitor, OBEDIENT);
  await visitor.enter();
  const { page } = visitor;
  await tellWorker(page, { held: true });
  await choose(visitor, 'invoice.bin', BYTES);
  await hasSome(page);
  await page.reload();
  await page.waitForSelector('.composer textarea');
  assert.deepEqual(await spooled(page), []);
});

test('a page that is closed while an attachment is fetched leaves nothing of it', {}, async (visitor) => {
  await enterWithFile(visitor);
  const { page } = visitor;
  await fetchHeld(visitor);
  await page.reload();
  await page.waitForSelector('.composer textarea');
  assert.deepEqual(await spooled(page), []);
});

test('an attachment that is fetched when the vault fails leaves nothing behind', {}, async (visitor) => {
  await enterWithFile(visitor);
  const { page } = visitor;
  await fetchHeld(visitor);
  const mend = await breakVault(visitor);
  await mend();
  await isEmpty(page);
});

test('an attachment that is fetched when its chat is deleted leaves nothing behind', { time: 180_000 }, async (visitor) => {
  await enterWithFile(visitor);
  const { page } = visitor;
  await fetchHeld(visitor);
  for (const shown of ['.ended', '.consent']) {
    await page.click('.panel-actions button');
    await page.click('.confirm .primary');
    await page.waitForSelector(shown);
  }
  await tellWorker(page, { held: false });
  // Behind whatever the worker may still have had to write.
  await visitor.agree();
  await page.waitForSelector('.status .icon-shield');
  await attach(visitor, 'another.bin', BYTES);
  await isEmpty(page);
});

test('an upload keeps its spool when the engine opens again, and what nobody needs before and behind it goes', {}, async (visitor) => {
  visitor.expect(/WebSocket connection to|ERR_INTERNET_DISCONNECTED/);
  await visitor.enter();
  const { page } = visitor;
  await visitor.context.setOffline(true);
  await page.waitForSelector('.banner.link');
  await choose(visitor, 'invoice.bin', BYTES);
  await page.waitForSelector('.message[data-state=waiting] .file');
  const [upload, ...others] = await spooled(page);
  assert.deepEqual(others, []);
  await leaveSpools(page, [FIRST, LAST]);
  const mend = await breakVault(visitor);
  await mend();
  await until(async () => (await spooled(page)).length === 1);
  assert.deepEqual(await spooled(page), [upload]);
  await visitor.context.setOffline(false);
  await delivered(visitor, 'invoice.bin');
  await isEmpty(page);
});

test('a tab that loses the vault while it opens it leaves the spool of the one that has it alone', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  await insideWorker(visitor, SLOW_KEY);
  const before = await session(page);
  await page.reload();
  await until(async () => (await session(page)) !== before);
  // It has read what is needed.
  await anotherTab(page);
  await leaveSpools(page, [LAST]);
  await tellWorker(page, { key: true });
  await page.waitForSelector('.composer textarea, .screen h1');
  assert.equal(await page.$('.screen code'), null, 'that is no error');
  assert.deepEqual(await spooled(page), [LAST]);
});

test('a tab that lost the vault, and has not heard of it, drops nothing that the other one fetches', {}, async (visitor) => {
  await enterWithFile(visitor);
  const { page } = visitor;
  await fetchHeld(visitor);
  await anotherTab(page);
  await save(visitor, () => tellWorker(page, { held: false }));
  assert.equal((await spooled(page)).length, 1);
});
