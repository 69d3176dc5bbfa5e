//! The hybrid double ratchet with header encryption (§5; after Signal's Double Ratchet with header encryption, revision
//! 4; the asymmetric part is a generic CKA from X25519 and ML-KEM-768: Alwen, Coretti, Dodis 2019).
//!
//! Flow of a message:
//! 1. [`Ratchet::encrypt`]: a new sending chain if it is our turn ([`Turn::Mine`]), then the next message key seals the body.
//! 2. [`Ratchet::decrypt`]: the header key that opens the small header names the chain: the current one, the next one (the
//!    peer turned), or a retired one.
//! 3. The message key comes from the chain or from the skipped keys and opens the body.
//! 4. Only then is anything written to the state: every step before works on copies of single keys. That is the
//!    "clone, then commit" of §5 without a clone of the 2 KB chain parts and keys.

mod chain;
mod header;
mod receive;
mod root;
mod send;
mod skipped;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use self::chain::{ChainHash, ChainKey};
use self::header::HeaderKey;
pub(crate) use self::receive::{Parts, Refused};
pub(crate) use self::send::SealRefused;
use self::skipped::SkippedKeys;
pub use self::skipped::{MAX_STORED, SkippedChanges, SkippedName};
use super::codec::StoredError;
use super::dh::DhSecret;
use super::handshake::SessionKeys;
use super::kem::{KemPublic, KemSecret};
use crate::ids::SessionId;
use crate::secret::Secret;

/// Most messages that one message may be ahead of the last one received in its chain.
pub const MAX_SKIP: u32 = 1_000;
/// Most header keys of ended chains; with the current and the next one at most 10 trial openings per envelope.
pub const MAX_RETIRED: usize = 8;

/// Our keys that the peer's next chain is opened towards.
#[derive(Serialize, Deserialize)]
struct OwnKeys {
    x: DhSecret,
    kem: KemSecret,
}

/// The peer's keys that our next chain is opened towards.
#[derive(Serialize, Deserialize)]
struct PeerKeys {
    x: [u8; 32],
    kem: KemPublic,
}

/// Our sending chain.
#[derive(Serialize, Deserialize)]
struct Sending {
    header: HeaderKey,
    chain: ChainKey,
    /// Ns.
    number: u32,
    /// PN.
    previous: u32,
    /// cpS.
    #[serde(with = "serde_bytes")]
    part: Box<[u8]>,
    hash: ChainHash,
}

/// Whose turn it is to open a chain. Keys travel with chains, so turns alternate; turning is lazy, at the first send.
#[derive(Serialize, Deserialize)]
enum Turn {
    /// Ours: the next message opens a chain towards these keys.
    Mine {
        peer: Box<PeerKeys>,
        /// Length of our previous chain.
        sent: u32,
    },
    /// Theirs: our chain is open (except in a responder that has not decrypted yet), the peer has our keys.
    Theirs { me: Box<OwnKeys>, sending: Option<Sending> },
}

/// The peer's chain.
#[derive(Serialize, Deserialize)]
struct Receiving {
    header: HeaderKey,
    chain: ChainKey,
    /// Nr.
    number: u32,
    /// cpR.
    hash: ChainHash,
    /// The bytes whose hash is cpR, to compare instead of hashing 2 KB again; in memory only.
    #[serde(skip)]
    part: Box<[u8]>,
}

/// An ended chain of the peer.
#[derive(Serialize, Deserialize)]
struct Retired {
    header: HeaderKey,
    hash: ChainHash,
}

/// Keys of ephemeral frames, one for each chain.
#[derive(Default, Serialize, Deserialize)]
struct EphemeralKeys {
    send: Option<Secret<32>>,
    receive: Option<Secret<32>>,
    previous: Option<Secret<32>>,
}

/// The ratchet's state. Serialised without the skipped keys, which have records of their own.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ratchet {
    session: SessionId,
    root: Secret<32>,
    turn: Turn,
    next_send: HeaderKey,
    next_receive: HeaderKey,
    receiving: Option<Receiving>,
    /// Newest first.
    retired: VecDeque<Retired>,
    ephemeral: EphemeralKeys,
    #[serde(skip)]
    skipped: SkippedKeys,
}

/// `clear | r | h`: what a body is bound to.
fn body_aad(clear: &[u8], nonce: &[u8; 24], header: &[u8]) -> Vec<u8> {
    let mut aad = Vec::with_capacity(clear.len() + nonce.len() + header.len());
    aad.extend_from_slice(clear);
    aad.extend_from_slice(nonce);
    aad.extend_from_slice(header);
    aad
}

impl Ratchet {
    /// `init_I`: the first chain goes to the last-resort X25519 key and the ML-KEM key that the handshake used.
    pub(crate) fn initiator(keys: SessionKeys, x: [u8; 32], kem: KemPublic) -> Self {
        let turn = Turn::Mine { peer: Box::new(PeerKeys { x, kem }), sent: 0 };
        Self::new(keys.session, keys.root, turn, keys.initiator_header, keys.responder_header)
    }

    /// `init_R`: own copies of the same prekey secrets.
    pub(crate) fn responder(keys: SessionKeys, x: DhSecret, kem: KemSecret) -> Self {
        let turn = Turn::Theirs { me: Box::new(OwnKeys { x, kem }), sending: None };
        Self::new(keys.session, keys.root, turn, keys.responder_header, keys.initiator_header)
    }

    fn new(session: SessionId, root: Secret<32>, turn: Turn, send: Secret<32>, receive: Secret<32>) -> Self {
        Self {
            session,
            root,
            turn,
            next_send: HeaderKey::new(send),
            next_receive: HeaderKey::new(receive),
            receiving: None,
            retired: VecDeque::new(),
            ephemeral: EphemeralKeys::default(),
            skipped: SkippedKeys::default(),
        }
    }

    /// The session's id.
    pub(crate) fn session(&self) -> SessionId {
        self.session
    }

    /// Drops skipped keys that expired at `now`.
    pub(crate) fn expire(&mut self, now: u64) -> SkippedChanges {
        self.skipped.expire(now)
    }

    /// Drops the skipped keys that expire soonest.
    pub(crate) fn forget_skipped(&mut self, count: usize) -> SkippedChanges {
        self.skipped.forget(count)
    }

    /// Names of all skipped keys.
    pub(crate) fn skipped_names(&self) -> impl Iterator<Item = &SkippedName> {
        self.skipped.names()
    }

    /// The record of a skipped key, secret.
    pub(crate) fn skipped_record(&self, name: &SkippedName) -> Option<Zeroizing<Vec<u8>>> {
        self.skipped.record(name)
    }

    /// Takes a skipped key's record back in.
    pub(crate) fn load_skipped(&mut self, record: &[u8]) -> Result<(), StoredError> {
        self.skipped.load(record)
    }
}

impl fmt::Debug for Ratchet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ratchet({:?}, ..)", self.session)
    }
}

#[cfg(test)]
mod attack;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod two_parties;
