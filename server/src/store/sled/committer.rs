//! The one writer: groups waiting operations into one atomic batch, makes it durable, then answers them all.
//!
//! 1. Take every operation that waits (bounded by count and bytes).
//! 2. Run each against the tree plus what earlier operations of the group wrote.
//! 3. Publish which positions are about to appear, so that readers do not see them before they are durable: a
//!    position seen and then lost in a power cut would be given out a second time.
//! 4. Apply one batch, flush sled, `sync_data` on our own handle (sled's flush is no disk flush on Linux).
//! 5. Answer everybody.
//!
//! An operation refuses before its first write or not at all, so a refusal leaves no trace. A failed write ends
//! writing for good: what is on disk is then unknown until the store is opened again.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sealdesk_protocol::ids::MailboxId;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::mailbox::MailboxState;
use crate::store::StoreError;

/// Operations waiting at most; senders then wait their turn.
const QUEUE: usize = 2_048;
/// Operations in one group at most.
const GROUP: usize = 2_048;
/// Written bytes after which a group is closed.
const GROUP_BYTES: usize = 8 << 20;
/// Mailbox states kept in memory; beyond that they are read again from the tree.
const CACHED_MAILBOXES: usize = 32_768;

/// A key and its value.
pub(super) type Entry = (Vec<u8>, Vec<u8>);
type Finish = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
type Operation = Box<dyn FnOnce(&mut Txn<'_>) -> Finish + Send>;

/// What readers and the committer share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// First position of each mailbox that is written but not yet durable.
    pending: Mutex<HashMap<MailboxId, u64>>,
    failed: Mutex<Option<StoreError>>,
}

impl Shared {
    /// Positions from here on are not durable yet.
    pub(super) fn not_durable_from(&self, mailbox: &MailboxId) -> u64 {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).get(mailbox).copied().unwrap_or(u64::MAX)
    }

    pub(super) fn health(&self) -> Result<(), StoreError> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    fn fail(&self, error: &StoreError) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
    }

    #[cfg(test)]
    pub(super) fn announce(&self, mailbox: MailboxId, seq: u64) {
        self.publish(HashMap::from([(mailbox, seq)]));
    }

    fn publish(&self, pending: HashMap<MailboxId, u64>) {
        *self.pending.lock().unwrap_or_else(PoisonError::into_inner) = pending;
    }
}

/// The tree as an operation sees it: with what its group wrote before.
pub(super) struct Txn<'a> {
    pub(super) tree: &'a sled::Tree,
    pub(super) mailboxes: &'a mut HashMap<MailboxId, MailboxState>,
    pub(super) next_audit: &'a mut u64,
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pending: HashMap<MailboxId, u64>,
    bytes: usize,
}

impl Txn<'_> {
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.writes.get(key) {
            Some(written) => Ok(written.clone()),
            None => Ok(self.tree.get(key).map_err(failed)?.map(|value| value.to_vec())),
        }
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.bytes += key.len() + value.len();
        self.writes.insert(key, Some(value));
    }

    pub(super) fn remove(&mut self, key: Vec<u8>) {
        self.bytes += key.len();
        self.writes.insert(key, None);
    }

    /// Up to `limit` entries whose keys start with `prefix`, in order.
    pub(super) fn scan(&self, prefix: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut found = BTreeMap::new();
        for entry in self.tree.scan_prefix(prefix) {
            let (key, value) = entry.map_err(failed)?;
            if !self.writes.contains_key(key.as_ref()) {
                found.insert(key.to_vec(), value.to_vec());
                if found.len() == limit {
                    break;
                }
            }
        }
        let written = self.writes.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        found.extend(written.filter_map(|(key, value)| Some((key.clone(), value.clone()?))));
        Ok(found.into_iter().take(limit).collect())
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

/// The handle to the committer thread.
#[derive(Debug)]
pub(super) struct Committer {
    queue: Option<mpsc::Sender<Operation>>,
    thread: Option<JoinHandle<()>>,
    pub(super) shared: Arc<Shared>,
}

impl Committer {
    /// Starts the thread. `disk` is our own handle to sled's file.
    pub(super) fn start(
        tree: sled::Tree,
        db: sled::Db,
        disk: File,
        next_audit: u64,
    ) -> std::io::Result<Self> {
        let (queue, mut operations) = mpsc::channel::<Operation>(QUEUE);
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("store-committer".into()).spawn(move || {
            let mut writer = Writer { tree, db, disk, mailboxes: HashMap::new(), next_audit, shared: theirs };
            let mut waiting = Vec::with_capacity(GROUP);
            while operations.blocking_recv_many(&mut waiting, GROUP) > 0 {
                let mut group = waiting.drain(..).peekable();
                while group.peek().is_some() {
                    writer.commit(&mut group);
                }
            }
        })?;
        Ok(Self { queue: Some(queue), thread: Some(thread), shared })
    }

    /// Runs `operation` in the next group; the future resolves when its writes are durable.
    ///
    /// It is queued at once, before the future is polled, so that calls of one caller keep their order.
    pub(super) fn submit<T, F>(&self, operation: F) -> BoxFuture<'static, Result<T, StoreError>>
    where
        T: Send + 'static,
        F: FnOnce(&mut Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let boxed: Operation = Box::new(move |txn| {
            let outcome = operation(txn);
            Box::new(move |durable| {
                // A caller that went away does not need the answer.
                let _ = answer.send(durable.and(outcome));
            })
        });
        let stopped = || StoreError::Failed("the store has stopped".into());
        let queued = match &self.queue {
            Some(queue) => queue.try_send(boxed).map_err(|error| (queue.clone(), error)),
            None => return core::future::ready(Err(stopped())).boxed(),
        };
        async move {
            match queued {
                Ok(()) => {}
                Err((queue, TrySendError::Full(waiting))) => {
                    queue.send(waiting).await.map_err(|_| stopped())?
                }
                Err((_, TrySendError::Closed(_))) => return Err(stopped()),
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

struct Writer {
    tree: sled::Tree,
    db: sled::Db,
    disk: File,
    mailboxes: HashMap<MailboxId, MailboxState>,
    next_audit: u64,
    shared: Arc<Shared>,
}

impl Writer {
    fn commit(&mut self, operations: &mut impl Iterator<Item = Operation>) {
        if let Err(error) = self.shared.health() {
            operations.for_each(|operation| {
                let mut txn = empty(&self.tree, &mut self.mailboxes, &mut self.next_audit);
                operation(&mut txn)(Err(error.clone()));
            });
            return;
        }
        if self.mailboxes.len() > CACHED_MAILBOXES {
            self.mailboxes.clear();
        }
        let mut txn = empty(&self.tree, &mut self.mailboxes, &mut self.next_audit);
        let mut finished = Vec::new();
        for operation in operations {
            finished.push(operation(&mut txn));
            if txn.bytes > GROUP_BYTES {
                break;
            }
        }
        let (writes, pending) = (txn.writes, txn.pending);
        let durable = if writes.is_empty() { Ok(()) } else { self.persist(writes, pending) };
        if let Err(error) = &durable {
            tracing::error!(%error, "the store cannot write any more: free disk space or check the disk, then restart");
            self.shared.fail(error);
        }
        finished.into_iter().for_each(|finish| finish(durable.clone()));
    }

    fn persist(
        &self,
        writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
        pending: HashMap<MailboxId, u64>,
    ) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.shared.publish(pending);
        self.tree.apply_batch(batch).map_err(failed)?;
        self.db.flush().map_err(failed)?;
        self.disk.sync_data().map_err(|error| StoreError::Failed(error.to_string()))?;
        self.shared.publish(HashMap::new());
        Ok(())
    }
}

fn empty<'a>(
    tree: &'a sled::Tree,
    mailboxes: &'a mut HashMap<MailboxId, MailboxState>,
    next_audit: &'a mut u64,
) -> Txn<'a> {
    Txn { tree, mailboxes, next_audit, writes: BTreeMap::new(), pending: HashMap::new(), bytes: 0 }
}

/// A sled error during operation: the machine's fault, final.
pub(super) fn failed(error: sled::Error) -> StoreError {
    StoreError::Failed(error.to_string())
}
