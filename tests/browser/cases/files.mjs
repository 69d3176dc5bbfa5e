// Attachments: up, down, byte for byte; and what is shown of them.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Team } from '../lib/agents.mjs';
import { SAVE, SLOW, attach, choose, delivered, save } from '../lib/attachments.mjs';
import { test } from '../lib/cases.mjs';
import { onDisk } from '../lib/private-files.mjs';
import { scratch } from '../lib/scratch.mjs';
import { ASKING_TWICE, FULL_ONCE, insideWorker } from '../lib/worker.mjs';

/** A picture of one pixel. */
const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);

/** Of the relay's configuration, which the demo does not change, bytes. */
const ALLOWED = 100 * 1024 * 1024;

/** The buttons of a message that failed. */
const offered = (page) => page.$$eval('.message[data-state=failed] button', (found) => found.map((one) => one.textContent));

test('attachment: up, and back down from the relay, byte for byte', {}, async (visitor) => {
  await visitor.enter();
  const bytes = randomBytes(300_123);
  await attach(visitor, 'invoice 4821.bin', bytes);
  await visitor.see('You sent: invoice 4821.bin');
  // After a reload the page has nothing of the file but what the relay holds.
  await visitor.page.reload();
  await visitor.see('You sent: invoice 4821.bin');
  const saved = await save(visitor);
  assert.equal(saved.name, 'invoice 4821.bin');
  assert.ok(saved.bytes.equals(bytes));
});

test('pictures are shown only when their bytes are of a picture; SVG and HTML never are', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  await attach(visitor, 'dot.png', PNG);
  await page.waitForSelector('img.picture');
  assert.match(await page.getAttribute('img.picture', 'src'), /^blob:/);
  await attach(visitor, 'lie.png', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'));
  await attach(visitor, 'drawing.svg', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'));
  await attach(visitor, 'page.html', Buffer.from('<script>alert(1)</script>'));
  // A later picture is there: the earlier ones would be.
  await attach(visitor, 'later.png', PNG);
  await page.waitForFunction(() => [...document.querySelectorAll('img.picture')].some((one) => one.alt.includes('later.png')));
  assert.equal((await page.$$('img')).length, 2);
  const saved = await save(visitor, () => page.click('.message.mine:has(.file-name:text-is("page.html")) .file-button:last-child'));
  assert.equal(saved.name, 'page.html');
  await visitor.checkAccess();
});

test('names of files are harmless, and empty files are refused with a reason', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  await page.setInputFiles('input[type=file]', { name: 'photo\u202Egpj.exe', mimeType: 'image/jpeg', buffer: Buffer.from('MZ') });
  await visitor.page.waitForSelector('.message.mine[data-state=delivered] .file-name, .message.mine[data-state=read] .file-name');
  assert.equal(await page.textContent('.file-name'), 'photo gpj.exe');
  // Longer than a name may be, in bytes: the cut shows, and what kind of file it is stays.
  const long = '图'.repeat(100);
  await page.setInputFiles('input[type=file]', { name: `${long}.tar.gz`, mimeType: 'application/gzip', buffer: Buffer.from('x') });
  await visitor.see(`You sent: ${long.slice(0, 83)}….gz`);
  await page.setInputFiles('input[type=file]', { name: 'empty.txt', mimeType: 'text/plain', buffer: Buffer.alloc(0) });
  await page.waitForSelector('.failed');
  assert.match(await page.textContent('.failed'), /This file is empty/);
  assert.deepEqual(await offered(page), ['Discard'], 'it would be empty again');
});

test('a file that is larger than allowed is refused with a reason, and not offered again', { time: 300_000 }, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  const path = join(await scratch(), 'too large.bin');
  await writeFile(path, '');
  await truncate(path, ALLOWED + 1);
  await page.setInputFiles('input[type=file]', path);
  await page.waitForSelector('.failed', { timeout: 240_000 });
  assert.match(await page.textContent('.failed'), /larger than allowed.*blob_too_large/);
  assert.deepEqual(await offered(page), ['Discard'], 'it would be as large again');
  await visitor.checkAccess();
  await page.click('.failed button');
  await page.waitForSelector('.message:has(.file)', { state: 'detached' });
});

test('a file that waits for a network says so, and is sent with it', {}, async (visitor) => {
  visitor.expect(/WebSocket connection to|ERR_INTERNET_DISCONNECTED/);
  await visitor.enter();
  const { page } = visitor;
  await visitor.context.setOffline(true);
  await page.waitForSelector('.banner.link');
  await choose(visitor, 'invoice.bin', randomBytes(100_123));
  await page.waitForSelector('.message[data-state=waiting] .file');
  assert.equal(await page.textContent('.file-size'), 'Waiting to be sent');
  await visitor.checkAccess();
  await visitor.context.setOffline(false);
  await delivered(visitor, 'invoice.bin');
  assert.equal(await page.textContent('.file-size'), '100 kB');
});

test('files can be dropped on the chat and pasted into the field', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  await page.evaluate(() => {
    const carry = (name) => {
      const data = new DataTransfer();
      data.items.add(new File([`content of ${name}`], name, { type: 'text/plain' }));
      return data;
    };
    const options = { bubbles: true, cancelable: true };
    document.querySelector('.log').dispatchEvent(new DragEvent('drop', { ...options, dataTransfer: carry('dropped.txt') }));
    document.querySelector('textarea').dispatchEvent(new ClipboardEvent('paste', { ...options, clipboardData: carry('pasted.txt') }));
  });
  await visitor.see('You sent: dropped.txt');
  await visitor.see('You sent: pasted.txt');
});

/** Longer than what the worker opens in memory. */
const LARGE = 9 * 1024 * 1024;

for (const [kept, where] of [[true, 'by way of a file, which is gone after a reload'], [false, 'in memory where the browser stores nothing']]) {
  test(`a large attachment is saved ${where}`, { agents: true, browser: { blocked: !kept }, time: 180_000 }, async (visitor, demo) => {
    const team = await Team.found(demo, kept ? 'films' : 'films-2', 'Films');
    const agent = await team.hire(kept ? 'lena' : 'lena-2', 'Lena');
    await agent.start();
    await team.introduce(visitor);
    await visitor.visit();
    const { page } = visitor;
    await page.check(`.topic input[value=${team.id}]`);
    await visitor.agree();
    const conversation = await agent.accept();
    const bytes = randomBytes(LARGE);
    const path = join(await scratch(), 'film.bin');
    await writeFile(path, bytes);
    agent.tell({ send: { file: path }, conversation });
    await page.waitForSelector('.message.theirs .file', { timeout: SLOW });
    if (kept) assert.deepEqual(await onDisk(page), []);
    const saved = await save(visitor);
    assert.ok(saved.bytes.equals(bytes));
    if (!kept) return;
    assert.deepEqual(await onDisk(page), [LARGE]);
    await page.reload();
    await page.waitForSelector('.message.theirs .file');
    assert.deepEqual(await onDisk(page), []);
  });
}

test('an attachment that is asked for again while it is fetched comes once, and whole', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  const bytes = randomBytes(300_123);
  await attach(visitor, 'invoice.bin', bytes);
  await page.reload();
  await page.waitForSelector(SAVE);
  // Before the page has drawn that it is under way.
  const saved = await save(visitor, () => page.$eval(SAVE, (button) => [button, button].forEach((one) => one.click())));
  assert.ok(saved.bytes.equals(bytes));
  assert.equal(await page.$('.alert'), null, 'nobody is told that it is under way already');
});

/** A chat whose large file only the relay has. */
async function enterWithFilm(visitor, worker) {
  await insideWorker(visitor, worker);
  await visitor.enter();
  const bytes = randomBytes(LARGE);
  await attach(visitor, 'film.bin', bytes);
  await visitor.page.reload();
  await visitor.page.waitForSelector(SAVE);
  return bytes;
}

test('a second command for an attachment that is being opened into a file is refused, and spoils nothing of the first', { time: 180_000 }, async (visitor) => {
  const { page } = visitor;
  const bytes = await enterWithFilm(visitor, ASKING_TWICE);
  const saved = await save(visitor);
  assert.ok(saved.bytes.equals(bytes));
  assert.match(await page.textContent('.alert'), /transfer_busy/);
  assert.deepEqual(await onDisk(page), [LARGE]);
});

test('an attachment that does not get onto a full disk is said, leaves no file, and can be saved again', { time: 180_000 }, async (visitor) => {
  const { page } = visitor;
  const bytes = await enterWithFilm(visitor, FULL_ONCE);
  await page.click(SAVE);
  await page.waitForSelector('.alert', { timeout: SLOW });
  assert.match(await page.textContent('.alert'), /local_file/);
  assert.deepEqual(await onDisk(page), []);
  const saved = await save(visitor);
  assert.ok(saved.bytes.equals(bytes));
  assert.deepEqual(await onDisk(page), [LARGE]);
});
