//! The verdict on a decrypted content, and those that wait for theirs (§7.9): an earlier content, a statement, a good
//! certificate or the acceptance is missing.

use sealdesk_protocol::conversation::content::{Content, Kind, StaleEpoch};
use sealdesk_protocol::conversation::{MessageId, Verdict};
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash};

use super::aside::SetAsideReason;
use super::context::Cx;
use super::delivery::Incoming;
use super::problem;
use super::records::{Held, Side};
use super::seen::content_marks;
use super::state::Engine;
use crate::vault::Key;

/// Most contents of one conversation that wait for an earlier one or a statement, of each device that is listed.
const MAX_HELD: usize = 256;
/// Most bytes of them.
const MAX_HELD_BYTES: usize = 1 << 20;
/// All others together have one part of so many: whoever was replaced takes nothing from the one who answers now.
const OTHERS: usize = 8;

impl From<Held> for Incoming {
    fn from(held: Held) -> Self {
        let Held { id, epoch, roster, weak, bytes, .. } = held;
        Self { sender: id.device, epoch, roster, weak, bytes }
    }
}

impl Engine {
    /// A decrypted content, and those that waited for it. The ratchet has moved in every case.
    pub(super) fn judge_content(
        &mut self,
        cx: &mut Cx<'_>,
        hash: DeviceKeyHash,
        id: ConversationId,
        incoming: Incoming,
    ) {
        let sender = incoming.sender;
        if !self.judge_one(cx, hash, id, incoming) {
            return;
        }
        while let Some(next) = self.take_held_next(&id, &sender) {
            if !self.judge_one(cx, hash, id, next) {
                break;
            }
        }
        if let Some(c) = self.conversations.get_mut(&id)
            && !c.held.keys().any(|m| m.device == sender)
        {
            c.waits.gaps.remove(&sender);
        }
    }

    /// The verdict on one content (§7). True: it was shown, and the next one may follow.
    fn judge_one(
        &mut self,
        cx: &mut Cx<'_>,
        hash: DeviceKeyHash,
        id: ConversationId,
        incoming: Incoming,
    ) -> bool {
        let Ok(content) = Content::decode(&incoming.bytes) else {
            self.quarantine(cx, hash, Some(id), SetAsideReason::Content, &incoming.bytes);
            cx.problem(Some(id), problem::set_aside(SetAsideReason::Content));
            return false;
        };
        let Some(c) = self.conversations.get(&id) else { return false };
        let Some(governance) = &c.record.governance else { return false };
        let current = governance.current().statement;
        let verdict =
            governance.roster_check(&incoming.sender, incoming.epoch, &incoming.roster, content.counter);
        let heard = c.record.side == Side::Agent || governance.is_accepted();
        let counted = content.counter > 0;
        let from = self.correspondent(cx, &id, &incoming.sender);
        match (verdict, from) {
            // An agent is heard from its acceptance on; a certificate that is not good may be renewed.
            (Verdict::Accept, Some(from)) if counted && heard => {
                return self.take_content(cx, id, from, incoming, &content);
            }
            (Verdict::Accept | Verdict::Hold, _) if counted => self.hold(cx, hash, id, incoming, &content),
            // Receipts, read marks and refusals are exempt (§7).
            (Verdict::Accept | Verdict::Stale, Some(from)) if !counted => {
                self.take_uncounted(cx, id, from, &content);
            }
            (Verdict::Hold, Some(from)) => self.take_heads(cx, id, from, &content),
            // Whoever is not listed any more learns that from the statement itself.
            (Verdict::Stale, Some(from)) => {
                let answer = Kind::StaleEpoch(StaleEpoch { counter: content.counter, current });
                self.write_uncounted(cx, id, from, &answer);
            }
            (Verdict::Fork, _) => {
                self.quarantine(cx, hash, Some(id), SetAsideReason::Fork, &incoming.bytes);
                cx.problem(Some(id), problem::fork());
            }
            (Verdict::NotListed, _) => {
                self.quarantine(cx, hash, Some(id), SetAsideReason::NotListed, &incoming.bytes);
                cx.problem(Some(id), problem::set_aside(SetAsideReason::NotListed));
            }
            (_, None) | (Verdict::Accept, _) => {}
        }
        false
    }

    /// The content that follows the last one shown of a device, if it waits.
    fn take_held_next(&mut self, id: &ConversationId, sender: &DeviceKeyHash) -> Option<Incoming> {
        let c = self.conversations.get_mut(id)?;
        let counter = c.peer_head(sender).counter + 1;
        let held = c.held.remove(&MessageId { device: *sender, counter })?;
        self.mark(Key::Held(*id, held.id));
        Some(Incoming::from(held))
    }

    /// Keeps a content that may not be shown yet.
    pub(super) fn hold(
        &mut self,
        cx: &mut Cx<'_>,
        hash: DeviceKeyHash,
        id: ConversationId,
        incoming: Incoming,
        content: &Content,
    ) {
        let key = MessageId { device: incoming.sender, counter: content.counter };
        let Some(c) = self.conversations.get_mut(&id) else { return };
        if let Some(known) = c.held.get(&key) {
            if known.bytes != incoming.bytes {
                self.quarantine(cx, hash, Some(id), SetAsideReason::Equivocation, &incoming.bytes);
                cx.problem(Some(id), problem::equivocation());
            }
            return;
        }
        let roster = c.record.governance.as_ref().map(|governance| &governance.current().roster);
        let listed = |device: &DeviceKeyHash| roster.is_some_and(|roster| roster.get(device).is_some());
        let own = listed(&key.device);
        let part = if own { 1 } else { OTHERS };
        let counted = c.held.values().filter(|held| listed(&held.id.device) == own);
        let (count, bytes) = counted.fold((0, 0), |(count, sum), held| (count + 1, sum + held.bytes.len()));
        if count >= MAX_HELD / part || bytes + incoming.bytes.len() > MAX_HELD_BYTES / part {
            self.quarantine(cx, hash, Some(id), SetAsideReason::Overflow, &incoming.bytes);
            return cx.problem(Some(id), problem::set_aside(SetAsideReason::Overflow));
        }
        let held = Held {
            conversation: id,
            id: key,
            time: cx.now.wall_ms,
            epoch: incoming.epoch,
            roster: incoming.roster,
            weak: incoming.weak,
            bytes: incoming.bytes,
        };
        c.held.insert(key, held);
        c.waits.gaps.entry(key.device).or_insert(cx.now.mono_ms);
        self.mark(Key::Held(id, key));
    }

    /// What waits of a device that was replaced: it has no place in an epoch that comes.
    pub(super) fn drop_held(&mut self, id: &ConversationId, device: &DeviceKeyHash) {
        let Some(c) = self.conversations.get_mut(id) else { return };
        let gone: Vec<MessageId> = c.held.keys().filter(|held| held.device == *device).copied().collect();
        for message in gone {
            c.held.remove(&message);
            self.dirty.insert(Key::Held(*id, message));
        }
        c.waits.gaps.remove(device);
    }

    /// Contents that waited for a statement, once more.
    pub(super) fn retry_held(&mut self, cx: &mut Cx<'_>, id: &ConversationId) {
        let Some(c) = self.conversations.get_mut(id) else { return };
        let current = c.record.governance.as_ref().map_or(0, |g| g.current().number);
        let hash = c.record.device;
        let ready: Vec<MessageId> = c.held.values().filter(|h| h.epoch <= current).map(|h| h.id).collect();
        for message in ready {
            // It may have followed an earlier one meanwhile.
            let held = self.conversations.get_mut(id).and_then(|c| c.held.remove(&message));
            let Some(held) = held else { continue };
            self.mark(Key::Held(*id, message));
            self.judge_content(cx, hash, *id, Incoming::from(held));
        }
    }

    /// Whether a content with this identity came before, and whether with the same bytes.
    pub(super) fn known_content(
        &self,
        id: &ConversationId,
        message: &MessageId,
        bytes: &[u8],
    ) -> Option<bool> {
        let (identity, content) = content_marks(id, message, bytes);
        self.device_of(id)?.seen.content(&identity).map(|known| *known == content)
    }
}
