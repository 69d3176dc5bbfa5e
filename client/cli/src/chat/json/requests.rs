//! Lines of input -> commands.

use sealdesk_client::{Command, Problem};
use sealdesk_native::{Answer, Handle};
use sealdesk_protocol::conversation::Kind;
use sealdesk_protocol::conversation::content::Text;
use sealdesk_protocol::ids::{ConversationId, NoticeHash};
use serde_json::{Value, json};

use super::input::{Line, Request, parse};
use super::output;
use super::run::{Answered, Runner};
use crate::chat::book::{named as beginning, parse_message_name, refused};
use crate::chat::{Availability, find_attachment};
use crate::display::media_type;
use crate::error::Error;
use crate::terminal::out;

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

impl Runner {
    pub(super) async fn line(&mut self, line: &[u8]) -> Result<(), Error> {
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
                out(&output::line("done", &json!({}), None, id.as_ref()))?;
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
                let prefix = named.ok_or_else(|| {
                    refused(
                        "conversation_needed",
                        "A claim names a conversation.",
                        "Take its id from `waiting`, or the beginning of it.",
                    )
                })?;
                // What waits is in no vault yet. A whole id is the relay's to judge.
                let conversation = match prefix.parse() {
                    Ok(id) => id,
                    Err(_) => beginning(
                        prefix,
                        self.waiting.iter(),
                        "No conversation that waits begins like that.",
                    )?,
                };
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

    /// The current notice in this language; a program that names one has to name that one.
    fn notice(&self, language: &str, named: Option<NoticeHash>) -> Result<NoticeHash, Problem> {
        let settings = self.session.settings();
        match named {
            Some(hash) if settings.has_notice(&hash) => Ok(hash),
            Some(_) => Err(refused(
                "consent_outdated",
                "That privacy notice is not the current one.",
                "Show the current notice of `ready` and ask again.",
            )),
            // Nobody agreed to a notice in a language in which there is none.
            None => settings.notice_in(language).map(|n| n.hash()).ok_or_else(|| {
                let others: Vec<_> = settings.notices.iter().map(|n| n.language.as_str()).collect();
                refused(
                    "no_notice",
                    format!("The organisation has no privacy notice in '{language}'."),
                    format!("Show one of `ready` ({}), and name its hash as `notice`.", others.join(", ")),
                )
            }),
        }
    }
}
