//! Both halves of the handshake, and what it refuses.

use super::*;
use crate::crypto::prekeys::{PrekeyBundle, VerifiedBundle};
use chacha20::{ChaCha20Rng, rand_core::SeedableRng};

const BINDING: Binding =
    Binding { conversation: ConversationId([1; 32]), statement: StatementHash([2; 32]), generation: 3 };

struct Parties {
    rng: ChaCha20Rng,
    initiator: DeviceSecret,
    responder: DeviceSecret,
    last_resort: PrekeySecret,
    one_time: PrekeySecret,
}

impl Parties {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::from_seed([6; 32]);
        Self {
            initiator: DeviceSecret::generate(&mut rng),
            responder: DeviceSecret::generate(&mut rng),
            last_resort: PrekeySecret::generate(PrekeyKind::LastResort, 0, 9, &mut rng),
            one_time: PrekeySecret::generate(PrekeyKind::OneTime, 0, 9, &mut rng),
            rng,
        }
    }

    fn bundle(&self) -> VerifiedBundle {
        let one_time = Some(self.one_time.publish(&self.responder));
        let last_resort = self.last_resort.publish(&self.responder);
        PrekeyBundle { last_resort, one_time }.verify(&self.responder.public(), 1).unwrap()
    }

    /// A preamble changed and signed anew by its initiator.
    fn hostile(&mut self, change: impl FnOnce(&mut Preamble)) -> Preamble {
        let bundle = self.bundle();
        let (_, mut preamble) = initiate(&self.initiator, &bundle, BINDING, &mut self.rng).unwrap();
        change(&mut preamble);
        preamble.signature = self.initiator.sign(labels::PREAMBLE, &preamble.transcript());
        preamble
    }

    fn respond(&self, preamble: &Preamble) -> Result<SessionKeys, RespondError> {
        let verified = preamble.verify(&self.initiator.public()).unwrap();
        respond(&self.responder, &verified, &self.last_resort, Some(&self.one_time))
    }
}

#[test]
fn both_sides_derive_the_same() {
    let mut parties = Parties::new();
    let bundle = parties.bundle();
    let (ours, preamble) = initiate(&parties.initiator, &bundle, BINDING, &mut parties.rng).unwrap();
    let preamble = Preamble::decode(&preamble.encode()).unwrap();
    let theirs = parties.respond(&preamble).unwrap();
    assert_eq!((ours.session, preamble.session()), (theirs.session, theirs.session));
    assert_eq!(ours.root, theirs.root);
    assert_eq!(ours.initiator_header, theirs.initiator_header);
    assert_eq!(ours.responder_header, theirs.responder_header);
    assert_ne!(ours.initiator_header, ours.responder_header);
}

#[test]
fn keys_of_low_order_are_refused_on_both_sides() {
    let mut parties = Parties::new();
    let preamble = parties.hostile(|preamble| preamble.ephemeral = [0; 32]);
    assert_eq!(parties.respond(&preamble).err(), Some(RespondError::Protocol));

    let changes: [fn(&mut VerifiedBundle); 3] = [
        |b| b.last_resort.x = [0; 32],
        |b| b.device.x = [0; 32],
        |b| b.one_time.as_mut().unwrap().x = [0; 32],
    ];
    for change in changes {
        let mut bundle = parties.bundle();
        change(&mut bundle);
        assert_eq!(initiate(&parties.initiator, &bundle, BINDING, &mut parties.rng).err(), Some(LowOrder));
    }
}

/// Every input is in T: another value gives another session, even to those who hold all keys.
#[test]
fn every_input_is_bound() {
    let mut parties = Parties::new();
    let same = parties.hostile(|_| ()).transcript();
    let changes: [fn(&mut Preamble); 10] = [
        |p| p.suite = 2,
        |p| p.initiator.0[0] ^= 1,
        |p| p.responder.0[0] ^= 1,
        |p| p.last_resort.0[0] ^= 1,
        |p| p.one_time = None,
        |p| p.ephemeral[0] ^= 1,
        |p| p.ciphertext[0] ^= 1,
        |p| p.binding.conversation.0[0] ^= 1,
        |p| p.binding.statement.0[0] ^= 1,
        |p| p.binding.generation += 1,
    ];
    let mut all = alloc::collections::BTreeSet::from([same]);
    let preamble = parties.hostile(|_| ());
    all.insert(preamble.transcript());
    for (i, change) in changes.into_iter().enumerate() {
        let mut changed = preamble.clone();
        change(&mut changed);
        assert!(all.insert(changed.transcript()), "{i}");
    }
}

#[test]
fn an_unknown_suite_is_refused() {
    let mut parties = Parties::new();
    let preamble = parties.hostile(|p| p.suite = 2);
    assert_eq!(Preamble::decode(&preamble.encode()), Err(MalformedPreamble));
    let short = parties.hostile(|p| p.ciphertext = [0; 10].into());
    assert_eq!(Preamble::decode(&short.encode()), Err(MalformedPreamble));
}

/// A ciphertext of something else: implicit rejection, so the keys differ and nothing says so.
#[test]
fn a_foreign_ciphertext_gives_other_keys() {
    let mut parties = Parties::new();
    let bundle = parties.bundle();
    let (ours, mut preamble) = initiate(&parties.initiator, &bundle, BINDING, &mut parties.rng).unwrap();
    preamble.ciphertext[5] ^= 1;
    preamble.signature = parties.initiator.sign(labels::PREAMBLE, &preamble.transcript());
    assert_ne!(parties.respond(&preamble).unwrap().root, ours.root);
}

/// Whoever holds the keys of the prekeys' owner could else claim any initiator; and a relay could feign a reset's evidence.
#[test]
fn the_signature_is_the_named_initiators() {
    let mut parties = Parties::new();
    let own = parties.initiator.public();
    let good = parties.hostile(|_| ());
    assert!(good.verify(&own).is_ok());
    for bit in 0..SIGNATURE_LEN * 8 {
        let mut bent = good.clone();
        bent.signature[bit / 8] ^= 1 << (bit % 8);
        assert!(bent.verify(&own).is_err(), "bit {bit}");
    }
    let mut by_another = good.clone();
    by_another.signature = parties.responder.sign(labels::PREAMBLE, &good.transcript());
    assert!(by_another.verify(&own).is_err(), "signed by another");
    let mut other_use = good.clone();
    other_use.signature = parties.initiator.sign(labels::STATEMENT, &good.transcript());
    assert!(other_use.verify(&own).is_err(), "signed for another use");
    // Rightly signed by a device, but naming another one.
    let other = parties.responder.hash();
    let misnamed = parties.hostile(|preamble| preamble.initiator = other);
    assert!(misnamed.verify(&own).is_err(), "names another");
}
