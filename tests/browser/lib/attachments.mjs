// Attachments of a visitor: up to the relay, and back down into a file.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { scratch } from './scratch.mjs';

/** A large attachment takes its time, ms. */
export const SLOW = 90_000;

/** The button that saves an attachment. */
export const SAVE = '.file-actions .file-button:last-child';

/** Chooses a file to be sent. */
export async function choose(visitor, name, bytes) {
  const path = join(await scratch(), name);
  await writeFile(path, bytes);
  await visitor.page.setInputFiles('input[type=file]', path);
}

/** Sends a file; answers when the other side has its message. */
export async function attach(visitor, name, bytes) {
  await choose(visitor, name, bytes);
  await delivered(visitor, name);
}

export const delivered = (visitor, name) =>
  visitor.page.waitForFunction(
    (wanted) =>
      [...document.querySelectorAll('.message.mine')].some(
        (one) => one.querySelector('.file-name')?.textContent === wanted && ['delivered', 'read'].includes(one.dataset.state),
      ),
    name,
    { timeout: SLOW },
  );

/** What the browser saves after `act`: by itself, a click on the last attachment's button. */
export async function save(visitor, act = () => visitor.page.locator(SAVE).last().click()) {
  const [download] = await Promise.all([visitor.page.waitForEvent('download', { timeout: SLOW }), act()]);
  const path = join(await scratch(), `saved-${download.suggestedFilename()}`);
  await download.saveAs(path);
  return { name: download.suggestedFilename(), bytes: await readFile(path) };
}
