//! How much a mailbox holds, and who gets which part of it.
//!
//! ```text
//! |<------------------------------ quota ------------------------------>|<- an eighth ->|
//! | a part for each device; for customers whom nobody talks to another, |    reserve    |
//! | an eighth as large                                                  |               |
//! | all statements that begin conversations: a 32nd                     |               |
//! | with those that end one before it was accepted: a 16th, also in the reserve         |
//! | statements in accepted conversations: all of it                                     |
//! ```
//!
//! A customer's device costs nothing. So before an agent accepted, what is signed has one part for all together, and
//! what is sent a small one; whatever strangers do, the rest is there for those who talk to the agent.

use core::fmt;

use sealdesk_protocol::ids::DeviceKeyHash;

/// The reserve: one part of so many, beyond the quota.
const RESERVE: u64 = 8;
/// What a customer's device has of its part where nobody talks to it.
const STRANGER: u64 = 8;
/// What all statements of conversations that nobody accepted have; those that begin one have half of that, so that
/// whatever was begun can end.
const UNACCEPTED: u64 = 16;
/// But some in a small mailbox as well.
const LEAST_ITEMS: u64 = 16;
const LEAST_BYTES: u64 = 512 * 1024;

/// A quota of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Undelivered items.
    Items,
    /// Their bytes.
    Bytes,
    /// Undelivered items of one part.
    ShareItems,
    /// Their bytes.
    ShareBytes,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Items => "number of messages",
            Self::Bytes => "bytes",
            Self::ShareItems => "number of messages of one sender",
            Self::ShareBytes => "bytes of one sender",
        })
    }
}

/// Of which part of a mailbox an item takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Statements in accepted conversations.
    Reserved,
    /// A device's.
    Of(DeviceKeyHash),
    /// A customer's device, before an agent accepted, after a close, or at an agent who was replaced: a small one beside
    /// its own.
    Stranger(DeviceKeyHash),
    /// Statements that begin a conversation, or give it to another agent.
    Beginning,
    /// Statements that end a conversation before it was accepted.
    Ending,
}

/// Under what a part is counted and stored. No device has the same: they are halves of hashes.
pub(super) type Tag = [u8; 16];

impl Part {
    pub(super) fn tag(self) -> Tag {
        match self {
            Self::Reserved => [0; 16],
            Self::Of(device) => device.0.first_chunk().copied().unwrap_or_default(),
            Self::Stranger(device) => device.0.last_chunk().copied().unwrap_or_default(),
            Self::Beginning | Self::Ending => [0xff; 16],
        }
    }
}

/// What a conversation needs that begins.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Its statements up to now, and the one that is to come.
    pub statements: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of a message.
    pub message: u64,
}

/// A mailbox's quotas.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// Most undelivered items.
    pub items: u64,
    /// Most undelivered bytes.
    pub bytes: u64,
    /// Most undelivered items of one sender.
    pub share_items: u64,
    /// Most undelivered bytes of one sender.
    pub share_bytes: u64,
}

impl Quota {
    /// How far an item may fill the mailbox and its part.
    pub(super) fn of(&self, part: Part) -> Self {
        let reserved = Self {
            items: self.items + self.items / RESERVE,
            bytes: self.bytes + self.bytes / RESERVE,
            share_items: u64::MAX,
            share_bytes: u64::MAX,
        };
        let most_items = (self.items / UNACCEPTED).max(LEAST_ITEMS);
        let most_bytes = (self.bytes / UNACCEPTED).max(LEAST_BYTES);
        match part {
            Part::Reserved => reserved,
            Part::Of(_) => *self,
            Part::Stranger(_) => Self {
                share_items: (self.share_items / STRANGER).max(1),
                share_bytes: self.share_bytes / STRANGER,
                ..*self
            },
            Part::Beginning => Self { share_items: most_items / 2, share_bytes: most_bytes / 2, ..*self },
            Part::Ending => Self { share_items: most_items, share_bytes: most_bytes, ..reserved },
        }
    }
}
