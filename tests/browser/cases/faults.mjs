// What goes wrong: the network goes, the organisation is another one.

import assert from 'node:assert/strict';
import { test } from '../lib/cases.mjs';
import { insideWorker } from '../lib/worker.mjs';

const LOST = /WebSocket connection to|ERR_INTERNET_DISCONNECTED/;

test('offline and online again: the banner says so, the message waits and then leaves', {}, async (visitor) => {
  visitor.expect(LOST);
  await visitor.enter();
  await visitor.write('With network');
  await visitor.see('You said: With network');
  await visitor.context.setOffline(true);
  await visitor.page.waitForSelector('.banner.link');
  assert.match(await visitor.page.textContent('.banner.link'), /No connection/);
  await visitor.write('Without network');
  await visitor.state('Without network', 'waiting');
  await visitor.checkAccess();
  await visitor.context.setOffline(false);
  await visitor.see('You said: Without network');
  await visitor.page.waitForSelector('.banner.link', { state: 'detached' });
});

test('another organisation than the page was built for: refused, with the reason', {}, async (visitor) => {
  await visitor.context.route('**/config.json', (route) => route.fulfill({ json: { root: 'ab'.repeat(32), demo: false } }));
  await visitor.visit();
  await visitor.page.waitForSelector('.refusal');
  const text = await visitor.page.textContent('.refusal');
  assert.match(text, /belong to different organisations/);
  assert.equal(await visitor.page.textContent('.screen h1'), 'The chat is not running');
  assert.match(text, /Cause: the organisation · wrong_root/);
  assert.equal(await visitor.page.$('textarea'), null, 'nothing can be written');
  await visitor.checkAccess();
});

test('an altered org.json is refused, with the reason', {}, async (visitor) => {
  await visitor.context.route('**/org.json', async (route) => {
    const answer = await route.fetch();
    const file = await answer.json();
    const bytes = Buffer.from(file.settings, 'base64');
    bytes[Math.floor(bytes.length / 2)] ^= 1;
    await route.fulfill({ json: { ...file, settings: bytes.toString('base64') } });
  });
  await visitor.visit();
  await visitor.page.waitForSelector('.refusal');
  assert.match(await visitor.page.textContent('.refusal'), /org_signature|org_malformed/);
});

test('a browser without WebAssembly is named as the cause', {}, async (visitor) => {
  await insideWorker(visitor, 'delete self.WebAssembly;');
  await visitor.visit();
  await visitor.page.waitForSelector('.refusal');
  assert.match(await visitor.page.textContent('.refusal'), /This browser cannot run.*Cause: this device · browser/);
});

for (const [part, files] of [['module', '**/core-*.wasm'], ['worker', '**/worker-*.js']]) {
  test(`the ${part} does not come: said, with the network as the cause`, {}, async (visitor) => {
    visitor.expect(/ERR_FAILED/);
    await visitor.context.route(files, (route) => route.abort());
    await visitor.visit();
    await visitor.page.waitForSelector('.refusal');
    assert.match(await visitor.page.textContent('.refusal'), /could not be loaded.*Cause: the network · part_missing/);
    await visitor.checkAccess();
    await visitor.context.unroute(files);
    await visitor.page.click('.screen .primary');
    await visitor.page.waitForSelector('.consent');
  });
}

test('no org.json at all: a clear error that names what to do', {}, async (visitor) => {
  visitor.expect(/404/);
  await visitor.context.route('**/org.json', (route) => route.fulfill({ status: 404, body: 'no' }));
  await visitor.visit();
  await visitor.page.waitForSelector('.refusal');
  assert.match(await visitor.page.textContent('.refusal'), /could not be loaded/);
});
