//! The peer of the relay's durable mailboxes: one plain file behind the same number of senders. Each sender hands a
//! message over and waits until it is durable before it sends the next one; one thread writes whatever waits at once, one
//! fdatasync, and tells them. No socket, no frames, nothing routed, indexed, delivered or deleted.
//!
//! Beside it, the disk alone: the same groups written by nobody for nobody, which no server can reach.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::time::Instant;

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::error::Error;

pub(crate) const NAME: &str = "plain file, group fdatasync";

type Handed = (Vec<u8>, oneshot::Sender<()>);

/// Messages a second that `senders` get durable, `each` messages of `size` bytes.
pub(crate) fn per_second(
    runtime: &Runtime,
    folder: &Path,
    senders: usize,
    each: usize,
    size: usize,
) -> Result<f64, Error> {
    let path = folder.join("peer");
    let mut file = File::create(&path).map_err(Error::machine("create the peer's file"))?;
    let (hand, mut handed) = mpsc::channel::<Handed>(senders);
    let writer = std::thread::spawn(move || {
        let (mut waiting, mut group) = (Vec::new(), Vec::new());
        while handed.blocking_recv_many(&mut waiting, usize::MAX) > 0 {
            group.clear();
            waiting.iter().for_each(|(message, _)| group.extend_from_slice(message));
            file.write_all(&group)?;
            file.sync_data()?;
            // A sender waits for its answer, so none is gone.
            waiting.drain(..).for_each(|(_, durable)| {
                let _ = durable.send(());
            });
        }
        Ok::<(), std::io::Error>(())
    });
    let begin = Instant::now();
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..senders {
            let hand = hand.clone();
            tasks.spawn(async move {
                let template = vec![0xA5; size];
                for _ in 0..each {
                    let (durable, answer) = oneshot::channel();
                    let stopped = |_| Error::ours("the peer's writer has stopped");
                    hand.send((template.clone(), durable)).await.map_err(|_| stopped(()))?;
                    answer.await.map_err(|_| stopped(()))?;
                }
                Ok::<(), Error>(())
            });
        }
        drop(hand);
        while let Some(sender) = tasks.join_next().await {
            sender.map_err(Error::ours)??;
        }
        Ok::<(), Error>(())
    })?;
    let took = begin.elapsed().as_secs_f64();
    let written = writer.join().map_err(|_| Error::ours("the peer's writer panicked"))?;
    written.map_err(Error::machine("write the peer's file"))?;
    std::fs::remove_file(&path).map_err(Error::machine("remove the peer's file"))?;
    #[expect(clippy::cast_precision_loss, reason = "counts of messages are far below 2^52")]
    let messages = (senders * each) as f64;
    Ok(messages / took)
}

/// Whether the file grows, or lies there in its full length and is overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// What a log does; the file system also writes down the file's new length each time.
    Append,
    /// The most that the disk gives.
    Overwrite,
}

/// The disk alone: `total` messages of `size` bytes a second, in groups of `senders`.
pub(crate) fn disk_alone(
    folder: &Path,
    layout: Layout,
    senders: usize,
    total: usize,
    size: usize,
) -> Result<f64, Error> {
    let path = folder.join("plain");
    let mut file = File::create(&path).map_err(Error::machine("create the peer's file"))?;
    let group = vec![0xA5; senders * size];
    let groups = total.div_ceil(senders).max(1);
    if layout == Layout::Overwrite {
        for _ in 0..groups {
            file.write_all(&group).map_err(Error::machine("lay out the peer's file"))?;
        }
        file.sync_all().and_then(|()| file.rewind()).map_err(Error::machine("lay out the peer's file"))?;
    }
    let begin = Instant::now();
    for _ in 0..groups {
        file.write_all(&group).map_err(Error::machine("write the peer's file"))?;
        file.sync_data().map_err(Error::machine("sync the peer's file"))?;
    }
    let took = begin.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(&path).map_err(Error::machine("remove the peer's file"))?;
    #[expect(clippy::cast_precision_loss, reason = "counts of messages are far below 2^52")]
    let written = (groups * senders) as f64;
    Ok(written / took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_has_a_rate_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("folder");
        let runtime = Runtime::new().expect("runtime");
        assert!(per_second(&runtime, folder.path(), 4, 10, 2900).expect("rate") > 0.0);
        for layout in [Layout::Append, Layout::Overwrite] {
            let rate = disk_alone(folder.path(), layout, 4, 40, 2900).expect("rate");
            assert!(rate > 0.0);
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 0);
    }
}
