//! Conversations: who may read, what was agreed, what is said (§7, §8).
//!
//! - [`roster`]: the devices that may read, and the hash that binds them into every message
//! - [`statements`]: the signed statements that change it
//! - [`governance`]: which statement may follow which; the verdict on a decrypted message (`roster_check`)
//! - [`consent`]: the signed receipt without which no conversation opens
//! - [`content`]: message kinds, frozen bytes, running heads
//! - [`padding`]: lengths that tell little

pub mod consent;
pub mod content;
pub mod governance;
pub mod padding;
pub mod roster;
pub mod statements;

pub use consent::ConsentReceipt;
pub use content::{Content, Kind, MessageId};
pub use governance::{Governance, Refusal, Verdict};
pub use roster::{Member, Role, Roster};
pub use statements::{Action, Head, Statement, VerifiedStatement};

use crate::crypto::identity::DevicePublic;
use crate::crypto::kdf;
use crate::crypto::labels;
use crate::ids::{ConversationId, NoticeHash, RootHash};

/// `H("conversation" | root | customer device key hash | nonce)` (§3).
pub fn conversation_id(root: &RootHash, customer: &DevicePublic, nonce: &[u8; 16]) -> ConversationId {
    ConversationId(kdf::hash(labels::CONVERSATION, &[root.as_ref(), customer.hash().as_ref(), nonce]))
}

/// Hash of a privacy notice's language tag and exact text.
pub fn notice_hash(language: &str, text: &str) -> NoticeHash {
    NoticeHash(kdf::hash(labels::NOTICE, &[language.as_bytes(), text.as_bytes()]))
}

/// Whether `tag` has the form of a BCP 47 language tag: 1 to 35 ASCII letters, digits and hyphens.
pub fn is_language_tag(tag: &str) -> bool {
    (1..=35).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
