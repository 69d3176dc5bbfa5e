//! What comes out of the mailbox (§9.4): state, content, position and ids change in one write, then it is acknowledged.
//!
//! 1. Position: says what to acknowledge, and nothing else. The relay chooses it: a high one that it invents makes nobody
//!    skip or delete what comes later. Repetitions are known by their hash; they are acknowledged and receipted anew.
//! 2. Session: by its id, or by the preamble of a handshake, whose statement has to be known.
//! 3. Decryption; what fails goes to quarantine with a reason, and the position moves all the same (§9.8).
//! 4. `roster_check` (see `judging`), then the content (see `contents`).

use sealdesk_protocol::crypto::handshake::Preamble;
use sealdesk_protocol::crypto::prekeys::PrekeyKind;
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash, RosterHash, SessionId};
use sealdesk_protocol::session::{Opened, Quarantine, Session, SkippedChanges};
use sealdesk_protocol::wire::envelope::{Class, Envelope};
use sealdesk_protocol::wire::{Deliver, Item};

use super::aside::{Aside, SetAsideReason};
use super::context::Cx;
use super::problem;
use super::records::SeenEntry;
use super::seen::half;
use super::state::{Engine, SessionEntry};
use crate::vault::Key;

/// A decrypted content with what came around it.
pub(super) struct Incoming {
    pub(super) sender: DeviceKeyHash,
    pub(super) epoch: u32,
    pub(super) roster: RosterHash,
    pub(super) weak: bool,
    pub(super) bytes: Vec<u8>,
}

/// What an envelope led to.
enum Landed {
    /// Opened in this conversation.
    Content(ConversationId, Incoming),
    /// Has to wait for a statement.
    Wait,
    Refused(Option<ConversationId>, Quarantine),
}

impl Engine {
    pub(super) fn deliver(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, deliver: Deliver) {
        let Some(device) = self.devices.get_mut(&hash) else { return };
        let cursor = &mut device.cursor;
        if deliver.position.store_epoch != cursor.position.store_epoch {
            return;
        }
        device.link.ack_due = true;
        cursor.position = deliver.position;
        self.mark(Key::Cursor(hash));
        match deliver.item {
            Item::Envelope(bytes) => self.receive_envelope(cx, hash, &bytes),
            Item::Statement(item) => self.receive_statement(cx, hash, item),
            _ => {}
        }
    }

    pub(super) fn receive_envelope(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, bytes: &[u8]) {
        let digest = Envelope::hash(bytes);
        let envelope = Envelope::decode(bytes);
        if self.devices.get(&hash).is_some_and(|d| d.seen.contains(&digest)) {
            if let Ok(envelope) = envelope {
                self.repeated(cx, &envelope.session);
            }
            return;
        }
        let landed = match &envelope {
            Ok(envelope) => self.open_envelope(cx, hash, envelope),
            Err(_) => Landed::Refused(None, Quarantine::Malformed),
        };
        // What may open when something before it has come is judged anew when it is repeated.
        let again =
            matches!(landed, Landed::Wait | Landed::Refused(_, Quarantine::NoHeaderKey | Quarantine::Skip));
        if !again {
            self.remember(hash, SeenEntry { time: cx.now.wall_ms, hash: half(&digest), content: None });
        }
        match landed {
            Landed::Content(id, incoming) => self.judge_content(cx, hash, id, incoming),
            Landed::Wait => self.set_aside(cx, hash, Aside::Envelope(bytes.to_vec())),
            Landed::Refused(_, Quarantine::Duplicate) => {
                if let Ok(envelope) = envelope {
                    self.repeated(cx, &envelope.session);
                }
            }
            Landed::Refused(id, reason) => self.set_quarantine(cx, hash, id, reason, bytes),
        }
    }

    /// Writes a seen entry down.
    pub(super) fn remember(&mut self, hash: DeviceKeyHash, entry: SeenEntry) {
        if let Some(device) = self.devices.get_mut(&hash) {
            for page in device.seen.insert(entry) {
                self.dirty.insert(Key::Seen(hash, page));
            }
        }
    }

    fn session_of(&self, session: &SessionId) -> Option<ConversationId> {
        self.conversations.values().find(|c| c.sessions.contains_key(session)).map(|c| c.id())
    }

    fn open_envelope(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, envelope: &Envelope) -> Landed {
        let ours = self.devices.get(&hash).is_some_and(|d| d.public.mailbox() == envelope.mailbox);
        if !ours || envelope.class != Class::Store {
            return Landed::Refused(None, Quarantine::Malformed);
        }
        let known = self.session_of(&envelope.session);
        if let Some(id) =
            known.filter(|id| self.conversations.get(id).is_some_and(|c| c.record.device == hash))
        {
            return self.decrypt(cx, id, envelope);
        }
        match envelope.preamble() {
            Some(preamble) => self.accept_session(cx, hash, envelope, preamble),
            None => Landed::Refused(None, Quarantine::NoSession),
        }
    }

    fn decrypt(&mut self, cx: &Cx<'_>, id: ConversationId, envelope: &Envelope) -> Landed {
        let Some(entry) = self.conversations.get_mut(&id).and_then(|c| c.sessions.get_mut(&envelope.session))
        else {
            return Landed::Refused(Some(id), Quarantine::NoSession);
        };
        let first_flight = envelope.preamble().is_some();
        match entry.session.decrypt(envelope, cx.now.wall_ms) {
            Ok(opened) => {
                let weak = first_flight && entry.session.is_last_resort_only();
                let sender = entry.peer;
                self.mark(Key::Session(id, envelope.session));
                self.mark_skipped(id, envelope.session, &opened.changes);
                Landed::Content(id, incoming(sender, opened, weak))
            }
            Err(reason) => Landed::Refused(Some(id), reason),
        }
    }

    pub(super) fn mark_skipped(&mut self, id: ConversationId, session: SessionId, changes: &SkippedChanges) {
        for name in changes.added.iter().chain(&changes.removed) {
            self.mark(Key::Skipped(id, session, name.to_bytes()));
        }
        if !changes.added.is_empty() {
            self.bound_skipped(id, session);
        }
    }

    /// A handshake: everything it names has to be known before it is answered (§4).
    fn accept_session(
        &mut self,
        cx: &mut Cx<'_>,
        hash: DeviceKeyHash,
        envelope: &Envelope,
        preamble: &[u8],
    ) -> Landed {
        let Ok(preamble) = Preamble::decode(preamble) else {
            return Landed::Refused(None, Quarantine::Malformed);
        };
        let id = preamble.binding().conversation;
        if self.is_gone(&hash, &id) {
            return Landed::Refused(None, Quarantine::Duplicate);
        }
        let Some(c) = self.conversations.get(&id).filter(|c| c.record.device == hash) else {
            return Landed::Wait;
        };
        let refused = |reason| Landed::Refused(Some(id), reason);
        let epochs = c.record.governance.iter().flat_map(|g| g.epochs());
        let Some(epoch) = epochs.into_iter().find(|e| e.statement == preamble.binding().statement) else {
            return Landed::Wait;
        };
        let Some(initiator) = epoch.roster.get(preamble.initiator()).map(|m| m.device) else {
            return refused(Quarantine::NotListed);
        };
        if *preamble.responder() != hash || epoch.roster.get(&hash).is_none() || initiator.hash() == hash {
            return refused(Quarantine::NotListed);
        }
        // Who was replaced begins nothing any more: it would cost a one-time pair, and what it says does not count.
        if c.record.governance.as_ref().is_none_or(|g| g.current().roster.get(&initiator.hash()).is_none()) {
            return refused(Quarantine::NotListed);
        }
        if !Self::is_announced(c, &preamble) {
            return Landed::Wait;
        }
        // One session for each initiator, epoch and generation (§4.3): no honest device begins a second one.
        let again = c.sessions.values().any(|s| {
            s.peer == *preamble.initiator()
                && !s.session.is_initiator()
                && s.session.binding() == preamble.binding()
                && s.session.id() != preamble.session()
        });
        if again {
            return refused(Quarantine::Protocol);
        }
        let Ok(verified) = preamble.verify(&initiator) else { return refused(Quarantine::Signature) };
        let Some(device) = self.devices.get(&hash) else { return refused(Quarantine::NoPrekey) };
        let one_time = preamble.one_time().map(|id| device.prekeys.get(id));
        let (Some(last_resort), false) =
            (device.prekeys.get(preamble.last_resort()), matches!(one_time, Some(None)))
        else {
            self.dead_prekey(id, &verified);
            return refused(Quarantine::NoPrekey);
        };
        let seen = |mark: &sealdesk_protocol::session::InitiationId| device.seen.contains(&mark.0);
        let accepted = Session::accept(
            &device.record.secret,
            &verified,
            last_resort,
            one_time.flatten(),
            &seen,
            envelope,
            cx.now.wall_ms,
        );
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(reason) => return refused(reason),
        };
        let weak = accepted.session.is_last_resort_only();
        let (sender, session) = (initiator.hash(), accepted.session.id());
        self.remember(
            hash,
            SeenEntry { time: cx.now.wall_ms, hash: half(&accepted.initiation.0), content: None },
        );
        self.used_prekey(cx, hash, id, accepted.used_one_time);
        if let Some(c) = self.conversations.get_mut(&id) {
            let entry = SessionEntry { session: accepted.session, peer: sender, created: cx.now.wall_ms };
            c.sessions.insert(session, entry);
        }
        self.mark(Key::Session(id, session));
        self.mark_skipped(id, session, &accepted.opened.changes);
        self.choose_session(id, sender, session);
        self.bound_sessions(id, &sender);
        Landed::Content(id, incoming(sender, accepted.opened, weak))
    }

    /// A one-time pair is deleted with the handshake that used it; handshakes without one, while ours lie unused, are an
    /// alarm (§4).
    fn used_prekey(
        &mut self,
        cx: &mut Cx<'_>,
        hash: DeviceKeyHash,
        id: ConversationId,
        used: Option<sealdesk_protocol::ids::PrekeyId>,
    ) {
        let Some(device) = self.devices.get_mut(&hash) else { return };
        match used {
            Some(prekey) => {
                device.prekeys.remove(&prekey);
                self.mark(Key::Prekey(hash, prekey));
            }
            None => {
                let unused = device.link.online().is_some_and(|o| o.one_time_left > 0)
                    && device.prekeys.values().any(|p| p.kind() == PrekeyKind::OneTime);
                if unused {
                    cx.problem(Some(id), problem::last_resort_used());
                }
            }
        }
    }

    fn set_quarantine(
        &mut self,
        cx: &mut Cx<'_>,
        hash: DeviceKeyHash,
        id: Option<ConversationId>,
        reason: Quarantine,
        bytes: &[u8],
    ) {
        self.quarantine(cx, hash, id, SetAsideReason::Envelope(reason), bytes);
        cx.problem(id, problem::set_aside(reason));
    }
}

fn incoming(sender: DeviceKeyHash, opened: Opened, weak: bool) -> Incoming {
    Incoming { sender, epoch: opened.epoch, roster: opened.roster, weak, bytes: opened.content }
}
