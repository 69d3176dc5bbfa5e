// The worker: keys, engine, vault and connection live here; the page only shows.
//
//   1. load the core, config.json and org.json; verify the organisation
//   2. open the vault (in memory where the browser stores nothing), then take the tab lock
//   3. drive the engine until another tab takes over; then wait until that one is gone

import { asProblem, loadCore, orgView } from './core';
import type { Organisation } from './core';
import { Disk } from './disk';
import { Driver } from './driver';
import { Files } from './files';
import { IndexedDbVault } from './indexeddb';
import { TabLock } from './lock';
import { MemoryVault } from './memory';
import { readConfig, readOrganisation } from './organisation';
import type { Config, ToPage, ToWorker } from './protocol';
import type { Vault } from './vault';

const page = self as unknown as {
  postMessage(message: ToPage): void;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
};
const post = (message: ToPage): void => page.postMessage(message);

let driver: Driver | null = null;
let takeOver: () => void = () => undefined;

page.onmessage = ({ data }) => {
  if (data.type === 'takeOver' && !driver) takeOver();
  else driver?.handle(data).catch(fail);
};

function fail(error: unknown): void {
  driver?.stop();
  driver = null;
  post({ type: 'refused', problem: asProblem(error) });
}

/** Where the browser stores nothing, or no CryptoKey, the vault lives in memory. */
async function openVault(config: Config): Promise<Vault> {
  try {
    const vault = await IndexedDbVault.open(config.root);
    // Storing the key is what private windows refuse.
    await vault.prepare();
    return vault;
  } catch {
    return new MemoryVault();
  }
}

/** True: another tab took over. */
async function drive(vault: Vault, organisation: Organisation, config: Config): Promise<boolean> {
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
    draft: await vault.draft(),
    conversations: running.conversations,
  });
  const taken = await running.run(() => readOrganisation(config));
  driver = null;
  running.free();
  return taken;
}

async function main(): Promise<void> {
  await loadCore();
  const config = await readConfig();
  const organisation = await readOrganisation(config);
  const vault = await openVault(config);
  if (!vault.kept) {
    await drive(vault, organisation, config);
    return;
  }
  const lock = new TabLock(`sealdesk-${config.root}`);
  const lost = () => driver?.stop();
  let held = await lock.take(lost);
  for (;;) {
    if (!held) {
      post({ type: 'held' });
      const stolen = new Promise<boolean>((resolve) => {
        takeOver = () => resolve(lock.steal(lost));
      });
      // A wait that is given up for stealing answers false.
      held = await Promise.race([stolen, lock.wait(lost).then((got) => (got ? true : stolen))]);
    }
    await drive(vault, organisation, config);
    lock.release();
    held = false;
  }
}

main().catch(fail);
