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

/** Long enough for an agent that accepts by itself, short enough to wait for one that does not, s. */
const ACCEPT = '15';

class Demo {
  data;
  #child = null;
  #ended = Promise.resolve();
  page = '';
  relay = '';

  constructor(data) {
    this.data = data;
  }

  /** The first time on free ports, then on the same ones. */
  async start() {
    const ports = this.page === '' ? ['--port', '0', '--relay-port', '0'] : [];
    const child = spawn('cargo', ['xtask', 'demo', '--headless', '--data', this.data, '--accept-seconds', ACCEPT, ...ports], {
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
    const { page, relay } = await ready;
    Object.assign(this, { page, relay });
  }

  /** kill -9 for the relay; the demo then ends by itself. */
  async killRelay() {
    for (const { pid, words } of await this.programs()) {
      if (words.includes('serve')) process.kill(pid, 'SIGKILL');
    }
    await this.#ended;
  }

  /** kill -9 for the demo itself, which then cannot end its programs. */
  async kill() {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  /** The relay and the agent of this demo, as far as they run. */
  async programs() {
    const found = [];
    for (const name of await readdir('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      const words = (await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')).split('\0');
      const ours = [join(this.data, 'relay.toml'), join(this.data, 'agent')];
      if (words.some((word) => ours.includes(word))) found.push({ pid: Number(name), words });
    }
    return found;
  }

  async stop() {
    if (this.#child?.exitCode === null) {
      this.#child.kill('SIGTERM');
      const late = setTimeout(() => this.#child.kill('SIGKILL'), STOP);
      await this.#ended;
      clearTimeout(late);
    }
    await rm(this.data, { recursive: true, force: true });
  }
}

export async function startDemo() {
  const demo = new Demo(await mkdtemp(join(tmpdir(), 'sealdesk-demo-')));
  await demo.start();
  return demo;
}

/** A demo that runs already. */
export const useDemo = (page) => ({ page, stop: () => Promise.resolve() });
