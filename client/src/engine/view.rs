//! What people see of a conversation and of this vault: read only.

use sealdesk_protocol::conversation::Role;
use sealdesk_protocol::conversation::statements::Action;
use sealdesk_protocol::crypto::certificate::{CertificateError, VerifiedCertificate, certificate_id};
use sealdesk_protocol::fingerprint::SafetyNumber;
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash};

use super::context::Cx;
use super::records::{Known, Side};
use super::state::{Conversation, Engine};
use super::{ConversationView, Event, Phase, Reader, problem};
use crate::vault::Key;

impl Engine {
    /// Every conversation of this vault, newest change first.
    pub fn conversations(&self) -> Vec<ConversationView> {
        let mut views: Vec<ConversationView> =
            self.conversations.values().filter(|c| is_shown(c)).map(|c| self.view(c)).collect();
        views.sort_by_key(|v| core::cmp::Reverse(v.updated));
        views
    }

    /// One conversation; none when this vault does not hold it.
    pub fn conversation(&self, id: &ConversationId) -> Option<ConversationView> {
        self.conversations.get(id).filter(|c| is_shown(c)).map(|c| self.view(c))
    }

    /// An agent's certificate, as long as it is valid.
    pub fn certificate(&self) -> Option<&VerifiedCertificate> {
        self.agent_device().and_then(|d| d.certificate.as_ref())
    }

    /// Whether an agent's device is revoked, by the newest list that came here from anywhere.
    pub fn is_revoked(&self) -> bool {
        self.agent_public().is_some_and(|device| self.revocations.revokes_device(&device.hash()))
    }

    /// This vault's device in a conversation.
    pub fn own_device(&self, id: &ConversationId) -> Option<DeviceKeyHash> {
        self.conversations.get(id).map(|c| c.record.device)
    }

    /// How many batches this vault has written.
    pub fn generation(&self) -> u64 {
        self.vault.generation()
    }

    /// The organisation in force.
    pub fn org(&self) -> &sealdesk_protocol::org::VerifiedOrg {
        &self.org
    }

    /// The lowest versions of org.json that this vault accepts.
    pub fn floor(&self) -> sealdesk_protocol::org::Floor {
        self.meta.floor
    }

    /// Whether anything of this vault still has to reach the relay or, in an open conversation, the other side.
    pub fn has_unsent(&self) -> bool {
        self.conversations
            .values()
            .filter(|c| !c.record.lost && c.record.closed_here.is_none())
            .any(|c| c.has_unsent() || c.record.closing || self.is_uploading(&c.id()))
    }

    /// Whether the relay has everything that was written in this vault: a program may leave then, and the other side
    /// gets it without this device.
    pub fn is_with_relay(&self) -> bool {
        let concerned = |c: &&Conversation| !c.record.lost && c.record.closed_here.is_none();
        self.conversations
            .values()
            .filter(concerned)
            .all(|c| c.is_with_relay() && !c.record.closing && !self.is_uploading(&c.id()))
    }

    /// Whether the relay takes nothing any more of what [`Self::is_with_relay`] misses, until somebody brings a newer
    /// certificate or org.json: waiting for it is of no use.
    pub fn is_refused(&self) -> bool {
        !self.devices.is_empty() && self.devices.values().all(|device| device.link.is_refused())
    }

    /// Tells the views that changed.
    pub(super) fn tell_views(&mut self, cx: &mut Cx<'_>) {
        // The revocation list is in this row. Former readers are judged by nothing else.
        let listed = self.dirty.contains(&Key::Meta);
        let revoked = |c: &Conversation| c.record.known.iter().any(|k| self.revoked(k).is_some());
        let changed = |c: &&Conversation| c.waits.changed || (listed && revoked(c));
        let changed: Vec<ConversationId> =
            self.conversations.values().filter(changed).map(|c| c.id()).collect();
        for id in changed {
            let Some(c) = self.conversations.get_mut(&id) else { continue };
            c.waits.changed = false;
            self.number_peers(&id);
            if let Some(c) = self.conversations.get(&id).filter(|c| is_shown(c)) {
                cx.event(Event::Conversation(Box::new(self.view(c))));
            }
        }
    }

    fn view(&self, c: &Conversation) -> ConversationView {
        let governance = c.record.governance.as_ref();
        ConversationView {
            id: c.id(),
            phase: phase(c),
            topic: c.record.topic.clone(),
            language: c.record.language.clone(),
            opened: c.record.opened,
            readers: self.readers(c),
            safety_number: c.record.safety_number.as_ref().map(|(_, number)| number.clone()),
            epoch: governance.map_or(0, |g| g.current().number),
            countersigned: governance.is_some_and(|g| g.is_countersigned()),
            unread: c.counters.unread,
            updated: c.counters.updated,
            reassignment_waits: c.record.offered.is_some() || c.record.unaccepted,
            closing: !c.is_closed()
                && (c.record.closing || self.is_pending(&c.id(), |a| matches!(a, Action::Close { .. }))),
            profile: c.record.profile.map(|key| profile_name(&key)),
            uploads: self.uploads(&c.id()),
            delivered: c.counters.delivered,
            read: c.counters.read,
        }
    }

    /// Computed once for each peer: it is slow on purpose.
    fn number_peers(&mut self, id: &ConversationId) {
        let Some(c) = self.conversations.get_mut(id).filter(|c| is_shown(c)) else { return };
        let Some(peer) = c.peer().map(|p| p.hash()) else { return };
        if c.record.safety_number.as_ref().is_none_or(|(device, _)| *device != peer) {
            let number = SafetyNumber::of(&self.org.root(), id, &c.record.device, &peer);
            c.record.safety_number = Some((peer, number.to_string()));
            self.mark(Key::Conversation(*id));
        }
    }

    /// Current readers first, then everyone who could have read.
    fn readers(&self, c: &Conversation) -> Vec<Reader> {
        let Some(governance) = &c.record.governance else { return Vec::new() };
        let current = &governance.current().roster;
        let (peer, distrust) = (c.peer().map(|peer| peer.hash()), c.waits.distrust);
        let mut readers: Vec<Reader> = governance
            .could_have_read()
            .into_iter()
            .map(|member| {
                let device = member.hash();
                let known = c.record.known.iter().find(|k| k.device == device);
                Reader {
                    role: member.role,
                    device,
                    agent: member.agent.clone(),
                    name: known.filter(|_| member.role != Role::Customer).map(|k| k.name.clone()),
                    roles: known.map(|k| k.roles.clone()).unwrap_or_default(),
                    new_device: known.is_some_and(|k| k.new_device),
                    refused: distrust.filter(|_| peer == Some(device)).or_else(|| self.revoked(known?)),
                    // Before the acceptance another may be named.
                    gone: governance.is_accepted() && self.revocations.revokes_device(&device),
                    current: current.get(&device).is_some(),
                    me: device == c.record.device,
                }
            })
            .collect();
        readers.sort_by_key(|r| !r.current);
        readers
    }

    /// That a former reader's certificate has ended since says nothing about him; that it was revoked does.
    fn revoked(&self, known: &Known) -> Option<&'static str> {
        let (issuer, device) = (certificate_id(&known.chain.issuer), certificate_id(&known.chain.device));
        let revoked = self.revocations.revokes(&issuer, &device, &known.device);
        revoked.then(|| problem::certificate(CertificateError::Revoked).code)
    }
}

/// An agent does not see conversations that were opened with somebody else.
fn is_shown(c: &Conversation) -> bool {
    let ever = c.record.governance.as_ref().is_some_and(|g| g.ever_listed(&c.record.device).is_some());
    c.record.side == Side::Customer || ever
}

fn phase(c: &Conversation) -> Phase {
    if c.record.lost {
        return Phase::Lost;
    }
    if c.is_closed() {
        return Phase::Closed;
    }
    match &c.record.governance {
        None => Phase::Queued,
        Some(governance) if governance.is_accepted() => Phase::Active,
        Some(_) => Phase::Assigned,
    }
}

/// Hex of the profile key's hash: the same for the same returning customer.
fn profile_name(key: &[u8; 32]) -> String {
    use core::fmt::Write;
    let hash = sealdesk_protocol::crypto::kdf::sha256(key);
    hash[..16].iter().fold(String::with_capacity(32), |mut out, byte| {
        // Writing into a string cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}
