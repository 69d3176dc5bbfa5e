//! Signed statements: the only way in which a conversation changes hands (§7).

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::roster::Roster;
use crate::crypto::identity::{BadSignature, DevicePublic, DeviceSecret, SignedBytes};
use crate::crypto::kdf;
use crate::crypto::labels;
use crate::ids::{
    ConversationId, DeviceKeyHash, Handle, HeadHash, RootHash, RosterHash, SessionId, StatementHash,
};

/// Largest encoded statement, bytes.
pub const MAX_STATEMENT: usize = 4 * 1024;
/// Longest free text in a statement (a reason), bytes.
pub const MAX_REASON: usize = 500;

/// How far one sender's contents go: counter and running hash (§8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Head {
    /// The sender's device.
    pub device: DeviceKeyHash,
    /// Its last contiguous counter; 0 when it sent nothing.
    pub counter: u64,
    /// Running hash up to that counter.
    pub hash: HeadHash,
}

/// What history goes along with a handover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum History {
    /// Nothing but what the customer sends anew.
    None,
    /// The transcript, re-encrypted by the handing agent.
    Transcript,
}

/// What a statement does. Epoch statements carry a roster and name their predecessor; notes name the current epoch
/// statement and change neither epoch nor roster. Append-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Action {
    /// Epoch 1, by the customer device.
    Open {
        /// Who may read.
        roster: Roster,
        /// Topic id of org.json.
        topic: Handle,
        /// BCP 47 tag.
        language: String,
        /// Hash of the signed consent receipt ([`SignedBytes::digest`]).
        consent: [u8; 32],
        /// The random part of the conversation id, so that anybody can check whose the conversation is (§3).
        nonce: [u8; 16],
    },
    /// Epoch + 1 before any acceptance, by the customer device: another agent.
    Reassign {
        /// The epoch statement before.
        previous: StatementHash,
        /// Who may read now.
        roster: Roster,
    },
    /// Note: the first acceptance, by the named agent device.
    Accept {
        /// The current epoch statement.
        current: StatementHash,
    },
    /// Epoch + 1: the offered device takes over, signed by it.
    AcceptOffer {
        /// The epoch statement before.
        previous: StatementHash,
        /// Who may read now.
        roster: Roster,
        /// The offer that it accepts.
        offer: StatementHash,
    },
    /// Epoch + 1: a supervisor joins visibly, signed by the supervisor's device.
    Join {
        /// The epoch statement before.
        previous: StatementHash,
        /// Who may read now.
        roster: Roster,
    },
    /// Epoch + 1: a supervisor leaves.
    Leave {
        /// The epoch statement before.
        previous: StatementHash,
        /// Who may read now.
        roster: Roster,
    },
    /// Note: the current agent device offers the conversation to another.
    Offer {
        /// The current epoch statement.
        current: StatementHash,
        /// The next agent.
        agent: Handle,
        /// Its device.
        device: DevicePublic,
        /// Up to where each sender's contents go along.
        heads: Vec<Head>,
        /// What history goes along.
        history: History,
        /// Why, shown to all.
        reason: String,
    },
    /// Note: an offer is withdrawn.
    Withdraw {
        /// The current epoch statement.
        current: StatementHash,
        /// The offer.
        offer: StatementHash,
    },
    /// Note: the conversation ends, by either side.
    Close {
        /// The current epoch statement.
        current: StatementHash,
        /// What the closing side had of each sender.
        heads: Vec<Head>,
    },
    /// Note: the signer starts a new session with another listed device (§9.8).
    Reset {
        /// The current epoch statement.
        current: StatementHash,
        /// The peer's device.
        peer: DeviceKeyHash,
        /// The session that is lost.
        old: SessionId,
        /// The session that replaces it.
        new: SessionId,
        /// Its generation, one above the lost one's.
        generation: u32,
    },
    /// Note: the customer device verified and showed the current agent.
    Countersign {
        /// The current epoch statement.
        current: StatementHash,
    },
}

impl Action {
    /// The roster of an epoch statement; none for a note.
    pub fn roster(&self) -> Option<&Roster> {
        match self {
            Self::Open { roster, .. }
            | Self::Reassign { roster, .. }
            | Self::AcceptOffer { roster, .. }
            | Self::Join { roster, .. }
            | Self::Leave { roster, .. } => Some(roster),
            _ => None,
        }
    }

    /// The predecessor of an epoch statement, or the epoch statement that a note names; none for open.
    pub fn refers_to(&self) -> Option<&StatementHash> {
        match self {
            Self::Open { .. } => None,
            Self::Reassign { previous, .. }
            | Self::AcceptOffer { previous, .. }
            | Self::Join { previous, .. }
            | Self::Leave { previous, .. } => Some(previous),
            Self::Accept { current }
            | Self::Offer { current, .. }
            | Self::Withdraw { current, .. }
            | Self::Close { current, .. }
            | Self::Reset { current, .. }
            | Self::Countersign { current } => Some(current),
        }
    }

    /// Stable lower-case name, for logs, audit and the interface.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Reassign { .. } => "reassign",
            Self::Accept { .. } => "accept",
            Self::AcceptOffer { .. } => "accept_offer",
            Self::Join { .. } => "join",
            Self::Leave { .. } => "leave",
            Self::Offer { .. } => "offer",
            Self::Withdraw { .. } => "withdraw",
            Self::Close { .. } => "close",
            Self::Reset { .. } => "reset",
            Self::Countersign { .. } => "countersign",
        }
    }
}

/// The signed body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The organisation.
    pub root: RootHash,
    /// The conversation.
    pub conversation: ConversationId,
    /// Epoch that it creates (epoch statements) or belongs to (notes).
    pub epoch: u32,
    /// The device that signs.
    pub signer: DeviceKeyHash,
    /// When it was signed, ms.
    pub time: u64,
    /// Not stored after this time, ms; judged at the swap only (§7). `u64::MAX`: no expiry.
    pub expires: u64,
    /// What it does.
    pub action: Action,
}

/// Why signed bytes are no statement. At fault: the signer, or whoever altered the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Does not decode, or the signature is wrong.
    #[error("a statement's signature does not verify")]
    Signature,
    /// The signing key is not the one that the statement names.
    #[error("a statement is signed by another device than it names")]
    Signer,
    /// Free text above its limit, or a language tag that is none.
    #[error("a statement's text is too long")]
    Text,
}

impl From<BadSignature> for StatementError {
    fn from(_: BadSignature) -> Self {
        Self::Signature
    }
}

impl Statement {
    /// Signs with the device that [`Statement::signer`] names.
    pub fn sign(&self, device: &DeviceSecret) -> SignedBytes {
        SignedBytes::sign(labels::STATEMENT, self, device)
    }

    /// Decodes without verifying, to find out whose key is needed. Trust nothing of it.
    ///
    /// # Errors
    /// [`StatementError::Signature`] when it does not decode.
    pub fn peek(signed: &SignedBytes) -> Result<Self, StatementError> {
        Ok(signed.peek(MAX_STATEMENT)?)
    }
}

/// A statement whose signature verified under the key of the device that it names. Whether it was allowed is decided by
/// [`Governance`](super::Governance).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedStatement {
    statement: Statement,
    hash: StatementHash,
}

impl VerifiedStatement {
    /// Verifies `signed` under `device`'s key.
    ///
    /// # Errors
    /// [`StatementError`]; at fault: the signer.
    pub fn verify(signed: &SignedBytes, device: &DevicePublic) -> Result<Self, StatementError> {
        let statement: Statement = signed.verify(labels::STATEMENT, &device.verify_key(), MAX_STATEMENT)?;
        if statement.signer != device.hash() {
            return Err(StatementError::Signer);
        }
        let text_ok = match &statement.action {
            Action::Open { language, .. } => super::is_language_tag(language),
            Action::Offer { reason, .. } => reason.len() <= MAX_REASON,
            _ => true,
        };
        if !text_ok {
            return Err(StatementError::Text);
        }
        Ok(Self { statement, hash: hash(signed) })
    }

    /// The statement.
    pub fn get(&self) -> &Statement {
        &self.statement
    }

    /// Hash of its exact signed bytes.
    pub fn hash(&self) -> StatementHash {
        self.hash
    }

    /// Roster hash that messages of this epoch carry; none for a note.
    pub fn roster_hash(&self) -> Option<RosterHash> {
        let s = &self.statement;
        s.action.roster().map(|r| r.hash(&s.root, &s.conversation, s.epoch, s.action.refers_to()))
    }
}

/// Labelled hash of a statement's exact body bytes. The signature is left out: Ed25519 signatures of one body are
/// not unique, its meaning is.
pub fn hash(signed: &SignedBytes) -> StatementHash {
    StatementHash(kdf::hash(labels::STATEMENT_HASH, &[signed.body()]))
}
