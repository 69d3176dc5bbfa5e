//! What cannot be used now (set aside, tried again) or at all (quarantine): kept, never deleted on arrival (§9.7, §9.8).

use sealdesk_protocol::conversation::Statement;
use sealdesk_protocol::crypto::handshake::Preamble;
use sealdesk_protocol::crypto::kdf::sha256;
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash};
use sealdesk_protocol::wire::StatementItem;
use sealdesk_protocol::wire::envelope::Envelope;
use serde::{Deserialize, Serialize};

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::context::Cx;
use super::state::Engine;
use crate::vault::{Key, Kind, Record, encode};

impl Record for SetAside {
    const KIND: Kind = Kind::SetAside;
}

impl Record for QuarantineRecord {
    const KIND: Kind = Kind::Quarantine;
}

/// What waits for a statement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Aside {
    /// An envelope that cannot be opened yet.
    Envelope(#[serde(with = "serde_bytes")] Vec<u8>),
    /// A statement whose predecessor is missing.
    Statement(Box<StatementItem>),
}

/// A mailbox item that waits for a statement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SetAside {
    pub(crate) device: DeviceKeyHash,
    pub(crate) number: u64,
    pub(crate) time: u64,
    /// The conversation that it names, unverified.
    pub(crate) conversation: ConversationId,
    pub(crate) item: Aside,
}

impl Aside {
    /// The conversation that it names; nothing of it is verified.
    fn conversation(&self) -> Option<ConversationId> {
        match self {
            Self::Envelope(bytes) => {
                let envelope = Envelope::decode(bytes).ok()?;
                let preamble = Preamble::decode(envelope.preamble()?).ok()?;
                Some(preamble.binding().conversation)
            }
            Self::Statement(item) => Statement::peek(&item.statement).ok().map(|s| s.conversation),
        }
    }

    fn is_statement(&self) -> bool {
        matches!(self, Self::Statement(_))
    }

    /// What is kept of it, for its size, for repetitions and for quarantine.
    fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Envelope(bytes) => Cow::Borrowed(bytes),
            // Certificates and consent count as well.
            Self::Statement(item) => Cow::Owned(postcard::to_allocvec(item).unwrap_or_default()),
        }
    }
}

/// Bytes that could not be used.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct QuarantineRecord {
    pub(crate) time: u64,
    pub(crate) reason: SetAsideReason,
    #[serde(with = "serde_bytes")]
    pub(crate) bytes: Vec<u8>,
}

/// The closed list of reasons (§9.8). Append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum SetAsideReason {
    /// The envelope did not open.
    #[error("{0}")]
    Envelope(sealdesk_protocol::session::Quarantine),
    /// It opened, and its content is malformed.
    #[error("its content is malformed")]
    Content,
    /// Its sender sees other readers than this device (§7).
    #[error("its sender was shown other readers")]
    Fork,
    /// Its sender is not listed in the epoch that it names.
    #[error("its sender is not listed")]
    NotListed,
    /// The same message number with another content.
    #[error("the same message number came with another content")]
    Equivocation,
    /// A statement was refused.
    #[error("the statement was refused")]
    Statement,
    /// Too many wait already.
    #[error("too many messages wait for a missing one")]
    Overflow,
}

/// Most items that wait for a statement, of one device.
const MAX_ASIDE: usize = 1_024;
/// Most of one conversation: one customer does not push out what others wait for.
const MAX_ASIDE_EACH: usize = 300;
/// Most statements, and most envelopes, of conversations that this device does not hold.
const MAX_ASIDE_UNKNOWN: usize = 64;
/// Most bytes of one conversation.
const MAX_ASIDE_BYTES: usize = 1 << 20;
/// Quarantined items of one device; above it the oldest are overwritten.
pub(super) const MAX_QUARANTINE: u64 = 256;
/// The same of one conversation.
pub(super) const MAX_REFUSED: u64 = 64;

impl Engine {
    pub(super) fn set_aside(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, item: Aside) {
        let Some(device) = self.devices.get_mut(&hash) else { return };
        let Some(conversation) = item.conversation() else {
            return self.quarantine(cx, hash, None, SetAsideReason::Overflow, &item.bytes());
        };
        let own = item.bytes();
        let beside = device.aside.values().filter(|a| a.conversation == conversation);
        let (mut count, mut bytes, mut stated) = (0, own.len(), false);
        for other in beside {
            stated |= other.item.is_statement();
            let other = other.item.bytes();
            if other == own {
                return;
            }
            (count, bytes) = (count + 1, bytes + other.len());
        }
        // What names a conversation that is not held here has small budgets. An envelope names whatever a stranger wrote
        // into it, and an honest relay delivers a statement first: without one it waits for nothing. Envelopes and
        // statements do not share: what begins a conversation finds room.
        let held = |id: &ConversationId| self.conversations.contains_key(id);
        let alike = |a: &&SetAside| a.item.is_statement() == item.is_statement() && !held(&a.conversation);
        let reason = if held(&conversation) || item.is_statement() || stated {
            SetAsideReason::Overflow
        } else {
            SetAsideReason::Envelope(sealdesk_protocol::session::Quarantine::NoStatement)
        };
        let refused = reason != SetAsideReason::Overflow
            || count >= MAX_ASIDE_EACH
            || bytes > MAX_ASIDE_BYTES
            || !held(&conversation) && device.aside.values().filter(alike).count() >= MAX_ASIDE_UNKNOWN
            || !self.room_aside(cx, hash, &conversation, &item);
        if refused {
            return self.quarantine(cx, hash, Some(conversation), reason, &own);
        }
        drop(own);
        let Some(device) = self.devices.get_mut(&hash) else { return };
        let number = device.cursor.next_aside;
        device.cursor.next_aside += 1;
        device
            .aside
            .insert(number, SetAside { device: hash, number, time: cx.now.wall_ms, conversation, item });
        self.mark(Key::SetAside(hash, number));
        self.mark(Key::Cursor(hash));
    }

    /// Whether there is room for one more. When there is none, the conversation of which most envelopes wait gives up its
    /// last one for a statement, or for a conversation of which fewer wait.
    fn room_aside(
        &mut self,
        cx: &Cx<'_>,
        hash: DeviceKeyHash,
        conversation: &ConversationId,
        item: &Aside,
    ) -> bool {
        let Some(device) = self.devices.get(&hash) else { return false };
        if device.aside.len() < MAX_ASIDE {
            return true;
        }
        let mut envelopes: BTreeMap<ConversationId, (usize, u64)> = BTreeMap::new();
        for (number, other) in device.aside.iter().filter(|(_, other)| !other.item.is_statement()) {
            let (count, last) = envelopes.entry(other.conversation).or_default();
            (*count, *last) = (*count + 1, *number);
        }
        let most = envelopes.iter().max_by_key(|(_, (count, _))| *count);
        let Some((largest, (count, last))) = most.map(|(id, found)| (*id, *found)) else { return false };
        let fewer = envelopes.get(conversation).map_or(0, |(count, _)| *count) + 1 < count;
        if !item.is_statement() && !fewer {
            return false;
        }
        if let Some(gone) = self.devices.get_mut(&hash).and_then(|d| d.aside.remove(&last)) {
            self.mark(Key::SetAside(hash, last));
            self.quarantine(cx, hash, Some(largest), SetAsideReason::Overflow, &gone.item.bytes());
        }
        true
    }

    /// A statement was applied: whatever waited for its conversation is tried again, in its order.
    pub(super) fn retry_aside(&mut self, cx: &mut Cx<'_>, id: &ConversationId) {
        let Some(hash) = self.conversations.get(id).map(|c| c.record.device) else { return };
        let Some(device) = self.devices.get_mut(&hash) else { return };
        let waiting: Vec<(u64, SetAside)> =
            device.aside.extract_if(.., |_, a| a.conversation == *id).collect();
        for (number, set_aside) in waiting {
            self.mark(Key::SetAside(hash, number));
            match set_aside.item {
                Aside::Envelope(bytes) => self.receive_envelope(cx, hash, &bytes),
                Aside::Statement(item) => self.receive_statement(cx, hash, *item),
            }
        }
    }

    /// Keeps bytes that cannot be used, with the reason: with the conversation that they came in, under its key, so that
    /// they go with it; with the device when it is not held here.
    pub(super) fn quarantine(
        &mut self,
        cx: &Cx<'_>,
        hash: DeviceKeyHash,
        id: Option<ConversationId>,
        reason: SetAsideReason,
        bytes: &[u8],
    ) {
        if let Some(id) = id.filter(|id| self.conversations.contains_key(id)) {
            // The same bytes twice take one place.
            let place = u64::from(sha256(bytes)[0]) % MAX_REFUSED;
            let record = QuarantineRecord { time: cx.now.wall_ms, reason, bytes: bytes.to_vec() };
            return self.cold.push((Key::Refused(id, place), Some(id), encode(&record)));
        }
        let Some(device) = self.devices.get_mut(&hash) else { return };
        let place = device.cursor.next_quarantine % MAX_QUARANTINE;
        device.cursor.next_quarantine += 1;
        let scope = device.record.conversation;
        let record = QuarantineRecord { time: cx.now.wall_ms, reason, bytes: bytes.to_vec() };
        self.cold.push((Key::Quarantine(hash, place), scope, encode(&record)));
        self.mark(Key::Cursor(hash));
    }

    /// Hourly: conversations that were above the bound begin when there is room again.
    pub(super) fn retry_waiting(&mut self, cx: &mut Cx<'_>) {
        for hash in self.device_names() {
            let Some(device) = self.devices.get(&hash) else { continue };
            let waiting: BTreeSet<ConversationId> = device.aside.values().map(|a| a.conversation).collect();
            waiting.into_iter().for_each(|id| self.open_waiting(cx, hash, id));
        }
    }

    /// Hourly: what waited longer than the mailbox TTL goes to quarantine.
    pub(super) fn expire_aside(&mut self, cx: &Cx<'_>) {
        for hash in self.device_names() {
            let Some(device) = self.devices.get_mut(&hash) else { continue };
            let before = cx.now.wall_ms.saturating_sub(device.ttl());
            let old: Vec<u64> =
                device.aside.iter().filter(|(_, a)| a.time < before).map(|(n, _)| *n).collect();
            for number in old {
                let Some(gone) = self.devices.get_mut(&hash).and_then(|d| d.aside.remove(&number)) else {
                    continue;
                };
                self.mark(Key::SetAside(hash, number));
                if let Aside::Envelope(bytes) = &gone.item {
                    let reason =
                        SetAsideReason::Envelope(sealdesk_protocol::session::Quarantine::NoStatement);
                    self.quarantine(cx, hash, Some(gone.conversation), reason, bytes);
                }
            }
        }
    }
}
