//! Two devices, their prekeys, and sessions between them, for the tests of the handshake and the ratchet.

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use sealdesk_protocol::crypto::handshake::{Binding, Preamble};
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::crypto::prekeys::{PrekeyBundle, PrekeyKind, PrekeySecret, VerifiedBundle};
use sealdesk_protocol::ids::{ConversationId, RosterHash, StatementHash};
use sealdesk_protocol::session::{Accepted, Quarantine, Session};
use sealdesk_protocol::wire::envelope::Envelope;

pub(crate) const NOW: u64 = 1_800_000_000_000;
pub(crate) const DAY: u64 = 86_400_000;
pub(crate) const ROSTER: RosterHash = RosterHash([0x52; 32]);
pub(crate) const EPOCH: u32 = 1;

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub(crate) fn binding() -> Binding {
    Binding { conversation: ConversationId([0xC0; 32]), statement: StatementHash([0x57; 32]), generation: 0 }
}

/// A customer who initiates and an agent who answers.
pub(crate) struct World {
    pub(crate) rng: ChaCha20Rng,
    pub(crate) customer: DeviceSecret,
    pub(crate) agent: DeviceSecret,
    pub(crate) last_resort: PrekeySecret,
    pub(crate) one_time: Option<PrekeySecret>,
}

impl World {
    pub(crate) fn new(seed: u64, one_time: bool) -> Self {
        let mut rng = rng(seed);
        let (customer, agent) = (DeviceSecret::generate(&mut rng), DeviceSecret::generate(&mut rng));
        let last_resort = PrekeySecret::generate(PrekeyKind::LastResort, NOW, NOW + 37 * DAY, &mut rng);
        let one_time =
            one_time.then(|| PrekeySecret::generate(PrekeyKind::OneTime, NOW, NOW + 90 * DAY, &mut rng));
        Self { rng, customer, agent, last_resort, one_time }
    }

    pub(crate) fn bundle(&self) -> PrekeyBundle {
        PrekeyBundle {
            last_resort: self.last_resort.publish(&self.agent),
            one_time: self.one_time.as_ref().map(|p| p.publish(&self.agent)),
        }
    }

    pub(crate) fn verified(&self) -> VerifiedBundle {
        self.bundle().verify(&self.agent.public(), NOW).unwrap()
    }

    pub(crate) fn initiate(&mut self) -> Session {
        let bundle = self.verified();
        Session::initiate(&self.customer, &bundle, binding(), &mut self.rng).unwrap()
    }

    pub(crate) fn accept(&self, envelope: &Envelope) -> Result<Accepted, Quarantine> {
        let preamble = Preamble::decode(envelope.preamble().ok_or(Quarantine::NoSession)?)
            .map_err(|_| Quarantine::Malformed)?;
        let verified = preamble.verify(&self.customer.public()).map_err(|_| Quarantine::Signature)?;
        let one_time = match preamble.one_time() {
            Some(id) => Some(self.one_time.as_ref().filter(|p| p.id() == *id).ok_or(Quarantine::NoPrekey)?),
            None => None,
        };
        Session::accept(&self.agent, &verified, &self.last_resort, one_time, &|_| false, envelope, NOW)
    }

    /// Both sides after the first message.
    pub(crate) fn established(seed: u64) -> (Self, Session, Session) {
        let mut world = Self::new(seed, true);
        let mut customer = world.initiate();
        let first = send(&mut customer, b"hello", &mut world.rng);
        let accepted = world.accept(&first).unwrap();
        assert_eq!(accepted.opened.content, b"hello");
        (world, customer, accepted.session)
    }
}

pub(crate) fn send(session: &mut Session, content: &[u8], rng: &mut ChaCha20Rng) -> Envelope {
    let sent = session.encrypt(content, EPOCH, ROSTER, rng).unwrap();
    // Everything travels as bytes.
    Envelope::decode(&sent.encode()).unwrap()
}

pub(crate) fn receive(session: &mut Session, envelope: &Envelope) -> Result<Vec<u8>, Quarantine> {
    session.decrypt(envelope, NOW).map(|opened| opened.content)
}

/// Stored form and skipped keys, for comparing and restarting.
pub(crate) fn freeze(session: &Session) -> (Vec<u8>, Vec<Vec<u8>>) {
    let records = session.skipped_names().map(|name| session.skipped(name).unwrap().to_vec()).collect();
    (session.to_stored().to_vec(), records)
}

pub(crate) fn thaw(frozen: &(Vec<u8>, Vec<Vec<u8>>)) -> Session {
    let mut session = Session::from_stored(&frozen.0).unwrap();
    frozen.1.iter().for_each(|record| session.load_skipped(record).unwrap());
    session
}
