//! The limits of §5: 1,000 skips a jump, 2,000 stored keys, 8 retired header keys, keys dropped after the mailbox TTL.

use sealdesk_protocol::session::{MAX_RETIRED, MAX_SKIP, MAX_STORED, Quarantine, SKIPPED_KEY_TTL, Session};
use sealdesk_protocol::wire::envelope::Envelope;

use crate::world::*;

fn burst(session: &mut Session, count: u32, world: &mut World) -> Vec<Envelope> {
    (0..count).map(|i| send(session, &i.to_be_bytes(), &mut world.rng)).collect()
}

fn turn(from: &mut Session, to: &mut Session, world: &mut World) {
    let envelope = send(from, b"turn", &mut world.rng);
    receive(to, &envelope).unwrap();
}

#[test]
fn a_thousand_skips_in_a_chain_and_no_more() {
    let (mut world, mut customer, mut agent) = World::established(30);
    let sent = burst(&mut customer, MAX_SKIP + 2, &mut world);
    let before = freeze(&agent);
    assert_eq!(receive(&mut agent, &sent[1001]), Err(Quarantine::Skip), "1,001 are skipped");
    assert_eq!(freeze(&agent), before);
    let opened = agent.decrypt(&sent[1000], NOW).unwrap();
    assert_eq!(opened.content, 1000u32.to_be_bytes(), "1,000 are skipped");
    assert_eq!((opened.changes.added.len(), opened.changes.removed.len()), (1000, 0));
    assert_eq!(receive(&mut agent, &sent[1001]), Ok(1001u32.to_be_bytes().to_vec()));
    for (i, envelope) in sent[..1000].iter().enumerate() {
        let opened = agent.decrypt(envelope, NOW).unwrap();
        assert_eq!(opened.content, (i as u32).to_be_bytes());
        assert_eq!((opened.changes.added.len(), opened.changes.removed.len()), (0, 1));
    }
    assert_eq!(agent.skipped_names().count(), 0);
}

#[test]
fn a_thousand_skips_at_the_end_of_a_chain_and_at_the_start_of_the_next() {
    let (mut world, mut customer, mut agent) = World::established(31);
    let lost = burst(&mut customer, MAX_SKIP + 1, &mut world);
    turn(&mut agent, &mut customer, &mut world);
    let next = send(&mut customer, b"next", &mut world.rng);
    assert_eq!(receive(&mut agent, &next), Err(Quarantine::Skip), "1,001 missing of the ended chain");
    receive(&mut agent, &lost[0]).unwrap();
    assert_eq!(receive(&mut agent, &next), Ok(b"next".to_vec()), "1,000 missing");

    turn(&mut agent, &mut customer, &mut world);
    let sent = burst(&mut customer, MAX_SKIP + 2, &mut world);
    assert_eq!(receive(&mut agent, &sent[1001]), Err(Quarantine::Skip));
    assert_eq!(receive(&mut agent, &sent[1000]), Ok(1000u32.to_be_bytes().to_vec()));
}

#[test]
fn two_thousand_stored_keys_and_the_oldest_go_first() {
    let (mut world, mut customer, mut agent) = World::established(32);
    let mut rounds = Vec::new();
    for round in 0..3 {
        let sent = burst(&mut customer, 901, &mut world);
        // A later round, so that its keys expire later.
        let opened = agent.decrypt(&sent[900], NOW + round).unwrap();
        assert_eq!(opened.changes.added.len(), 900);
        assert_eq!(opened.changes.removed.len(), if round == 2 { 700 } else { 0 });
        rounds.push(sent);
        turn(&mut agent, &mut customer, &mut world);
    }
    assert_eq!(agent.skipped_names().count(), MAX_STORED);
    let opens = |agent: &mut Session, round: usize| {
        rounds[round][..900].iter().filter(|e| receive(agent, e).is_ok()).count()
    };
    assert_eq!(opens(&mut agent, 0), 200, "700 of the oldest went");
    assert_eq!((opens(&mut agent, 1), opens(&mut agent, 2)), (900, 900));
    let gone = rounds[0].iter().map(|e| receive(&mut agent, e)).all(|r| r == Err(Quarantine::Duplicate));
    assert!(gone);
}

#[test]
fn eight_retired_header_keys() {
    let (mut world, mut customer, mut agent) = World::established(33);
    let early = burst(&mut customer, 2, &mut world);
    for chains in 1..=MAX_RETIRED {
        turn(&mut agent, &mut customer, &mut world);
        turn(&mut customer, &mut agent, &mut world);
        assert_eq!(agent.skipped_names().count(), 2, "{chains} chains later");
    }
    assert_eq!(receive(&mut agent, &early[0]), Ok(0u32.to_be_bytes().to_vec()), "8 chains later");
    turn(&mut agent, &mut customer, &mut world);
    let ninth = send(&mut customer, b"ninth", &mut world.rng);
    let opened = agent.decrypt(&ninth, NOW).unwrap();
    assert_eq!(opened.changes.removed.len(), 1, "the forgotten chain's keys go with it");
    assert_eq!(agent.skipped_names().count(), 0);
    assert_eq!(receive(&mut agent, &early[1]), Err(Quarantine::NoHeaderKey), "9 chains later");
}

#[test]
fn stored_keys_expire() {
    let (mut world, mut customer, mut agent) = World::established(34);
    let sent = burst(&mut customer, 3, &mut world);
    receive(&mut agent, &sent[2]).unwrap();
    let end = NOW + SKIPPED_KEY_TTL;
    assert_eq!(agent.expire(end - 1).removed.len(), 0);
    assert_eq!(agent.decrypt(&sent[0], end).unwrap_err(), Quarantine::Duplicate, "expired, though not swept");
    assert!(agent.decrypt(&sent[0], end - 1).is_ok());
    let swept = agent.expire(end);
    assert_eq!((swept.removed.len(), swept.added.len()), (1, 0));
    assert_eq!(agent.skipped_names().count(), 0);
    assert!(agent.expire(end).is_empty());
}

#[test]
fn a_rolled_back_state_seals_nothing_twice_alike() {
    let (mut world, mut customer, mut agent) = World::established(35);
    let frozen = freeze(&customer);
    let first = send(&mut customer, b"same", &mut world.rng);
    let second = send(&mut thaw(&frozen), b"same", &mut world.rng);
    assert_ne!(first.body, second.body, "one message key, another r, another body key");
    assert_eq!(receive(&mut agent, &first), Ok(b"same".to_vec()));
    assert_eq!(receive(&mut agent, &second), Err(Quarantine::Duplicate));
}
