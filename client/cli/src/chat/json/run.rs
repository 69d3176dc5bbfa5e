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
use sealdesk_client::{Command, ConversationView, Event, LinkState, Message, Owner, Phase, Problem};
use sealdesk_native::{Answer, Done, Handle};
use sealdesk_protocol::conversation::Kind;
use sealdesk_protocol::conversation::content::Text;
use sealdesk_protocol::ids::ConversationId;
use serde_json::{Value, json};

use super::input::{Line, MAX_LINE, Request, parse};
use super::output;
use super::stdin::{Came, lines};
use crate::chat::book::{Book, message_name, parse_message_name, refused};
use crate::chat::{Availability, Session, find_attachment, transcript};
use crate::display::media_type;
use crate::error::{Error, Exit};
use crate::terminal::out;

type Answering = FuturesUnordered<Pin<Box<dyn Future<Output = Answered> + Send>>>;

/// What an input line came to.
struct Answered {
    id: Option<Value>,
    result: Result<Done, Problem>,
}

struct Runner {
    session: Session,
    book: Book,
    answering: Answering,
    /// Place of the last message that was written, by conversation.
    written: BTreeMap<ConversationId, u64>,
    assigned: BTreeMap<ConversationId, Value>,
    /// What stopped the client, when it stopped by itself.
    last: Option<Problem>,
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
        last: None,
    };
    runner.ready().await?;
    runner.talk().await?;
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
            let (id, unread) = (view.id, view.unread);
            self.book.put(view);
            for message in transcript::unread(&self.session.handle, id, unread).await.map_err(problem)? {
                self.message(&message).await?;
            }
        }
        Ok(())
    }

    async fn talk(&mut self) -> Result<(), Error> {
        let mut input = lines();
        let mut stop = Box::pin(stopped());
        loop {
            tokio::select! {
                biased;
                Some(answered) = self.answering.next() => self.answer(&answered)?,
                event = self.session.events.next() => match event {
                    Some(event) => self.event(event).await?,
                    None => return Err(self.ended()),
                },
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
        if drained { Ok(()) } else { Err(Error::Undelivered) }
    }

    fn answer(&mut self, answered: &Answered) -> Result<(), Error> {
        match &answered.result {
            Ok(done) => {
                let mut body = json!({});
                if let Some(message) = &done.message {
                    body["message"] = message_name(message).into();
                }
                out(&output::line("done", &body, done.conversation.as_ref(), answered.id.as_ref()))
            }
            Err(why) => self.error(answered.id.as_ref(), None, why),
        }
    }

    fn error(
        &self,
        id: Option<&Value>,
        conversation: Option<&ConversationId>,
        why: &Problem,
    ) -> Result<(), Error> {
        out(&output::line("error", &output::problem(why), conversation, id))
    }

    async fn line(&mut self, line: &[u8]) -> Result<(), Error> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let Line { id, conversation, request } = match parse(line) {
            Ok(line) => line,
            Err((id, why)) => return self.error(id.as_ref(), None, &why),
        };
        match self.request(id.clone(), conversation.as_deref(), request).await {
            Err(Failed::Refused(why)) => self.error(id.as_ref(), None, &why),
            Err(Failed::Fatal(error)) => Err(error),
            Ok(()) => Ok(()),
        }
    }

    async fn resolve(&mut self, prefix: Option<&str>) -> Result<ConversationId, Problem> {
        if let Ok(id) = self.book.resolve(prefix) {
            return Ok(id);
        }
        // The newest conversations may stand in events that were not read yet.
        for view in self.session.handle.conversations().await? {
            if self.book.get(&view.id).is_none() {
                self.book.put(view);
            }
        }
        self.book.resolve(prefix)
    }

    async fn request(
        &mut self,
        id: Option<Value>,
        named: Option<&str>,
        request: Request,
    ) -> Result<(), Failed> {
        let handle = self.session.handle.clone();
        match request {
            Request::Open { topic, language, notice } => {
                let notice = self.notice(&language, notice)?;
                // Awaited at once: the lines after it may mean this conversation.
                let done = handle.command(Command::Open { topic, language, notice }).await;
                self.answer(&Answered { id, result: done })?;
            }
            Request::List => {
                for view in handle.conversations().await? {
                    out(&output::line("state", &output::state(&view), Some(&view.id), id.as_ref()))?;
                    self.book.put(view);
                }
            }
            Request::Available { on, capacity } => {
                let now = self.session.availability;
                let to = Availability { available: on, capacity: capacity.unwrap_or(now.capacity), ..now };
                let Availability { available, capacity, manual } = to;
                let answer = handle.submit(Command::SetAvailability { available, capacity, manual }).await?;
                self.session.availability = to;
                self.wait_for(id, answer);
            }
            Request::Claim => {
                // What waits is in no vault yet: its whole id is needed.
                let conversation = named.and_then(|text| text.parse().ok()).ok_or_else(|| {
                    refused(
                        "conversation_needed",
                        "A claim names the whole id of a conversation.",
                        "Take it from `waiting`.",
                    )
                })?;
                let answer = handle.submit(Command::Claim { conversation }).await?;
                self.wait_for(id, answer);
            }
            request => {
                let conversation = self.resolve(named).await?;
                self.in_conversation(id, conversation, request, &handle).await?;
            }
        }
        Ok(())
    }

    async fn in_conversation(
        &mut self,
        id: Option<Value>,
        conversation: ConversationId,
        request: Request,
        handle: &Handle,
    ) -> Result<(), Failed> {
        let send = |kind| Command::Send { conversation, kind };
        let command = match request {
            Request::Text(text) => send(Kind::Text(Text(text))),
            Request::Rating { stars, text } => send(Kind::Rating((stars, Text(text)))),
            Request::Typing(on) => Command::Typing { conversation, on },
            Request::Accept => Command::Accept { conversation },
            Request::Reassign => Command::AllowReassignment { conversation },
            Request::Close => Command::Close { conversation },
            Request::File { path, name, media_type: stated } => {
                let name = name.unwrap_or_else(|| {
                    path.file_name().map_or_else(|| "file".into(), |n| n.to_string_lossy().into_owned())
                });
                let kind = stated.unwrap_or_else(|| media_type(&path).into());
                let answer = handle.send_file(conversation, &path, name, kind).await?;
                self.wait_for(id, answer);
                return Ok(());
            }
            Request::Save { message, to } => {
                let message = parse_message_name(&message).ok_or_else(|| {
                    refused(
                        "unknown_message",
                        "A message is named DEVICE:NUMBER.",
                        "Take it from a `message` line.",
                    )
                })?;
                let attachment = find_attachment(handle, conversation, message).await?;
                let answer = handle.save_file(conversation, message, attachment.blob, &to).await?;
                self.wait_for(id, answer);
                return Ok(());
            }
            Request::Verify => {
                let view = self.book.get(&conversation);
                let body = view.map(output::verified).unwrap_or_default();
                out(&output::line("verified", &body, Some(&conversation), id.as_ref()))?;
                return Ok(());
            }
            // Led elsewhere before.
            Request::Open { .. } | Request::List | Request::Available { .. } | Request::Claim => {
                return Ok(());
            }
        };
        let answer = handle.submit(command).await?;
        self.wait_for(id, answer);
        Ok(())
    }

    fn wait_for(&mut self, id: Option<Value>, answer: Answer) {
        self.answering.push(Box::pin(async move { Answered { id, result: answer.await } }));
    }

    /// The current notice in a language; a program that names one has to name that one.
    fn notice(
        &self,
        language: &str,
        named: Option<sealdesk_protocol::ids::NoticeHash>,
    ) -> Result<sealdesk_protocol::ids::NoticeHash, Problem> {
        let settings = self.session.settings();
        match named {
            Some(hash) if settings.has_notice(&hash) => Ok(hash),
            Some(_) => Err(refused(
                "consent_outdated",
                "That privacy notice is not the current one.",
                "Show the current notice of `ready` and ask again.",
            )),
            None => settings.notice(language).map(|n| n.hash()).ok_or_else(|| {
                refused("no_notice", "The organisation has no privacy notice.", "Fetch its current org.json.")
            }),
        }
    }

    async fn event(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Conversation(view) => self.conversation(*view),
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
            Event::Waiting(entries) => out(&output::line("waiting", &output::waiting(&entries), None, None)),
            Event::Problem { conversation, problem } => {
                self.error(None, conversation.as_ref(), &problem)?;
                self.last = Some(problem);
                Ok(())
            }
            _ => Ok(()),
        }
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
        // What only counts messages is no change of state.
        let told = |view: &ConversationView| {
            output::state(&ConversationView { unread: 0, updated: 0, ..view.clone() })
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

    /// Again whenever what it says changes.
    fn assigned(&mut self, view: &ConversationView) -> Result<(), Error> {
        let Some(body) = output::assigned(view) else { return Ok(()) };
        if self.assigned.get(&view.id) == Some(&body) {
            return Ok(());
        }
        out(&output::line("assigned", &body.clone(), Some(&view.id), None))?;
        self.assigned.insert(view.id, body);
        Ok(())
    }

    /// A message of the peer, once; then it counts as read.
    async fn message(&mut self, message: &Message) -> Result<(), Error> {
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

/// Why a line was not carried out.
enum Failed {
    Refused(Problem),
    Fatal(Error),
}

impl From<Problem> for Failed {
    fn from(why: Problem) -> Self {
        Self::Refused(why)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

/// Ctrl-C, or a polite kill.
async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
