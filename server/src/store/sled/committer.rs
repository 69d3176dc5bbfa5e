//! The one writer: groups waiting operations into one atomic write, makes it durable, then answers them all.
//!
//! 1. Take every operation that waits (bounded by count and bytes).
//! 2. Run each against what is durable plus what earlier operations of the group wrote.
//! 3. Append the group to the [`journal`](super::journal): one write, one `sync_data`.
//! 4. Show it to readers. They never see what is not durable: a position seen and then lost in a power cut would be
//!    given out a second time.
//! 5. Answer everybody, and tell the watcher of each mailbox with something new.
//! 6. When the journal is long, or old, put its writes to rest and go on in the other file; the [`keeper`](super::keeper) brings
//!    them into sled meanwhile.
//!
//! An operation refuses before its first write or not at all, so a refusal leaves no trace. A failed write ends
//! writing for good: what is on disk is then unknown until the store is opened again.

use std::collections::HashMap;
use std::iter::Peekable;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sealdesk_protocol::ids::MailboxId;
use tokio::sync::{mpsc, oneshot};

use super::journal::Journal;
use super::keeper::Keeper;
use super::keys;
use super::layers::{Entry, Layer, Layers};
use super::mailbox::MailboxState;
use crate::store::{StoreError, Watcher};

/// Bytes that may wait in the queue: a disk that stands still, or a backup that writers wait for, shall not fill the memory
/// with what clients send meanwhile, and with what those sent who have left.
const MOST_WAITING: usize = 256 << 20;
/// Counted for each operation beside the bytes that it carries.
const OPERATION: usize = 512;
/// Operations in one group at most.
const GROUP: usize = 2_048;
/// Written bytes after which a group is closed.
const GROUP_BYTES: usize = 8 << 20;
/// Mailbox states kept in memory; beyond that they are read again from the store.
const CACHED_MAILBOXES: usize = 32_768;
/// How many times its usual length a journal may reach while the keeper is busy; then writers wait for it.
const MOST_JOURNALS: u64 = 8;

type Finish = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
type Operation = Box<dyn FnOnce(&mut Txn<'_>) -> Finish + Send>;

/// What is asked of the writer.
enum Request {
    /// With the bytes that it holds.
    Run(usize, Operation),
    /// A consistent copy to this file; answered with the number of records.
    Backup(PathBuf, oneshot::Sender<Result<u64, StoreError>>),
}

/// Whether the store can still write.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<Option<StoreError>>);

impl Health {
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    /// The first failure counts.
    pub(super) fn fail(&self, error: StoreError) {
        tracing::error!(%error, "the store cannot write any more: free disk space or check the disk, then restart");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// The store as an operation sees it: with what its group wrote before.
pub(super) struct Txn<'a> {
    layers: &'a Layers,
    pub(super) mailboxes: &'a mut HashMap<MailboxId, MailboxState>,
    pub(super) next_audit: &'a mut u64,
    writes: Layer,
    pending: HashMap<MailboxId, u64>,
    bytes: usize,
}

impl Txn<'_> {
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.writes.get(key) {
            Some(written) => Ok(written.clone()),
            None => self.layers.get(key),
        }
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.bytes += key.len() + value.len();
        self.writes.insert(key, Some(value.into()));
    }

    pub(super) fn remove(&mut self, key: Vec<u8>) {
        self.bytes += key.len();
        self.writes.insert(key, None);
    }

    /// Up to `limit` entries whose keys start with `prefix`, in order.
    pub(super) fn scan(&self, prefix: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.entries(prefix, &keys::after(prefix), limit)
    }

    /// The entries from one key to before another, in order.
    pub(super) fn range(&self, (from, before): (Vec<u8>, Vec<u8>)) -> Result<Vec<Entry>, StoreError> {
        self.entries(&from, &before, usize::MAX)
    }

    fn entries(&self, from: &[u8], before: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        if from >= before {
            return Ok(Vec::new());
        }
        let bounds = (std::ops::Bound::Included(from), std::ops::Bound::Excluded(before));
        let mut written = self.writes.range::<[u8], _>(bounds).peekable();
        if written.peek().is_none() {
            return self.layers.entries(from, before, limit);
        }
        // What the group removed does not count against the limit.
        let removed = written.clone().filter(|(_, value)| value.is_none()).count();
        let mut found: Layer = self
            .layers
            .entries(from, before, limit.saturating_add(removed))?
            .into_iter()
            .map(|(key, value)| (key, Some(value)))
            .collect();
        found.extend(written.map(|(key, value)| (key.clone(), value.clone())));
        Ok(found.into_iter().filter_map(|(key, value)| Some((key, value?))).take(limit).collect())
    }

    /// First position that becomes visible with this group.
    pub(super) fn first_appearing(&self, mailbox: &MailboxId) -> Option<u64> {
        self.pending.get(mailbox).copied()
    }

    /// Notes that `seq` becomes visible with this group.
    pub(super) fn appears(&mut self, mailbox: MailboxId, seq: u64) {
        self.pending.entry(mailbox).or_insert(seq);
    }
}

/// Notes a failure when the thread that holds it panics: whoever waits for that thread learns of it by the store's health.
pub(super) struct Watch(pub(super) Arc<Health>);

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(StoreError::Failed("the store's thread panicked; its message is in the log".into()));
        }
    }
}

/// The handle to the committer thread.
///
/// What does not fit is refused, and does not wait: later requests would overtake it.
#[derive(Debug)]
pub(super) struct Committer {
    queue: Option<mpsc::UnboundedSender<Request>>,
    /// Bytes that operations in the queue hold.
    waiting: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// What the committer thread works with.
pub(super) struct Writer {
    pub(super) layers: Arc<Layers>,
    pub(super) journal: Journal,
    pub(super) keeper: Keeper,
    pub(super) health: Arc<Health>,
    pub(super) next_audit: u64,
    /// Length and age at which the journal turns.
    pub(super) journal_bytes: u64,
    pub(super) journal_age: Duration,
    pub(super) watcher: Arc<OnceLock<Watcher>>,
}

impl Committer {
    /// Starts the thread.
    pub(super) fn start(mut writer: Writer) -> std::io::Result<Self> {
        let (queue, mut requests) = mpsc::unbounded_channel::<Request>();
        let queued = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&queued);
        let thread = std::thread::Builder::new().name("store-committer".into()).spawn(move || {
            let _watch = Watch(Arc::clone(&writer.health));
            let mut mailboxes = HashMap::new();
            let mut waiting = Vec::with_capacity(GROUP);
            while requests.blocking_recv_many(&mut waiting, GROUP) > 0 {
                let leaves = |request: &Request| match request {
                    Request::Run(bytes, _) => _ = left.fetch_sub(*bytes, Ordering::Relaxed),
                    Request::Backup(..) => {}
                };
                let mut group = waiting.drain(..).inspect(leaves).peekable();
                while group.peek().is_some() {
                    writer.commit(&mut mailboxes, &mut group);
                }
            }
        })?;
        Ok(Self { queue: Some(queue), waiting: queued, thread: Some(thread) })
    }

    /// Runs `operation` in the next group; the future resolves when its writes are durable.
    ///
    /// It is queued at once, before the future is polled, so that calls of one caller keep their order.
    /// `bytes`: what it carries.
    pub(super) fn submit<T, F>(&self, bytes: usize, operation: F) -> BoxFuture<'static, Result<T, StoreError>>
    where
        T: Send + 'static,
        F: FnOnce(&mut Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let bytes = bytes + OPERATION;
        if self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > MOST_WAITING {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            return core::future::ready(Err(StoreError::Busy)).boxed();
        }
        let (answer, answered) = oneshot::channel();
        let operation: Operation = Box::new(move |txn| {
            let outcome = operation(txn);
            Box::new(move |durable| {
                // A caller that went away does not need the answer.
                let _ = answer.send(durable.and(outcome));
            })
        });
        self.ask(Request::Run(bytes, operation), answered)
    }

    /// Writes a consistent copy to a new file, of everything that was asked for before. Writers go on meanwhile.
    pub(super) fn backup(&self, to: PathBuf) -> BoxFuture<'static, Result<u64, StoreError>> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Backup(to, answer), answered)
    }

    fn ask<T: Send + 'static>(
        &self,
        request: Request,
        answered: oneshot::Receiver<Result<T, StoreError>>,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let stopped = || StoreError::Failed("the store has stopped".into());
        let queued = self.queue.as_ref().is_some_and(|queue| queue.send(request).is_ok());
        async move {
            if !queued {
                return Err(stopped());
            }
            answered.await.map_err(|_| stopped())?
        }
        .boxed()
    }
}

impl Drop for Committer {
    /// Waits until everything queued is durable, so that the folder may be opened again right away.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // Nothing can be done about a panicked writer here; its callers have been told.
            let _ = thread.join();
        }
    }
}

impl Writer {
    /// One group, up to the first backup.
    fn commit(
        &mut self,
        mailboxes: &mut HashMap<MailboxId, MailboxState>,
        requests: &mut Peekable<impl Iterator<Item = Request>>,
    ) {
        let healthy = self.health.check();
        if mailboxes.len() > CACHED_MAILBOXES {
            mailboxes.clear();
        }
        let (writes, pending) = (Layer::new(), HashMap::new());
        let (layers, next_audit) = (Arc::clone(&self.layers), &mut self.next_audit);
        let mut txn = Txn { layers: &layers, mailboxes, next_audit, writes, pending, bytes: 0 };
        let mut finished = Vec::new();
        let mut backup = None;
        for request in requests {
            match request {
                Request::Run(_, operation) => finished.push(operation(&mut txn)),
                Request::Backup(_, answer) if answer.is_closed() => {}
                Request::Backup(to, answer) => backup = Some((to, answer)),
            }
            if txn.bytes > GROUP_BYTES || backup.is_some() {
                break;
            }
        }
        let (writes, appeared) = (txn.writes, txn.pending);
        let durable = healthy.and_then(|()| {
            let stored = if writes.is_empty() { Ok(()) } else { self.store(writes) };
            stored.inspect_err(|error| self.health.fail(error.clone()))
        });
        // Before the answers: recipients shall not wait for the senders' tasks, which may be gone.
        if let (Ok(()), Some(watcher)) = (&durable, self.watcher.get()) {
            appeared.keys().for_each(watcher);
        }
        finished.into_iter().for_each(|finish| finish(durable.clone()));
        if let Some((to, answer)) = backup {
            match durable.and_then(|()| self.turn()) {
                Ok(()) => self.keeper.back_up(to, answer),
                Err(error) => {
                    // After a turn that failed, nobody knows where the next group would go.
                    self.health.fail(error.clone());
                    // The caller may be gone.
                    let _ = answer.send(Err(error));
                }
            }
        } else if durable.is_ok()
            && let Err(error) = self.turn_when_due()
        {
            self.health.fail(error);
        }
    }

    fn store(&mut self, writes: Layer) -> Result<(), StoreError> {
        self.journal.append(&writes).map_err(|error| StoreError::Failed(error.to_string()))?;
        self.layers.show(writes);
        Ok(())
    }

    /// Turns the journal when it is long or old and the keeper has time, or when it is far too long.
    fn turn_when_due(&mut self) -> Result<(), StoreError> {
        let length = self.journal.length();
        let idle = self.keeper.is_idle();
        if idle {
            // The keeper has time after a failure too: then the resting file holds what sled does not.
            self.health.check()?;
        }
        if idle {
            self.empty_old()?;
        }
        let old = self.journal.age() > self.journal_age;
        if (idle && (old || length > self.journal_bytes)) || length > self.journal_bytes * MOST_JOURNALS {
            self.turn()?;
        }
        Ok(())
    }

    /// Empties the file that rests, if that was not done for as long as a journal may get old. The keeper is through with it.
    fn empty_old(&mut self) -> Result<(), StoreError> {
        if self.journal.resting_age() > self.journal_age {
            self.journal.empty_resting().map_err(|error| StoreError::Failed(error.to_string()))?;
        }
        Ok(())
    }

    /// Puts the written layer to rest and goes on in the other file, once the keeper is through with that one.
    fn turn(&mut self) -> Result<(), StoreError> {
        self.keeper.wait()?;
        self.empty_old()?;
        self.journal.turn().map_err(|error| StoreError::Failed(error.to_string()))?;
        self.keeper.bring_down(self.layers.rest());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
