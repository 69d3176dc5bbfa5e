// Large attachments that the person saves are opened into files of the origin's private file system (OPFS), so that
// neither the worker nor the page holds them in memory. Such a file is readable on the disk; it lives until the browser
// had time to copy it to where the person wanted it, at most until the page is opened again.

import type { Hex } from './protocol';

type Bytes = Uint8Array<ArrayBuffer>;

/** Of a dedicated worker; the compiler's DOM library has only the page's part. */
interface SyncAccessHandle {
  truncate(size: number): void;
  write(bytes: Bytes, options: { at: number }): number;
  flush(): void;
  close(): void;
}

interface WorkerFileHandle extends FileSystemFileHandle {
  createSyncAccessHandle(): Promise<SyncAccessHandle>;
}

/** One file that is being written. */
export class DiskFile {
  #file: WorkerFileHandle;
  #handle: SyncAccessHandle;

  constructor(file: WorkerFileHandle, handle: SyncAccessHandle) {
    this.#file = file;
    this.#handle = handle;
  }

  /** Throws when the disk is full. */
  write(offset: number, bytes: Bytes): void {
    if (this.#handle.write(bytes, { at: offset }) !== bytes.length) throw new Error('the disk is full');
  }

  /** A handle on the file, not its bytes. Rejects when the disk is full; open it stays in no case, or nothing could remove it. */
  async finish(): Promise<Blob> {
    try {
      this.#handle.flush();
    } finally {
      this.#handle.close();
    }
    return this.#file.getFile();
  }

  close(): void {
    this.#handle.close();
  }
}

/** A folder of the private file system, for one vault. */
export class Disk {
  #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  /** None where the browser gives no such files. */
  async create(transfer: Hex): Promise<DiskFile | null> {
    try {
      const root = await navigator.storage.getDirectory();
      const folder = await root.getDirectoryHandle(this.#name, { create: true });
      const file = (await folder.getFileHandle(transfer, { create: true })) as WorkerFileHandle;
      const handle = await file.createSyncAccessHandle();
      handle.truncate(0);
      return new DiskFile(file, handle);
    } catch {
      return null;
    }
  }

  async remove(transfer: Hex): Promise<void> {
    try {
      const root = await navigator.storage.getDirectory();
      await (await root.getDirectoryHandle(this.#name)).removeEntry(transfer);
    } catch {
      // It was never there, or is gone.
    }
  }

  /** What an earlier worker left; called by whoever holds the tab lock. */
  async clear(): Promise<void> {
    try {
      await (await navigator.storage.getDirectory()).removeEntry(this.#name, { recursive: true });
    } catch {
      // Nothing was left, or there is no such file system.
    }
  }
}
