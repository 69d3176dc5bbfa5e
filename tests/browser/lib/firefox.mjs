// Firefox as it is installed here, driven by WebDriver BiDi: a person with a browser of their own. What they can do has
// the names of visitor.mjs.
//
// The driver's own ways of waiting and of finding elements make functions from text, which the page's policy forbids.
// So everything here is a function that is called in the page, again and again where something has to appear.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';
import { scratch } from './scratch.mjs';

/** Waiting for something to appear, ms. */
const PATIENCE = 60_000;
const STEP = 50;
/** The first start of a Firefox on a machine reads it all from the disk, ms. */
const START = 120_000;

/** Where Firefox is; none when it is not installed. */
export const firefox = [process.env.SEALDESK_FIREFOX, '/usr/bin/firefox-esr', '/usr/bin/firefox'].find((path) => path && existsSync(path));

export class FirefoxVisitor {
  said = [];
  #faults = [];
  #browser;
  #downloads;

  static async arrive(demo) {
    const visitor = new FirefoxVisitor();
    visitor.demo = demo;
    visitor.#downloads = await scratch('firefox-downloads');
    visitor.#browser = await puppeteer.launch({
      browser: 'firefox',
      executablePath: firefox,
      headless: true,
      timeout: START,
      protocolTimeout: START,
      extraPrefsFirefox: {
        'intl.accept_languages': 'en',
        'browser.download.folderList': 2,
        'browser.download.dir': visitor.#downloads,
      },
    });
    const page = await visitor.#browser.newPage();
    await page.evaluateOnNewDocument(() => {
      document.addEventListener('securitypolicyviolation', (event) => {
        console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`);
      });
    });
    page.on('console', (message) => {
      const line = `${message.type()}: ${message.text()}`;
      visitor.said.push(line);
      if (message.type() === 'error') visitor.#faults.push(line);
    });
    page.on('pageerror', (error) => visitor.#faults.push(`uncaught: ${error.message}`));
    visitor.page = page;
    return visitor;
  }

  checkQuiet() {
    assert.deepEqual(this.#faults, [], 'the console stays free of errors');
  }

  async leave() {
    await this.#browser.close();
  }

  /** Until the function answers something true in the page. */
  async until(what, run, ...values) {
    const end = Date.now() + PATIENCE;
    for (;;) {
      const answer = await this.page.evaluate(run, ...values);
      if (answer) return answer;
      assert.ok(Date.now() < end, `not within ${PATIENCE / 1000} s: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, STEP));
    }
  }

  there(selector) {
    return this.until(selector, (wanted) => document.querySelector(wanted) !== null, selector);
  }

  /** Opens the page, agrees to the notice, waits until an agent is there. */
  async enter() {
    await this.page.goto(this.demo.page);
    await this.there('.consent button[type=submit]');
    await this.page.evaluate(() => document.querySelector('.consent button[type=submit]').click());
    await this.there('.status .icon-shield');
  }

  /** By the keys of a keyboard; the field is empty afterwards. */
  async write(text) {
    await this.page.evaluate(() => document.querySelector('.composer textarea').focus());
    await this.page.keyboard.type(text);
    await this.page.keyboard.press('Enter');
  }

  texts() {
    return this.page.evaluate(() => [...document.querySelectorAll('.message .text')].map((one) => one.textContent));
  }

  see(text) {
    const shown = (wanted) => [...document.querySelectorAll('.message .text')].some((one) => one.textContent === wanted);
    return this.until(`"${text}" is shown`, shown, text);
  }

  async attach(path) {
    const picker = await this.page.evaluateHandle(() => document.querySelector('input[type=file]'));
    await picker.asElement().uploadFile(path);
  }

  /** Clicks "Save" of the last file and waits for the download. */
  async save(name) {
    await this.page.evaluate(() => [...document.querySelectorAll('.file-actions .file-button:last-child')].at(-1).click());
    const end = Date.now() + PATIENCE;
    for (;;) {
      const there = await readdir(this.#downloads);
      if (there.includes(name) && !there.some((one) => one.endsWith('.part'))) return readFile(join(this.#downloads, name));
      assert.ok(Date.now() < end, `${name} was not saved; there is: ${there}`);
      await new Promise((resolve) => setTimeout(resolve, STEP));
    }
  }
}
