//! `list`: the conversations of a vault, and the beginnings of their ids, by which other commands name them.

use sealdesk_client::ConversationView;
use sealdesk_protocol::conversation::Role;

use crate::args::ListArgs;
use crate::chat::book::peer;
use crate::chat::json as lines;
use crate::display::line;
use crate::error::Error;
use crate::{home, terminal, time};

/// `sealdesk list`.
///
/// # Errors
/// [`Error`].
pub fn list(args: &ListArgs) -> Result<(), Error> {
    let desk = home::any_desk(&args.home)?;
    let views = desk.engine().conversations();
    if views.is_empty() && !args.json {
        return terminal::out("This vault holds no conversation yet.");
    }
    for view in &views {
        if args.json {
            terminal::out(&lines::line("state", &lines::state(view), Some(&view.id), None))?;
        } else {
            terminal::out(&entry(view))?;
        }
    }
    Ok(())
}

/// One conversation: beginning of its id, when it was opened, topic, with whom, state.
pub(super) fn entry(view: &ConversationView) -> String {
    let with = match peer(view) {
        Some(peer) if peer.role == Role::Customer => "a customer".into(),
        Some(peer) => peer.name.as_deref().map_or("an agent".into(), line),
        None => "nobody yet".into(),
    };
    format!(
        "{}  {} {}  {}  with {with}  {}",
        &view.id.to_string()[..16],
        time::date(view.opened),
        time::clock(view.opened),
        line(view.topic.as_str()),
        lines::phase(view.phase),
    )
}
