//! Any schedule of loss, repetition, crash and reconnection: every message arrives exactly once, in order, and every sender
//! learns it.

use proptest::prelude::*;
use sealdesk_client::MessageState;
use sealdesk_client::testing::{Crash, Mischief, World};

#[derive(Clone, Copy, Debug)]
enum Event {
    Say { agent: bool },
    Pass(u16),
    Disconnect,
    Crash { agent: bool, after: bool },
    Restart { agent: bool },
    Down,
    Up,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => any::<bool>().prop_map(|agent| Event::Say { agent }),
        4 => (1u16..3_000).prop_map(Event::Pass),
        1 => Just(Event::Disconnect),
        2 => any::<(bool, bool)>().prop_map(|(agent, after)| Event::Crash { agent, after }),
        1 => any::<bool>().prop_map(|agent| Event::Restart { agent }),
        1 => Just(Event::Down),
        1 => Just(Event::Up),
    ]
}

fn run(seed: u64, cut: Option<u32>, mischief: Mischief, events: &[Event]) -> Result<(), TestCaseError> {
    let (mut world, agent, customer, id) = World::talking(seed);
    world.cut = cut;
    world.relay.mischief = mischief;
    let side = |a: bool| if a { agent } else { customer };
    let mut said: [Vec<String>; 2] = [Vec::new(), Vec::new()];
    for (n, event) in events.iter().enumerate() {
        match *event {
            Event::Say { agent: a } => {
                let text = format!("message {n}");
                let command = world.say(side(a), id, &text);
                world.settle();
                // A crash before the commit loses the command; whoever gave it is not told that it is done.
                let done = world.clients[side(a)]
                    .events
                    .iter()
                    .any(|e| matches!(e, sealdesk_client::Event::Done { id, .. } if *id == command));
                let stored = world.texts(side(a), &id).iter().any(|(_, t, _)| *t == text);
                prop_assert!(stored || !done, "a command that is done is durable");
                if stored {
                    said[usize::from(a)].push(text);
                }
            }
            Event::Pass(ms) => world.pass(u64::from(ms)),
            Event::Disconnect => world.disconnect_all(),
            Event::Crash { agent: a, after } => {
                world.clients[side(a)].crash =
                    Some(if after { Crash::AfterCommit } else { Crash::BeforeCommit });
            }
            Event::Restart { agent: a } => world.restart(side(a)),
            Event::Down => {
                world.up = false;
                world.disconnect_all();
            }
            Event::Up => world.up = true,
        }
    }
    world.up = true;
    world.cut = None;
    world.relay.mischief = Mischief::default();
    world.pass(30 * 60 * 1000);
    for (a, texts) in said.iter().enumerate() {
        let (from, to) = (side(a == 1), side(a == 0));
        let sent = world.texts(from, &id).into_iter().filter(|(mine, ..)| *mine);
        for (_, text, state) in sent {
            prop_assert_eq!(state, MessageState::Delivered, "{}", text);
        }
        let arrived: Vec<String> =
            world.texts(to, &id).into_iter().filter(|(mine, ..)| !mine).map(|(_, t, _)| t).collect();
        prop_assert_eq!(&arrived, texts);
        prop_assert!(!world.clients[from].engine.has_unsent());
    }
    Ok(())
}

/// A few dozen schedules; more with `PROPTEST_CASES`.
fn config() -> ProptestConfig {
    let standard = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { standard.cases } else { 48 };
    ProptestConfig { cases, max_shrink_iters: 200, ..standard }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn everything_arrives_once_in_order(
        seed in 0u64..1_000,
        cut in prop_oneof![Just(None), (4u32..40).prop_map(Some)],
        events in prop::collection::vec(event(), 1..30),
    ) {
        run(seed, cut, Mischief::default(), &events)?;
    }

    #[test]
    fn a_relay_that_repeats_and_swaps_is_overcome(
        seed in 0u64..1_000,
        mischief in any::<(u8, u8)>().prop_map(|(repeat, swap)| Mischief {
            repeat: (repeat > 80).then_some(u64::from(repeat % 5) + 2),
            swap: (swap > 80).then_some(u64::from(swap % 5) + 2),
            drop: None,
        }),
        events in prop::collection::vec(event(), 1..24),
    ) {
        run(seed, None, mischief, &events)?;
    }
}
