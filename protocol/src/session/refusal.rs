//! Why a session refuses: to open, with the reason under which the envelope is set aside; or to seal.

use serde::{Deserialize, Serialize};

use crate::crypto::handshake::RespondError;
use crate::crypto::ratchet::{Refused, SealRefused};

/// Why an envelope was not opened: the closed list under which it goes to quarantine (§9.8). Append-only.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error,
)]
pub enum Quarantine {
    /// Bytes that are no envelope or preamble, or padded wrongly.
    #[error("the envelope is malformed")]
    Malformed,
    /// No such session, and no preamble to begin one.
    #[error("the envelope belongs to an unknown session")]
    NoSession,
    /// The preamble names a statement that has not arrived; retried when it does.
    #[error("the handshake names a statement that has not arrived")]
    NoStatement,
    /// A device of the preamble is not in that statement's roster.
    #[error("the handshake names a device outside the roster")]
    NotListed,
    /// The preamble's signature is wrong.
    #[error("the handshake's signature does not verify")]
    Signature,
    /// The prekeys that the preamble names are gone, or are another device's.
    #[error("the handshake names a prekey that is gone")]
    NoPrekey,
    /// The same initiation was accepted before.
    #[error("the handshake was seen before")]
    Replay,
    /// No header key opens it: altered, or of a chain that is forgotten.
    #[error("no header key opens the envelope")]
    NoHeaderKey,
    /// The chain part is not the one that the header names.
    #[error("the envelope's chain part was exchanged")]
    Chain,
    /// Too far ahead of what was received.
    #[error("the envelope is more than 1,000 messages ahead")]
    Skip,
    /// The body does not open.
    #[error("the envelope's body was altered")]
    Body,
    /// Its key is gone: opened before, or dropped by age or by the limit of stored keys. Acknowledge it; it is not set
    /// aside. An envelope whose hash is not among the seen ones was of the second kind: its content shows as a counter gap.
    #[error("the envelope was received before")]
    Duplicate,
    /// The peer's program breaks the protocol.
    #[error("the peer breaks the protocol")]
    Protocol,
}

impl From<Refused> for Quarantine {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoHeaderKey => Self::NoHeaderKey,
            Refused::Chain => Self::Chain,
            Refused::Skip => Self::Skip,
            Refused::Body => Self::Body,
            Refused::Duplicate => Self::Duplicate,
            Refused::Protocol => Self::Protocol,
            Refused::Padding => Self::Malformed,
        }
    }
}

impl From<RespondError> for Quarantine {
    fn from(error: RespondError) -> Self {
        match error {
            RespondError::NoPrekey => Self::NoPrekey,
            RespondError::Protocol => Self::Protocol,
        }
    }
}

/// Why nothing was encrypted. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncryptError {
    /// At fault: the caller; larger content is an attachment.
    #[error("a message of {0} bytes is too long for one envelope")]
    TooLong(usize),
    /// No chain yet: ephemeral frames need one stored message before them.
    #[error("this session has sent nothing yet")]
    NoChain,
    /// The session is used up; it is reset.
    #[error("this session is used up")]
    Exhausted,
}

impl From<SealRefused> for EncryptError {
    fn from(refused: SealRefused) -> Self {
        match refused {
            SealRefused::TooLong(len) => Self::TooLong(len),
            SealRefused::NoChain => Self::NoChain,
            SealRefused::Exhausted => Self::Exhausted,
        }
    }
}
