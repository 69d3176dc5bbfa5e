// Two tabs, one vault.

import assert from 'node:assert/strict';
import { test } from '../lib/cases.mjs';
import { until } from '../lib/vault.mjs';
import { OBEDIENT, insideWorker, tellWorker } from '../lib/worker.mjs';

const HELD = 'This chat is open in another tab';

/** A further tab, behind the others until `show` is called: this browser shows all tabs at once. It waits for the chat. */
async function tabBehind(visitor) {
  const page = await visitor.tab();
  await page.addInitScript(() => {
    let seen = 'hidden';
    Object.defineProperty(Document.prototype, 'visibilityState', { get: () => seen });
    window.show = () => {
      seen = 'visible';
      document.dispatchEvent(new Event('visibilitychange'));
    };
  });
  await page.goto(visitor.demo.page);
  await page.waitForSelector('.screen h1');
  return { page, show: () => page.evaluate(() => window.show()) };
}

test('a second tab waits, takes over on request, and hands back when it closes', {}, async (visitor) => {
  await visitor.enter();
  const { page: first } = visitor;
  await visitor.write('From the first tab');
  await visitor.see('You said: From the first tab');

  const second = await visitor.tab();
  await second.goto(visitor.demo.page);
  await second.waitForSelector('.screen h1');
  assert.equal(await second.textContent('.screen h1'), HELD);
  await second.click('.screen .primary');
  await visitor.see('You said: From the first tab', second);
  await first.waitForSelector('.screen h1');
  await second.fill('.composer textarea', 'From the second tab');
  await second.press('.composer textarea', 'Enter');
  await visitor.see('You said: From the second tab', second);

  await second.close();
  await visitor.see('You said: From the second tab', first);
  await visitor.write('First again');
  await visitor.see('You said: First again');
  const texts = await visitor.texts();
  assert.equal(new Set(texts).size, texts.length, 'nothing stands there twice');
});

test('two tabs before the first chat: who agrees second finds it open in the other tab', {}, async (visitor) => {
  await visitor.visit();
  const { page: first } = visitor;
  const second = await visitor.tab();
  await second.goto(visitor.demo.page);
  await second.waitForSelector('.consent');
  await visitor.agree();
  await visitor.write('Agreed first');
  await visitor.see('You said: Agreed first');
  await second.click('.consent button[type=submit]');
  await second.waitForSelector('.screen h1');
  assert.equal(await second.textContent('.screen h1'), HELD);
  await second.click('.screen .primary');
  await visitor.see('You said: Agreed first', second);
  assert.equal((await second.$$('.composer textarea')).length, 1, 'it can write there');
  await second.fill('.composer textarea', 'Agreed second');
  await second.press('.composer textarea', 'Enter');
  await visitor.see('You said: Agreed second', second);
  await first.waitForSelector('.screen h1');
});

test('a tab that is loaded again keeps the chat from one behind it, which gets it when this one closes', {}, async (visitor) => {
  await visitor.enter();
  const { page: first } = visitor;
  const { page: second } = await tabBehind(visitor);
  for (const text of ['Once', 'Twice']) {
    await first.reload();
    await first.waitForSelector('.composer textarea, .screen h1');
    await visitor.write(text);
    await visitor.see(`You said: ${text}`);
    assert.equal(await second.textContent('.screen h1'), HELD);
  }
  await first.close();
  await visitor.see('You said: Twice', second);
});

test('a tab that left the chat to others for a while takes it as soon as it is looked at', {}, async (visitor) => {
  await visitor.enter();
  const { page: first } = visitor;
  await visitor.write('From the first tab');
  await visitor.see('You said: From the first tab');
  await insideWorker(visitor, OBEDIENT);
  const { page: second, show } = await tabBehind(visitor);
  // The while does not end by itself.
  await tellWorker(second, { asleep: true });
  await first.close();
  const locks = () => second.evaluate(async () => Object.values(await navigator.locks.query()).flat().length);
  await until(async () => (await locks()) === 0);
  assert.equal(await second.textContent('.screen h1'), HELD);
  await show();
  await visitor.see('You said: From the first tab', second);
});
