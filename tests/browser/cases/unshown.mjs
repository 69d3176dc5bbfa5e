// What the other side sent, or the vault gave, cannot be drawn: the rest of the page works.

import assert from 'node:assert/strict';
import { test } from '../lib/cases.mjs';
import { altered, insideWorker } from '../lib/worker.mjs';

/** Ends the chat and deletes it, wherever that is offered. */
async function endAndDelete({ page }, actions) {
  await page.click(`${actions} > button.danger`);
  await page.click('.confirm .primary');
  await page.waitForFunction((where) => /Delete from this device/.test(document.querySelector(`${where} > button.danger`)?.textContent), actions);
  await page.click(`${actions} > button.danger`);
  await page.click('.confirm .primary');
  await page.waitForSelector('.consent');
}

/** A chat that was begun, and comes without this part after a reload. */
async function reloadWithout(visitor, part) {
  await visitor.enter();
  await visitor.write('Before');
  await visitor.see('You said: Before');
  await insideWorker(visitor, altered({ conversation: `(one) => { one.${part} = null; }` }));
  await visitor.page.reload();
}

test('a message with a time that no calendar holds is shown without one', {}, async (visitor) => {
  await insideWorker(visitor, altered({ message: `(one) => { if (one.body.text === 'You said: Before') one.time = 2 ** 64; }` }));
  await visitor.enter();
  const { page } = visitor;
  const times = () => page.$$eval('.message', (rows) => rows.map((row) => [row.querySelector('.text')?.textContent, row.querySelector('time') !== null]));
  await visitor.write('Before');
  await visitor.see('You said: Before');
  await visitor.write('After');
  await visitor.see('You said: After');
  const expected = [['Before', true], ['You said: Before', false], ['After', true], ['You said: After', true]];
  assert.deepEqual(await times(), expected);
  // The row is read again, and the chat chosen by itself.
  await page.reload();
  await visitor.see('You said: After');
  assert.deepEqual(await times(), expected);
  assert.equal(await page.$('.unshown'), null);
  await visitor.checkAccess();
  await endAndDelete(visitor, '.panel-actions');
});

test('a message that cannot be drawn hides no other, also after a reload', {}, async (visitor) => {
  await insideWorker(visitor, altered({ message: `(one) => { if (one.body.text === 'You said: Before') one.body.text = null; }` }));
  await visitor.enter();
  const { page } = visitor;
  await visitor.write('Before');
  await page.waitForSelector('.unshown');
  await visitor.write('After');
  await visitor.see('You said: After');
  await page.reload();
  await visitor.see('You said: After');
  assert.deepEqual(await visitor.texts(), ['Before', 'After', 'You said: After']);
  assert.equal(await page.textContent('.unshown'), 'This message cannot be shown.');
  await visitor.checkAccess();
  await endAndDelete(visitor, '.panel-actions');
});

test('a transcript that cannot be drawn leaves who can read, the other chats, ending and deleting', {}, async (visitor) => {
  const { page } = visitor;
  await reloadWithout(visitor, 'uploads');
  await page.waitForSelector('.unshown');
  assert.match(await page.textContent('.unshown'), /cannot be shown\. Reload the page/);
  await page.waitForSelector('.readers');
  await visitor.checkAccess();
  await page.click('.back');
  await page.click('.chats .row');
  await page.waitForSelector('.unshown');
  await endAndDelete(visitor, '.panel-actions');
});

test('a chat that cannot be drawn leaves the other chats, ending and deleting', {}, async (visitor) => {
  const { page } = visitor;
  await reloadWithout(visitor, 'readers');
  await page.waitForSelector('.screen h1');
  assert.equal(await page.textContent('.screen h1'), 'This chat cannot be shown');
  await visitor.checkAccess();
  await page.click('.screen > .primary');
  await page.waitForSelector('.consent');
  await visitor.checkAccess();
  await page.click('.chats .row');
  await page.waitForSelector('.screen h1');
  await endAndDelete(visitor, '.screen');
});
