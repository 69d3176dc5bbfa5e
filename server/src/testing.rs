//! A relay without sockets, for tests of what lies between.

use std::sync::Arc;

use sealdesk_protocol::conversation::{
    Action, Governance, Roster, Statement, VerifiedStatement, conversation_id, statements,
};
use sealdesk_protocol::crypto::identity::{DeviceSecret, SignedBytes};
use sealdesk_protocol::crypto::labels;
use sealdesk_protocol::crypto::prekeys::{PrekeyKind, PrekeySecret};
use sealdesk_protocol::generation::SignedGeneration;
use sealdesk_protocol::ids::{ConversationId, StatementHash};
use sealdesk_protocol::wire::{AuthBody, Authenticate, Challenge, PROTOCOL_VERSION, Party};
use tempfile::TempDir;

use self::organisation::{Organisation, RELAY_NAME};
use crate::auth::{self, Authenticated};
use crate::clock::{DAY_MS, now_ms};
use crate::config::RawConfig;
use crate::lifecycle;
use crate::registry::Connected;
use crate::relay::Relay;
use crate::relay::record::{Record, tests::record};
use crate::routing::{AgentRecord, Availability};
use crate::socket::connection::Session;
use crate::store::{DeviceRecord, LastResort};

#[path = "../tests/it/organisation.rs"]
#[expect(unreachable_pub, dead_code, reason = "shared with the tests over sockets")]
pub(crate) mod organisation;

/// See the module's text.
pub(crate) struct Running {
    pub(crate) relay: Arc<Relay>,
    pub(crate) organisation: Organisation,
    /// Without it the relay would be stopping.
    _prepared: lifecycle::Prepared,
    _folder: TempDir,
}

impl Running {
    /// Opened, and nobody connected.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut RawConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let organisation = Organisation::new();
        let org = folder.path().join("org.json");
        organisation.write(&org);
        let nowhere = ([127, 0, 0, 1], 0).into();
        let mut raw = RawConfig::minimal(org, RELAY_NAME.into(), folder.path().join("data"), nowhere);
        change(&mut raw);
        let prepared = lifecycle::prepare(raw.check().unwrap()).await.unwrap();
        Self { relay: prepared.relay(), organisation, _prepared: prepared, _folder: folder }
    }
}

/// A conversation that is open and not accepted.
pub(crate) struct Opened {
    pub(crate) id: ConversationId,
    pub(crate) record: Record,
    pub(crate) statement: StatementHash,
}

impl Running {
    /// One between these devices, as it is stored.
    pub(crate) async fn opened(&self, customer: &DeviceSecret, agent: &DeviceSecret) -> Opened {
        let (root, base, nonce) = (self.organisation.root, record(), [1; 16]);
        let id = conversation_id(&root, &customer.public(), &nonce);
        let action = Action::Open {
            roster: Roster::of(customer.public(), "mira".parse().unwrap(), agent.public()).unwrap(),
            topic: base.topic.clone(),
            language: base.language.clone(),
            consent: base.consent.digest(),
            nonce,
        };
        let signed = self.statement(customer, id, action);
        let verified = VerifiedStatement::verify(&signed, &customer.public()).unwrap();
        let governance = Some(Governance::open(root, &verified).unwrap());
        let record = Record { customer: customer.public(), governance, ..base };
        assert!(self.relay.put(id, 0, record.clone()).await.unwrap());
        Opened { id, record, statement: statements::hash(&signed) }
    }

    /// A statement of the first epoch.
    pub(crate) fn statement(
        &self,
        by: &DeviceSecret,
        conversation: ConversationId,
        action: Action,
    ) -> SignedBytes {
        self.statement_of(1, by, conversation, action)
    }

    pub(crate) fn statement_of(
        &self,
        epoch: u32,
        by: &DeviceSecret,
        conversation: ConversationId,
        action: Action,
    ) -> SignedBytes {
        let (root, signer) = (self.organisation.root, by.hash());
        Statement { root, conversation, epoch, signer, time: now_ms(), expires: u64::MAX, action }.sign(by)
    }

    /// A device of the team who takes `capacity` conversations and has a last-resort pair here. Not connected.
    pub(crate) async fn agent(&self, name: &str, capacity: u16) -> DeviceSecret {
        let device = DeviceSecret::generate(&mut organisation::rng());
        let chain = self.organisation.chain(&self.organisation.certificate(name, &device));
        let who = authenticated(&self.relay, &device, Party::Agent(chain));
        let availability = Some(Availability { available: true, capacity });
        let known = AgentRecord { availability, ..AgentRecord::new(&who, who.agent.as_ref().unwrap()) };
        self.relay.routing.restore(device.hash(), known);
        let now = now_ms();
        let kind = PrekeyKind::LastResort;
        let pair = PrekeySecret::generate(kind, now, now + DAY_MS, &mut organisation::rng()).publish(&device);
        let id = pair.verify(&device.public(), now).unwrap().id();
        let bytes = postcard::to_allocvec(&(id, pair)).unwrap();
        let pair = LastResort { bytes, expires_ms: now + DAY_MS };
        self.relay.store.put_prekeys(device.hash(), Some(pair), Vec::new(), 0).await.unwrap();
        device
    }

    /// A session of a device that counts as connected.
    pub(crate) fn connect(&self, device: &DeviceSecret, party: Party) -> Session {
        let session = self.session(device, party);
        let (inbox, who) = (Arc::clone(&session.inbox), Arc::clone(&session.who));
        self.relay.registry.register(Connected { inbox, who, prefix: session.permit.prefix });
        session
    }

    /// A connection of a device, without its socket.
    pub(crate) fn session(&self, device: &DeviceSecret, party: Party) -> Session {
        let relay = &self.relay;
        let permit = relay.limits.admit(relay.limits.prefix([127, 0, 0, 1].into())).unwrap();
        let who = Arc::new(authenticated(relay, device, party));
        Session::new(Arc::clone(relay), who, Arc::default(), permit, &DeviceRecord::default())
    }
}

/// A device that answered a challenge under the rules of now.
pub(crate) fn authenticated(relay: &Relay, device: &DeviceSecret, party: Party) -> Authenticated {
    let (name, nonce, time) = (relay.config.name.clone(), [7; 32], now_ms());
    let challenge = Challenge { protocol: PROTOCOL_VERSION, relay: name.clone(), nonce, time };
    let vault = SignedGeneration::sign(&name, device, 1);
    let body = AuthBody { relay: name, nonce, time, device: device.public(), vault_generation: 1 };
    let frame = Authenticate {
        protocol: PROTOCOL_VERSION,
        party,
        device: device.public(),
        vault,
        signature: *SignedBytes::sign(labels::AUTH, &body, device).signature(),
    };
    auth::authenticate(frame, &challenge, &relay.policy.org()).unwrap()
}
