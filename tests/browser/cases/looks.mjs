// Languages, directions, colours, widths; the policy that the page lives under.

import assert from 'node:assert/strict';
import { test } from '../lib/cases.mjs';

const PHONE = { width: 390, height: 844 };

test('Arabic: the page runs from right to left, on a phone, in the dark', { browser: { locale: 'ar', viewport: PHONE, colorScheme: 'dark' } }, async (visitor) => {
  await visitor.visit();
  const { page } = visitor;
  await page.waitForSelector('.consent');
  assert.equal(await page.getAttribute('html', 'dir'), 'rtl');
  assert.equal(await page.textContent('.consent button[type=submit]'), 'أوافق، ابدأ المحادثة');
  await visitor.checkAccess();
  await visitor.agree();
  await page.waitForSelector('.status .icon-shield');
  await visitor.write('مرحبا');
  await visitor.see('You said: مرحبا');
  const [mine, log] = await page.evaluate(() =>
    ['.message.mine .bubble', '.log'].map((name) => document.querySelector(name).getBoundingClientRect().toJSON()),
  );
  assert.ok(mine.left - log.left < log.right - mine.right, 'own messages stand on the left');
  await visitor.checkAccess();
  // All lines of a long name in another script stand where the line below begins.
  const name = 'a rather long name of an invoice 4821 of November 2026 final.pdf';
  await page.setInputFiles('input[type=file]', { name, mimeType: 'application/pdf', buffer: Buffer.alloc(2000, 1) });
  // A row has no lines before it was drawn for the first time.
  const drawn = await page.waitForFunction(() => {
    const named = document.querySelector('.file-name');
    const [lines, below] = [named, named?.nextElementSibling].map((element) => {
      const range = document.createRange();
      if (element) range.selectNodeContents(element);
      return [...range.getClientRects()].map(({ right }) => right);
    });
    return lines.length > 0 && below.length > 0 && [lines, below];
  });
  const [lines, below] = await drawn.jsonValue();
  assert.ok(lines.length > 1 && lines.every((right) => Math.abs(right - Math.max(...below)) < 2), `${lines} and ${below}`);
  await page.click('.pill');
  await page.waitForSelector('.panel.over');
  await visitor.checkAccess();
  await page.keyboard.press('Escape');
  await page.waitForSelector('.panel', { state: 'detached' });
});

for (const [locale, words, lang] of [
  ['de', 'Ich stimme zu, Chat beginnen', 'de'],
  ['zh-CN', '我同意，开始聊天', 'zh-CN'],
  ['zh-TW', '我同意，开始聊天', 'zh-Hans'],
  ['fi', 'I agree, start the chat', 'en'],
]) {
  test(`language ${locale}`, { browser: { locale } }, async (visitor) => {
    await visitor.visit();
    await visitor.page.waitForSelector('.consent');
    assert.equal(await visitor.page.textContent('.consent button[type=submit]'), words);
    assert.equal(await visitor.page.getAttribute('html', 'lang'), lang, 'of the texts that are shown');
    await visitor.checkAccess();
  });
}

test('dark and light: as the system says, or as chosen here', { browser: { colorScheme: 'dark' } }, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  const brightness = () =>
    page.$eval('.talk', (element) => getComputedStyle(element).backgroundColor.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0));
  const shadow = () => page.$eval('.chat', (element) => getComputedStyle(element).boxShadow);
  assert.ok((await brightness()) < 150);
  const dark = await shadow();
  await visitor.write('In the dark');
  await visitor.see('You said: In the dark');
  await visitor.checkAccess();
  await page.click('.segment:nth-child(2)');
  assert.ok((await brightness()) > 700);
  assert.ok(dark !== 'none' && dark !== (await shadow()), 'a shadow in either scheme');
  await visitor.checkAccess();
  await page.reload();
  await visitor.see('You said: In the dark');
  assert.ok((await brightness()) > 700, 'the choice is remembered');
});

test('the page comes with the whole policy, and nothing from elsewhere is asked for', {}, async (visitor) => {
  const asked = [];
  visitor.page.on('request', (request) => asked.push(request.url()));
  const answer = await visitor.page.goto(visitor.demo.page);
  const policy = answer.headers()['content-security-policy'] ?? '';
  for (const part of [
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "style-src 'self'",
    "img-src 'self' blob:",
    "worker-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "object-src 'none'",
    'frame-ancestors',
    "require-trusted-types-for 'script'",
    'trusted-types sealdesk-worker',
  ]) {
    assert.ok(policy.includes(part), `${part} in ${policy}`);
  }
  assert.ok(!policy.includes('unsafe-inline') && !policy.includes("'unsafe-eval'"));
  await visitor.page.waitForSelector('.consent');
  const { origin } = new URL(visitor.demo.page);
  assert.deepEqual(asked.filter((url) => new URL(url).origin !== origin), []);
});

test('by keyboard alone: agree, write, look who can read, end the chat', { browser: { viewport: PHONE } }, async (visitor) => {
  await visitor.visit();
  const { page } = visitor;
  await page.waitForSelector('.consent');
  const until = async (selector) => {
    for (let n = 0; n < 30; n++) {
      if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return;
      await page.keyboard.press('Tab');
    }
    assert.fail(`${selector} is not reached with Tab`);
  };
  await until('.consent button[type=submit]');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.status .icon-shield');
  await until('.composer textarea');
  await page.keyboard.type('By keyboard');
  await page.keyboard.press('Enter');
  await visitor.see('You said: By keyboard');
  await until('.pill');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.panel.over');
  const focused = (selector) => page.waitForFunction((wanted) => document.activeElement?.closest(wanted), selector);
  await focused('.panel');
  await page.keyboard.press('Escape');
  await page.waitForSelector('.panel', { state: 'detached' });
  await focused('.pill');
  await page.keyboard.press('Enter');
  await until('.panel-actions button');
  await page.keyboard.press('Enter');
  await focused('.confirm .quiet');
  await page.keyboard.press('Escape');
  await focused('.panel-actions > button');
  assert.ok(await page.$('.panel.over'), 'Escape takes the question back, and no more than that');
  await page.keyboard.press('Enter');
  await focused('.confirm .quiet');
  await page.keyboard.press('Shift+Tab');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.ended');
});

for (const locale of ['en', 'de', 'ar', 'zh-CN']) {
  test(`the note above the messages leads to who can read: ${locale}`, { browser: { locale, viewport: PHONE } }, async (visitor) => {
    await visitor.visit();
    await visitor.agree();
    const { page } = visitor;
    const words = await page.textContent('.pill');
    const button = page.getByRole('button', { name: words, exact: true }).and(page.locator('.intro button'));
    await button.focus();
    // A quotation mark that a line ends with is not of this line.
    const lines = await page.$eval('.quoted', (quoted) => {
      const tops = [quoted.firstChild, quoted.lastChild].map((mark) => {
        const range = document.createRange();
        range.selectNodeContents(mark);
        return range.getBoundingClientRect().top;
      });
      return tops[1] - tops[0];
    });
    assert.ok(Math.abs(lines) < 4, `the quotation marks stand ${lines} px apart`);
    await visitor.checkAccess();
    await page.keyboard.press('Enter');
    await page.waitForSelector('.panel.over');
    assert.equal(await page.textContent('.panel h2'), words);
    await page.keyboard.press('Escape');
    await page.waitForFunction(() => document.activeElement?.matches('.intro button'));
    // Beside the chat it is open already.
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.waitForSelector('.panel:not(.over)');
    await button.click();
    await page.waitForFunction(() => document.activeElement?.matches('.panel'));
    assert.ok((await page.textContent('.intro')).includes(words));
  });
}

test('the way to agree is in sight where a notice is short, in a small window and in long words', { browser: { locale: 'de' } }, async (visitor) => {
  await visitor.visit();
  const { page } = visitor;
  await page.waitForSelector('.consent');
  const [end, height] = await page.$eval('.consent button[type=submit]', (button) => [button.getBoundingClientRect().bottom, innerHeight]);
  assert.ok(end < height - 24, `the button ends at ${end} of ${height}`);
});

test('in forced colours every button has an edge', { browser: { forcedColors: 'active' } }, async (visitor) => {
  await visitor.visit();
  const { page } = visitor;
  const edgeless = () =>
    page.$$eval('button:not(.inline)', (found) => found.filter((one) => getComputedStyle(one).borderTopWidth === '0px').map((one) => one.className));
  await page.waitForSelector('.consent');
  assert.deepEqual(await edgeless(), []);
  await visitor.agree();
  await page.waitForSelector('.status .icon-shield');
  await page.setInputFiles('input[type=file]', { name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('a') });
  await page.waitForSelector('.file-button');
  assert.deepEqual(await edgeless(), []);
  await page.click('.back');
  await page.waitForSelector('.chats .row');
  assert.deepEqual(await edgeless(), []);
});
