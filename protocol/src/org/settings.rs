//! What an issuer signs into org.json: the relay, topics, teams, notices (§3.8).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::crypto::identity::{SignedBytes, SigningSecret};
use crate::crypto::labels;
use crate::ids::{Handle, NoticeHash, RootHash};

/// A topic that customers choose from; its id is all that the relay learns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Id.
    pub id: Handle,
    /// The team that answers.
    pub team: Handle,
    /// Name by language tag.
    pub names: BTreeMap<String, String>,
}

/// A team's public name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Team {
    /// Id.
    pub id: Handle,
    /// Name shown to customers.
    pub name: String,
}

/// The privacy notice in one language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// BCP 47 tag.
    pub language: String,
    /// Plain text, as shown.
    pub text: String,
}

impl Notice {
    /// What a consent receipt names.
    pub fn hash(&self) -> NoticeHash {
        crate::conversation::notice_hash(&self.language, &self.text)
    }
}

/// How conversations reach agents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AssignmentMode {
    /// The relay picks an agent: team, presence, capacity, round robin.
    #[default]
    Automatic,
    /// Agents see topic, language and waiting time, and the first who claims gets it.
    Claim,
}

/// Signed by an issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The organisation.
    pub root: RootHash,
    /// Rises with each change under one issuer; clients never accept an earlier [`Edition`](crate::crypto::edition::Edition).
    pub version: u32,
    /// When it was signed, ms.
    pub issued: u64,
    /// The organisation's public name.
    pub name: String,
    /// The relay's name: challenges bind to it, never to a URL.
    pub relay_name: String,
    /// `wss://` URLs, first choice first.
    pub relay_urls: Vec<String>,
    /// How conversations reach agents.
    pub assignment: AssignmentMode,
    /// Topics, in the order of display.
    pub topics: Vec<Topic>,
    /// Teams.
    pub teams: Vec<Team>,
    /// The current privacy notice, one for each language.
    pub notices: Vec<Notice>,
}

impl Settings {
    /// The topic with this id.
    pub fn topic(&self, id: &Handle) -> Option<&Topic> {
        self.topics.iter().find(|t| t.id == *id)
    }

    /// The notice for a language: exact tag, else same primary language, else the first.
    pub fn notice(&self, language: &str) -> Option<&Notice> {
        self.notice_in(language).or_else(|| self.notices.first())
    }

    /// The notice in a language: exact, or with the same primary subtag.
    pub fn notice_in(&self, language: &str) -> Option<&Notice> {
        let primary = |tag: &str| tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
        let exact = self.notices.iter().find(|n| n.language.eq_ignore_ascii_case(language));
        exact.or_else(|| self.notices.iter().find(|n| primary(&n.language) == primary(language)))
    }

    /// Whether the hash names a current notice.
    pub fn has_notice(&self, hash: &NoticeHash) -> bool {
        self.notices.iter().any(|n| n.hash() == *hash)
    }
}

impl Settings {
    /// Signs with an issuer's key.
    pub fn sign(&self, issuer: &SigningSecret) -> SignedBytes {
        SignedBytes::sign(labels::ORG_SETTINGS, self, issuer)
    }
}
