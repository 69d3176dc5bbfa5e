// org.json is asked for again: every hour, before another chat, when the device's clock was set, and when the relay's is
// not ours. Then it is asked for in growing pauses until another one is there: the relay may have it long before
// the web server.

import { asProblem } from './core';
import type { Organisation } from './core';
import type { Problem } from './protocol';

const EVERY = 60 * 60_000;
/** The first pause while the relay's is newer, ms; then twice as long each time, up to {@link EVERY}. */
const FIRST = 5000;

/** What comes when the relay's org.json is newer than ours, or of another organisation. */
const OUTDATED = ['consent_outdated', 'consent_missing', 'unknown_topic', 'revocations_refused', 'certificate_foreign'];

/** Those of them of which is said when they hold no longer: until then the one that was taken over was not the awaited one. */
const CLEARED = ['revocations_refused', 'certificate_foreign'];

export class Renewal {
  #inForce: Organisation;
  #offer: (organisation: Organisation) => void;
  #tell: (problem: Problem) => void;
  #read: (() => Promise<Organisation>) | null = null;
  /** On its way into the vault. */
  #offered: Organisation | null = null;
  #hourly = 0;
  #next = 0;
  /** 0: nothing says that ours is the older one. */
  #pause = 0;
  /** What says so, as long as it holds. */
  #standing = new Set<string>();
  /** Another one was taken over since then. */
  #changed = false;
  /** Why the last one was not taken over: told once. */
  #refusal = '';

  /** `offer` gives one to the engine, which answers by {@link taken} or {@link refused}. */
  constructor(inForce: Organisation, offer: (organisation: Organisation) => void, tell: (problem: Problem) => void) {
    this.#inForce = inForce;
    this.#offer = offer;
    this.#tell = tell;
  }

  /** What the vault is opened with: never one that the engine did not take, since an older one would be a roll-back. */
  get inForce(): Organisation {
    return this.#inForce;
  }

  begin(read: () => Promise<Organisation>): void {
    this.#read = read;
    this.#hourly = setInterval(() => void this.ask(), EVERY);
  }

  stop(): void {
    this.#read = null;
    clearInterval(this.#hourly);
    clearTimeout(this.#next);
  }

  async ask(): Promise<void> {
    if (!this.#read) return;
    clearTimeout(this.#next);
    try {
      const organisation = await this.#read();
      if (this.#offered) return;
      this.#offered = organisation;
      this.#offer(organisation);
    } catch (error) {
      // Another one, which could be read, is on its way meanwhile.
      if (!this.#offered) this.refused(asProblem(error));
    }
  }

  /** A problem was told: the relay's may be newer. */
  heard(code: string): void {
    if (!OUTDATED.includes(code) || this.#standing.has(code)) return;
    this.#standing.add(code);
    this.#changed = false;
    this.#pause = FIRST;
    void this.ask();
  }

  /** What was {@link heard} holds no longer. */
  cleared(code: string): void {
    this.#standing.delete(code);
    if (this.#changed) this.#rest();
  }

  /** Answers whether that is news: another one is in force, or one that was refused has gone. */
  taken(): boolean {
    const offered = this.#offered ?? this.#inForce;
    const other = !offered.equals(this.#inForce);
    const news = other || this.#refusal !== '';
    this.#inForce = offered;
    this.#offered = null;
    this.#refusal = '';
    this.#later();
    if (other) {
      this.#changed = true;
      // Of these it is not said: they come again if they still hold.
      for (const code of OUTDATED) if (!CLEARED.includes(code)) this.#standing.delete(code);
      this.#rest();
    }
    return news;
  }

  /** The one before stays in force. */
  refused(problem: Problem): void {
    this.#offered = null;
    // No network, or the company's web server is away: that mends itself.
    if (problem.code !== 'org_missing' && problem.code !== this.#refusal) this.#tell(problem);
    this.#refusal = problem.code;
    this.#later();
  }

  /** The engine to which it was offered is gone. */
  lost(): void {
    this.#offered = null;
    this.#later();
  }

  /** Nothing says any more that ours is the older one. */
  #rest(): void {
    if (this.#standing.size > 0) return;
    this.#pause = 0;
    clearTimeout(this.#next);
  }

  #later(): void {
    clearTimeout(this.#next);
    if (this.#pause === 0 || !this.#read) return;
    this.#next = setTimeout(() => void this.ask(), this.#pause);
    this.#pause = Math.min(2 * this.#pause, EVERY);
  }
}
