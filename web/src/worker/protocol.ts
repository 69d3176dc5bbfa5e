// Messages between the page and its worker. The worker holds keys, engine, vault and connection; the page holds what
// people see. web/core/src/view.rs makes the objects that are marked "core".

import type { Kept } from '../notes';

export type Hex = string;
export type Fault = 'you' | 'peer' | 'relay' | 'organisation' | 'network';

/** An error for people: what, whose fault, what to do. (core) */
export interface Problem {
  code: string;
  fault: Fault;
  text: string;
  hint: string;
}

/** config.json: placed beside the page by whoever builds it. */
export interface Config {
  /** Hash of the organisation's first root key; the page accepts no other organisation. */
  root: Hex;
  /** The page comes from whoever runs the relay. */
  demo: boolean;
}

/** What a verified org.json says. (core) */
export interface Org {
  name: string;
  topics: { id: string; names: Record<string, string> }[];
  notices: { language: string; text: string; hash: Hex }[];
  relays: string[];
}

export type LinkState = 'offline' | 'connecting' | 'online' | 'replaced' | 'refused';
export type Phase = 'queued' | 'assigned' | 'active' | 'closed' | 'lost';

/** (core) */
export interface Reader {
  role: 'customer' | 'agent' | 'supervisor';
  device: Hex;
  agent: string | null;
  name: string | null;
  newDevice: boolean;
  /** Its certificate does not count now: nothing is sent to it, and nothing of it is shown. */
  refused: boolean;
  /** Its device is revoked: that does not change any more. */
  gone: boolean;
  current: boolean;
  me: boolean;
}

/** (core) */
export interface Conversation {
  id: Hex;
  phase: Phase;
  topic: string;
  language: string;
  opened: number;
  updated: number;
  readers: Reader[];
  safetyNumber: string | null;
  unread: number;
  /** Own messages up to this counter are on the recipient's device. */
  delivered: number;
  /** Own messages up to this counter were read. */
  read: number;
  reassignmentWaits: boolean;
  /** It is being ended from this side: what was written goes first. */
  closing: boolean;
  /** Own files on their way to the relay; the message follows. */
  uploads: Upload[];
}

/** A file that is safe in the vault. (core) */
export interface Upload extends FileBody {
  /** ms */
  time: number;
}

export type MessageState =
  | 'waiting'
  | 'sent'
  | 'delivered'
  | 'read'
  | 'undelivered'
  | 'received'
  | 'receivedAfterClose';

/** An attachment's key and capability never leave the core. */
export interface FileBody {
  kind: 'file';
  transfer: Hex;
  name: string;
  mediaType: string;
  length: number;
}

export type Body =
  | { kind: 'text'; text: string }
  | FileBody
  | { kind: 'edit'; target: number; text: string }
  | { kind: 'delete'; target: number }
  | { kind: 'reaction'; device: Hex; target: number; emoji: string }
  | { kind: 'rating'; stars: number; text: string }
  | { kind: 'hidden' }
  | { kind: 'unknown' };

/** (core) */
export interface Message {
  conversation: Hex;
  device: Hex;
  counter: number;
  place: number;
  mine: boolean;
  author: string | null;
  /** ms since the Unix epoch, by the writer's clock */
  time: number;
  state: MessageState;
  weakStart: boolean;
  body: Body;
}

export type TransferState = 'sealing' | 'uploading' | 'uploaded' | 'downloading' | 'opening' | 'saved' | 'failed';

/** What the engine tells. (core) */
export type CoreEvent =
  | { type: 'done'; id: number; conversation: Hex | null; device: Hex | null; counter: number | null }
  | { type: 'failed'; id: number; problem: Problem }
  | { type: 'link'; conversation: Hex | null; state: LinkState; problem: Problem | null }
  | { type: 'conversation'; conversation: Conversation }
  | { type: 'message'; message: Message }
  | { type: 'typing'; conversation: Hex; on: boolean }
  | {
      type: 'transfer';
      transfer: Hex;
      conversation: Hex;
      done: number;
      total: number;
      state: TransferState;
      problem: Problem | null;
    }
  | { type: 'problem'; conversation: Hex | null; problem: Problem }
  /** What a problem with this code said of keys holds no longer. */
  | { type: 'resolved'; conversation: Hex | null; code: string };

/** Page to worker. `id` is chosen by the page and comes back in `done` or `failed`. */
export type ToWorker =
  /** Another tab holds the chat: take it over. */
  | { type: 'takeOver' }
  /** Whether somebody sees this tab. */
  | { type: 'seen'; seen: boolean }
  | { type: 'online'; online: boolean }
  /** Another chat is about to begin: org.json is asked for. */
  | { type: 'refresh' }
  | { type: 'open'; id: number; topic: string; language: string; notice: Hex }
  | { type: 'send'; id: number; conversation: Hex; text: string }
  /** `transfer`: 16 random bytes. */
  | { type: 'sendFile'; id: number; conversation: Hex; transfer: Hex; file: File; name: string }
  | { type: 'saveFile'; id: number; message: Message }
  /** An opened attachment is not needed any more. */
  | { type: 'dropFile'; transfer: Hex }
  | { type: 'close'; id: number; conversation: Hex }
  | { type: 'allowReassignment'; id: number; conversation: Hex }
  | { type: 'forget'; id: number; conversation: Hex }
  | { type: 'typing'; conversation: Hex; on: boolean }
  | { type: 'read'; conversation: Hex; counter: number }
  /** The messages before this place, newest last. */
  | { type: 'page'; conversation: Hex; before: number }
  /** Everything that the page keeps. A text stands in it before it is sent, until its command is answered. */
  | { type: 'notes'; kept: Kept };

/** Worker to page. */
export type ToPage =
  | { type: 'ready'; org: Org; demo: boolean; kept: boolean; notes: string; conversations: Conversation[] }
  /** A newer org.json is in force. */
  | { type: 'org'; org: Org }
  /** The organisation, the vault or the browser stands in the way: nothing runs. */
  | { type: 'refused'; problem: Problem }
  /** Another tab holds the chat (from the start, or since it took over). */
  | { type: 'held' }
  | { type: 'events'; events: CoreEvent[] }
  /** `problem`: why some of them are missing. */
  | { type: 'page'; conversation: Hex; messages: Message[]; more: boolean; problem: Problem | null }
  /** An attachment, checked and opened. A large one is a handle on a file that lasts until `dropFile`. */
  | { type: 'file'; id: number; transfer: Hex; file: Blob };
