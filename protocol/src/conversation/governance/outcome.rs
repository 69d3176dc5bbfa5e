//! What a statement did, why it was refused, and the verdict on a message.

use crate::ids::{DeviceKeyHash, SessionId};
use crate::wire::Code;

/// What an applied statement did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Epoch 1 exists.
    Opened,
    /// Another agent device is assigned; the one given is no longer listed.
    Reassigned {
        /// The agent device before.
        from: DeviceKeyHash,
    },
    /// The assigned agent accepted.
    Accepted,
    /// The offered device took over.
    HandedOver {
        /// The agent device before.
        from: DeviceKeyHash,
    },
    /// A supervisor joined.
    Joined(DeviceKeyHash),
    /// A supervisor left.
    Left(DeviceKeyHash),
    /// An offer stands.
    Offered,
    /// An offer was withdrawn.
    Withdrawn,
    /// The conversation ended.
    Closed,
    /// The signer replaces a session.
    Reset {
        /// Whose session with the signer is replaced.
        peer: DeviceKeyHash,
        /// The new session.
        new: SessionId,
        /// Its generation.
        generation: u32,
    },
    /// The customer device verified and showed the current agent.
    Countersigned,
}

/// Why a statement is not applied. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Applied before; not an error for whoever repeats it.
    #[error("this statement is applied already")]
    Known,
    /// Another organisation or conversation. At fault: the signer or the relay.
    #[error("the statement belongs to another conversation")]
    Foreign,
    /// The conversation id does not commit to the customer device. At fault: the signer.
    #[error("the conversation id was not made by the customer device")]
    Identity,
    /// Not an allowed signer of this action. At fault: the signer.
    #[error("this device may not sign this statement")]
    Signer,
    /// It names a statement that is not known here: wait for it.
    #[error("the statement before it is missing")]
    Gap,
    /// A second successor of one statement. At fault: the signer, or a relay that shows two histories.
    #[error("two statements follow the same one: the conversation was forked")]
    Fork,
    /// Epoch number does not follow. At fault: the signer.
    #[error("the statement's epoch does not follow the current one")]
    Epoch,
    /// The roster changes more than the action may. At fault: the signer.
    #[error("the statement changes the roster in a way that it may not")]
    Roster,
    /// The assignment went elsewhere, or is accepted already.
    #[error("the assignment went elsewhere or is accepted already")]
    Assignment,
    /// Its expiry passed before it was stored.
    #[error("the statement has expired")]
    Expired,
    /// The offer is unknown, withdrawn or for another device.
    #[error("the offer does not stand")]
    Offer,
    /// The conversation is closed.
    #[error("the conversation is closed")]
    Closed,
    /// A reset whose generation does not rise, or is above [`MAX_GENERATION`](super::MAX_GENERATION). At fault: the signer.
    #[error("the reset's generation does not rise")]
    Generation,
}

impl Refusal {
    /// The relay's answer to whoever posted the statement.
    pub fn code(self) -> Code {
        match self {
            Self::Known
            | Self::Gap
            | Self::Fork
            | Self::Epoch
            | Self::Expired
            | Self::Offer
            | Self::Generation => Code::Conflict,
            Self::Foreign | Self::Identity | Self::Roster => Code::Malformed,
            Self::Signer => Code::NotListed,
            Self::Assignment => Code::AssignmentLost,
            Self::Closed => Code::Closed,
        }
    }
}

/// The verdict on a decrypted message's epoch and roster hash. The ratchet commits in every case (§5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Show and receipt it.
    Accept,
    /// Same epoch, another roster: the sender sees other readers than this device. Refuse, and show the fork.
    Fork,
    /// An epoch whose statement has not arrived: hold it unshown and unreceipted.
    Hold,
    /// An epoch that has passed: refuse, answer stale_epoch.
    Stale,
    /// The sender is not listed in the epoch that it names: refuse.
    NotListed,
}
