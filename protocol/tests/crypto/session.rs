//! The session as its users see it: handshake, turns, loss, repetition, refusals, stored state.

use crate::world::*;
use sealdesk_protocol::crypto::handshake::Preamble;
use sealdesk_protocol::session::{EncryptError, Quarantine, Session};
use sealdesk_protocol::wire::envelope::{Class, Envelope, EnvelopeError};

#[test]
fn a_conversation_with_turns() {
    let (mut world, mut customer, mut agent) = World::established(1);
    for round in 0..6u8 {
        let to_customer = send(&mut agent, &[round], &mut world.rng);
        assert_eq!(receive(&mut customer, &to_customer), Ok(vec![round]));
        let to_agent = send(&mut customer, &[round, 1], &mut world.rng);
        assert_eq!(receive(&mut agent, &to_agent), Ok(vec![round, 1]));
    }
}

#[test]
fn the_preamble_rides_until_the_peer_has_answered() {
    let mut world = World::new(2, true);
    let mut customer = world.initiate();
    assert!(customer.is_initiator() && !customer.is_last_resort_only() && !customer.has_decrypted());
    let first = send(&mut customer, b"1", &mut world.rng);
    let second = send(&mut customer, b"2", &mut world.rng);
    assert_eq!(first.preamble(), second.preamble());
    assert!(customer.needs_preamble());

    // The second arrives first: it begins the session just as well, and the first is not lost.
    let accepted = world.accept(&second).unwrap();
    assert_eq!(accepted.used_one_time, world.one_time.as_ref().map(|p| p.id()));
    let mut agent = accepted.session;
    assert_eq!(receive(&mut agent, &first), Ok(b"1".to_vec()));
    assert_eq!(receive(&mut agent, &first), Err(Quarantine::Duplicate));

    let answer = send(&mut agent, b"3", &mut world.rng);
    assert!(answer.preamble().is_none());
    assert_eq!(receive(&mut customer, &answer), Ok(b"3".to_vec()));
    assert!(!customer.needs_preamble() && customer.has_decrypted());
    assert!(send(&mut customer, b"4", &mut world.rng).preamble().is_none());
}

#[test]
fn last_resort_only_is_flagged_on_both_sides() {
    let mut world = World::new(3, false);
    let mut customer = world.initiate();
    assert!(customer.is_last_resort_only());
    let first = send(&mut customer, b"x", &mut world.rng);
    let accepted = world.accept(&first).unwrap();
    assert!(accepted.session.is_last_resort_only());
    assert_eq!(accepted.used_one_time, None);
}

#[test]
fn a_replayed_initiation_is_refused() {
    let mut world = World::new(4, false);
    let mut customer = world.initiate();
    let first = send(&mut customer, b"x", &mut world.rng);
    let initiation = world.accept(&first).unwrap().initiation;
    let preamble = Preamble::decode(first.preamble().unwrap()).unwrap();
    let verified = preamble.verify(&world.customer.public()).unwrap();
    let again = Session::accept(
        &world.agent,
        &verified,
        &world.last_resort,
        None,
        &|seen| *seen == initiation,
        &first,
        NOW,
    );
    assert_eq!(again.unwrap_err(), Quarantine::Replay);
}

#[test]
fn wrong_prekeys_or_parties_are_refused() {
    let mut world = World::new(5, true);
    let mut customer = world.initiate();
    let first = send(&mut customer, b"x", &mut world.rng);
    let preamble = Preamble::decode(first.preamble().unwrap()).unwrap();
    assert!(preamble.verify(&world.agent.public()).is_err(), "another device than the preamble names");
    let verified = preamble.verify(&world.customer.public()).unwrap();
    let other = World::new(6, true);
    let accept = |me, last, one: Option<_>| {
        Session::accept(me, &verified, last, one, &|_| false, &first, NOW).map(|_| ()).unwrap_err()
    };
    let one = world.one_time.as_ref();
    assert_eq!(accept(&other.agent, &world.last_resort, one), Quarantine::NoPrekey);
    assert_eq!(accept(&world.agent, &other.last_resort, one), Quarantine::NoPrekey);
    assert_eq!(accept(&world.agent, &world.last_resort, other.one_time.as_ref()), Quarantine::NoPrekey);
    assert_eq!(accept(&world.agent, &world.last_resort, None), Quarantine::NoPrekey);
}

#[test]
fn an_envelope_of_another_session_does_not_begin_this_one() {
    let mut world = World::new(7, false);
    let (mut a, mut b) = (world.initiate(), world.initiate());
    assert_ne!(a.id(), b.id(), "a fresh EK is a fresh session");
    let (mut first, other) = (send(&mut a, b"a", &mut world.rng), send(&mut b, b"b", &mut world.rng));
    first.preamble = other.preamble;
    assert_eq!(world.accept(&first).unwrap_err(), Quarantine::Malformed);
}

#[test]
fn a_responder_cannot_send_first_and_ephemeral_needs_a_chain() {
    let mut world = World::new(8, true);
    let mut customer = world.initiate();
    assert_eq!(customer.encrypt_ephemeral(b"typing", &mut world.rng).unwrap_err(), EncryptError::NoChain);
    let first = send(&mut customer, b"x", &mut world.rng);
    let agent = world.accept(&first).unwrap().session;
    assert_eq!(agent.encrypt_ephemeral(b"typing", &mut world.rng).unwrap_err(), EncryptError::NoChain);
    let before = freeze(&customer);
    let long = vec![0; 49_152];
    assert_eq!(
        customer.encrypt(&long, EPOCH, ROSTER, &mut world.rng).unwrap_err(),
        EncryptError::TooLong(49_152)
    );
    let typing = customer.encrypt_ephemeral(&[0; 1024], &mut world.rng);
    assert_eq!(typing.unwrap_err(), EncryptError::TooLong(1024));
    assert_eq!(freeze(&customer), before, "a refusal changes nothing");
}

#[test]
fn debug_shows_neither_content_nor_keys() {
    let mut world = World::new(13, true);
    let mut customer = world.initiate();
    let first = send(&mut customer, b"my secret", &mut world.rng);
    let accepted = world.accept(&first).unwrap();
    let (session, peer) = (customer.id(), world.agent.hash());
    assert_eq!(format!("{customer:?}"), format!("Session({session:?}, peer {peer:?}, ..)"));
    assert_eq!(format!("{:?}", accepted.opened), "Opened(9 bytes, epoch 1)");
    let shown = format!("{accepted:?}");
    assert!(shown.contains("Opened(9 bytes, epoch 1)") && !shown.contains("secret"), "{shown}");
    let (id, envelope) = (first.id, format!("{first:?}"));
    assert_eq!(envelope, format!("Envelope({id:?}, {session:?}, Store, body of 1040 bytes)"));
    let one_time = world.one_time.as_ref().unwrap();
    assert_eq!(format!("{one_time:?}"), format!("PrekeySecret(OneTime, {:?}, ..)", one_time.id()));
}

#[test]
fn ephemeral_frames_touch_no_state_and_live_for_two_chains() {
    let (mut world, mut customer, mut agent) = World::established(9);
    let before = (freeze(&customer), freeze(&agent));
    let typing = customer.encrypt_ephemeral(b"typing", &mut world.rng).unwrap();
    let typing = Envelope::decode(&typing.encode()).unwrap();
    assert_eq!(typing.class, Class::Ephemeral);
    assert_eq!(agent.decrypt_ephemeral(&typing), Ok(b"typing".to_vec()));
    assert_eq!((freeze(&customer), freeze(&agent)), before);
    assert_eq!(receive(&mut agent, &typing), Err(Quarantine::Malformed), "not as a stored message");

    // One chain later it still opens, two chains later it does not.
    for (chains, verdict) in [(1, Ok(b"typing".to_vec())), (2, Err(Quarantine::NoHeaderKey))] {
        let answer = send(&mut agent, b"a", &mut world.rng);
        receive(&mut customer, &answer).unwrap();
        let next = send(&mut customer, b"b", &mut world.rng);
        receive(&mut agent, &next).unwrap();
        assert_eq!(agent.decrypt_ephemeral(&typing), verdict, "{chains} chains later");
    }
    let mut bent = customer.encrypt_ephemeral(b"typing", &mut world.rng).unwrap();
    bent.body[3] ^= 1;
    assert_eq!(agent.decrypt_ephemeral(&bent), Err(Quarantine::NoHeaderKey));
}

#[test]
fn envelope_sizes_tell_the_bucket_only() {
    let (mut world, mut customer, _) = World::established(10);
    let size = |len: usize, world: &mut World, customer: &mut Session| {
        send(customer, &vec![7; len], &mut world.rng).encode().len()
    };
    let small = size(0, &mut world, &mut customer);
    assert_eq!(size(1023, &mut world, &mut customer), small);
    assert!(size(1024, &mut world, &mut customer) > small);
    assert!(
        size(49_151, &mut world, &mut customer) < 64 * 1024 - 256,
        "fits into one frame with its preamble"
    );
}

/// A relay and a recipient refuse the same bytes, and read the same of those that they take.
#[test]
fn the_head_is_of_the_envelope_that_decodes() {
    let (mut world, mut customer, _) = World::established(12);
    let stored = customer.encrypt(b"x", EPOCH, ROSTER, &mut world.rng).unwrap();
    let typing = customer.encrypt_ephemeral(b"x", &mut world.rng).unwrap();
    for envelope in [stored, typing] {
        let bytes = envelope.encode();
        let agree = |bytes: &[u8]| {
            let decoded = Envelope::decode(bytes).map(|e| (e.mailbox, e.id, e.class));
            assert_eq!(Envelope::head(bytes).map(|e| (e.mailbox, e.id, e.class)), decoded);
            decoded.is_ok()
        };
        assert!(agree(&bytes));
        for at in 0..bytes.len() {
            agree(&bytes[..at]);
            for bit in 0..8 {
                let mut bent = bytes.clone();
                bent[at] ^= 1 << bit;
                agree(&bent);
            }
        }
        assert!(!agree(&[&bytes[..], &[0]].concat()) && !agree(&vec![1; 70_000]));
    }
}

#[test]
fn malformed_envelopes_are_refused() {
    let (mut world, mut customer, _) = World::established(11);
    let good = customer.encrypt(b"x", EPOCH, ROSTER, &mut world.rng).unwrap();
    let bytes = good.encode();
    assert_eq!(Envelope::decode(&[]), Err(EnvelopeError::Malformed));
    assert_eq!(Envelope::decode(&vec![1; 70_000]), Err(EnvelopeError::TooLarge(70_000)));
    assert_eq!(Envelope::decode(&[&[2], &bytes[1..]].concat()), Err(EnvelopeError::Version(2)));
    assert_eq!(Envelope::decode(&[&bytes[..], &[0]].concat()), Err(EnvelopeError::Malformed));
    for cut in 0..bytes.len() {
        assert!(Envelope::decode(&bytes[..cut]).is_err());
    }
    type Change = fn(&mut Envelope);
    let changes: [Change; 5] = [
        |e| e.chain = e.chain[1..].into(),
        |e| e.header.push(0),
        |e| e.body.truncate(100),
        |e| e.class = Class::Ephemeral,
        |e| e.preamble = Some(serde_bytes::ByteBuf::from(vec![0; 2000])),
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(Envelope::decode(&bad.encode()), Err(EnvelopeError::Malformed), "{i}");
    }
}

#[test]
fn epoch_and_roster_arrive_as_sent() {
    let (mut world, mut customer, mut agent) = World::established(12);
    let roster = sealdesk_protocol::ids::RosterHash([9; 32]);
    let sent = customer.encrypt(b"x", 77, roster, &mut world.rng).unwrap();
    let opened = agent.decrypt(&sent, NOW).unwrap();
    assert_eq!((opened.epoch, opened.roster), (77, roster));
}
