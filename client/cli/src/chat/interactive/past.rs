//! What was before: the end of a transcript.

use sealdesk_client::{Message, MessageState, Problem};
use sealdesk_protocol::conversation::Kind;
use sealdesk_protocol::ids::ConversationId;

use super::{Chat, Style};
use crate::chat::transcript;
use crate::error::Error;
use crate::own::{author, words};
use crate::time;

/// Messages that are shown of a conversation to which one comes back.
pub(super) const RECALLED: usize = 10;

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
}
