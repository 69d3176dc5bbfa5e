// One tab at a time: a Web Lock that the worker holds as long as it drives the vault. It passes on by itself when the
// tab closes or crashes. A tab that is loaded again gives it back for a moment: one that nobody sees does not snatch it.

/** For how long a tab that nobody sees leaves the lock to others, ms. */
const COURTESY = 10_000;

/** Whether somebody sees this tab. */
export class Sight {
  #seen = true;
  #changed: () => void = () => undefined;

  get seen(): boolean {
    return this.#seen;
  }

  set seen(seen: boolean) {
    this.#seen = seen;
    if (seen) this.#changed();
  }

  /** Until somebody does, at most this long. */
  async within(time: number): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#changed = resolve;
      setTimeout(resolve, time);
    });
  }
}

export class TabLock {
  #name: string;
  #sight: Sight;
  #waiting: AbortController | null = null;
  #release: (() => void) | null = null;

  constructor(name: string, sight: Sight) {
    this.#name = name;
    this.#sight = sight;
  }

  /** Whether this tab has it now; `lost` is called when another tab takes it away. */
  async take(lost: () => void): Promise<boolean> {
    return this.#request({ ifAvailable: true }, lost);
  }

  /** When the tab that holds it goes away. */
  async wait(lost: () => void): Promise<boolean> {
    this.#waiting = new AbortController();
    const { signal } = this.#waiting;
    while (await this.#request({ signal }, lost)) {
      if (this.#sight.seen) return true;
      this.release();
      await this.#sight.within(COURTESY);
      if (signal.aborted) return false;
      if (await this.take(lost)) return true;
    }
    return false;
  }

  /** At once, from whoever holds it. */
  async steal(lost: () => void): Promise<boolean> {
    this.#waiting?.abort();
    // It has come meanwhile: taken from itself, it would be lost.
    if (this.#release) return true;
    return this.#request({ steal: true }, lost);
  }

  release(): void {
    this.#release?.();
    this.#release = null;
  }

  #request(options: LockOptions, lost: () => void): Promise<boolean> {
    return new Promise((resolve) => {
      let held = false;
      navigator.locks
        .request(this.#name, options, (lock) => {
          resolve(lock !== null);
          if (!lock) return undefined;
          held = true;
          return new Promise<void>((release) => {
            this.#release = release;
          });
        })
        .catch(() => {
          // Aborted while waiting, or taken away.
          if (held) lost();
          resolve(false);
        });
    });
  }
}
