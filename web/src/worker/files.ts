// The person's files: read piece by piece while they are encrypted, collected in memory while an attachment is opened.
// Plaintext of attachments is never stored.

import type { Hex } from './protocol';

type Bytes = Uint8Array<ArrayBuffer>;

export class Files {
  #sending = new Map<Hex, File>();
  #saving = new Map<Hex, Map<number, Bytes>>();

  send(transfer: Hex, file: File): void {
    this.#sending.set(transfer, file);
  }

  /** Rejects when the file is gone or has changed. */
  async read(transfer: Hex, offset: number, length: number): Promise<Bytes> {
    const file = this.#sending.get(transfer);
    if (!file) throw new Error('the file is not at hand');
    return new Uint8Array(await file.slice(offset, offset + length).arrayBuffer());
  }

  sent(transfer: Hex): void {
    this.#sending.delete(transfer);
  }

  write(transfer: Hex, offset: number, bytes: Bytes): void {
    const pieces = this.#saving.get(transfer) ?? new Map<number, Bytes>();
    this.#saving.set(transfer, pieces.set(offset, bytes));
  }

  /** The whole file; it is forgotten here. */
  take(transfer: Hex): Blob {
    const pieces = [...(this.#saving.get(transfer) ?? [])].sort(([a], [b]) => a - b);
    this.#saving.delete(transfer);
    return new Blob(pieces.map(([, bytes]) => bytes));
  }
}
