// The transcript stays at its end while the end is in sight, whatever changes its size, and wherever a person goes
// otherwise.

import assert from 'node:assert/strict';
import { test } from '../lib/cases.mjs';

const tallPicture = async (page) => {
  const data = await page.evaluate(() => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 300, height: 900 });
    canvas.getContext('2d').fillRect(0, 0, 300, 900);
    return canvas.toDataURL('image/png');
  });
  return Buffer.from(data.split(',')[1], 'base64');
};

/** More than a window shows, also a wide one. */
async function longChat(visitor) {
  await visitor.enter();
  const long = 'A text that takes several lines on a phone, so that turning it moves everything. '.repeat(4).trim();
  for (let n = 1; n <= 4; n++) await visitor.write(`${n} ${long}`);
  await visitor.see(`You said: 4 ${long}`);
  await visitor.below('<', 2);
}

/** Another height of the window; whoever reads above stays there. */
async function staysAbove(visitor, height) {
  const { page } = visitor;
  await visitor.below('>', 150);
  const room = await page.$eval('.log', (log) => log.clientHeight);
  await page.setViewportSize({ width: 1280, height });
  // What a change of size makes the page do is done within the frame, and scrolled with the next one.
  const left = await page.evaluate(async (before) => {
    const log = document.querySelector('.log');
    for (let frames = 0; frames < 3; frames += log.clientHeight === before ? 0 : 1) await new Promise(requestAnimationFrame);
    return log.scrollHeight - log.scrollTop - log.clientHeight;
  }, room);
  assert.ok(left > 150, `${left} px below the screen`);
}

test('a turned phone and a wider window keep the end in sight, in whatever haste', {}, async (visitor) => {
  await longChat(visitor);
  const { page } = visitor;
  await page.setInputFiles('input[type=file]', { name: 'tall.png', mimeType: 'image/png', buffer: await tallPicture(page) });
  await visitor.see('You sent: tall.png');
  await page.waitForSelector('img.picture');
  // Also not for one frame.
  await page.evaluate(() => {
    const look = () => (window.overlaid ||= document.querySelector('.panel.over') !== null);
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true });
  });
  for (const [width, height] of [[390, 844], [1280, 800], [390, 844], [844, 390], [1280, 800], [390, 844], [1280, 600]]) {
    await page.setViewportSize({ width, height });
    await visitor.below('<', 2);
  }
  assert.ok(!(await page.evaluate(() => window.overlaid)), 'the panel does not lay itself over the chat');
  // Larger for less than a frame: when the page hears of it, all is as it was, but for what was cut off.
  const browser = await visitor.context.newCDPSession(page);
  const size = (height) => browser.send('Emulation.setDeviceMetricsOverride', { width: 1280, height, deviceScaleFactor: 1, mobile: false });
  for (let n = 0; n < 10; n++) {
    const layout = browser.send('Runtime.evaluate', { expression: `document.querySelector('.log').scrollTop` });
    await Promise.all([size(800), layout, size(600)]);
    await visitor.below('<', 2);
  }
});

test('who writes several lines keeps the end of the chat in sight', {}, async (visitor) => {
  await longChat(visitor);
  const { page } = visitor;
  await page.focus('.composer textarea');
  const heights = [];
  for (const line of ['one', 'two', 'three']) {
    if (heights.length > 0) await page.keyboard.press('Shift+Enter');
    await page.keyboard.type(line);
    await visitor.below('<', 2);
    heights.push(await page.$eval('.composer textarea', (field) => field.clientHeight));
    assert.ok(await page.$eval('.composer textarea', (field) => field.scrollHeight <= field.clientHeight), 'all lines are seen');
  }
  assert.ok(heights[0] < heights[1] && heights[1] < heights[2], `${heights}`);
  await page.keyboard.press('Enter');
  await visitor.see('You said: one\ntwo\nthree');
  assert.equal(await page.$eval('.composer textarea', (field) => field.clientHeight), heights[0]);
});

test('going up leaves the end: by wheel, by key, by another program', {}, async (visitor) => {
  await longChat(visitor);
  const { page } = visitor;
  await page.hover('.log');
  await page.mouse.wheel(0, -600);
  await staysAbove(visitor, 700);
  await page.focus('.log');
  await page.keyboard.press('End');
  await visitor.below('<', 2);
  await page.keyboard.press('PageUp');
  await staysAbove(visitor, 650);
  // As a search or a screen reader goes, without a hand; and rows that were never seen get their height on the way.
  await page.reload();
  await page.waitForFunction(() => document.querySelectorAll('.message').length === 8);
  await visitor.below('<', 2);
  await page.evaluate(() => document.querySelector('.message').scrollIntoView());
  await staysAbove(visitor, 600);
});

test('a message that waits without a network stands at the end with its caption', {}, async (visitor) => {
  visitor.expect(/WebSocket connection to|ERR_INTERNET_DISCONNECTED/);
  await longChat(visitor);
  const { page } = visitor;
  await visitor.write('Short');
  await visitor.see('You said: Short');
  await visitor.state('Short', 'read');
  await visitor.context.setOffline(true);
  await page.waitForSelector('.banner.link');
  // It comes, and the caption of the one before goes: the transcript is as high as it was while this one was saved.
  await visitor.write('Without a network');
  await visitor.state('Without a network', 'waiting');
  await visitor.settle();
  const [caption, log] = await page.evaluate(() =>
    ['.message.mine:last-child .below-bubble', '.log'].map((name) => document.querySelector(name).getBoundingClientRect().bottom),
  );
  assert.ok(caption <= log, `the caption ends at ${caption}, the log at ${log}`);
});
