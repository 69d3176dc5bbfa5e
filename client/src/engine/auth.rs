//! Authentication to the relay, and what its welcome says (§9.2, §9.6).

use sealdesk_protocol::crypto::certificate::Revocations;
use sealdesk_protocol::crypto::identity::SignedBytes;
use sealdesk_protocol::crypto::labels;
use sealdesk_protocol::generation::SignedGeneration;
use sealdesk_protocol::ids::DeviceKeyHash;
use sealdesk_protocol::wire::{
    Ack, AuthBody, Authenticate, Challenge, Code, PROTOCOL_VERSION, Party, Position, Welcome,
};

use super::context::Cx;
use super::link::{Online, Phase};
use super::state::Engine;
use super::{LinkState, Output, problem};
use crate::vault::Key;

/// Clocks of this device and the relay that differ by more are worth a word, ms.
const CLOCKS_AGREE: u64 = 10 * 60 * 1000;

impl Engine {
    /// The relay names itself; it is compared with org.json before anything is signed.
    pub(super) fn challenged(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, challenge: Challenge) {
        let expected = &self.org.settings().relay_name;
        if challenge.relay != *expected {
            let state = LinkState::Refused(problem::relay_name(expected, &challenge.relay));
            return self.stop_link(cx, hash, state);
        }
        if challenge.protocol < PROTOCOL_VERSION {
            return self.refused_greeting(cx, hash, Code::Unsupported);
        }
        let Some(device) = self.devices.get_mut(&hash) else { return };
        let off = challenge.time.abs_diff(cx.now.wall_ms) > CLOCKS_AGREE;
        if off && !device.link.clock_off {
            let told = problem::clock(cx.now.wall_ms, challenge.time);
            cx.problem(device.record.conversation, told);
        }
        device.link.clock_off = off;
        if let Phase::Greeting { number, by } = device.link.phase {
            device.link.phase = Phase::Welcoming { number, by };
            device.link.challenge = Some(challenge);
        }
    }

    /// Answers the challenge, once the step's generation is known.
    pub(super) fn authenticate(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash) {
        let generation = self.vault.generation();
        let Some(device) = self.devices.get_mut(&hash) else { return };
        let Some(challenge) = device.link.challenge.take() else { return };
        let party = match &device.record.chain {
            Some(chain) if device.record.conversation.is_none() => Party::Agent(chain.clone()),
            _ => Party::Customer,
        };
        let vault = SignedGeneration::sign(&challenge.relay, &device.record.secret, generation);
        device.link.generation_told = generation;
        let body = AuthBody {
            relay: challenge.relay,
            nonce: challenge.nonce,
            time: challenge.time,
            device: device.public,
            vault_generation: generation,
        };
        let signature = *SignedBytes::sign(labels::AUTH, &body, &device.record.secret).signature();
        let frame =
            Authenticate { protocol: PROTOCOL_VERSION, party, device: device.public, vault, signature };
        self.send(cx, hash, frame);
    }

    /// Tells the relay what is durable here, and signs the vault's generation if it rose.
    pub(super) fn acknowledge(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash) {
        let generation = self.vault.generation();
        let relay = &self.org.settings().relay_name;
        let Some(device) = self.devices.get_mut(&hash) else { return };
        device.link.ack_due = false;
        if device.link.online().is_some() {
            let up_to = device.cursor.position;
            let vault = (generation > device.link.generation_told)
                .then(|| SignedGeneration::sign(relay, &device.record.secret, generation));
            device.link.generation_told = generation;
            self.send(cx, hash, Ack { up_to, vault });
        }
    }

    pub(super) fn welcomed(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, welcome: Welcome) {
        let generation = self.vault.generation();
        let Some(device) = self.devices.get_mut(&hash) else { return };
        let Phase::Welcoming { number, .. } = device.link.phase else { return };
        if welcome.mailbox != device.public.mailbox() {
            cx.problem(None, problem::bad_frame("the welcome of another device"));
            return self.refused_greeting(cx, hash, Code::Internal);
        }
        if let Some(told) = welcome.vault.filter(|told| told.claimed() > generation) {
            match told.verify(&self.org.settings().relay_name, &device.public) {
                Ok(_) => return self.found_old_copy(cx, hash),
                // Anybody can name a number.
                Err(_) => cx.problem(device.record.conversation, problem::unproven_generation()),
            }
        }
        if device.record.limits != Some(welcome.limits) {
            device.record.limits = Some(welcome.limits);
            self.dirty.insert(Key::Device(hash));
        }
        let restored = device.cursor.position.store_epoch != welcome.store_epoch;
        let first = device.cursor.position == Position::default();
        if restored {
            device.cursor.position = Position { store_epoch: welcome.store_epoch, seq: 0 };
            device.cursor.restores += u32::from(!first);
            self.dirty.insert(Key::Cursor(hash));
        }
        let mut online = Online::new(number, cx.now.mono_ms, &welcome);
        if restored && !first {
            // The relay voided its one-time pairs (§9.6).
            online.one_time_left = 0;
        }
        self.online(cx, hash, online);
        if restored && !first {
            self.relay_restored(cx, hash);
        }
        if let Some(list) = &welcome.revocations {
            self.take_revocations(cx, list);
        }
        for conversation in self.conversations.values_mut().filter(|c| c.record.device == hash) {
            conversation.waits.statement_at = 0;
            conversation.waits.assignment_at = 0;
            conversation.waits.send_at = 0;
        }
    }

    /// §9.6: everything unreceipted goes again, byte for byte.
    fn relay_restored(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash) {
        let restores = self.devices.get(&hash).map_or(0, |d| d.cursor.restores);
        let mut touched = Vec::new();
        for conversation in self.conversations.values_mut().filter(|c| c.record.device == hash) {
            conversation.counters.sent = conversation.counters.delivered;
            touched.push(conversation.id());
        }
        self.upload_again(&touched);
        touched.into_iter().for_each(|id| self.mark(Key::Counters(id)));
        cx.problem(None, problem::relay_restored(restores));
    }

    /// §9.2: this device's own signature shows that a newer copy of this vault is in use; this one sends nothing any more.
    fn found_old_copy(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash) {
        let number = self.devices.get(&hash).and_then(|d| d.link.number());
        cx.out.extend(number.map(Output::Disconnect));
        let mut closed = None;
        if let Some(device) = self.devices.get_mut(&hash) {
            device.record.stopped = true;
            device.record.chain = None;
            device.certificate = None;
            closed = device.record.conversation;
        }
        self.mark(Key::Device(hash));
        if let Some(id) = closed
            && let Some(conversation) = self.conversations.get_mut(&id)
        {
            // A customer's device is its conversation's only one and cannot be made anew.
            conversation.record.closed_here = Some(cx.now.wall_ms);
            conversation.waits.changed = true;
            self.mark(Key::Conversation(id));
        }
        cx.problem(closed, problem::old_copy());
        self.stop_link(cx, hash, LinkState::Refused(problem::old_copy()));
        if closed.is_none() {
            self.renew_agent_device(cx, hash);
        }
    }

    /// Takes a newer revocation list; an older one changes nothing.
    pub(super) fn take_revocations(
        &mut self,
        cx: &mut Cx<'_>,
        signed: &sealdesk_protocol::crypto::certificate::SignedRevocations,
    ) {
        match self.revocations.successor(signed, self.org.pins(), cx.now.wall_ms) {
            Ok(Some(list)) => {
                self.revocations = list;
                self.meta.floor.revocations = self.revocations.edition();
                self.meta.revocations = Some(signed.clone());
                self.mark(Key::Meta);
                self.check_certificates(cx);
                self.overtake_refused_list(cx);
            }
            // The relay has what is in force here.
            Ok(None) if self.refused_list.is_some() && self.is_in_force(signed) => {
                self.overtake_refused_list(cx);
            }
            Ok(None) => {}
            Err(error) => {
                self.refused_list = Some(signed.clone());
                cx.problem(None, problem::revocations(error));
            }
        }
    }

    fn is_in_force(&self, signed: &sealdesk_protocol::crypto::certificate::SignedRevocations) -> bool {
        let list = Revocations::verify(signed, self.org.pins());
        list.is_ok_and(|list| list.edition() == self.revocations.edition())
    }

    /// The relay brought a list that counts: the one before says nothing any more, unless it counts now as well.
    fn overtake_refused_list(&mut self, cx: &mut Cx<'_>) {
        if let Some(refused) = self.refused_list.take() {
            cx.resolved(None, "revocations_refused");
            if let Ok(Some(_)) = self.revocations.successor(&refused, self.org.pins(), cx.now.wall_ms) {
                self.take_revocations(cx, &refused);
            }
        }
    }

    /// Another org.json is in force: the list that was refused may count now.
    pub(super) fn judge_refused_list(&mut self, cx: &mut Cx<'_>) {
        let Some(signed) = self.refused_list.take() else { return };
        match self.revocations.successor(&signed, self.org.pins(), cx.now.wall_ms) {
            Ok(newer) => {
                cx.resolved(None, "revocations_refused");
                if newer.is_some() {
                    self.take_revocations(cx, &signed);
                }
            }
            Err(_) => self.refused_list = Some(signed),
        }
    }
}
