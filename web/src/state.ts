// The shape of what the page knows, and what can be said of it at a glance.

import type { Alert } from './alerts';
import type { Alarms, Drafts } from './notes';
import type { Conversation, CoreEvent, Hex, LinkState, Message, Org, Problem, Reader } from './worker/protocol';

/** A message of ours that the vault has not confirmed, or that failed. Its text and file stay until it is safe. */
export interface Pending {
  id: number;
  conversation: Hex;
  time: number;
  text: string;
  file: File | null;
  transfer: Hex;
  problem: Problem | null;
}

export type Transfer = Extract<CoreEvent, { type: 'transfer' }>;

export interface Link {
  state: LinkState;
  /** Why the relay or this device refuses for good. */
  problem: Problem | null;
}

export interface State {
  stage: 'loading' | 'refused' | 'held' | 'running';
  refusal: Problem | null;
  org: Org | null;
  demo: boolean;
  /** The browser keeps the vault; otherwise it lives in memory only. */
  kept: boolean;
  conversations: readonly Conversation[];
  /** The conversation on the screen; none: the consent screen. */
  current: Hex | null;
  messages: readonly Message[];
  /** Earlier messages are in the vault. */
  more: boolean;
  pending: readonly Pending[];
  transfers: Readonly<Record<Hex, Transfer>>;
  /** Opened attachments, by transfer. */
  files: Readonly<Record<Hex, Blob>>;
  /** Why some of the messages are missing. */
  unreadable: Problem | null;
  links: Readonly<Record<Hex, Link>>;
  wasOnline: boolean;
  /** What the browser says of the network. */
  network: boolean;
  typing: boolean;
  alerts: readonly Alert[];
  /** Codes of problems with keys that hold no longer, by conversation; '': of the whole page. */
  allClear: Readonly<Record<Hex, string>>;
  /** They stand until the chat is deleted. */
  alarms: Alarms;
  /** What was begun in a conversation and not sent; it goes to nobody else. */
  drafts: Drafts;
  /** A command that the screen waits for: opening, closing, forgetting. */
  busy: number | null;
}

export const start: State = {
  stage: 'loading',
  refusal: null,
  org: null,
  demo: false,
  kept: true,
  conversations: [],
  current: null,
  messages: [],
  more: false,
  unreadable: null,
  pending: [],
  transfers: {},
  files: {},
  links: {},
  wasOnline: false,
  network: true,
  typing: false,
  alerts: [],
  allClear: {},
  alarms: {},
  drafts: {},
  busy: null,
};

/** Of a conversation that was just chosen. */
export const nothingShown = { messages: [], more: false, unreadable: null, typing: false } as const;

/** Who can read now and is not verified any more. */
export const refusedReader = ({ readers }: Conversation): Reader | undefined =>
  readers.find((reader) => reader.current && reader.refused);

export const isOpen = ({ phase }: Conversation): boolean => phase !== 'closed' && phase !== 'lost';

/** What is written leaves now. */
export const isOnline = ({ network, links }: State, { id }: Conversation): boolean => network && links[id]?.state === 'online';

/** Open ones before ended ones, then the newest first. */
export const inOrder = (conversations: readonly Conversation[]): Conversation[] =>
  [...conversations].sort((a, b) => Number(isOpen(b)) - Number(isOpen(a)) || b.opened - a.opened);
