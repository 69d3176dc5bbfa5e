//! Events -> lines on the screen.

use sealdesk_client::{
    ConversationView, Event, LinkState, Message, MessageState, Owner, Phase, TransferState,
};
use sealdesk_protocol::ids::ConversationId;

use super::list::{awaits, short};
use super::{Chat, Style};
use crate::chat::book::{is_open, peer};
use crate::chat::{AWAITED, Renewed};
use crate::display::line;
use crate::error::{Error, Exit};
use crate::time;

/// The chat that runs keeps the address that it was started with.
const MOVED: &str = "The relay has another address now: leave with /quit and start the chat again.";

impl Chat {
    pub(super) async fn event(&mut self, event: Event) -> Result<(), Error> {
        self.refusal.heard(&event);
        match event {
            Event::Conversation(view) => {
                let talked = self.talks();
                self.view(*view)?;
                if talked && !self.talks() { self.go_on().await } else { Ok(()) }
            }
            Event::Gone(id) => {
                let talked = self.talks();
                self.gone(id)?;
                if talked && !self.talks() { self.go_on().await } else { Ok(()) }
            }
            Event::Message(message) if message.mine => self.own(&message),
            Event::Message(message) => self.message(&message).await,
            Event::Link { state, .. } => self.link(&state),
            Event::Transfer { state, done, total, .. } => self.transfer(&state, done, total),
            Event::Waiting(entries) => {
                let more = entries.len() > self.waiting.len();
                self.waiting = entries;
                if more { self.print_waiting() } else { Ok(()) }
            }
            Event::Problem { problem, .. } => {
                self.problem(&problem)?;
                self.last = Some(problem);
                Ok(())
            }
            Event::Resolved { text, .. } => self.screen.say(text, Style::Faint),
            _ => Ok(()),
        }
    }

    /// A file of the home was renewed, or is not usable.
    pub(super) fn renewed(&mut self, renewed: &Renewed) -> Result<(), Error> {
        match renewed {
            Renewed::Org { moved } => {
                let more = match self.session.owner {
                    Owner::Customer => " /new lists its topics.",
                    Owner::Agent => "",
                };
                self.screen.say(&format!("The organisation's settings were renewed.{more}"), Style::Faint)?;
                if *moved { self.screen.say(MOVED, Style::Warning) } else { Ok(()) }
            }
            Renewed::Certificate(until) => {
                let said =
                    format!("This device's certificate was renewed, good until {}.", time::full(*until));
                self.screen.say(&said, Style::Faint)
            }
            Renewed::Refused(why) => self.problem(why),
            Renewed::Bad(error) => {
                let said = format!("{} {}", line(&format!("{error}.")), line(&error.hint()));
                self.screen.say(&said, Style::Warning)
            }
        }
    }

    pub(super) fn view(&mut self, view: ConversationView) -> Result<(), Error> {
        let id = view.id;
        let number = self.number(id);
        let tag = self.tag(number);
        let shown = self.shown.entry(id).or_default();
        let mut said: Vec<(String, Style)> = Vec::new();
        let mut waits = false;
        let who = peer(&view)
            .map(|p| p.name.as_deref().map_or_else(|| "a customer".into(), |n| line(n).into_owned()));
        if let (Some(who), Some(_)) = (&who, &view.safety_number)
            && matches!(view.phase, Phase::Assigned | Phase::Active)
        {
            if shown.peer != *who {
                shown.peer.clone_from(who);
                shown.accepted = false;
                waits = awaits(&view, self.session.availability.manual);
                let about = format!("about {}", line(view.topic.as_str()));
                said.push(match self.session.owner {
                    Owner::Customer => (format!("{tag}{who} will answer; the name is certified by the organisation. /verify shows the safety number."), Style::Plain),
                    Owner::Agent => (format!("{tag}Conversation {number} with {who} {about}, language {}.", line(&view.language)), Style::Name),
                });
                if peer(&view).is_some_and(|p| p.new_device) {
                    said.push((
                        format!("{tag}{who} uses a new device that no earlier one vouched for."),
                        Style::Warning,
                    ));
                }
            }
            if view.phase == Phase::Active && !shown.accepted {
                shown.accepted = true;
                if self.session.owner == Owner::Customer {
                    said.push((format!("{tag}{who} is here."), Style::Faint));
                }
            }
        }
        if view.phase == Phase::Queued && shown.peer.is_empty() && shown.place == 0 {
            shown.peer = " ".into();
            said.push((format!("{tag}Looking for somebody who can answer."), Style::Faint));
        }
        if view.reassignment_waits && !shown.reassignment {
            said.push((
                format!("{tag}Nobody accepted in time. /reassign lets another agent take over."),
                Style::Warning,
            ));
        }
        shown.reassignment = view.reassignment_waits;
        if view.phase == Phase::Closed && !shown.closed {
            shown.closed = true;
            said.push((format!("{tag}The conversation is closed."), Style::Name));
        }
        if view.phase == Phase::Lost && !shown.lost {
            shown.lost = true;
            said.push((format!("{tag}Conversation {number} went to somebody else."), Style::Faint));
        }
        let is_new = is_open(&view) && !self.book.get(&id).is_some_and(is_open);
        if is_new && !self.talks() {
            self.select(Some(id));
        }
        self.book.put(view);
        self.name_in_prompt();
        if waits {
            let switch =
                if self.current == Some(id) { String::new() } else { format!("/switch {number}, then ") };
            said.push((format!("{tag}It waits for you: {switch}/accept takes it."), Style::Warning));
        }
        said.into_iter().try_for_each(|(text, style)| self.screen.say(&text, style))
    }

    /// Its number stays its own: what a person types next to it never means another.
    fn gone(&mut self, id: ConversationId) -> Result<(), Error> {
        self.shown.remove(&id);
        if self.current == Some(id) {
            self.select(None);
        }
        if !self.book.remove(&id) {
            return Ok(());
        }
        let number = self.number(id);
        let said = format!("Conversation {number}, which nobody took, made room for new ones.");
        self.screen.say(&said, Style::Faint)
    }

    /// `[2] ` when there are several conversations.
    fn tag(&self, number: usize) -> String {
        if self.numbers.len() > 1 { format!("[{number}] ") } else { String::new() }
    }

    pub(super) async fn message(&mut self, message: &Message) -> Result<(), Error> {
        self.introduce(message.conversation).await?;
        let shown = self.shown.entry(message.conversation).or_default();
        if message.place <= shown.place {
            return Ok(());
        }
        shown.place = message.place;
        shown.unread = Some(message.id.counter);
        if self.current != Some(message.conversation) {
            shown.news.add(message.time);
        }
        let number = self.number(message.conversation);
        let tag = self.tag(number);
        let text = format!("{tag}{}", self.shown(message));
        self.screen.print(&text)
    }

    /// Who speaks is said before what was said, in whatever order both came.
    async fn introduce(&mut self, id: ConversationId) -> Result<(), Error> {
        let known = self.shown.get(&id).is_some_and(|shown| !shown.peer.trim().is_empty());
        if known {
            return Ok(());
        }
        let views = self.session.handle.conversations().await;
        let views = views.map_err(|problem| Error::Problem(problem, Exit::Vault))?;
        views.into_iter().find(|view| view.id == id).map_or(Ok(()), |view| self.view(view))
    }

    /// What became of an own message.
    fn own(&mut self, message: &Message) -> Result<(), Error> {
        let (id, counter, state) = (message.conversation, message.id.counter, message.state);
        let shown = self.shown.entry(id).or_default();
        shown.place = shown.place.max(message.place);
        if shown.states.insert(counter, state) == Some(state) || state == MessageState::Waiting {
            return Ok(());
        }
        self.ticks.put(id, counter, state, short(message));
        if state == MessageState::Undelivered { self.settled() } else { Ok(()) }
    }

    pub(super) fn settled(&mut self) -> Result<(), Error> {
        for (id, state, said) in self.ticks.take() {
            let number = self.number(id);
            let tag = self.tag(number);
            let (ticks, style) = match state {
                MessageState::Sent => ("✓ sent", Style::Faint),
                MessageState::Delivered => ("✓✓ delivered", Style::Faint),
                MessageState::Read => ("✓✓ read", Style::Faint),
                MessageState::Undelivered => ("✗ NOT DELIVERED", Style::Warning),
                _ => continue,
            };
            self.screen.say(&format!("{tag}      {ticks}: {said}"), style)?;
        }
        Ok(())
    }

    fn link(&mut self, state: &LinkState) -> Result<(), Error> {
        match state {
            LinkState::Online => {
                self.offline = false;
                self.uncertified = None;
                self.screen.say("Connected.", Style::Faint)
            }
            LinkState::Offline if !self.offline => {
                self.offline = true;
                self.screen.say("Not connected; trying again by itself.", Style::Faint)
            }
            LinkState::Offline | LinkState::Connecting => Ok(()),
            LinkState::Uncertified(why) if self.uncertified == Some(why.code) => Ok(()),
            LinkState::Uncertified(why) => {
                self.uncertified = Some(why.code);
                // Why has mostly just been said.
                if self.last.as_ref().is_none_or(|told| told.code != why.code) {
                    self.screen.say(&line(&why.text), Style::Warning)?;
                }
                self.screen.say(AWAITED, Style::Warning)
            }
            LinkState::Replaced => Err(Error::Problem(
                crate::chat::book::refused(
                    "replaced",
                    "Another program uses this device now.",
                    "Stop the other program; a vault is used by one program at a time.",
                ),
                Exit::Vault,
            )),
            LinkState::Refused(why) if self.session.owner == Owner::Agent => {
                Err(Error::Problem(why.clone(), Exit::Relay))
            }
            LinkState::Refused(why) => self.problem(&why.clone()),
        }
    }

    fn transfer(&mut self, state: &TransferState, done: u64, total: u64) -> Result<(), Error> {
        match state {
            TransferState::Failed(why) => self.problem(&why.clone()),
            TransferState::Uploading | TransferState::Downloading if total > 4 << 20 => {
                // One line for each quarter of a large file.
                let quarter = |n: u64| n.saturating_mul(4) / total.max(1);
                if done > 0 && quarter(done) != quarter(done.saturating_sub(32 * 1024)) {
                    let what = if *state == TransferState::Uploading { "sent" } else { "fetched" };
                    let percent = done.saturating_mul(100) / total.max(1);
                    self.screen.say(&format!("{percent} % of the file {what}"), Style::Faint)
                } else {
                    Ok(())
                }
            }
            _ => Ok(()),
        }
    }

    pub(super) fn print_waiting(&mut self) -> Result<(), Error> {
        let mut lines = vec!["These wait; /claim N takes one:".to_string()];
        for (entry, n) in self.waiting.iter().zip(1..) {
            lines.push(format!(
                "  {n}  {} ({}) since {}",
                line(entry.topic.as_str()),
                line(&entry.language),
                time::clock(entry.since)
            ));
        }
        self.screen.print(&lines.join("\n"))
    }
}
