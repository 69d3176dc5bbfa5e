//! What people typed -> commands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sealdesk_client::{Command, ConversationView, Message, Owner, Phase, Problem};
use sealdesk_native::Handle;
use sealdesk_native::private_file::{self, Access, FileError};
use sealdesk_protocol::conversation::Kind;
use sealdesk_protocol::conversation::content::Text;
use sealdesk_protocol::ids::{ConversationId, Handle as Id};

use super::list::awaits;
use super::prompt::Begun;
use super::typed::{self, Typed};
use super::{Chat, Finished, Flow, Style};
use crate::args::Format;
use crate::chat::book::{is_open, refused};
use crate::chat::{Availability, transcript};
use crate::display::{file_name, line, media_type, text};
use crate::error::Error;
use crate::own::{Exported, document, file_in, folder_beside, safety};

impl Chat {
    pub(super) async fn typed(&mut self, typed: &str, begun: Begun) -> Result<Flow, Error> {
        if let Some(conversation) = self.closing.take() {
            return self.close_answered(conversation, typed).await.map(|()| Flow::On);
        }
        let parsed = typed::parse(typed);
        let directed = matches!(
            parsed,
            Typed::Text(_) | Typed::File(_) | Typed::Close { .. } | Typed::Accept | Typed::Reassign
        );
        // Where no prompt is drawn, a line was begun after the one before.
        let begun = begun.unwrap_or_else(|| self.prompted.or(self.current));
        // One that has ended since says so itself.
        if directed && begun != self.current && begun != self.addressed() {
            // Another was selected while the line was typed: nothing goes to somebody else unseen.
            let said = "Another conversation is selected since this line was begun, so nothing was sent. \
                        The arrow up brings the line back; the prompt names to whom it would go.";
            return self.screen.say(said, Style::Warning).map(|()| Flow::On);
        }
        let result = match parsed {
            Typed::Quit => return Ok(Flow::Quit),
            Typed::Empty => Ok(()),
            Typed::Wrong(why) => return self.screen.say(&why, Style::Warning).map(|()| Flow::On),
            Typed::Help => return self.help().map(|()| Flow::On),
            Typed::List { all } => self.print_list(all).await?,
            Typed::Text(text) => self.send_text(text).await,
            Typed::Verify => self.verify()?,
            Typed::Export(path) => self.export(&path).await,
            Typed::File(path) => self.send_file(&path).await,
            Typed::Save(place, to) => self.save(place, to).await,
            Typed::Close { now } => self.close(now).await?,
            Typed::Accept => self.accept().await,
            Typed::Reassign => {
                self.simple(
                    |conversation| Command::AllowReassignment { conversation },
                    "Another agent is asked.",
                )
                .await
            }
            Typed::Switch(n) => self.switch(n).await?,
            Typed::History(n) => self.history(n).await?,
            Typed::Claim(n) => self.claim(n).await,
            Typed::Away => self.available(false).await,
            Typed::Back => self.available(true).await,
            Typed::New(topic) => self.new_conversation(topic.as_deref())?,
            Typed::Agree => self.agree().await,
        };
        if let Err(problem) = result {
            self.problem(&problem)?;
        }
        Ok(Flow::On)
    }

    fn help(&mut self) -> Result<(), Error> {
        let more = match self.session.owner {
            Owner::Customer => typed::CUSTOMER_HELP,
            Owner::Agent => typed::AGENT_HELP,
        };
        self.screen.print(&format!("{}\n{more}", typed::HELP))
    }

    pub(super) fn here(&self) -> Result<ConversationId, Problem> {
        self.current.ok_or_else(|| {
            refused(
                "no_conversation",
                "There is no conversation yet.",
                match self.session.owner {
                    Owner::Customer => "Open one with /new, then /agree.",
                    Owner::Agent => "A customer has to come first.",
                },
            )
        })
    }

    /// The selected conversation, when something can be said in it.
    fn open_here(&self) -> Result<ConversationId, Problem> {
        let id = self.here()?;
        if self.addressed() == Some(id) {
            let gone =
                |view: &ConversationView| view.readers.iter().any(|reader| reader.current && reader.gone);
            return match self.session.owner {
                Owner::Customer if self.book.get(&id).is_some_and(gone) => Err(refused(
                    "certificate_revoked",
                    "The agent's device was revoked: in this conversation nothing is sent any more.",
                    "/new opens another, which somebody else gets.",
                )),
                _ => Ok(id),
            };
        }
        let text = match self.book.get(&id) {
            Some(view) if is_open(view) => "This conversation is being closed; nothing was sent.",
            _ => "This conversation has ended; nothing was sent.",
        };
        Err(refused("closed", text, self.elsewhere()))
    }

    async fn send_text(&mut self, text: String) -> Result<(), Problem> {
        let conversation = match self.open_here() {
            Ok(id) => id,
            Err(_) if self.consent.is_some() => {
                return Err(refused(
                    "consent_missing",
                    "Not sent: the privacy notice comes first.",
                    "/agree opens the conversation.",
                ));
            }
            Err(problem) => return Err(problem),
        };
        let kind = Kind::Text(Text(text.clone()));
        let answer = self.session.handle.submit(Command::Send { conversation, kind }).await?;
        self.working.push(Box::pin(async move {
            let result = answer.await.map(|_| String::new());
            Finished { result, text: Some(text) }
        }));
        Ok(())
    }

    async fn simple(
        &mut self,
        command: impl FnOnce(ConversationId) -> Command,
        said: &'static str,
    ) -> Result<(), Problem> {
        let answer = self.session.handle.submit(command(self.here()?)).await?;
        self.working.push(Box::pin(async move {
            Finished { result: answer.await.map(|_| said.to_string()), text: None }
        }));
        Ok(())
    }

    async fn accept(&mut self) -> Result<(), Problem> {
        let manual = self.session.availability.manual;
        let waits = |id: &ConversationId| self.book.get(id).is_some_and(|view| awaits(view, manual));
        let here = self.here()?;
        let accepted = |view: &ConversationView| view.phase == Phase::Active;
        if self.session.owner == Owner::Agent && self.book.get(&here).is_some_and(accepted) {
            let hint = match self.numbers.iter().position(waits) {
                Some(at) => format!("Conversation {0} waits: /switch {0}, then /accept.", at + 1),
                None => "No other waits for you.".into(),
            };
            return Err(refused("accepted", "This conversation is accepted already.", hint));
        }
        self.simple(|conversation| Command::Accept { conversation }, "Accepted.").await
    }

    fn verify(&mut self) -> Result<Result<(), Problem>, Error> {
        let view = match self.here() {
            Ok(id) => self.book.get(&id).cloned(),
            Err(problem) => return Ok(Err(problem)),
        };
        if let Some(view) = view {
            self.screen.print(&safety(&view))?;
        }
        Ok(Ok(()))
    }

    async fn send_file(&mut self, path: &Path) -> Result<(), Problem> {
        let conversation = self.open_here()?;
        let name = path.file_name().map_or_else(|| "file".into(), |n| n.to_string_lossy().into_owned());
        let said = format!("{} is on its way.", line(&name));
        let answer = self.session.handle.send_file(conversation, path, name, media_type(path).into()).await?;
        self.working
            .push(Box::pin(async move { Finished { result: answer.await.map(|_| said), text: None } }));
        Ok(())
    }

    async fn save(&mut self, place: usize, to: Option<PathBuf>) -> Result<(), Problem> {
        let conversation = self.here()?;
        let place = u64::try_from(place).unwrap_or(u64::MAX);
        let page = self.session.handle.page(conversation, place.saturating_add(1), 1).await?;
        let message = page.into_iter().find(|m| m.place == place).ok_or_else(|| {
            refused("unknown_message", "There is no such message.", "The number stands below each file.")
        })?;
        let Kind::Attachment(attachment) = message.kind else {
            return Err(refused(
                "no_file",
                "That message holds no file.",
                "The number stands below each file.",
            ));
        };
        let to = target(to, &attachment.name);
        // Where that is, for whoever does not know in which folder the chat was started.
        let whole = std::path::absolute(&to).unwrap_or_else(|_| to.clone());
        let said = format!("Saved as {}.", line(&whole.display().to_string()));
        let answer = self.session.handle.save_file(conversation, message.id, attachment.blob, &to).await?;
        self.working
            .push(Box::pin(async move { Finished { result: answer.await.map(|_| said), text: None } }));
        Ok(())
    }

    /// The attachments first: the document names those that are there.
    async fn export(&mut self, path: &Path) -> Result<(), Problem> {
        let conversation = self.here()?;
        let problem = |e: FileError| refused("file", format!("{e}."), e.hint());
        private_file::demand_absent(path).map_err(problem)?;
        let handle = self.session.handle.clone();
        let messages = transcript::all(&handle, conversation).await?;
        let Some(view) = self.book.get(&conversation).cloned() else { return Ok(()) };
        let organisation = self.session.settings().name.clone();
        let path = path.to_owned();
        self.working.push(Box::pin(async move {
            let (saved, missing) = fetch(&handle, &messages, &path).await;
            let files = |message: &Message| saved.get(&message.place).cloned();
            let exported =
                Exported { organisation: &organisation, view: &view, messages: &messages, files: &files };
            let is_json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
            let document = document(&exported, if is_json { Format::Json } else { Format::Text });
            let written = private_file::create(&path, document.as_bytes(), Access::Owner).map_err(problem);
            let said = written.map(|()| {
                let shown = path.display().to_string();
                let mut said = format!("{} messages written to {}.", messages.len(), line(&shown));
                for (name, why) in &missing {
                    said += &format!("\n{} is not fetched: {}", line(name), line(&why.text));
                }
                said
            });
            Finished { result: said, text: None }
        }));
        Ok(())
    }

    async fn claim(&mut self, n: usize) -> Result<(), Problem> {
        let entry = n.checked_sub(1).and_then(|at| self.waiting.get(at)).ok_or_else(|| {
            refused(
                "unknown_conversation",
                "Nothing waits under that number.",
                "Numbers are shown when somebody waits.",
            )
        })?;
        let conversation = entry.conversation;
        let answer = self.session.handle.submit(Command::Claim { conversation }).await?;
        self.working.push(Box::pin(async move {
            Finished { result: answer.await.map(|_| "It is yours.".to_string()), text: None }
        }));
        Ok(())
    }

    async fn available(&mut self, available: bool) -> Result<(), Problem> {
        let Availability { capacity, manual, .. } = self.session.availability;
        let answer =
            self.session.handle.submit(Command::SetAvailability { available, capacity, manual }).await?;
        self.session.availability.available = available;
        let said = if available { "Taking new conversations." } else { "Away: no new conversations." };
        self.working.push(Box::pin(async move {
            Finished { result: answer.await.map(|_| said.to_string()), text: None }
        }));
        Ok(())
    }

    fn new_conversation(&mut self, topic: Option<&str>) -> Result<Result<(), Problem>, Error> {
        if self.session.owner == Owner::Agent {
            return Ok(Err(refused("wrong_party", "Only a customer opens conversations.", "Wait for one.")));
        }
        match topic.map(str::parse::<Id>).transpose() {
            Ok(topic) => self.ask_consent(topic).map(Ok),
            Err(_) => Ok(Err(unknown_topic())),
        }
    }

    /// Shows the notice, and waits for /agree.
    pub(super) fn ask_consent(&mut self, topic: Option<Id>) -> Result<(), Error> {
        let settings = self.session.settings();
        let known = topic.as_ref().is_none_or(|t| settings.topic(t).is_some());
        let chosen = match (topic, settings.topics.as_slice()) {
            (Some(topic), _) if known => Some(topic),
            (None, [only]) => Some(only.id.clone()),
            _ => None,
        };
        let notice = settings.notice(&self.session.language).cloned();
        let (Some(topic), Some(notice)) = (chosen, notice) else {
            let mut lines = vec!["Choose what it is about: /new TOPIC".to_string()];
            for topic in &settings.topics {
                let name = topic.names.get(&self.session.language).or_else(|| topic.names.values().next());
                lines.push(format!("  {}  {}", topic.id, line(name.map_or("", String::as_str))));
            }
            return self.screen.print(&lines.join("\n"));
        };
        let words = text(&notice.text).replace('\n', "\n  ");
        self.consent = Some((topic.clone(), notice.hash()));
        self.screen.print(&format!(
            "Privacy notice:\n  {words}\n/agree agrees to it and opens a conversation about {topic}."
        ))
    }

    async fn agree(&mut self) -> Result<(), Problem> {
        let Some((topic, notice)) = self.consent.take() else {
            return Err(refused("no_notice", "No privacy notice was shown.", "/new shows it."));
        };
        let language = self.session.language.clone();
        let done = self.session.handle.command(Command::Open { topic, language, notice }).await?;
        self.select(done.conversation);
        let views = self.session.handle.conversations().await?;
        for view in views {
            self.number(view.id);
            if self.book.get(&view.id).is_none() {
                self.book.put(view);
            }
        }
        Ok(())
    }
}

/// Where a file is saved: a folder takes it under its own name.
fn target(to: Option<PathBuf>, name: &str) -> PathBuf {
    let name = file_name(name);
    match to {
        None => name.into(),
        Some(to) if to.is_dir() || to.as_os_str().as_encoded_bytes().ends_with(b"/") => to.join(name),
        Some(to) => to,
    }
}

/// Where each attachment was saved beside a transcript, by its message's place; and what is not there, and why.
async fn fetch(
    handle: &Handle,
    messages: &[Message],
    transcript: &Path,
) -> (BTreeMap<u64, String>, Vec<(String, Problem)>) {
    let folder = folder_beside(transcript);
    let (mut saved, mut missing) = (BTreeMap::new(), Vec::new());
    for message in messages {
        let Kind::Attachment(file) = &message.kind else { continue };
        let to = file_in(&folder, message.place, &file.name);
        let fetched = async {
            private_file::create_folder(&folder).map_err(|e| refused("file", format!("{e}."), e.hint()))?;
            handle.save_file(message.conversation, message.id, file.blob, &to).await?.await
        };
        match fetched.await {
            Ok(_) => drop(saved.insert(message.place, to.display().to_string())),
            Err(why) => missing.push((file.name.clone(), why)),
        }
    }
    (saved, missing)
}

fn unknown_topic() -> Problem {
    refused("unknown_topic", "There is no such topic.", "/new lists the topics.")
}
