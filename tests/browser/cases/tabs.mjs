// Two tabs, one vault.

import assert from 'node:assert/strict';
import { test } from '../lib/cases.mjs';

test('a second tab waits, takes over on request, and hands back when it closes', {}, async (visitor) => {
  await visitor.enter();
  const { page: first } = visitor;
  await visitor.write('From the first tab');
  await visitor.see('You said: From the first tab');

  const second = await visitor.tab();
  await second.goto(visitor.demo.page);
  await second.waitForSelector('.screen h1');
  assert.equal(await second.textContent('.screen h1'), 'This chat is open in another tab');
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
  assert.equal(await second.textContent('.screen h1'), 'This chat is open in another tab');
  await second.click('.screen .primary');
  await visitor.see('You said: Agreed first', second);
  assert.equal((await second.$$('.composer textarea')).length, 1, 'it can write there');
  await second.fill('.composer textarea', 'Agreed second');
  await second.press('.composer textarea', 'Enter');
  await visitor.see('You said: Agreed second', second);
  await first.waitForSelector('.screen h1');
});
