// A folder for files that tests send and save, removed at the end.

import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

let folder = null;

export async function scratch(part = 'files') {
  folder ??= await mkdtemp(join(tmpdir(), 'sealdesk-browser-'));
  const inner = join(folder, part);
  await mkdir(inner, { recursive: true });
  return inner;
}

export async function removeScratch() {
  if (folder) await rm(folder, { recursive: true, force: true });
}
