//! What is due: done in each step, and when the next step is needed.

use sealdesk_protocol::ids::ConversationId;

use super::Now;
use super::context::Cx;
use super::state::{Engine, Waits};

/// Upkeep: certificates, expiry, rotation, ms.
const UPKEEP: u64 = 60 * 60 * 1000;
/// Wall clock against monotonic clock since the last step, ms.
const JUMP: u64 = 60_000;

impl Waits {
    /// Times at which this conversation has to be looked at.
    fn times(&self) -> impl Iterator<Item = u64> + '_ {
        let fixed = [self.statement_at, self.assignment_at, self.send_at, self.renew_at];
        let close = self.closing_since.map(|at| at + 10_000);
        let gaps = self.gaps.values().map(|since| since + super::reset::GAP_LASTS);
        self.receipts.values().copied().chain(self.accept_at).chain(close).chain(fixed).chain(gaps)
    }
}

impl Engine {
    pub(super) fn run(&mut self, cx: &mut Cx<'_>) {
        // A clock that was set, or a machine that slept: what depends on the time of day is judged anew at once.
        let expected = self.last_wall + cx.now.mono_ms.saturating_sub(self.last_run);
        self.last_wall = cx.now.wall_ms;
        if self.upkeep_at <= cx.now.mono_ms || expected.abs_diff(cx.now.wall_ms) > JUMP {
            self.upkeep_at = cx.now.mono_ms + UPKEEP;
            self.upkeep(cx);
        }
        self.run_links(cx);
        for hash in self.device_names() {
            self.run_prekeys(cx, hash);
        }
        self.run_availability(cx);
        self.run_conversations(cx);
        self.run_transfers(cx);
    }

    /// Every conversation that something happened to, until nothing more follows.
    fn run_conversations(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono_ms;
        let last = self.last_run;
        for c in self.conversations.values_mut() {
            // Times that passed since the last step.
            let passed = c.waits.times().any(|at| at > last && at <= now);
            c.waits.attention |= passed;
        }
        self.last_run = now;
        // A bound, so that a fault of this program cannot keep a step from ending.
        for _ in 0..8 {
            let due: Vec<ConversationId> =
                self.conversations.values().filter(|c| c.waits.attention).map(|c| c.id()).collect();
            if due.is_empty() {
                return;
            }
            for id in due {
                if let Some(c) = self.conversations.get_mut(&id) {
                    c.waits.attention = false;
                }
                self.run_conversation(cx, id);
            }
        }
    }

    fn run_conversation(&mut self, cx: &mut Cx<'_>, id: ConversationId) {
        if self.retries.contains(&id) {
            self.retry(cx, id);
        }
        self.run_trust(cx, id);
        self.run_assignment(cx, id);
        self.run_acceptance(cx, id);
        self.run_countersignature(cx, id);
        self.run_sealing(cx, id);
        self.run_receipts(cx, id);
        self.run_resets(cx, id);
        self.run_close(cx, id);
        self.run_statements(cx, id);
        self.run_sending(cx, id);
    }

    fn upkeep(&mut self, cx: &mut Cx<'_>) {
        self.check_certificates(cx);
        self.expire_prekeys(cx.now.wall_ms);
        self.retry_waiting(cx);
        self.retry_dead();
        self.expire_aside(cx);
        self.expire_conversations(cx);
    }

    /// The next mono time at which a step is needed.
    pub(super) fn wake_at(&self, now: Now) -> Option<u64> {
        let links = self.devices.values().filter_map(|d| {
            let wanted = self.network && self.wants_link(d, now.wall_ms);
            d.link.wake_at(wanted)
        });
        let waits = self.conversations.values().flat_map(|c| c.waits.times().filter(|at| *at > now.mono_ms));
        let files = self.transfers.values().filter_map(|t| t.again_at()).filter(|at| *at > now.mono_ms);
        links.chain(waits).chain(files).chain(core::iter::once(self.upkeep_at)).min()
    }
}
