//! Events -> lines of output.

use sealdesk_client::{Command, ConversationView, Event, LinkState, Message, Owner, Phase};
use sealdesk_protocol::ids::ConversationId;
use serde_json::json;

use super::output;
use super::run::Runner;
use crate::chat::Renewed;
use crate::chat::book::{message_name, refused};
use crate::error::{Error, Exit};
use crate::terminal::out;

impl Runner {
    pub(super) async fn event(&mut self, event: Event) -> Result<(), Error> {
        self.refusal.heard(&event);
        match event {
            Event::Conversation(view) => self.conversation(*view),
            Event::Gone(id) => self.gone(&id),
            Event::Message(message) if message.mine => match output::receipt(message.state) {
                Some(state) => {
                    let body = json!({"message": message_name(&message.id), "state": state});
                    out(&output::line("receipt", &body, Some(&message.conversation), None))
                }
                None => Ok(()),
            },
            Event::Message(message) => self.message(&message).await,
            Event::Link { conversation, state } => self.link(conversation.as_ref(), &state),
            Event::Typing { conversation, on, .. } => {
                out(&output::line("typing", &json!({"on": on}), Some(&conversation), None))
            }
            Event::Transfer { transfer, conversation, done, total, state } => {
                let body = output::transfer(&transfer.to_string(), &state, done, total);
                out(&output::line("transfer", &body, Some(&conversation), None))
            }
            Event::Waiting(entries) => {
                self.waiting = entries.iter().map(|entry| entry.conversation).collect();
                out(&output::line("waiting", &output::waiting(&entries), None, None))
            }
            Event::Problem { conversation, problem } => {
                self.error(None, conversation.as_ref(), &problem)?;
                self.last = Some(problem);
                Ok(())
            }
            Event::Resolved { conversation, code, text } => {
                let body = json!({"code": code, "text": text});
                out(&output::line("resolved", &body, conversation.as_ref(), None))
            }
            _ => Ok(()),
        }
    }

    /// A file of the home was renewed, or is not usable.
    pub(super) fn renewed(&mut self, renewed: &Renewed) -> Result<(), Error> {
        let (kind, body) = match renewed {
            Renewed::Org { .. } => ("organisation", output::organisation(self.session.settings())),
            Renewed::Certificate(until) => ("certificate", json!({"until": until})),
            Renewed::Bad(error) => ("error", output::error(error)),
            Renewed::Refused(why) => ("error", output::problem(why)),
        };
        out(&output::line(kind, &body, None, None))
    }

    fn link(&mut self, conversation: Option<&ConversationId>, state: &LinkState) -> Result<(), Error> {
        out(&output::line("link", &output::link(state), conversation, None))?;
        match state {
            LinkState::Replaced => Err(Error::Problem(
                refused(
                    "replaced",
                    "Another program uses this device now.",
                    "Stop the other program; a vault is used by one program at a time.",
                ),
                Exit::Vault,
            )),
            // A customer's other conversations go on.
            LinkState::Refused(why) if self.session.owner == Owner::Agent => {
                Err(Error::Problem(why.clone(), Exit::Relay))
            }
            _ => Ok(()),
        }
    }

    fn conversation(&mut self, view: ConversationView) -> Result<(), Error> {
        let before = self.book.get(&view.id);
        if before == Some(&view) {
            return Ok(());
        }
        let was_closed = before.is_some_and(|b| b.phase == Phase::Closed);
        // What only counts messages or files is no change of state.
        let told = |view: &ConversationView| {
            output::state(&ConversationView { unread: 0, updated: 0, uploads: Vec::new(), ..view.clone() })
        };
        if before.map(told) != Some(told(&view)) {
            out(&output::line("state", &output::state(&view), Some(&view.id), None))?;
        }
        self.assigned(&view)?;
        if view.phase == Phase::Closed && !was_closed {
            out(&output::line("closed", &json!({}), Some(&view.id), None))?;
        }
        self.book.put(view);
        Ok(())
    }

    fn gone(&mut self, id: &ConversationId) -> Result<(), Error> {
        self.written.remove(id);
        self.assigned.remove(id);
        if self.book.remove(id) { out(&output::line("gone", &json!({}), Some(id), None)) } else { Ok(()) }
    }

    /// Again whenever what it says changes.
    pub(super) fn assigned(&mut self, view: &ConversationView) -> Result<(), Error> {
        let Some(body) = output::assigned(view) else { return Ok(()) };
        if self.assigned.get(&view.id) == Some(&body) {
            return Ok(());
        }
        out(&output::line("assigned", &body.clone(), Some(&view.id), None))?;
        self.assigned.insert(view.id, body);
        Ok(())
    }

    /// A message of the peer, once; then it counts as read.
    pub(super) async fn message(&mut self, message: &Message) -> Result<(), Error> {
        // Who speaks stands before what was said, in whatever order both came.
        if !message.mine && !self.assigned.contains_key(&message.conversation) {
            let views = self.session.handle.conversations().await;
            let views = views.map_err(|problem| Error::Problem(problem, Exit::Vault))?;
            if let Some(view) = views.into_iter().find(|view| view.id == message.conversation) {
                self.conversation(view)?;
            }
        }
        let written = self.written.entry(message.conversation).or_default();
        if message.mine || message.place <= *written {
            return Ok(());
        }
        *written = message.place;
        let from = match self.session.owner {
            Owner::Customer => "agent",
            Owner::Agent => "customer",
        };
        out(&output::line("message", &output::message(message, from), Some(&message.conversation), None))?;
        let read = Command::MarkRead { conversation: message.conversation, counter: message.id.counter };
        // Not awaited: a read mark that is lost is made again with the next message.
        drop(self.session.handle.submit(read).await);
        Ok(())
    }
}
