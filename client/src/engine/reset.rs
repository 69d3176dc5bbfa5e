//! Which session is used, and its replacement (§9.8).

use sealdesk_protocol::crypto::handshake::VerifiedPreamble;
use sealdesk_protocol::crypto::prekeys::PrekeyBundle;
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash, SessionId};
use sealdesk_protocol::session::{Binding, Session};
use sealdesk_protocol::wire::FetchPrekeys;

use super::connection::Request;
use super::context::Cx;
use super::problem;
use super::state::Engine;
use crate::vault::Key;

impl Engine {
    /// A session that the peer began: is it the one to send in?
    pub(super) fn choose_session(
        &mut self,
        _cx: &Cx<'_>,
        id: ConversationId,
        peer: DeviceKeyHash,
        session: SessionId,
    ) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        c.set_sending(peer, session);
        c.waits.attention = true;
        self.mark(Key::Conversation(id));
    }

    /// No session to send in: fresh prekeys are asked for.
    pub(super) fn want_session(&mut self, cx: &mut Cx<'_>, id: ConversationId, peer: DeviceKeyHash) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        let hash = c.record.device;
        if c.waits.fetching.contains(&peer) || c.waits.send_at > cx.now.mono_ms {
            return;
        }
        let Some(online) = self.devices.get_mut(&hash).and_then(|d| d.link.online_mut()) else { return };
        let req = online.request(Request::Fetch { conversation: id, device: peer }, cx.now.mono_ms);
        c.waits.fetching.insert(peer);
        self.send(cx, hash, FetchPrekeys { req, conversation: id, device: peer });
    }

    pub(super) fn prekeys_fetched(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConversationId,
        peer: DeviceKeyHash,
        bundle: &PrekeyBundle,
    ) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        c.waits.fetching.remove(&peer);
        let Some(governance) = &c.record.governance else { return };
        let Some(member) = governance.current().roster.get(&peer) else { return };
        let statement = governance.current().statement;
        let Some(device) = self.devices.get(&c.record.device) else { return };
        let generation = c
            .sessions
            .values()
            .filter(|s| s.peer == peer && s.session.binding().statement == statement)
            .map(|s| s.session.binding().generation + 1)
            .max()
            .unwrap_or(0);
        let binding = Binding { conversation: id, statement, generation };
        let session =
            bundle.verify(&member.device, cx.now.wall_ms).map_err(problem::prekey).and_then(|bundle| {
                Session::initiate(&device.record.secret, &bundle, binding, cx.rng).map_err(problem::handshake)
            });
        match session {
            Ok(session) => self.add_session(cx, id, session),
            Err(problem) => cx.problem(Some(id), problem),
        }
    }

    pub(super) fn peer_reset(&mut self, _cx: &mut Cx<'_>, _id: ConversationId, _peer: DeviceKeyHash) {}

    pub(super) fn dead_prekey(
        &mut self,
        _cx: &mut Cx<'_>,
        _id: ConversationId,
        _preamble: &VerifiedPreamble<'_>,
    ) {
    }
}
