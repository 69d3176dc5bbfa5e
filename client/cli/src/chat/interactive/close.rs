//! A close is asked about first: it is for good, and for both sides.
//!
//! ```text
//! /close -> the question -> a line typed after it -> yes: closed
//! /close now -> closed
//! ```

use sealdesk_client::{Command, Problem};
use sealdesk_protocol::ids::ConversationId;

use super::list::who;
use super::{Chat, Finished, Style};
use crate::chat::book::{is_open, peer, refused};
use crate::error::Error;

/// Stands before the answer.
pub(super) const QUESTION: &str = "Close it (yes/no): ";

/// Nothing else is said until it is closed.
const OFFLINE: &str = "It is closed when the connection is back; what was written before goes first.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    Neither,
}

fn answer(typed: &str) -> Answer {
    match typed.trim().to_lowercase().as_str() {
        "yes" | "y" => Answer::Yes,
        "no" | "n" | "" => Answer::No,
        _ => Answer::Neither,
    }
}

impl Chat {
    pub(super) async fn close(&mut self, now: bool) -> Result<Result<(), Problem>, Error> {
        let id = match self.here() {
            Ok(id) => id,
            Err(problem) => return Ok(Err(problem)),
        };
        let Some(view) = self.book.get(&id).filter(|view| is_open(view)) else {
            return Ok(Err(self.ended_already()));
        };
        if view.closing {
            let text = "This conversation is being closed already.";
            return Ok(Err(refused("closing", text, "What was written before goes first.")));
        }
        let with = peer(view).map_or_else(String::new, |_| format!(" with {}", who(view)));
        if now {
            return Ok(self.close_at_once(id).await);
        }
        if !self.screen.can_ask() {
            return Ok(Err(refused(
                "no_terminal",
                "Closing asks first, and there is no terminal.",
                "/close now closes without being asked.",
            )));
        }
        let number = self.number(id);
        self.closing = Some(id);
        let said =
            format!("Close conversation {number}{with}? It ends for both sides and cannot be opened again.");
        self.screen.say(&said, Style::Warning).map(Ok)
    }

    /// What was typed after the question.
    pub(super) async fn close_answered(&mut self, id: ConversationId, typed: &str) -> Result<(), Error> {
        let result = match answer(typed) {
            Answer::No => return self.screen.say("Nothing was closed.", Style::Faint),
            Answer::Neither => Err(refused(
                "bad_input",
                "That is neither yes nor no: nothing was closed, and nothing was sent.",
                "/close asks again.",
            )),
            Answer::Yes => self.close_at_once(id).await,
        };
        result.or_else(|problem| self.problem(&problem))
    }

    fn ended_already(&self) -> Problem {
        refused("closed", "This conversation has ended already.", self.elsewhere())
    }

    async fn close_at_once(&mut self, conversation: ConversationId) -> Result<(), Problem> {
        let answer = self.session.handle.submit(Command::Close { conversation }).await?;
        let said = if self.offline { OFFLINE } else { "" };
        self.working.push(Box::pin(async move {
            Finished { result: answer.await.map(|_| said.to_string()), text: None }
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_yes_closes() {
        for (typed, meant) in [
            ("yes", Answer::Yes),
            (" Y ", Answer::Yes),
            ("no", Answer::No),
            ("", Answer::No),
            ("yes, it will come tomorrow", Answer::Neither),
            ("/quit", Answer::Neither),
        ] {
            assert_eq!(answer(typed), meant, "{typed}");
        }
    }
}
