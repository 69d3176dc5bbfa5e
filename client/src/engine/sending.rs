//! What leaves (§9.3, §9.5): envelopes are repeated byte for byte until a receipt, contents without counter until the relay
//! has them. What the relay refuses goes again later; the own record of a close alone ends a content.

use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash};
use sealdesk_protocol::wire::{Addressed, Code, Send};

use super::MessageState;
use super::context::Cx;
use super::link::Request;
use super::records::{Counters, OwnContent};
use super::state::{Conversation, Engine};
use crate::vault::Key;

/// Envelopes of one device under way at a time: statements and pings are never far behind.
const WINDOW: usize = 32;
/// After the relay refused an envelope for good, ms.
const REFUSED_PAUSE: u64 = 10 * 60 * 1000;

impl Counters {
    pub(super) fn is_undelivered(&self, counter: u64) -> bool {
        self.undelivered.iter().any(|(from, to)| (*from..=*to).contains(&counter))
    }

    /// Marks an own content as not having arrived; a receipt outweighs it.
    fn note_undelivered(&mut self, counter: u64) {
        let delivered = self.delivered;
        self.undelivered.retain(|(_, to)| *to > delivered);
        if self.is_undelivered(counter) {
            return;
        }
        match self.undelivered.last_mut() {
            Some((_, last)) if *last + 1 == counter => *last = counter,
            _ => self.undelivered.push((counter, counter)),
        }
    }
}

impl Engine {
    /// Hands envelopes to the relay, in order, a window at a time. What was sealed for a device before it was revoked, left
    /// or let its certificate end does not leave either: it waits, and is sealed anew when another device is assigned.
    pub(super) fn run_sending(&mut self, cx: &mut Cx<'_>, id: ConversationId) {
        let Some(c) = self.conversations.get(&id) else { return };
        if c.waits.send_at > cx.now.mono_ms || c.record.governance.is_none() {
            return;
        }
        let (hash, sent, flying) = (c.record.device, c.counters.sent, &c.flying);
        let waiting: Vec<u64> = c
            .envelopes
            .values()
            .filter(|e| !flying.contains(&e.order) && (e.counter == 0 || e.counter > sent))
            .map(|e| e.order)
            .collect();
        if waiting.is_empty() {
            return;
        }
        let Some(peer) = self.peer_now(cx, &id).map(|to| to.device()) else { return };
        for order in waiting {
            let Some(online) = self.devices.get_mut(&hash).and_then(|d| d.link.online_mut()) else { return };
            if online.count(|r| matches!(r, Request::Envelope { .. })) >= WINDOW {
                return;
            }
            let Some(c) = self.conversations.get_mut(&id) else { return };
            let Some(envelope) = c.envelopes.get(&order).filter(|e| e.to == peer) else { continue };
            let Some(to) = mailbox(c, &envelope.to) else { continue };
            let message = Addressed { to, envelope: envelope.bytes.clone() };
            c.flying.insert(order);
            let req = online.request(Request::Envelope { conversation: id, order }, cx.now.mono_ms);
            self.send(cx, hash, Send { req, conversation: id, message });
        }
    }

    /// The relay has it.
    pub(super) fn envelope_stored(&mut self, cx: &mut Cx<'_>, id: &ConversationId, order: u64) {
        let Some(c) = self.conversations.get_mut(id) else { return };
        let hash = c.record.device;
        let Some(counter) = c.envelopes.get(&order).map(|e| e.counter) else { return };
        c.waits.told = None;
        if counter == 0 {
            self.drop_envelope(id, order);
        } else {
            c.stored.insert(counter);
            self.raise_sent(cx, *id);
        }
        // The window has room again, for this conversation and the device's others.
        for c in
            self.conversations.values_mut().filter(|c| c.record.device == hash && !c.envelopes.is_empty())
        {
            c.waits.attention = true;
        }
    }

    /// "Sent" reaches up to the first content that the relay does not have.
    fn raise_sent(&mut self, cx: &mut Cx<'_>, id: ConversationId) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        let sent = c.counters.sent;
        let open = c.contents.keys().find(|n| **n > sent && !c.stored.contains(n));
        let reached = open.map_or(c.counters.counter, |n| n - 1);
        if reached <= sent {
            return;
        }
        c.counters.sent = reached;
        c.stored.retain(|n| *n > reached);
        let newly: Vec<OwnContent> =
            c.contents.range(sent + 1..=reached).map(|(_, own)| own.clone()).collect();
        self.mark(Key::Counters(id));
        for own in newly {
            self.tell_own(cx, id, &own);
        }
    }

    /// The relay does not take it: later again, or never.
    pub(super) fn envelope_refused(
        &mut self,
        cx: &mut Cx<'_>,
        id: &ConversationId,
        order: u64,
        code: Code,
        at: u64,
    ) {
        let Some(c) = self.conversations.get_mut(id) else { return };
        let Some(counter) = c.envelopes.get(&order).map(|e| e.counter) else { return };
        if super::requests::is_passing(code) {
            // Everything behind it waits too, so that order is kept.
            c.flying.remove(&order);
            c.waits.send_at = at;
            return self.tell_once(cx, *id, code);
        }
        self.drop_envelope(id, order);
        // Only what this device knows by itself ends a content: the relay's word alone would leave a hole in the counters,
        // behind which the other side shows nothing any more.
        let over = matches!(code, Code::UnknownConversation | Code::NotListed | Code::Closed);
        let closed = self.conversations.get(id).is_some_and(|c| c.is_closed());
        if counter > 0 && over && closed {
            self.give_up(cx, *id, counter);
        } else if counter > 0 {
            self.send_anew(cx, *id, counter);
            if let Some(c) = self.conversations.get_mut(id) {
                c.waits.send_at = at + REFUSED_PAUSE;
            }
        }
        self.tell_once(cx, *id, code);
    }

    /// A content that did not arrive: shown as such until it does, sealed anew and sent again.
    pub(super) fn send_anew(&mut self, cx: &mut Cx<'_>, id: ConversationId, counter: u64) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        let Some(own) = c.contents.get(&counter).cloned() else { return };
        c.counters.note_undelivered(counter);
        c.counters.sent = c.counters.sent.min(counter - 1);
        c.waits.attention = true;
        let orders: Vec<u64> =
            c.envelopes.values().filter(|e| e.counter == counter).map(|e| e.order).collect();
        orders.into_iter().for_each(|order| self.drop_envelope(&id, order));
        self.mark(Key::Counters(id));
        self.tell_own(cx, id, &own);
    }

    pub(super) fn drop_envelope(&mut self, id: &ConversationId, order: u64) {
        let Some(c) = self.conversations.get_mut(id) else { return };
        c.flying.remove(&order);
        if let Some(envelope) = c.envelopes.remove(&order) {
            self.mark(Key::Envelope(*id, envelope.id));
        }
    }

    /// Envelopes for a device that is not written to any more.
    pub(super) fn drop_envelopes(&mut self, id: &ConversationId, to: &DeviceKeyHash) {
        let Some(c) = self.conversations.get(id) else { return };
        let orders: Vec<u64> = c.envelopes.values().filter(|e| e.to == *to).map(|e| e.order).collect();
        orders.into_iter().for_each(|order| self.drop_envelope(id, order));
    }

    /// A content that will not arrive: shown as such, its text kept in the transcript.
    pub(super) fn give_up(&mut self, cx: &mut Cx<'_>, id: ConversationId, counter: u64) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        let Some(own) = c.contents.remove(&counter) else { return };
        let orders: Vec<u64> =
            c.envelopes.values().filter(|e| e.counter == counter).map(|e| e.order).collect();
        c.counters.note_undelivered(counter);
        orders.into_iter().for_each(|order| self.drop_envelope(&id, order));
        self.mark(Key::Content(id, counter));
        self.mark(Key::Counters(id));
        self.tell_own(cx, id, &own);
        if let Some(c) = self.conversations.get_mut(&id) {
            c.waits.given_up.insert(counter, own);
        }
    }

    /// Nothing that is not receipted will arrive any more.
    pub(super) fn give_up_all(&mut self, cx: &mut Cx<'_>, id: ConversationId) {
        let Some(c) = self.conversations.get(&id) else { return };
        let unreceipted: Vec<u64> = c.contents.keys().copied().collect();
        unreceipted.into_iter().for_each(|counter| self.give_up(cx, id, counter));
    }

    /// Tells the new state of an own message.
    pub(super) fn tell_own(&mut self, cx: &mut Cx<'_>, id: ConversationId, own: &OwnContent) {
        if let Some(record) = self.own_record(id, own) {
            self.tell_message(cx, &id, &record);
        }
    }

    /// What became of an own content.
    pub(crate) fn own_state(c: &Conversation, counter: u64) -> MessageState {
        let counters = &c.counters;
        if counter <= counters.read {
            MessageState::Read
        } else if counter <= counters.delivered {
            MessageState::Delivered
        } else if counters.is_undelivered(counter) {
            MessageState::Undelivered
        } else if counter <= counters.sent {
            MessageState::Sent
        } else {
            MessageState::Waiting
        }
    }
}

/// The mailbox of a device that was ever listed.
fn mailbox(c: &Conversation, device: &DeviceKeyHash) -> Option<sealdesk_protocol::ids::MailboxId> {
    let governance = c.record.governance.as_ref()?;
    let member = governance.ever_listed(device)?;
    Some(member.device.mailbox())
}
