// The customer page in a real Chromium, and once through in a real Firefox, against a real relay and real agents.
//
//   node run.mjs [WORD...]     only tests whose name contains one of the words
//
//   SEALDESK_CHROMIUM  the browser (default: /usr/bin/chromium)
//   SEALDESK_FIREFOX   the other browser (default: /usr/bin/firefox-esr or /usr/bin/firefox)
//   SEALDESK_PAGE      use this running demo instead of starting one; tests that need its folder are left out
//
// Each test has a browser profile of its own. A console error, an uncaught exception or a violation of the content
// security policy fails the test in which it happens. Everything is bounded in time.

import { rm } from 'node:fs/promises';
import { stopAgents } from './lib/agents.mjs';
import { openBrowser } from './lib/browser.mjs';
import { startDemo, useDemo } from './lib/demo.mjs';
import { artifacts, cases, runCase } from './lib/cases.mjs';
import { firefox } from './lib/firefox.mjs';
import { removeScratch } from './lib/scratch.mjs';

const words = process.argv.slice(2);
for (const file of ['chat', 'chats', 'keeping', 'worker', 'files', 'spool', 'tabs', 'faults', 'unshown', 'looks', 'scrolling', 'agents', 'firefox', 'restart', 'keys']) await import(`./cases/${file}.mjs`);

/** Why this test cannot run here. On a CI machine a missing browser is a failure, not a reason. */
function obstacle(one) {
  if ((one.restarts || one.agents) && given) return 'the demo is not ours';
  if (one.firefox && !firefox && process.env.CI !== 'true') return 'no Firefox on this machine (Debian: `apt-get install firefox-esr`)';
  return null;
}

await rm(artifacts, { recursive: true, force: true });
const given = process.env.SEALDESK_PAGE;
const demo = given ? useDemo(given) : await startDemo();
const browser = await openBrowser();
let passed = 0;
let failed = 0;
let skipped = 0;
try {
  for (const one of cases) {
    if (words.length > 0 && !words.some((word) => one.name.includes(word))) continue;
    const reason = obstacle(one);
    if (reason) {
      console.log(`!!! SKIPPED  ${one.name}: ${reason}`);
      skipped += 1;
      continue;
    }
    if (await runCase(one, browser, demo)) passed += 1;
    else failed += 1;
  }
} finally {
  await browser.close();
  await stopAgents();
  await demo.stop();
  await removeScratch();
}
console.log(`${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
