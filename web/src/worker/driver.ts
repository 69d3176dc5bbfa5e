// Drives the engine:
//
//   1. wait for inputs, or until the engine wants to be woken
//   2. step
//   3. commit the step's writes: atomic, durable, fenced; no input enters meanwhile
//   4. perform the outputs, which only enqueue
//
// When a commit fails, the engine and its outputs are dropped and it is opened again from the vault; the commands of
// that step fail, and the page keeps their texts. A vault that another tab took over stops the driver for good.

import * as clock from './clock';
import { Core, Rows, asProblem, conversations, page, pageNames, step } from './core';
import type { Organisation, Output, Row, Step } from './core';
import { Files } from './files';
import type { Conversation, CoreEvent, Hex, Problem, ToPage, ToWorker } from './protocol';
import { Sockets } from './sockets';
import { Fenced } from './vault';
import type { Vault } from './vault';

/** Messages of one page of the transcript. */
const PAGE = 60;
/** Longest time that a timer may take, ms. */
const LONGEST_WAIT = 2 ** 31 - 1;
/** Before a vault that could not be written is tried again, ms; doubled with each failure, up to the second number. */
const PAUSE = 1000;
const LONGEST_PAUSE = 30_000;

const unwritten: Problem = { code: 'vault_write', fault: 'you', text: 'The browser could not store the chat.', hint: '' };

const unopened: Problem = { code: 'local_file', fault: 'you', text: 'The opened file could not be read.', hint: '' };

/** Command id of what the person did not ask for; nobody waits for its answer. */
const UNASKED = 0;
/** How often org.json is fetched again, ms. */
const ORGANISATION_EVERY = 60 * 60_000;

type Input = (core: Core) => void;

function rowsOf(records: Row[]): Rows {
  const rows = new Rows();
  for (const [name, sealed] of records) rows.add(name, sealed);
  return rows;
}

export class Driver {
  #vault: Vault;
  #organisation: Organisation;
  #post: (message: ToPage) => void;
  #core: Core;
  #sockets: Sockets;
  #files: Files;
  #inputs: { apply: Input; command: number | null }[] = [];
  #arrived: () => void = () => undefined;
  #stopped = false;
  #refreshing = 0;
  /** Attachments being opened: command id to transfer. */
  #saves = new Map<number, Hex>();
  /** Files being encrypted: command id to transfer. */
  #sends = new Map<number, Hex>();
  #spool: Promise<void> = Promise.resolve();

  private constructor(vault: Vault, files: Files, organisation: Organisation, relays: string[], core: Core, post: (message: ToPage) => void) {
    this.#vault = vault;
    this.#files = files;
    this.#organisation = organisation;
    this.#core = core;
    this.#post = post;
    this.#sockets = new Sockets(relays, {
      opened: (n) => this.#put((core) => core.opened(n)),
      frame: (n, bytes) => this.#put((core) => core.frame(n, bytes)),
      closed: (n) => this.#put((core) => core.closed(n)),
    });
  }

  /** Opens the vault, or makes a new one. Throws a problem when it is damaged or not this organisation's. */
  static async open(vault: Vault, files: Files, organisation: Organisation, relays: string[], post: (message: ToPage) => void): Promise<Driver> {
    await vault.takeOver();
    clock.neverBefore(await vault.lastTime());
    return new Driver(vault, files, organisation, relays, await openCore(vault, organisation), post);
  }

  get conversations(): Conversation[] {
    return conversations(this.#core);
  }

  /** Until {@link stop}, or until another tab takes over (true). */
  async run(read: () => Promise<Organisation>): Promise<boolean> {
    this.#refreshing = setInterval(() => void this.refresh(read), ORGANISATION_EVERY);
    let failures = 0;
    let wakeAt: number | null = null;
    // A core that was just made or opened has a step of its own to hand out first.
    let fresh = true;
    while (!this.#stopped) {
      if (!fresh) await this.#wait(wakeAt);
      if (this.#stopped) break;
      const inputs = fresh ? [] : this.#inputs.splice(0);
      for (const { apply, command } of inputs) this.#apply(apply, command);
      if (wakeAt !== null && clock.mono() >= wakeAt) this.#core.tick();
      fresh = false;
      const decided: Step = step(this.#core, clock.wall(), clock.mono());
      try {
        if (decided.writes.length > 0) {
          await this.#vault.commit(decided.writes, decided.generation, clock.wall());
          failures = 0;
        }
      } catch (error) {
        if (error instanceof Fenced) return true;
        await this.#reopen(inputs.flatMap(({ command }) => command ?? []), failures++);
        wakeAt = null;
        fresh = true;
        continue;
      }
      wakeAt = decided.wakeAt;
      this.#perform(decided.outputs);
    }
    return false;
  }

  /** A newer org.json is taken over; one that is refused is reported, and the one before stays in force. */
  async refresh(read: () => Promise<Organisation>): Promise<void> {
    try {
      const organisation = await read();
      this.#put((core) => core.updateOrg(UNASKED, organisation));
      this.#organisation = organisation;
    } catch (error) {
      const problem = asProblem(error);
      // No network, or the company's web server is away: the next hour will do.
      if (problem.code !== 'org_missing') this.#event({ type: 'problem', conversation: null, problem });
    }
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#refreshing);
    this.#sockets.closeAll();
    this.#arrived();
  }

  /** After {@link run} ended. */
  free(): void {
    this.#core.free();
  }

  /** What the page wants. */
  async handle(message: ToWorker): Promise<void> {
    switch (message.type) {
      case 'online':
        return this.#put((core) => core.online(message.online));
      case 'open':
        return this.#command(message.id, (core) => core.openConversation(message.id, message.topic, message.language, message.notice));
      case 'send':
        return this.#command(message.id, (core) => core.sendText(message.id, message.conversation, message.text));
      case 'sendFile': {
        const { id, conversation, transfer, file, name } = message;
        if (file.size === 0) {
          return this.#event({ type: 'failed', id, problem: { code: 'file_empty', fault: 'you', text: 'The file is empty.', hint: '' } });
        }
        this.#files.send(transfer, file);
        this.#sends.set(id, transfer);
        return this.#command(id, (core) => core.sendFile(id, conversation, transfer, name, file.type || 'application/octet-stream', file.size));
      }
      case 'saveFile': {
        const { conversation, device, counter, body } = message.message;
        if (body.kind !== 'file') return undefined;
        await this.#files.save(body);
        this.#saves.set(message.id, body.transfer);
        return this.#command(message.id, (core) => core.saveFile(message.id, conversation, device, counter));
      }
      case 'dropFile':
        return this.#files.drop(message.transfer);
      case 'close':
        return this.#command(message.id, (core) => core.close(message.id, message.conversation));
      case 'forget':
        return this.#command(message.id, (core) => core.forget(message.id, message.conversation));
      case 'allowReassignment':
        return this.#command(message.id, (core) => core.allowReassignment(message.id, message.conversation));
      case 'typing':
        return this.#put((core) => core.typing(UNASKED, message.conversation, message.on));
      case 'read':
        return this.#put((core) => core.markRead(UNASKED, message.conversation, message.counter));
      case 'page':
        return this.#page(message.conversation, message.before);
      case 'draft':
        return this.#vault.saveDraft(message.text).catch(() => undefined);
      case 'takeOver':
        return undefined;
    }
  }

  async #page(conversation: Hex, before: number): Promise<void> {
    const names = pageNames(this.#core, conversation, before, PAGE);
    const records = await this.#vault.rows(names);
    const messages = page(this.#core, rowsOf(records));
    this.#post({ type: 'page', conversation, messages, more: names.length === PAGE });
  }

  #command(id: number, apply: Input): void {
    this.#inputs.push({ apply, command: id });
    this.#arrived();
  }

  #put(apply: Input): void {
    if (this.#stopped) return;
    this.#inputs.push({ apply, command: null });
    this.#arrived();
  }

  #event(event: CoreEvent): void {
    this.#post({ type: 'events', events: [event] });
  }

  #apply(apply: Input, command: number | null): void {
    try {
      apply(this.#core);
    } catch (error) {
      if (command !== null) this.#event({ type: 'failed', id: command, problem: asProblem(error) });
    }
  }

  #wait(wakeAt: number | null): Promise<void> {
    if (this.#inputs.length > 0 || this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = wakeAt === null ? 0 : setTimeout(resolve, Math.min(Math.max(0, wakeAt - clock.mono()), LONGEST_WAIT));
      this.#arrived = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #reopen(failed: number[], failures: number): Promise<void> {
    this.#sockets.closeAll();
    for (const id of failed) this.#event({ type: 'failed', id, problem: unwritten });
    if (failed.length === 0) this.#event({ type: 'problem', conversation: null, problem: unwritten });
    await new Promise((resolve) => setTimeout(resolve, Math.min(PAUSE * 2 ** failures, LONGEST_PAUSE)));
    const old = this.#core;
    this.#core = await openCore(this.#vault, this.#organisation);
    old.free();
  }

  #perform(outputs: Output[]): void {
    const events: CoreEvent[] = [];
    for (const output of outputs) {
      switch (output.do) {
        case 'connect':
          this.#sockets.connect(output.n);
          break;
        case 'send':
          this.#sockets.send(output.n, output.bytes);
          break;
        case 'disconnect':
          this.#sockets.disconnect(output.n);
          break;
        case 'read':
          void this.#read(output);
          break;
        case 'write':
          void this.#store(output);
          break;
        case 'drop':
          void this.#vault.dropSpool(output.transfer).catch(() => undefined);
          break;
        case 'event':
          if ('id' in output.event && output.event.id === UNASKED) break;
          this.#finish(output.event);
          events.push(output.event);
          break;
      }
    }
    if (events.length > 0) this.#post({ type: 'events', events });
  }

  async #read({ transfer, file, offset, length }: Extract<Output, { do: 'read' }>): Promise<void> {
    try {
      await this.#spool;
      const bytes = await (file ? this.#files.read(transfer, offset, length) : this.#vault.readSpool(transfer, offset, length));
      this.#put((core) => core.chunk(transfer, file, offset, bytes));
    } catch {
      this.#put((core) => core.chunkFailed(transfer, file));
    }
  }

  /** One after the other, in the order of the outputs. */
  #store({ transfer, file, offset, bytes }: Extract<Output, { do: 'write' }>): Promise<void> {
    this.#spool = this.#spool.then(async () => {
      try {
        if (file) this.#files.write(transfer, offset, bytes);
        else await this.#vault.writeSpool(transfer, offset, bytes);
        this.#put((core) => core.chunkStored(transfer, file, offset));
      } catch {
        this.#put((core) => core.chunkFailed(transfer, file));
      }
    });
    return this.#spool;
  }

  /** Hands an opened attachment over, lets go of a file that is in the spool. */
  #finish(event: CoreEvent): void {
    if (event.type !== 'done' && event.type !== 'failed') return;
    const saved = this.#saves.get(event.id);
    const sent = this.#sends.get(event.id);
    this.#saves.delete(event.id);
    this.#sends.delete(event.id);
    if (sent) this.#files.sent(sent);
    if (saved) void this.#handOver(event, saved);
  }

  async #handOver({ type, id }: Extract<CoreEvent, { type: 'done' | 'failed' }>, transfer: Hex): Promise<void> {
    if (type === 'failed') return this.#files.drop(transfer);
    try {
      this.#post({ type: 'file', id, transfer, file: await this.#files.take(transfer) });
    } catch {
      this.#event({ type: 'failed', id, problem: unopened });
    }
  }
}

async function openCore(vault: Vault, organisation: Organisation): Promise<Core> {
  const records = await vault.hot(Core.isHot);
  const key = await vault.key();
  if (records.length === 0) return Core.create(key, organisation, clock.wall(), clock.mono());
  return Core.open(key, organisation, rowsOf(records), clock.wall(), clock.mono());
}
