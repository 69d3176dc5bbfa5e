//! The agent's side of an assignment: acceptance with its receipt in one frame, countersignature, close (§7).

use sealdesk_protocol::conversation::content::{Content, Kind};
use sealdesk_protocol::conversation::statements::Action;
use sealdesk_protocol::ids::ConversationId;
use sealdesk_protocol::wire::SetAvailability;

use super::context::Cx;
use super::link::Request;
use super::records::Side;
use super::state::Engine;
use crate::vault::Key;

/// Before close leaves, what was written goes first, for at most this long, ms.
const CLOSE_AFTER: u64 = 10_000;

impl Engine {
    /// Availability, once for each connection and whenever it changes.
    pub(super) fn run_availability(&mut self, cx: &mut Cx<'_>) {
        let Some(hash) = self.agent_device().map(|d| d.public.hash()) else { return };
        let availability = self.meta.availability;
        let Some(online) = self.devices.get_mut(&hash).and_then(|d| d.link.online_mut()) else { return };
        // Nobody can start a session without prekeys, so they go first.
        if online.told_availability || (online.one_time_left == 0 && online.publishing) {
            return;
        }
        online.told_availability = true;
        let req = online.request(Request::Availability, cx.now.mono_ms);
        let frame =
            SetAvailability { req, available: availability.available, capacity: availability.capacity };
        self.send(cx, hash, frame);
    }

    /// Accepts an assignment, by itself or by hand, with a receipt of what came already.
    pub(super) fn run_acceptance(&mut self, cx: &mut Cx<'_>, id: ConversationId) {
        let manual = self.meta.availability.manual;
        let Some(c) = self.conversations.get(&id) else { return };
        let Some(governance) = &c.record.governance else { return };
        let wanted = c.record.side == Side::Agent
            && !c.record.lost
            && !governance.is_accepted()
            && !c.is_closed()
            && governance.current().roster.agent().hash() == c.record.device
            && (!manual || c.record.accept_wanted);
        if !wanted || self.is_pending(&id, |a| matches!(a, Action::Accept { .. })) {
            return;
        }
        let current = governance.current().statement;
        let customer = governance.current().roster.customer().hash();
        let ready = c.sending(&customer).is_some();
        let waits = !ready && c.waits.accept_at.is_some_and(|at| at > cx.now.mono_ms);
        if waits {
            return;
        }
        // The acceptance is not stored yet, so the receipt is built here and leaves with it or not at all.
        let heads = c.counters.heads();
        let receipt = Content::new(0, cx.now.wall_ms, heads, &Kind::Receipt(())).encode().ok();
        let to = self.correspondent(cx, &id, &customer).filter(|_| ready);
        let envelope = receipt.zip(to).and_then(|(bytes, to)| self.seal_apart(cx, id, to, &bytes));
        if envelope.is_some()
            && let Some(c) = self.conversations.get_mut(&id)
        {
            c.receipted(&customer, cx.now.mono_ms);
            self.mark(Key::Counters(id));
        }
        self.add_note(cx, id, Action::Accept { current }, envelope.into_iter().collect());
    }

    /// The customer's device verified and showed the agent: it says so by itself.
    pub(super) fn run_countersignature(&mut self, cx: &mut Cx<'_>, id: ConversationId) {
        let Some(c) = self.conversations.get(&id) else { return };
        let Some(governance) = &c.record.governance else { return };
        let wanted = c.record.side == Side::Customer
            && governance.is_accepted()
            && !governance.is_countersigned()
            && c.record.closed_here.is_none();
        let current = governance.current().statement;
        if wanted
            && !self.is_pending(&id, |a| matches!(a, Action::Countersign { .. }))
            && self.peer_now(cx, &id).is_some()
        {
            self.add_note(cx, id, Action::Countersign { current }, Vec::new());
        }
    }

    /// The close statement, after what was written before it.
    pub(super) fn run_close(&mut self, cx: &mut Cx<'_>, id: ConversationId) {
        let uploading = self.is_uploading(&id);
        let Some(c) = self.conversations.get_mut(&id) else { return };
        let Some(governance) = &c.record.governance else { return };
        if !c.record.closing || governance.closed().is_some() || !c.record.pending.is_empty() {
            return;
        }
        let since = *c.waits.closing_since.get_or_insert(cx.now.mono_ms);
        let unsent = c.counters.sent.max(c.counters.delivered) < c.counters.counter;
        if (unsent || uploading) && c.may_send() && cx.now.mono_ms < since + CLOSE_AFTER {
            return;
        }
        let current = governance.current().statement;
        let heads = c.counters.heads();
        c.record.closing = false;
        self.mark(Key::Conversation(id));
        self.add_note(cx, id, Action::Close { current, heads }, Vec::new());
    }
}
