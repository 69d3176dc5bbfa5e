// The relay dies and comes back. Last, since it ends the demo: a second start goes on with the same data.

import assert from 'node:assert/strict';
import { test } from '../lib/cases.mjs';

const LOST = /WebSocket connection to/;
/** The page tries again at growing intervals, ms. */
const BACK = 120_000;

test('relay restart: what is written meanwhile is kept, and delivered afterwards', { restarts: true, time: 15 * 60_000 }, async (visitor, demo) => {
  visitor.expect(LOST);
  await visitor.enter();
  await visitor.write('Before the crash');
  await visitor.see('You said: Before the crash');
  await demo.killRelay();
  await visitor.page.waitForSelector('.banner.link');
  await visitor.write('While it is down');
  await visitor.state('While it is down', 'waiting');
  await demo.start();
  await visitor.see('You said: While it is down', visitor.page, BACK);
  await visitor.page.waitForSelector('.banner.link', { state: 'detached' });
  const texts = await visitor.texts();
  assert.deepEqual(texts, ['Before the crash', 'You said: Before the crash', 'While it is down', 'You said: While it is down']);
});
