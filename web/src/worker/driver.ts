// Drives the engine:
//
//   1. wait for inputs, or until the engine wants to be woken
//   2. step
//   3. commit the step's writes: atomic, durable, fenced; no input enters meanwhile
//   4. perform the outputs, which only enqueue
//
// When a commit fails, the engine and its outputs are dropped and it is opened again from the vault: every command that
// it had taken and not answered fails, and the page keeps texts and files. What still comes for the engine before is left
// out. A vault that another tab took over stops the driver for good; then all commands without an answer fail.

import * as clock from './clock';
import { Core, asProblem, conversations, orgView, rowsOf, spools, step } from './core';
import type { Organisation, Output, Step } from './core';
import { Files } from './files';
import { PageNotes } from './notes';
import { handedOver, underWay, unopened, unwritten } from './problems';
import type { Conversation, CoreEvent, Hex, Problem, ToPage, ToWorker } from './protocol';
import { Renewal } from './renewal';
import { Sockets } from './sockets';
import { readPage } from './transcript';
import { Fenced } from './vault';
import type { Vault } from './vault';

/** Longest time that a timer may take, ms. */
const LONGEST_WAIT = 2 ** 31 - 1;
/** Before a vault that could not be written is tried again, ms; doubled with each failure, up to the second number. */
const PAUSE = 1000;
const LONGEST_PAUSE = 30_000;

/** Command id of what the person did not ask for; nobody waits for its answer. */
const UNASKED = 0;
/** Command id of taking org.json over; the page counts its own from 1. */
const REFRESH = Number.MAX_SAFE_INTEGER;
/** Before the time is asked for once more, ms. */
const TIME_EVERY = 10_000;

type Apply = (core: Core) => void;

interface Input {
  apply: Apply;
  /** Whoever waits for an answer. */
  command: number | null;
  /** Only for this engine; null: for whichever drives the vault. */
  era: number | null;
}

interface Moved {
  transfer: Hex;
  conversation: Hex;
}

export class Driver {
  #vault: Vault;
  #post: (message: ToPage) => void;
  #core: Core;
  #sockets: Sockets;
  #files: Files;
  #inputs: Input[] = [];
  /** Commands that the engine took and has not answered. */
  #unanswered = new Set<number>();
  /** How many engines there were: each reopening begins a new one. */
  #era = 0;
  #arrived: () => void = () => undefined;
  #stopped = false;
  #renewal: Renewal;
  #notes = new PageNotes();
  /** Attachments being opened, by command. */
  #saves = new Map<number, Moved>();
  /** Files being encrypted, by command. */
  #sends = new Map<number, Hex>();

  private constructor(vault: Vault, files: Files, organisation: Organisation, relays: string[], core: Core, post: (message: ToPage) => void) {
    this.#vault = vault;
    this.#files = files;
    this.#core = core;
    this.#post = post;
    this.#renewal = new Renewal(
      organisation,
      (offered) => this.#command(REFRESH, (core) => core.updateOrg(REFRESH, offered)),
      (problem) => this.#event({ type: 'problem', conversation: null, problem }),
    );
    this.#sockets = new Sockets(relays, {
      opened: (n) => this.#answer(this.#era, (core) => core.opened(n)),
      frame: (n, bytes) => this.#answer(this.#era, (core) => core.frame(n, bytes)),
      closed: (n) => this.#answer(this.#era, (core) => core.closed(n)),
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

  /** Until {@link stop}, or until another tab takes over. */
  async run(read: () => Promise<Organisation>): Promise<void> {
    this.#renewal.begin(read);
    try {
      await this.#drive();
    } finally {
      this.stop();
      const left = this.#inputs.splice(0).flatMap(({ command }) => command ?? []);
      this.#abandon([...this.#unanswered, ...left], handedOver);
    }
  }

  async #drive(): Promise<void> {
    let asked = -Infinity;
    let failures = 0;
    let wakeAt: number | null = null;
    // A core that was just made or opened has a step of its own to hand out first.
    let fresh = true;
    while (!this.#stopped) {
      if (!fresh) await this.#wait(wakeAt);
      if (this.#stopped) break;
      for (const input of fresh ? [] : this.#inputs.splice(0)) this.#apply(input);
      if (wakeAt !== null && clock.mono() >= wakeAt) this.#core.tick();
      if (clock.uncertain() && clock.mono() > asked + TIME_EVERY) {
        asked = clock.mono();
        void this.#renewal.ask();
      }
      fresh = false;
      const decided: Step = step(this.#core, clock.wall(), clock.mono());
      try {
        if (decided.writes.length > 0) {
          await this.#vault.commit(decided.writes, decided.generation, clock.earliest(), this.#notes.without(answered(decided)));
          failures = 0;
        }
      } catch (error) {
        if (error instanceof Fenced) break;
        await this.#reopen(failures++);
        wakeAt = null;
        fresh = true;
        continue;
      }
      wakeAt = decided.wakeAt;
      this.#perform(decided.outputs);
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#renewal.stop();
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
      case 'refresh':
        return this.#renewal.ask();
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
        // What the command before opens into is not this one's to let go of.
        if (!(await this.#files.save(body))) return this.#event({ type: 'failed', id: message.id, problem: underWay });
        this.#saves.set(message.id, { transfer: body.transfer, conversation });
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
      case 'notes':
        // The vault is another tab's by then, and so are its notes.
        return this.#stopped ? undefined : this.#vault.saveNotes(this.#notes.say(message.kept)).catch(() => undefined);
      case 'takeOver':
        return undefined;
    }
  }

  async #page(conversation: Hex, before: number): Promise<void> {
    const read = await readPage(() => (this.#stopped ? null : this.#core), this.#vault, conversation, before);
    if (read) this.#post({ type: 'page', conversation, ...read });
  }

  #command(id: number, apply: Apply): void {
    if (this.#stopped) return this.#abandon([id], handedOver);
    this.#inputs.push({ apply, command: id, era: null });
    this.#arrived();
  }

  #put(apply: Apply): void {
    this.#inputs.push({ apply, command: null, era: null });
    this.#arrived();
  }

  /** What an output of an engine led to means nothing to the next engine, which counts its connections anew. */
  #answer(era: number, apply: Apply): void {
    this.#inputs.push({ apply, command: null, era });
    this.#arrived();
  }

  #event(event: CoreEvent): void {
    this.#post({ type: 'events', events: [event] });
  }

  #apply({ apply, command, era }: Input): void {
    if (era !== null && era !== this.#era) return;
    try {
      apply(this.#core);
      if (command !== null) this.#unanswered.add(command);
    } catch (error) {
      if (command !== null) this.#abandon([command], asProblem(error));
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

  async #reopen(failures: number): Promise<void> {
    this.#sockets.closeAll();
    this.#era++;
    if (this.#unanswered.size === 0) this.#event({ type: 'problem', conversation: null, problem: unwritten });
    this.#abandon([...this.#unanswered], unwritten);
    await new Promise((resolve) => setTimeout(resolve, Math.min(PAUSE * 2 ** failures, LONGEST_PAUSE)));
    if (this.#stopped) return;
    const old = this.#core;
    this.#core = await openCore(this.#vault, this.#renewal.inForce);
    old.free();
  }

  /** Commands that no engine will answer. What they left in the spool goes when the next engine opens. */
  #abandon(commands: number[], problem: Problem): void {
    for (const id of commands) {
      if (id === REFRESH) {
        // Nobody asked for it.
        this.#unanswered.delete(id);
        this.#renewal.lost();
        continue;
      }
      const failed: CoreEvent = { type: 'failed', id, problem };
      const saved = this.#saves.get(id);
      this.#finish(failed);
      this.#event(failed);
      if (saved) this.#event({ type: 'transfer', ...saved, done: 0, total: 0, state: 'failed', problem });
    }
  }

  #perform(outputs: Output[]): void {
    const events: CoreEvent[] = [];
    for (const output of outputs) {
      // The vault is another tab's by now; what was stored before still counts.
      if (this.#stopped && output.do !== 'event') continue;
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
          this.#finish(output.event);
          if (output.event.type === 'problem') this.#renewal.heard(output.event.problem.code);
          if (output.event.type === 'resolved') this.#renewal.cleared(output.event.code);
          if ('id' in output.event && (output.event.id === UNASKED || output.event.id === REFRESH)) break;
          events.push(output.event);
          break;
      }
    }
    if (events.length > 0) this.#post({ type: 'events', events });
  }

  async #read({ transfer, file, offset, length }: Extract<Output, { do: 'read' }>): Promise<void> {
    const era = this.#era;
    try {
      const bytes = await (file ? this.#files.read(transfer, offset, length) : this.#vault.readSpool(transfer, offset, length));
      this.#answer(era, (core) => core.chunk(transfer, file, offset, bytes));
    } catch {
      this.#answer(era, (core) => core.chunkFailed(transfer, file));
    }
  }

  async #store({ transfer, file, offset, bytes }: Extract<Output, { do: 'write' }>): Promise<void> {
    const era = this.#era;
    try {
      if (file) this.#files.write(transfer, offset, bytes);
      else await this.#vault.writeSpool(transfer, offset, bytes);
      this.#answer(era, (core) => core.chunkStored(transfer, file, offset));
    } catch {
      this.#answer(era, (core) => core.chunkFailed(transfer, file));
    }
  }

  /** Hands an opened attachment over, lets go of a file that is in the spool, keeps org.json for reopening. */
  #finish(event: CoreEvent): void {
    if (event.type !== 'done' && event.type !== 'failed') return;
    this.#unanswered.delete(event.id);
    const saved = this.#saves.get(event.id);
    const sent = this.#sends.get(event.id);
    this.#saves.delete(event.id);
    this.#sends.delete(event.id);
    if (sent !== undefined) this.#files.sent(sent);
    if (saved) void this.#handOver(event, saved.transfer);
    if (event.id === REFRESH) this.#refreshed(event);
  }

  #refreshed(event: Extract<CoreEvent, { type: 'done' | 'failed' }>): void {
    if (event.type === 'failed') this.#renewal.refused(event.problem);
    else if (this.#renewal.taken()) this.#post({ type: 'org', org: orgView(this.#renewal.inForce) });
  }

  async #handOver({ type, id }: Extract<CoreEvent, { type: 'done' | 'failed' }>, transfer: Hex): Promise<void> {
    if (type === 'failed') return this.#files.drop(transfer);
    try {
      this.#post({ type: 'file', id, transfer, file: await this.#files.take(transfer) });
    } catch {
      await this.#files.drop(transfer);
      this.#event({ type: 'failed', id, problem: unopened });
    }
  }
}

/** The commands that are done with this step. */
const answered = ({ outputs }: Step): number[] =>
  outputs.flatMap((output) => (output.do === 'event' && output.event.type === 'done' ? [output.event.id] : []));

async function openCore(vault: Vault, organisation: Organisation): Promise<Core> {
  const core = await readCore(vault, organisation);
  // What the engine before left unfinished begins anew, so nothing else drops it. What cannot be dropped now goes the next time.
  await vault.keepSpools(spools(core)).catch(() => undefined);
  return core;
}

async function readCore(vault: Vault, organisation: Organisation): Promise<Core> {
  const records = await vault.hot(Core.isHot);
  const key = await vault.key();
  if (records.length === 0) return Core.create(key, organisation, clock.wall(), clock.mono());
  return Core.open(key, organisation, rowsOf(records), clock.wall(), clock.mono());
}
