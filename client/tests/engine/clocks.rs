//! One device whose clock is a day off: it is said, nothing is lost, and all is well when the clock is set.

use sealdesk_client::testing::World;
use sealdesk_client::{Event, MessageState, Phase};
use sealdesk_protocol::crypto::certificate::DEVICE_LIFE;

const DAY: i64 = 24 * 60 * 60 * 1000;

fn set(world: &mut World, client: usize, off: i64) {
    world.clients[client].clock_off = off;
    world.disconnect_all();
    world.pass(5_000);
}

fn told(world: &World, client: usize, code: &str) -> Vec<String> {
    let events = world.clients[client].events.iter();
    events
        .filter_map(|event| match event {
            Event::Problem { problem, .. } if problem.code == code => Some(problem.text.clone()),
            _ => None,
        })
        .collect()
}

#[test]
fn a_clock_that_is_a_day_off_is_told_and_does_not_end_a_conversation() {
    for (seed, off, word) in [(90, DAY, "24 hours ahead of"), (91, -DAY, "24 hours behind")] {
        for wrong in 0..2 {
            let (mut world, agent, customer, id) = World::talking(seed);
            // Certificates that are good on both days.
            world.pass(2_000);
            world.clock += 2 * DAY as u64;
            world.pass(2_000);
            let client = [agent, customer][wrong];
            set(&mut world, client, off);
            world.disconnect_all();
            world.pass(5_000);
            let said = told(&world, client, "clock");
            assert_eq!(said.len(), 1, "once: {said:?}");
            assert!(said[0].contains(word), "{said:?}");
            assert!(told(&world, [customer, agent][wrong], "clock").is_empty(), "the other one is right");
            world.say(customer, id, "what time is it?");
            world.say(agent, id, "late");
            world.pass(5_000);
            for side in [agent, customer] {
                let texts = world.texts(side, &id);
                assert_eq!(texts.len(), 2, "{off} {wrong}");
                assert!(
                    texts.iter().all(|t| !t.0 || t.2 == MessageState::Delivered),
                    "{off} {wrong}: {texts:?}"
                );
            }
            set(&mut world, client, 0);
            assert_eq!(told(&world, client, "clock").len(), 1);
            assert_eq!(world.phase(customer, &id), Some(Phase::Active));
        }
    }
}

#[test]
fn what_looks_not_valid_yet_or_expired_waits_until_the_clock_is_set() {
    for (seed, off) in [(92, -DAY), (93, DAY)] {
        let mut world = World::new(seed);
        let agent = world.add_agent("mira", "Mira");
        let customer = world.add_customer();
        world.pass(2_000);
        let id = world.conversation(customer);
        world.pass(5_000);
        if off > 0 {
            // Half a day before the certificate ends.
            world.clock += DEVICE_LIFE - DAY as u64 / 2;
            world.pass(5_000);
        }
        let code = if off > 0 { "certificate_expired" } else { "certificate_not_yet_valid" };
        set(&mut world, customer, off);
        world.say(customer, id, "kept");
        world.pass(10_000);
        assert_eq!(told(&world, customer, "clock").len(), 1);
        assert_eq!(told(&world, customer, code).len(), 1, "{:?}", world.problems(customer));
        assert_eq!(world.texts(customer, &id)[0].2, MessageState::Waiting);
        assert!(world.texts(agent, &id).is_empty());
        // Nobody connects anew: the clock is set, and the device notices.
        world.clients[customer].clock_off = 0;
        world.pass(60_000);
        assert_eq!(world.texts(customer, &id)[0].2, MessageState::Delivered, "{off}");
        // A new conversation, which was not possible with the wrong clock.
        set(&mut world, customer, off);
        let other = world.conversation(customer);
        world.say(customer, other, "second");
        world.pass(10_000);
        assert_eq!(world.phase(customer, &other), Some(Phase::Queued), "nobody is signed for");
        set(&mut world, customer, 0);
        world.pass(60_000);
        assert_eq!(world.phase(customer, &other), Some(Phase::Active), "{off}");
        assert_eq!(world.texts(customer, &other)[0].2, MessageState::Delivered);
    }
}

#[test]
fn an_agent_whose_certificate_looks_wrong_comes_back_when_the_clock_is_set() {
    let (mut world, agent, customer, id) = World::talking(94);
    world.clients[agent].clock_off = -DAY;
    world.pass(60_000);
    let refused = told(&world, agent, "own_certificate");
    assert!(refused.len() == 1 && refused[0].contains("clock"), "{refused:?}");
    world.say(customer, id, "are you there?");
    world.pass(5_000);
    world.clients[agent].clock_off = 0;
    world.pass(2 * 60 * 60 * 1000);
    assert_eq!(world.texts(customer, &id)[0].2, MessageState::Delivered);
    assert_eq!(world.phase(customer, &id), Some(Phase::Active));
}
