//! Conversations that go, every row of them (§11): deleted by a person, or pushed out by new ones when nobody took them.
//!
//! Without the key's row nothing of a conversation opens again. What still arrives of it at an agent is ignored, by its mark.

use sealdesk_protocol::crypto::kdf::sha256;
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash};

use super::context::Cx;
use super::records::{SeenEntry, Side};
use super::seen::half;
use super::state::Engine;
use super::{Event, Output, aside, problem};
use crate::vault::Key;

/// Deletions by a person that are remembered.
const MAX_DELETED: usize = 1_000;

/// What a conversation that is gone is known by: enough to know it again, and nothing else.
fn mark_of(id: &ConversationId) -> [u8; 32] {
    sha256(id.as_bytes())
}

impl Engine {
    /// Whether this conversation is gone from an agent's device.
    pub(super) fn is_gone(&self, device: &DeviceKeyHash, id: &ConversationId) -> bool {
        let mark = mark_of(id);
        self.devices.get(device).is_some_and(|d| {
            let deleted = &d.record.deleted;
            !deleted.is_empty() && deleted.contains(&half(&mark)) || d.seen.contains(&mark)
        })
    }

    pub(super) fn delete(&mut self, cx: &mut Cx<'_>, id: u64, conversation: ConversationId) {
        let Some(c) = self.conversations.get(&conversation) else {
            return cx.failed(id, problem::unknown_conversation());
        };
        let (device, side) = (c.record.device, c.record.side);
        if side == Side::Agent
            && let Some(device) = self.devices.get_mut(&device)
        {
            if device.record.deleted.len() >= MAX_DELETED {
                device.record.deleted.remove(0);
            }
            device.record.deleted.push(half(&mark_of(&conversation)));
            let hash = device.public.hash();
            self.mark(Key::Device(hash));
        }
        self.shred(cx, conversation);
        cx.done(id, Some(conversation));
    }

    /// Pushed out by new ones. The mark of one that is closed stays as long as something of it can still arrive, and takes
    /// no place from those of a person's deletions: whoever opens and closes without end chooses what is pushed out. One
    /// that was given to another agent has none: it may be given back.
    pub(super) fn push_out(&mut self, cx: &mut Cx<'_>, conversation: &ConversationId) {
        if let Some((device, closed)) =
            self.conversations.get(conversation).map(|c| (c.record.device, c.is_closed()))
        {
            if closed {
                let hash = half(&mark_of(conversation));
                self.remember(device, SeenEntry { time: cx.now.wall_ms, hash, content: None });
            }
            self.shred(cx, *conversation);
            cx.event(Event::Gone(*conversation));
        }
    }

    fn shred(&mut self, cx: &mut Cx<'_>, conversation: ConversationId) {
        let Some(c) = self.conversations.get(&conversation) else { return };
        let (places, device, side) = (c.counters.places, c.record.device, c.record.side);
        let mut keys =
            vec![Key::Wrapped(conversation), Key::Conversation(conversation), Key::Counters(conversation)];
        for entry in c.sessions.values() {
            keys.push(Key::Session(conversation, entry.session.id()));
            keys.extend(
                entry
                    .session
                    .skipped_names()
                    .map(|n| Key::Skipped(conversation, entry.session.id(), n.to_bytes())),
            );
        }
        keys.extend(c.contents.keys().map(|n| Key::Content(conversation, *n)));
        keys.extend(c.envelopes.values().map(|e| Key::Envelope(conversation, e.id)));
        keys.extend(c.held.keys().map(|m| Key::Held(conversation, *m)));
        keys.extend(c.attachments.keys().map(|m| Key::Attachment(conversation, *m)));
        keys.extend((1..=places).map(|place| Key::Message(conversation, place)));
        keys.extend((0..aside::MAX_REFUSED).map(|place| Key::Refused(conversation, place)));
        for transfer in self.drop_transfers(cx, &conversation) {
            keys.push(Key::Transfer(conversation, transfer));
        }
        if side == Side::Customer
            && let Some(device) = self.devices.remove(&device)
        {
            let hash = device.public.hash();
            cx.out.extend(device.link.number().map(Output::Disconnect));
            keys.extend([Key::Device(hash), Key::Cursor(hash)]);
            keys.extend(device.prekeys.keys().map(|p| Key::Prekey(hash, *p)));
            keys.extend(device.seen.numbers().map(|n| Key::Seen(hash, n)));
            keys.extend(device.aside.keys().map(|n| Key::SetAside(hash, *n)));
            keys.extend(
                (0..device.cursor.next_quarantine.min(aside::MAX_QUARANTINE))
                    .map(|n| Key::Quarantine(hash, n)),
            );
        }
        if side == Side::Agent
            && let Some(device) = self.devices.get_mut(&device)
        {
            let hash = device.public.hash();
            let waiting = device.aside.extract_if(.., |_, a| a.conversation == conversation);
            keys.extend(waiting.map(|(number, _)| Key::SetAside(hash, number)));
        }
        self.conversations.remove(&conversation);
        self.vault.shred(&conversation);
        for key in keys {
            self.dirty.remove(&key);
            self.deleted.push(self.vault.name(key));
        }
        self.cold.retain(|(_, scope, _)| *scope != Some(conversation));
    }
}
