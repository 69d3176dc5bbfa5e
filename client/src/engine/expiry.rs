//! Hourly: what grew too old ("shown as undelivered" §9.5, skipped keys §5.5, ids §9.4).

use sealdesk_protocol::ids::{ConversationId, SessionId};

use super::context::Cx;
use super::prekeys::ROTATION;
use super::state::Engine;
use crate::vault::Key;

impl Engine {
    pub(super) fn expire_conversations(&mut self, cx: &mut Cx<'_>) {
        self.expire_seen(cx.now.wall_ms);
        let ids: Vec<ConversationId> = self.conversations.keys().copied().collect();
        for id in ids {
            self.expire_contents(cx, id);
            self.expire_sessions(cx, id);
        }
    }

    /// Repetitions cannot come after the mailbox TTL; replay marks of handshakes have to outlive the last-resort pair.
    fn expire_seen(&mut self, now: u64) {
        for (hash, device) in &mut self.devices {
            let before = now.saturating_sub(device.ttl() + 2 * ROTATION);
            for page in device.seen.expire(before) {
                self.dirty.insert(Key::Seen(*hash, page));
            }
        }
    }

    /// The relay has dropped what it stored longer than its TTL ago: shown as undelivered, and sealed anew. It is not given
    /// up, because counters are contiguous: without it the peer could not take anything that comes after.
    fn expire_contents(&mut self, cx: &mut Cx<'_>, id: ConversationId) {
        let Some(ttl) = self.device_of(&id).map(|d| d.ttl()) else { return };
        let before = cx.now.wall_ms.saturating_sub(ttl);
        let Some(c) = self.conversations.get(&id) else { return };
        let sent = c.counters.sent;
        let old = |counter: &u64| {
            let stored = c.envelopes.values().filter(|e| e.counter == *counter).map(|e| e.time).max();
            *counter <= sent && stored.is_none_or(|time| time < before)
        };
        let gone: Vec<u64> =
            c.contents.iter().filter(|(n, own)| own.time < before && old(n)).map(|(n, _)| *n).collect();
        for counter in gone {
            self.send_anew(cx, id, counter);
        }
    }

    /// Sessions in which we do not send are readable until the TTL has passed since they were replaced.
    fn expire_sessions(&mut self, cx: &Cx<'_>, id: ConversationId) {
        let Some(ttl) = self.device_of(&id).map(|d| d.ttl()) else { return };
        let Some(c) = self.conversations.get_mut(&id) else { return };
        let now = cx.now.wall_ms;
        let newest = |peer| c.sessions.values().filter(|s| s.peer == peer).map(|s| s.created).max();
        let gone: Vec<SessionId> = c
            .sessions
            .values()
            .filter(|s| c.sending(&s.peer) != Some(s.session.id()))
            .filter(|s| newest(s.peer).is_some_and(|at| at > s.created && at.saturating_add(ttl) < now))
            .map(|s| s.session.id())
            .collect();
        for session in gone {
            self.drop_session(id, session);
        }
        let Some(c) = self.conversations.get_mut(&id) else { return };
        let mut changed = Vec::new();
        for (session, entry) in &mut c.sessions {
            let changes = entry.session.expire(now);
            changed.extend(changes.removed.iter().map(|n| Key::Skipped(id, *session, n.to_bytes())));
        }
        self.dirty.extend(changed);
    }
}
