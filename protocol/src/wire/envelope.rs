//! The envelope: one sealed message for one device (§5, §6).
//!
//! ```text
//! envelope = version (1) | postcard {mailbox, id, session, class, preamble?, chain part, nonce r, small header, body}
//! clear    = version | mailbox | id | session | class | hash("preamble-hash", preamble or "")     additional data of all parts
//! store:     chain part (2,344 bytes), small header (92), body = a padding bucket + 16
//! ephemeral: no preamble, chain part or header; body = the first bucket + 16
//! ```
//!
//! The relay reads mailbox, id and class; every byte is authenticated by the recipient.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::conversation::padding::BUCKETS;
use crate::crypto::aead::TAG_LEN;
use crate::crypto::handshake::MAX_PREAMBLE;
use crate::crypto::labels;
use crate::crypto::{codec, kdf};
use crate::ids::{EnvelopeId, MailboxId, SessionId};

/// Version of the envelope format.
pub const ENVELOPE_VERSION: u8 = 1;
/// Largest encoded envelope, bytes: the largest body, chain part, header, preamble and ids.
pub const MAX_ENVELOPE: usize = BUCKETS[3] + TAG_LEN + CHAIN_LEN + HEADER_LEN + MAX_PREAMBLE + 128;
/// A sealed chain part: nonce, X25519 key, ML-KEM key, ciphertext, tag.
pub const CHAIN_LEN: usize = 24 + 32 + 1184 + 1088 + TAG_LEN;
/// A sealed small header: chain hash, PN, N, epoch, roster hash, tag.
pub const HEADER_LEN: usize = 32 + 4 + 4 + 4 + 32 + TAG_LEN;
const CLEAR_LEN: usize = 1 + MailboxId::LEN + EnvelopeId::LEN + SessionId::LEN + 1 + 32;

/// Whether the relay keeps an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Kept in the mailbox until acknowledged.
    Store,
    /// Typing and presence: delivered now or never.
    Ephemeral,
}

/// One sealed message for one device.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The recipient device's mailbox.
    pub mailbox: MailboxId,
    /// 16 random bytes; a repeated transmission has the same.
    pub id: EnvelopeId,
    /// The session that opens it.
    pub session: SessionId,
    /// Kept or not.
    pub class: Class,
    /// Encoded [`Preamble`](crate::crypto::handshake::Preamble), until the peer has answered.
    pub preamble: Option<serde_bytes::ByteBuf>,
    /// The sending chain's sealed keys, the same in each message of the chain.
    #[serde(with = "serde_bytes")]
    pub chain: Box<[u8]>,
    /// r: nonce of the small header, or of an ephemeral body; it also enters the body key.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 24],
    /// Sealed small header.
    #[serde(with = "serde_bytes")]
    pub header: Vec<u8>,
    /// Sealed, padded content.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

/// What a relay reads of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvelopeHead {
    /// The recipient device's mailbox.
    pub mailbox: MailboxId,
    /// Which envelope of its sender.
    pub id: EnvelopeId,
    /// Kept or not.
    pub class: Class,
}

/// [`Envelope`], borrowed from its bytes.
#[derive(Deserialize)]
struct Parts<'a> {
    mailbox: MailboxId,
    id: EnvelopeId,
    #[expect(dead_code, reason = "decoded to get at what follows")]
    session: SessionId,
    class: Class,
    #[serde(borrow)]
    preamble: Option<&'a serde_bytes::Bytes>,
    #[serde(borrow)]
    chain: &'a serde_bytes::Bytes,
    #[expect(dead_code, reason = "decoded to get at what follows")]
    #[serde(with = "serde_bytes")]
    nonce: [u8; 24],
    #[serde(borrow)]
    header: &'a serde_bytes::Bytes,
    #[serde(borrow)]
    body: &'a serde_bytes::Bytes,
}

/// Lengths of an envelope's parts, bytes.
struct Lengths {
    preamble: Option<usize>,
    chain: usize,
    header: usize,
    body: usize,
}

impl Lengths {
    fn fit(&self, class: Class) -> bool {
        let bucket = self.body.checked_sub(TAG_LEN);
        match class {
            Class::Store => {
                self.chain == CHAIN_LEN
                    && self.header == HEADER_LEN
                    && bucket.is_some_and(|size| BUCKETS.contains(&size))
                    && self.preamble.is_none_or(|len| len <= MAX_PREAMBLE)
            }
            Class::Ephemeral => {
                self.chain == 0 && self.header == 0 && bucket == Some(BUCKETS[0]) && self.preamble.is_none()
            }
        }
    }
}

/// The bytes behind the version, after the size check.
fn body(bytes: &[u8]) -> Result<&[u8], EnvelopeError> {
    if bytes.len() > MAX_ENVELOPE {
        return Err(EnvelopeError::TooLarge(bytes.len()));
    }
    let (version, body) = bytes.split_first().ok_or(EnvelopeError::Malformed)?;
    if *version == ENVELOPE_VERSION { Ok(body) } else { Err(EnvelopeError::Version(*version)) }
}

/// The bytes are no envelope. At fault: the sender, or the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Above [`MAX_ENVELOPE`].
    #[error("an envelope of {0} bytes is above the limit of {MAX_ENVELOPE}")]
    TooLarge(usize),
    /// A version that this program does not speak.
    #[error("an envelope of version {0} is unknown to this program")]
    Version(u8),
    /// Does not decode, has bytes left over, or a part of a wrong length.
    #[error("an envelope is malformed")]
    Malformed,
}

impl Envelope {
    /// What a relay reads of an envelope. Refuses what [`Envelope::decode`] refuses, and copies nothing.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn head(bytes: &[u8]) -> Result<EnvelopeHead, EnvelopeError> {
        let parts: Parts<'_> =
            codec::decode(body(bytes)?, MAX_ENVELOPE).map_err(|_| EnvelopeError::Malformed)?;
        let lengths = Lengths {
            preamble: parts.preamble.map(|p| p.len()),
            chain: parts.chain.len(),
            header: parts.header.len(),
            body: parts.body.len(),
        };
        if !lengths.fit(parts.class) {
            return Err(EnvelopeError::Malformed);
        }
        Ok(EnvelopeHead { mailbox: parts.mailbox, id: parts.id, class: parts.class })
    }

    /// `version | postcard`. Retries send these very bytes.
    pub fn encode(&self) -> Vec<u8> {
        let parts = self.chain.len() + self.header.len() + self.body.len();
        let mut out = Vec::with_capacity(128 + parts + self.preamble.as_ref().map_or(0, |p| p.len()));
        out.push(ENVELOPE_VERSION);
        codec::encode_onto(self, out)
    }

    /// Decodes after the size check; lengths of all parts are checked, nothing is opened.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let envelope: Self =
            codec::decode(body(bytes)?, MAX_ENVELOPE).map_err(|_| EnvelopeError::Malformed)?;
        let lengths = Lengths {
            preamble: envelope.preamble.as_ref().map(|p| p.len()),
            chain: envelope.chain.len(),
            header: envelope.header.len(),
            body: envelope.body.len(),
        };
        if lengths.fit(envelope.class) { Ok(envelope) } else { Err(EnvelopeError::Malformed) }
    }

    /// Hash of the encoded envelope, by which a repetition is known (`seen`, §5).
    pub fn hash(encoded: &[u8]) -> [u8; 32] {
        kdf::hash(labels::ENVELOPE_HASH, &[encoded])
    }

    /// The preamble's bytes, if it carries one.
    pub fn preamble(&self) -> Option<&[u8]> {
        self.preamble.as_ref().map(|p| p.as_slice())
    }

    /// The clear part as it is authenticated.
    pub(crate) fn clear(&self) -> [u8; CLEAR_LEN] {
        clear_part(&self.mailbox, &self.id, &self.session, self.class, &preamble_hash(self.preamble()))
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.body.len();
        write!(f, "Envelope({:?}, {:?}, {:?}, body of {size} bytes)", self.id, self.session, self.class)
    }
}

/// `hash("preamble-hash", "")`: most envelopes carry none.
const NO_PREAMBLE_HASH: [u8; 32] = [
    0xb1, 0x11, 0x78, 0x28, 0x9c, 0x9d, 0x40, 0x0f, 0x35, 0x33, 0xf9, 0x82, 0x9d, 0xad, 0xfa, 0x07, 0x75,
    0x85, 0x5e, 0x45, 0x8e, 0x5d, 0x10, 0x26, 0xe8, 0xb7, 0xc2, 0x4f, 0xfa, 0x43, 0x4e, 0x36,
];

/// `hash("preamble-hash", preamble or "")`.
pub(crate) fn preamble_hash(preamble: Option<&[u8]>) -> [u8; 32] {
    preamble.map_or(NO_PREAMBLE_HASH, |preamble| kdf::hash(labels::PREAMBLE_HASH, &[preamble]))
}

/// `version | mailbox | id | session | class | hash of the preamble`.
fn clear_part(
    mailbox: &MailboxId,
    id: &EnvelopeId,
    session: &SessionId,
    class: Class,
    preamble: &[u8; 32],
) -> [u8; CLEAR_LEN] {
    let mut out = [0; CLEAR_LEN];
    let parts: [&[u8]; 6] = [
        &[ENVELOPE_VERSION],
        mailbox.as_bytes(),
        id.as_bytes(),
        session.as_bytes(),
        &[class as u8],
        preamble,
    ];
    let mut at = 0;
    for part in parts {
        out[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_no_preamble_is_that_of_an_empty_one() {
        assert_eq!(NO_PREAMBLE_HASH, kdf::hash(labels::PREAMBLE_HASH, &[b""]));
        assert_eq!(preamble_hash(None), preamble_hash(Some(b"")));
    }
}
