//! Whom this device believes: the organisation, its agents' certificates, its revocations (§3).

use sealdesk_protocol::conversation::Governance;
use sealdesk_protocol::crypto::certificate::{
    AgentRole, CertificateChain, CertificateError, DeviceCertificate, IssuerCertificate, MAX_CERTIFICATE,
    VerifiedCertificate,
};
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash, Handle};
use sealdesk_protocol::org::VerifiedOrg;
use sealdesk_protocol::wire::{Fault, FetchCertificate};

use super::context::Cx;
use super::link::Request;
use super::problem::problem;
use super::records::{Known, Side};
use super::state::Engine;
use super::{LinkState, Problem, problem as say};
use crate::vault::{Corrupt, Key};

/// A peer's certificates are asked for again after this long, ms.
const RENEW_AGAIN: u64 = 10 * 60 * 1000;
/// The first time sooner, then after twice as long each time: after a change of the root all agents are certified anew.
const RENEW_FIRST: u64 = 5_000;
/// Warnings before a certificate ends, ms.
const WARN_BEFORE: u64 = 5 * 24 * 60 * 60 * 1000;

/// A device that may be heard and written to in this step: it is listed now beside ours, and if it is an agent's, its
/// certificate is good now (§7.6). Only [`Engine::correspondent`] makes one: forgetting to ask does not compile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Correspondent(DeviceKeyHash);

impl Correspondent {
    pub(super) fn device(&self) -> DeviceKeyHash {
        self.0
    }
}

impl Engine {
    /// Chain, validity, revocation, role.
    pub(super) fn verify_agent(
        &self,
        chain: &CertificateChain,
        now: u64,
    ) -> Result<VerifiedCertificate, CertificateError> {
        chain.verify(self.org.pins(), &self.revocations, now)?.require(AgentRole::Agent)
    }

    /// [`Self::verify_agent`], and the team that answers the topic.
    pub(super) fn verify_for_topic(
        &self,
        chain: &CertificateChain,
        topic: &Handle,
        now: u64,
    ) -> Result<VerifiedCertificate, Problem> {
        let certificate = self.verify_agent(chain, now).map_err(say::certificate)?;
        match self.org.settings().topic(topic) {
            Some(topic) if certificate.in_team(&topic.team) => Ok(certificate),
            _ => Err(say::wrong_team()),
        }
    }

    /// An own certificate, from the driver.
    pub(super) fn install_certificate(&mut self, cx: &mut Cx<'_>, id: u64, chain: CertificateChain) {
        let Some(hash) = self.agent_device().map(|d| d.public.hash()) else {
            return cx.failed(id, say::wrong_party("an agent"));
        };
        let verified = match self.verify_agent(&chain, cx.now.wall_ms) {
            Ok(verified) => verified,
            Err(_) if self.revocations.revokes_device(&hash) => return cx.failed(id, say::device_revoked()),
            Err(error) => return cx.failed(id, say::own_certificate(error)),
        };
        let Some(device) = self.devices.get_mut(&hash) else { return };
        if *verified.device() != device.public {
            return cx.failed(id, say::other_device());
        }
        device.record.chain = Some(chain);
        device.record.stopped = false;
        device.certificate = Some(verified);
        device.warned = None;
        self.mark(Key::Device(hash));
        self.present_anew(cx, hash);
        self.revive_link(&hash, cx.now.mono_ms);
        cx.done(id, None);
    }

    /// A newer org.json, never an older one.
    pub(super) fn update_org(&mut self, cx: &mut Cx<'_>, id: u64, org: VerifiedOrg) {
        let refused = |error: &dyn core::fmt::Display| {
            problem(
                "org_refused",
                Fault::Organisation,
                format!("{error}."),
                "Fetch org.json again from the organisation.",
            )
        };
        if let Err(error) = accept_org(&self.meta, &org) {
            return cx.failed(id, refused(&error));
        }
        // A file that leaves the revocation list out does not bring a revoked issuer back.
        if let Err(error) = org.check_issuer(&self.revocations) {
            return cx.failed(id, refused(&error));
        }
        self.revocations = core::mem::take(&mut self.revocations).newest(org.revocations().clone());
        self.meta.floor = self.meta.floor.raise(org.floor());
        // A list that was not taken does not raise the floor.
        self.meta.floor.revocations = self.revocations.edition();
        let newer = self.org != org;
        self.org = org;
        self.mark(Key::Meta);
        if newer {
            self.judge_refused_list(cx);
        }
        for hash in self.device_names() {
            self.revive_refused(&hash, cx.now.mono_ms);
        }
        // Whoever was named under the older one and did not verify is judged anew. Under the same one it would come out the
        // same, and every asking for it would cost the relay one more.
        for c in self.conversations.values_mut().filter(|_| newer) {
            c.waits.assignment_at = cx.now.mono_ms;
            c.waits.attention = true;
        }
        self.check_certificates(cx);
        cx.done(id, None);
    }

    fn revive_refused(&mut self, hash: &DeviceKeyHash, now: u64) {
        if self.devices.get(hash).is_some_and(|d| !d.record.stopped) {
            self.revive_link(hash, now);
        }
    }

    /// At start, hourly, and when the revocation list changes: own and peers' certificates.
    pub(super) fn check_certificates(&mut self, cx: &mut Cx<'_>) {
        self.check_own_certificate(cx);
        let ids: Vec<ConversationId> = self.conversations.keys().copied().collect();
        for id in ids {
            self.peer_now(cx, &id);
        }
    }

    /// At opening, before anything is told: the certificate as far as it is valid.
    pub(super) fn take_own_certificate(&mut self, now: u64) {
        let chain = self.agent_device().and_then(|d| Some((d.public.hash(), d.record.chain.clone()?)));
        let Some((hash, chain)) = chain else { return };
        let verified = self.verify_agent(&chain, now).ok();
        if let Some(device) = self.devices.get_mut(&hash) {
            device.certificate = verified;
        }
    }

    pub(super) fn check_own_certificate(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.wall_ms;
        let Some((hash, chain)) =
            self.agent_device().and_then(|d| Some((d.public.hash(), d.record.chain.clone()?)))
        else {
            return;
        };
        let verified = self.verify_agent(&chain, now);
        let Some(device) = self.devices.get_mut(&hash) else { return };
        match verified {
            Ok(certificate) => {
                let ends = certificate.valid_until();
                // Not valid a moment ago, by a clock that was wrong or under other settings.
                if device.certificate.replace(certificate).is_none() {
                    device.warned = None;
                    self.revive_refused(&hash, cx.now.mono_ms);
                }
                let Some(device) = self.devices.get_mut(&hash) else { return };
                let near = ends.saturating_sub(now) < WARN_BEFORE;
                if near && device.warned != Some("ending") {
                    device.warned = Some("ending");
                    cx.problem(None, say::certificate_ends(ends.saturating_sub(now)));
                }
            }
            Err(error) => {
                let was = device.certificate.take().is_some();
                // No certificate counts for a device that was revoked itself.
                let revoked = self.revocations.revokes_device(&hash);
                let told = if revoked { say::device_revoked() } else { say::own_certificate(error) };
                if was || device.warned != Some(told.code) {
                    device.warned = Some(told.code);
                    cx.problem(None, told.clone());
                    let state = if revoked { LinkState::Refused(told) } else { LinkState::Uncertified(told) };
                    self.stop_link(cx, hash, state);
                }
            }
        }
    }

    /// The device at the other end, if it may be written to now.
    pub(super) fn peer_now(&mut self, cx: &mut Cx<'_>, id: &ConversationId) -> Option<Correspondent> {
        let peer = self.conversations.get(id)?.peer()?.hash();
        self.correspondent(cx, id, &peer)
    }

    /// Asked whenever something of a device counts or leaves for it. Customers carry no certificates; why an agent's is not
    /// good is told once for each reason, and contents wait meanwhile, in both directions.
    pub(super) fn correspondent(
        &mut self,
        cx: &mut Cx<'_>,
        id: &ConversationId,
        device: &DeviceKeyHash,
    ) -> Option<Correspondent> {
        let c = self.conversations.get(id)?;
        let roster = &c.record.governance.as_ref()?.current().roster;
        if *device == c.record.device || roster.get(device).is_none() || !c.lists_us() {
            return None;
        }
        if c.record.side == Side::Agent {
            return Some(Correspondent(*device));
        }
        let known = c.record.known.iter().find(|k| k.device == *device)?;
        let verdict = self.verify_for_topic(&known.chain, &c.record.topic, cx.now.wall_ms);
        let c = self.conversations.get_mut(id)?;
        // A closed conversation with nothing left to send does not complain for ever.
        let quiet = c.is_closed() && c.contents.is_empty() && c.envelopes.is_empty();
        match verdict {
            Ok(_) => {
                let accepted = c.record.governance.as_ref().is_some_and(Governance::is_accepted);
                // Whoever had it before accepted it, instead of somebody who was named later and is none here.
                if accepted && let Some(code) = c.waits.misnamed.take() {
                    cx.resolved(Some(*id), code);
                }
                if let Some(code) = c.waits.distrust.take() {
                    if !quiet {
                        cx.resolved(Some(*id), code);
                    }
                    c.waits.renew_pause = 0;
                    c.waits.changed = true;
                    c.waits.attention = true;
                    self.retries.insert(*id);
                }
                Some(Correspondent(*device))
            }
            Err(problem) => {
                let gone = self.revocations.revokes_device(device);
                let never = gone && c.is_closed();
                if c.waits.distrust != Some(problem.code) {
                    c.waits.distrust = Some(problem.code);
                    c.waits.changed = true;
                    if !quiet {
                        let accepted = c.record.governance.as_ref().is_some_and(Governance::is_accepted);
                        cx.problem(Some(*id), if accepted { say::of_peer(problem, gone) } else { problem });
                    }
                }
                if never {
                    self.give_up_all(cx, *id);
                } else if !quiet {
                    self.fetch_certificate(cx, *id, *device);
                }
                None
            }
        }
    }

    /// As long as something waits for a good certificate, a newer one is asked for.
    pub(super) fn run_trust(&mut self, cx: &mut Cx<'_>, id: ConversationId) {
        let Some(c) = self.conversations.get(&id) else { return };
        let waits = !c.held.is_empty() || !c.contents.is_empty() || !c.envelopes.is_empty();
        if waits && c.waits.distrust.is_some() && c.waits.renew_at <= cx.now.mono_ms {
            self.peer_now(cx, &id);
        }
    }

    /// The peer's certificate may have been renewed meanwhile: asked for on each connection, then ever less often, up to every
    /// ten minutes.
    fn fetch_certificate(&mut self, cx: &mut Cx<'_>, id: ConversationId, device: DeviceKeyHash) {
        let Some(c) = self.conversations.get_mut(&id).filter(|c| c.waits.renew_at <= cx.now.mono_ms) else {
            return;
        };
        let hash = c.record.device;
        let Some(online) = self.devices.get_mut(&hash).and_then(|d| d.link.online_mut()) else { return };
        let pause = c.waits.renew_pause.clamp(RENEW_FIRST, RENEW_AGAIN);
        c.waits.renew_at = cx.now.mono_ms + pause;
        c.waits.renew_pause = pause * 2;
        let req = online.request(Request::Certificate(id), cx.now.mono_ms);
        self.send(cx, hash, FetchCertificate { req, conversation: id, device });
    }

    /// A renewed certificate counts when it verifies and belongs to the same device and agent.
    pub(super) fn certificate_fetched(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConversationId,
        chain: &CertificateChain,
    ) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        let listed = c.record.governance.as_ref().map(|g| g.current().roster.agent().clone());
        let Ok(certificate) = self.verify_agent(chain, cx.now.wall_ms) else { return };
        let same = listed.is_some_and(|m| {
            m.device == *certificate.device() && m.agent.as_ref() == Some(certificate.agent())
        });
        if same {
            self.remember_agent(&id, chain, &certificate);
            self.peer_now(cx, &id);
        }
    }

    /// Remembers how a verified certificate shows its agent; a newer one replaces an older one.
    pub(super) fn remember_agent(
        &mut self,
        id: &ConversationId,
        chain: &CertificateChain,
        certificate: &VerifiedCertificate,
    ) {
        let known = Known {
            device: certificate.device().hash(),
            chain: chain.clone(),
            name: certificate.display_name().to_owned(),
            roles: certificate.certificate().roles.clone(),
            new_device: certificate.is_new_device(),
        };
        let older = |k: &Known| k.device == known.device && made(&k.chain) > made(&known.chain);
        if let Some(conversation) = self.conversations.get_mut(id)
            && !conversation.record.known.contains(&known)
            && !conversation.record.known.iter().any(older)
        {
            conversation.record.known.retain(|k| k.device != known.device);
            conversation.record.known.push(known);
            conversation.waits.changed = true;
            self.mark(Key::Conversation(*id));
        }
    }
}

/// Which of two chains of a device was made later: by a later issuer, then from a later time on.
fn made(chain: &CertificateChain) -> Option<(u32, u64, u64, u64)> {
    let issuer: IssuerCertificate = chain.issuer.peek(MAX_CERTIFICATE).ok()?;
    let device: DeviceCertificate = chain.device.peek(MAX_CERTIFICATE).ok()?;
    Some((issuer.root_version, issuer.serial, device.not_before, device.serial))
}

/// Same organisation, no lower version, no return to `log: none`.
pub(super) fn accept_org(meta: &super::records::Meta, org: &VerifiedOrg) -> Result<(), Corrupt> {
    if org.root() != meta.root {
        return Err(Corrupt::ForeignOrganisation);
    }
    let (floor, new) = (meta.floor, org.floor());
    if new.pins < floor.pins || new.settings < floor.settings || (floor.log && !new.log) {
        return Err(Corrupt::OrganisationRollback);
    }
    Ok(())
}
