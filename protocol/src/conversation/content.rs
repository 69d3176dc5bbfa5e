//! What a message says: content kinds, their frozen bytes and the running hash that orders both sides (§8).

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::statements::Head;
use crate::crypto::kdf;
use crate::crypto::labels;
use crate::ids::{BlobId, ConversationId, DeviceKeyHash, HeadHash, StatementHash};

/// Most head entries in one content.
pub const MAX_HEADS: usize = 64;
/// Longest text in bytes of UTF-8; longer text goes as an attachment.
pub const MAX_TEXT: usize = 40 * 1024;
/// Longest file name in bytes of UTF-8.
pub const MAX_NAME: usize = 255;

/// The plaintext of one message. Its bytes are frozen when it is first sealed and reused in every later session,
/// epoch and for every recipient device.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Counts this device's contents in this conversation from 1; 0 for kinds without counter.
    pub counter: u64,
    /// When it was written, ms, by the sender's clock.
    pub time: u64,
    /// What the sender has, contiguous, one entry for each device; the one that names the reader is a receipt.
    pub heads: Vec<Head>,
    /// Number of the [`Kind`].
    pub kind: u16,
    /// Encoded kind; unknown numbers keep their bytes and are shown as "update to see this".
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

impl core::fmt::Debug for Content {
    /// Never shows what was written.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Content(#{}, kind {}, {} bytes)", self.counter, self.kind, self.body.len())
    }
}

/// Where a message stands: a device's counter survives sessions and resets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// The sender.
    pub device: DeviceKeyHash,
    /// Its counter.
    pub counter: u64,
}

/// An attachment's reference; whoever reads it may fetch and open the blob.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Which blob.
    pub blob: BlobId,
    /// Capability to fetch it.
    pub token: [u8; 32],
    /// Key that opens it.
    pub key: [u8; 32],
    /// SHA-256 of the whole ciphertext.
    pub ciphertext_hash: [u8; 32],
    /// Bytes of ciphertext.
    pub ciphertext_length: u64,
    /// Bytes of the file.
    pub length: u64,
    /// Media type as the sender names it; never trusted for rendering.
    pub media_type: String,
    /// File name as the sender names it; made safe before use.
    pub name: String,
}

impl core::fmt::Debug for Attachment {
    /// Never shows key, token or name.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Attachment({:?}, {} bytes)", self.blob, self.length)
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.key);
        zeroize::Zeroize::zeroize(&mut self.token);
    }
}

/// A returning customer proves to the agent, inside the session only, that the long-lived profile key is his.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileSignature {
    /// Ed25519 profile key.
    pub profile: [u8; 32],
    /// Signature over conversation and customer device key hash.
    #[serde(with = "serde_bytes")]
    pub signature: [u8; 64],
}

/// One answer of a form.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormAnswer {
    /// Field id.
    pub field: String,
    /// What was entered.
    pub value: String,
}

impl core::fmt::Debug for FormAnswer {
    /// Never shows the answer.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "FormAnswer({})", self.field)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $number:literal $name:ident($body:ty), counted: $counted:literal;)+) => {
        /// What a content holds. Numbers are fixed and never reused.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Kind {
            $($(#[$doc])* $name($body),)+
            /// A kind of a later version: kept, and shown as "update to see this".
            Unknown(u16),
        }

        impl Kind {
            /// Number on the wire.
            pub fn number(&self) -> u16 {
                match self { $(Self::$name(_) => $number,)+ Self::Unknown(number) => *number }
            }

            /// Whether contents of this kind carry a counter and are receipted. Unknown kinds are.
            pub fn is_counted(number: u16) -> bool {
                match number { $($number => $counted,)+ _ => true }
            }

            /// Number and encoded body. Unknown kinds have no body to encode.
            pub fn encode(&self) -> (u16, Vec<u8>) {
                let body = match self {
                    $(Self::$name(body) => postcard::to_allocvec(body).unwrap_or_default(),)+
                    Self::Unknown(_) => Vec::new(),
                };
                (self.number(), body)
            }

            /// Decodes a body; trailing bytes are an error.
            ///
            /// # Errors
            /// [`ContentError::Malformed`]; at fault: the sender.
            pub fn decode(number: u16, body: &[u8]) -> Result<Self, ContentError> {
                match number {
                    $($number => match postcard::take_from_bytes::<$body>(body) {
                        Ok((value, [])) => Self::$name(value).checked(),
                        _ => Err(ContentError::Malformed),
                    },)+
                    other => Ok(Self::Unknown(other)),
                }
            }
        }
    };
}

/// Edits and deletions append; what they name stays in the transcript.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// A message of the same sender.
    pub target: u64,
    /// The new text.
    pub text: String,
}

impl core::fmt::Debug for Edit {
    /// Never shows the text.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Edit(#{})", self.target)
    }
}

/// A reaction to any message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Reaction {
    /// Which message.
    pub target: MessageId,
    /// One emoji; empty takes it back.
    pub emoji: String,
}

/// "Your message was sealed for an epoch that has passed": the sender verifies the statement and seals it anew (§7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaleEpoch {
    /// Counter of the refused content.
    pub counter: u64,
    /// The current epoch statement.
    pub current: StatementHash,
}

/// Text that zeroizes nothing but never shows in `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text(pub String);

impl core::fmt::Debug for Text {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Text({} bytes)", self.0.len())
    }
}

kinds! {
    /// Plain text.
    1 Text(Text), counted: true;
    /// A file.
    2 Attachment(Attachment), counted: true;
    /// A pure receipt: the heads say it all.
    3 Receipt(()), counted: false;
    /// Answers to a form.
    4 FormAnswers(Vec<FormAnswer>), counted: true;
    /// Profile of a returning customer.
    5 Profile(ProfileSignature), counted: true;
    /// 1 to 5 stars and a comment.
    6 Rating((u8, Text)), counted: true;
    /// Replaces the text of an own message.
    7 Edit(Edit), counted: true;
    /// Marks an own message as deleted.
    8 Delete(u64), counted: true;
    /// A reaction.
    9 Reaction(Reaction), counted: true;
    /// A refusal for an earlier epoch.
    10 StaleEpoch(StaleEpoch), counted: false;
    /// Ephemeral: the peer is typing (true) or stopped.
    11 Typing(bool), counted: false;
    /// Ephemeral: the peer's screen shows the conversation (true) or not.
    12 Presence(bool), counted: false;
    /// Read up to this counter of the recipient; shown as "read".
    13 Read(u64), counted: false;
}

/// Why bytes are no content. At fault: the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Does not decode, bytes left over, or a field breaks its rule.
    #[error("a message's content is malformed")]
    Malformed,
    /// A counted kind without counter, or an uncounted one with.
    #[error("a message's counter does not fit its kind")]
    Counter,
    /// Above a limit.
    #[error("a message's content is above its limit")]
    TooLarge,
}

impl Kind {
    fn checked(self) -> Result<Self, ContentError> {
        let fits = match &self {
            Self::Text(Text(text)) | Self::Edit(Edit { text, .. }) => text.len() <= MAX_TEXT,
            Self::Attachment(a) => a.name.len() <= MAX_NAME && a.media_type.len() <= MAX_NAME,
            Self::FormAnswers(answers) => answers.len() <= 64,
            Self::Rating((stars, Text(comment))) => (1..=5).contains(stars) && comment.len() <= MAX_TEXT,
            Self::Reaction(r) => r.emoji.len() <= 64,
            _ => true,
        };
        if fits { Ok(self) } else { Err(ContentError::Malformed) }
    }
}

impl Content {
    /// Builds a content; `counter` is ignored for uncounted kinds.
    pub fn new(counter: u64, time: u64, heads: Vec<Head>, kind: &Kind) -> Self {
        let (number, body) = kind.encode();
        let counter = if Kind::is_counted(number) { counter } else { 0 };
        Self { counter, time, heads, kind: number, body }
    }

    /// The frozen bytes.
    ///
    /// # Errors
    /// [`ContentError::TooLarge`] when it cannot go in one envelope; at fault: the caller.
    pub fn encode(&self) -> Result<Vec<u8>, ContentError> {
        let bytes = postcard::to_allocvec(self).map_err(|_| ContentError::Malformed)?;
        if bytes.len() > super::padding::MAX_CONTENT { Err(ContentError::TooLarge) } else { Ok(bytes) }
    }

    /// Decodes frozen bytes; trailing bytes are an error.
    ///
    /// # Errors
    /// [`ContentError`]; at fault: the sender.
    pub fn decode(bytes: &[u8]) -> Result<Self, ContentError> {
        let (content, rest): (Self, _) =
            postcard::take_from_bytes(bytes).map_err(|_| ContentError::Malformed)?;
        if !rest.is_empty() {
            return Err(ContentError::Malformed);
        }
        if content.heads.len() > MAX_HEADS {
            return Err(ContentError::TooLarge);
        }
        let twice = |(at, head): (usize, &Head)| content.heads[..at].iter().any(|h| h.device == head.device);
        if content.heads.iter().enumerate().any(twice) {
            return Err(ContentError::Malformed);
        }
        if (content.counter != 0) != Kind::is_counted(content.kind) {
            return Err(ContentError::Counter);
        }
        Ok(content)
    }

    /// The kind.
    ///
    /// # Errors
    /// [`ContentError::Malformed`]; at fault: the sender.
    pub fn kind(&self) -> Result<Kind, ContentError> {
        Kind::decode(self.kind, &self.body)
    }
}

/// `head_0 = H("head" | conversation | device key hash)`.
pub fn first_head(conversation: &ConversationId, device: &DeviceKeyHash) -> HeadHash {
    HeadHash(kdf::hash(labels::HEAD, &[conversation.as_ref(), device.as_ref()]))
}

/// `head_n = H(head_(n-1) | n | H(content_n))`, `content` being the frozen bytes.
pub fn next_head(previous: &HeadHash, counter: u64, content: &[u8]) -> HeadHash {
    let digest = kdf::hash(labels::CONTENT, &[content]);
    HeadHash(kdf::hash(labels::HEAD, &[previous.as_ref(), &counter.to_be_bytes(), &digest]))
}
