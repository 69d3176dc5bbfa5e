//! A peer with a hostile program: it holds the session's keys and breaks the rules. Each break is refused, and nothing changes.

use alloc::vec::Vec;

use super::chain::{ChainHash, ChainPart};
use super::header::SmallHeader;
use super::receive::Refused;
use super::send::{SealRefused, Sealed};
use super::two_parties::{CLEAR, NOW, Side, World, parts};
use super::{PeerKeys, Ratchet, Sending, Turn, body_aad};
use crate::crypto::codec;
use crate::crypto::kem::KEY_LEN;
use crate::ids::RosterHash;

/// The agent has decrypted the customer's first message and may turn.
fn world() -> World {
    let mut world = World::new();
    world.say_all(&[Side::Customer]);
    world
}

fn seal(ratchet: &mut Ratchet, world_rng: &mut chacha20::ChaCha20Rng) -> Sealed {
    ratchet.encrypt(CLEAR, 1, RosterHash([3; 32]), b"hostile", world_rng).unwrap()
}

fn sending(ratchet: &mut Ratchet) -> &mut Sending {
    match &mut ratchet.turn {
        Turn::Theirs { sending: Some(sending), .. } => sending,
        _ => panic!("no sending chain"),
    }
}

fn refused(victim: &mut Ratchet, sealed: &Sealed) -> Refused {
    let before = codec::encode(victim);
    let refused = victim.decrypt(&parts(sealed), NOW, NOW * 2).err().unwrap();
    assert_eq!(codec::encode(victim), before);
    assert_eq!(victim.skipped_names().count(), 0);
    refused
}

/// The agent's first chain, changed by `change` after it was opened; the customer's verdict on its next message.
fn first_chain_changed(change: impl FnOnce(&mut Ratchet, &mut chacha20::ChaCha20Rng)) -> Refused {
    let World { mut customer, mut agent, mut rng, .. } = world();
    seal(&mut agent, &mut rng);
    change(&mut agent, &mut rng);
    let sealed = seal(&mut agent, &mut rng);
    refused(&mut customer, &sealed)
}

/// Another part in the same chain, sealed and named rightly.
fn replace_part(ratchet: &mut Ratchet, part: &ChainPart, rng: &mut chacha20::ChaCha20Rng) {
    let session = ratchet.session;
    let sending = sending(ratchet);
    sending.part = part.seal(&sending.header, &session, rng);
    sending.hash = ChainHash::of(&sending.part);
}

#[test]
fn a_chain_part_that_does_not_open() {
    let verdict = first_chain_changed(|agent, _| {
        let sending = sending(agent);
        sending.part[100] ^= 1;
        sending.hash = ChainHash::of(&sending.part);
    });
    assert_eq!(verdict, Refused::Chain);
}

#[test]
fn a_chain_with_a_key_of_low_order() {
    let verdict = first_chain_changed(|agent, rng| {
        let Turn::Theirs { me, .. } = &agent.turn else { panic!() };
        let part = ChainPart::new(&[0; 32], me.kem.public(), &[0; 1088]);
        replace_part(agent, &part, rng);
    });
    assert_eq!(verdict, Refused::Protocol);
}

#[test]
fn a_chain_with_an_invalid_kem_key() {
    let verdict = first_chain_changed(|agent, rng| {
        let Turn::Theirs { me, .. } = &agent.turn else { panic!() };
        let part = ChainPart::new(me.x.public(), &[0xFF; KEY_LEN], &[0; 1088]);
        replace_part(agent, &part, rng);
    });
    assert_eq!(verdict, Refused::Protocol);
}

/// Valid keys but a ciphertext of something else: implicit rejection gives another root, so the body does not open.
#[test]
fn a_chain_with_a_foreign_ciphertext() {
    let verdict = first_chain_changed(|agent, rng| {
        let Turn::Theirs { me, .. } = &agent.turn else { panic!() };
        let part = ChainPart::new(me.x.public(), me.kem.public(), &[7; 1088]);
        replace_part(agent, &part, rng);
    });
    assert_eq!(verdict, Refused::Body);
}

#[test]
fn a_first_chain_with_a_predecessor() {
    assert_eq!(first_chain_changed(|agent, _| sending(agent).previous = 1), Refused::Protocol);
}

#[test]
fn a_number_far_ahead() {
    assert_eq!(first_chain_changed(|agent, _| sending(agent).number = u32::MAX - 1), Refused::Skip);
}

#[test]
fn another_chain_under_a_known_header_key() {
    let World { mut customer, mut agent, mut rng, .. } = world();
    let first = seal(&mut agent, &mut rng);
    customer.decrypt(&parts(&first), NOW, NOW * 2).unwrap();
    let Turn::Theirs { me, .. } = &agent.turn else { panic!() };
    let part = ChainPart::new(me.x.public(), me.kem.public(), &[7; 1088]);
    replace_part(&mut agent, &part, &mut rng);
    let sealed = seal(&mut agent, &mut rng);
    assert_eq!(refused(&mut customer, &sealed), Refused::Chain, "current");
    // The same once that chain is retired.
    let answer = seal(&mut customer, &mut rng);
    let copy = codec::encode(&agent);
    agent.decrypt(&parts(&answer), NOW, NOW * 2).unwrap();
    let turned = seal(&mut agent, &mut rng);
    customer.decrypt(&parts(&turned), NOW, NOW * 2).unwrap();
    let mut agent: Ratchet = codec::decode(&copy, 1 << 16).unwrap();
    let sealed = seal(&mut agent, &mut rng);
    let before = codec::encode(&customer);
    assert_eq!(customer.decrypt(&parts(&sealed), NOW, NOW * 2).err(), Some(Refused::Chain), "retired");
    assert_eq!(codec::encode(&customer), before);
}

#[test]
fn a_chain_that_ends_before_what_was_received() {
    let World { mut customer, mut agent, mut rng, .. } = world();
    for _ in 0..2 {
        let sealed = seal(&mut agent, &mut rng);
        customer.decrypt(&parts(&sealed), NOW, NOW * 2).unwrap();
    }
    let answer = seal(&mut customer, &mut rng);
    agent.decrypt(&parts(&answer), NOW, NOW * 2).unwrap();
    seal(&mut agent, &mut rng);
    sending(&mut agent).previous = 1;
    let sealed = seal(&mut agent, &mut rng);
    assert_eq!(refused(&mut customer, &sealed), Refused::Protocol);
}

#[test]
fn two_turns_in_a_row() {
    let World { mut customer, mut agent, mut rng, .. } = world();
    let Turn::Mine { peer, .. } = &agent.turn else { panic!() };
    let peer = PeerKeys { x: peer.x, kem: peer.kem.clone() };
    let first = seal(&mut agent, &mut rng);
    customer.decrypt(&parts(&first), NOW, NOW * 2).unwrap();
    agent.turn = Turn::Mine { peer: peer.into(), sent: 1 };
    let second = seal(&mut agent, &mut rng);
    assert_eq!(refused(&mut customer, &second), Refused::Protocol);
}

#[test]
fn a_text_without_padding() {
    let World { mut customer, mut agent, mut rng, .. } = world();
    let mut sealed = seal(&mut agent, &mut rng);
    let sending = sending(&mut agent);
    let (message, _) = sending.chain.step();
    let header = SmallHeader {
        chain: sending.hash,
        previous: 0,
        number: sending.number,
        epoch: 1,
        roster: RosterHash([3; 32]),
    };
    sealed.header = header.seal(&sending.header, &sealed.nonce, CLEAR);
    let aad = body_aad(CLEAR, &sealed.nonce, &sealed.header);
    sealed.body = message.seal(&sealed.nonce, &aad, Vec::from([0; 1024]));
    let before = codec::encode(&customer);
    assert_eq!(customer.decrypt(&parts(&sealed), NOW, NOW * 2).err(), Some(Refused::Padding));
    assert_eq!(codec::encode(&customer), before);
}

#[test]
fn our_own_chain_is_never_longer_than_its_numbers() {
    let World { mut agent, mut rng, .. } = world();
    seal(&mut agent, &mut rng);
    sending(&mut agent).number = u32::MAX;
    let sealed = agent.encrypt(CLEAR, 1, RosterHash([3; 32]), b"x", &mut rng);
    assert_eq!(sealed.err(), Some(SealRefused::Exhausted));
}
