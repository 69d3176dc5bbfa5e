//! Every label of the protocol. A label separates one use of a key or hash from all others (§2).

use core::fmt;

/// `sealdesk/v1/...`; only this file makes one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(&'static str);

impl Label {
    /// The label's bytes, at most 255.
    pub const fn as_bytes(&self) -> &'static [u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Defines the labels and the list of all of them.
macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)+) => {
        $($(#[$doc])* pub const $name: Label = Label(concat!("sealdesk/v1/", $text));)+

        /// All labels, for the test that no two are equal.
        pub const ALL: &[Label] = &[$($name),+];
    };
}

labels! {
    // Hashes.
    /// Device key hash (§4).
    DEVICE = "device";
    /// Id of a prekey pair (§3).
    PREKEY_ID = "prekey-id";
    /// The organisation's root hash (§3).
    ROOT_HASH = "root-hash";
    /// Certificate id.
    CERTIFICATE_ID = "certificate-id";
    /// Conversation id (§3).
    CONVERSATION = "conversation";
    /// Mailbox id of a device (§3.2).
    MAILBOX = "mailbox";
    /// Hash of a statement (§7).
    STATEMENT_HASH = "statement-hash";
    /// Hash of a roster (§7).
    ROSTER = "roster";
    /// Hash of a privacy notice (§7).
    NOTICE = "notice";
    /// Running hash over one sender's contents (§8).
    HEAD = "head";
    /// Hash of one content (§8).
    CONTENT = "content";
    /// Hash of a preamble in the clear part (§5).
    PREAMBLE_HASH = "preamble-hash";
    /// Hash of an envelope, by which repetitions are known (§5).
    ENVELOPE_HASH = "envelope-hash";
    /// Hash of a sealed chain part (§5).
    CHAIN_HASH = "chain-hash";
    /// Hash of the target keys in the root step (§5).
    TARGET = "target";
    /// Safety number (§13).
    FINGERPRINT = "fingerprint";

    // Signatures.
    /// Root certificate, version n+1 signed by n and n+1.
    ROOT = "root";
    /// Issuer certificate.
    ISSUER = "issuer";
    /// Agent device certificate.
    AGENT_DEVICE = "agent-device";
    /// An earlier device endorses a further one.
    ENDORSEMENT = "endorsement";
    /// Issuer-signed list of revocations.
    REVOCATION = "revocation";
    /// The root's part of org.json.
    ORG_PINS = "org-pins";
    /// The issuer's part of org.json.
    ORG_SETTINGS = "org-settings";
    /// Enrolment request of an agent's device.
    ENROLMENT = "enrolment";
    /// Invitation to enrol.
    INVITATION = "invitation";
    /// Statement of a conversation (§7).
    STATEMENT = "statement";
    /// Consent receipt (§7).
    CONSENT = "consent";
    /// Answer to the relay's challenge (§12).
    AUTH = "auth";
    /// Generation of a device's vault (§9.2).
    VAULT_GENERATION = "vault-generation";
    /// Customer profile signature, sent inside the session (§3).
    PROFILE = "profile";
    /// Prekey pair (§3).
    PREKEY = "prekey";
    /// Preamble (§4).
    PREAMBLE = "preamble";

    // Key derivation.
    /// Handshake (§4).
    PQXDH = "pqxdh";
    /// Transcript T of the handshake (§4).
    TRANSCRIPT = "transcript";
    /// Session id (§4).
    SESSION = "sid";
    /// Replay mark of a handshake: last-resort key and EK (§4).
    INITIATION = "initiation";
    /// Root step of the ratchet (§5).
    RATCHET_ROOT = "root-step";
    /// Body key and nonce (§5).
    BODY = "body";
    /// Additional data of a sealed chain part (§5).
    CHAIN_PART = "chain-part";
    /// Additional data of an attachment's chunks (§8).
    ATTACHMENT = "attachment";

    // Vault (§11).
    /// A conversation's record key, wrapped.
    VAULT_CONVERSATION = "vault-conversation";
    /// Blinded record names.
    VAULT_NAME = "vault-name";
    /// Sealed records.
    VAULT_RECORD = "vault-record";
    /// The passphrase's key check and wrapping.
    VAULT_WRAP = "vault-wrap";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_distinct_and_short() {
        let distinct: alloc::collections::BTreeSet<_> = ALL.iter().collect();
        assert_eq!(distinct.len(), ALL.len());
        assert!(ALL.iter().all(|l| l.as_bytes().len() <= 255 && l.as_bytes().is_ascii()));
    }
}
