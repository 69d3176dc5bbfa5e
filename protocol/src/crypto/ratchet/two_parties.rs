//! Two ratchets that talk, with every byte and every secret on record, for the tests with attackers and hostile peers.

use alloc::vec::Vec;

use chacha20::{ChaCha20Rng, rand_core::SeedableRng};

use super::receive::Parts;
use super::send::Sealed;
use super::{Ratchet, Turn};
use crate::crypto::dh::DhSecret;
use crate::crypto::handshake::{self, Binding, Preamble};
use crate::crypto::identity::DeviceSecret;
use crate::crypto::kem::{KemPublic, KemSecret};
use crate::crypto::prekeys::{PrekeyBundle, PrekeyKind, PrekeySecret};
use crate::ids::{ConversationId, RosterHash, StatementHash};

pub(super) const CLEAR: &[u8] = b"the clear part";
pub(super) const NOW: u64 = 1_000;
const EPHEMERAL_SEED: u64 = 77;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Customer,
    Agent,
}
use Side::{Agent, Customer};

/// A recorded message.
pub(super) struct Wire {
    pub(super) from: Side,
    pub(super) content: Vec<u8>,
    pub(super) sealed: Sealed,
}

/// Both parties, everything that went over the wire, and every secret that was ever made.
pub(super) struct World {
    pub(super) customer: Ratchet,
    pub(super) agent: Ratchet,
    pub(super) rng: ChaCha20Rng,
    pub(super) wire: Vec<Wire>,
    pub(super) preamble: Preamble,
    pub(super) x: Vec<DhSecret>,
    pub(super) kem: Vec<KemSecret>,
    pub(super) devices: [DeviceSecret; 2],
    pub(super) prekeys: [PrekeySecret; 2],
}

impl World {
    pub(super) fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let devices = [DeviceSecret::generate(&mut rng), DeviceSecret::generate(&mut rng)];
        let prekeys = [PrekeyKind::LastResort, PrekeyKind::OneTime]
            .map(|kind| PrekeySecret::generate(kind, 0, NOW * 2, &mut rng));
        let [last_resort, one_time] = &prekeys;
        let bundle = PrekeyBundle {
            last_resort: last_resort.publish(&devices[1]),
            one_time: Some(one_time.publish(&devices[1])),
        };
        let bundle = bundle.verify(&devices[1].public(), NOW).unwrap();
        let binding = Binding {
            conversation: ConversationId([1; 32]),
            statement: StatementHash([2; 32]),
            generation: 0,
        };
        let mut seeded = ChaCha20Rng::seed_from_u64(EPHEMERAL_SEED);
        let (keys, preamble) = handshake::initiate(&devices[0], &bundle, binding, &mut seeded).unwrap();
        let kem = KemPublic::validate(one_time.kem.public()).unwrap();
        let customer = Ratchet::initiator(keys, *last_resort.x.public(), kem);
        let verified = preamble.verify(&devices[0].public()).unwrap();
        let keys = handshake::respond(&devices[1], &verified, last_resort, Some(one_time)).unwrap();
        let agent = Ratchet::responder(keys, last_resort.x.duplicate(), one_time.kem.duplicate());
        // The EK secret, drawn first from the same seed.
        let ephemeral = DhSecret::generate(&mut ChaCha20Rng::seed_from_u64(EPHEMERAL_SEED));
        let x = Vec::from([
            ephemeral,
            devices[0].agreement().duplicate(),
            devices[1].agreement().duplicate(),
            last_resort.x.duplicate(),
            one_time.x.duplicate(),
        ]);
        let kem = Vec::from([last_resort.kem.duplicate(), one_time.kem.duplicate()]);
        Self { customer, agent, rng, wire: Vec::new(), preamble, x, kem, devices, prekeys }
    }

    /// One message, delivered; new secrets of a turn are noted.
    pub(super) fn say(&mut self, from: Side) {
        let content = alloc::format!("message {}", self.wire.len()).into_bytes();
        let (sender, receiver) = match from {
            Customer => (&mut self.customer, &mut self.agent),
            Agent => (&mut self.agent, &mut self.customer),
        };
        let turned = matches!(sender.turn, Turn::Mine { .. });
        let sealed = sender.encrypt(CLEAR, 1, RosterHash([3; 32]), &content, &mut self.rng).unwrap();
        if let (true, Turn::Theirs { me, .. }) = (turned, &sender.turn) {
            self.x.push(me.x.duplicate());
            self.kem.push(me.kem.duplicate());
        }
        let got = receiver.decrypt(&parts(&sealed), NOW, NOW * 2).unwrap();
        assert_eq!(got.content, content);
        self.wire.push(Wire { from, content, sealed });
    }

    pub(super) fn say_all(&mut self, sides: &[Side]) {
        sides.iter().for_each(|side| self.say(*side));
    }
}

pub(super) fn parts(sealed: &Sealed) -> Parts<'_> {
    Parts {
        clear: CLEAR,
        chain: &sealed.chain,
        nonce: &sealed.nonce,
        header: &sealed.header,
        body: &sealed.body,
    }
}
