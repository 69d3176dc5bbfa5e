// A person with a browser of their own: what they do on the page, and what they see.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { openBlocked } from './browser.mjs';
import { scratch } from './scratch.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Waiting for something to appear, ms. */
const PATIENCE = 60_000;

export class Visitor {
  /** Everything that the page's console said. */
  said = [];
  #faults = [];
  #expected = [];

  static async arrive(browser, demo, options) {
    const visitor = new Visitor();
    visitor.demo = demo;
    const { blocked, ...more } = { locale: 'en', viewport: { width: 1280, height: 800 }, ...options };
    visitor.context = blocked ? await openBlocked(await scratch('blocked'), more) : await browser.newContext(more);
    visitor.context.setDefaultTimeout(PATIENCE);
    await visitor.context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => {
        console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`);
      });
    });
    visitor.page = await visitor.tab();
    return visitor;
  }

  /** A further tab of the same browser. */
  async tab() {
    const page = await this.context.newPage();
    page.on('console', (message) => {
      const line = `${message.type()}: ${message.text()}`;
      this.said.push(line);
      if (message.type() === 'error' && !this.#expected.some((pattern) => pattern.test(line))) this.#faults.push(line);
    });
    page.on('pageerror', (error) => this.#faults.push(`uncaught: ${error.message}`));
    return page;
  }

  /** The browser itself logs lost connections as errors. */
  expect(pattern) {
    this.#expected.push(pattern);
  }

  checkQuiet() {
    assert.deepEqual(this.#faults, [], 'the console stays free of errors');
  }

  async leave() {
    await this.context.close();
  }

  async visit() {
    await this.page.goto(this.demo.page);
  }

  /** Opens the page, agrees to the notice, waits until an agent is there. */
  async enter() {
    await this.visit();
    await this.agree();
    await this.page.waitForSelector('.status .icon-shield');
  }

  async agree() {
    await this.page.click('.consent button[type=submit]');
    await this.page.waitForSelector('.composer textarea');
  }

  async write(text) {
    await this.page.fill('.composer textarea', text);
    await this.page.press('.composer textarea', 'Enter');
  }

  /** The texts of all messages, in order. */
  texts(page = this.page) {
    return page.$$eval('.message .text', (found) => found.map((one) => one.textContent));
  }

  /** Waits until the transcript ends this many pixels below the screen, or fewer, or more. */
  async below(compare, pixels) {
    await this.page.waitForFunction(
      ([sign, than]) => {
        const log = document.querySelector('.log');
        const left = log.scrollHeight - log.scrollTop - log.clientHeight;
        return sign === '<' ? left < than : left > than;
      },
      [compare, pixels],
    );
  }

  async see(text, page = this.page, patience = PATIENCE) {
    await page.waitForFunction(
      (wanted) => [...document.querySelectorAll('.message .text')].some((one) => one.textContent === wanted),
      text,
      { timeout: patience },
    );
  }

  /** Until the own message with this text has one of these states. */
  async state(text, ...states) {
    await this.page.waitForFunction(
      ([wanted, allowed]) =>
        [...document.querySelectorAll('.message.mine')].some(
          (one) => one.querySelector('.text')?.textContent === wanted && allowed.includes(one.dataset.state),
        ),
      [text, states],
      { timeout: PATIENCE },
    );
  }

  /**
   * Until nothing moves any more: colours in the middle of a transition are nobody's colours. An element that has just
   * come begins its animation with the frame that first shows it, so two quiet frames are waited for.
   */
  settle() {
    return this.page.evaluate(async () => {
      const moving = () => document.getAnimations().filter((one) => one.effect?.getTiming().iterations !== Infinity);
      for (let quiet = 0; quiet < 2; quiet += 1) {
        await new Promise(requestAnimationFrame);
        if (moving().length === 0) continue;
        quiet = -1;
        // One that is cancelled has ended as well.
        await Promise.allSettled(moving().map((one) => one.finished));
      }
    });
  }

  /** No violation of the accessibility rules on what is shown. */
  async checkAccess() {
    await this.page.evaluate(axe);
    await this.settle();
    const found = await this.page.evaluate(async () => {
      const { violations } = await globalThis.axe.run();
      return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.join(' ')).join(', ')}`);
    });
    assert.deepEqual(found, []);
  }
}
