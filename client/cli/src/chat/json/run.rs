//! The loop of the JSON chat.
//!
//! ```text
//! ready, unread messages -> { answers, events, input lines } -> end of input -> drain -> exit
//! ```
//! Answers go before events, so that `done` stands before the `receipt` of the same message.

use std::collections::BTreeMap;
use std::pin::Pin;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use sealdesk_client::{Owner, Problem};
use sealdesk_native::Done;
use sealdesk_protocol::ids::ConversationId;
use serde_json::{Value, json};

use super::input::MAX_LINE;
use super::output;
use super::stdin::{Came, lines};
use crate::chat::book::{Book, message_name, refused};
use crate::chat::refusal::Refusal;
use crate::chat::signals::stopped;
use crate::chat::{Session, transcript};
use crate::error::{Error, Exit};
use crate::terminal::out;

type Answering = FuturesUnordered<Pin<Box<dyn Future<Output = Answered> + Send>>>;

/// What an input line came to.
pub(super) struct Answered {
    pub(super) id: Option<Value>,
    pub(super) result: Result<Done, Problem>,
}

pub(super) struct Runner {
    pub(super) session: Session,
    pub(super) book: Book,
    pub(super) answering: Answering,
    /// Place of the last message that was written, by conversation.
    pub(super) written: BTreeMap<ConversationId, u64>,
    pub(super) assigned: BTreeMap<ConversationId, Value>,
    /// What may be claimed.
    pub(super) waiting: Vec<ConversationId>,
    /// What stopped the client, when it stopped by itself.
    pub(super) last: Option<Problem>,
    pub(super) refusal: Refusal,
}

/// Runs until the end of input, or until the client stops.
///
/// # Errors
/// [`Error`].
pub(crate) async fn run(session: Session) -> Result<(), Error> {
    let mut runner = Runner {
        session,
        book: Book::default(),
        answering: Answering::new(),
        written: BTreeMap::new(),
        assigned: BTreeMap::new(),
        waiting: Vec::new(),
        last: None,
        refusal: Refusal::default(),
    };
    let stop = stopped();
    runner.ready().await?;
    runner.talk(stop).await?;
    runner.leave().await
}

fn problem(error: Problem) -> Error {
    Error::Problem(error, Exit::Vault)
}

impl Runner {
    async fn ready(&mut self) -> Result<(), Error> {
        let views = self.session.handle.conversations().await.map_err(problem)?;
        let settings = self.session.settings();
        let conversations: Vec<Value> = views
            .iter()
            .map(|v| {
                let mut state = output::state(v);
                state["conversation"] = v.id.to_string().into();
                state
            })
            .collect();
        let ready = json!({
            "version": 1,
            "party": match self.session.owner { Owner::Agent => "agent", Owner::Customer => "customer" },
            "organisation": settings.name,
            "root": self.session.org.root().to_string(),
            "relay": self.session.relay,
            "unprotected": self.session.unprotected,
            "topics": output::topics(settings),
            "notices": output::notices(settings),
            "conversations": conversations,
        });
        out(&output::line("ready", &ready, None, None))?;
        for view in views {
            self.assigned(&view)?;
            let id = view.id;
            self.book.put(view);
            for message in transcript::unread(&self.session.handle, id).await.map_err(problem)? {
                self.message(&message).await?;
            }
        }
        Ok(())
    }

    async fn talk(&mut self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let mut input = lines();
        let mut stop = Box::pin(stop);
        loop {
            tokio::select! {
                biased;
                Some(answered) = self.answering.next() => self.answer(&answered)?,
                event = self.session.events.next() => match event {
                    Some(event) => self.event(event).await?,
                    None => return Err(self.ended()),
                },
                renewal = self.session.watch.next(&self.session.org) => {
                    let renewed = self.session.renew(renewal).await;
                    self.renewed(&renewed)?;
                }
                came = input.recv() => match came {
                    Some(Came::Line(line)) => self.line(&line).await?,
                    Some(Came::TooLong) => {
                        let why = refused("too_large", format!("A line has at most {MAX_LINE} bytes."), "Send a file instead.");
                        self.error(None, None, &why)?;
                    }
                    None => return Ok(()),
                },
                () = &mut stop => {
                    self.session.handle.clone().shutdown(std::time::Duration::ZERO).await;
                    return Err(Error::Interrupted);
                }
            }
        }
    }

    /// The client stopped by itself: the last problem says why.
    fn ended(&mut self) -> Error {
        let why = self
            .last
            .take()
            .unwrap_or_else(|| refused("stopped", "The client has stopped.", "Start it again."));
        Error::Problem(why, Exit::Vault)
    }

    async fn leave(mut self) -> Result<(), Error> {
        let drain = self.session.drain;
        let mut leaving = Box::pin(self.session.handle.clone().shutdown(drain));
        let mut stop = Box::pin(stopped());
        let drained = loop {
            tokio::select! {
                biased;
                Some(answered) = self.answering.next() => self.answer(&answered)?,
                Some(event) = self.session.events.next() => self.event(event).await?,
                drained = &mut leaving => break drained,
                () = &mut stop => return Err(Error::Interrupted),
            }
        };
        while let Some(event) = self.session.events.try_next() {
            self.event(event).await?;
        }
        while let Some(answered) = self.answering.next().await {
            self.answer(&answered)?;
        }
        if drained { Ok(()) } else { Err(self.refusal.end()) }
    }

    pub(super) fn answer(&mut self, answered: &Answered) -> Result<(), Error> {
        match &answered.result {
            Ok(done) => {
                let mut body = json!({});
                if let Some(message) = &done.message {
                    body["message"] = message_name(message).into();
                }
                if let Some(transfer) = &done.transfer {
                    body["transfer"] = transfer.to_string().into();
                }
                out(&output::line("done", &body, done.conversation.as_ref(), answered.id.as_ref()))
            }
            Err(why) => self.error(answered.id.as_ref(), None, why),
        }
    }

    pub(super) fn error(
        &self,
        id: Option<&Value>,
        conversation: Option<&ConversationId>,
        why: &Problem,
    ) -> Result<(), Error> {
        out(&output::line("error", &output::problem(why), conversation, id))
    }
}
