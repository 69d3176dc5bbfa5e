//! The peer of the relay's durable mailboxes, and a limit that none of them can reach on this disk: one plain file.
//! Every sender waits for its message to be durable before it sends the next one, so a group holds one message of
//! each sender: written at once, then one fdatasync. Nothing is received, routed, indexed, delivered or deleted, and
//! telling the senders costs nothing.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::time::Instant;

use crate::error::Error;

pub(crate) const NAME: &str = "plain file, group fdatasync";

/// Whether the file grows, or lies there in its full length and is overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// What a plain log does; the file system also writes down the file's new length each time.
    Append,
    /// The most that the disk gives.
    Overwrite,
}

/// Messages a second for `total` messages of `size` bytes from `senders`.
pub(crate) fn durable_per_second(
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
    fn both_layouts_have_a_rate_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().expect("folder");
        for layout in [Layout::Append, Layout::Overwrite] {
            let rate = durable_per_second(folder.path(), layout, 4, 40, 2900).expect("rate");
            assert!(rate > 0.0);
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 0);
    }
}
