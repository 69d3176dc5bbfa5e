// What the worker needs of a place to keep things: see indexeddb.ts and memory.ts.

import type { Row, Write } from './core';
import type { NotesChange } from './notes';
import type { Hex } from './protocol';

/** Another tab took the vault over: this one has to stop for good. */
export class Fenced extends Error {}

export interface Vault {
  /** Survives the tab. */
  readonly kept: boolean;
  /** 32 bytes; the caller hands them to the core, which wipes them. */
  key(): Promise<Uint8Array<ArrayBuffer>>;
  /** From now on only this worker may commit. */
  takeOver(): Promise<void>;
  /** All records whose kind `isHot` names. */
  hot(isHot: (kind: number) => boolean): Promise<Row[]>;
  rows(names: Uint8Array<ArrayBuffer>[]): Promise<Row[]>;
  /** All or nothing, durable on return. Throws {@link Fenced}. `earliest`: no later opening is before this time. */
  commit(writes: Write[], generation: number, earliest: number, notes: NotesChange | null): Promise<void>;
  /** The time that the last commit named. */
  lastTime(): Promise<number>;
  /** What is written to, read and dropped from the spool happens in the order of the calls. */
  writeSpool(transfer: Hex, offset: number, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Fewer bytes at the end of the spool, none beyond it. */
  readSpool(transfer: Hex, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Throws {@link Fenced}. */
  dropSpool(transfer: Hex): Promise<void>;
  /** Drops all but these. Throws {@link Fenced}. */
  keepSpools(transfers: Hex[]): Promise<void>;
  /** What the page keeps beside the engine's records. */
  notes(): Promise<string>;
  /** In the order of the calls. Throws {@link Fenced}. */
  saveNotes(text: () => string): Promise<void>;
}

/** Cuts `length` bytes from `offset` on out of pieces, each with its own offset, in order. */
export function cut(pieces: [number, Uint8Array<ArrayBuffer>][], offset: number, length: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(length);
  let have = 0;
  for (const [at, bytes] of pieces) {
    const from = offset + have - at;
    if (from < 0) break;
    if (from >= bytes.length) continue;
    const part = bytes.subarray(from, from + length - have);
    out.set(part, have);
    have += part.length;
    if (have === length) break;
  }
  return out.slice(0, have);
}
