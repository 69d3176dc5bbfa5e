// The engine in WebAssembly, and the shapes of what it hands out.

import init, { Core, Organisation, Rows } from '../../pkg/sealdesk.js';
import type { Conversation, CoreEvent, Fault, Hex, Message, Org, Problem } from './protocol';

export { Core, Organisation };

declare const WASM_FILE: string;

/** A record of the vault: blinded name and sealed bytes. */
export type Row = [name: Uint8Array<ArrayBuffer>, sealed: Uint8Array<ArrayBuffer>];
export type Write = [name: Uint8Array<ArrayBuffer>, sealed: Uint8Array<ArrayBuffer> | null];

interface Place {
  transfer: Hex;
  /** True: the person's file. False: the spool. */
  file: boolean;
  offset: number;
}

export type Output =
  | { do: 'connect'; n: number }
  | { do: 'send'; n: number; bytes: Uint8Array<ArrayBuffer> }
  | { do: 'disconnect'; n: number }
  | ({ do: 'read'; length: number } & Place)
  | ({ do: 'write'; bytes: Uint8Array<ArrayBuffer> } & Place)
  | { do: 'drop'; transfer: Hex }
  | { do: 'event'; event: CoreEvent };

export interface Step {
  writes: Write[];
  generation: number;
  outputs: Output[];
  /** ms of the monotonic clock */
  wakeAt: number | null;
}

export const step = (core: Core, wall: number, mono: number): Step => core.step(wall, mono) as Step;
export const spools = (core: Core): Hex[] => core.spools() as Hex[];
export const conversations = (core: Core): Conversation[] => core.conversations() as Conversation[];
export const orgView = (organisation: Organisation): Org => organisation.view() as Org;
export const page = (core: Core, rows: Rows): Message[] => core.page(rows) as Message[];
export const pageNames = (core: Core, conversation: Hex, before: number, limit: number): Uint8Array<ArrayBuffer>[] =>
  core.pageNames(conversation, before, limit) as Uint8Array<ArrayBuffer>[];

export function rowsOf(records: Row[]): Rows {
  const rows = new Rows();
  for (const [name, sealed] of records) rows.add(name, sealed);
  return rows;
}

export async function loadCore(): Promise<void> {
  // Some browsers take it away from whoever asks for more protection.
  if (!('WebAssembly' in globalThis)) throw refuse('browser', 'you', 'This browser has no WebAssembly.');
  try {
    await init({ module_or_path: new URL(WASM_FILE, import.meta.url) });
  } catch (error) {
    // It came, and this browser does not run it; otherwise it did not come.
    const unable = [WebAssembly.CompileError, WebAssembly.LinkError, RangeError].some((kind) => error instanceof kind);
    const text = `${WASM_FILE}: ${String(error)}`;
    throw unable ? refuse('browser', 'you', text) : refuse('part_missing', 'network', text);
  }
}

/** An error that is shown as it is. */
export class Refusal extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.text);
    this.problem = problem;
  }
}

export const refuse = (code: string, fault: Fault, text: string): Refusal =>
  new Refusal({ code, fault, text, hint: '' });

/** Whatever was thrown, as a problem. The core throws problems as plain objects. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Refusal) return error.problem;
  if (typeof error === 'object' && error !== null && 'code' in error && 'fault' in error) return error as Problem;
  return { code: 'page', fault: 'you', text: String(error), hint: '' };
}
