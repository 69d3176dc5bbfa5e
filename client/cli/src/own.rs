//! `list`, `verify`, `export` and `delete`: one's own vault. All work without the relay, and after certificates have ended.

mod delete;
mod export;
mod fetch;
mod list;

use std::collections::BTreeMap;

use sealdesk_client::{ConversationView, Message};
use sealdesk_native::Desk;
use sealdesk_native::private_file::{self, Access};

use crate::args::{ExportArgs, VerifyArgs};
use crate::chat::book::{Book, refused};
use crate::chat::json as lines;
use crate::display::line;
use crate::error::Error;
use crate::{home, terminal, time};

pub use delete::delete;
pub(crate) use export::{Exported, author, document, words};
pub(crate) use fetch::{file_in, folder_beside};
pub use list::list;

/// The conversation that a beginning of its id names; without one, the newest.
fn conversation(desk: &Desk, named: Option<&str>) -> Result<ConversationView, Error> {
    let views = desk.engine().conversations();
    let mut book = Book::default();
    views.iter().for_each(|v| book.put(v.clone()));
    let found = match named {
        Some(prefix) => book.resolve(Some(prefix)).map(|id| book.get(&id).cloned()),
        None => Ok(views.first().cloned()),
    };
    match found {
        Ok(Some(view)) => Ok(view),
        Ok(None) => Err(Error::usage("this vault holds no conversation yet", "Start one with a chat.")),
        Err(problem) => Err(which(problem.code, problem.text, &views)),
    }
}

/// Which conversation is meant is not known: those of this vault are shown.
fn which(code: &'static str, text: String, views: &[ConversationView]) -> Error {
    let hint = match views {
        [] => "This vault holds no conversation yet.",
        _ => "Give --conversation with the beginning of one of these ids; `sealdesk list` shows them, too:",
    };
    Error::Which { problem: refused(code, text, hint), here: views.iter().map(list::entry).collect() }
}

/// That the newest was taken, where there are others.
fn others(desk: &Desk, named: Option<&str>) -> String {
    match desk.engine().conversations().len() {
        many if named.is_none() && many > 1 => {
            format!(
                "\nThis is the newest of {many} conversations: `sealdesk list` shows them, --conversation names one."
            )
        }
        _ => String::new(),
    }
}

/// `sealdesk verify`.
///
/// # Errors
/// [`Error`].
pub fn verify(args: &VerifyArgs) -> Result<(), Error> {
    let desk = home::any_desk(&args.home)?;
    let view = conversation(&desk, args.conversation.as_deref())?;
    if args.json {
        return terminal::out(&lines::line("verified", &lines::verified(&view), Some(&view.id), None));
    }
    terminal::out(&(safety(&view) + &others(&desk, args.conversation.as_deref())))
}

/// Safety number and readers, for people.
pub(crate) fn safety(view: &ConversationView) -> String {
    let mut out = format!("Conversation {} about {}\n\n", &view.id.to_string()[..16], view.topic);
    match &view.safety_number {
        Some(number) => {
            out += "Safety number:\n";
            let groups: Vec<_> = number.split_whitespace().collect();
            groups.chunks(4).for_each(|row| out += &format!("    {}\n", row.join(" ")));
            out += "Compare it with the other side by another channel. The same on both sides: nobody stands between.\n";
        }
        None => out += "No safety number yet: nobody on the other side is verified.\n",
    }
    out += "\nWho can read, or could have:\n";
    for reader in &view.readers {
        let name = reader
            .name
            .as_deref()
            .map_or_else(|| lines::role(reader.role).to_string(), |n| line(n).into_owned());
        out += &format!(
            "    {name}{}{}{}{}  device {}\n",
            if reader.me { " (this device)" } else { "" },
            if reader.current { "" } else { ", earlier" },
            if reader.new_device { ", NEW DEVICE" } else { "" },
            reader.refused.map_or_else(String::new, |code| format!(
                ", NOT VERIFIED ANY MORE ({code}): nothing is sent to it"
            )),
            &reader.device.to_string()[..16],
        );
    }
    out
}

/// `sealdesk export`.
///
/// # Errors
/// [`Error`].
pub fn export(args: &ExportArgs) -> Result<(), Error> {
    private_file::demand_absent(&args.out)?;
    let desk = home::any_desk(&args.home)?;
    let view = conversation(&desk, args.conversation.as_deref())?;
    let mut messages = Vec::new();
    let mut before = u64::MAX;
    loop {
        let mut page = desk.page(&view.id, before, 200).map_err(home::desk_error)?;
        let Some(first) = page.first() else { break };
        before = first.place;
        page.append(&mut messages);
        messages = page;
    }
    let name = desk.engine().org().settings().name.clone();
    let others = others(&desk, args.conversation.as_deref());
    let saved = if args.attachments { fetch::attachments(desk, args, &messages)? } else { BTreeMap::new() };
    let files = |message: &Message| saved.get(&message.place).cloned();
    let exported = Exported { organisation: &name, view: &view, messages: &messages, files: &files };
    let text = document(&exported, args.format);
    private_file::create(&args.out, text.as_bytes(), Access::Owner)?;
    terminal::out(&format!(
        "{} messages of {} written to {}.{others}",
        messages.len(),
        time::date(view.opened),
        args.out.display()
    ))
}
