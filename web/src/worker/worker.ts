// The worker: keys, engine, vault and connection live here; the page only shows.
//
//   1. load the core, config.json and org.json; verify the organisation
//   2. where there is no vault yet: wait until the person agrees; nothing is stored before
//   3. open the vault (in memory where the browser stores nothing), then take the tab lock
//   4. drive the engine until another tab takes over; then wait until that one is gone
//
// Whatever throws in between ends the worker: the page says what it was, and only loading it again begins anew.

import { Refusal, asProblem, loadCore, orgView } from './core';
import type { Organisation } from './core';
import { Disk } from './disk';
import { Driver } from './driver';
import { Files } from './files';
import { IndexedDbVault } from './indexeddb';
import { Sight, TabLock } from './lock';
import { MemoryVault } from './memory';
import { readConfig, readOrganisation } from './organisation';
import { handedOver, unread } from './problems';
import type { Config, ToPage, ToWorker } from './protocol';
import type { Vault } from './vault';

const page = self as unknown as {
  postMessage(message: ToPage): void;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
};
const post = (message: ToPage): void => page.postMessage(message);

const sight = new Sight();
let driver: Driver | null = null;
let takeOver: () => void = () => undefined;
/** Where there is no vault yet: what makes one. */
let agree: ((consent: ToWorker) => void) | null = null;
/** The page shows an error of its own: nothing else may cover it. */
let broken = false;

page.onmessage = ({ data }) => {
  if (data.type === 'seen') sight.seen = data.seen;
  else if (driver) void driver.handle(data).catch(fail);
  else if (data.type === 'open' && agree) agree(data);
  else if (data.type === 'takeOver') takeOver();
  // Sent before the page knew that another tab has the chat.
  else giveUp(data);
};

function giveUp(command: ToWorker): void {
  if ('id' in command) post({ type: 'events', events: [{ type: 'failed', id: command.id, problem: handedOver }] });
}

function fail(error: unknown): void {
  if (broken) return;
  broken = true;
  driver?.stop();
  post({ type: 'refused', problem: asProblem(error) });
}

/** Where the browser stores nothing, or no CryptoKey, the vault lives in memory; one that is there is never passed over. */
async function openVault(config: Config): Promise<Vault> {
  try {
    return await IndexedDbVault.open(config.root);
  } catch (error) {
    if (await IndexedDbVault.exists(config.root, error)) {
      throw new Refusal(unread(error));
    }
    return new MemoryVault();
  }
}

/** The person's consent, when nothing is stored here yet. */
async function consent(organisation: Organisation, config: Config): Promise<ToWorker | null> {
  if (await IndexedDbVault.isThere(config.root)) return null;
  const given = new Promise<ToWorker>((resolve) => {
    agree = resolve;
  });
  const org = orgView(organisation);
  post({ type: 'ready', org, demo: config.demo, kept: true, notes: '', conversations: [] });
  return given.finally(() => {
    agree = null;
  });
}

/** Until another tab takes over, or for good. `first`: what the page asked for before there was a vault. */
async function drive(vault: Vault, organisation: Organisation, config: Config, first: ToWorker | null): Promise<void> {
  const org = orgView(organisation);
  const disk = vault.kept ? new Disk(`sealdesk-${config.root}`) : null;
  await disk?.clear();
  driver = await Driver.open(vault, new Files(disk), organisation, org.relays, post);
  const running = driver;
  post({
    type: 'ready',
    org,
    demo: config.demo,
    kept: vault.kept,
    notes: await vault.notes(),
    conversations: running.conversations,
  });
  try {
    if (first) await running.handle(first);
    await running.run(() => readOrganisation(config));
  } finally {
    driver = null;
    running.free();
  }
}

async function main(): Promise<void> {
  await loadCore();
  const config = await readConfig();
  let organisation = await readOrganisation(config);
  let first = await consent(organisation, config);
  // The page may have been open for days.
  if (first) organisation = await readOrganisation(config).catch(() => organisation);
  const vault = await openVault(config);
  if (!vault.kept) {
    await drive(vault, organisation, config, first);
    return;
  }
  const lock = new TabLock(`sealdesk-${config.root}`, sight);
  const lost = () => driver?.stop();
  let held = await lock.take(lost);
  while (!broken) {
    if (!held) {
      if (first) giveUp(first);
      first = null;
      post({ type: 'held' });
      const stolen = new Promise<boolean>((resolve) => {
        takeOver = () => resolve(lock.steal(lost));
      });
      // A wait that is given up for stealing answers false.
      held = await Promise.race([stolen, lock.wait(lost).then((got) => (got ? true : stolen))]);
      // The other tab may have taken a newer one over, and the vault is not opened with an older one.
      organisation = await readOrganisation(config).catch(() => organisation);
    }
    await drive(vault, organisation, config, first);
    first = null;
    lock.release();
    held = false;
  }
}

main().catch(fail);
