//! Preambles, prekeys and first messages.

use alloc::string::String;
use alloc::vec::Vec;

use super::world::{NOW, World, binding, world};
use super::{Raw, Sink, case, edit};
use crate::crypto::codec;
use crate::crypto::handshake::{MAX_PREAMBLE, Preamble};
use crate::crypto::identity::SignedBytes;
use crate::crypto::labels;
use crate::crypto::prekeys::{PrekeyBundle, PrekeyKind, SignedPrekey};
use crate::session::Session;
use crate::testing::rng;

/// Case 0: any bytes as a preamble. 1: the genuine preamble, altered. 2: the first envelope's preamble, altered in place.
/// 3: a published prekey, altered. 4: a prekey body of the device's own bad making. 5: the bundle's places exchanged.
///
/// # Panics
/// When anything but the genuine verifies, or begins a session.
pub fn handshake(data: &[u8]) {
    let Some((case, rest)) = case(data) else { return };
    let world = world();
    match case % 6 {
        0 => preamble(world, rest),
        1 => preamble(world, &edit(&world.preamble.encode(), rest)),
        2 => first_message(world, &edit(&world.preamble.encode(), rest)),
        3 => published(world, &edit(&codec::encode(&world.bundle.last_resort), rest)),
        4 => own_making(world, &edit(&body(&world.bundle.last_resort), rest)),
        _ => places(world, rest),
    }
}

fn preamble(world: &World, bytes: &[u8]) {
    let Ok(preamble) = Preamble::decode(bytes) else { return };
    assert!(bytes.len() <= MAX_PREAMBLE);
    assert_eq!(Preamble::decode(&preamble.encode()).as_ref(), Ok(&preamble));
    let verdict = preamble.verify(&world.customer.public());
    assert_eq!(verdict.is_ok(), preamble == world.preamble, "only the genuine preamble verifies");
    assert!(preamble.verify(&world.agent.public()).is_err(), "the agent signed no preamble");
}

/// The envelope authenticates its preamble's exact bytes; so even another encoding of the genuine one is refused.
fn first_message(world: &World, bytes: &[u8]) {
    let mut envelope = world.first.envelope.clone();
    envelope.preamble = Some(serde_bytes::ByteBuf::from(bytes.to_vec()));
    let verdict = world.accept(&envelope);
    if envelope == world.first.envelope {
        let accepted = verdict.unwrap();
        assert_eq!(accepted.opened.content, world.first.content);
        assert_eq!(accepted.session.id(), world.preamble.session());
        assert_eq!(accepted.initiation, world.preamble.initiation());
    } else {
        assert!(verdict.is_err(), "an altered first message began a session");
    }
}

fn published(world: &World, bytes: &[u8]) {
    let Ok(prekey) = codec::decode::<SignedPrekey>(bytes, 4096) else { return };
    let verdict = prekey.verify(&world.agent.public(), NOW);
    assert_eq!(verdict.is_ok(), prekey == world.bundle.last_resort, "only the genuine prekey verifies");
    assert!(prekey.verify(&world.customer.public(), NOW).is_err(), "another device's prekey");
}

/// A device that signs whatever it likes still cannot make the initiator panic, nor pass a wrong id, kind or key.
fn own_making(world: &World, body: &[u8]) {
    let signed = SignedBytes::sign(labels::PREKEY, &Raw(body), &world.agent);
    let prekey: SignedPrekey = codec::decode(&codec::encode(&signed), 16 * 1024 * 1024).unwrap();
    let Ok(verified) = prekey.verify(&world.agent.public(), NOW) else { return };
    assert!(verified.expires() > NOW);
    let (last_resort, one_time) = match verified.kind() {
        PrekeyKind::LastResort => (prekey, None),
        PrekeyKind::OneTime => (world.bundle.last_resort.clone(), Some(prekey)),
    };
    let bundle = PrekeyBundle { last_resort, one_time };
    let bundle = bundle.verify(&world.agent.public(), NOW).unwrap();
    if let Ok(session) = Session::initiate(&world.customer, &bundle, binding(), &mut rng(1)) {
        assert!(session.needs_preamble() && session.is_initiator());
    }
}

fn places(world: &World, rest: &[u8]) {
    let last = || world.bundle.last_resort.clone();
    let one = || world.bundle.one_time.clone().unwrap();
    let bundle = match rest.first().unwrap_or(&0) % 3 {
        0 => PrekeyBundle { last_resort: one(), one_time: None },
        1 => PrekeyBundle { last_resort: last(), one_time: Some(last()) },
        _ => PrekeyBundle { last_resort: one(), one_time: Some(last()) },
    };
    assert!(
        bundle.verify(&world.agent.public(), NOW).is_err(),
        "a prekey stood in for one of the other kind"
    );
}

/// The exact signed bytes of a published prekey.
fn body(prekey: &SignedPrekey) -> Vec<u8> {
    let signed: SignedBytes = codec::decode(&codec::encode(prekey), 4096).unwrap();
    signed.body().to_vec()
}

pub(super) fn seeds(sink: Sink<'_>) {
    let world = world();
    sink(String::from("raw-preamble"), [&[0], &world.preamble.encode()[..]].concat());
    let places: [u16; 12] = [0, 1, 33, 65, 97, 98, 130, 165, 700, 1260, 1300, 1360];
    for (case, name) in [(1u8, "preamble"), (2, "first"), (3, "prekey"), (4, "own")] {
        sink(alloc::format!("{name}-untouched"), alloc::vec![case]);
        for place in places {
            let [low, high] = place.to_le_bytes();
            sink(alloc::format!("{name}-flip-{place}"), alloc::vec![case, 0, low, high, 1]);
        }
        sink(alloc::format!("{name}-insert"), alloc::vec![case, 3, 2, 0, 0x80]);
        sink(alloc::format!("{name}-cut"), alloc::vec![case, 4, 64, 0, 0]);
    }
    // An X25519 key of low order, signed by its own device.
    let x = world.last_resort.x.public();
    let signed = body(&world.bundle.last_resort);
    let at = signed.windows(32).position(|window| window == x).unwrap() as u16;
    let overwrite = |place: u16| [1, place.to_le_bytes()[0], place.to_le_bytes()[1], 0];
    let script: Vec<u8> = (at..at + 32).flat_map(overwrite).collect();
    sink(String::from("own-low-order"), [&[4], &script[..]].concat());
    for places in 0..3 {
        sink(alloc::format!("places-{places}"), alloc::vec![5, places]);
    }
}
