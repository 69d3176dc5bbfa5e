// The vault of a window that keeps nothing (private mode, storage refused): it lives as long as the tab, and the screen
// says so.

import type { Row, Write } from './core';
import type { NotesChange } from './notes';
import type { Hex } from './protocol';
import { cut } from './vault';
import type { Vault } from './vault';

const nameOf = (name: Uint8Array) => String.fromCharCode(...name);

export class MemoryVault implements Vault {
  readonly kept = false;
  #key = crypto.getRandomValues(new Uint8Array(32));
  #rows = new Map<string, Row>();
  #spool = new Map<Hex, Map<number, Uint8Array<ArrayBuffer>>>();
  #notes = '';

  key = () => Promise.resolve(this.#key.slice());
  takeOver = () => Promise.resolve();
  lastTime = () => Promise.resolve(0);
  /** An engine opens here once, while nothing lies here. */
  keepSpools = () => Promise.resolve();

  hot(isHot: (kind: number) => boolean): Promise<Row[]> {
    return Promise.resolve([...this.#rows.values()].filter(([name]) => isHot(name[0] ?? 0)));
  }

  rows(names: Uint8Array<ArrayBuffer>[]): Promise<Row[]> {
    return Promise.resolve(names.map((name) => this.#rows.get(nameOf(name))).filter((row) => row !== undefined));
  }

  commit(writes: Write[], _generation: number, _earliest: number, notes: NotesChange | null): Promise<void> {
    for (const [name, sealed] of writes) {
      if (sealed) this.#rows.set(nameOf(name), [name, sealed]);
      else this.#rows.delete(nameOf(name));
    }
    if (notes) {
      this.#notes = notes.text();
      notes.stored();
    }
    return Promise.resolve();
  }

  writeSpool(transfer: Hex, offset: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const pieces = this.#spool.get(transfer) ?? new Map<number, Uint8Array<ArrayBuffer>>();
    this.#spool.set(transfer, pieces.set(offset, bytes));
    return Promise.resolve();
  }

  readSpool(transfer: Hex, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const pieces = [...(this.#spool.get(transfer) ?? [])].sort(([a], [b]) => a - b);
    return Promise.resolve(cut(pieces, offset, length));
  }

  dropSpool(transfer: Hex): Promise<void> {
    this.#spool.delete(transfer);
    return Promise.resolve();
  }

  notes = () => Promise.resolve(this.#notes);

  saveNotes(text: () => string): Promise<void> {
    this.#notes = text();
    return Promise.resolve();
  }
}
