//! The router: acts on what [`Routing`](super::Routing) decides, a few times a second and whenever it is woken.

use std::collections::HashMap;
use std::sync::Arc;

use sealdesk_protocol::ids::MailboxId;
use sealdesk_protocol::org::AssignmentMode;
use sealdesk_protocol::wire::{Waiting, WaitingEntry};
use tokio::time::{Duration, Instant};

use super::Next;
use crate::clock::now_ms;
use crate::relay::Relay;
use crate::relay::assign::Which;

/// Longest time between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Runs until the relay stops.
pub async fn run(relay: Arc<Relay>) {
    let mut last = Instant::now();
    let mut told: HashMap<MailboxId, Vec<WaitingEntry>> = HashMap::new();
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
            tell_agents(&relay, &mut told);
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

/// Tells each connected agent what may be claimed, when that changed.
fn tell_agents(relay: &Relay, told: &mut HashMap<MailboxId, Vec<WaitingEntry>>) {
    let agents: Vec<_> = relay.registry.all().into_iter().filter(|c| c.who.agent.is_some()).collect();
    told.retain(|mailbox, _| agents.iter().any(|connected| connected.who.mailbox == *mailbox));
    for connected in agents {
        let entries = relay.routing.claimable(&connected.who.hash);
        let before = told.get(&connected.who.mailbox).map_or(&[][..], Vec::as_slice);
        if before != entries {
            connected.inbox.frame(&Waiting { entries: entries.clone() }.into());
            told.insert(connected.who.mailbox, entries);
        }
    }
}
