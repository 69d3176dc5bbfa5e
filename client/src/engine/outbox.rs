//! What is sealed (§9.3, §9.5): frozen contents once per recipient device, contents without counter as they come. Envelopes
//! are kept; how they reach the relay: see `sending`.

use sealdesk_protocol::conversation::content::{Content, Kind, next_head};
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash};
use sealdesk_protocol::session::EncryptError;
use sealdesk_protocol::wire::Addressed;
use sealdesk_protocol::wire::envelope::Envelope;

use super::context::Cx;
use super::problem;
use super::records::{OutEnvelope, OwnContent};
use super::state::{Conversation, Engine};
use super::trust::Correspondent;
use crate::vault::Key;

impl Conversation {
    /// Gives a content its place and head.
    pub(super) fn freeze(&mut self, content: &Content, bytes: Vec<u8>) -> OwnContent {
        let counters = &mut self.counters;
        counters.counter = content.counter;
        counters.head = next_head(&counters.head, content.counter, &bytes);
        counters.updated = counters.updated.max(content.time);
        let shown = content.kind != Kind::Profile(super::outbox::no_profile()).number();
        if shown {
            counters.places += 1;
        }
        OwnContent {
            conversation: self.record.id,
            counter: content.counter,
            place: if shown { counters.places } else { 0 },
            time: content.time,
            bytes,
            head: counters.head,
            weak: false,
        }
    }

    /// Whether this device still has something to bring to the other side.
    pub(super) fn has_unsent(&self) -> bool {
        !self.contents.is_empty() || !self.envelopes.is_empty() || !self.record.pending.is_empty()
    }

    /// Whether the relay has everything that this device wrote. Receipts of the other side may still be missing.
    pub(super) fn is_with_relay(&self) -> bool {
        let sent = self.counters.sent;
        self.record.pending.is_empty()
            && self.contents.keys().all(|counter| *counter <= sent)
            && self.envelopes.values().all(|e| e.counter != 0 && e.counter <= sent)
    }

    /// Customer: open, or closed with something left to bring over, or closed a moment ago.
    pub(super) fn wants_link(&self, now: u64) -> bool {
        const AFTER_CLOSE: u64 = 10 * 60 * 1000;
        if let Some(here) = self.record.closed_here {
            return now < here;
        }
        match self.record.governance.as_ref().and_then(|g| g.closed()) {
            // The signer chooses the time: one far off keeps nobody connected.
            Some(closed) => self.has_unsent() || closed.time.abs_diff(now) < AFTER_CLOSE,
            None => true,
        }
    }
}

/// For the number of the kind alone.
pub(super) fn no_profile() -> sealdesk_protocol::conversation::content::ProfileSignature {
    sealdesk_protocol::conversation::content::ProfileSignature { profile: [0; 32], signature: [0; 64] }
}

impl Engine {
    /// Seals every content that has no envelope for the current peer yet.
    pub(super) fn run_sealing(&mut self, cx: &mut Cx<'_>, id: ConversationId) {
        let Some(c) = self.conversations.get(&id) else { return };
        if !c.may_send() || c.contents.is_empty() {
            return;
        }
        let Some(peer) = c.peer().map(|p| p.hash()) else { return };
        let sealed: std::collections::BTreeSet<u64> =
            c.envelopes.values().filter(|e| e.to == peer && e.counter > 0).map(|e| e.counter).collect();
        let waiting: Vec<u64> = c.contents.keys().filter(|n| !sealed.contains(n)).copied().collect();
        if waiting.is_empty() {
            return;
        }
        let Some(to) = self.correspondent(cx, &id, &peer) else { return };
        for counter in waiting {
            let Some(bytes) =
                self.conversations.get(&id).and_then(|c| c.contents.get(&counter)).map(|o| o.bytes.clone())
            else {
                continue;
            };
            match self.seal(cx, id, to, counter, &bytes) {
                Some(weak) => self.sealed(cx, id, counter, weak),
                None => return,
            }
        }
    }

    /// A first flight on a last-resort prekey is flagged.
    fn sealed(&mut self, cx: &mut Cx<'_>, id: ConversationId, counter: u64, weak: bool) {
        let Some(own) = self.conversations.get_mut(&id).and_then(|c| c.contents.get_mut(&counter)) else {
            return;
        };
        if weak && !own.weak {
            own.weak = true;
            let own = own.clone();
            self.mark(Key::Content(id, counter));
            if let Some(record) = self.own_record(id, &own) {
                self.cold.push((Key::Message(id, record.place), Some(id), crate::vault::encode(&record)));
                self.tell_message(cx, &id, &record);
            }
        }
    }

    /// Seals one content for one device and keeps the envelope. None: no session, or it cannot seal now.
    fn seal(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConversationId,
        to: Correspondent,
        counter: u64,
        bytes: &[u8],
    ) -> Option<bool> {
        let envelope = self.encrypt(cx, id, to, bytes)?;
        let c = self.conversations.get_mut(&id)?;
        let weak = c.sessions.get(&envelope.session).is_some_and(|s| {
            s.session.is_last_resort_only() && s.session.is_initiator() && s.session.needs_preamble()
        });
        let order = c.counters.order;
        c.counters.order += 1;
        let out = OutEnvelope {
            conversation: id,
            id: envelope.id,
            order,
            to: to.device(),
            session: envelope.session,
            counter,
            time: cx.now.wall_ms,
            bytes: envelope.encode(),
        };
        c.envelopes.insert(order, out);
        c.waits.attention = true;
        self.mark(Key::Envelope(id, envelope.id));
        self.mark(Key::Counters(id));
        Some(weak)
    }

    /// Seals in the session chosen for the peer; without one, fresh prekeys are fetched.
    fn encrypt(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConversationId,
        to: Correspondent,
        bytes: &[u8],
    ) -> Option<Envelope> {
        let c = self.conversations.get_mut(&id)?;
        let peer = to.device();
        let Some(session) = c.sending(&peer).filter(|s| c.sessions.contains_key(s)) else {
            self.want_session(cx, id, to);
            return None;
        };
        let (epoch, roster) = {
            let current = c.record.governance.as_ref()?.current();
            (current.number, current.roster_hash)
        };
        let entry = c.sessions.get_mut(&session)?;
        match entry.session.encrypt(bytes, epoch, roster, cx.rng) {
            Ok(envelope) => {
                self.mark(Key::Session(id, session));
                Some(envelope)
            }
            Err(EncryptError::NoChain) => None,
            Err(EncryptError::Exhausted) => {
                c.record.sending.retain(|(device, _)| *device != peer);
                self.want_session(cx, id, to);
                None
            }
            Err(error @ EncryptError::TooLong(_)) => {
                cx.problem(Some(id), problem::handshake(error));
                None
            }
        }
    }

    /// A content without counter for one device, with what we have as heads.
    pub(super) fn write_uncounted(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConversationId,
        to: Correspondent,
        kind: &Kind,
    ) {
        let Some(bytes) = self.uncounted(cx, &id, kind) else { return };
        let sealed = self.seal(cx, id, to, 0, &bytes).is_some();
        if let Some(c) = self.conversations.get_mut(&id).filter(|_| sealed) {
            c.receipted(&to.device(), cx.now.mono_ms);
        }
    }

    fn uncounted(&self, cx: &Cx<'_>, id: &ConversationId, kind: &Kind) -> Option<Vec<u8>> {
        let heads = self.conversations.get(id)?.heads();
        Content::new(0, cx.now.wall_ms, heads, kind).encode().ok()
    }

    /// Sealed, but not queued: rides with a statement.
    pub(super) fn seal_apart(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConversationId,
        to: Correspondent,
        bytes: &[u8],
    ) -> Option<Addressed> {
        let envelope = self.encrypt(cx, id, to, bytes)?;
        Some(Addressed { to: envelope.mailbox, envelope: envelope.encode() })
    }

    /// Pure receipts and read marks that are due.
    pub(super) fn run_receipts(&mut self, cx: &mut Cx<'_>, id: ConversationId) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        if !c.may_send() {
            return;
        }
        let now = cx.now.mono_ms;
        let due: Vec<DeviceKeyHash> =
            c.waits.receipts.iter().filter(|(_, at)| **at <= now).map(|(d, _)| *d).collect();
        for peer in due {
            let Some(c) = self.conversations.get_mut(&id) else { return };
            c.waits.receipts.remove(&peer);
            if let Some(to) = self.correspondent(cx, &id, &peer) {
                self.write_uncounted(cx, id, to, &Kind::Receipt(()));
            }
        }
        let Some(c) = self.conversations.get_mut(&id).filter(|c| c.waits.read_due) else { return };
        c.waits.read_due = false;
        let marked = c.counters.marked;
        if let Some(to) = self.peer_now(cx, &id) {
            self.write_uncounted(cx, id, to, &Kind::Read(marked));
        }
    }
}
