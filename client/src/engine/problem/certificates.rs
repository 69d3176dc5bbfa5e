//! Problems with certificates and prekeys, an agent's own and others'.

use sealdesk_protocol::crypto::certificate::CertificateError;
use sealdesk_protocol::crypto::prekeys::PrekeyError;
use sealdesk_protocol::wire::Fault;

use super::problem;
use crate::engine::Problem;

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
        format!("Nothing is sent to this agent: {error}."),
        "Tell the organisation; the text waits on this device until a valid agent is named.",
    )
}

/// What to do when it is the peer of a conversation that runs: nobody else will be named for it. `gone`: the device is
/// revoked, not only its certificate or issuer, so that it does not come back.
pub(crate) fn of_peer(problem: Problem, gone: bool) -> Problem {
    let hint = if gone {
        "Start a new conversation: in this one nothing is sent any more."
    } else {
        "The text waits on this device until the certificate counts again; tell the organisation if this stays."
    };
    Problem { hint: hint.into(), ..problem }
}

/// What holds once a problem with keys does not stand any more.
pub(crate) fn resolution(code: &str) -> Option<&'static str> {
    match code {
        "revocations_refused" => Some(
            "The relay's list of revoked certificates counts here again, under keys that were known before or that these vouch for.",
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
