//! Contents of a peer, in the order of their counters (§8): each once, receipts taken, heads carried on.

use sealdesk_protocol::conversation::MessageId;
use sealdesk_protocol::conversation::content::{Content, Kind, first_head, next_head};
use sealdesk_protocol::conversation::statements::Head;
use sealdesk_protocol::crypto::identity::VerifyKey;
use sealdesk_protocol::crypto::labels;
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash, HeadHash, SessionId};

use super::aside::SetAsideReason;
use super::context::Cx;
use super::customer::profile_body;
use super::delivery::Incoming;
use super::problem;
use super::records::{AttachmentRecord, Counters, PeerHead, SeenEntry, Side};
use super::seen::content_marks;
use super::state::{Conversation, Engine};
use super::trust::Correspondent;
use crate::vault::Key;

/// A pure receipt waits this long for a content that carries it, ms.
const RECEIPT_DELAY: u64 = 40;
/// Pure receipts of one session keep this distance, ms.
const RECEIPT_DISTANCE: u64 = 500;
/// Pure receipts in answer to repetitions keep this distance, ms (§9.5).
const REPEAT_DISTANCE: u64 = 60_000;

impl Conversation {
    pub(super) fn peer_head(&self, device: &DeviceKeyHash) -> PeerHead {
        let known = self.counters.peers.iter().find(|h| h.device == *device).copied();
        known.unwrap_or_else(|| PeerHead {
            device: *device,
            counter: 0,
            hash: first_head(&self.record.id, device),
            receipted: 0,
        })
    }

    /// Whether what the other side says of our contents counts: an agent has accepted (§7: its rights begin with the stored
    /// acceptance). Otherwise the next agent would never get them.
    fn takes_receipts(&self) -> bool {
        self.record.side == Side::Agent || self.record.governance.as_ref().is_some_and(|g| g.is_accepted())
    }

    fn set_peer_head(&mut self, head: PeerHead) {
        self.counters.peers.retain(|h| h.device != head.device);
        self.counters.peers.push(head);
    }

    /// A content with fresh heads was sealed for this device: no further receipt is due.
    pub(super) fn receipted(&mut self, device: &DeviceKeyHash, now: u64) {
        if let Some(head) = self.counters.peers.iter_mut().find(|h| h.device == *device) {
            head.receipted = head.counter;
        }
        self.waits.receipts.remove(device);
        self.waits.receipted.insert(*device, now);
    }

    /// What every content says about what we have.
    pub(super) fn heads(&self) -> Vec<Head> {
        // An agent before its acceptance receipts nothing (§7).
        if !self.may_send() {
            return Vec::new();
        }
        self.counters.heads()
    }
}

impl Counters {
    /// What was taken of each peer, where anything was.
    pub(super) fn heads(&self) -> Vec<Head> {
        let entry = |h: &PeerHead| Head { device: h.device, counter: h.counter, hash: h.hash };
        self.peers.iter().filter(|h| h.counter > 0).map(entry).collect()
    }
}

impl Engine {
    /// A counted content that passed `roster_check`. True: it was the next one, and is shown.
    pub(super) fn take_content(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConversationId,
        from: Correspondent,
        incoming: Incoming,
        content: &Content,
    ) -> bool {
        self.take_heads(cx, id, from, content);
        let Some(c) = self.conversations.get(&id) else { return false };
        let hash = c.record.device;
        let head = c.peer_head(&incoming.sender);
        let message = MessageId { device: incoming.sender, counter: content.counter };
        if content.counter <= head.counter {
            if self.known_content(&id, &message, &incoming.bytes) == Some(false) {
                self.quarantine(cx, hash, Some(id), SetAsideReason::Equivocation, &incoming.bytes);
                cx.problem(Some(id), problem::equivocation());
            } else {
                self.receipt_repetition(cx, id, incoming.sender);
            }
            return false;
        }
        if content.counter > head.counter + 1 {
            self.hold(cx, hash, id, incoming, content);
            return false;
        }
        self.show(cx, id, incoming, content, head);
        true
    }

    /// The next content in order: shown, receipted.
    fn show(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConversationId,
        incoming: Incoming,
        content: &Content,
        head: PeerHead,
    ) {
        let sender = incoming.sender;
        let Some(c) = self.conversations.get_mut(&id) else { return };
        let hash = c.record.device;
        c.set_peer_head(PeerHead {
            device: sender,
            counter: content.counter,
            hash: next_head(&head.hash, content.counter, &incoming.bytes),
            receipted: head.receipted,
        });
        c.waits.attention = true;
        let due = cx.now.mono_ms + RECEIPT_DELAY;
        let last = c.waits.receipted.get(&sender).map_or(0, |at| at + RECEIPT_DISTANCE);
        let due = due.max(last);
        c.waits.receipts.entry(sender).and_modify(|at| *at = due.min(*at)).or_insert(due);
        self.mark(Key::Counters(id));
        let message = MessageId { device: sender, counter: content.counter };
        let marks = content_marks(&id, &message, &incoming.bytes);
        self.remember(hash, SeenEntry { time: cx.now.wall_ms, hash: marks.0, content: Some(marks) });
        match content.kind() {
            Ok(Kind::Profile(profile)) => self.take_profile(cx, id, &sender, &profile),
            Ok(kind) => self.show_message(cx, id, message, content, kind, incoming.weak),
            // Counted and receipted, so that it is not sent for ever; kept for people who look into it.
            Err(_) => {
                self.quarantine(cx, hash, Some(id), SetAsideReason::Content, &incoming.bytes);
                cx.problem(Some(id), problem::set_aside(SetAsideReason::Content));
            }
        }
    }

    fn show_message(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConversationId,
        message: MessageId,
        content: &Content,
        kind: Kind,
        weak: bool,
    ) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        c.counters.places += 1;
        c.counters.unread = c.counters.unread.saturating_add(1);
        c.counters.updated = c.counters.updated.max(cx.now.wall_ms);
        c.waits.changed = true;
        let place = c.counters.places;
        let after_close = c.is_closed();
        let author = c.record.known.iter().find(|k| k.device == message.device).map(|k| k.name.clone());
        if let Kind::Attachment(attachment) = kind {
            self.keep_attachment(AttachmentRecord { conversation: id, message, attachment });
        }
        self.add_to_transcript(cx, id, message, place, false, author, content, after_close, weak);
    }

    /// Entries that name our own device are receipts; all others are ignored (§8).
    pub(super) fn take_heads(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConversationId,
        _from: Correspondent,
        content: &Content,
    ) {
        let Some(c) = self.conversations.get(&id) else { return };
        let own = c.record.device;
        let entry: Option<Head> = content.heads.iter().find(|h| h.device == own).copied();
        if let Some(head) = entry.filter(|_| c.takes_receipts()) {
            self.take_receipt(cx, id, head.counter, &head.hash);
        }
    }

    fn take_receipt(&mut self, cx: &mut Cx<'_>, id: ConversationId, counter: u64, hash: &HeadHash) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        if counter <= c.counters.delivered {
            return;
        }
        match c.contents.get(&counter).or_else(|| c.waits.given_up.get(&counter)) {
            Some(own) if own.head == *hash => {}
            // It was given up before the last start: neither claimed nor denied.
            None if c.counters.is_undelivered(counter) => return,
            _ => return cx.problem(Some(id), problem::bad_receipt()),
        }
        c.counters.delivered = counter;
        c.counters.sent = c.counters.sent.max(counter);
        c.waits.attention = true;
        c.waits.told = None;
        let later = c.contents.split_off(&(counter + 1));
        let mut receipted = core::mem::replace(&mut c.contents, later);
        let later = c.waits.given_up.split_off(&(counter + 1));
        receipted.append(&mut core::mem::replace(&mut c.waits.given_up, later));
        let gone: Vec<u64> =
            c.envelopes.values().filter(|e| (1..=counter).contains(&e.counter)).map(|e| e.order).collect();
        for order in gone {
            self.drop_envelope(&id, order);
        }
        self.mark(Key::Counters(id));
        self.drop_receipted_spools(cx, &id);
        for own in receipted.into_values() {
            self.mark(Key::Content(id, own.counter));
            self.tell_own(cx, id, &own);
            if let Some(record) = self.own_record(id, &own)
                && let Some(c) = self.conversations.get_mut(&id)
            {
                c.waits.recent.push_back(record);
                if c.waits.recent.len() > MAX_RECENT {
                    c.waits.recent.pop_front();
                }
            }
        }
    }

    /// Receipts, read marks, refusals.
    pub(super) fn take_uncounted(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConversationId,
        from: Correspondent,
        content: &Content,
    ) {
        self.take_heads(cx, id, from, content);
        match content.kind() {
            Ok(Kind::Read(counter)) => self.take_read(cx, id, counter),
            Ok(Kind::StaleEpoch(stale)) => self.take_stale(id, from, &stale),
            _ => {}
        }
    }

    fn take_read(&mut self, cx: &mut Cx<'_>, id: ConversationId, counter: u64) {
        let Some(c) = self.conversations.get_mut(&id).filter(|c| c.takes_receipts()) else { return };
        let counter = counter.min(c.counters.delivered);
        if counter <= c.counters.read {
            return;
        }
        c.counters.read = counter;
        c.waits.changed = true;
        self.mark(Key::Counters(id));
        loop {
            let Some(c) = self.conversations.get_mut(&id) else { return };
            if c.waits.recent.front().is_none_or(|m| m.id.counter > counter) {
                return;
            }
            if let Some(record) = c.waits.recent.pop_front() {
                self.tell_message(cx, &id, &record);
            }
        }
    }

    /// A returning customer: the signature binds the profile to this conversation and device (§3).
    fn take_profile(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConversationId,
        sender: &DeviceKeyHash,
        profile: &sealdesk_protocol::conversation::content::ProfileSignature,
    ) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        let customer = c.record.governance.as_ref().map(|g| g.current().roster.customer().hash());
        let good = c.record.side == Side::Agent
            && customer == Some(*sender)
            && VerifyKey(profile.profile)
                .verify(labels::PROFILE, &profile_body(&id, sender), &profile.signature)
                .is_ok();
        if good {
            c.record.profile = Some(profile.profile);
            c.waits.changed = true;
            self.mark(Key::Conversation(id));
        } else {
            cx.problem(Some(id), problem::profile());
        }
    }

    /// An envelope that was opened before: its content's receipt may have been lost.
    pub(super) fn repeated(&mut self, cx: &mut Cx<'_>, session: &SessionId) {
        let found =
            self.conversations.values().find_map(|c| c.sessions.get(session).map(|s| (c.id(), s.peer)));
        if let Some((id, peer)) = found {
            self.receipt_repetition(cx, id, peer);
        }
    }

    /// At most one pure receipt a minute for repetitions.
    fn receipt_repetition(&mut self, cx: &mut Cx<'_>, id: ConversationId, peer: DeviceKeyHash) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        if c.peer_head(&peer).counter == 0 || c.waits.receipts.contains_key(&peer) {
            return;
        }
        let now = cx.now.mono_ms;
        let allowed = c.waits.repeated.get(&peer).map_or(now, |at| at + REPEAT_DISTANCE);
        c.waits.receipts.entry(peer).or_insert(allowed.max(now + RECEIPT_DELAY));
        c.waits.repeated.insert(peer, allowed.max(now));
        c.waits.attention = true;
    }
}

/// Own messages kept in memory to tell when they are read.
const MAX_RECENT: usize = 64;
/// Attachments that can be opened, of one conversation.
pub(super) const MAX_ATTACHMENTS: usize = 10_000;
