//! What people are told when something is wrong: one constructor for each case, so that codes stay stable.

use sealdesk_protocol::wire::Fault;

use super::Problem;

mod certificates;
mod files;

pub(crate) use self::certificates::*;
pub(crate) use self::files::*;

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

pub(crate) fn gap() -> Problem {
    problem(
        "gap",
        Fault::Relay,
        "A message of the other side is missing although later ones arrived.",
        "Nothing is needed: it is asked for again. Tell the relay's operator if this repeats.",
    )
}
