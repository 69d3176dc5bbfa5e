// The list of tests, and how one runs.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FirefoxVisitor } from './firefox.mjs';
import { Visitor } from './visitor.mjs';

/** Pictures of the page when a test failed. */
export const artifacts = fileURLToPath(new URL('../artifacts/', import.meta.url));

const TIME = 90_000;

export const cases = [];

/**
 * `options.restarts`: kills the relay. `options.agents`: needs the demo's folder. `options.firefox`: not in Chromium.
 * `options.time`: most ms. `options.browser`: what the browser's context gets (locale,
 * colorScheme, ..).
 */
export function test(name, options, run) {
  cases.push({ name, ...options, run });
}

export async function runCase(one, browser, demo) {
  const begin = Date.now();
  const time = one.time ?? TIME;
  let visitor;
  let timer;
  try {
    visitor = await (one.firefox ? FirefoxVisitor.arrive(demo) : Visitor.arrive(browser, demo, one.browser ?? {}));
    await Promise.race([
      one.run(visitor, demo).then(() => visitor.checkQuiet()),
      new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`took longer than ${time / 1000} s`)), time);
      }),
    ]);
    console.log(`ok    ${one.name} (${((Date.now() - begin) / 1000).toFixed(1)} s)`);
    return true;
  } catch (error) {
    await mkdir(artifacts, { recursive: true });
    const picture = join(artifacts, `${one.name.replace(/\W+/g, '-')}.png`);
    await visitor?.page.screenshot({ path: picture }).catch(() => {});
    console.log(`FAIL  ${one.name}\n      ${String(error?.stack ?? error).replaceAll('\n', '\n      ')}`);
    for (const line of visitor?.said.slice(-10) ?? []) console.log(`      page: ${line}`);
    console.log(`      ${picture}`);
    return false;
  } finally {
    clearTimeout(timer);
    await visitor?.leave().catch(() => {});
  }
}
