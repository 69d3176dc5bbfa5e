//! Typing and the like: delivered now or never, no counter, nothing stored (§5).

use sealdesk_protocol::conversation::content::{Content, Kind};
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash};
use sealdesk_protocol::wire::envelope::Envelope;
use sealdesk_protocol::wire::{Addressed, SendEphemeral};

use super::Event;
use super::context::Cx;
use super::state::Engine;
use super::trust::Correspondent;

impl Engine {
    /// Typing and the like: now or never.
    pub(super) fn send_typing(&mut self, cx: &mut Cx<'_>, id: ConversationId, on: bool) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        if c.is_closed() || !c.may_send() || c.waits.typing == Some(on) {
            return;
        }
        c.waits.typing = Some(on);
        if let Some(to) = self.peer_now(cx, &id) {
            self.send_ephemeral(cx, id, to, &Kind::Typing(on));
        }
    }

    fn send_ephemeral(&mut self, cx: &mut Cx<'_>, id: ConversationId, to: Correspondent, kind: &Kind) {
        let Some(c) = self.conversations.get(&id) else { return };
        let hash = c.record.device;
        if self.devices.get(&hash).is_none_or(|d| d.link.online().is_none()) {
            return;
        }
        let Some(session) = c.sending(&to.device()).and_then(|s| c.sessions.get(&s)) else { return };
        let Ok(bytes) = Content::new(0, cx.now.wall_ms, Vec::new(), kind).encode() else { return };
        if let Ok(envelope) = session.session.encrypt_ephemeral(&bytes, cx.rng) {
            let message = Addressed { to: envelope.mailbox, envelope: envelope.encode() };
            self.send(cx, hash, SendEphemeral { conversation: id, message });
        }
    }

    /// An ephemeral envelope: shown or dropped, nothing lasting.
    pub(super) fn ephemeral(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, bytes: &[u8]) {
        let Ok(envelope) = Envelope::decode(bytes) else { return };
        let found = self.conversations.values().find_map(|c| {
            let entry = c.sessions.get(&envelope.session).filter(|_| c.record.device == hash)?;
            let bytes = entry.session.decrypt_ephemeral(&envelope).ok()?;
            Some((c.id(), entry.peer, bytes))
        });
        let Some((conversation, device, bytes)) = found else { return };
        if self.correspondent(cx, &conversation, &device).is_some()
            && let Ok(content) = Content::decode(&bytes)
            && let Ok(Kind::Typing(on)) = content.kind()
        {
            cx.event(Event::Typing { conversation, device, on });
        }
    }
}
