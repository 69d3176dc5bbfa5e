//! What comes out of the engine: writes to commit, then things to do, then what people see.

use sealdesk_protocol::conversation::{Kind, MessageId, Role};
use sealdesk_protocol::crypto::certificate::AgentRole;
use sealdesk_protocol::ids::{BlobId, ConversationId, DeviceKeyHash, Handle};
use sealdesk_protocol::wire::{Code, Fault, WaitingEntry};

use super::input::{FileBytes, Part};

/// Blinded name of a vault record: kind byte, then an HMAC that hides what it names (§11).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name(pub [u8; 33]);

/// A sealed record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Its name.
    pub name: Name,
    /// XChaCha20-Poly1305 ciphertext with nonce and version.
    pub sealed: Vec<u8>,
}

/// One change of the vault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Insert or replace.
    Put(Row),
    /// Remove; removing what is not there is no error.
    Delete(Name),
}

/// Writes that become durable together or not at all.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Batch {
    /// In order; the last write of a name counts.
    pub writes: Vec<Write>,
    /// The vault's generation with this batch: one above that of the batch before. A driver stores it in the same
    /// transaction and refuses a batch that does not follow, so that two programs never write one vault.
    pub generation: u64,
}

/// Something to do after the step's batch is durable, in order.
#[derive(Debug)]
pub enum Output {
    /// Connect to the relay under this number; answered by `Opened` or `Closed`.
    Connect(u32),
    /// Send one binary message.
    Send(u32, Vec<u8>),
    /// Close the connection.
    Disconnect(u32),
    /// Read bytes; answered by `Chunk` or `ChunkFailed`.
    ReadChunk {
        /// Which transfer.
        transfer: BlobId,
        /// From which part.
        part: Part,
        /// From where.
        offset: u64,
        /// How many; fewer only at the end.
        len: u32,
    },
    /// Write bytes durably; answered by `ChunkStored` or `ChunkFailed`.
    WriteChunk {
        /// Which transfer.
        transfer: BlobId,
        /// To which part.
        part: Part,
        /// Where.
        offset: u64,
        /// The bytes.
        bytes: FileBytes,
    },
    /// The spool of this transfer is not needed any more.
    DropSpool(BlobId),
    /// Tell the person or program.
    Event(Event),
}

/// What one call of [`Engine::step`](crate::Engine::step) decided.
#[must_use = "commit `persist`, then perform `then`"]
#[derive(Debug, Default)]
pub struct Step {
    /// Commit this first, atomically and durably.
    pub persist: Batch,
    /// Then perform these, in order.
    pub then: Vec<Output>,
    /// Step again with `Tick` at this monotonic time, ms.
    pub wake_at: Option<u64>,
}

/// What people and programs are told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Command `id` is done and durable.
    Done {
        /// The command.
        id: u64,
        /// The conversation that it made or touched.
        conversation: Option<ConversationId>,
        /// The message that it made.
        message: Option<MessageId>,
    },
    /// Command `id` failed; nothing of it was stored.
    Failed {
        /// The command.
        id: u64,
        /// Why, whose fault, what to do.
        problem: Problem,
    },
    /// The state of the connection to the relay.
    Link {
        /// The customer conversation whose device it is; none for an agent.
        conversation: Option<ConversationId>,
        /// The state.
        state: LinkState,
    },
    /// A conversation is new or changed.
    Conversation(Box<ConversationView>),
    /// A conversation is gone, every row of it: nobody took it, and it made room for new ones. What a person deletes is told
    /// by the command's `Done`.
    Gone(ConversationId),
    /// A message is new or changed in any way; same id, same place.
    Message(Box<Message>),
    /// The peer's typing started or stopped.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Who.
        device: DeviceKeyHash,
        /// Started.
        on: bool,
    },
    /// Progress of a file.
    Transfer {
        /// Which.
        transfer: BlobId,
        /// Where.
        conversation: ConversationId,
        /// Bytes of ciphertext done.
        done: u64,
        /// Bytes of ciphertext in all.
        total: u64,
        /// The state.
        state: TransferState,
    },
    /// Agent: conversations that may be claimed, replacing the list before.
    Waiting(Vec<WaitingEntry>),
    /// Something that people have to know: an alarm, a refusal, a warning.
    Problem {
        /// Where, if it concerns one conversation.
        conversation: Option<ConversationId>,
        /// What.
        problem: Problem,
    },
    /// What a [`Self::Problem`] with this code said before holds no longer.
    Resolved {
        /// Where, if it concerns one conversation.
        conversation: Option<ConversationId>,
        /// The problem's code.
        code: &'static str,
        /// What holds now, one sentence.
        text: &'static str,
    },
}

/// An error for people: what, whose fault, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable snake_case name.
    pub code: &'static str,
    /// Who has to act.
    pub fault: Fault,
    /// What is wrong, one sentence without secrets.
    pub text: String,
    /// What to do, one sentence.
    pub hint: String,
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self {
            code: code.as_str(),
            fault: code.fault(),
            text: format!("The relay answered: {}.", code.as_str().replace('_', " ")),
            hint: code.hint().into(),
        }
    }
}

/// Connection states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Not connected; the engine reconnects by itself.
    Offline,
    /// Connecting or authenticating.
    Connecting,
    /// Authenticated.
    Online,
    /// Another tab or program uses this device now; no reconnection by itself.
    Replaced,
    /// Refused for good; no reconnection by itself.
    Refused(Problem),
    /// Agent: the certificate does not count here, or the relay does not take it. A newer one, or a newer org.json, lets
    /// the engine connect again.
    Uncertified(Problem),
}

/// Where a conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// No agent is named yet.
    Queued,
    /// An agent device is named and verified, and has not accepted yet.
    Assigned,
    /// The agent accepted.
    Active,
    /// Closed.
    Closed,
    /// Agent: the conversation went to somebody else.
    Lost,
}

/// One device that can read, or could have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Role in the conversation.
    pub role: Role,
    /// The device.
    pub device: DeviceKeyHash,
    /// Agent id; none for the customer.
    pub agent: Option<Handle>,
    /// Certified name; none for the customer.
    pub name: Option<String>,
    /// Roles of the certificate.
    pub roles: Vec<AgentRole>,
    /// A further device that no earlier one endorsed.
    pub new_device: bool,
    /// Why its certificate does not count now, as a problem's code: nothing is sent to it, and nothing of it is shown.
    pub refused: Option<&'static str>,
    /// Its device is revoked and nobody else will be named: in this conversation that does not change any more.
    pub gone: bool,
    /// Listed now; otherwise listed before.
    pub current: bool,
    /// This very device.
    pub me: bool,
}

/// A conversation as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationView {
    /// Which.
    pub id: ConversationId,
    /// Where it stands.
    pub phase: Phase,
    /// Topic id.
    pub topic: Handle,
    /// BCP 47 tag.
    pub language: String,
    /// When it was opened, ms.
    pub opened: u64,
    /// Everyone who can read or could have: current first.
    pub readers: Vec<Reader>,
    /// Safety number with the peer's device: 60 digits in groups of five; none before a peer is verified.
    pub safety_number: Option<String>,
    /// Epoch.
    pub epoch: u32,
    /// Customer device verified and showed the current agent (the agent's screen shows it).
    pub countersigned: bool,
    /// The peer's messages that were not marked read.
    pub unread: u32,
    /// Last message's time, or `opened`.
    pub updated: u64,
    /// Customer: an agent did not accept in time, and a further reassignment needs a click.
    pub reassignment_waits: bool,
    /// It is being closed by this side: what was written goes first.
    pub closing: bool,
    /// The returning customer's profile, as hex of its key's hash, when the customer sent one that verified.
    pub profile: Option<String>,
    /// Own files whose message waits until the relay has them, oldest first.
    pub uploads: Vec<Upload>,
    /// Own messages up to this counter are on the recipient's device.
    pub delivered: u64,
    /// Own messages up to this counter were read.
    pub read: u64,
}

/// An own file on its way to the relay. It is safe in the vault; its message follows, or the transfer fails and says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Which; [`Event::Transfer`] tells its progress.
    pub transfer: BlobId,
    /// Name as the recipient will see it.
    pub name: String,
    /// Media type.
    pub media_type: String,
    /// Bytes of the file.
    pub length: u64,
    /// When it was sent, ms.
    pub time: u64,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageState {
    /// Own: safe in the vault, not yet at the relay.
    Waiting,
    /// Own: the relay stored it.
    Sent,
    /// Own: the recipient's device has it (end-to-end receipt).
    Delivered,
    /// Own: the recipient read it.
    Read,
    /// Own: expired without receipt, or the device is no longer listed.
    Undelivered,
    /// The peer's.
    Received,
    /// The peer's: composed before the close, arrived after it.
    ReceivedAfterClose,
}

/// One entry of the transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where.
    pub conversation: ConversationId,
    /// Which.
    pub id: MessageId,
    /// Place in this device's transcript, from 1, ascending.
    pub place: u64,
    /// Written by this device.
    pub mine: bool,
    /// Certified name of the writing agent; none for the customer.
    pub author: Option<String>,
    /// The writer's clock, ms.
    pub time: u64,
    /// What it says.
    pub kind: Kind,
    /// What became of it.
    pub state: MessageState,
    /// The first flight fell back to a last-resort prekey: weaker forward secrecy until it rotates.
    pub weak_start: bool,
}

/// States of a file's transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferState {
    /// Being encrypted into the spool.
    Sealing,
    /// On the way to the relay.
    Uploading,
    /// At the relay: the message that refers to it is written in the same batch.
    Uploaded(MessageId),
    /// On the way from the relay.
    Downloading,
    /// Checked and being opened.
    Opening,
    /// The file is there.
    Saved,
    /// Failed.
    Failed(Problem),
}
