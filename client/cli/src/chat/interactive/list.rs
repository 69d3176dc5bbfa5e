//! The conversations: their list, and which is selected.

use sealdesk_client::{ConversationView, Message, Owner, Phase, Problem};
use sealdesk_protocol::conversation::{Kind, Role};
use sealdesk_protocol::ids::ConversationId;

use super::past::RECALLED;
use super::{Chat, Style};
use crate::chat::book::{is_open, peer, refused};
use crate::chat::{json, transcript};
use crate::display::line;
use crate::error::{Error, Exit};
use crate::own::{author, words};
use crate::time;

/// Characters of a message where it is only named.
const SHORT: usize = 40;

/// What arrived in a conversation while another was selected.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct News {
    messages: usize,
    /// Time of the first, ms.
    since: u64,
}

impl News {
    pub(super) fn add(&mut self, time: u64) {
        if self.messages == 0 {
            self.since = time;
        }
        self.messages += 1;
    }
}

/// A message where it is only named, on one line.
pub(super) fn short(message: &Message) -> String {
    if let Kind::Attachment(file) = &message.kind {
        return format!("[file] {}", cut(&line(&file.name)));
    }
    cut(&words(message).replace('\n', " "))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHORT) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.into(),
    }
}

impl Chat {
    pub(super) async fn switch(&mut self, n: usize) -> Result<Result<(), Problem>, Error> {
        let id = n.checked_sub(1).and_then(|at| self.numbers.get(at)).copied();
        let Some((id, view)) = id.and_then(|id| Some((id, self.book.get(&id)?))) else {
            return Ok(Err(refused(
                "unknown_conversation",
                "There is no such conversation.",
                "/list shows the numbers.",
            )));
        };
        let who = who(view);
        let stands = match view {
            view if !is_open(view) => ", which has ended",
            view if awaits(view, self.session.availability.manual) => ", which waits: /accept takes it",
            _ => "",
        };
        self.select(Some(id));
        let now = sentence(format!("Now in conversation {n} with {who}{stands}"));
        self.screen.say(&now, Style::Faint)?;
        self.recall(id, u64::MAX, RECALLED).await
    }

    /// Whether the selected conversation takes part in talking.
    pub(super) fn talks(&self) -> bool {
        self.current.and_then(|id| self.book.get(&id)).is_some_and(is_open)
    }

    /// The selected conversation, when something can be said in it: it has not ended, and is not being closed.
    pub(super) fn addressed(&self) -> Option<ConversationId> {
        self.current.filter(|id| self.book.get(id).is_none_or(|view| is_open(view) && !view.closing))
    }

    /// Where one can write when the selected conversation takes nothing.
    pub(super) fn elsewhere(&self) -> &'static str {
        let other =
            self.numbers.iter().any(|id| self.current != Some(*id) && self.book.get(id).is_some_and(is_open));
        match (self.session.owner, other) {
            (_, true) => "/list shows those that are open, /switch N goes to one.",
            (Owner::Customer, false) => "/new opens another.",
            (Owner::Agent, false) => "No other is open; new customers come by themselves.",
        }
    }

    /// The selected conversation has ended: on to the one that has waited longest for a word, if one is open.
    pub(super) async fn go_on(&mut self) -> Result<(), Error> {
        let open: Vec<_> =
            self.numbers.iter().filter(|id| self.book.get(id).is_some_and(is_open)).copied().collect();
        let mut next: Option<((bool, u64), ConversationId, Option<Message>)> = None;
        for id in open {
            let last = self.last_words(id).await.map_err(|p| Error::Problem(p, Exit::Vault))?;
            let news = self.shown.get(&id).map(|shown| shown.news).filter(|news| news.messages > 0);
            let waits = news.map(|news| news.since).or(last.as_ref().filter(|m| !m.mine).map(|m| m.time));
            let rank = (waits.is_none(), waits.or(last.as_ref().map(|m| m.time)).unwrap_or_default());
            if next.as_ref().is_none_or(|(best, ..)| rank < *best) {
                next = Some((rank, id, last));
            }
        }
        let Some((_, id, last)) = next else {
            let still =
                if self.current.is_some() { " /history and /export still mean this one." } else { "" };
            return self.screen.say(&format!("{}{still}", self.elsewhere()), Style::Faint);
        };
        let who = self.book.get(&id).map_or_else(String::new, who);
        self.select(Some(id));
        let number = self.number(id);
        let now = format!("Now in conversation {number} with {who}");
        let now = match last {
            Some(last) => format!("{now}; last words: {}", said(&last)),
            None => sentence(now),
        };
        self.screen.say(&now, Style::Name)
    }

    async fn last_words(&self, id: ConversationId) -> Result<Option<Message>, Problem> {
        Ok(transcript::last(&self.session.handle, id, u64::MAX, 1).await?.pop())
    }

    /// Those that are open, or all.
    pub(super) async fn print_list(&mut self, all: bool) -> Result<Result<(), Problem>, Error> {
        let (mut lines, mut left_out) = (Vec::new(), 0);
        for (at, id) in self.numbers.iter().enumerate() {
            let Some(view) = self.book.get(id) else { continue };
            let selected = self.current == Some(*id);
            if !(all || is_open(view)) {
                left_out += 1;
                continue;
            }
            let last = match self.last_words(*id).await {
                Ok(last) => last,
                Err(problem) => return Ok(Err(problem)),
            };
            let mark = if selected { "*" } else { " " };
            let news = self.shown.get(id).map_or(0, |shown| shown.news.messages);
            let news = if news == 0 { String::new() } else { format!("  {news} new") };
            let who = if matches!(view.phase, Phase::Queued) { String::new() } else { who(view) };
            lines.push(format!(
                "{mark} {}  {} {}  {}  {}  {}  {who}{news}{}",
                at + 1,
                time::date(view.updated),
                time::clock(view.updated),
                state(view),
                line(view.topic.as_str()),
                line(&view.language),
                last.map(|last| format!("\n       {}", said(&last))).unwrap_or_default(),
            ));
        }
        match (lines.is_empty(), left_out) {
            (true, 0) => lines.push("No conversation yet.".into()),
            (true, _) => lines.insert(0, "No conversation is open.".into()),
            (false, _) => {}
        }
        match left_out {
            0 => {}
            1 => lines.push("  1 that ended: /list all".into()),
            _ => lines.push(format!("  {left_out} that ended: /list all")),
        }
        self.screen.print(&lines.join("\n")).map(Ok)
    }
}

/// With a full stop, unless a name like "Mira K." brings it.
fn sentence(text: String) -> String {
    if text.ends_with('.') { text } else { text + "." }
}

pub(super) fn who(view: &ConversationView) -> String {
    let name = peer(view).and_then(|peer| peer.name.as_deref());
    name.map_or_else(|| "a customer".into(), |name| line(name).into_owned())
}

/// Whether this agent has to accept it by hand.
pub(super) fn awaits(view: &ConversationView, manual: bool) -> bool {
    let mine = view.readers.iter().any(|reader| reader.me && reader.role != Role::Customer);
    manual && mine && view.phase == Phase::Assigned
}

/// How it stands, for people.
fn state(view: &ConversationView) -> &'static str {
    match view.phase {
        Phase::Lost => "went to another agent",
        _ if is_open(view) && view.closing => "closing",
        phase => json::phase(phase),
    }
}

fn said(message: &Message) -> String {
    format!("{} {}: {}", time::clock(message.time), author(message), short(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::book::tests::view;

    #[test]
    fn the_list_says_how_a_conversation_ended_or_that_it_is_about_to() {
        let of = |phase, closing| state(&ConversationView { closing, ..view(1, phase, 1, Role::Agent) });
        assert_eq!(of(Phase::Active, false), "active");
        assert_eq!(of(Phase::Active, true), "closing");
        assert_eq!(of(Phase::Closed, true), "closed");
        assert_eq!(of(Phase::Lost, true), "went to another agent");
    }

    #[test]
    fn what_is_long_is_cut_and_says_so() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"é".repeat(SHORT)), "é".repeat(SHORT));
        assert_eq!(
            cut(&format!("{} and more", "é".repeat(SHORT - 1))),
            format!("{}…", "é".repeat(SHORT - 1))
        );
    }
}
