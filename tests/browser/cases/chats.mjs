// Several chats on one device: the list, switching, what was begun in each, and deletion.

import assert from 'node:assert/strict';
import { test } from '../lib/cases.mjs';
import { noted, records, sealedNotes, until } from '../lib/vault.mjs';

const BACK = '.head .back';

/** Back to the list, and a new chat about the topic with this number. */
async function another(visitor, topic) {
  const { page } = visitor;
  await page.click(BACK);
  await page.waitForSelector('.chats');
  await page.locator('.topic input').nth(topic).check();
  await visitor.agree();
  await page.waitForSelector('.status .icon-shield');
}

/** Shows the chat whose row holds these words. */
async function show(visitor, words) {
  const { page } = visitor;
  await page.waitForSelector(`${BACK}, .chats`);
  if (await page.$(BACK)) await page.click(BACK);
  await page.click(`.chats .row:has-text("${words}")`);
  await page.waitForSelector('.log');
}

test('several chats: each keeps its texts and its draft, also after a reload', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  await visitor.write('About this and that');
  await visitor.see('You said: About this and that');
  await page.fill('.composer textarea', 'begun in the first');
  // At once: the draft must not wait for its timer, nor go along.
  await another(visitor, 1);
  assert.equal(await page.inputValue('.composer textarea'), '', 'the draft stays where it was begun');
  await visitor.write('About an invoice');
  await visitor.see('You said: About an invoice');
  assert.ok(!(await visitor.texts()).includes('About this and that'));
  await page.fill('.composer textarea', 'begun in the second');

  await show(visitor, 'General');
  await visitor.see('You said: About this and that');
  assert.deepEqual(await visitor.texts(), ['About this and that', 'You said: About this and that']);
  assert.equal(await page.inputValue('.composer textarea'), 'begun in the first');
  await noted(page, () => page.click(BACK));
  assert.equal((await page.$$('.chats .row')).length, 2);
  await visitor.checkAccess();

  await show(visitor, 'Billing');
  await page.reload();
  await visitor.see('You said: About an invoice');
  assert.equal(await page.inputValue('.composer textarea'), 'begun in the second');
  await show(visitor, 'General');
  assert.equal(await page.inputValue('.composer textarea'), 'begun in the first');
  await visitor.write('And one more');
  await visitor.see('You said: And one more');
  await page.reload();
  await show(visitor, 'General');
  await visitor.see('You said: And one more');
  assert.equal(await page.inputValue('.composer textarea'), '', 'what was sent is no draft');
});

test('an answer in another chat is counted in the list, in the title and beside the way there', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  await visitor.write('First');
  await visitor.see('You said: First');
  await another(visitor, 1);
  await show(visitor, 'General');
  await visitor.see('You said: First');
  // The message leaves, and the answer comes, while the other chat is on the screen.
  visitor.expect(/WebSocket connection to|ERR_INTERNET_DISCONNECTED/);
  await visitor.context.setOffline(true);
  await visitor.write('Answer me later');
  await visitor.state('Answer me later', 'waiting');
  await page.click(BACK);
  await page.click('.chats .row:has-text("Billing")');
  await visitor.context.setOffline(false);
  await page.waitForSelector('.head .dot');
  assert.match(await page.getAttribute(BACK, 'aria-label'), /1 unread/);
  assert.match(await page.title(), /^\(1\)/);
  await page.click(BACK);
  assert.match(await page.textContent('.chats .row:has-text("General") .unread'), /1 unread/);
  await visitor.checkAccess();
  await page.click('.chats .row:has-text("General")');
  await visitor.see('You said: Answer me later');
  await page.waitForFunction(() => !document.title.startsWith('('));
  assert.equal(await page.$('.head .dot'), null);
});

test('deleting from this device: asked once more, its records go, it is gone after a reload, others stay', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  await visitor.write('This one stays');
  await visitor.see('You said: This one stays');
  await visitor.state('This one stays', 'read');
  const before = await records(page);
  await another(visitor, 1);
  for (let n = 1; n <= 5; n++) await visitor.write(`This one goes ${n}`);
  await visitor.see('You said: This one goes 5');
  await page.fill('.composer textarea', 'a draft that goes as well');
  const drafts = async () => (await sealedNotes(page)).length > 0;
  let full;
  await until(async () => (full = await records(page)) >= before + 10 && (await drafts()));

  await page.click('.panel-actions button');
  await page.click('.confirm .primary');
  await page.waitForSelector('.ended');
  assert.match(await page.textContent('.unsent'), /a draft that goes as well/, 'what was begun is still to be read');
  await page.click('.panel-actions button');
  assert.match(await page.textContent('.confirm'), /Its key is destroyed/);
  await page.click('.confirm .quiet');
  assert.ok(await page.$('.ended'), 'nothing happened yet');
  await page.click('.panel-actions button');
  await page.click('.confirm .primary');
  await page.waitForSelector('.chats');
  assert.equal((await page.$$('.chats .row')).length, 1);
  // Its records are gone, and its draft.
  await until(async () => (await records(page)) <= full - 10 && !(await drafts()));

  await page.reload();
  await visitor.see('You said: This one stays');
  await page.click(BACK);
  assert.equal((await page.$$('.chats .row')).length, 1);
});
