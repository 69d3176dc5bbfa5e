// The vault in IndexedDB.
//
//   rows   sealed records by blinded name, as the engine writes them
//   meta   'key'      the vault key, wrapped by an AES-GCM key that scripts can use but not read
//          'session'  who may commit: a random number, replaced by whoever takes the vault over
//          'generation'; 'time': not before this; 'notes': what the page keeps, sealed under the wrapping key
//   spool  ciphertext of attachments on their way, by [transfer, offset]
//
// Every commit is one transaction with strict durability, which first compares session and generation; saving notes and
// dropping from the spool compare the session.
//
// Transactions that write to the same store run in the order in which they were made, and each call makes its own at once:
// nothing of a spool is written after it was dropped.

import { refuse } from './core';
import type { Row, Write } from './core';
import type { NotesChange } from './notes';
import type { Hex } from './protocol';
import { Fenced, cut } from './vault';
import type { Vault } from './vault';

type Bytes = Uint8Array<ArrayBuffer>;
type StoreName = 'rows' | 'meta' | 'spool';

interface Sealed {
  iv: Bytes;
  text: Bytes;
}

interface StoredKey extends Sealed {
  wrapping: CryptoKey;
}

/** What browsers throw that store nothing at all here, or no key. */
const REFUSED = ['SecurityError', 'NotSupportedError', 'DataCloneError', 'InvalidStateError'];

const nameOf = (root: Hex) => `sealdesk-${root}`;

/** Longest piece of a spool; the engine writes shorter ones. */
const LONGEST_PIECE = 1024 * 1024;

const result = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('IndexedDB'));
  });

const finished = (transaction: IDBTransaction): Promise<void> =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Fenced());
  });

/** Whether a database of this name is there. Firefox before 126 does not list them: it is opened, and not made. */
async function isMade(name: string): Promise<boolean> {
  if ('databases' in indexedDB) return (await indexedDB.databases()).some((one) => one.name === name);
  const request = (indexedDB as IDBFactory).open(name);
  let made = true;
  request.onupgradeneeded = () => {
    made = false;
    request.transaction?.abort();
  };
  const opened = result(request).then((db) => db.close());
  await opened.catch((error: unknown) => (made ? Promise.reject(error) : undefined));
  return made;
}

async function seal(key: CryptoKey, text: Bytes): Promise<Sealed> {
  const iv = crypto.getRandomValues(new Uint8Array(12));
  return { iv, text: new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, key, text)) };
}

async function unseal(key: CryptoKey, { iv, text }: Sealed): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv }, key, text));
}

const putNotes = (meta: IDBObjectStore, notes: Sealed | null) => (notes ? meta.put(notes, 'notes') : meta.delete('notes'));

export class IndexedDbVault implements Vault {
  readonly kept = true;
  #db: IDBDatabase;
  #session = crypto.getRandomValues(new Uint32Array(2)).join('-');
  #wrapping: CryptoKey | null = null;
  #notesWritten: Promise<void> = Promise.resolve();

  private constructor(db: IDBDatabase) {
    this.#db = db;
  }

  /** Rejects where the browser gives no storage, stores no key (private windows), or fails. */
  static async open(root: Hex): Promise<IndexedDbVault> {
    const request = indexedDB.open(nameOf(root), 1);
    request.onupgradeneeded = () => {
      for (const name of ['rows', 'meta', 'spool']) request.result.createObjectStore(name);
    };
    const db = await result(request);
    db.onversionchange = () => db.close();
    const vault = new IndexedDbVault(db);
    await vault.#prepare();
    return vault;
  }

  /** Whether there is a vault, or the browser does not say. Makes none. */
  static async isThere(root: Hex): Promise<boolean> {
    try {
      return await isMade(nameOf(root));
    } catch {
      return true;
    }
  }

  /** Whether there may be a vault, although opening it failed with `error`. */
  static async exists(root: Hex, error: unknown): Promise<boolean> {
    if (error instanceof DOMException && REFUSED.includes(error.name)) return false;
    try {
      return await isMade(nameOf(root));
    } catch {
      // Where site data is blocked, Chromium fails here as a broken disk does; locks, which need no disk, it refuses.
      return navigator.locks.query().then(() => true, () => false);
    }
  }

  #write(names: StoreName[]): IDBTransaction {
    return this.#db.transaction(names, 'readwrite', { durability: 'strict' });
  }

  #read(name: StoreName): IDBObjectStore {
    return this.#db.transaction(name, 'readonly').objectStore(name);
  }

  /** Makes the key if there is none. Rejects where a CryptoKey cannot be stored. */
  async #prepare(): Promise<void> {
    if (await this.#storedKey()) return;
    const wrapping = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt']);
    const sealed = await seal(wrapping, crypto.getRandomValues(new Uint8Array(32)));
    const transaction = this.#write(['meta']);
    const done = finished(transaction);
    const meta = transaction.objectStore('meta');
    const there = meta.getKey('key');
    // Another tab may have been faster; its key stays.
    there.onsuccess = () => {
      if (there.result === undefined) meta.put({ ...sealed, wrapping } satisfies StoredKey, 'key');
    };
    await done;
  }

  async #storedKey(): Promise<StoredKey | undefined> {
    return (await result(this.#read('meta').get('key'))) as StoredKey | undefined;
  }

  async key(): Promise<Bytes> {
    const stored = await this.#storedKey();
    if (!stored) throw refuse('vault_corrupt', 'you', 'The key of the chat on this device is gone.');
    this.#wrapping = stored.wrapping;
    try {
      return await unseal(stored.wrapping, stored);
    } catch {
      throw refuse('vault_corrupt', 'you', 'The key of the chat on this device does not open.');
    }
  }

  async takeOver(): Promise<void> {
    const transaction = this.#write(['meta']);
    transaction.objectStore('meta').put(this.#session, 'session');
    await finished(transaction);
  }

  async hot(isHot: (kind: number) => boolean): Promise<Row[]> {
    const store = this.#read('rows');
    const kinds = Array.from({ length: 256 }, (_, kind) => kind).filter(isHot);
    const end = Math.max(...kinds) + 1;
    const range = IDBKeyRange.bound(new Uint8Array([Math.min(...kinds)]), new Uint8Array(end > 255 ? Array(34).fill(255) : [end]), false, true);
    const [names, sealed] = await Promise.all([result(store.getAllKeys(range)), result(store.getAll(range))]);
    return names.flatMap((name, index): Row[] => {
      const bytes = new Uint8Array(name as ArrayBuffer);
      return isHot(bytes[0] ?? 0) ? [[bytes, sealed[index] as Bytes]] : [];
    });
  }

  async rows(names: Bytes[]): Promise<Row[]> {
    const store = this.#read('rows');
    const sealed = (await Promise.all(names.map((name) => result(store.get(name))))) as (Bytes | undefined)[];
    return names.flatMap((name, index): Row[] => {
      const bytes = sealed[index];
      return bytes ? [[name, bytes]] : [];
    });
  }

  commit(writes: Write[], generation: number, earliest: number, notes: NotesChange | null): Promise<void> {
    if (!notes) return this.#commit(writes, generation, earliest);
    return this.#inTurn(async () => {
      await this.#commit(writes, generation, earliest, await this.#seal(notes.text()));
      notes.stored();
    });
  }

  /** `notes`: null deletes them. */
  async #commit(writes: Write[], generation: number, earliest: number, notes?: Sealed | null): Promise<void> {
    const transaction = this.#write(['rows', 'meta']);
    const done = finished(transaction);
    const meta = transaction.objectStore('meta');
    const rows = transaction.objectStore('rows');
    let wrong: Error | null = null;
    const session = meta.get('session');
    const before = meta.get('generation');
    before.onsuccess = () => {
      if (session.result !== this.#session) wrong = new Fenced();
      else if (generation !== ((before.result as number | undefined) ?? 0) + 1) wrong = new Error('a batch is missing');
      if (wrong) return transaction.abort();
      for (const [name, sealed] of writes) {
        if (sealed) rows.put(sealed, name);
        else rows.delete(name);
      }
      meta.put(generation, 'generation');
      meta.put(earliest, 'time');
      if (notes !== undefined) putNotes(meta, notes);
    };
    await done.catch((error: unknown) => Promise.reject(wrong ?? error));
  }

  async lastTime(): Promise<number> {
    return ((await result(this.#read('meta').get('time'))) as number | undefined) ?? 0;
  }

  async writeSpool(transfer: Hex, offset: number, bytes: Bytes): Promise<void> {
    const transaction = this.#write(['spool']);
    transaction.objectStore('spool').put(bytes, [transfer, offset]);
    await finished(transaction);
  }

  async readSpool(transfer: Hex, offset: number, length: number): Promise<Bytes> {
    const store = this.#read('spool');
    const range = IDBKeyRange.bound([transfer, Math.max(0, offset - LONGEST_PIECE)], [transfer, offset + length], false, true);
    const [keys, values] = await Promise.all([result(store.getAllKeys(range)), result(store.getAll(range))]);
    const pieces = keys.map((key, index): [number, Bytes] => [(key as [Hex, number])[1], values[index] as Bytes]);
    return cut(pieces, offset, length);
  }

  dropSpool(transfer: Hex): Promise<void> {
    return this.#whileOurs('spool', (spool) => spool.delete(IDBKeyRange.bound([transfer, 0], [transfer, Infinity])));
  }

  keepSpools(transfers: Hex[]): Promise<void> {
    return this.#whileOurs('spool', (spool) => {
      let gap: IDBValidKey = [];
      for (const transfer of [...transfers].sort()) {
        spool.delete(IDBKeyRange.bound(gap, [transfer], false, true));
        gap = [transfer, Infinity];
      }
      spool.delete(IDBKeyRange.lowerBound(gap));
    });
  }

  /** A tab that was asleep does not know yet that another one took over, whose notes and spools are not its own to change. */
  async #whileOurs(name: StoreName, act: (store: IDBObjectStore) => void): Promise<void> {
    const transaction = this.#write([name, 'meta']);
    const done = finished(transaction);
    const session = transaction.objectStore('meta').get('session');
    session.onsuccess = () => {
      if (session.result === this.#session) act(transaction.objectStore(name));
      else transaction.abort();
    };
    await done;
  }

  async notes(): Promise<string> {
    const stored = (await result(this.#read('meta').get('notes'))) as Sealed | undefined;
    if (!stored || !this.#wrapping) return '';
    return unseal(this.#wrapping, stored).then((text) => new TextDecoder().decode(text), () => '');
  }

  saveNotes(text: () => string): Promise<void> {
    return this.#inTurn(async () => this.#saveNotes(await this.#seal(text())));
  }

  /** Notes are written one after the other: sealing takes longer for some than for others. */
  #inTurn(write: () => Promise<void>): Promise<void> {
    const written = this.#notesWritten.then(write);
    this.#notesWritten = written.catch(() => undefined);
    return written;
  }

  /** Null when there is nothing to keep. */
  async #seal(text: string): Promise<Sealed | null> {
    return text === '' || !this.#wrapping ? null : seal(this.#wrapping, new TextEncoder().encode(text));
  }

  async #saveNotes(sealed: Sealed | null): Promise<void> {
    await this.#whileOurs('meta', (meta) => putNotes(meta, sealed));
  }
}
