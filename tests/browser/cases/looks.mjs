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
  await page.click('.pill');
  await page.waitForSelector('.panel.over');
  await visitor.checkAccess();
  await page.keyboard.press('Escape');
  await page.waitForSelector('.panel', { state: 'detached' });
});

for (const [locale, words] of [['de', 'Ich stimme zu, Chat beginnen'], ['zh-CN', '我同意，开始聊天'], ['fi', 'I agree, start the chat']]) {
  test(`language ${locale}`, { browser: { locale } }, async (visitor) => {
    await visitor.visit();
    await visitor.page.waitForSelector('.consent');
    assert.equal(await visitor.page.textContent('.consent button[type=submit]'), words);
    await visitor.checkAccess();
  });
}

const tallPicture = async (page) => {
  const data = await page.evaluate(() => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 300, height: 900 });
    canvas.getContext('2d').fillRect(0, 0, 300, 900);
    return canvas.toDataURL('image/png');
  });
  return Buffer.from(data.split(',')[1], 'base64');
};

test('a turned phone and a wider window keep the end in sight; going up by hand leaves it', {}, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  const long = 'A text that takes several lines on a phone, so that turning it moves everything. '.repeat(4);
  for (let n = 1; n <= 4; n++) await visitor.write(`${n} ${long}`.trim());
  await page.setInputFiles('input[type=file]', { name: 'tall.png', mimeType: 'image/png', buffer: await tallPicture(page) });
  await visitor.see('You sent: tall.png');
  await page.waitForSelector('img.picture');
  const left = () => page.$eval('.log', (log) => log.scrollHeight - log.scrollTop - log.clientHeight);
  for (const [width, height] of [[390, 844], [1280, 800], [390, 844], [844, 390], [1280, 800], [390, 844], [1280, 600]]) {
    await page.setViewportSize({ width, height });
    // A person turns a phone no faster; and the end is awaited after that.
    await page.waitForTimeout(250);
    await visitor.below('<', 2);
    assert.equal(await page.$('.panel.over'), null, 'the panel does not lay itself over the chat');
  }
  await page.hover('.log');
  await page.mouse.wheel(0, -600);
  await visitor.below('>', 150);
  await page.fill('.composer textarea', 'x');
  await page.setViewportSize({ width: 1280, height: 700 });
  await page.waitForTimeout(250);
  assert.ok((await left()) > 200, 'who reads above stays there');
});

test('dark and light: as the system says, or as chosen here', { browser: { colorScheme: 'dark' } }, async (visitor) => {
  await visitor.enter();
  const { page } = visitor;
  const brightness = () =>
    page.$eval('.talk', (element) => getComputedStyle(element).backgroundColor.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0));
  assert.ok((await brightness()) < 150);
  await visitor.write('In the dark');
  await visitor.see('You said: In the dark');
  await visitor.checkAccess();
  await page.click('.segment:nth-child(2)');
  assert.ok((await brightness()) > 700);
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
