//! Receiving (§5: `decrypt`, `turn_recv`, `skip`).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::chain::{ChainHash, ChainPart, MessageKey};
use super::header::SmallHeader;
use super::root::{self, Target};
use super::skipped::{SkippedChanges, SkippedName};
use super::{MAX_RETIRED, PeerKeys, Ratchet, Receiving, Retired, Turn, body_aad};
use crate::conversation::padding;
use crate::crypto::aead;
use crate::ids::RosterHash;

/// Why the ratchet refuses an envelope. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No header key opens the small header.
    NoHeaderKey,
    /// The chain part is not the one that the header names.
    Chain,
    /// More than [`MAX_SKIP`](super::MAX_SKIP) messages ahead.
    Skip,
    /// The body does not open.
    Body,
    /// Received before, or its key was dropped.
    Duplicate,
    /// The peer breaks the protocol.
    Protocol,
    /// Opened, but padded wrongly.
    Padding,
}

/// The encrypted parts of an envelope, borrowed.
pub(crate) struct Parts<'a> {
    pub(crate) clear: &'a [u8],
    pub(crate) chain: &'a [u8],
    pub(crate) nonce: &'a [u8; 24],
    pub(crate) header: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl Parts<'_> {
    /// `clear | r | h`: what the body is bound to.
    fn body_aad(&self) -> Vec<u8> {
        body_aad(self.clear, self.nonce, self.header)
    }
}

/// A decrypted message.
pub(crate) struct Decrypted {
    pub(crate) content: Vec<u8>,
    pub(crate) epoch: u32,
    pub(crate) roster: RosterHash,
    pub(crate) changes: SkippedChanges,
}

/// Which chain's header key opened the small header.
#[derive(Clone, Copy)]
enum Slot {
    Current,
    Next,
    Retired,
}

impl Ratchet {
    /// Opens an envelope. Nothing changes on an error. Keys skipped by it are kept until `keep_until` (ms).
    pub(crate) fn decrypt(
        &mut self,
        parts: &Parts<'_>,
        now: u64,
        keep_until: u64,
    ) -> Result<Decrypted, Refused> {
        let (slot, header, expected) = self.open_header(parts).ok_or(Refused::NoHeaderKey)?;
        if expected.is_some_and(|chain| chain != header.chain) {
            return Err(Refused::Chain);
        }
        let known = self.receiving.as_ref().filter(|r| r.hash == header.chain && *r.part == *parts.chain);
        if known.is_none() && ChainHash::of(parts.chain) != header.chain {
            return Err(Refused::Chain);
        }
        let (content, changes) = match slot {
            Slot::Current => self.decrypt_current(parts, &header, now, keep_until)?,
            Slot::Next => self.decrypt_next(parts, &header, keep_until)?,
            Slot::Retired => self.decrypt_skipped(parts, &header, now)?,
        };
        Ok(Decrypted { content, epoch: header.epoch, roster: header.roster, changes })
    }

    /// The first of current, next and retired header keys (newest first) that opens the small header, and the chain that
    /// the key serves, if it served one already. The peer opens its next chain towards ours: before ours is open it cannot,
    /// and afterwards the next one is due, so that a dialogue opens each header at the first trial.
    fn open_header(&self, parts: &Parts<'_>) -> Option<(Slot, SmallHeader, Option<ChainHash>)> {
        let current = self.receiving.as_ref().map(|r| (Slot::Current, &r.header, Some(r.hash)));
        let next = Some((Slot::Next, &self.next_receive, None));
        let retired = self.retired.iter().map(|r| (Slot::Retired, &r.header, Some(r.hash)));
        let due = matches!(self.turn, Turn::Theirs { sending: Some(_), .. });
        let newest = if due { [next, current] } else { [current, next] };
        newest.into_iter().flatten().chain(retired).find_map(|(slot, key, chain)| {
            let header = SmallHeader::open(key, parts.nonce, parts.clear, parts.header)?;
            Some((slot, header, chain))
        })
    }

    /// A message of the peer's current chain.
    fn decrypt_current(
        &mut self,
        parts: &Parts<'_>,
        header: &SmallHeader,
        now: u64,
        keep_until: u64,
    ) -> Result<(Vec<u8>, SkippedChanges), Refused> {
        let receiving = self.receiving.as_mut().ok_or(Refused::NoHeaderKey)?;
        if header.number < receiving.number {
            return self.decrypt_skipped(parts, header, now);
        }
        let next_number = header.number.checked_add(1).ok_or(Refused::Protocol)?;
        let (keys, chain) = receiving.chain.skip(receiving.number, header.number)?;
        let (message, chain) = chain.step();
        let content = open_body(&message, parts)?;

        receiving.chain = chain;
        receiving.number = next_number;
        if receiving.part.is_empty() {
            receiving.part = parts.chain.into();
        }
        if keys.is_empty() {
            return Ok((content, SkippedChanges::default()));
        }
        Ok((content, self.skipped.update(named(header.chain, keys), None, keep_until)))
    }

    /// A message whose key was skipped, of the current or a retired chain.
    fn decrypt_skipped(
        &mut self,
        parts: &Parts<'_>,
        header: &SmallHeader,
        now: u64,
    ) -> Result<(Vec<u8>, SkippedChanges), Refused> {
        let name = SkippedName::new(header.chain, header.number);
        let message = self.skipped.get(&name, now).ok_or(Refused::Duplicate)?;
        let content = open_body(message, parts)?;
        Ok((content, self.skipped.remove(name)))
    }

    /// The first message that arrives of a new chain: `turn_recv`.
    fn decrypt_next(
        &mut self,
        parts: &Parts<'_>,
        header: &SmallHeader,
        keep_until: u64,
    ) -> Result<(Vec<u8>, SkippedChanges), Refused> {
        let part =
            ChainPart::open(&self.next_receive, &self.session, parts.chain).map_err(|_| Refused::Chain)?;
        let ended = match &self.receiving {
            Some(receiving) => {
                named(receiving.hash, receiving.chain.skip(receiving.number, header.previous)?.0)
            }
            None if header.previous == 0 => Vec::new(),
            None => return Err(Refused::Protocol),
        };
        let Turn::Theirs { me, sending } = &self.turn else {
            return Err(Refused::Protocol);
        };
        let (x, ciphertext) = part.x().zip(part.ciphertext()).ok_or(Refused::Protocol)?;
        let peer = PeerKeys { x: *x, kem: part.kem().ok_or(Refused::Protocol)? };
        let dh = me.x.agree(x).map_err(|_| Refused::Protocol)?;
        let shared = me.kem.decapsulate(ciphertext);
        let target = Target { x: me.x.public(), kem: me.kem.public() };
        let step = root::step(&self.root, &self.session, &dh, &shared, part.as_bytes(), &target);
        let next_number = header.number.checked_add(1).ok_or(Refused::Protocol)?;
        let (keys, chain) = step.chain.skip(0, header.number)?;
        let (message, chain) = chain.step();
        let content = open_body(&message, parts)?;

        let sent = sending.as_ref().map_or(0, |s| s.number);
        self.root = step.root;
        self.turn = Turn::Mine { peer: Box::new(peer), sent };
        self.ephemeral.previous = self.ephemeral.receive.replace(step.ephemeral);
        let opened_by = core::mem::replace(&mut self.next_receive, step.next_header);
        let receiving = Receiving {
            header: opened_by,
            chain,
            number: next_number,
            hash: header.chain,
            part: parts.chain.into(),
        };
        if let Some(ended) = self.receiving.replace(receiving) {
            self.retired.push_front(Retired { header: ended.header, hash: ended.hash });
        }
        let dropped = if self.retired.len() > MAX_RETIRED { self.retired.pop_back() } else { None };
        let added = ended.into_iter().chain(named(header.chain, keys));
        Ok((content, self.skipped.update(added, dropped.map(|r| r.hash), keep_until)))
    }

    /// Opens an ephemeral body under the key of the peer's current or previous chain.
    pub(crate) fn decrypt_ephemeral(
        &self,
        clear: &[u8],
        nonce: &[u8; 24],
        body: &[u8],
    ) -> Result<Vec<u8>, Refused> {
        let keys = [&self.ephemeral.receive, &self.ephemeral.previous];
        let padded = keys
            .into_iter()
            .flatten()
            .find_map(|key| aead::open_x(key, nonce, clear, body).ok())
            .ok_or(Refused::NoHeaderKey)?;
        padding::unpad(padded).map_err(|_| Refused::Padding)
    }
}

fn named(chain: ChainHash, keys: Vec<(u32, MessageKey)>) -> Vec<(SkippedName, MessageKey)> {
    keys.into_iter().map(|(number, key)| (SkippedName::new(chain, number), key)).collect()
}

fn open_body(message: &MessageKey, parts: &Parts<'_>) -> Result<Vec<u8>, Refused> {
    let padded = message.open(parts.nonce, &parts.body_aad(), parts.body).map_err(|_| Refused::Body)?;
    padding::unpad(padded).map_err(|_| Refused::Padding)
}
