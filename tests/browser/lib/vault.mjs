// The page's vault, looked at and changed from beside the worker.

/**
 * What `act(db, ask, value)` answers in the page, with the vault's database open: `ask` awaits a request. The function
 * sees nothing of what stands around it.
 */
export async function withVault(page, act, value) {
  const held = await page.evaluateHandle(`({ act: ${act} })`);
  return page.evaluate(
    async ({ held: { act }, value }) => {
      const ask = (request) => new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
      const [{ name }, ...others] = await indexedDB.databases();
      if (others.length > 0) throw new Error('there is a database beside the vault');
      const db = await ask(indexedDB.open(name));
      try {
        return await act(db, ask, value);
      } finally {
        db.close();
      }
    },
    { held, value },
  );
}

/** Puts a value beside the records. Answers what stood there. */
const setMeta = (page, key, value) =>
  withVault(
    page,
    async (db, ask, [key, value]) => {
      const store = db.transaction('meta', 'readwrite').objectStore('meta');
      const before = await ask(store.get(key));
      await ask(store.put(value, key));
      return before;
    },
    [key, value],
  );

/** Changes what the vault's transactions compare with: from then on none can be made. Answers what stood there. */
export const setGeneration = (page, value) => setMeta(page, 'generation', value);

/** Changes who may write to the vault: as if another tab had taken it over, before this one heard of it. */
export const setSession = (page, value) => setMeta(page, 'session', value);

/** Who may write to the vault. */
export const session = (page) => withVault(page, (db, ask) => ask(db.transaction('meta').objectStore('meta').get('session')));

/** Overwrites one record of this kind with noise. */
export const damage = (page, kind) =>
  withVault(
    page,
    async (db, ask, wanted) => {
      const rows = db.transaction('rows', 'readwrite').objectStore('rows');
      const range = IDBKeyRange.bound(new Uint8Array([wanted]), new Uint8Array([wanted + 1]), false, true);
      const [key] = await ask(rows.getAllKeys(range));
      await ask(rows.put(crypto.getRandomValues(new Uint8Array(200)), key));
    },
    kind,
  );

/** The transfers of which something lies in the spool. */
export const spooled = (page) =>
  withVault(page, async (db, ask) => {
    const keys = await ask(db.transaction('spool').objectStore('spool').getAllKeys());
    return [...new Set(keys.map(([transfer]) => transfer))];
  });

/** Puts pieces of transfers into the spool of which the engine knows nothing. */
export const leaveSpools = (page, transfers) =>
  withVault(
    page,
    async (db, ask, transfers) => {
      const spool = db.transaction('spool', 'readwrite').objectStore('spool');
      for (const transfer of transfers) await ask(spool.put(new Uint8Array([1]), [transfer, 0]));
    },
    transfers,
  );

/** How many records the vault holds. */
export const records = (page) => withVault(page, (db, ask) => ask(db.transaction('rows').objectStore('rows').count()));

/** Of the sealed notes that the vault holds: what tells them from others, and their length. */
export const sealedNotes = (page) =>
  withVault(page, async (db, ask) => {
    const notes = await ask(db.transaction('meta').objectStore('meta').get('notes'));
    return { iv: String(notes?.iv), length: notes?.text.byteLength ?? 0 };
  });

/** Waits until the vault has kept what the page notes now, after `act` is done: a draft, an alarm. */
export async function noted(page, act) {
  const before = await sealedNotes(page);
  await act();
  await until(async () => (await sealedNotes(page)).iv !== before.iv);
}

/** Looks again until it holds. */
export async function until(holds) {
  for (const end = Date.now() + 60_000; !(await holds()); ) {
    if (Date.now() > end) throw new Error(`it does not come to hold: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
