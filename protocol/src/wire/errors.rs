//! Error codes of the relay, with who is at fault and what to do.

use serde::{Deserialize, Serialize};

/// Who has to act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fault {
    /// The person or program on this side.
    You,
    /// The other party of the conversation.
    Peer,
    /// The relay or its operator.
    Relay,
    /// The organisation: its certificates, its org.json, its people.
    Organisation,
    /// The network between.
    Network,
}

impl Fault {
    /// Stable lower-case name for the `--json` interface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::You => "you",
            Self::Peer => "peer",
            Self::Relay => "relay",
            Self::Organisation => "organisation",
            Self::Network => "network",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident, $text:literal, $fault:ident, $hint:literal;)+) => {
        /// What went wrong, as the relay says it. Append-only.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)+
            /// A code of a newer relay. Read only; never sent.
            #[serde(other)]
            Unknown,
        }

        impl Code {
            /// Every code that is sent, in wire order.
            pub const ALL: &'static [Code] = &[$(Code::$name,)+];

            /// Stable snake_case name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ Self::Unknown => "unknown_code" }
            }

            /// Who has to act.
            pub fn fault(self) -> Fault {
                match self { $(Self::$name => Fault::$fault,)+ Self::Unknown => Fault::You }
            }

            /// What to do about it, one sentence.
            pub fn hint(self) -> &'static str {
                match self {
                    $(Self::$name => $hint,)+
                    Self::Unknown => "Update this program: the relay refused for a reason that it does not know yet.",
                }
            }
        }
    };
}

codes! {
    /// A frame, statement or upload that does not decode or breaks a rule of form.
    Malformed, "malformed", You, "Update this program; it sent something that the relay does not understand.";
    /// Frame or field above its limit.
    TooLarge, "too_large", You, "Send a smaller message, or send it as an attachment.";
    /// Protocol versions do not overlap.
    Unsupported, "unsupported", You, "Update the older side: client and relay speak different protocol versions.";
    /// A frame other than Authenticate came first, or authentication took too long.
    NotAuthenticated, "not_authenticated", You, "Authenticate first; a slow or broken connection may have run into the time-out.";
    /// The challenge's signature is wrong or bound to another relay.
    BadSignature, "bad_signature", You, "The device key does not match, or the relay's name in org.json differs from the relay's configuration.";
    /// The certificate chain does not verify, is foreign, or lacks the role.
    CertificateRefused, "certificate_refused", Organisation, "Ask an administrator to approve this device for this organisation.";
    /// Certificate outside its validity.
    CertificateExpired, "certificate_expired", Organisation, "Ask an administrator to renew this device's certificate; check this machine's clock.";
    /// The device or the issuer of its certificate was revoked.
    Revoked, "revoked", Organisation, "Ask an administrator: a revoked device enrols anew (agent invite, enroll, approve); after org renew-issuer --revoke-old its certificate is renewed.";
    /// Too many frames; try again after the time given.
    RateLimited, "rate_limited", You, "Wait and try again; the client does this by itself.";
    /// The recipient's mailbox holds its maximum count of items.
    MailboxFull, "mailbox_full", Peer, "The recipient has not fetched messages for long; yours is kept here and retried.";
    /// The recipient's mailbox holds its maximum of bytes.
    MailboxBytes, "mailbox_bytes", Peer, "The recipient has not fetched messages for long; yours is kept here and retried.";
    /// No such conversation.
    UnknownConversation, "unknown_conversation", Relay, "The relay does not hold this conversation any more: its time to live has passed, or the relay lost it; start a new one.";
    /// The device was never listed in the conversation.
    NotListed, "not_listed", You, "Only devices listed in a conversation's roster may do this.";
    /// The epoch statement does not follow the current one.
    Conflict, "conflict", You, "Another statement was stored first; the client reads it and tries again.";
    /// The conversation went to another agent before the acceptance arrived.
    AssignmentLost, "assignment_lost", Peer, "Another agent has this conversation now.";
    /// The conversation is closed.
    Closed, "closed", Peer, "The conversation was closed; start a new one.";
    /// No valid consent receipt.
    ConsentMissing, "consent_missing", You, "Load the page, or the relay's org.json, again and agree to its privacy notice: the relay serves another organisation, or this device's clock is ahead.";
    /// The consent receipt names a notice that is no longer current.
    ConsentOutdated, "consent_outdated", Organisation, "The privacy notice has changed; reload, read the new one and agree again.";
    /// Topic or language not offered by the organisation.
    UnknownTopic, "unknown_topic", You, "Choose one of the organisation's topics.";
    /// The device has no prekeys on the relay.
    NoPrekeys, "no_prekeys", Peer, "The other side must come online once to publish keys; your text waits on this device.";
    /// The offer to claim was taken by somebody else.
    AlreadyClaimed, "already_claimed", Peer, "Another agent claimed this conversation first.";
    /// No such attachment, or its time to live has passed.
    UnknownBlob, "unknown_blob", Peer, "The attachment is no longer stored; ask for it to be sent again.";
    /// Wrong capability for the attachment.
    BlobRefused, "blob_refused", You, "This device does not hold the capability for that attachment.";
    /// Attachment above the relay's limit.
    BlobTooLarge, "blob_too_large", You, "The attachment is larger than this relay allows; send a smaller file.";
    /// The relay cannot store now: disk full or shutting down.
    Unavailable, "unavailable", Relay, "The relay cannot store anything at the moment; the client keeps everything and retries.";
    /// Any other fault of the relay.
    Internal, "internal", Relay, "Tell the relay's operator; its log names the cause.";
    /// The attachments of one conversation reached the relay's limit.
    AttachmentsFull, "attachments_full", You, "The relay keeps no more attachments of this conversation, or none at all for now; start a new conversation, or try again tomorrow.";
}
