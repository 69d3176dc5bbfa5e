//! The vault key, and the names of records.

use rand_core::CryptoRng;
use sealdesk_protocol::conversation::MessageId;
use sealdesk_protocol::ids::{BlobId, ConversationId, DeviceKeyHash, EnvelopeId, PrekeyId, SessionId};
use sealdesk_protocol::secret::Secret;

/// Opens a vault: 32 bytes from a passphrase (Argon2id, in the native driver) or a key store. Wiped on drop.
#[derive(Debug)]
pub struct VaultKey(pub(super) Secret<32>);

impl VaultKey {
    /// From 32 bytes; the caller wipes its own copy.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// A fresh random key.
    pub fn random(rng: &mut dyn CryptoRng) -> Self {
        Self(Secret::random(rng))
    }

    /// The bytes, for a driver that wraps them for its key store.
    pub const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// A second copy, on purpose: a driver reopens its vault after a failed commit.
    pub const fn duplicate(&self) -> Self {
        Self(self.0.duplicate())
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $number:literal $name:ident,)+) => {
        /// Kinds of records; the first byte of a name. Numbers are never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub(crate) enum Kind { $($(#[$doc])* $name = $number,)+ }

        impl Kind {
            pub(crate) fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

kinds! {
    /// Who owns the vault, the organisation's floor, the profile key.
    0x01 Meta,
    /// How many batches were written.
    0x02 Generation,
    /// A conversation's record key, wrapped.
    0x03 ConversationKey,
    /// A device's keys, certificate, mailbox position.
    0x04 Device,
    /// Position in the mailbox, and what changes with each receipt of an item.
    0x05 Cursor,
    /// A prekey pair's secret half.
    0x06 Prekey,
    /// Governance and everything that changes with statements.
    0x07 Conversation,
    /// Counters and heads: what changes with messages.
    0x08 Counters,
    /// A ratchet.
    0x09 Session,
    /// A skipped message key.
    0x0a Skipped,
    /// An own content that is not receipted.
    0x0b Content,
    /// A sealed envelope that the relay or the peer has not confirmed.
    0x0c Envelope,
    /// Hashes of received envelopes and contents.
    0x0d Seen,
    /// A received content that waits for an earlier one or for a statement.
    0x0e Held,
    /// A mailbox item that waits for a statement.
    0x0f SetAside,
    /// A file on its way.
    0x10 Transfer,
    /// What opens a received or sent attachment.
    0x11 Attachment,
    /// Cold: one entry of the transcript.
    0x80 Message,
    /// Cold: bytes that could not be used, with the reason.
    0x81 Quarantine,
}

/// What a record's name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Meta,
    Generation,
    Wrapped(ConversationId),
    Device(DeviceKeyHash),
    Cursor(DeviceKeyHash),
    Prekey(DeviceKeyHash, PrekeyId),
    Conversation(ConversationId),
    Counters(ConversationId),
    Session(ConversationId, SessionId),
    /// Chain hash and number of the skipped key.
    Skipped(ConversationId, SessionId, [u8; 36]),
    Content(ConversationId, u64),
    Envelope(ConversationId, EnvelopeId),
    Seen(DeviceKeyHash, u64),
    Held(ConversationId, MessageId),
    SetAside(DeviceKeyHash, u64),
    Transfer(ConversationId, BlobId),
    Attachment(ConversationId, MessageId),
    Message(ConversationId, u64),
    Quarantine(DeviceKeyHash, u64),
    /// Quarantine of a conversation.
    Refused(ConversationId, u64),
}

impl Key {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Meta => Kind::Meta,
            Self::Generation => Kind::Generation,
            Self::Wrapped(_) => Kind::ConversationKey,
            Self::Device(_) => Kind::Device,
            Self::Cursor(_) => Kind::Cursor,
            Self::Prekey(..) => Kind::Prekey,
            Self::Conversation(_) => Kind::Conversation,
            Self::Counters(_) => Kind::Counters,
            Self::Session(..) => Kind::Session,
            Self::Skipped(..) => Kind::Skipped,
            Self::Content(..) => Kind::Content,
            Self::Envelope(..) => Kind::Envelope,
            Self::Seen(..) => Kind::Seen,
            Self::Held(..) => Kind::Held,
            Self::SetAside(..) => Kind::SetAside,
            Self::Transfer(..) => Kind::Transfer,
            Self::Attachment(..) => Kind::Attachment,
            Self::Message(..) => Kind::Message,
            Self::Quarantine(..) | Self::Refused(..) => Kind::Quarantine,
        }
    }

    /// `kind | parts`; all parts have fixed lengths.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut out = vec![self.kind() as u8];
        let message = |out: &mut Vec<u8>, id: &MessageId| {
            out.extend_from_slice(id.device.as_bytes());
            out.extend_from_slice(&id.counter.to_be_bytes());
        };
        match &self {
            Self::Meta | Self::Generation => {}
            Self::Wrapped(c) | Self::Conversation(c) | Self::Counters(c) => {
                out.extend_from_slice(c.as_bytes());
            }
            Self::Device(d) | Self::Cursor(d) => out.extend_from_slice(d.as_bytes()),
            Self::Prekey(d, id) => {
                out.extend_from_slice(d.as_bytes());
                out.extend_from_slice(id.as_bytes());
            }
            Self::Session(c, s) => {
                out.extend_from_slice(c.as_bytes());
                out.extend_from_slice(s.as_bytes());
            }
            Self::Skipped(c, s, key) => {
                out.extend_from_slice(c.as_bytes());
                out.extend_from_slice(s.as_bytes());
                out.extend_from_slice(key);
            }
            Self::Content(c, n) | Self::Message(c, n) | Self::Refused(c, n) => {
                out.extend_from_slice(c.as_bytes());
                out.extend_from_slice(&n.to_be_bytes());
            }
            Self::Envelope(c, e) => {
                out.extend_from_slice(c.as_bytes());
                out.extend_from_slice(e.as_bytes());
            }
            Self::Seen(d, n) | Self::SetAside(d, n) | Self::Quarantine(d, n) => {
                out.extend_from_slice(d.as_bytes());
                out.extend_from_slice(&n.to_be_bytes());
            }
            Self::Held(c, id) | Self::Attachment(c, id) => {
                out.extend_from_slice(c.as_bytes());
                message(&mut out, id);
            }
            Self::Transfer(c, blob) => {
                out.extend_from_slice(c.as_bytes());
                out.extend_from_slice(blob.as_bytes());
            }
        }
        out
    }
}
