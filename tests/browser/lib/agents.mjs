// Agents that a test drives itself: a team and a topic of their own in the demo's organisation, and for each agent a
// `sealdesk agent chat --json --manual`, which accepts and answers only when the test says so.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const sealdesk = process.env.SEALDESK_BIN || join(process.env.CARGO_TARGET_DIR || join(root, 'target'), 'debug/sealdesk');
const call = promisify(execFile);

/** Waiting for a line of an agent's program, ms. */
const PATIENCE = 30_000;

const running = new Set();

/** Ends what tests left running. */
export async function stopAgents() {
  await Promise.all([...running].map((agent) => agent.stop()));
}

export class Team {
  #demo;

  /** A team `id`, alone responsible for a topic of the same name. */
  static async found(demo, id, name = id) {
    const team = new Team();
    team.id = id;
    team.#demo = demo;
    await team.#set('--team', `${id}=${name}`, '--topic', `${id}=${id}:${name}`);
    return team;
  }

  /** Changes the privacy notice; the page's own org.json stays as it is. */
  async notice(text) {
    const file = this.#file('notice.txt');
    await writeFile(file, text);
    await this.#set('--notice', `en=${file}`);
  }

  /** Revokes an agent's devices. */
  revoke(agent) {
    return this.#change('agent', 'revoke', '--agent', agent);
  }

  /** A new root key: what was certified before counts no more where the new org.json is in force. */
  rotate() {
    return this.#change('org', 'rotate-root');
  }

  /** Gives a home the organisation as it is now, and the certificate that was made for its device. */
  async install(agent, home = this.#file(`${agent}.home`)) {
    const put = async (from, name) => {
      const beside = join(home, `${name}.new`);
      await copyFile(this.#file(from), beside);
      await rename(beside, join(home, name));
    };
    await put('admin/org.json', 'org.json');
    await put(`admin/agents/${agent}-1.certificate`, 'certificate');
  }

  /** The organisation as it is now. */
  org() {
    return readFile(this.#file('admin/org.json'), 'utf8');
  }

  /** org.json of another organisation, of which this demo's relay knows nothing. */
  async foreign(relayName = 'relay.example') {
    const dir = this.#file(`others-at-${relayName}`);
    const pass = ['--passphrase-file', this.#file('admin.pass')];
    const relay = ['--relay-name', relayName, '--relay-url', this.#demo.relay];
    await call(sealdesk, ['org', 'init', '--demo', '--dir', dir, '--name', 'Others', ...relay, ...pass]);
    return readFile(join(dir, 'org.json'), 'utf8');
  }

  #set(...change) {
    return this.#change('org', 'set', ...change);
  }

  async #change(part, verb, ...more) {
    const before = await this.#takenOver();
    await this.#admin(part, verb, ...more);
    // The relay looks for a new org.json now and then; a customer who asks before is told that there is no such topic.
    for (const end = Date.now() + PATIENCE; (await this.#takenOver()) === before; await new Promise((resolve) => setTimeout(resolve, 100))) {
      if (Date.now() > end) throw new Error('the relay did not take the new org.json over');
    }
  }

  /** How often the relay said that it took a new org.json over. */
  async #takenOver() {
    return (await readFile(this.#file('relay.log'), 'utf8')).split('a new org.json is in force').length;
  }

  #file(name) {
    return join(this.#demo.data, name);
  }

  #admin(part, verb, ...more) {
    const who = ['--dir', this.#file('admin'), '--passphrase-file', this.#file('admin.pass')];
    return call(sealdesk, [part, verb, ...who, ...more]);
  }

  /** An agent with a certificate, not started yet. */
  async hire(agent, name) {
    const [home, invitation, request] = ['home', 'invitation', 'request'].map((end) => this.#file(`${agent}.${end}`));
    const pass = ['--passphrase-file', this.#file('agent.pass')];
    await this.#admin('agent', 'invite', '--agent', agent, '--name', name, '--team', this.id, '--out', invitation);
    await call(sealdesk, ['agent', 'enroll', '--invitation', invitation, '--home', home, ...pass, '--out', request]);
    await this.#admin('agent', 'approve', '--unchecked', '--request', request, '--out', join(home, 'certificate'));
    return new Agent(['agent', 'chat', '--json', '--manual', '--relay', this.#demo.relay, '--home', home, ...pass]);
  }

  /** The page was built before the team was there: this visitor gets the organisation as it is now. */
  async introduce(visitor) {
    const body = await this.org();
    await visitor.context.route('**/org.json', (route) => route.fulfill({ body, contentType: 'application/json' }));
  }
}

class Agent {
  #command;
  #child = null;
  #lines = [];
  #accepted = new Set();
  #arrived = () => {};

  constructor(command) {
    this.#command = command;
  }

  /** Until it is connected. */
  async start() {
    this.#child = spawn(sealdesk, this.#command, { stdio: ['pipe', 'pipe', 'ignore'] });
    running.add(this);
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.#lines.push(JSON.parse(line));
      this.#arrived();
    });
    await this.hear((line) => line.link?.state === 'online');
  }

  tell(command) {
    this.#child.stdin.write(`${JSON.stringify(command)}\n`);
  }

  /** The first line for which `wanted` answers true; it and those before it are not heard again. */
  hear(wanted) {
    return this.#line(wanted, false);
  }

  /** The first line for which `wanted` answers true; those before it may still be heard. */
  pick(wanted) {
    return this.#line(wanted, true);
  }

  async #line(wanted, picked) {
    const end = Date.now() + PATIENCE;
    for (;;) {
      const at = this.#lines.findIndex(wanted);
      if (at >= 0) return this.#lines.splice(picked ? at : 0, picked ? 1 : at + 1).at(-1);
      const left = end - Date.now();
      if (left <= 0) {
        throw new Error(`the agent did not say it; it said:\n${this.#lines.map((line) => JSON.stringify(line)).join('\n')}`);
      }
      await Promise.race([
        new Promise((resolve) => (this.#arrived = resolve)),
        new Promise((resolve) => setTimeout(resolve, left)),
      ]);
    }
  }

  async accept() {
    // The first message may have been said before it.
    const { conversation } = await this.pick((line) => line.assigned && !this.#accepted.has(line.conversation));
    this.#accepted.add(conversation);
    this.tell({ accept: {}, conversation });
    return conversation;
  }

  async stop() {
    running.delete(this);
    if (this.#child?.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGTERM');
    await once(this.#child, 'close');
  }
}
