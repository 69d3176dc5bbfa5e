// One tab at a time: a Web Lock that the worker holds as long as it drives the vault. It passes on by itself when the
// tab closes or crashes.

export class TabLock {
  #name: string;
  #waiting: AbortController | null = null;
  #release: (() => void) | null = null;

  constructor(name: string) {
    this.#name = name;
  }

  /** Whether this tab has it now; `lost` is called when another tab takes it away. */
  async take(lost: () => void): Promise<boolean> {
    return this.#request({ ifAvailable: true }, lost);
  }

  /** When the tab that holds it goes away. */
  async wait(lost: () => void): Promise<boolean> {
    this.#waiting = new AbortController();
    return this.#request({ signal: this.#waiting.signal }, lost);
  }

  /** At once, from whoever holds it. */
  async steal(lost: () => void): Promise<boolean> {
    this.#waiting?.abort();
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
