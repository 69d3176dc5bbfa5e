//! The driver: one thread owns engine and vault.
//!
//! ```text
//! 1. wait for inputs, or for the time that the engine named
//! 2. step: all inputs that wait, one batch
//! 3. commit the batch: durable, fenced; no input enters meanwhile
//! 4. perform the outputs, which only enqueue: connections, files, events
//! 5. on a commit error: drop engine and outputs, fail the commands under way, open again from what is durable;
//!    fenced: stop for good
//! ```

mod perform;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::mpsc as files;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sealdesk_client::{Command, ConversationView, Event, Input, Message, Owner, Problem};
use sealdesk_protocol::ids::{BlobId, ConversationId};
use sealdesk_protocol::wire::Fault;
use tokio::sync::{mpsc, oneshot};

use crate::client::Done;
use crate::desk::{Desk, DeskError, Fallen};
use crate::transfers::{Job, Target};
use crate::transport::{NetEvent, Network};
use crate::vault::VaultError;
use perform::Outlets;

/// Inputs in one step at most: a step's commit stays short, and timers are kept.
const BATCH: usize = 128;
/// Between attempts to open a vault again.
const REOPEN: Duration = Duration::from_secs(2);

/// The file of a command.
#[derive(Debug)]
pub(crate) enum File {
    None,
    Source(BlobId, fs::File),
    Target(BlobId, Target),
}

type Reply = oneshot::Sender<Result<Done, Problem>>;

/// What reaches the driver.
#[derive(Debug)]
pub(crate) enum Signal {
    Command {
        command: Command,
        file: File,
        reply: Reply,
    },
    Input(Input),
    Net {
        era: u64,
        number: u32,
        event: NetEvent,
    },
    Conversations(oneshot::Sender<Vec<ConversationView>>),
    Page {
        conversation: ConversationId,
        before: u64,
        limit: u16,
        reply: oneshot::Sender<Result<Vec<Message>, Problem>>,
    },
    Shutdown {
        drain: Duration,
        reply: oneshot::Sender<bool>,
    },
}

/// A command under way.
pub(crate) struct Pending {
    reply: Reply,
    source: Option<BlobId>,
    target: Option<BlobId>,
}

enum State {
    Running(Box<Desk>),
    /// To be opened again, not before this time.
    Fallen(Box<Fallen>, Instant),
    Stopped,
}

struct Driver {
    state: State,
    owner: Owner,
    next_id: u64,
    outlets: Outlets,
    inputs: mpsc::Receiver<Signal>,
    files: JoinHandle<()>,
    leaving: Option<(Instant, oneshot::Sender<bool>)>,
    drained: bool,
}

/// Starts the thread.
pub(crate) fn start(
    desk: Desk,
    owner: Owner,
    network: Network,
    inputs: mpsc::Receiver<Signal>,
    signals: mpsc::WeakSender<Signal>,
    events: mpsc::UnboundedSender<Event>,
    (jobs, files): (files::Sender<Job>, JoinHandle<()>),
) -> io::Result<()> {
    let outlets = Outlets {
        network,
        runtime: tokio::runtime::Handle::current(),
        signals,
        events,
        jobs,
        links: HashMap::new(),
        era: 0,
        pending: HashMap::new(),
        told: None,
    };
    let driver = Driver {
        state: State::Running(Box::new(desk)),
        owner,
        next_id: 1,
        outlets,
        inputs,
        files,
        leaving: None,
        drained: false,
    };
    // Timers of its own: the caller's runtime may end before the driver does.
    let own = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new()
        .name("sealdesk-driver".into())
        .spawn(move || own.block_on(Box::pin(driver.run())))
        .map(drop)
}

/// Whether the loop goes on.
enum Flow {
    On,
    Stop,
}

impl Driver {
    async fn run(mut self) {
        loop {
            let first = self.wait().await;
            let flow = match first {
                Wait::Over => Flow::Stop,
                Wait::Timer => self.turn(Vec::new()),
                Wait::Signal(signal) => {
                    let mut signals = vec![*signal];
                    while signals.len() < BATCH {
                        match self.inputs.try_recv() {
                            Ok(signal) => signals.push(signal),
                            Err(_) => break,
                        }
                    }
                    self.turn(signals)
                }
            };
            if matches!(flow, Flow::Stop) || self.left() {
                break;
            }
        }
        // Connections close when their senders are dropped; give them a moment to say goodbye.
        self.outlets.links.clear();
        tokio::time::sleep(Duration::from_millis(50)).await;
        // Before anybody hears that this client has stopped, the vault is free again and no file is left that is not whole.
        let Self { state, outlets, inputs, files, leaving, drained, .. } = self;
        drop((state, outlets, inputs));
        let _ = files.join();
        if let Some((_, reply)) = leaving {
            let _ = reply.send(drained);
        }
    }

    async fn wait(&mut self) -> Wait {
        let engine = match &self.state {
            State::Running(desk) => desk.wake_at(),
            State::Fallen(_, at) => Some(*at),
            State::Stopped => None,
        };
        let leaving = self.leaving.as_ref().map(|(at, _)| *at);
        let at = engine.into_iter().chain(leaving).min();
        let timer = async {
            match at {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            signal = self.inputs.recv() => signal.map_or(Wait::Over, |signal| Wait::Signal(Box::new(signal))),
            () = timer => Wait::Timer,
        }
    }

    /// Steps 2 to 5 for everything that waited.
    fn turn(&mut self, signals: Vec<Signal>) -> Flow {
        if let State::Fallen(..) = &self.state
            && let Flow::Stop = self.rise()
        {
            return Flow::Stop;
        }
        let mut inputs = vec![Input::Tick];
        let mut questions = Vec::new();
        for signal in signals {
            match signal {
                Signal::Command { command, file, reply } => inputs.extend(self.command(command, file, reply)),
                Signal::Input(input) => inputs.push(input),
                Signal::Net { era, number, event } => inputs.extend(self.outlets.net(era, number, event)),
                Signal::Shutdown { drain, reply } => self.leaving = Some((Instant::now() + drain, reply)),
                question => questions.push(question),
            }
        }
        let State::Running(desk) = &mut self.state else {
            // Still not open: the questions' askers see their channels close.
            return Flow::On;
        };
        match desk.step(inputs) {
            Ok(outputs) => {
                self.outlets.perform(outputs);
                questions.into_iter().for_each(|q| answer(desk, q));
                Flow::On
            }
            Err(error) => self.fall(&error),
        }
    }

    /// A command gets its number and its file; while the vault is not open it fails at once.
    fn command(&mut self, command: Command, file: File, reply: Reply) -> Option<Input> {
        if !matches!(self.state, State::Running(_)) {
            let _ = reply.send(Err(not_stored()));
            return None;
        }
        // A second save of the same file has a target of its own, which must not take the first one's place.
        if let File::Target(wanted, _) = &file
            && self.outlets.pending.values().any(|pending| pending.target == Some(*wanted))
        {
            let _ = reply.send(Err(Problem::transfer_busy()));
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        let mut pending = Pending { reply, source: None, target: None };
        match file {
            File::None => {}
            File::Source(transfer, file) => {
                pending.source = Some(transfer);
                self.outlets.job(Job::Source { transfer, file });
            }
            File::Target(transfer, target) => {
                pending.target = Some(transfer);
                self.outlets.job(Job::Target { transfer, target });
            }
        }
        self.outlets.pending.insert(id, pending);
        Some(Input::User { id, command })
    }

    fn fall(&mut self, error: &VaultError) -> Flow {
        tracing::error!(%error, "the vault was not written");
        self.outlets.forget(&not_stored());
        if let VaultError::Fenced = error {
            self.outlets.tell_problem(vault_problem("vault_fenced", error));
            return Flow::Stop;
        }
        self.outlets.tell_problem(vault_problem("vault_not_written", error));
        if let State::Running(desk) = std::mem::replace(&mut self.state, State::Stopped) {
            self.state = State::Fallen(Box::new(desk.fall()), Instant::now());
        }
        self.rise()
    }

    fn rise(&mut self) -> Flow {
        let State::Fallen(fallen, at) = &mut self.state else { return Flow::On };
        if Instant::now() < *at {
            return Flow::On;
        }
        match fallen.rise(self.owner) {
            Ok(desk) => {
                self.state = State::Running(Box::new(desk));
                Flow::On
            }
            Err(DeskError::Vault(VaultError::Disk(_) | VaultError::File(_) | VaultError::Locked { .. })) => {
                *at = Instant::now() + REOPEN;
                Flow::On
            }
            Err(error) => {
                self.outlets.tell_problem(desk_problem(&error));
                Flow::Stop
            }
        }
    }

    /// Whether it is time to leave: everything is with the relay, it takes nothing any more, or the time is over.
    fn left(&mut self) -> bool {
        let Some((deadline, _)) = &self.leaving else { return false };
        let (drained, refused) = match &self.state {
            State::Running(desk) => {
                let engine = desk.engine();
                (self.outlets.pending.is_empty() && engine.is_with_relay(), engine.is_refused())
            }
            State::Fallen(..) | State::Stopped => (false, false),
        };
        self.drained = drained;
        drained || refused || Instant::now() >= *deadline
    }
}

enum Wait {
    Signal(Box<Signal>),
    Timer,
    /// Nobody can send any more.
    Over,
}

fn answer(desk: &Desk, question: Signal) {
    match question {
        Signal::Conversations(reply) => drop(reply.send(desk.engine().conversations())),
        Signal::Page { conversation, before, limit, reply } => {
            let page = desk.page(&conversation, before, limit).map_err(|e| desk_problem(&e));
            drop(reply.send(page));
        }
        _ => {}
    }
}

fn not_stored() -> Problem {
    Problem {
        code: "not_stored",
        fault: Fault::You,
        text: "The vault could not be written, so this was not done.".into(),
        hint: "Free some disk space if it is full, and try again; nothing else is lost.".into(),
    }
}

fn vault_problem(code: &'static str, error: &VaultError) -> Problem {
    Problem { code, fault: Fault::You, text: format!("{error}."), hint: error.hint().into() }
}

fn desk_problem(error: &DeskError) -> Problem {
    match error {
        DeskError::Vault(error) => vault_problem("vault", error),
        other => Problem {
            code: "vault_damaged",
            fault: Fault::You,
            text: format!("{other}."),
            hint: "Move the folder away: this device then starts anew.".into(),
        },
    }
}
