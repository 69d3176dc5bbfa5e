//! The journal: what was accepted and may not be in sled yet, in two files that take turns.
//!
//! ```text
//! file     header | group...                                    each begins at a multiple of 512 bytes
//! header   magic (16) | store epoch (8) | turn's number (8) | turn's token (16) | CRC-32 of these (4)
//! group    length (4) | CRC-32 (4) | turn's token (16) | record...    length and CRC cover token and records
//! record   key length (2) | value length (4), all ones: removed | key | value
//! ```
//!
//! 1. A group is one write and one `sync_data`; then it is durable. A file is written over again and again, so that the
//!    file system has no new length to note down.
//! 2. A file that is full rests until its groups are in sled; meanwhile the other one is written, under the next number.
//!    Its header is durable before its first group.
//! 3. Behind the last group lie bytes of earlier turns, and what strangers sent is among them. The token, random and new
//!    for each turn, never leaves this file: nobody can send something that will pass for a group.
//! 4. What was delivered lies in the file until it is written over. On a quiet relay that would take for ever: a journal that
//!    is an hour old turns as well, and a file that rests and was not emptied for that long is, once its groups are in sled,
//!    whatever it turned for. So nothing stays for longer than two hours. Opening empties both.
//! 5. Opening reads both files in the order of their numbers. What is in sled already is applied a second time, which
//!    changes nothing: the files hold the newest writes of all.
//! 6. The last group may be torn: nobody was told that it is stored. A good group behind a bad one is another matter:
//!    then something was lost that had been acknowledged, and the store is not opened.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::layers::Layer;

const MAGIC: &[u8; 16] = b"sealdesk-journal";
/// Headers and groups begin at multiples of this: a disk's smallest sector, which is written whole or not at all.
const ALIGN: usize = 512;
/// Magic, epoch, number, token.
const HEADER: usize = 16 + 8 + 8 + TOKEN;
/// Length and CRC of a group.
const GROUP_HEAD: usize = 4 + 4;
const TOKEN: usize = 16;
type Token = [u8; TOKEN];

/// Stands for the length of a value that was removed.
const REMOVED: u32 = u32::MAX;

/// Why a journal cannot be read. At fault: the machine, or whoever changed the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    #[error("{0} is damaged")]
    Damaged(PathBuf),
    #[error("{0} belongs to another store")]
    Foreign(PathBuf),
}

/// Where accepted writes become durable.
#[derive(Debug)]
pub(super) struct Journal {
    active: File,
    resting: File,
    epoch: u64,
    number: u64,
    token: Token,
    /// Where the next group goes.
    at: u64,
    begun: Instant,
    /// When each file was emptied last.
    active_emptied: Instant,
    resting_emptied: Instant,
    buffer: Vec<u8>,
}

/// What the two files held.
pub(super) struct Found {
    /// Every group, the newest write of each key.
    pub(super) layer: Layer,
    files: [File; 2],
    /// The file with the highest number, and that number; 0: both are new.
    newest: (usize, u64),
}

fn path(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("journal-{index}"))
}

/// Opens or creates both files and reads what they hold.
pub(super) fn read(folder: &Path, epoch: u64) -> Result<Found, JournalError> {
    let open = |index: usize| {
        let path = path(folder, index);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        file.map_err(|error| JournalError::File(path, error))
    };
    let files = [open(0)?, open(1)?];
    let mut held = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let path = path(folder, index);
        let mut bytes = vec![0; ALIGN];
        let read = file.metadata().and_then(|meta| {
            bytes.resize(usize::try_from(meta.len()).unwrap_or(usize::MAX), 0);
            file.read_exact_at(&mut bytes, 0)
        });
        read.map_err(|error| JournalError::File(path.clone(), error))?;
        match header(&bytes) {
            // Created, and never begun.
            Header::New => {}
            Header::Damaged => return Err(JournalError::Damaged(path)),
            Header::Good { epoch: found, .. } if found != epoch => return Err(JournalError::Foreign(path)),
            Header::Good { number, token, .. } => held.push((number, index, path, bytes, token)),
        }
    }
    held.sort_by_key(|(number, ..)| *number);
    let mut layer = Layer::new();
    for (_, _, path, bytes, token) in &held {
        replay(bytes, token, &mut layer).map_err(|Torn| JournalError::Damaged(path.clone()))?;
    }
    let newest = held.last().map_or((1, 0), |(number, index, ..)| (*index, *number));
    Ok(Found { layer, files, newest })
}

impl Found {
    /// Begins a new journal in the older file, and empties both. What was found has to be in sled by now.
    pub(super) fn begin(self, folder: &Path, epoch: u64) -> Result<Journal, JournalError> {
        let (newest, number) = self.newest;
        let [first, second] = self.files;
        let (active, resting) = if newest == 0 { (second, first) } else { (first, second) };
        let (token, buffer) = ([0; TOKEN], Vec::new());
        let begun = Instant::now();
        let mut journal = Journal {
            active,
            resting,
            epoch,
            number,
            token,
            at: 0,
            begun,
            active_emptied: begun,
            resting_emptied: begun,
            buffer,
        };
        let begun = journal.active.set_len(0).and_then(|()| journal.start());
        let begun =
            begun.and_then(|()| journal.empty_resting()).and_then(|()| File::open(folder)?.sync_all());
        begun.map_err(|error| JournalError::File(folder.to_path_buf(), error))?;
        Ok(journal)
    }
}

impl Journal {
    /// Bytes written since the file was begun.
    pub(super) fn length(&self) -> u64 {
        self.at
    }

    /// How long ago the first group could have been written; none was: no time at all.
    pub(super) fn age(&self) -> Duration {
        if self.at > ALIGN as u64 { self.begun.elapsed() } else { Duration::ZERO }
    }

    /// How long ago the resting file was emptied.
    pub(super) fn resting_age(&self) -> Duration {
        self.resting_emptied.elapsed()
    }

    /// Forgets what the resting file holds, which has to be in sled.
    pub(super) fn empty_resting(&mut self) -> io::Result<()> {
        self.resting.set_len(0)?;
        self.resting_emptied = Instant::now();
        Ok(())
    }

    /// The next turn fails as on a full disk.
    #[cfg(test)]
    pub(super) fn fill_the_disk(&mut self) -> File {
        let full = File::options().read(true).write(true).open("/dev/full").unwrap();
        core::mem::replace(&mut self.resting, full)
    }

    /// There is room again, after a turn.
    #[cfg(test)]
    pub(super) fn free_the_disk(&mut self, file: File) {
        self.active = file;
    }

    /// Makes one group durable.
    pub(super) fn append(&mut self, group: &Layer) -> io::Result<()> {
        self.buffer.clear();
        encode(group, &self.token, &mut self.buffer)?;
        self.active.write_all_at(&self.buffer, self.at)?;
        self.active.sync_data()?;
        self.at += self.buffer.len() as u64;
        // One large group shall not hold its memory for ever.
        self.buffer.shrink_to(1 << 20);
        Ok(())
    }

    /// Goes on in the other file. What that one holds has to be in sled.
    pub(super) fn turn(&mut self) -> io::Result<()> {
        core::mem::swap(&mut self.active, &mut self.resting);
        core::mem::swap(&mut self.active_emptied, &mut self.resting_emptied);
        self.start()
    }

    /// The next number's header, durable before any group.
    fn start(&mut self) -> io::Result<()> {
        self.number += 1;
        getrandom::fill(&mut self.token).map_err(io::Error::other)?;
        let mut header = Vec::with_capacity(ALIGN);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&self.epoch.to_be_bytes());
        header.extend_from_slice(&self.number.to_be_bytes());
        header.extend_from_slice(&self.token);
        header.extend_from_slice(&crc32fast::hash(&header).to_be_bytes());
        header.resize(ALIGN, 0);
        self.active.write_all_at(&header, 0)?;
        self.active.sync_data()?;
        self.at = ALIGN as u64;
        self.begun = Instant::now();
        Ok(())
    }
}

enum Header {
    New,
    Damaged,
    Good { epoch: u64, number: u64, token: Token },
}

fn header(bytes: &[u8]) -> Header {
    let start = &bytes[..bytes.len().min(ALIGN)];
    if start.iter().all(|byte| *byte == 0) {
        return Header::New;
    }
    let fields = || {
        let (fields, crc) = (start.get(..HEADER)?, number32(start.get(HEADER..)?)?);
        let numbers = fields.strip_prefix(MAGIC)?;
        let good = crc32fast::hash(fields) == crc;
        let (epoch, number) = (number64(numbers)?, number64(numbers.get(8..)?)?);
        let token = *numbers.get(16..)?.first_chunk()?;
        good.then_some(Header::Good { epoch, number, token })
    };
    fields().unwrap_or(Header::Damaged)
}

fn number32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.first_chunk()?))
}

fn number64(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.first_chunk()?))
}

fn encode(group: &Layer, token: &Token, out: &mut Vec<u8>) -> io::Result<()> {
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
    out.extend_from_slice(&[0; GROUP_HEAD]);
    out.extend_from_slice(token);
    for (key, value) in group {
        let value_length = match value {
            Some(value) => u32::try_from(value.len()).map_err(too_long)?,
            None => REMOVED,
        };
        out.extend_from_slice(&u16::try_from(key.len()).map_err(too_long)?.to_be_bytes());
        out.extend_from_slice(&value_length.to_be_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(value.as_deref().unwrap_or_default());
    }
    let body = &out[GROUP_HEAD..];
    let (length, crc) = (u32::try_from(body.len()).map_err(too_long)?, crc32fast::hash(body));
    out[..4].copy_from_slice(&length.to_be_bytes());
    out[4..GROUP_HEAD].copy_from_slice(&crc.to_be_bytes());
    out.resize(out.len().next_multiple_of(ALIGN), 0);
    Ok(())
}

/// A good group follows a bad one, or a group's records make no sense.
#[derive(Debug)]
struct Torn;

/// Applies every group of a file in order.
fn replay(bytes: &[u8], token: &Token, layer: &mut Layer) -> Result<(), Torn> {
    let mut at = ALIGN;
    while let Some(body) = group_at(bytes, at, token) {
        records(body, layer).ok_or(Torn)?;
        at += (GROUP_HEAD + TOKEN + body.len()).next_multiple_of(ALIGN);
    }
    let later = (at + ALIGN..bytes.len()).step_by(ALIGN);
    if later.into_iter().any(|at| group_at(bytes, at, token).is_some()) { Err(Torn) } else { Ok(()) }
}

/// The records of the group of this turn that begins here, if a whole one does.
fn group_at<'a>(bytes: &'a [u8], at: usize, token: &Token) -> Option<&'a [u8]> {
    let head = bytes.get(at..at + GROUP_HEAD + TOKEN)?;
    if head.get(GROUP_HEAD..) != Some(token) {
        return None;
    }
    let length = usize::try_from(number32(head)?).ok()?;
    let body = bytes.get(at + GROUP_HEAD..)?.get(..length)?;
    (Some(crc32fast::hash(body)) == head.get(4..).and_then(number32)).then(|| body.get(TOKEN..))?
}

fn records(mut rest: &[u8], layer: &mut Layer) -> Option<()> {
    while !rest.is_empty() {
        let key_length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
        let value_length = number32(rest.get(2..)?)?;
        rest = rest.get(6..)?;
        let (key, after) = rest.split_at_checked(key_length)?;
        let length = if value_length == REMOVED { 0 } else { usize::try_from(value_length).ok()? };
        let (value, after) = after.split_at_checked(length)?;
        let value = (value_length != REMOVED).then(|| Bytes::copy_from_slice(value));
        // A removal stays, also of something that an earlier group put here: it may have reached sled in between.
        layer.insert(key.to_vec(), value);
        rest = after;
    }
    Some(())
}

#[cfg(test)]
mod tests;
