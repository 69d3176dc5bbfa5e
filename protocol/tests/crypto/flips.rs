//! A flipped bit in any byte of an envelope, preamble, prekey bundle or stored state is refused and changes nothing.

use sealdesk_protocol::crypto::prekeys::{PrekeyBundle, PrekeyError, PrekeyKind, PrekeySecret, SignedPrekey};
use sealdesk_protocol::session::{Session, StoredError};
use sealdesk_protocol::wire::envelope::Envelope;

use crate::world::*;

/// One bit of each byte, a different one from byte to byte.
fn flips(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len()).map(|i| {
        let mut bent = bytes.to_vec();
        bent[i] ^= 1 << (i % 8);
        (i, bent)
    })
}

#[test]
fn in_an_envelope_of_each_slot() {
    let (mut world, mut customer, mut agent) = World::established(20);
    // In the current chain; in the next chain; of a skipped key in a retired chain.
    let skipped = send(&mut customer, b"skipped", &mut world.rng);
    let current = send(&mut customer, b"current", &mut world.rng);
    receive(&mut agent, &current).unwrap();
    let answer = send(&mut agent, b"answer", &mut world.rng);
    receive(&mut customer, &answer).unwrap();
    let next = send(&mut customer, b"next", &mut world.rng);
    for (name, envelope) in [("next", &next), ("skipped", &skipped)] {
        let before = freeze(&agent);
        let bytes = envelope.encode();
        for (i, bent) in flips(&bytes) {
            if let Ok(envelope) = Envelope::decode(&bent) {
                assert!(receive(&mut agent, &envelope).is_err(), "{name}: byte {i}");
                assert_eq!(freeze(&agent), before, "{name}: byte {i}");
            }
        }
        assert_eq!(receive(&mut agent, envelope), Ok(name.into()), "still opens");
    }
    let current = send(&mut customer, b"current", &mut world.rng);
    let before = freeze(&agent);
    for (i, bent) in flips(&current.encode()) {
        if let Ok(envelope) = Envelope::decode(&bent) {
            assert!(receive(&mut agent, &envelope).is_err(), "current: byte {i}");
            assert_eq!(freeze(&agent), before, "current: byte {i}");
        }
    }
    assert_eq!(receive(&mut agent, &current), Ok(b"current".to_vec()));
}

#[test]
fn in_a_first_envelope_with_its_preamble() {
    let mut world = World::new(21, true);
    let mut customer = world.initiate();
    let first = send(&mut customer, b"first", &mut world.rng);
    for (i, bent) in flips(&first.encode()) {
        if let Ok(envelope) = Envelope::decode(&bent) {
            assert!(world.accept(&envelope).is_err(), "byte {i}");
        }
    }
    assert_eq!(world.accept(&first).unwrap().opened.content, b"first");
}

#[test]
fn in_a_prekey_bundle() {
    let world = World::new(22, true);
    let bytes = postcard::to_allocvec(&world.bundle()).unwrap();
    let device = world.agent.public();
    for (i, bent) in flips(&bytes) {
        if let Ok((bundle, [])) = postcard::take_from_bytes::<PrekeyBundle>(&bent) {
            assert!(bundle.verify(&device, NOW).is_err(), "byte {i}");
        }
    }
    let bundle: PrekeyBundle = postcard::from_bytes(&bytes).unwrap();
    assert!(bundle.verify(&device, NOW).is_ok());
}

#[test]
fn prekeys_are_judged_by_kind_device_and_time() {
    let world = World::new(23, true);
    let device = world.agent.public();
    let good = world.bundle();
    let verify = |bundle: &PrekeyBundle, now| bundle.verify(&device, now).map(|_| ()).unwrap_err();
    assert_eq!(verify(&good, NOW + 37 * DAY), PrekeyError::Expired);
    assert_eq!(good.verify(&world.customer.public(), NOW).unwrap_err(), PrekeyError::Signature);
    let swapped = PrekeyBundle {
        last_resort: good.one_time.clone().unwrap(),
        one_time: Some(good.last_resort.clone()),
    };
    assert_eq!(verify(&swapped, NOW), PrekeyError::Kind);
    let doubled =
        PrekeyBundle { last_resort: good.last_resort.clone(), one_time: Some(good.last_resort.clone()) };
    assert_eq!(verify(&doubled, NOW), PrekeyError::Kind);
}

/// Signed by the right device, but lying about what is signed: only a faulty or hostile device makes such.
#[test]
fn signed_lies_in_a_prekey_are_refused() {
    use sealdesk_protocol::crypto::identity::SignedBytes;
    use sealdesk_protocol::crypto::labels;
    type Body = (
        sealdesk_protocol::ids::DeviceKeyHash,
        PrekeyKind,
        [u8; 32],
        u64,
        u64,
        [u8; 32],
        serde_bytes::ByteBuf,
    );
    let world = World::new(24, false);
    let device = world.agent.public();
    let signed: SignedBytes =
        postcard::from_bytes(&postcard::to_allocvec(&world.bundle().last_resort).unwrap()).unwrap();
    let body: Body = signed.peek(2000).unwrap();
    let lie = |change: fn(&mut Body)| {
        let mut body = body.clone();
        change(&mut body);
        let signed = SignedBytes::sign(labels::PREKEY, &body, &world.agent);
        let prekey: SignedPrekey = postcard::from_bytes(&postcard::to_allocvec(&signed).unwrap()).unwrap();
        prekey.verify(&device, NOW).map(|_| ())
    };
    assert_eq!(lie(|_| ()), Ok(()));
    assert_eq!(lie(|body| body.0.0[0] ^= 1), Err(PrekeyError::Device));
    assert_eq!(lie(|body| body.2[0] ^= 1), Err(PrekeyError::Id));
    assert_eq!(lie(|body| body.5[0] ^= 1), Err(PrekeyError::Id), "the X25519 half exchanged");
    assert_eq!(lie(|body| body.6[1183] ^= 1), Err(PrekeyError::Id), "the ML-KEM half exchanged");
    assert_eq!(lie(|body| body.6[..3].fill(0xFF)), Err(PrekeyError::Kem));
    assert_eq!(lie(|body| body.6.truncate(1183)), Err(PrekeyError::Kem));
}

#[test]
fn stored_state_is_versioned_and_never_panics() {
    let (mut world, mut customer, agent) = World::established(25);
    send(&mut customer, b"x", &mut world.rng);
    for session in [&customer, &agent] {
        let stored = session.to_stored();
        let load = |bytes: &[u8]| Session::from_stored(bytes).map(|_| ());
        assert_eq!(load(&stored), Ok(()));
        assert_eq!(load(&[&[9], &stored[1..]].concat()), Err(StoredError::Version(9)));
        assert_eq!(load(&[&stored[..], &[0]].concat()), Err(StoredError::Damaged));
        for cut in 0..stored.len() {
            assert!(load(&stored[..cut]).is_err());
        }
        for (_, bent) in flips(&stored).step_by(7) {
            // Sealed records are authenticated; here only: no panic.
            let _ = load(&bent);
        }
    }
    let secret = PrekeySecret::generate(PrekeyKind::OneTime, NOW, NOW + DAY, &mut world.rng);
    let again = PrekeySecret::from_stored(&secret.to_stored()).unwrap();
    assert_eq!(
        (again.id(), again.kind(), again.created(), again.expires()),
        (secret.id(), PrekeyKind::OneTime, NOW, NOW + DAY)
    );
    assert!(PrekeySecret::from_stored(&[]).is_err());
    assert_eq!(format!("{secret:?}"), format!("PrekeySecret(OneTime, {:?}, ..)", secret.id()));
    assert!(format!("{customer:?}").starts_with("Session(SessionId("));
}
