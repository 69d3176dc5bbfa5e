// What was begun in each conversation and not sent. The worker seals all drafts as one text.

import type { Hex } from './worker/protocol';

export type Drafts = Readonly<Record<Hex, string>>;

/** Empty when there is nothing to keep. */
export function packDrafts(drafts: Drafts): string {
  const kept = Object.entries(drafts).filter(([, text]) => text !== '');
  return kept.length === 0 ? '' : JSON.stringify(Object.fromEntries(kept));
}

/** What {@link packDrafts} wrote; anything else is no draft. */
export function readDrafts(packed: string): Drafts {
  try {
    const read: unknown = JSON.parse(packed);
    return Object.fromEntries(Object.entries(read ?? {}).filter(([, text]) => typeof text === 'string')) as Drafts;
  } catch {
    return {};
  }
}
