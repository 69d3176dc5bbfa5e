// What the page keeps beside the conversations: what was begun and not sent in each, and alarms, which stand until the
// chat is deleted. The worker seals all of it as one text.

import type { Hex, Problem } from './worker/protocol';

export type Drafts = Readonly<Record<Hex, string>>;
/** By conversation. */
export type Alarms = Readonly<Record<Hex, Problem>>;

export interface Notes {
  drafts: Drafts;
  alarms: Alarms;
}

/** Empty when there is nothing to keep. */
export function packNotes({ drafts, alarms }: Notes): string {
  const begun = Object.entries(drafts).filter(([, text]) => text !== '');
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
