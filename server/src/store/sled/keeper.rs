//! The keeper: a thread that brings what the journal holds into sled, and reads sled for backups.
//!
//! It alone writes to sled, one layer after the other, so a backup between two layers is consistent while writers go on.
//! Halfway in is no harm: the journal still holds the whole layer, and readers see the layer before sled.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::committer::{Health, Watch};
use super::layers::{Layer, Layers, failed};
use super::transfer;
use crate::store::StoreError;

/// Bytes and writes applied to sled at once.
const BATCH_BYTES: usize = 1 << 20;
const BATCH: usize = 1_024;

enum Work {
    BringDown(Arc<Layer>),
    Backup(PathBuf, oneshot::Sender<Result<u64, StoreError>>),
}

/// The handle to the keeper's thread.
#[derive(Debug)]
pub(super) struct Keeper {
    work: Option<Sender<Work>>,
    done: Receiver<()>,
    under_way: usize,
    health: Arc<Health>,
    thread: Option<JoinHandle<()>>,
}

/// sled with our own handle to its file.
pub(super) struct Disk {
    pub(super) db: sled::Db,
    pub(super) file: File,
}

impl Disk {
    /// Applies a layer, and makes it durable: sled's flush is no disk flush on Linux.
    pub(super) fn bring_down(&self, layer: &Layer) -> Result<(), StoreError> {
        let (mut batch, mut writes, mut bytes) = (sled::Batch::default(), 0, 0);
        for (key, value) in layer {
            match value {
                Some(value) => batch.insert(key.as_slice(), value.as_ref()),
                None => batch.remove(key.as_slice()),
            }
            writes += 1;
            bytes += value.as_ref().map_or(0, |value| value.len());
            if writes == BATCH || bytes > BATCH_BYTES {
                self.db.apply_batch(core::mem::take(&mut batch)).map_err(failed)?;
                (writes, bytes) = (0, 0);
            }
        }
        self.db.apply_batch(batch).map_err(failed)?;
        self.db.flush().map_err(failed)?;
        self.file.sync_data().map_err(|error| StoreError::Failed(error.to_string()))
    }
}

impl Keeper {
    /// Starts the thread.
    pub(super) fn start(
        disk: Disk,
        layers: Arc<Layers>,
        health: Arc<Health>,
        epoch: u32,
    ) -> std::io::Result<Self> {
        let (work, orders) = channel::<Work>();
        let (tell, done) = channel();
        let noted = Arc::clone(&health);
        let thread = std::thread::Builder::new().name("store-keeper".into()).spawn(move || {
            let _watch = Watch(Arc::clone(&noted));
            for order in orders {
                match order {
                    Work::BringDown(layer) => match disk.bring_down(&layer) {
                        Ok(()) => layers.drop_resting(),
                        Err(error) => noted.fail(error),
                    },
                    Work::Backup(_, answer) if answer.is_closed() => {}
                    Work::Backup(to, answer) => {
                        let written = noted.check().and_then(|()| {
                            transfer::write_backup(&disk.db, epoch, &to)
                                .map_err(|error| StoreError::Open(error.to_string()))
                        });
                        // The caller may be gone.
                        drop(answer.send(written));
                    }
                }
                // The committer is gone when the store is closing.
                let _ = tell.send(());
            }
        })?;
        Ok(Self { work: Some(work), done, under_way: 0, health, thread: Some(thread) })
    }

    fn order(&mut self, work: Work) {
        if self.work.as_ref().is_some_and(|orders| orders.send(work).is_ok()) {
            self.under_way += 1;
        }
    }

    /// Brings a resting layer into sled.
    pub(super) fn bring_down(&mut self, layer: Arc<Layer>) {
        self.order(Work::BringDown(layer));
    }

    /// Copies sled to a file after everything ordered before.
    pub(super) fn back_up(&mut self, to: PathBuf, answer: oneshot::Sender<Result<u64, StoreError>>) {
        self.order(Work::Backup(to, answer));
    }

    /// Whether everything ordered is done.
    pub(super) fn is_idle(&mut self) -> bool {
        self.under_way -= self.done.try_iter().count();
        self.under_way == 0
    }

    /// Waits until everything ordered is done.
    pub(super) fn wait(&mut self) -> Result<(), StoreError> {
        while self.under_way > 0 {
            self.done.recv().map_err(|_| StoreError::Failed("the store's keeper has stopped".into()))?;
            self.under_way -= 1;
        }
        self.health.check()
    }
}

impl Drop for Keeper {
    /// Waits for what is under way.
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
