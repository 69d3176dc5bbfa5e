//! A running client: commands in, events out.

use std::fs::File;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rand_core::Rng;
use sealdesk_client::{Command, ConversationView, Event, Message, Owner, Problem};
use sealdesk_protocol::conversation::MessageId;
use sealdesk_protocol::conversation::content::Text;
use sealdesk_protocol::ids::{BlobId, ConversationId};
use sealdesk_protocol::wire::Fault;
use tokio::sync::{mpsc, oneshot};

use crate::desk::{Desk, DeskError};
use crate::driver::{self, File as FileOf, Signal};
use crate::private_file::FileError;
use crate::random;
use crate::transfers::{self, Target};
use crate::transport::{Network, NetworkError, NetworkOptions};

/// Inputs that may wait for the engine; more wait at their sources.
const WAITING: usize = 256;

/// What a client needs to run.
#[derive(Debug)]
pub struct Options {
    /// Engine and vault.
    pub desk: Desk,
    /// Whose vault it is.
    pub owner: Owner,
    /// How relays are reached.
    pub network: NetworkOptions,
}

/// Why a client does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// URLs or certificate authorities.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The spool's folder.
    #[error(transparent)]
    File(#[from] FileError),
    /// The vault.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

/// A command that is done and durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The conversation that it made or touched.
    pub conversation: Option<ConversationId>,
    /// The message that it made.
    pub message: Option<MessageId>,
    /// The file that it took over: [`Event::Transfer`] tells its progress, and the message when the relay has it.
    pub transfer: Option<BlobId>,
}

/// Starts clients.
#[derive(Debug)]
pub struct Client;

/// Commands for a running client. Clones speak to the same one, which runs until [`Handle::shutdown`] or until all are
/// dropped.
#[derive(Clone, Debug)]
pub struct Handle {
    signals: mpsc::Sender<Signal>,
}

/// The answer to a command that was handed over.
#[must_use = "a command's answer says whether it was done"]
#[derive(Debug)]
pub struct Answer(oneshot::Receiver<Result<Done, Problem>>);

impl Future for Answer {
    type Output = Result<Done, Problem>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or_else(|_| Err(stopped())))
    }
}

/// What a running client tells; it ends when the client stops.
#[derive(Debug)]
pub struct EventStream {
    events: mpsc::UnboundedReceiver<Event>,
}

impl EventStream {
    /// The next event; none when the client has stopped.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The next event if one is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }
}

impl Client {
    /// Starts the driver on a thread of its own; connections run on the tokio runtime of the caller, which has to be the
    /// multi-threaded one.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(options: Options) -> Result<(Handle, EventStream), StartError> {
        let network = Network::new(&options.network)?;
        let (signals, inputs) = mpsc::channel(WAITING);
        let (told, events) = mpsc::unbounded_channel();
        options.desk.clean_spool()?;
        let home = options.desk.home().to_path_buf();
        let weak = signals.downgrade();
        let files = transfers::start(&home, move |input| {
            if let Some(signals) = weak.upgrade() {
                let _ = signals.blocking_send(Signal::Input(input));
            }
        })?;
        driver::start(options.desk, options.owner, network, inputs, signals.downgrade(), told, files)
            .map_err(FileError::at(&home))?;
        Ok((Handle { signals }, EventStream { events }))
    }
}

fn stopped() -> Problem {
    Problem {
        code: "stopped",
        fault: Fault::You,
        text: "The client has stopped.".into(),
        hint: "Start it again; what was done before is kept.".into(),
    }
}

fn file_problem(error: &FileError) -> Problem {
    Problem { code: "file", fault: Fault::You, text: format!("{error}."), hint: error.hint().into() }
}

impl Handle {
    async fn ask<T>(&self, signal: impl FnOnce(oneshot::Sender<T>) -> Signal) -> Result<T, Problem> {
        let (reply, answer) = oneshot::channel();
        self.signals.send(signal(reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())
    }

    async fn submit_with(&self, command: Command, file: FileOf) -> Result<Answer, Problem> {
        let (reply, answer) = oneshot::channel();
        self.signals.send(Signal::Command { command, file, reply }).await.map_err(|_| stopped())?;
        Ok(Answer(answer))
    }

    /// Performs a command; returns when it is done and durable, or refused. Files go by [`Self::send_file`] and
    /// [`Self::save_file`].
    ///
    /// # Errors
    /// [`Problem`]: nothing of it was stored; the caller keeps what was written.
    pub async fn command(&self, command: Command) -> Result<Done, Problem> {
        self.submit(command).await?.await
    }

    /// Hands a command over, in order with those before; the answer is awaited apart.
    ///
    /// # Errors
    /// [`Problem`] when the client has stopped.
    pub async fn submit(&self, command: Command) -> Result<Answer, Problem> {
        self.submit_with(command, FileOf::None).await
    }

    /// Sends a file. The answer says that it is sealed into the spool and will be delivered even if the file is gone; its
    /// message is written when the relay has all of it.
    ///
    /// # Errors
    /// [`Problem`]: the file cannot be read.
    pub async fn send_file(
        &self,
        conversation: ConversationId,
        path: &Path,
        name: String,
        media_type: String,
    ) -> Result<Answer, Problem> {
        let opened = File::open(path).and_then(|file| file.metadata().map(|m| (file, m)));
        let (file, metadata) = opened.map_err(FileError::at(path)).map_err(|e| file_problem(&e))?;
        if !metadata.is_file() {
            return Err(Problem {
                code: "file",
                fault: Fault::You,
                text: format!("{} is no file.", path.display()),
                hint: "Choose a file; a folder can be sent as an archive.".into(),
            });
        }
        let mut transfer = BlobId([0; 16]);
        random::system()
            .map_err(|e| Problem {
                code: "machine",
                fault: Fault::You,
                text: format!("{e}."),
                hint: "Run it where the system call getrandom is allowed.".into(),
            })?
            .fill_bytes(&mut transfer.0);
        let command = Command::SendFile {
            conversation,
            name: Text(name),
            media_type,
            length: metadata.len(),
            transfer,
        };
        self.submit_with(command, FileOf::Source(transfer, file)).await
    }

    /// Fetches, checks and opens the attachment `blob` of `message` into a new file. The answer says that the whole file is
    /// there; when it says otherwise, no file is left.
    ///
    /// # Errors
    /// [`Problem`]: the file cannot be made.
    pub async fn save_file(
        &self,
        conversation: ConversationId,
        message: MessageId,
        blob: BlobId,
        to: &Path,
    ) -> Result<Answer, Problem> {
        let target = Target::create(to).map_err(|e| file_problem(&e))?;
        let command = Command::SaveFile { conversation, message };
        self.submit_with(command, FileOf::Target(blob, target)).await
    }

    /// Every conversation, newest change first.
    ///
    /// # Errors
    /// [`Problem`] when the client has stopped.
    pub async fn conversations(&self) -> Result<Vec<ConversationView>, Problem> {
        self.ask(Signal::Conversations).await
    }

    /// Up to `limit` entries of a transcript before the place `before` (`u64::MAX`: the newest), oldest first.
    ///
    /// # Errors
    /// [`Problem`].
    pub async fn page(
        &self,
        conversation: ConversationId,
        before: u64,
        limit: u16,
    ) -> Result<Vec<Message>, Problem> {
        self.ask(|reply| Signal::Page { conversation, before, limit, reply }).await?
    }

    /// Stops the client. Waits at most `drain` until the relay has everything, and says whether it has. There is nothing to
    /// wait for when the relay refuses the device for good.
    pub async fn shutdown(self, drain: Duration) -> bool {
        self.ask(|reply| Signal::Shutdown { drain, reply }).await.unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use sealdesk_protocol::testing::TestOrg;

    use super::*;
    use crate::{clock, random, vault};

    fn desk(home: &Path) -> Desk {
        let org = TestOrg::new(1, clock::wall_ms());
        let mut rng = random::system().unwrap();
        let (vault, key) = vault::create(home, &org.root_hash(), None, &mut rng).unwrap();
        Desk::open(vault, key, org.verified(), Owner::Customer).unwrap()
    }

    fn network() -> NetworkOptions {
        let urls = vec!["ws://127.0.0.1:9/".parse().unwrap()];
        NetworkOptions { urls, ca: None, insecure_plaintext: false }
    }

    /// What is half saved is taken away by the thread for files: a program that ended before it would leave it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn who_stops_a_client_waits_for_its_files() {
        let home = tempfile::tempdir().unwrap();
        let (signals, inputs) = mpsc::channel(WAITING);
        let (told, _events) = mpsc::unbounded_channel();
        let (jobs, queue) = std::sync::mpsc::channel();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let files = std::thread::spawn(move || {
            while queue.recv().is_ok() {}
            wait.recv().unwrap();
        });
        let network = Network::new(&network()).unwrap();
        let weak = signals.downgrade();
        driver::start(desk(home.path()), Owner::Customer, network, inputs, weak, told, (jobs, files))
            .unwrap();
        let mut stopping = Box::pin(Handle { signals }.shutdown(Duration::ZERO));
        let early = tokio::time::timeout(Duration::from_secs(1), &mut stopping).await;
        assert!(early.is_err(), "the files were not waited for");
        go.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(60), stopping).await.unwrap();
    }

    /// A program that ends at once drops its runtime while the driver still runs: nothing panics, and the vault is let go of.
    #[test]
    fn a_client_outlives_its_runtime() {
        let panicked = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&panicked);
        std::panic::set_hook(Box::new(move |info| *noted.lock().unwrap() = Some(info.to_string())));
        let home = tempfile::tempdir().unwrap();
        let (desk, network) = (desk(home.path()), network());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let started =
            runtime.block_on(async { Client::start(Options { desk, owner: Owner::Customer, network }) });
        drop(started.unwrap());
        drop(runtime);
        let begun = Instant::now();
        while vault::open(home.path(), None).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the driver still holds the vault");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(*panicked.lock().unwrap(), None);
    }
}
