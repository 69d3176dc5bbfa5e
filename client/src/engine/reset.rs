//! Which session is used, and its replacement (§9.8).
//!
//! A reset is a signed note {old session, new session, generation + 1} by the device that begins the new session. It needs
//! authenticated evidence: a counter gap that lasts, or a validly signed preamble that names a prekey which is gone. Bytes
//! that do not open are no evidence: garbage never causes a reset. A session of generation 1 or above is answered only when
//! its note is known. Whatever is not receipted is sealed anew in the new session, the same bytes under the same counters.

use sealdesk_protocol::conversation::MessageId;
use sealdesk_protocol::conversation::statements::{Action, Statement};
use sealdesk_protocol::crypto::handshake::{Preamble, VerifiedPreamble};
use sealdesk_protocol::crypto::prekeys::PrekeyBundle;
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash, SessionId};
use sealdesk_protocol::session::{Binding, Session};
use sealdesk_protocol::wire::FetchPrekeys;

use super::context::Cx;
use super::link::Request;
use super::problem;
use super::records::{DeadMark, ResetMark};
use super::state::{Conversation, Engine};
use super::trust::Correspondent;
use crate::vault::Key;

/// A counter gap is evidence when it lasts this long, ms: repetitions have come by then.
pub(super) const GAP_LASTS: u64 = 5 * 60 * 1000;
/// Own resets of one session keep this distance, ms.
const RESET_DISTANCE: u64 = 60 * 60 * 1000;
/// Notes of resets of one device that are remembered; and that are taken of a peer in a day: an honest one makes one an
/// hour. Each of its new sessions seals everything unreceipted anew.
const MAX_MARKS: usize = 32;
const DAY: u64 = 24 * 60 * 60 * 1000;
/// Sessions with one peer that stay readable.
const MAX_SESSIONS: usize = 8;
/// Skipped keys of all sessions of a conversation.
const MAX_SKIPPED: usize = 2_000;

impl Conversation {
    /// Epoch number and generation of a session, for comparison.
    fn rank(&self, session: &Session) -> Option<(u32, u32)> {
        let binding = session.binding();
        let epoch =
            self.record.governance.as_ref()?.epochs().iter().find(|e| e.statement == binding.statement)?;
        Some((epoch.number, binding.generation))
    }

    /// Whether a content of this device is missing: later ones wait for it, of epochs that are known here.
    fn has_gap(&self, device: &DeviceKeyHash) -> bool {
        let current = self.record.governance.as_ref().map_or(0, |g| g.current().number);
        let next = MessageId { device: *device, counter: self.peer_head(device).counter + 1 };
        !self.held.contains_key(&next)
            && self.held.values().any(|h| h.id.device == *device && h.epoch <= current)
    }

    /// Why a session is to be begun: there is none to send in, or the evidence of a lost one stands (§9.8). Asked again when
    /// the prekeys arrive, since the relay chooses when that is.
    fn wants_session(&self, peer: &DeviceKeyHash) -> bool {
        let sending = self.sending(peer).is_some_and(|s| self.sessions.contains_key(&s));
        !sending || self.has_gap(peer) || self.record.dead.iter().any(|m| m.peer == *peer)
    }

    /// The generation after the last one with this peer in the current epoch; 0 for the first session.
    fn next_generation(&self, peer: &DeviceKeyHash) -> u32 {
        let Some(current) = self.record.governance.as_ref().map(|g| g.current().statement) else { return 0 };
        let sessions = self
            .sessions
            .values()
            .filter(|s| s.peer == *peer && s.session.binding().statement == current)
            .map(|s| s.session.binding().generation);
        let marks = self.record.resets.iter().filter(|m| m.by == *peer || m.peer == *peer);
        let marks = marks.filter(|m| m.statement == current).map(|m| m.generation);
        let dead = self.record.dead.iter().filter(|m| m.peer == *peer).map(|m| m.generation);
        sessions.chain(marks).chain(dead).max().map_or(0, |n| n.saturating_add(1))
    }
}

impl Engine {
    /// A session that the peer began: is it the one to send in? The later epoch, the higher generation; on glare the one whose
    /// initiator has the lower device key hash.
    pub(super) fn choose_session(&mut self, id: ConversationId, peer: DeviceKeyHash, session: SessionId) {
        let Some(c) = self.conversations.get(&id) else { return };
        let own = c.record.device;
        let initiator = |s: &Session| if s.is_initiator() { own } else { peer };
        let current = c.sending(&peer).and_then(|s| c.sessions.get(&s)).map(|e| &e.session);
        let Some(new) = c.sessions.get(&session).map(|e| &e.session) else { return };
        let better = match current {
            None => true,
            Some(current) => match c.rank(new).cmp(&c.rank(current)) {
                core::cmp::Ordering::Greater => true,
                core::cmp::Ordering::Less => false,
                core::cmp::Ordering::Equal => initiator(new) < initiator(current),
            },
        };
        if better {
            self.send_in(id, peer, session);
        }
    }

    /// From now on contents for this peer are sealed in this session; those without receipt once more.
    pub(super) fn send_in(&mut self, id: ConversationId, peer: DeviceKeyHash, session: SessionId) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        c.set_sending(peer, session);
        c.waits.attention = true;
        c.record.dead.retain(|m| m.peer != peer);
        let again: Vec<u64> = c
            .envelopes
            .values()
            .filter(|e| e.to == peer && e.counter > 0 && e.session != session)
            .map(|e| e.order)
            .collect();
        if !again.is_empty() {
            c.counters.sent = c.counters.delivered;
            c.stored.clear();
        }
        again.into_iter().for_each(|order| self.drop_envelope(&id, order));
        self.mark(Key::Counters(id));
        self.mark(Key::Conversation(id));
    }

    /// Asks for fresh prekeys of a peer, for a session in place of none or of a lost one.
    pub(super) fn want_session(&mut self, cx: &mut Cx<'_>, id: ConversationId, to: Correspondent) {
        let peer = to.device();
        let Some(c) = self.conversations.get_mut(&id) else { return };
        let hash = c.record.device;
        let now = cx.now;
        let recent = c
            .record
            .resets
            .iter()
            .any(|m| m.by == hash && m.peer == peer && m.at + RESET_DISTANCE > now.wall_ms);
        let due =
            c.may_send() && !recent && !c.waits.fetching.contains(&peer) && c.waits.send_at <= now.mono_ms;
        if !due {
            return;
        }
        let Some(online) = self.devices.get_mut(&hash).and_then(|d| d.link.online_mut()) else { return };
        let req = online.request(Request::Fetch { conversation: id, device: peer }, now.mono_ms);
        c.waits.fetching.insert(peer);
        self.send(cx, hash, FetchPrekeys { req, conversation: id, device: peer });
    }

    /// Fresh prekeys came: the session begins, with its note when it replaces another.
    pub(super) fn prekeys_fetched(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConversationId,
        peer: DeviceKeyHash,
        bundle: &PrekeyBundle,
    ) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        c.waits.fetching.remove(&peer);
        let wanted = c.wants_session(&peer);
        if !wanted || self.correspondent(cx, &id, &peer).is_none() {
            return;
        }
        let Some(c) = self.conversations.get(&id) else { return };
        let Some(governance) = &c.record.governance else { return };
        let Some(member) = governance.current().roster.get(&peer).map(|m| m.device) else { return };
        let statement = governance.current().statement;
        let generation = c.next_generation(&peer);
        let own = c.record.device;
        let Some(device) = self.devices.get(&own) else { return };
        let binding = Binding { conversation: id, statement, generation };
        let session = bundle.verify(&member, cx.now.wall_ms).map_err(problem::prekey).and_then(|bundle| {
            Session::initiate(&device.record.secret, &bundle, binding, cx.rng).map_err(problem::handshake)
        });
        let session = match session {
            Ok(session) => session,
            Err(problem) => return cx.problem(Some(id), problem),
        };
        if generation > 0 {
            let old = self.replaced(&id, &peer).unwrap_or(session.id());
            let new = session.id();
            let mark = ResetMark { by: own, peer, statement, new, generation, at: cx.now.wall_ms };
            self.remember_reset(&id, mark);
            self.add_note(
                cx,
                id,
                Action::Reset { current: statement, peer, old, new, generation },
                Vec::new(),
            );
        }
        self.add_session(cx, id, session);
        if let Some(c) = self.conversations.get_mut(&id) {
            // The new session reaches the peer even when nothing else is to be said.
            c.waits.receipts.insert(peer, cx.now.mono_ms);
            c.waits.gaps.insert(peer, cx.now.mono_ms);
        }
    }

    fn replaced(&self, id: &ConversationId, peer: &DeviceKeyHash) -> Option<SessionId> {
        let c = self.conversations.get(id)?;
        let dead = c.record.dead.iter().find(|m| m.peer == *peer).map(|m| m.session);
        dead.or_else(|| c.sending(peer))
    }

    fn remember_reset(&mut self, id: &ConversationId, mark: ResetMark) {
        let Some(c) = self.conversations.get_mut(id) else { return };
        let (own, roster) = (c.record.device, c.record.governance.as_ref().map(|g| &g.current().roster));
        let listed = |device: &DeviceKeyHash| {
            *device == own || roster.is_some_and(|roster| roster.get(device).is_some())
        };
        c.record.resets.retain(|m| listed(&m.by));
        // Each device's own notes: a peer's many do not push out ours, nor the distance between them.
        if c.record.resets.iter().filter(|m| m.by == mark.by).count() >= MAX_MARKS
            && let Some(oldest) = c.record.resets.iter().position(|m| m.by == mark.by)
        {
            c.record.resets.remove(oldest);
        }
        c.record.resets.push(mark);
        self.mark(Key::Conversation(*id));
    }

    /// The peer's note: its new session may be answered now, unless it makes too many.
    pub(super) fn peer_reset(&mut self, id: ConversationId, mark: ResetMark) {
        let since = mark.at.saturating_sub(DAY);
        let Some(c) = self.conversations.get(&id) else { return };
        if c.record.resets.iter().filter(|m| m.by == mark.by && m.at > since).count() < MAX_MARKS {
            self.remember_reset(&id, mark);
        }
    }

    /// A session more: of those with one peer the oldest go, never the one that we send in.
    pub(super) fn bound_sessions(&mut self, id: ConversationId, peer: &DeviceKeyHash) {
        let Some(c) = self.conversations.get(&id) else { return };
        let mut readable: Vec<_> = c
            .sessions
            .values()
            .filter(|s| s.peer == *peer)
            .map(|s| (c.sending(peer) == Some(s.session.id()), c.rank(&s.session), s.created, s.session.id()))
            .collect();
        readable.sort_unstable();
        let over = readable.len().saturating_sub(MAX_SESSIONS);
        readable.into_iter().take(over).for_each(|(.., session)| self.drop_session(id, session));
    }

    /// A session is gone, with the keys of what it skipped.
    pub(super) fn drop_session(&mut self, id: ConversationId, session: SessionId) {
        let entry = self.conversations.get_mut(&id).and_then(|c| c.sessions.remove(&session));
        let Some(entry) = entry else { return };
        self.mark(Key::Session(id, session));
        for name in entry.session.skipped_names() {
            self.mark(Key::Skipped(id, session, name.to_bytes()));
        }
    }

    /// Skipped keys more, in this session: the oldest of the other sessions go.
    pub(super) fn bound_skipped(&mut self, id: ConversationId, session: SessionId) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        let all: usize = c.sessions.values().map(|s| s.session.skipped_names().count()).sum();
        let mut over = all.saturating_sub(MAX_SKIPPED);
        let mut others: Vec<_> = c.sessions.values_mut().filter(|s| s.session.id() != session).collect();
        others.sort_by_key(|s| s.created);
        let mut changes = Vec::new();
        for entry in others {
            let gone = entry.session.forget_skipped(over).removed;
            over -= gone.len();
            changes.extend(gone.iter().map(|name| Key::Skipped(id, entry.session.id(), name.to_bytes())));
        }
        self.dirty.extend(changes);
    }

    /// Our note was refused: the session that it announced will not be answered.
    pub(super) fn reset_refused(&mut self, id: &ConversationId, new: SessionId) {
        let Some(c) = self.conversations.get_mut(id) else { return };
        let Some(entry) = c.sessions.remove(&new) else { return };
        let peer = entry.peer;
        c.record.sending.retain(|(_, session)| *session != new);
        c.record.resets.retain(|m| m.new != new);
        // Back to the newest session that stays.
        let before =
            c.sessions.values().filter(|s| s.peer == peer).max_by_key(|s| s.created).map(|s| s.session.id());
        self.mark(Key::Session(*id, new));
        self.mark(Key::Conversation(*id));
        if let Some(session) = before {
            self.send_in(*id, peer, session);
        }
    }

    /// Our oldest pending statement is a note for which the peer's mailbox has no room, maybe for weeks, or of which the relay
    /// takes no more today: a close or a
    /// reassignment does not wait behind it. Its evidence stays, and so does the distance to the next one. False: it is none.
    pub(super) fn put_off_reset(&mut self, id: &ConversationId) -> bool {
        let Some(c) = self.conversations.get_mut(id) else { return false };
        let oldest = c.record.pending.first().and_then(|p| Statement::peek(&p.statement).ok());
        let Some(Action::Reset { peer, old, new, generation, .. }) = oldest.map(|s| s.action) else {
            return false;
        };
        c.record.pending.remove(0);
        // Never stored: its generation is free.
        let generation = generation.saturating_sub(1);
        let mark = c.record.resets.iter().find(|m| m.new == new).map(|m| ResetMark { generation, ..*m });
        // A session that was never ours: a dead prekey was the evidence.
        let dead = old != new && !c.sessions.contains_key(&old);
        self.reset_refused(id, new);
        if let Some(c) = self.conversations.get_mut(id) {
            c.record.resets.extend(mark);
            if dead {
                c.record.dead.retain(|m| m.peer != peer);
                c.record.dead.push(DeadMark { peer, generation, session: old });
            }
        }
        self.mark(Key::Conversation(*id));
        true
    }

    /// Whether a handshake may be answered as far as resets go: the first session of an epoch, or an announced one.
    pub(super) fn is_announced(c: &Conversation, preamble: &Preamble) -> bool {
        let session = preamble.session();
        preamble.binding().generation == 0
            || c.record.resets.iter().any(|m| m.new == session && m.by == *preamble.initiator())
    }

    /// Evidence: a validly signed preamble, of the current epoch, names a prekey that is gone, and in its generation no session
    /// ever decrypted.
    pub(super) fn dead_prekey(&mut self, id: ConversationId, preamble: &VerifiedPreamble<'_>) {
        let binding = *preamble.get().binding();
        let peer = *preamble.get().initiator();
        let session = preamble.get().session();
        let Some(c) = self.conversations.get_mut(&id) else { return };
        let current = c.record.governance.as_ref().map(|g| g.current().statement);
        let worked = c.sessions.values().any(|s| {
            s.peer == peer
                && s.session.binding().statement == binding.statement
                && s.session.binding().generation >= binding.generation
                && s.session.has_decrypted()
        });
        if current != Some(binding.statement)
            || worked
            || binding.generation >= c.next_generation(&peer).saturating_add(2)
        {
            return;
        }
        c.record.dead.retain(|m| m.peer != peer);
        c.record.dead.push(DeadMark { peer, generation: binding.generation, session });
        c.waits.attention = true;
        self.mark(Key::Conversation(id));
    }

    /// Hourly: where the distance between two resets kept evidence waiting.
    pub(super) fn retry_dead(&mut self) {
        self.conversations.values_mut().for_each(|c| c.waits.attention |= !c.record.dead.is_empty());
    }

    /// Acts on evidence: a prekey that was gone, a counter gap that lasts.
    pub(super) fn run_resets(&mut self, cx: &mut Cx<'_>, id: ConversationId) {
        let dead =
            self.conversations.get(&id).map(|c| c.record.dead.iter().map(|m| m.peer).collect::<Vec<_>>());
        for peer in dead.unwrap_or_default() {
            if let Some(to) = self.correspondent(cx, &id, &peer) {
                self.want_session(cx, id, to);
            }
        }
        self.run_gaps(cx, id);
    }

    fn run_gaps(&mut self, cx: &mut Cx<'_>, id: ConversationId) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        let now = cx.now.mono_ms;
        let lasting: Vec<DeviceKeyHash> = c
            .waits
            .gaps
            .iter()
            .filter(|(peer, since)| **since + GAP_LASTS <= now && c.has_gap(peer))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in lasting {
            if let Some(c) = self.conversations.get_mut(&id) {
                // Looked at again later, in case the reset does not help.
                c.waits.gaps.insert(peer, now);
            }
            if let Some(to) = self.correspondent(cx, &id, &peer) {
                cx.problem(Some(id), problem::gap());
                self.want_session(cx, id, to);
            }
        }
    }
}
