// Relay, agent and page: `cargo xtask demo --headless` in a folder of its own, on free ports.

import { spawn } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));
/** A first start compiles everything. */
const START = 20 * 60_000;
const STOP = 20_000;

class Demo {
  #data;
  #child = null;
  #ended = Promise.resolve();
  page = '';

  constructor(data) {
    this.#data = data;
  }

  /** The first time on free ports, then on the same ones. */
  async start() {
    const ports = this.page === '' ? ['--port', '0', '--relay-port', '0'] : [];
    const child = spawn('cargo', ['xtask', 'demo', '--headless', '--data', this.#data, ...ports], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.#ended = new Promise((resolve) => child.once('close', resolve));
    let told = '';
    child.stderr.on('data', (text) => {
      told = (told + text).slice(-4000);
    });
    const ready = new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        if (line.startsWith('{')) resolve(JSON.parse(line));
      });
      child.once('close', (code) => reject(new Error(`the demo ended (${code}):\n${told}`)));
      child.once('error', reject);
      setTimeout(() => reject(new Error(`the demo is not ready:\n${told}`)), START).unref();
    });
    this.page = (await ready).page;
  }

  /** kill -9 for the relay; the demo then ends by itself. */
  async killRelay() {
    for (const name of await readdir('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      const words = (await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')).split('\0');
      if (words.includes('serve') && words.includes(join(this.#data, 'relay.toml'))) process.kill(Number(name), 'SIGKILL');
    }
    await this.#ended;
  }

  async stop() {
    if (this.#child?.exitCode === null) {
      this.#child.kill('SIGTERM');
      const late = setTimeout(() => this.#child.kill('SIGKILL'), STOP);
      await this.#ended;
      clearTimeout(late);
    }
    await rm(this.#data, { recursive: true, force: true });
  }
}

export async function startDemo() {
  const demo = new Demo(await mkdtemp(join(tmpdir(), 'sealdesk-demo-')));
  await demo.start();
  return demo;
}

/** A demo that runs already. */
export const useDemo = (page) => ({ page, stop: () => Promise.resolve() });
