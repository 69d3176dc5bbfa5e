//! A customer made by hand, who can say anything to an agent's engine.

use chacha20::ChaCha20Rng;
use sealdesk_client::Command;
use sealdesk_client::testing::World;
use sealdesk_protocol::conversation::ConsentReceipt;
use sealdesk_protocol::conversation::Governance;
use sealdesk_protocol::conversation::Roster;
use sealdesk_protocol::conversation::VerifiedStatement;
use sealdesk_protocol::conversation::content::Content;
use sealdesk_protocol::conversation::content::Kind;
use sealdesk_protocol::conversation::content::Text;
use sealdesk_protocol::conversation::conversation_id;
use sealdesk_protocol::conversation::statements;
use sealdesk_protocol::conversation::statements::Action;
use sealdesk_protocol::conversation::statements::Statement;
use sealdesk_protocol::crypto::identity::SignedBytes;
use sealdesk_protocol::crypto::identity::{DevicePublic, DeviceSecret};
use sealdesk_protocol::crypto::prekeys::VerifiedBundle;
use sealdesk_protocol::ids::ConversationId;
use sealdesk_protocol::ids::DeviceKeyHash;
use sealdesk_protocol::ids::RosterHash;
use sealdesk_protocol::session::Binding;
use sealdesk_protocol::session::Session;
use sealdesk_protocol::testing::handle;
use sealdesk_protocol::testing::rng;
use sealdesk_protocol::wire::envelope::Envelope;
use sealdesk_protocol::wire::{Item, StatementItem};

/// A customer made by hand, who can say anything to an agent's engine.
pub(crate) struct Raw {
    pub(crate) world: World,
    pub(crate) agent: usize,
    pub(crate) secret: DeviceSecret,
    pub(crate) id: ConversationId,
    pub(crate) statement: SignedBytes,
    pub(crate) governance: Governance,
    pub(crate) session: Session,
    pub(crate) rng: ChaCha20Rng,
}

pub(crate) fn consent(world: &World, secret: &DeviceSecret, id: ConversationId) -> SignedBytes {
    let notice = world.org.settings.notices[0].hash();
    let root = world.org.root_hash();
    ConsentReceipt {
        root,
        conversation: id,
        device: secret.public(),
        notice,
        language: "en".into(),
        given: 0,
    }
    .sign(secret)
}

pub(crate) fn open_statement(
    world: &World,
    agent: usize,
    secret: &DeviceSecret,
    consent: &SignedBytes,
) -> Statement {
    let device = world.clients[agent].engine.agent_public().unwrap();
    let root = world.org.root_hash();
    Statement {
        root,
        conversation: conversation_id(&root, &secret.public(), &[5; 16]),
        epoch: 1,
        signer: secret.hash(),
        time: 0,
        expires: u64::MAX,
        action: Action::Open {
            roster: Roster::of(secret.public(), handle("mira"), device).unwrap(),
            topic: handle("general"),
            language: "en".into(),
            consent: consent.digest(),
            nonce: [5; 16],
        },
    }
}

impl Raw {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, false)
    }

    /// With an agent who accepts by hand, or by itself.
    pub(crate) fn with(seed: u64, manual: bool) -> Self {
        let mut world = World::new(seed);
        let agent = world.add_agent("mira", "Mira");
        let availability = Command::SetAvailability { available: true, capacity: 5, manual };
        world.clients[agent].command(availability);
        world.pass(2_000);
        let mut rng = rng(seed + 500);
        let secret = DeviceSecret::generate(&mut rng);
        let root = world.org.root_hash();
        let id = conversation_id(&root, &secret.public(), &[5; 16]);
        let consent = consent(&world, &secret, id);
        let statement = open_statement(&world, agent, &secret, &consent).sign(&secret);
        let verified = VerifiedStatement::verify(&statement, &secret.public()).unwrap();
        let governance = Governance::open(root, &verified).unwrap();
        let device = world.clients[agent].engine.agent_public().unwrap();
        let bundle = world.relay.bundle(&device.hash()).unwrap();
        let bundle = bundle.verify(&device, world.now().wall_ms).unwrap();
        let binding = Binding { conversation: id, statement: verified.hash(), generation: 0 };
        let session = Session::initiate(&secret, &bundle, binding, &mut rng).unwrap();
        let now = world.now().wall_ms;
        let topic = handle("general");
        world.relay.host(secret.public(), topic, consent, statement.clone(), now).unwrap();
        world.pass(3_000);
        Self { world, agent, secret, id, statement, governance, session, rng }
    }

    pub(crate) fn inject(&mut self, item: Item) {
        let mailbox = self.world.clients[self.agent].engine.agent_public().unwrap().mailbox();
        self.world.relay.inject(mailbox, item);
        self.world.pass(1_000);
    }

    pub(crate) fn seal_for(&mut self, content: &[u8], epoch: u32, roster: RosterHash) -> Envelope {
        self.session.encrypt(content, epoch, roster, &mut self.rng).unwrap()
    }

    pub(crate) fn say(&mut self, content: &Content) {
        let roster = self.governance.current().roster_hash;
        let envelope = self.seal_for(&content.encode().unwrap(), 1, roster);
        self.inject(Item::Envelope(envelope.encode()));
    }

    pub(crate) fn text(counter: u64, text: &str) -> Content {
        Content::new(counter, 1, Vec::new(), &Kind::Text(Text(text.into())))
    }

    pub(crate) fn shown(&self) -> Vec<String> {
        self.world.texts(self.agent, &self.id).into_iter().filter(|m| !m.0).map(|m| m.1).collect()
    }

    pub(crate) fn problems(&self) -> Vec<&'static str> {
        self.world.problems(self.agent)
    }

    pub(crate) fn agent_device(&self) -> DeviceKeyHash {
        self.world.clients[self.agent].engine.agent_public().unwrap().hash()
    }
}

pub(crate) fn rows(raw: &Raw, kind: u8) -> usize {
    raw.world.clients[raw.agent].rows.keys().filter(|name| name.0[0] == kind).count()
}

/// The agent's last-resort pair, which serves any number of handshakes.
pub(crate) fn last_resort(raw: &mut Raw) -> VerifiedBundle {
    let device = raw.world.clients[raw.agent].engine.agent_public().unwrap();
    let mut bundle = raw.world.relay.bundle(&device.hash()).unwrap();
    bundle.one_time = None;
    bundle.verify(&device, raw.world.now().wall_ms).unwrap()
}

/// A reset of the customer's by the last-resort pair; the session that it announces is the one in use from now on.
pub(crate) fn reset(raw: &mut Raw, generation: u32) -> Item {
    let bundle = last_resort(raw);
    let (session, item) = announce(raw, generation, &bundle);
    raw.session = session;
    item
}

/// A session of the customer's, and the reset that announces it.
pub(crate) fn announce(raw: &mut Raw, generation: u32, bundle: &VerifiedBundle) -> (Session, Item) {
    let current = raw.governance.current().statement;
    let binding = Binding { conversation: raw.id, statement: current, generation };
    let session = Session::initiate(&raw.secret, bundle, binding, &mut raw.rng).unwrap();
    let (peer, old, new) = (raw.agent_device(), raw.session.id(), session.id());
    let statement = Statement {
        root: raw.world.org.root_hash(),
        conversation: raw.id,
        epoch: 1,
        signer: raw.secret.hash(),
        time: u64::from(generation),
        expires: u64::MAX,
        action: Action::Reset { current, peer, old, new, generation },
    }
    .sign(&raw.secret);
    (session, Item::Statement(StatementItem { statement, agent: None, consent: None }))
}

/// Customers that a relay invents.
pub(crate) fn stranger(raw: &Raw, number: u64, agent: &str, listed: DevicePublic) -> StatementItem {
    let secret = DeviceSecret::generate(&mut rng(10_000 + number));
    let root = raw.world.org.root_hash();
    let id = conversation_id(&root, &secret.public(), &[5; 16]);
    let consent = consent(&raw.world, &secret, id);
    let mut open = open_statement(&raw.world, raw.agent, &secret, &consent);
    if let Action::Open { roster, .. } = &mut open.action {
        *roster = Roster::of(secret.public(), handle(agent), listed).unwrap();
    }
    StatementItem { statement: open.sign(&secret), agent: None, consent: Some(consent) }
}

/// A reassignment from the epoch before, as a relay keeps it with the certificates of then.
pub(crate) fn reassignment(before: &StatementItem, secret: &DeviceSecret, roster: Roster) -> Statement {
    let peeked = Statement::peek(&before.statement).unwrap();
    assert_eq!(peeked.signer, secret.hash());
    let previous = statements::hash(&before.statement);
    Statement { epoch: peeked.epoch + 1, action: Action::Reassign { previous, roster }, ..peeked }
}
