//! One genuine organisation, handshake and session, made once, that the bodies alter.

use alloc::vec::Vec;
use std::sync::OnceLock;

use crate::crypto::certificate::CertificateChain;
use crate::crypto::handshake::{Binding, Preamble};
use crate::crypto::identity::DeviceSecret;
use crate::crypto::prekeys::{PrekeyBundle, PrekeyKind, PrekeySecret};
use crate::ids::{ConversationId, RosterHash, StatementHash};
use crate::org::{OrgFile, VerifiedOrg};
use crate::session::{Accepted, Quarantine, Session};
use crate::testing::{TestOrg, rng};
use crate::wire::envelope::Envelope;

pub(super) const NOW: u64 = 1_800_000_000_000;
pub(super) const EPOCH: u32 = 1;
pub(super) const ROSTER: RosterHash = RosterHash([0x52; 32]);
const DAY: u64 = 86_400_000;

/// A session as it is stored, with its skipped keys.
pub(super) type Frozen = (Vec<u8>, Vec<Vec<u8>>);

pub(super) fn freeze(session: &Session) -> Frozen {
    let records = session.skipped_names().filter_map(|name| session.skipped(name)).map(|r| r.to_vec());
    (session.to_stored().to_vec(), records.collect())
}

pub(super) fn thaw(frozen: &Frozen) -> Session {
    let mut session = Session::from_stored(&frozen.0).unwrap();
    frozen.1.iter().for_each(|record| session.load_skipped(record).unwrap());
    session
}

/// An envelope and what it says.
pub(super) struct Sent {
    pub(super) bytes: Vec<u8>,
    pub(super) envelope: Envelope,
    pub(super) content: &'static [u8],
}

impl Sent {
    fn new(envelope: Envelope, content: &'static [u8]) -> Self {
        Self { bytes: envelope.encode(), envelope, content }
    }
}

pub(super) struct World {
    pub(super) org: TestOrg,
    pub(super) verified: VerifiedOrg,
    pub(super) file: OrgFile,
    pub(super) chain: CertificateChain,
    pub(super) customer: DeviceSecret,
    pub(super) agent: DeviceSecret,
    pub(super) last_resort: PrekeySecret,
    pub(super) one_time: PrekeySecret,
    pub(super) bundle: PrekeyBundle,
    /// The customer's first envelope, which begins the session.
    pub(super) first: Sent,
    /// Its preamble.
    pub(super) preamble: Preamble,
    /// The agent's session after one turn, with a skipped key.
    pub(super) session: Frozen,
    /// The customer's session after that.
    pub(super) sender: Frozen,
    /// What that session opens: skipped, next of its chain, first and third of the next chain.
    pub(super) stored: Vec<Sent>,
    /// What it opens of class ephemeral.
    pub(super) typing: Sent,
}

pub(super) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::new)
}

impl World {
    fn new() -> Self {
        let mut rng = rng(0xf0_22);
        let mut org = TestOrg::new(7, NOW);
        let (customer, agent) = (DeviceSecret::generate(&mut rng), DeviceSecret::generate(&mut rng));
        let chain = org.agent_chain("mira", "Mira K.", agent.public());
        let gone = DeviceSecret::generate(&mut rng).hash();
        org.revoke(1, NOW, alloc::vec![crate::crypto::certificate::Revoked::Device(gone)]);
        let last_resort = PrekeySecret::generate(PrekeyKind::LastResort, NOW, NOW + 37 * DAY, &mut rng);
        let one_time = PrekeySecret::generate(PrekeyKind::OneTime, NOW, NOW + 90 * DAY, &mut rng);
        let bundle = PrekeyBundle {
            last_resort: last_resort.publish(&agent),
            one_time: Some(one_time.publish(&agent)),
        };

        let verified_bundle = bundle.verify(&agent.public(), NOW).unwrap();
        let mut c = Session::initiate(&customer, &verified_bundle, binding(), &mut rng).unwrap();
        let mut from_customer = |c: &mut Session, content: &'static [u8]| {
            Sent::new(c.encrypt(content, EPOCH, ROSTER, &mut rng).unwrap(), content)
        };
        let first = from_customer(&mut c, b"first");
        let skipped = from_customer(&mut c, b"skipped");
        let second = from_customer(&mut c, b"second");
        let preamble = Preamble::decode(first.envelope.preamble().unwrap()).unwrap();
        let accepted = accept(&customer, &agent, &last_resort, &one_time, &first.envelope).unwrap();
        let mut a = accepted.session;
        assert_eq!(a.decrypt(&second.envelope, NOW).unwrap().content, second.content);
        let next = from_customer(&mut c, b"next of the chain");
        let answer = a.encrypt(b"answer", EPOCH, ROSTER, &mut super::super::rng(9)).unwrap();
        c.decrypt(&answer, NOW).unwrap();
        let turned = from_customer(&mut c, b"first of the next chain");
        let fifth = from_customer(&mut c, b"fifth");
        let ahead = from_customer(&mut c, b"ahead");
        drop(fifth);
        let typing = c.encrypt_ephemeral(b"typing", &mut super::super::rng(10)).unwrap();
        let session = freeze(&a);
        // The ephemeral key of the new chain is known once a message of it was received.
        let file = org.file();
        Self {
            verified: org.verified(),
            file,
            org,
            chain,
            customer,
            agent,
            last_resort,
            one_time,
            bundle,
            first,
            preamble,
            session,
            sender: freeze(&c),
            stored: alloc::vec![skipped, next, turned, ahead],
            typing: Sent::new(typing, b"typing"),
        }
    }

    /// The agent's answer to a first envelope.
    pub(super) fn accept(&self, envelope: &Envelope) -> Result<Accepted, Quarantine> {
        accept(&self.customer, &self.agent, &self.last_resort, &self.one_time, envelope)
    }
}

pub(super) fn binding() -> Binding {
    Binding { conversation: ConversationId([0xC0; 32]), statement: StatementHash([0x57; 32]), generation: 0 }
}

fn accept(
    customer: &DeviceSecret,
    agent: &DeviceSecret,
    last_resort: &PrekeySecret,
    one_time: &PrekeySecret,
    envelope: &Envelope,
) -> Result<Accepted, Quarantine> {
    let preamble = Preamble::decode(envelope.preamble().ok_or(Quarantine::NoSession)?)
        .map_err(|_| Quarantine::Malformed)?;
    let verified = preamble.verify(&customer.public()).map_err(|_| Quarantine::Signature)?;
    let one_time = preamble.one_time().map(|_| one_time);
    Session::accept(agent, &verified, last_resort, one_time, &|_| false, envelope, NOW)
}
