//! `delete`: destroys a conversation's key and records in this vault. The other side keeps its copy.

use sealdesk_client::{Command, Event, Phase};

use crate::args::DeleteArgs;
use crate::error::{Error, Exit};
use crate::{home, terminal, time};

/// `sealdesk delete`.
///
/// # Errors
/// [`Error`].
pub fn delete(args: &DeleteArgs) -> Result<(), Error> {
    let mut desk = home::any_desk(&args.home)?;
    let Some(named) = &args.conversation else {
        let text = "`delete` is told which conversation is meant.".into();
        return Err(super::which("conversation_needed", text, &desk.engine().conversations()));
    };
    let view = super::conversation(&desk, Some(named))?;
    let what = format!(
        "conversation {} about {}, {}",
        &view.id.to_string()[..16],
        view.topic,
        time::date(view.opened)
    );
    if !args.yes {
        if !terminal::is_interactive() {
            return Err(Error::usage(
                "deleting asks for confirmation, and there is no terminal",
                "Give --yes to delete without being asked.",
            ));
        }
        if view.phase == Phase::Active {
            eprintln!("It is still open: whatever the other side writes from now on is not kept here.");
        }
        if !terminal::confirm(&format!("Delete {what} for good"))? {
            return terminal::out("Nothing was deleted.");
        }
    }
    if let Some(Event::Failed { problem, .. }) = desk.command(Command::Delete { conversation: view.id })? {
        return Err(Error::Problem(problem, Exit::Usage));
    }
    desk.clean_spool()?;
    terminal::out(&format!(
        "Deleted {what}: its key is destroyed here. The other side's copy, exports and backups are not touched."
    ))
}
