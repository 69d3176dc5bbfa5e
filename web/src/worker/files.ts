// The person's files: read piece by piece while they are encrypted; while an attachment is opened collected in memory,
// or, when it is large, in a file (disk.ts).

import { claimsPicture } from '../raster';
import type { Disk, DiskFile } from './disk';
import type { FileBody, Hex } from './protocol';

type Bytes = Uint8Array<ArrayBuffer>;

/** Longer attachments are opened into a file. Pictures are shown, so the page holds them anyway. */
const LARGE = 8 * 1024 * 1024;

class MemoryFile {
  #pieces = new Map<number, Bytes>();

  write(offset: number, bytes: Bytes): void {
    this.#pieces.set(offset, bytes);
  }

  finish(): Promise<Blob> {
    const pieces = [...this.#pieces].sort(([a], [b]) => a - b);
    return Promise.resolve(new Blob(pieces.map(([, bytes]) => bytes)));
  }

  close(): void {}
}

export class Files {
  #disk: Disk | null;
  #sending = new Map<Hex, File>();
  #saving = new Map<Hex, DiskFile | MemoryFile>();

  /** Without a disk everything stays in memory. */
  constructor(disk: Disk | null) {
    this.#disk = disk;
  }

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

  /** Before an attachment is opened. False: it is being opened already, into what stands here. */
  async save({ transfer, length, mediaType }: FileBody): Promise<boolean> {
    if (this.#saving.has(transfer)) return false;
    // Stands here before anything is waited for: who comes meanwhile is too late.
    this.#saving.set(transfer, new MemoryFile());
    const file = length > LARGE && !claimsPicture(mediaType, length) ? await this.#disk?.create(transfer) : null;
    if (file) this.#saving.set(transfer, file);
    return true;
  }

  /** Throws when there is no more space. */
  write(transfer: Hex, offset: number, bytes: Bytes): void {
    const file = this.#saving.get(transfer);
    if (!file) throw new Error('nobody asked for the file');
    file.write(offset, bytes);
  }

  /** The whole file. Rejects when it was not kept. */
  async take(transfer: Hex): Promise<Blob> {
    const file = this.#saving.get(transfer);
    if (!file) throw new Error('nobody asked for the file');
    this.#saving.delete(transfer);
    return file.finish();
  }

  /** What was opened is not wanted any more, or did not open. */
  async drop(transfer: Hex): Promise<void> {
    this.#saving.get(transfer)?.close();
    this.#saving.delete(transfer);
    await this.#disk?.remove(transfer);
  }
}
