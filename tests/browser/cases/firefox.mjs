// The whole path once in Firefox, with an attachment that is large enough to go by way of a file.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from '../lib/cases.mjs';
import { onDisk } from '../lib/private-files.mjs';
import { scratch } from '../lib/scratch.mjs';

test('Firefox: consent, texts both ways, a file up and down, a reload that loses nothing', { firefox: true, time: 180_000 }, async (visitor) => {
  await visitor.enter();
  await visitor.write('Hello from Firefox');
  await visitor.see('You said: Hello from Firefox');
  await visitor.write('مرحبا، رقم طلبي 4821 (Order #4821)');
  await visitor.see('You said: مرحبا، رقم طلبي 4821 (Order #4821)');

  const bytes = randomBytes(9_000_001);
  const path = join(await scratch(), 'from firefox.bin');
  await writeFile(path, bytes);
  await visitor.attach(path);
  await visitor.see('You sent: from firefox.bin');
  await visitor.until('the upload is complete', () => document.querySelector('.progress') === null);

  const before = await visitor.texts();
  assert.equal(before.length, 5);
  // Afterwards the page has nothing of the file but what the relay holds.
  await visitor.page.reload();
  await visitor.see('You sent: from firefox.bin');
  assert.deepEqual(await visitor.texts(), before);
  assert.ok((await visitor.save('from firefox.bin')).equals(bytes));
  assert.deepEqual(await onDisk(visitor.page), [bytes.length], 'opened into a file, not in memory');
  const kept = await visitor.page.evaluate(() => document.querySelector('.banner') === null);
  assert.ok(kept, 'the browser keeps the chat, and the connection stands');
  await visitor.write('After the reload');
  await visitor.see('You said: After the reload');
});
