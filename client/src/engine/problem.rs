//! What people are told when something is wrong: one constructor for each case, so that codes stay stable.

use sealdesk_protocol::crypto::certificate::CertificateError;
use sealdesk_protocol::crypto::prekeys::PrekeyError;
use sealdesk_protocol::wire::Fault;

use super::Problem;

pub(crate) fn problem(
    code: &'static str,
    fault: Fault,
    text: impl Into<String>,
    hint: impl Into<String>,
) -> Problem {
    Problem { code, fault, text: text.into(), hint: hint.into() }
}

pub(crate) fn unknown_conversation() -> Problem {
    problem(
        "unknown_conversation",
        Fault::You,
        "This vault holds no such conversation.",
        "Choose one of the conversations that are listed.",
    )
}

pub(crate) fn closed() -> Problem {
    problem("closed", Fault::You, "The conversation is closed.", "Start a new conversation.")
}

pub(crate) fn not_accepted() -> Problem {
    problem(
        "not_accepted",
        Fault::You,
        "This conversation is not accepted yet.",
        "Accept it first; only then may this device answer.",
    )
}

pub(crate) fn wrong_party(needed: &str) -> Problem {
    problem(
        "wrong_party",
        Fault::You,
        format!("Only {needed} can do this."),
        "Use a vault that was made for that side.",
    )
}

pub(crate) fn content(error: &sealdesk_protocol::conversation::content::ContentError) -> Problem {
    problem(
        "content_refused",
        Fault::You,
        format!("The message cannot be sent: {error}."),
        "Shorten the text, or send it as a file.",
    )
}

pub(crate) fn certificate(error: CertificateError) -> Problem {
    let code = match error {
        CertificateError::Foreign | CertificateError::RootVersion => "certificate_foreign",
        CertificateError::Expired => "certificate_expired",
        CertificateError::NotYetValid => "certificate_not_yet_valid",
        CertificateError::Revoked => "certificate_revoked",
        CertificateError::Role => "certificate_role",
        _ => "certificate_refused",
    };
    problem(
        code,
        Fault::Organisation,
        format!("Nothing was sent to the agent that the relay named: {error}."),
        "Tell the organisation; the text waits on this device until a valid agent is named.",
    )
}

/// What to do when it is the peer of a conversation that runs: nobody else will be named for it.
pub(crate) fn of_peer(problem: Problem) -> Problem {
    let hint = match problem.code {
        "certificate_revoked" => "Start a new conversation: in this one nothing is sent any more.",
        _ => {
            "The text waits on this device until the certificate counts again; tell the organisation if this stays."
        }
    };
    Problem { hint: hint.into(), ..problem }
}

/// What holds once a problem with keys does not stand any more.
pub(crate) fn resolution(code: &str) -> Option<&'static str> {
    match code {
        "revocations_refused" => Some(
            "The organisation's newer keys or settings are in force; the keys that were known before vouch for them.",
        ),
        "certificate_foreign" => {
            Some("The agent's certificate counts under the organisation's newest key; what waited is sent.")
        }
        "certificate_expired"
        | "certificate_not_yet_valid"
        | "certificate_revoked"
        | "certificate_role"
        | "certificate_refused"
        | "wrong_team"
        | "prekey_refused" => Some("The agent is verified by the organisation; what waited is sent."),
        _ => None,
    }
}

pub(crate) fn wrong_team() -> Problem {
    problem(
        "wrong_team",
        Fault::Relay,
        "Nothing was sent: the relay named an agent of another team than the topic's.",
        "Tell the organisation; the text waits on this device until a valid agent is named.",
    )
}

pub(crate) fn prekey(error: PrekeyError) -> Problem {
    problem(
        "prekey_refused",
        Fault::Relay,
        format!("Nothing was sent: {error}."),
        "Tell the organisation: the keys that the relay handed out are not the agent's.",
    )
}

pub(crate) fn statement(error: impl core::fmt::Display) -> Problem {
    problem(
        "statement_refused",
        Fault::Peer,
        format!("A statement about this conversation was refused: {error}."),
        "Compare safety numbers with the other side; tell the organisation if this repeats.",
    )
}

pub(crate) fn fork() -> Problem {
    problem(
        "fork",
        Fault::Relay,
        "Both sides were shown different lists of who can read this conversation.",
        "Stop writing here, compare safety numbers, and tell the organisation.",
    )
}

pub(crate) fn equivocation() -> Problem {
    problem(
        "equivocation",
        Fault::Peer,
        "One message number came with two different contents.",
        "Stop writing here, compare safety numbers, and tell the organisation.",
    )
}

pub(crate) fn bad_receipt() -> Problem {
    problem(
        "bad_receipt",
        Fault::Peer,
        "A receipt does not match what this device sent; it was ignored.",
        "Compare safety numbers with the other side; tell the organisation if this repeats.",
    )
}

pub(crate) fn relay_name(expected: &str, got: &str) -> Problem {
    // The relay chooses `got`: shortened, without control characters.
    let got: String = got.chars().filter(|c| !c.is_control()).take(64).collect();
    problem(
        "wrong_relay",
        Fault::Relay,
        format!("The relay calls itself \"{got}\", org.json names \"{expected}\"."),
        "Check the relay's address; the relay's operator sets its name in the configuration.",
    )
}

pub(crate) fn bad_frame(text: impl core::fmt::Display) -> Problem {
    problem(
        "bad_frame",
        Fault::Relay,
        format!("The relay sent something that this program does not understand: {text}."),
        "Update this program; if that does not help, tell the relay's operator.",
    )
}

pub(crate) fn old_copy() -> Problem {
    problem(
        "vault_is_old_copy",
        Fault::You,
        "This vault is an older copy of one that was used since: it sends nothing any more, so that no key is used twice.",
        "Use the newer copy. Otherwise an agent enrols this machine anew, and a customer starts a new conversation.",
    )
}

pub(crate) fn clock(own: u64, relay: u64) -> Problem {
    let (minutes, word) = (own.abs_diff(relay) / 60_000, if own > relay { "ahead of" } else { "behind" });
    let off = if minutes < 120 { format!("{minutes} minutes") } else { format!("{} hours", minutes / 60) };
    problem(
        "clock",
        Fault::You,
        format!("This device's clock is {off} {word} the relay's."),
        "Set date, time and time zone of this device: with a wrong clock, valid certificates look expired or not valid yet.",
    )
}

pub(crate) fn unproven_generation() -> Problem {
    problem(
        "unproven_generation",
        Fault::Relay,
        "The relay claims without proof that a newer copy of this vault is in use; the claim was ignored.",
        "Nothing is needed here. Tell the organisation: only this device's own signature could prove it.",
    )
}

pub(crate) fn set_aside(reason: impl core::fmt::Display) -> Problem {
    problem(
        "set_aside",
        Fault::Peer,
        format!("A received message could not be used and was set aside: {reason}."),
        "Nothing is needed at first; ask for it to be sent again if something is missing.",
    )
}

pub(crate) fn relay_restored(times: u32) -> Problem {
    problem(
        "relay_restored",
        Fault::Relay,
        match times {
            1 => "The relay was restored from a backup.".to_owned(),
            _ => format!("The relay was restored from a backup ({times} times so far)."),
        },
        "Nothing is needed: whatever was not confirmed is sent again.",
    )
}

pub(crate) fn revocations(error: CertificateError) -> Problem {
    problem(
        "revocations_refused",
        Fault::Relay,
        format!("The relay's list of revoked certificates was refused: {error}."),
        "Tell the organisation; the last valid list stays in force.",
    )
}

pub(crate) fn own_certificate(error: CertificateError) -> Problem {
    problem(
        "own_certificate",
        Fault::Organisation,
        format!("This device's certificate is not usable: {error}."),
        "Ask an administrator to renew it (agent approve --renew), then install the new certificate.",
    )
}

/// No certificate counts for it any more: a code of its own, so that it is told also after the certificate had ended.
pub(crate) fn device_revoked() -> Problem {
    problem(
        "device_revoked",
        Fault::Organisation,
        "This device is revoked: no certificate counts for it any more.",
        "Enrol it anew: agent invite, then agent enroll with an empty home folder, then agent approve.",
    )
}

pub(crate) fn not_certified() -> Problem {
    problem(
        "not_certified",
        Fault::Organisation,
        "This device has no certificate that is valid now, so its word counts for nothing.",
        "Install a certificate first, or endorse on another device.",
    )
}

pub(crate) fn not_ours_to_endorse() -> Problem {
    problem(
        "not_ours_to_endorse",
        Fault::You,
        "The request is not of a further device of the agent whom this device belongs to.",
        "Enrol the new device with an invitation of the same agent, and endorse that request.",
    )
}

pub(crate) fn other_device() -> Problem {
    problem(
        "other_device",
        Fault::You,
        "The certificate belongs to another device.",
        "Install it on the machine that made the enrolment request.",
    )
}

pub(crate) fn certificate_ends(left: u64) -> Problem {
    let hours = left / 3_600_000;
    problem(
        "certificate_ends",
        Fault::Organisation,
        format!("This device's certificate ends in {} days and {} hours.", hours / 24, hours % 24),
        "Ask an administrator to renew it before then.",
    )
}

pub(crate) fn lost() -> Problem {
    problem(
        "assignment_lost",
        Fault::Peer,
        "The conversation went to another agent.",
        "Nothing is needed: the other agent answers.",
    )
}

pub(crate) fn too_many_waiting() -> Problem {
    problem(
        "too_many_waiting",
        Fault::Peer,
        "Too many messages of this conversation wait for the other side.",
        "Wait until the other side has received them.",
    )
}

pub(crate) fn offline() -> Problem {
    problem(
        "offline",
        Fault::Network,
        "This device is not connected to the relay.",
        "Check the network and try again.",
    )
}

pub(crate) fn language() -> Problem {
    problem(
        "language",
        Fault::You,
        "The language is not a BCP 47 tag.",
        "Give a tag such as \"en\" or \"pt-BR\".",
    )
}

pub(crate) fn handshake(error: impl core::fmt::Display) -> Problem {
    problem(
        "handshake_refused",
        Fault::Peer,
        format!("No session could be started: {error}."),
        "Tell the organisation: the other device's keys are unusable.",
    )
}

pub(crate) fn no_consent() -> Problem {
    problem(
        "consent_missing",
        Fault::Relay,
        "A conversation was refused: no valid consent receipt came with it.",
        "Tell the relay's operator; the relay has to refuse such conversations.",
    )
}

pub(crate) fn profile() -> Problem {
    problem(
        "profile_refused",
        Fault::Peer,
        "The customer's profile signature does not verify; it was ignored.",
        "Treat the customer as new.",
    )
}

pub(crate) fn last_resort_used() -> Problem {
    problem(
        "last_resort_used",
        Fault::Relay,
        "A handshake came without a one-time prekey although unused ones are at the relay.",
        "Tell the relay's operator if this repeats: first messages are less well protected that way.",
    )
}

pub(crate) fn enrol_anew() -> Problem {
    problem(
        "enrol_anew",
        Fault::You,
        "This vault has a new device key, because it was an older copy of one that was used since.",
        "Ask an administrator for an invitation and enrol this machine again.",
    )
}

pub(crate) fn file_name() -> Problem {
    problem(
        "file_name",
        Fault::You,
        "The file's name or media type is empty or too long.",
        "Rename the file to at most 255 bytes.",
    )
}

impl Problem {
    /// A file that is asked for twice at once.
    pub fn transfer_busy() -> Self {
        problem(
            "transfer_busy",
            Fault::You,
            "This file is on its way already, or too many are.",
            "Wait until one of them is done.",
        )
    }
}

pub(crate) fn file_changed() -> Problem {
    problem(
        "file_changed",
        Fault::You,
        "The file became shorter while it was being read.",
        "Send it again when nothing writes to it any more.",
    )
}

pub(crate) fn local_file(part: super::Part) -> Problem {
    let what = match part {
        super::Part::File => "The file",
        super::Part::Spool => "The encrypted copy of the file on this machine",
    };
    problem(
        "local_file",
        Fault::You,
        format!("{what} cannot be read or written."),
        "Check that it exists, its permissions and the free space, then try again.",
    )
}

pub(crate) fn no_attachment() -> Problem {
    problem(
        "no_attachment",
        Fault::You,
        "This message holds no attachment.",
        "Choose a message that shows a file.",
    )
}

pub(crate) fn attachment_altered() -> Problem {
    problem(
        "attachment_altered",
        Fault::Relay,
        "The attachment is not the one that was sent; nothing of it was opened.",
        "Ask for it to be sent again, and tell the organisation.",
    )
}

pub(crate) fn gap() -> Problem {
    problem(
        "gap",
        Fault::Relay,
        "A message of the other side is missing although later ones arrived.",
        "Nothing is needed: it is asked for again. Tell the relay's operator if this repeats.",
    )
}
