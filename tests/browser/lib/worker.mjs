// What a test does to the page's worker from inside.

/** Runs `source` in the worker before the worker's own script, from the next visit on. */
export async function insideWorker(visitor, source) {
  // To the browser, what is fulfilled here comes from nowhere, and the relay is on this machine.
  await visitor.context.grantPermissions(['local-network-access']);
  await visitor.context.route('**/worker-*.js', async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, body: `${source}\n${await answer.text()}` });
  });
}

/** For {@link insideWorker}: what {@link tellWorker} says moves the clock, stops timers, breaks reading, or holds the spool up. */
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
  // As on a slow disk: nobody hears that a piece of a spool is stored.
  const { set } = Object.getOwnPropertyDescriptor(IDBTransaction.prototype, 'oncomplete');
  let held = null;
  Object.defineProperty(IDBTransaction.prototype, 'oncomplete', {
    set(run) {
      const ofSpool = this.mode === 'readwrite' && [...this.objectStoreNames].join() === 'spool';
      set.call(this, (event) => (held && ofSpool ? held.push(() => run(event)) : run(event)));
    },
  });
  const channel = new BroadcastChannel('test');
  channel.onmessage = ({ data }) => {
    if ('shift' in data) shift = data.shift;
    if ('asleep' in data) asleep = data.asleep;
    if ('held' in data) {
      const waiting = held ?? [];
      held = data.held ? waiting : null;
      if (!held) for (const run of waiting) run();
    }
    if ('unreadable' in data) unreadable = data.unreadable;
    // An id that is none: what only an error of the page can ask for.
    if (data.wrong) self.onmessage({ data: { type: 'page', conversation: 'none', before: 1 } });
    const tell = (of, code) => post({ type: 'events', events: [{ type: 'problem', conversation: of, problem: { code, fault: 'you', text: '', hint: '' } }] });
    for (const code of data.problems ?? []) tell(conversation, code);
    for (const code of data.problemsOfPage ?? []) tell(null, code);
    channel.postMessage('done');
  };
}`;

/** For {@link insideWorker}: whatever is to be saved is asked for by a further command at once. */
export const ASKING_TWICE = `{
  const { set } = Object.getOwnPropertyDescriptor(self, 'onmessage');
  Object.defineProperty(self, 'onmessage', {
    set: (run) =>
      set.call(self, (event) => {
        run(event);
        if (event.data.type === 'saveFile') run({ data: { ...event.data, id: 2 ** 40 } });
      }),
  });
}`;

/** For {@link insideWorker}: the first file that is written to the private file system does not get onto the disk. */
export const FULL_ONCE = `{
  const flush = FileSystemSyncAccessHandle.prototype.flush;
  FileSystemSyncAccessHandle.prototype.flush = function () {
    FileSystemSyncAccessHandle.prototype.flush = flush;
    throw new DOMException('the disk is full', 'QuotaExceededError');
  };
}`;

/** For {@link insideWorker}: the vault's key opens only when {@link tellWorker} says so. */
export const SLOW_KEY = `{
  const decrypt = crypto.subtle.decrypt;
  const told = new Promise((resolve) => {
    const channel = new BroadcastChannel('test');
    channel.onmessage = ({ data }) => {
      if (data.key) resolve();
      channel.postMessage('done');
    };
  });
  crypto.subtle.decrypt = (...given) => told.then(() => decrypt.apply(crypto.subtle, given));
}`;

export const tellWorker = (page, what) =>
  page.evaluate(async (said) => {
    const channel = new BroadcastChannel('test');
    const done = new Promise((resolve) => (channel.onmessage = resolve));
    channel.postMessage(said);
    await done;
    channel.close();
  }, what);

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
