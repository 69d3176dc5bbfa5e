// Consent, sending, receiving.

import assert from 'node:assert/strict';
import { test } from '../lib/cases.mjs';

test('consent: who, what about, the notice, an explicit yes; nothing is stored before', {}, async (visitor) => {
  await visitor.visit();
  const { page } = visitor;
  await page.waitForSelector('.consent');
  assert.match(await page.textContent('h1'), /^Chat with \S/);
  assert.ok((await page.$$('.topic input[type=radio]')).length > 0, 'there are topics');
  assert.ok((await page.textContent('.notice-text')).length > 20, 'the notice is shown');
  assert.equal(await page.textContent('.consent button[type=submit]'), 'I agree, start the chat');
  assert.ok(await page.isVisible('.demo'), 'a demo says that it is one');
  await visitor.checkAccess();
  // Neither a vault with its key, nor a choice, nor a file.
  const stored = () =>
    page.evaluate(async () => {
      const files = [];
      for await (const name of (await navigator.storage.getDirectory()).keys()) files.push(name);
      return [...(await indexedDB.databases()).map(({ name }) => name), ...Object.keys(localStorage), ...files];
    });
  assert.deepEqual(await stored(), []);
  await visitor.agree();
  await page.waitForSelector('.head');
  assert.notDeepEqual(await stored(), []);
});

test('send and receive: the agent is named and verified, every state is reached', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  assert.match(await page.textContent('.status'), /Verified by|joining soon/);
  await visitor.write('Hello, is anybody there?');
  await visitor.see('You said: Hello, is anybody there?');
  await visitor.state('Hello, is anybody there?', 'delivered', 'read');
  const digits = (await page.textContent('.safety')).replace(/\s/g, '');
  assert.match(digits, /^\d{60}$/, 'the safety number has sixty digits');
  assert.equal((await page.$$('.readers .reader')).length, 2, 'two devices can read');
  await visitor.checkAccess();
});

test('texts arrive as they are: Arabic, Chinese, emoji, markup, several lines', {}, async (visitor) => {
  await visitor.enter();
  const texts = [
    'مرحبا، رقم طلبي 4821 ولم يصل بعد (Order #4821)',
    '您好，我的订单还没有到 📦',
    '<img src=x onerror=alert(1)> & "quotes" </script>',
  ];
  for (const text of texts) {
    await visitor.write(text);
    await visitor.see(`You said: ${text}`);
  }
  await visitor.page.focus('.composer textarea');
  await visitor.page.keyboard.type('first line');
  await visitor.page.keyboard.press('Shift+Enter');
  await visitor.page.keyboard.type('second line');
  await visitor.page.keyboard.press('Enter');
  await visitor.see('You said: first line\nsecond line');
  assert.equal((await visitor.page.$$('.log img')).length, 0, 'markup stays text');
});

test('addresses become links, unless they look like another', {}, async (visitor) => {
  await visitor.enter();
  const text = 'https://example.com/a?b=c, https://paypal.com@evil.example/ https://u:p@evil.example/ https://ex\u202Eample.com';
  await visitor.write(text);
  await visitor.see(`You said: ${text}`);
  const links = await visitor.page.$$eval('.message.mine .text a', (found) => found.map((one) => one.getAttribute('href')));
  assert.deepEqual(links, ['https://example.com/a?b=c']);
});

test('Enter that ends a composition does not send', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  await page.fill('.composer textarea', 'にほん');
  await page.$eval('.composer textarea', (area) => {
    area.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true, cancelable: true }));
  });
  assert.equal(await page.inputValue('.composer textarea'), 'にほん');
  assert.deepEqual(await visitor.texts(), []);
  await page.press('.composer textarea', 'Enter');
  await visitor.see('You said: にほん');
});

test('many messages: each arrives once, in order, and older ones load on demand', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  const count = 40;
  for (let n = 1; n <= count; n++) await visitor.write(`number ${n}`);
  await visitor.see(`You said: number ${count}`);
  const check = async () => {
    const texts = await visitor.texts();
    const mine = texts.filter((text) => text.startsWith('number'));
    const theirs = texts.filter((text) => text.startsWith('You said'));
    assert.deepEqual(mine, Array.from({ length: count }, (_, n) => `number ${n + 1}`));
    assert.deepEqual(theirs, Array.from({ length: count }, (_, n) => `You said: number ${n + 1}`));
  };
  await check();
  await page.reload();
  await visitor.see(`You said: number ${count}`);
  assert.ok((await visitor.texts()).length < 2 * count, 'only a page is loaded at first');
  await page.click('.older');
  await visitor.see('number 1');
  await check();
});

test('closing: nothing more can be written, a new chat begins, the old one can be read and deleted', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  await visitor.write('Goodbye');
  await visitor.see('You said: Goodbye');
  await page.click('.panel-actions button');
  await page.click('.confirm .primary');
  await page.waitForSelector('.ended');
  assert.equal(await page.$('.composer'), null);
  await visitor.checkAccess();
  await page.click('.ended .primary');
  await visitor.agree();
  await page.waitForSelector('.status .icon-shield');
  await visitor.write('A new one');
  await visitor.see('You said: A new one');
  assert.ok(!(await visitor.texts()).includes('Goodbye'));
});
