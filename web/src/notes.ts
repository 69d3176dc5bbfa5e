// What the page keeps beside the conversations: what was begun and not sent in each, and alarms, which stand until the
// chat is deleted. The worker seals all of it as one text.
//
// A text that was sent and is not safe in a message yet comes back as a draft. The batch that makes the message takes it
// out of the notes (worker/notes.ts): after a reload it is in one of the two.

import type { Hex, Problem } from './worker/protocol';

export type Drafts = Readonly<Record<Hex, string>>;
/** By conversation. */
export type Alarms = Readonly<Record<Hex, Problem>>;

export interface Notes {
  drafts: Drafts;
  alarms: Alarms;
}

/** A text on its way into a message; `id`: the command that makes it. */
export interface Unsent {
  id: number;
  conversation: Hex;
  text: string;
}

export interface Kept extends Notes {
  unsent: readonly Unsent[];
}

/** Empty when there is nothing to keep. */
export function packNotes({ drafts, alarms, unsent }: Kept): string {
  const conversations = new Set([...unsent.map((one) => one.conversation), ...Object.keys(drafts)]);
  const begun = [...conversations].flatMap((id): [Hex, string][] => {
    const texts = [...unsent.filter((one) => one.conversation === id).map((one) => one.text), drafts[id] ?? ''];
    const text = texts.filter((one) => one !== '').join('\n\n');
    return text === '' ? [] : [[id, text]];
  });
  return begun.length + Object.keys(alarms).length === 0 ? '' : JSON.stringify({ drafts: Object.fromEntries(begun), alarms });
}

/** What {@link packNotes} wrote. */
export function readNotes(packed: string): Notes {
  const none: Notes = { drafts: {}, alarms: {} };
  try {
    return { ...none, ...(JSON.parse(packed) as Partial<Notes>) };
  } catch {
    return none;
  }
}
