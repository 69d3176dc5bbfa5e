//! One clock, one relay, several clients, and the links between.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, VecDeque};

use chacha20::ChaCha20Rng;
use rand_core::Rng;
use sealdesk_protocol::conversation::content::{Kind, Text};
use sealdesk_protocol::ids::{ConversationId, Handle};
use sealdesk_protocol::testing::{TestOrg, handle};

use super::client::Client;
use super::relay::{Connection, Relay};
use crate::engine::{Command, Event, Input, Message, MessageState, Now, Output, Owner, Phase};

/// Start of the world, ms since the Unix epoch.
const EPOCH: u64 = 1_800_000_000_000;

/// Everything on one clock.
#[derive(Debug)]
pub struct World {
    /// The organisation.
    pub org: TestOrg,
    /// The relay.
    pub relay: Relay,
    /// The programs.
    pub clients: Vec<Client>,
    /// ms since the start.
    pub clock: u64,
    /// Whether connections can be made.
    pub up: bool,
    /// Frames are swallowed without a word.
    pub freeze: bool,
    /// One of so many frames kills its connection.
    pub cut: Option<u32>,
    rng: ChaCha20Rng,
    /// Frames to the relay (true) or from it, per connection, in order.
    links: BTreeMap<Connection, Link>,
}

#[derive(Debug, Default)]
struct Link {
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Vec<u8>>,
    closing: bool,
}

impl World {
    /// An organisation and its relay.
    pub fn new(seed: u64) -> Self {
        let org = TestOrg::new(seed, EPOCH);
        let relay = Relay::new(org.verified());
        let rng = sealdesk_protocol::testing::rng(seed ^ 0x5ea1);
        Self {
            org,
            relay,
            clients: Vec::new(),
            clock: 0,
            up: true,
            freeze: false,
            cut: None,
            rng,
            links: BTreeMap::new(),
        }
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        Now { wall_ms: EPOCH + self.clock, mono_ms: self.clock }
    }

    /// A customer's program.
    pub fn add_customer(&mut self) -> usize {
        let seed = 100 + self.clients.len() as u64;
        self.clients.push(Client::new(seed, Owner::Customer, self.org.verified(), self.now()));
        self.clients.len() - 1
    }

    /// An agent's program, certified for team `support`.
    pub fn add_agent(&mut self, agent: &str, name: &str) -> usize {
        let at = self.add_uncertified();
        let device = self.clients[at].engine.agent_public();
        if let Some(device) = device {
            let chain = self.org.agent_chain(agent, name, device);
            self.clients[at].command(Command::InstallCertificate { chain });
        }
        at
    }

    /// An agent's program without certificate.
    pub fn add_uncertified(&mut self) -> usize {
        let seed = 100 + self.clients.len() as u64;
        self.clients.push(Client::new(seed, Owner::Agent, self.org.verified(), self.now()));
        self.clients.len() - 1
    }

    /// Queues the opening of a conversation about `general`; answers the command's id.
    pub fn open(&mut self, customer: usize) -> u64 {
        let notice = self.org.settings.notices[0].hash();
        let topic: Handle = handle("general");
        self.clients[customer].command(Command::Open { topic, language: "en".into(), notice })
    }

    /// Opens a conversation and runs until it has an id.
    ///
    /// # Panics
    /// When the engine refuses.
    pub fn conversation(&mut self, customer: usize) -> ConversationId {
        let command = self.open(customer);
        self.settle();
        let done = self.clients[customer].events.iter().find_map(|event| match event {
            Event::Done { id, conversation, .. } if *id == command => *conversation,
            _ => None,
        });
        assert!(done.is_some(), "opening failed: {:?}", self.clients[customer].events);
        done.unwrap_or(ConversationId([0; 32]))
    }

    /// Queues a text; answers the command's id.
    pub fn say(&mut self, client: usize, conversation: ConversationId, text: &str) -> u64 {
        self.clients[client].command(Command::Send { conversation, kind: Kind::Text(Text(text.into())) })
    }

    /// The texts of a client's transcript: own or not, text, state.
    ///
    /// # Panics
    /// When a row does not open.
    pub fn texts(&self, client: usize, conversation: &ConversationId) -> Vec<(bool, String, MessageState)> {
        let page = self.clients[client].transcript(conversation);
        let Ok(messages) = page else { panic!("the transcript does not open: {page:?}") };
        let text = |m: Message| match m.kind {
            Kind::Text(Text(text)) => Some((m.mine, text, m.state)),
            _ => None,
        };
        messages.into_iter().filter_map(text).collect()
    }

    /// Codes of the problems that a client was told, oldest first.
    pub fn problems(&self, client: usize) -> Vec<&'static str> {
        let code = |event: &Event| match event {
            Event::Problem { problem, .. } | Event::Failed { problem, .. } => Some(problem.code),
            _ => None,
        };
        self.clients[client].events.iter().filter_map(code).collect()
    }

    /// What a client was told to hold no longer, oldest first: where, and the problem's code.
    pub fn resolved(&self, client: usize) -> Vec<(Option<ConversationId>, &'static str)> {
        let told = |event: &Event| match event {
            Event::Resolved { conversation, code, .. } => Some((*conversation, *code)),
            _ => None,
        };
        self.clients[client].events.iter().filter_map(told).collect()
    }

    /// The phase of a conversation.
    pub fn phase(&self, client: usize, conversation: &ConversationId) -> Option<Phase> {
        self.clients[client].engine.conversation(conversation).map(|view| view.phase)
    }

    /// An agent `mira`, a customer, and a conversation that both take part in.
    pub fn talking(seed: u64) -> (Self, usize, usize, ConversationId) {
        let mut world = Self::new(seed);
        let agent = world.add_agent("mira", "Mira");
        let customer = world.add_customer();
        world.pass(2_000);
        let id = world.conversation(customer);
        world.pass(5_000);
        (world, agent, customer, id)
    }

    /// Runs until nothing is under way, without letting time pass.
    ///
    /// # Panics
    /// When it never ends.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            if !self.turn() {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// One step of a client, so that what was commanded is committed.
    pub fn settle_committing(&mut self, client: usize) {
        let now = self.clients[client].reads(self.now());
        if self.clients[client].step(now).is_ok() {
            self.perform(client);
        }
    }

    /// Lets time pass in small pieces.
    pub fn pass(&mut self, ms: u64) {
        let end = self.clock + ms;
        self.settle();
        while self.clock < end {
            let next = self.clients.iter().filter_map(|c| c.wake_at).min().unwrap_or(end);
            self.clock = next.clamp(self.clock + 1, end);
            self.settle();
        }
    }

    /// Cuts every connection.
    pub fn disconnect_all(&mut self) {
        let all: Vec<Connection> = self.links.keys().copied().collect();
        all.into_iter().for_each(|c| self.kill(c));
    }

    fn kill(&mut self, connection: Connection) {
        if self.links.remove(&connection).is_some() {
            self.relay.closed(connection);
            self.clients[connection.0].input(Input::Closed(connection.1));
        }
    }

    /// The program dies and starts again from its vault.
    ///
    /// # Panics
    /// When the vault does not open.
    pub fn restart(&mut self, client: usize) {
        let now = self.clients[client].reads(self.now());
        let result = self.clients[client].reopen(now);
        assert!(result.is_ok(), "{result:?}");
        self.forget_links(client);
    }

    fn forget_links(&mut self, client: usize) {
        let gone: Vec<Connection> = self.links.keys().filter(|c| c.0 == client).copied().collect();
        for connection in gone {
            self.links.remove(&connection);
            self.relay.closed(connection);
        }
    }

    /// Moves everything that can move once; false when nothing did.
    fn turn(&mut self) -> bool {
        let mut moved = false;
        let now = self.now();
        for at in 0..self.clients.len() {
            if self.clients[at].is_due(self.clock) {
                moved = true;
                let now = self.clients[at].reads(now);
                match self.clients[at].step(now) {
                    Ok(false) => self.perform(at),
                    Ok(true) => self.forget_links(at),
                    Err(error) => panic!("the vault does not open again: {error}"),
                }
            }
        }
        let connections: Vec<Connection> = self.links.keys().copied().collect();
        for connection in connections {
            moved |= self.carry(connection, now);
        }
        for (connection, frame) in self.relay.take() {
            moved = true;
            match (self.links.get_mut(&connection), frame) {
                (Some(link), Some(frame)) => match frame.encode() {
                    Ok(bytes) => link.down.push_back(bytes),
                    Err(error) => panic!("the relay's frame does not encode: {error}"),
                },
                (Some(link), None) => link.closing = true,
                _ => {}
            }
        }
        moved
    }

    /// Outputs of a client, in order.
    fn perform(&mut self, at: usize) {
        for output in core::mem::take(&mut self.clients[at].outputs) {
            match output {
                Output::Connect(number) if self.up => {
                    self.links.insert((at, number), Link::default());
                    self.clients[at].input(Input::Opened(number));
                    let wall = self.now().wall_ms;
                    self.relay.opened((at, number), wall);
                }
                Output::Connect(number) => self.clients[at].input(Input::Closed(number)),
                Output::Send(number, bytes) => {
                    if let Some(link) = self.links.get_mut(&(at, number)) {
                        link.up.push_back(bytes);
                    }
                }
                Output::Disconnect(number) => {
                    self.links.remove(&(at, number));
                    self.relay.closed((at, number));
                }
                _ => {}
            }
        }
    }

    /// One frame in each direction of a connection.
    fn carry(&mut self, connection: Connection, now: Now) -> bool {
        let cut = self.cut.is_some_and(|n| self.rng.next_u32().is_multiple_of(n));
        let Some(link) = self.links.get_mut(&connection) else { return false };
        if self.freeze {
            link.up.clear();
            link.down.clear();
            return false;
        }
        let (up, down) = (link.up.pop_front(), link.down.pop_front());
        let moved = up.is_some() || down.is_some();
        let ends = link.closing && link.down.is_empty();
        if moved && cut {
            self.kill(connection);
            return true;
        }
        if let Some(bytes) = up {
            self.relay.frame(connection, &bytes, now.wall_ms);
        }
        if let Some(bytes) = down {
            self.clients[connection.0].input(Input::Frame(connection.1, bytes));
        }
        if ends {
            self.kill(connection);
        }
        moved
    }
}
