//! Problems with attachments.

use sealdesk_protocol::wire::Fault;

use super::problem;
use crate::engine::Problem;

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

pub(crate) fn local_file(part: crate::engine::Part) -> Problem {
    let what = match part {
        crate::engine::Part::File => "The file",
        crate::engine::Part::Spool => "The encrypted copy of the file on this machine",
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
