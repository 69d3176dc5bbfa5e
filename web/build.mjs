// Bundles the customer page into a folder of static files. Called by `cargo xtask web`, which has made pkg/ before.
//
//   SEALDESK_OUT      where to write (default: dist)
//   SEALDESK_RELEASE  "1": no source maps
//   SEALDESK_ORG      org.json to place beside the page; its root hash goes into config.json
//   SEALDESK_DEMO     "1": the page says that whoever runs the relay serves it
//
// Every script, style and module carries a hash of its bytes in its name, so that a web server may cache it for ever;
// index.html, config.json and org.json keep their names and are fetched anew each time.

import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = fileURLToPath(new URL('.', import.meta.url));
const out = process.env.SEALDESK_OUT || join(here, 'dist');
const release = process.env.SEALDESK_RELEASE === '1';

const common = {
  bundle: true,
  format: 'esm',
  target: ['chrome123', 'firefox121', 'safari17.5'],
  minify: true,
  sourcemap: release ? false : 'linked',
  outdir: out,
  entryNames: '[name]-[hash]',
  chunkNames: 'part-[hash]',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
  absWorkingDir: here,
};

/** The file that an entry point became. */
function made(result, entry) {
  const found = Object.entries(result.metafile.outputs).find(([, output]) => output.entryPoint === entry);
  if (!found) throw new Error(`esbuild made nothing of ${entry}`);
  return basename(found[0]);
}

async function place(name, bytes) {
  await writeFile(join(out, name), bytes);
}

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });

const wasm = await readFile(join(here, 'pkg/sealdesk_bg.wasm'));
const wasmName = `core-${createHash('sha256').update(wasm).digest('hex').slice(0, 8).toUpperCase()}.wasm`;
await place(wasmName, wasm);

const worker = await build({
  ...common,
  entryPoints: { worker: 'src/worker/worker.ts' },
  define: { WASM_FILE: JSON.stringify(wasmName) },
});
const page = await build({
  ...common,
  splitting: true,
  entryPoints: { page: 'src/page.tsx' },
  define: { WORKER_FILE: JSON.stringify(made(worker, 'src/worker/worker.ts')) },
});
const style = await build({ ...common, entryPoints: { style: 'src/style/index.css' } });

const html = (await readFile(join(here, 'src/index.html'), 'utf8'))
  .replace('{{page}}', made(page, 'src/page.tsx'))
  .replace('{{style}}', made(style, 'src/style/index.css'));
await place('index.html', html);
await copyFile(join(here, 'src/icon.svg'), join(out, 'icon.svg'));

if (process.env.SEALDESK_ORG) {
  const text = await readFile(process.env.SEALDESK_ORG, 'utf8');
  const { root } = JSON.parse(text);
  if (!/^[0-9a-f]{64}$/.test(root)) throw new Error(`${process.env.SEALDESK_ORG} has no root hash`);
  await place('org.json', text);
  await place('config.json', JSON.stringify({ root, demo: process.env.SEALDESK_DEMO === '1' }) + '\n');
}
