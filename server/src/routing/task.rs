//! The router: acts on what [`Routing`](super::Routing) decides, a few times a second and whenever it is woken.

use std::collections::HashMap;
use std::sync::Arc;

use sealdesk_protocol::ids::MailboxId;
use sealdesk_protocol::org::AssignmentMode;
use sealdesk_protocol::wire::{Waiting, WaitingEntry};
use tokio::time::{Duration, Instant};

use super::Next;
use crate::clock::now_ms;
use crate::registry::Inbox;
use crate::relay::Relay;
use crate::relay::assign::Which;

/// Longest time between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Runs until the relay stops.
pub async fn run(relay: Arc<Relay>) {
    let mut last = Instant::now();
    let mut told = Told::default();
    loop {
        tokio::select! {
            () = relay.router.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
            () = relay.stopped() => return,
        }
        let elapsed = last.elapsed();
        last = Instant::now();
        look(&relay, u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)).await;
        relay.metrics.conversations_waiting.set(relay.routing.waiting() as u64);
        if mode(&relay) == AssignmentMode::Claim {
            told.tell(&relay);
        }
    }
}

fn mode(relay: &Relay) -> AssignmentMode {
    relay.policy.org().verified.settings().assignment
}

async fn look(relay: &Relay, elapsed_ms: u64) {
    let is_online = |mailbox: &MailboxId| relay.registry.is_online(mailbox);
    let automatic = mode(relay) == AssignmentMode::Automatic;
    for (id, next) in relay.routing.tick(now_ms(), elapsed_ms, is_online) {
        let acted = match next {
            Next::Lapse(device) => relay.lapse(id, device).await,
            Next::Withdraw => relay.withdraw(id).await,
            Next::Name if automatic => relay.name_and_announce(id, Which::Anybody).await.map(|_| ()),
            Next::NameIfOnline if automatic => relay.name_and_announce(id, Which::Online).await.map(|_| ()),
            Next::Name | Next::NameIfOnline => Ok(()),
        };
        if let Err(code) = acted {
            tracing::debug!(conversation = ?id, code = code.as_str(), "routing goes on later");
        }
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
                self.at = Some(Instant::now());
            }
        }
    }
}
