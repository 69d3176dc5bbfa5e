// What a test does to the page's worker from inside, and to the vault from beside it.

/** Runs `source` in the worker before the worker's own script, from the next visit on. */
export async function insideWorker(visitor, source) {
  // To the browser, what is fulfilled here comes from nowhere, and the relay is on this machine.
  await visitor.context.grantPermissions(['local-network-access']);
  await visitor.context.route('**/worker-*.js', async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, body: `${source}\n${await answer.text()}` });
  });
}

/** For {@link insideWorker}: what {@link tellWorker} says moves the clock, stops timers, or breaks reading. */
export const OBEDIENT = `{
  const now = Date.now;
  let shift = 0;
  Date.now = () => now() + shift;
  const later = self.setTimeout;
  let asleep = false;
  // As after a pause that has only begun: what is set from then on does not ring.
  self.setTimeout = (run, wait = 0, ...rest) => later(run, asleep && wait > 0 ? 2 ** 31 - 1 : wait, ...rest);
  const getAll = IDBObjectStore.prototype.getAll;
  let unreadable = false;
  IDBObjectStore.prototype.getAll = function (...range) {
    if (unreadable) throw new DOMException('the disk does not answer', 'UnknownError');
    return getAll.apply(this, range);
  };
  const post = self.postMessage.bind(self);
  let conversation = null;
  self.postMessage = (message) => {
    for (const event of message.events ?? []) if (event.type === 'conversation') conversation = event.conversation.id;
    post(message);
  };
  const channel = new BroadcastChannel('test');
  channel.onmessage = ({ data }) => {
    if ('shift' in data) shift = data.shift;
    if ('asleep' in data) asleep = data.asleep;
    if ('unreadable' in data) unreadable = data.unreadable;
    // An id that is none: what only an error of the page can ask for.
    if (data.wrong) self.onmessage({ data: { type: 'page', conversation: 'none', before: 1 } });
    for (const code of data.problems ?? []) {
      post({ type: 'events', events: [{ type: 'problem', conversation, problem: { code, fault: 'relay', text: '', hint: '' } }] });
    }
    channel.postMessage('done');
  };
}`;

export const tellWorker = (page, what) =>
  page.evaluate(async (said) => {
    const channel = new BroadcastChannel('test');
    const done = new Promise((resolve) => (channel.onmessage = resolve));
    channel.postMessage(said);
    await done;
    channel.close();
  }, what);

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

/** Changes what the vault's transactions compare with: from then on none can be made. Answers what stood there. */
export const setGeneration = (page, value) =>
  page.evaluate(async (generation) => {
    const ask = (request) => new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    const [{ name }] = await indexedDB.databases();
    const db = await ask(indexedDB.open(name));
    const store = db.transaction('meta', 'readwrite').objectStore('meta');
    const before = await ask(store.get('generation'));
    await ask(store.put(generation, 'generation'));
    db.close();
    return before;
  }, value);

/** Overwrites one record of this kind with noise. */
export const damage = (page, kind) =>
  page.evaluate(async (wanted) => {
    const ask = (request) => new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    const [{ name }] = await indexedDB.databases();
    const db = await ask(indexedDB.open(name));
    const rows = db.transaction('rows', 'readwrite').objectStore('rows');
    const range = IDBKeyRange.bound(new Uint8Array([wanted]), new Uint8Array([wanted + 1]), false, true);
    const [key] = await ask(rows.getAllKeys(range));
    await ask(rows.put(crypto.getRandomValues(new Uint8Array(200)), key));
    db.close();
  }, kind);

/** For {@link insideWorker}: what the page is told passes through here. Both are sources of functions that change what they are given. */
export const altered = ({ message = '() => {}', conversation = '() => {}' }) => `{
  const post = self.postMessage.bind(self);
  const [message, conversation] = [${message}, ${conversation}];
  self.postMessage = (told) => {
    for (const one of [...(told.messages ?? []), ...(told.events ?? []).flatMap((event) => event.message ?? [])]) message(one);
    for (const one of [...(told.conversations ?? []), ...(told.events ?? []).flatMap((event) => (event.type === 'conversation' ? event.conversation : []))]) conversation(one);
    post(told);
  };
}`;

/** Changes who may write to the vault: as if another tab had taken it over, before this one heard of it. */
export const setSession = (page, value) =>
  page.evaluate(async (session) => {
    const ask = (request) => new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    const [{ name }] = await indexedDB.databases();
    const db = await ask(indexedDB.open(name));
    const store = db.transaction('meta', 'readwrite').objectStore('meta');
    const before = await ask(store.get('session'));
    await ask(store.put(session, 'session'));
    db.close();
    return before;
  }, value);

/** Of the sealed notes that the vault holds: what tells them from others, and their length. */
export const sealedNotes = (page) =>
  page.evaluate(async () => {
    const ask = (request) => new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    const [{ name }] = await indexedDB.databases();
    const db = await ask(indexedDB.open(name));
    const notes = await ask(db.transaction('meta').objectStore('meta').get('notes'));
    db.close();
    return { iv: String(notes?.iv), length: notes?.text.byteLength ?? 0 };
  });
