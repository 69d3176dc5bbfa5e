//! The cryptography of one session beside Olm's. Both sides' work counts, with encoding and decoding of what travels;
//! ours is padded to 1 KiB, has encrypted headers, and every chain an ML-KEM-768 exchange besides X25519.

use std::hint::black_box;

use chacha20::ChaCha20Rng;
use sealdesk_protocol::conversation::conversation_id;
use sealdesk_protocol::crypto::certificate::DAY;
use sealdesk_protocol::crypto::handshake::{Binding, Preamble};
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::crypto::prekeys::{PrekeyBundle, PrekeyKind, PrekeySecret};
use sealdesk_protocol::ids::{RootHash, RosterHash, StatementHash};
use sealdesk_protocol::session::Session;
use sealdesk_protocol::testing;
use sealdesk_protocol::wire::envelope::Envelope;

use crate::error::Error;
use crate::olm;
use crate::report::{Better, Row};
use crate::rounds::{Effort, interleave, micros_each};

/// The length for which the goals are set, bytes.
const TEXT: usize = 256;
/// A message of 200 characters, for what travels.
const SHORT_TEXT: usize = 200;
const NOW: u64 = 1_800_000_000_000;
const ROSTER: RosterHash = RosterHash([3; 32]);

pub(crate) fn one_way(effort: Effort) -> Result<Row, Error> {
    let text = [b'x'; TEXT];
    let (mut ours, mut peer) = (Pair::new()?, olm::Pair::new()?);
    let count = 200 * effort.scale;
    let (value, peer_value) = interleave(
        effort.rounds,
        || micros_each(count, || ours.one_way(&text)),
        || micros_each(count, || peer.one_way(&text)),
    )?;
    Ok(Row::new("ratchet_one_way", Better::Lower, (value, "us"), (peer_value, olm::NAME))
        .goal(3.0)
        .note("encrypt + decrypt 256 B in the middle of a chain"))
}

pub(crate) fn round_trip(effort: Effort) -> Result<Row, Error> {
    let text = [b'x'; TEXT];
    let (mut ours, mut peer) = (Pair::new()?, olm::Pair::new()?);
    let count = 20 * effort.scale;
    let (value, peer_value) = interleave(
        effort.rounds,
        || micros_each(count, || ours.round_trip(&text)),
        || micros_each(count, || peer.round_trip(&text)),
    )?;
    Ok(Row::new("ratchet_round_trip", Better::Lower, (value, "us"), (peer_value, olm::NAME))
        .goal(1.0 / 1.65)
        .note("256 B each way, a ratchet step each way; ours with ML-KEM-768 in both steps"))
}

pub(crate) fn establish(effort: Effort) -> Result<Row, Error> {
    let text = [b'x'; TEXT];
    let count = 10 * effort.scale;
    let mut rng = testing::rng(4);
    let (alice, bob) = (Party::new(&mut rng), Party::new(&mut rng));
    let olm_alice = vodozemac::olm::Account::new();
    let mut olm_bob = vodozemac::olm::Account::new();
    // Prekeys are made before the clock starts, on both sides.
    let ours = || {
        let mut bundles: Vec<_> = (0..count).map(|_| bob.publish(&mut rng)).collect();
        let mut rng = testing::rng(5);
        micros_each(count, || {
            let (one_time, bundle) = bundles.pop().ok_or_else(|| Error::ours("no bundle left"))?;
            black_box(establish_ours(&alice, &bob, &one_time, &bundle, &text, &mut rng)?);
            Ok(())
        })
    };
    let peer = || {
        let mut bundles = olm::Bundle::publish(&mut olm_bob, count);
        micros_each(count, || {
            let bundle = bundles.pop().ok_or_else(|| Error::peer("no bundle left"))?;
            black_box(olm::establish(&olm_alice, &mut olm_bob, &bundle, &text)?);
            Ok(())
        })
    };
    let (value, peer_value) = interleave(effort.rounds, ours, peer)?;
    Ok(Row::new("establish", Better::Lower, (value, "us"), (peer_value, olm::NAME)).note(
        "bundle checked, session begun, first message sealed and opened; ours: hybrid, 2 prekey signatures and 1 over \
         the handshake; Olm: 3DH and 1 signature, as in Matrix",
    ))
}

pub(crate) fn wire_bytes(_: Effort) -> Result<Row, Error> {
    let text = [b'x'; SHORT_TEXT];
    let bytes = Pair::new()?.envelope(&text)?.len();
    let peer_bytes = olm::Pair::new()?.message_bytes(&text)?;
    #[expect(clippy::cast_precision_loss, reason = "sizes of messages are far below 2^52")]
    let (value, peer_value) = (bytes as f64, peer_bytes as f64);
    Ok(Row::new("wire_bytes", Better::Lower, (value, "B"), (peer_value, olm::NAME)).note(
        "envelope of 200 characters; every one carries its chain's post-quantum keys, so that losing one loses nothing else",
    ))
}

#[derive(Debug)]
struct Party {
    device: DeviceSecret,
    last_resort: PrekeySecret,
}

impl Party {
    fn new(rng: &mut ChaCha20Rng) -> Party {
        let device = DeviceSecret::generate(rng);
        let last_resort = PrekeySecret::generate(PrekeyKind::LastResort, NOW, NOW + 30 * DAY, rng);
        Party { device, last_resort }
    }

    /// A one-time pair and the bundle that carries it.
    fn publish(&self, rng: &mut ChaCha20Rng) -> (PrekeySecret, PrekeyBundle) {
        let one_time = PrekeySecret::generate(PrekeyKind::OneTime, NOW, NOW + 30 * DAY, rng);
        let bundle = PrekeyBundle {
            last_resort: self.last_resort.publish(&self.device),
            one_time: Some(one_time.publish(&self.device)),
        };
        (one_time, bundle)
    }
}

/// Both sides of a handshake up to the first opened message.
fn establish_ours(
    alice: &Party,
    bob: &Party,
    one_time: &PrekeySecret,
    bundle: &PrekeyBundle,
    text: &[u8],
    rng: &mut ChaCha20Rng,
) -> Result<(Session, Session), Error> {
    let binding = Binding {
        conversation: conversation_id(&RootHash([1; 32]), &alice.device.public(), &[2; 16]),
        statement: StatementHash([4; 32]),
        generation: 0,
    };
    let verified = bundle.verify(&bob.device.public(), NOW).map_err(Error::ours)?;
    let mut ours = Session::initiate(&alice.device, &verified, binding, rng).map_err(Error::ours)?;
    let bytes = ours.encrypt(text, 1, ROSTER, rng).map_err(Error::ours)?.encode();

    let envelope = Envelope::decode(&bytes).map_err(Error::ours)?;
    let preamble = envelope.preamble().ok_or_else(|| Error::ours("the first envelope has no preamble"))?;
    let preamble = Preamble::decode(preamble).map_err(Error::ours)?;
    let preamble = preamble.verify(&alice.device.public()).map_err(Error::ours)?;
    let accepted =
        Session::accept(&bob.device, &preamble, &bob.last_resort, Some(one_time), &|_| false, &envelope, NOW)
            .map_err(Error::ours)?;
    black_box(accepted.opened.content);
    Ok((ours, accepted.session))
}

/// Two sessions that have seen a message each way, so that no envelope carries a preamble.
#[derive(Debug)]
struct Pair {
    alice: Session,
    bob: Session,
    rng: ChaCha20Rng,
}

impl Pair {
    fn new() -> Result<Pair, Error> {
        let mut rng = testing::rng(6);
        let (alice, bob) = (Party::new(&mut rng), Party::new(&mut rng));
        let (one_time, bundle) = bob.publish(&mut rng);
        let (alice, bob) = establish_ours(&alice, &bob, &one_time, &bundle, b"hello", &mut rng)?;
        let mut pair = Pair { alice, bob, rng };
        pass(&mut pair.bob, &mut pair.alice, b"hello", &mut pair.rng)?;
        pair.one_way(b"settled")?;
        Ok(pair)
    }

    fn one_way(&mut self, text: &[u8]) -> Result<(), Error> {
        pass(&mut self.alice, &mut self.bob, text, &mut self.rng)
    }

    fn round_trip(&mut self, text: &[u8]) -> Result<(), Error> {
        pass(&mut self.alice, &mut self.bob, text, &mut self.rng)?;
        pass(&mut self.bob, &mut self.alice, text, &mut self.rng)
    }

    fn envelope(&mut self, text: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.alice.encrypt(text, 1, ROSTER, &mut self.rng).map_err(Error::ours)?.encode())
    }
}

fn pass(from: &mut Session, to: &mut Session, text: &[u8], rng: &mut ChaCha20Rng) -> Result<(), Error> {
    let bytes = from.encrypt(text, 1, ROSTER, rng).map_err(Error::ours)?.encode();
    let envelope = Envelope::decode(&bytes).map_err(Error::ours)?;
    let opened = to.decrypt(&envelope, NOW).map_err(Error::ours)?;
    black_box(opened.content);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_timed_works_and_steps_the_ratchet_each_way() {
        let mut pair = Pair::new().expect("pair");
        let chain =
            |pair: &mut Pair| Envelope::decode(&pair.envelope(b"x").expect("sealed")).expect("decoded").chain;
        let before = chain(&mut pair);
        pair.one_way(&[7; TEXT]).expect("one way");
        assert_eq!(chain(&mut pair), before, "one way stays in its chain");
        pair.round_trip(&[7; TEXT]).expect("round trip");
        assert_ne!(chain(&mut pair), before, "a round trip begins a new chain");
    }

    #[test]
    fn a_real_envelope_is_as_large_as_the_one_that_the_relay_is_loaded_with() {
        let bytes = Pair::new().expect("pair").envelope(&[b'x'; SHORT_TEXT]).expect("sealed");
        assert_eq!(bytes.len(), crate::durable::envelope_bytes());
    }
}
