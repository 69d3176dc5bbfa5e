// What the page keeps (../notes.ts), on its way into the vault. A text becomes a message and leaves the notes by one and
// the same batch, so that no reload in between finds it twice. What the page said before it heard of that is read
// accordingly.

import { packNotes } from '../notes';
import type { Kept } from '../notes';

/** A change of the notes that a batch brings along. */
export interface NotesChange {
  /** Read when no earlier notes are on their way any more. */
  text(): string;
  /** It is durable. */
  stored(): void;
}

export class PageNotes {
  #last: Kept = { drafts: {}, alarms: {}, unsent: [] };
  /** Commands whose texts are messages, as far as the page may still name them. */
  #made = new Set<number>();

  /** Newer ones; answers what is to be stored of them. */
  say(kept: Kept): () => string {
    this.#last = kept;
    this.#made = new Set(kept.unsent.map(({ id }) => id).filter((id) => this.#made.has(id)));
    return () => this.#pack([]);
  }

  /** What a batch with the answers to these commands makes of them; null: nothing. */
  without(answered: readonly number[]): NotesChange | null {
    const made = answered.filter((id) => this.#last.unsent.some((one) => one.id === id));
    if (made.length === 0) return null;
    return { text: () => this.#pack(made), stored: () => made.forEach((id) => this.#made.add(id)) };
  }

  #pack(made: readonly number[]): string {
    return packNotes({ ...this.#last, unsent: this.#last.unsent.filter(({ id }) => !made.includes(id) && !this.#made.has(id)) });
  }
}
