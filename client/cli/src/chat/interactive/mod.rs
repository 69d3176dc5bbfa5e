//! Chat for people.
//!
//! ```text
//! typed    what a person typed            screen   the terminal
//! show     events -> lines on the screen  act      commands -> engine
//! past     what was before               ticks    what became of own messages
//! close    the question before a close
//! prompt   to whom a line goes            list     the conversations, and which is selected
//! ```

mod act;
mod close;
mod list;
mod past;
mod prompt;
mod screen;
mod show;
mod ticks;
mod typed;

use std::collections::BTreeMap;
use std::pin::Pin;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use sealdesk_client::{Command, Event, MessageState, Owner, Problem};
use sealdesk_protocol::ids::{ConversationId, Handle, NoticeHash};
use sealdesk_protocol::wire::WaitingEntry;

use super::Session;
use super::book::{Book, is_open};
use super::refusal::Refusal;
use super::signals::{stopped, terminated};
use super::transcript;
use crate::display::line;
use crate::error::{Error, Exit};
use list::News;
use past::RECALLED;
use screen::{Key, Screen, Style};
use ticks::Ticks;

/// Something under way: what to say when it is done, and the text to give back when it is not.
struct Finished {
    result: Result<String, Problem>,
    text: Option<String>,
}

type Working = FuturesUnordered<Pin<Box<dyn Future<Output = Finished> + Send>>>;

/// A conversation on the screen.
#[derive(Default)]
struct Shown {
    /// Place of the last message that was printed.
    place: u64,
    /// Last state of own messages that was printed, by counter.
    states: BTreeMap<u64, MessageState>,
    /// What was said of the peer.
    peer: String,
    accepted: bool,
    closed: bool,
    lost: bool,
    reassignment: bool,
    news: News,
    /// Counter of the peer's last message that was printed, as long as it does not count as read.
    unread: Option<u64>,
}

struct Chat {
    session: Session,
    screen: Screen,
    book: Book,
    working: Working,
    shown: BTreeMap<ConversationId, Shown>,
    /// Conversations in the order of their numbers.
    numbers: Vec<ConversationId>,
    current: Option<ConversationId>,
    /// The one that was selected when the last line was read.
    prompted: Option<ConversationId>,
    /// A notice that was shown and waits for /agree, and what it is for.
    consent: Option<(Handle, NoticeHash)>,
    /// The next line answers whether this one is closed.
    closing: Option<ConversationId>,
    waiting: Vec<WaitingEntry>,
    ticks: Ticks,
    last: Option<Problem>,
    refusal: Refusal,
    /// That it is not connected was said.
    offline: bool,
    /// Why the certificate does not count, as it was said.
    uncertified: Option<&'static str>,
}

/// Whether the chat goes on.
enum Flow {
    On,
    Quit,
}

/// Runs until /quit, Ctrl-C, Ctrl-D, SIGTERM, the terminal's end, or until the client stops.
///
/// # Errors
/// [`Error`].
pub(crate) async fn run(session: Session) -> Result<(), Error> {
    let (screen, mut keys) = Screen::open()?;
    let mut chat = Chat {
        session,
        screen,
        book: Book::default(),
        working: Working::new(),
        shown: BTreeMap::new(),
        numbers: Vec::new(),
        current: None,
        prompted: None,
        consent: None,
        closing: None,
        waiting: Vec::new(),
        ticks: Ticks::default(),
        last: None,
        refusal: Refusal::default(),
        offline: false,
        uncertified: None,
    };
    let mut end = Box::pin(terminated());
    chat.greet().await?;
    chat.next();
    loop {
        chat.mark_read().await;
        tokio::select! {
            biased;
            () = &mut end => {
                // Nobody is there to wait for; the terminal is put back when the screen goes.
                chat.session.handle.clone().shutdown(std::time::Duration::ZERO).await;
                return Err(Error::Interrupted);
            }
            Some(finished) = chat.working.next() => chat.finished(finished)?,
            () = chat.ticks.settled() => chat.settled()?,
            event = chat.session.events.next() => match event {
                Some(event) => chat.event(event).await?,
                None => return Err(chat.ended()),
            },
            renewal = chat.session.watch.next(&chat.session.org) => {
                let renewed = chat.session.renew(renewal).await;
                chat.renewed(&renewed)?;
            }
            key = keys.recv() => match key {
                Some(Key::Line { text, begun }) => {
                    if let Flow::Quit = chat.typed(&text, begun).await? {
                        break;
                    }
                    chat.next();
                }
                Some(Key::End) | None => break,
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    chat.leave().await
}

impl Chat {
    async fn greet(&mut self) -> Result<(), Error> {
        let name = line(&self.session.settings().name).into_owned();
        let root = self.session.org.root().to_string();
        self.screen.say(&format!("{name}, end to end encrypted. /help lists the commands."), Style::Name)?;
        self.screen.say(&format!("Organisation {root}"), Style::Faint)?;
        if self.session.unprotected {
            let warning = "This vault has no passphrase: its key lies beside it, and whoever copies the folder can read it.";
            self.screen.say(warning, Style::Warning)?;
        }
        let mut views =
            self.session.handle.conversations().await.map_err(|p| Error::Problem(p, Exit::Vault))?;
        let latest = views.iter().find(|view| is_open(view)).map(|view| view.id);
        // A conversation keeps its number over a restart.
        views.sort_by_key(|view| (view.opened, view.id));
        for view in &views {
            self.number(view.id);
            let shown = self.shown.entry(view.id).or_default();
            (shown.closed, shown.lost) = (!is_open(view), !is_open(view));
            self.book.put(view.clone());
        }
        self.select(latest);
        for view in views {
            let id = view.id;
            if is_open(&view) {
                self.view(view)?;
            }
            let missed = transcript::unread(&self.session.handle, id).await;
            let missed = missed.map_err(|p| Error::Problem(p, Exit::Vault))?;
            if latest == Some(id) {
                let before = missed.first().map_or(u64::MAX, |message| message.place);
                self.recall(id, before, RECALLED).await?.map_err(|p| Error::Problem(p, Exit::Vault))?;
            }
            for message in &missed {
                self.message(message).await?;
            }
            // Nobody goes to one that has ended.
            if !self.book.get(&id).is_some_and(is_open) {
                self.mark(id).await;
            }
        }
        match (self.session.owner, self.current) {
            (Owner::Customer, None) => self.ask_consent(self.session.topic.clone()),
            (Owner::Agent, None) => self.screen.say("Waiting for customers.", Style::Faint),
            (_, Some(_)) => Ok(()),
        }
    }

    /// The next line may be typed. An agent sees to whom it goes, and so does a customer who has several conversations.
    fn next(&mut self) {
        self.prompted = self.current;
        if self.closing.is_some() {
            return self.screen.ask(close::QUESTION);
        }
        let named = self.session.owner == Owner::Agent || self.numbers.len() > 1;
        self.screen.next(named.then(|| self.numbers.len().max(1).to_string().len()));
    }

    /// What is typed from now on goes there. The prompt says so with the next that is printed.
    fn select(&mut self, id: Option<ConversationId>) {
        self.current = id;
        if let Some(shown) = id.and_then(|id| self.shown.get_mut(&id)) {
            shown.news = News::default();
        }
        self.name_in_prompt();
    }

    /// What was printed of the selected conversation is read; that of others when somebody goes there.
    async fn mark_read(&mut self) {
        if let Some(conversation) = self.current {
            self.mark(conversation).await;
        }
    }

    async fn mark(&mut self, conversation: ConversationId) {
        let unread = self.shown.get_mut(&conversation).and_then(|shown| shown.unread.take());
        if let Some(counter) = unread {
            // A client that has stopped says so by itself.
            drop(self.session.handle.submit(Command::MarkRead { conversation, counter }).await);
        }
    }

    /// The prompt names a conversation only as long as something can be said in it.
    fn name_in_prompt(&mut self) {
        let named = self.addressed().map(|id| (id, self.number(id)));
        self.screen.select(named);
    }

    /// The number of a conversation, from 1.
    fn number(&mut self, id: ConversationId) -> usize {
        let at = self.numbers.iter().position(|n| *n == id).unwrap_or_else(|| {
            self.numbers.push(id);
            self.numbers.len() - 1
        });
        at + 1
    }

    fn ended(&mut self) -> Error {
        let stopped = || super::book::refused("stopped", "The client has stopped.", "Start it again.");
        Error::Problem(self.last.take().unwrap_or_else(stopped), Exit::Vault)
    }

    fn finished(&mut self, finished: Finished) -> Result<(), Error> {
        match finished.result {
            Ok(text) if text.is_empty() => Ok(()),
            Ok(text) => self.screen.say(&text, Style::Faint),
            Err(problem) => {
                self.problem(&problem)?;
                match finished.text {
                    Some(text) => {
                        self.screen.say(&format!("Not sent: {}", crate::display::text(&text)), Style::Warning)
                    }
                    None => Ok(()),
                }
            }
        }
    }

    async fn leave(mut self) -> Result<(), Error> {
        let drain = self.session.drain;
        let mut leaving = Box::pin(self.session.handle.clone().shutdown(drain));
        let started = tokio::time::sleep(std::time::Duration::from_millis(300));
        let mut slow = Box::pin(started);
        let mut told = false;
        let mut stop = Box::pin(stopped());
        let drained = loop {
            tokio::select! {
                biased;
                Some(finished) = self.working.next() => self.finished(finished)?,
                Some(event) = self.session.events.next() => self.event_while_leaving(&event),
                drained = &mut leaving => break drained,
                () = &mut slow, if !told => {
                    told = true;
                    self.screen.say("Waiting until everything is delivered; Ctrl-C leaves at once, and keeps it for the next start.", Style::Faint)?;
                }
                () = &mut stop => return Err(Error::Interrupted),
            }
        };
        while let Some(event) = self.session.events.try_next() {
            self.event_while_leaving(&event);
        }
        // A transcript is written with what there is.
        while let Some(finished) = self.working.next().await {
            self.finished(finished)?;
        }
        if drained { Ok(()) } else { Err(self.refusal.end()) }
    }

    fn event_while_leaving(&mut self, event: &Event) {
        self.refusal.heard(event);
        if let Event::Problem { problem, .. } = event {
            self.last = Some(problem.clone());
        }
    }

    fn problem(&mut self, problem: &Problem) -> Result<(), Error> {
        let hint = match problem.code {
            // What a person types; others have other ways.
            "not_accepted" => "/accept takes it.",
            "closed" => self.elsewhere(),
            _ => &problem.hint,
        };
        let text = format!("{} {}", line(&problem.text), line(hint));
        self.screen.say(&text, Style::Warning)
    }
}
