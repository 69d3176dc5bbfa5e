// What survives: messages, drafts, failed sends; and what is never stored in the clear.

import assert from 'node:assert/strict';
import { test } from '../lib/cases.mjs';
import { noted, sealedNotes, setGeneration, setSession, until, withVault } from '../lib/vault.mjs';
import { insideWorker } from '../lib/worker.mjs';

test('reload without loss: messages, states and the draft are there again', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  await visitor.write('Before the reload');
  await visitor.see('You said: Before the reload');
  await noted(page, () => page.fill('.composer textarea', 'half a sent'));
  const before = await visitor.texts();
  await page.reload();
  await visitor.see('You said: Before the reload');
  assert.deepEqual(await visitor.texts(), before);
  assert.equal(await page.inputValue('.composer textarea'), 'half a sent');
  await visitor.state('Before the reload', 'delivered', 'read');
  await visitor.write('After the reload');
  await visitor.see('You said: After the reload');
});

test('nothing that was written is stored in the clear', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  await visitor.write('canary-0f3a-message');
  await visitor.see('You said: canary-0f3a-message');
  await noted(page, () => page.fill('.composer textarea', 'canary-0f3a-draft'));
  const found = await withVault(page, async (db, ask) => {
    let text = JSON.stringify({ ...localStorage });
    let records = 0;
    let readable = false;
    for (const store of db.objectStoreNames) {
      for (const value of await ask(db.transaction(store).objectStore(store).getAll())) {
        records += 1;
        const walk = (item) => {
          if (item instanceof Uint8Array) text += String.fromCharCode(...item);
          else if (item instanceof CryptoKey) readable ||= item.extractable;
          else if (typeof item === 'object' && item) Object.values(item).forEach(walk);
          else text += String(item);
        };
        walk(value);
      }
    }
    return { records, readable, canary: text.includes('canary-0f3a') };
  });
  assert.ok(found.records > 10, 'the vault is in IndexedDB');
  assert.equal(found.canary, false);
  assert.equal(found.readable, false, 'the wrapping key cannot be exported');
});

test('a send that cannot be stored keeps its text and succeeds on a retry', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  await visitor.write('This is stored');
  await visitor.see('You said: This is stored');
  await visitor.state('This is stored', 'read');
  const generation = await setGeneration(page, 1_000_000);
  await visitor.write('This is not');
  await page.waitForSelector('.message[data-state=failed] .failed');
  assert.match(await page.textContent('.failed'), /This device could not store the chat/);
  await setGeneration(page, generation);
  await page.click('.failed .quiet');
  await visitor.see('You said: This is not');
  assert.equal((await visitor.texts()).filter((text) => text === 'This is not').length, 1);
});

test('what was not sent before the chat ended cannot be tried again there', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  await visitor.write('This is stored');
  await visitor.state('This is stored', 'read');
  const generation = await setGeneration(page, 1_000_000);
  await visitor.write('This is not');
  await page.waitForSelector('.message[data-state=failed] .failed');
  const offered = () => page.$$eval('.failed button', (found) => found.map((one) => one.textContent));
  assert.deepEqual(await offered(), ['Try again', 'Discard']);
  await setGeneration(page, generation);
  await page.click('.panel-actions button');
  await page.click('.confirm .primary');
  await page.waitForSelector('.ended');
  assert.deepEqual(await offered(), ['Discard']);
  assert.match(await page.textContent('.message[data-state=failed]'), /This is not/);
});

test('where the browser stores nothing, the chat works in memory and says so', { browser: { blocked: true } }, async (visitor) => {
  await visitor.enter();
  await visitor.page.waitForSelector('.banner');
  assert.match(await visitor.page.textContent('.banner'), /kept only until you close this tab/);
  await visitor.write('In memory');
  await visitor.see('You said: In memory');
  assert.deepEqual(await visitor.texts(), ['In memory', 'You said: In memory']);
});

/**
 * For insideWorker: tells what becomes of the notes. A long text is not sealed before `release` is said, and after
 * `deaf` the worker hears of no notes any more, as if the page had gone.
 */
const WATCHED = `{
  const channel = new BroadcastChannel('notes');
  let release;
  const released = new Promise((resolve) => (release = resolve));
  let deaf = false;
  channel.onmessage = ({ data }) => {
    if (data === 'release') release();
    if (data === 'deaf') deaf = true;
  };
  let sent = false;
  self.addEventListener('message', (event) => {
    if (event.data.type === 'send') sent = true;
    if (event.data.type !== 'notes') return;
    if (deaf && sent) event.stopImmediatePropagation();
    else channel.postMessage('heard');
  });
  const encrypt = crypto.subtle.encrypt;
  crypto.subtle.encrypt = async function (...given) {
    if (given[2].byteLength > 1000) {
      channel.postMessage('sealing');
      await released;
    }
    return encrypt.apply(crypto.subtle, given);
  };
  const put = IDBObjectStore.prototype.put;
  IDBObjectStore.prototype.put = function (...given) {
    if (given[1] === 'notes') this.transaction.addEventListener('complete', () => channel.postMessage('stored ' + given[0].text.byteLength));
    return put.apply(this, given);
  };
  const abort = IDBTransaction.prototype.abort;
  IDBTransaction.prototype.abort = function () {
    channel.postMessage('refused');
    abort.call(this);
  };
}`;

/** What {@link WATCHED} tells from now on; `told` waits until `holds` answers true of it. */
async function watchNotes(page) {
  await page.evaluate(() => {
    const channel = new BroadcastChannel('notes');
    globalThis.notes = [];
    channel.onmessage = ({ data }) => globalThis.notes.push(data);
    globalThis.sayOfNotes = (what) => channel.postMessage(what);
  });
  return {
    say: (what) => page.evaluate((said) => globalThis.sayOfNotes(said), what),
    told: async (holds) => {
      let notes;
      await until(async () => holds((notes = await page.evaluate(() => globalThis.notes))));
      return notes;
    },
  };
}

test('a tab that lost the vault leaves the notes of the one that has it alone', {}, async (visitor) => {
  await insideWorker(visitor, WATCHED);
  await visitor.enter();
  const { page } = visitor;
  await noted(page, () => page.fill('.composer textarea', 'mine'));
  const before = await sealedNotes(page);
  assert.ok(before.length > 0);
  const session = await setSession(page, 'of another tab');
  const notes = await watchNotes(page);
  await page.fill('.composer textarea', 'not mine any more');
  await notes.told((one) => one.some((what) => what === 'refused' || what.startsWith('stored')));
  assert.deepEqual(await sealedNotes(page), before);
  await setSession(page, session);
  // It would have been written.
  await noted(page, () => page.fill('.composer textarea', 'mine again'));
});

test('of two drafts the later one is kept, however long the first one takes', {}, async (visitor) => {
  await insideWorker(visitor, WATCHED);
  await visitor.enter();
  const { page } = visitor;
  const notes = await watchNotes(page);
  await page.fill('.composer textarea', 'long '.repeat(400));
  await notes.told((one) => one.includes('sealing'));
  await page.fill('.composer textarea', 'short');
  await notes.told((one) => one.filter((what) => what === 'heard').length === 2);
  await notes.say('release');
  const stored = (one) => one.filter((what) => what.startsWith('stored'));
  const [, last] = stored(await notes.told((one) => stored(one).length === 2));
  assert.ok(Number(last.split(' ')[1]) < 1000, last);
});

for (const [length, text] of [['short', 'Only once'], ['long', 'Only once, and long. '.repeat(100).trim()]]) {
  test(`a ${length} text leaves the draft by the step that makes it a message, however soon the page goes`, {}, async (visitor) => {
    await insideWorker(visitor, WATCHED);
    await visitor.enter();
    const { page } = visitor;
    const notes = await watchNotes(page);
    // The worker hears of no notes after the text itself: what it stored by then is what a reload finds.
    await notes.say('deaf');
    await visitor.write(text);
    if (length === 'long') await notes.told((one) => one.includes('sealing'));
    await notes.say('release');
    await visitor.see(`You said: ${text}`);
    await page.reload();
    await visitor.see(`You said: ${text}`);
    assert.equal(await page.inputValue('.composer textarea'), '');
    assert.equal((await visitor.texts()).filter((one) => one === text).length, 1);
  });
}

test('whoever leaves in the moment of Enter finds no draft of what was sent', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  await page.fill('.composer textarea', 'Sent and gone');
  // Nothing is drawn in between.
  await page.evaluate(() => {
    document.querySelector('.composer textarea').dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }));
    dispatchEvent(new PageTransitionEvent('pagehide'));
  });
  await visitor.see('You said: Sent and gone');
  await page.reload();
  await visitor.see('You said: Sent and gone');
  assert.equal(await page.inputValue('.composer textarea'), '');
});

test('a browser that does not list its databases stores nothing before the person agrees, and finds the chat again', {}, async (visitor) => {
  await insideWorker(visitor, 'delete IDBFactory.prototype.databases;');
  await visitor.visit();
  const { page } = visitor;
  await page.waitForSelector('.consent');
  assert.deepEqual(await page.evaluate(() => indexedDB.databases()), []);
  await visitor.agree();
  await page.waitForSelector('.status .icon-shield');
  await visitor.write('Kept');
  await visitor.see('You said: Kept');
  await page.reload();
  await visitor.see('You said: Kept');
});
