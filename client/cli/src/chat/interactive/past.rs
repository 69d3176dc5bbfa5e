//! What was before: the list of conversations, and the end of a transcript.

use sealdesk_client::{Message, MessageState, Phase, Problem};
use sealdesk_protocol::conversation::Kind;
use sealdesk_protocol::ids::ConversationId;

use super::{Chat, Style};
use crate::chat::book::{is_open, peer, refused};
use crate::chat::{json, transcript};
use crate::display::line;
use crate::error::Error;
use crate::own::{author, words};
use crate::time;

/// Messages that are shown of a conversation to which one comes back.
pub(super) const RECALLED: usize = 10;
/// Ended conversations in a list, unless all are asked for.
const ENDED: usize = 10;

impl Chat {
    /// A message as it stands on the screen, without the conversation's tag.
    pub(super) fn shown(&mut self, message: &Message) -> String {
        let mut notes = String::new();
        if message.state == MessageState::ReceivedAfterClose {
            notes += " (arrived after closing)";
        }
        if message.state == MessageState::Undelivered {
            notes += " (NOT DELIVERED)";
        }
        if message.state == MessageState::Waiting {
            notes += " (not sent yet)";
        }
        if message.weak_start {
            notes += " (weaker forward secrecy until the other side's keys rotate)";
        }
        let said = words(message).replace('\n', "\n      ");
        let name = self.screen.styled(&author(message), Style::Name);
        let mut text = format!("{} {name}{notes}: {said}", time::clock(message.time));
        if let Kind::Attachment(_) = message.kind {
            text += &format!("\n      /save {} fetches it", message.place);
        }
        text
    }

    /// The last messages up to this place, as they were.
    pub(super) async fn recall(
        &mut self,
        id: ConversationId,
        before: u64,
        count: usize,
    ) -> Result<Result<(), Problem>, Error> {
        let messages = match transcript::last(&self.session.handle, id, before, count).await {
            Ok(messages) => messages,
            Err(problem) => return Ok(Err(problem)),
        };
        let mut day = String::new();
        for message in &messages {
            let of_message = time::date(message.time);
            if day != of_message {
                self.screen.say(&of_message, Style::Faint)?;
                day = of_message;
            }
            let text = self.shown(message);
            self.screen.print(&text)?;
        }
        Ok(Ok(()))
    }

    pub(super) async fn history(&mut self, count: usize) -> Result<Result<(), Problem>, Error> {
        match self.here() {
            Ok(id) => self.recall(id, u64::MAX, count).await,
            Err(problem) => Ok(Err(problem)),
        }
    }

    pub(super) async fn switch(&mut self, n: usize) -> Result<Result<(), Problem>, Error> {
        let id = n.checked_sub(1).and_then(|at| self.numbers.get(at)).copied();
        let Some((id, view)) = id.and_then(|id| Some((id, self.book.get(&id)?))) else {
            return Ok(Err(refused(
                "unknown_conversation",
                "There is no such conversation.",
                "/list shows the numbers.",
            )));
        };
        let who = self.who(view);
        let ended = if is_open(view) { "" } else { ", which has ended" };
        self.current = Some(id);
        self.screen.say(&format!("Now in conversation {n} with {who}{ended}."), Style::Faint)?;
        self.recall(id, u64::MAX, RECALLED).await
    }

    fn who(&self, view: &sealdesk_client::ConversationView) -> String {
        let name = peer(view).and_then(|peer| peer.name.as_deref());
        name.map_or_else(|| "a customer".into(), |name| line(name).into_owned())
    }

    /// Those that are open, and the last ones that ended.
    pub(super) fn print_list(&mut self, all: bool) -> Result<(), Error> {
        let (mut lines, mut ended) = (Vec::new(), 0);
        for (at, id) in self.numbers.iter().enumerate().rev() {
            let Some(view) = self.book.get(id) else { continue };
            if !is_open(view) {
                ended += 1;
                if ended > ENDED && !all {
                    continue;
                }
            }
            let mark = if self.current == Some(*id) { "*" } else { " " };
            let unread = if view.unread == 0 { String::new() } else { format!("  {} unread", view.unread) };
            let who = if matches!(view.phase, Phase::Queued) { String::new() } else { self.who(view) };
            lines.push(format!(
                "{mark} {}  {}  {}  {}  {}{unread}",
                at + 1,
                time::full(view.updated),
                json::phase(view.phase),
                line(view.topic.as_str()),
                line(&who),
            ));
        }
        if lines.is_empty() {
            return self.screen.say("No conversation yet.", Style::Faint);
        }
        lines.reverse();
        if ended > ENDED && !all {
            lines.insert(0, format!("  {} that ended before: /list all", ended - ENDED));
        }
        self.screen.print(&lines.join("\n"))
    }
}
