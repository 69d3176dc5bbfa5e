//! The router: acts on what [`Routing`](super::Routing) decides, a few times a second, and soon after it is woken.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sealdesk_protocol::ids::{ConversationId, MailboxId};
use sealdesk_protocol::org::AssignmentMode;
use sealdesk_protocol::wire::{Code, Waiting, WaitingEntry};
use tokio::time::{Duration, Instant};

use super::{Due, Next};
use crate::registry::Inbox;
use crate::relay::Relay;
use crate::relay::naming::{Found, Which};

/// Longest time between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// Shortest time: every statement and upload wakes the router.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs until the relay stops.
pub async fn run(relay: Arc<Relay>) {
    let mut last = Instant::now();
    let mut told = Told::default();
    while is_due(&relay).await {
        let elapsed = last.elapsed();
        last = Instant::now();
        look(&relay, u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)).await;
        relay.metrics.conversations_waiting.set(relay.routing.waiting() as u64);
        if mode(&relay) == AssignmentMode::Claim {
            told.tell(&relay);
        }
    }
}

/// Waits for the next look. False: the relay stops.
async fn is_due(relay: &Relay) -> bool {
    let woken = async {
        tokio::time::sleep(PAUSE).await;
        // An error means that nothing woke it.
        let _ = tokio::time::timeout(LOOK - PAUSE, relay.router.notified()).await;
    };
    tokio::select! {
        () = woken => true,
        () = relay.stopped() => false,
    }
}

fn mode(relay: &Relay) -> AssignmentMode {
    relay.policy.org().verified.settings().assignment
}

/// Does what is due. Answers for how many conversations an agent was looked for: when nobody of a team is free, once is
/// enough, however many wait.
async fn look(relay: &Relay, elapsed_ms: u64) -> usize {
    let is_online = |mailbox: &MailboxId| relay.registry.is_online(mailbox);
    let automatic = mode(relay) == AssignmentMode::Automatic;
    // Teams of which nobody can be named, and of which nobody who is connected can.
    let (mut nobody, mut nobody_online) = (HashSet::new(), HashSet::new());
    let mut searches = 0;
    for Due { id, team, next } in relay.routing.tick(elapsed_ms, is_online) {
        let which = match next {
            Next::Lapse(device) => {
                later(id, relay.lapse(id, device).await);
                continue;
            }
            Next::Withdraw => {
                later(id, relay.withdraw(id).await);
                continue;
            }
            Next::Name => Which::Anybody,
            Next::NameIfOnline => Which::Online,
        };
        let hopeless = nobody.contains(&team) || (which == Which::Online && nobody_online.contains(&team));
        if !automatic || hopeless {
            continue;
        }
        searches += 1;
        match relay.name_if_free(id, which).await {
            Ok(Found::Nobody) if which == Which::Online => _ = nobody_online.insert(team),
            Ok(Found::Nobody) => _ = nobody.insert(team),
            named => later(id, named),
        }
    }
    searches
}

fn later<T>(id: ConversationId, acted: Result<T, Code>) {
    if let Err(code) = acted {
        tracing::debug!(conversation = ?id, code = code.as_str(), "routing goes on later");
    }
}

/// What the agents were told may be claimed. The router alone tells them, so that the newest list comes last; many changes
/// together are told once.
#[derive(Default)]
struct Told {
    lists: HashMap<MailboxId, (Arc<Inbox>, Vec<WaitingEntry>)>,
    at: Option<Instant>,
}

impl Told {
    /// Tells each connected agent, when its list changed or its connection is new.
    fn tell(&mut self, relay: &Relay) {
        if self.at.is_some_and(|at| at.elapsed() < LOOK) {
            return;
        }
        self.at = Some(Instant::now());
        let agents: Vec<_> = relay.registry.all().into_iter().filter(|c| c.who.agent.is_some()).collect();
        self.lists.retain(|mailbox, _| agents.iter().any(|connected| connected.who.mailbox == *mailbox));
        for connected in agents {
            let entries = relay.routing.claimable(&connected.who.hash);
            let before = self.lists.get(&connected.who.mailbox);
            let same =
                before.is_some_and(|(inbox, told)| Arc::ptr_eq(inbox, &connected.inbox) && *told == entries);
            if !same {
                connected.inbox.frame(&Waiting { entries: entries.clone() }.into());
                self.lists.insert(connected.who.mailbox, (connected.inbox, entries));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sealdesk_protocol::crypto::identity::{DeviceSecret, mailbox_of};
    use sealdesk_protocol::ids::DeviceKeyHash;
    use sealdesk_protocol::wire::{Party, StatementItem};

    use super::*;
    use crate::config::RawConfig;
    use crate::relay::record::{Record, tests::record};
    use crate::socket::connection::Session;
    use crate::store::LastResort;
    use crate::testing::Running;
    use crate::testing::organisation::rng;

    /// A relay with a customer who is connected and waits in so many conversations.
    async fn waiting(count: u8) -> (Running, Record, Session) {
        waiting_with(count, |_| {}).await
    }

    async fn waiting_with(count: u8, change: impl FnOnce(&mut RawConfig)) -> (Running, Record, Session) {
        let running = Running::with(change).await;
        let customer = DeviceSecret::generate(&mut rng());
        let session = running.connect(&customer, Party::Customer);
        let base = Record { customer: customer.public(), ..record() };
        for n in 0..count {
            running.relay.put(ConversationId([n; 32]), 0, base.clone()).await.unwrap();
        }
        (running, base, session)
    }

    /// Of the team, away.
    async fn agent(running: &Running, capacity: u16) -> DeviceKeyHash {
        running.agent("mira", capacity).await.hash()
    }

    #[tokio::test]
    async fn one_search_finds_that_nobody_is_free() {
        let (running, _, _customer) = waiting(50).await;
        assert_eq!(look(&running.relay, 1).await, 1);
        // Two are served, and the third search finds nobody.
        agent(&running, 2).await;
        assert_eq!(look(&running.relay, 1).await, 3);
        assert_eq!(running.relay.routing.named().len(), 2);
    }

    #[tokio::test]
    async fn whoever_is_none_for_one_conversation_is_found_for_others() {
        let (running, base, _customer) = waiting(0).await;
        let device = agent(&running, 20).await;
        let mailbox = mailbox_of(&device);
        for n in 0..20 {
            let lapsed = if n % 2 == 0 { vec![device] } else { Vec::new() };
            let record = Record { lapsed, ..base.clone() };
            running.relay.put(ConversationId([n; 32]), 0, record).await.unwrap();
        }
        look(&running.relay, 1).await;
        assert_eq!(running.relay.routing.named().len(), 10);
        assert!(!running.relay.registry.is_online(&mailbox));
        let id = ConversationId([0; 32]);
        let named = async |which| running.relay.name_and_announce(id, which).await;
        assert_eq!(named(Which::Anybody).await, Ok(Found::NotForIt));
        assert_eq!(named(Which::Online).await, Ok(Found::Nobody), "nobody is connected");
    }

    /// Many statements may find no room where those of a new conversation do.
    #[tokio::test]
    async fn a_conversation_that_many_agents_had_stands_before_no_other() {
        let (running, base, _customer) = waiting_with(5, |raw| raw.limits.mailbox_items = 512).await;
        let statement = StatementItem { statement: base.consent.clone(), agent: None, consent: None };
        let long = Record { history: vec![statement; 30], ..base };
        for n in 10..15 {
            running.relay.put(ConversationId([n; 32]), 0, long.clone()).await.unwrap();
        }
        agent(&running, 20).await;
        look(&running.relay, 1).await;
        assert_eq!(running.relay.routing.named().len(), 5);
        let id = ConversationId([10; 32]);
        let named = running.relay.name_and_announce(id, Which::Anybody).await;
        assert_eq!(named, Ok(Found::NotForIt));
    }

    /// A network that has had its part of an agent costs no look into the store, however many of it wait.
    #[tokio::test]
    async fn whoever_has_had_enough_is_passed_over_by_what_is_in_memory() {
        let (running, _, _customer) = waiting_with(20, |raw| raw.limits.prekeys_per_device_hour = 16).await;
        let device = agent(&running, 20).await;
        look(&running.relay, 1).await;
        assert_eq!(running.relay.routing.named().len(), 2, "an eighth");
        // Were it asked, it would say that there are no prekeys.
        running
            .relay
            .store
            .put_prekeys(device, Some(LastResort { bytes: Vec::new(), expires_ms: u64::MAX }), Vec::new(), 0)
            .await
            .unwrap();
        let id = ConversationId([19; 32]);
        let named = running.relay.name_and_announce(id, Which::Anybody).await;
        assert_eq!(named, Ok(Found::NotForIt));
        assert_eq!(running.relay.metrics.rate_limited.get(), 0, "nothing was asked for");
    }

    #[tokio::test]
    async fn two_who_name_at_once_spend_one_bundle() {
        let (running, _, _customer) = waiting(1).await;
        agent(&running, 20).await;
        let name = || running.relay.name_and_announce(ConversationId([0; 32]), Which::Anybody);
        let (one, other) = tokio::join!(name(), name());
        assert_eq!((one, other), (Ok(Found::Agent(())), Ok(Found::NotForIt)));
        assert_eq!(running.relay.metrics.last_resort_issued.get(), 1);
    }

    /// However long somebody asks for an agent, others are given one.
    #[tokio::test]
    async fn the_router_waits_for_nobody() {
        let (running, _, _customer) = waiting(2).await;
        agent(&running, 20).await;
        let held = running.relay.turns.free(&ConversationId([0; 32])).unwrap();
        let looked = tokio::time::timeout(Duration::from_secs(60), look(&running.relay, 1)).await;
        assert_eq!(looked, Ok(2));
        assert_eq!(running.relay.routing.named().len(), 1, "the other one");
        drop(held);
        look(&running.relay, 1).await;
        assert_eq!(running.relay.routing.named().len(), 2);
    }

    #[tokio::test]
    async fn looks_keep_a_distance() {
        let running = Running::start().await;
        let begun = Instant::now();
        for _ in 0..3 {
            running.relay.router.notify_one();
            assert!(is_due(&running.relay).await);
        }
        assert!(begun.elapsed() >= 3 * PAUSE);
    }

    #[tokio::test]
    async fn lists_are_made_twice_a_second_at_most() {
        let running = Running::start().await;
        let mut told = Told::default();
        told.tell(&running.relay);
        assert!(told.at.is_some(), "also when nobody is told anything");
        // As if told just now, however slow the machine is.
        let at = Some(Instant::now() + Duration::from_secs(60));
        told.at = at;
        told.tell(&running.relay);
        assert_eq!(told.at, at);
    }
}
