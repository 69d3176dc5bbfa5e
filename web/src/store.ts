// What the page knows: one state, changed by the worker's messages and by people, watched by the root component.

import { withAlert } from './alerts';
import type { Shown } from './alerts';
import { plain, shorten } from './display';
import { isAlarm, isOfRefusedOrganisation, isUnverified, meaning } from './meaning';
import { readNotes } from './notes';
import { inOrder, nothingShown, start } from './state';
import type { Pending, State, Transfer } from './state';
import type { Conversation, CoreEvent, Hex, Message, Problem, ToPage, ToWorker } from './worker/protocol';

/** Of a file, bytes of UTF-8 (protocol's MAX_NAME). */
const LONGEST_NAME = 255;
/** How long the browser may take to copy an attachment to the person's disk, ms. */
const SAVED_WITHIN = 5 * 60_000;
/** The peer's typing is forgotten after this many ms without news. */
const TYPING_LASTS = 8000;

const randomId = (): Hex =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');

export class Store {
  state: State = start;
  #watchers = new Set<() => void>();
  #post: (message: ToWorker) => void;
  #lastId = 0;
  #typingEnds = 0;
  #commands = new Map<number, 'open' | 'close' | 'forget'>();
  /** Attachments that were fetched and opened, and the timer after which they go; 0: none runs. */
  #opened = new Map<Hex, number>();
  #waitingFiles = new Map<number, (file: Blob | null) => void>();
  /** Attachments that are being fetched. */
  #fetching = new Map<Hex, Promise<Blob | null>>();

  constructor(post: (message: ToWorker) => void) {
    this.#post = post;
  }

  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  set(change: Partial<State>): void {
    this.state = { ...this.state, ...change };
    for (const watcher of this.#watchers) watcher();
  }

  get conversation(): Conversation | undefined {
    return this.state.conversations.find((one) => one.id === this.state.current);
  }

  // What the worker says.

  receive(message: ToPage): void {
    switch (message.type) {
      case 'ready': {
        const { org, demo, kept, conversations } = message;
        const { drafts, alarms } = readNotes(message.notes);
        const current = inOrder(conversations)[0]?.id ?? null;
        this.set({ stage: 'running', org, demo, kept, drafts, alarms, conversations, current, ...nothingShown });
        if (current) this.#post({ type: 'page', conversation: current, before: Number.MAX_SAFE_INTEGER });
        break;
      }
      case 'org':
        this.set({ org: message.org, alerts: this.state.alerts.filter((one) => !isOfRefusedOrganisation(one.problem)) });
        break;
      case 'refused':
        this.set({ stage: 'refused', refusal: message.problem });
        break;
      case 'held':
        this.set({ stage: 'held' });
        break;
      case 'events':
        this.set(message.events.reduce((state, event) => this.#event(state, event), this.state));
        break;
      case 'page':
        if (message.conversation !== this.state.current) break;
        this.set({
          messages: message.messages.reduce(place, this.state.messages),
          more: message.more,
          unreadable: message.problem ?? this.state.unreadable,
        });
        break;
      case 'file':
        this.set({ files: { ...this.state.files, [message.transfer]: message.file } });
        this.#opened.set(message.transfer, 0);
        this.#waitingFiles.get(message.id)?.(message.file);
        this.#waitingFiles.delete(message.id);
        break;
    }
  }

  #event(state: State, event: CoreEvent): State {
    switch (event.type) {
      case 'done':
        return this.#done(state, event.id, event.conversation);
      case 'failed':
        return this.#failed(state, event.id, event.problem);
      case 'link': {
        const links = { ...state.links, [event.conversation ?? '']: { state: event.state, problem: event.problem } };
        return { ...state, links, wasOnline: state.wasOnline || event.state === 'online' };
      }
      case 'conversation': {
        const others = state.conversations.filter((one) => one.id !== event.conversation.id);
        return { ...state, conversations: [...others, event.conversation] };
      }
      case 'message':
        if (event.message.conversation !== state.current) return state;
        return {
          ...state,
          messages: place(state.messages, event.message),
          typing: state.typing && event.message.mine,
        };
      case 'typing':
        if (event.conversation !== state.current) return state;
        clearTimeout(this.#typingEnds);
        if (event.on) this.#typingEnds = window.setTimeout(() => this.set({ typing: false }), TYPING_LASTS);
        return { ...state, typing: event.on };
      case 'transfer':
        return this.#transfer({ ...state, transfers: { ...state.transfers, [event.transfer]: event } }, event);
      case 'problem':
        return this.#problem(state, event.conversation, event.problem);
      case 'resolved':
        return resolved(state, event.conversation, event.code);
    }
  }

  #alert(state: State, conversation: Hex | null, problem: Problem): State {
    return { ...state, alerts: withAlert(state.alerts, { id: ++this.#lastId, conversation, problem }) };
  }

  #problem(before: State, conversation: Hex | null, problem: Problem): State {
    const contradicts = isUnverified(problem) || problem.code === 'revocations_refused';
    const state = contradicts ? withoutAllClear(before, conversation) : before;
    if (conversation === null || !isAlarm(problem)) return this.#alert(state, conversation, problem);
    const next = { ...state, alarms: { [conversation]: problem, ...state.alarms } };
    this.#keep(next);
    return next;
  }

  #done(state: State, id: number, conversation: Hex | null): State {
    const pending = state.pending.filter((one) => one.id !== id);
    if (pending.length < state.pending.length) {
      const next = { ...state, pending };
      this.#keep(next);
      return next;
    }
    const command = this.#commands.get(id);
    this.#commands.delete(id);
    const next = { ...state, busy: state.busy === id ? null : state.busy };
    if (command === 'open') return { ...next, current: conversation, ...nothingShown };
    return command === 'forget' && conversation ? this.#forgotten(next, conversation) : next;
  }

  /** Nothing of the conversation stays on the page either. */
  #forgotten(state: State, conversation: Hex): State {
    const gone = new Set(state.messages.flatMap(({ body }) => (body.kind === 'file' ? [body.transfer] : [])));
    for (const transfer of gone) if (this.#opened.delete(transfer)) this.#post({ type: 'dropFile', transfer });
    const next = {
      ...state,
      conversations: state.conversations.filter((one) => one.id !== conversation),
      drafts: without(state.drafts, (id) => id === conversation),
      alarms: without(state.alarms, (id) => id === conversation),
      allClear: without(state.allClear, (id) => id === conversation),
      pending: state.pending.filter((one) => one.conversation !== conversation),
      alerts: state.alerts.filter((one) => one.conversation !== conversation),
      files: without(state.files, (transfer) => gone.has(transfer)),
      transfers: without(state.transfers, (transfer) => gone.has(transfer)),
      current: null,
      ...nothingShown,
    };
    this.#keep(next);
    return next;
  }

  #failed(state: State, id: number, problem: Problem): State {
    if (state.pending.some((one) => one.id === id)) {
      return { ...state, pending: state.pending.map((one) => (one.id === id ? { ...one, problem } : one)) };
    }
    this.#commands.delete(id);
    this.#waitingFiles.get(id)?.(null);
    this.#waitingFiles.delete(id);
    return this.#alert({ ...state, busy: state.busy === id ? null : state.busy }, state.current, problem);
  }

  /** An upload that failed for good comes back as a message of ours to try again; without its file it is told. */
  #transfer(state: State, { transfer, conversation, state: stage, problem }: Transfer): State {
    const upload = state.conversations.find((one) => one.id === conversation)?.uploads.find((one) => one.transfer === transfer);
    if (stage !== 'failed' || !problem || !upload) return state;
    const file = state.files[transfer];
    if (!(file instanceof File)) return this.#alert(state, conversation, problem);
    const failed = { id: ++this.#lastId, conversation, time: upload.time, text: '', file, transfer, problem };
    return { ...state, pending: [...state.pending, failed] };
  }

  /** The worker stopped with an error of its own, or its script never came. */
  broken(text: string | undefined): void {
    const refusal: Problem = text
      ? { code: 'browser', fault: 'you', text, hint: '' }
      : { code: 'part_missing', fault: 'network', text: '', hint: '' };
    this.set({ stage: 'refused', refusal });
  }

  // What people do.

  takeOver(): void {
    // "Replaced" while this tab drives the vault: the engine stays stopped until it is opened anew.
    if (this.state.stage === 'running') return location.reload();
    this.set({ stage: 'loading' });
    this.#post({ type: 'takeOver' });
  }

  network(online: boolean): void {
    this.set({ network: online });
    this.#post({ type: 'online', online });
  }

  seen(seen: boolean): void {
    this.#post({ type: 'seen', seen });
  }

  /** Does not wait for the end of the pause between two tries. */
  connectNow(): void {
    this.#post({ type: 'online', online: true });
  }

  #command(kind: 'open' | 'close' | 'forget'): number {
    const id = ++this.#lastId;
    this.#commands.set(id, kind);
    this.set({ busy: id, alerts: [] });
    return id;
  }

  open(topic: string, language: string, notice: Hex): void {
    if (this.state.busy !== null) return;
    this.#post({ type: 'open', id: this.#command('open'), topic, language, notice });
    // Asked for at the moment when there is something to keep.
    void navigator.storage?.persist?.();
  }

  close(conversation: Hex): void {
    this.#post({ type: 'close', id: this.#command('close'), conversation });
  }

  forget(conversation: Hex): void {
    this.#post({ type: 'forget', id: this.#command('forget'), conversation });
  }

  allowReassignment(conversation: Hex): void {
    this.#post({ type: 'allowReassignment', id: ++this.#lastId, conversation });
  }

  show(conversation: Hex | null): void {
    this.set({ current: conversation, ...nothingShown });
    // What is asked and agreed to next shall be of now.
    this.#post(conversation ? { type: 'page', conversation, before: Number.MAX_SAFE_INTEGER } : { type: 'refresh' });
  }

  earlier(): void {
    const first = this.state.messages[0];
    if (first) this.#post({ type: 'page', conversation: first.conversation, before: first.place });
  }

  send(text: string): void {
    this.#add(text, null);
  }

  sendFile(file: File): void {
    this.#add('', file);
  }

  #add(text: string, file: File | null): void {
    const conversation = this.state.current;
    if (!conversation) return;
    const transfer = randomId();
    const one = { id: ++this.#lastId, conversation, time: Date.now(), text, file, transfer, problem: null };
    const files = file ? { ...this.state.files, [transfer]: file } : this.state.files;
    // A text leaves the field for the message; until that is safe, it is kept as a draft.
    const drafts = file ? this.state.drafts : { ...this.state.drafts, [conversation]: '' };
    this.set({ pending: [...this.state.pending, one], files, drafts });
    if (!file) this.#keep(this.state);
    this.#transmit(one);
  }

  #transmit(one: Pending): void {
    const { id, conversation, text, file, transfer } = one;
    if (file) this.#post({ type: 'sendFile', id, conversation, transfer, file, name: shorten(plain(file.name), LONGEST_NAME) });
    else this.#post({ type: 'send', id, conversation, text });
  }

  retry(failed: Pending): void {
    const transfer = failed.file ? randomId() : failed.transfer;
    const one = { ...failed, id: ++this.#lastId, transfer, problem: null };
    const files = failed.file ? { ...this.state.files, [transfer]: failed.file } : this.state.files;
    this.set({ pending: this.state.pending.map((old) => (old === failed ? one : old)), files });
    if (!one.file) this.#keep(this.state);
    this.#transmit(one);
  }

  discard(failed: Pending): void {
    this.set({ pending: this.state.pending.filter((one) => one !== failed) });
    this.#keep(this.state);
  }

  /** The checked bytes of an attachment; none when it failed, which an alert explains. Asked for again meanwhile: the same. */
  fetchFile(message: Message, transfer: Hex): Promise<Blob | null> {
    const have = this.state.files[transfer];
    if (have) return Promise.resolve(have);
    const before = this.#fetching.get(transfer);
    if (before) return before;
    const id = ++this.#lastId;
    this.#post({ type: 'saveFile', id, message });
    const file = new Promise<Blob | null>((resolve) => this.#waitingFiles.set(id, resolve));
    const fetched = file.finally(() => this.#fetching.delete(transfer));
    this.#fetching.set(transfer, fetched);
    return fetched;
  }

  /** The browser was told to save it. Once it had time to, what was opened for that goes; a further time fetches it anew. */
  saved(transfer: Hex): void {
    if (!this.#opened.has(transfer)) return;
    clearTimeout(this.#opened.get(transfer));
    this.#opened.set(transfer, window.setTimeout(() => this.#drop(transfer), SAVED_WITHIN));
  }

  #drop(transfer: Hex): void {
    this.#opened.delete(transfer);
    this.set({ files: without(this.state.files, (one) => one === transfer) });
    this.#post({ type: 'dropFile', transfer });
  }

  typing(conversation: Hex, on: boolean): void {
    this.#post({ type: 'typing', conversation, on });
  }

  read(conversation: Hex, counter: number): void {
    this.#post({ type: 'read', conversation, counter });
  }

  /** Draws nothing anew: the field has the text already. */
  draft(conversation: Hex, text: string): void {
    if (!this.state.conversations.some((one) => one.id === conversation)) return;
    this.state = { ...this.state, drafts: { ...this.state.drafts, [conversation]: text } };
    this.#keep(this.state);
  }

  #keep({ conversations, drafts, pending, alarms }: State): void {
    const there = (id: Hex) => conversations.some((one) => one.id === id);
    const unsent = pending.filter(({ conversation, text }) => text !== '' && there(conversation));
    const kept = { drafts: without(drafts, (id) => !there(id)), alarms, unsent: unsent.map(({ id, conversation, text }) => ({ id, conversation, text })) };
    this.#post({ type: 'notes', kept });
  }

  dismissAllClear(conversation: Hex | null): void {
    this.set(withoutAllClear(this.state, conversation));
  }

  dismiss({ ids }: Shown): void {
    this.set({ alerts: this.state.alerts.filter((one) => !ids.includes(one.id)) });
  }
}

/** The warning goes, and that it holds no longer is said in its place. */
function resolved(state: State, conversation: Hex | null, code: string): State {
  const alerts = state.alerts.filter((one) => one.conversation !== conversation || meaning(one.problem) !== meaning({ code }));
  return { ...state, alerts, allClear: { ...state.allClear, [conversation ?? '']: code } };
}

const withoutAllClear = (state: State, conversation: Hex | null): State => ({
  ...state,
  allClear: without(state.allClear, (one) => one === (conversation ?? '')),
});

const without = <T>(record: Readonly<Record<Hex, T>>, gone: (key: Hex) => boolean): Record<Hex, T> =>
  Object.fromEntries(Object.entries(record).filter(([key]) => !gone(key)));

/** Inserts or replaces a message at its place. */
function place(messages: readonly Message[], message: Message): readonly Message[] {
  let at = messages.length;
  while (at > 0 && (messages[at - 1]?.place ?? 0) > message.place) at--;
  const replaces = messages[at - 1]?.place === message.place ? 1 : 0;
  return [...messages.slice(0, at - replaces), message, ...messages.slice(at)];
}
