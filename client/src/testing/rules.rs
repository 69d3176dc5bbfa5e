//! The relay's rules about assignment and statements, as far as clients rely on them.

use std::collections::{BTreeMap, BTreeSet};

use sealdesk_protocol::conversation::statements::Action;
use sealdesk_protocol::conversation::{
    ConsentReceipt, Governance, Refusal, Roster, Statement, VerifiedStatement,
};
use sealdesk_protocol::crypto::certificate::DeviceCertificate;
use sealdesk_protocol::crypto::identity::{DevicePublic, DeviceSecret, SignedBytes};
use sealdesk_protocol::crypto::prekeys::{PrekeyKind, PrekeySecret};
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash, Handle, MailboxId};
use sealdesk_protocol::wire::{
    Assignment, Code, Done, Item, PostStatement, Queued, RequestAssignment, StatementItem,
};

use super::relay::{Connection, Relay, Stored};

impl Stored {
    /// Who is listed now.
    fn listed(&self) -> BTreeMap<DeviceKeyHash, MailboxId> {
        let members = self.governance.iter().flat_map(|g| g.current().roster.members());
        members.map(|m| (m.hash(), m.device.mailbox())).collect()
    }
}

impl Relay {
    pub(super) fn request(
        &mut self,
        connection: Connection,
        device: &DevicePublic,
        frame: RequestAssignment,
        answers: bool,
    ) {
        let id = frame.conversation;
        if ConsentReceipt::verify(&frame.consent).is_err() {
            return self.refuse(connection, frame.req, Code::ConsentMissing);
        }
        self.conversations.entry(id).or_insert_with(|| Stored {
            topic: frame.topic,
            customer: *device,
            consent: frame.consent,
            governance: None,
            epochs: Vec::new(),
            named: BTreeSet::new(),
            waiting: true,
        });
        if !self.name_agent(connection, answers.then_some(frame.req), id) && answers {
            self.say(connection, Queued { req: Some(frame.req), conversation: id, claim: false });
        }
    }

    /// An agent of the team, available, with prekeys, not named before for this conversation's later epochs.
    pub(super) fn name_agent(
        &mut self,
        connection: Connection,
        req: Option<u32>,
        id: ConversationId,
    ) -> bool {
        let Some(stored) = self.conversations.get(&id) else { return false };
        let epoch = stored.governance.as_ref().map_or(1, |g| g.current().number + 1);
        let candidates: Vec<DeviceKeyHash> = if self.preferred.is_empty() {
            self.agents.keys().copied().collect()
        } else {
            self.preferred.clone()
        };
        let found = candidates.into_iter().find(|d| {
            self.agents.get(d).is_some_and(|a| a.2)
                && self.prekeys.get(d).is_some_and(|p| p.last_resort.is_some())
                && (epoch == 1 || !stored.named.contains(d))
                && self.serves(d, &stored.topic)
        });
        let Some(device) = found else { return false };
        let Some(bundle) = self.bundle(&device) else { return false };
        let Some((_, chain, _)) = self.agents.get(&device).cloned() else { return false };
        if let Some(stored) = self.conversations.get_mut(&id) {
            stored.named.insert(device);
            stored.waiting = false;
        }
        let online = self.online.contains_key(&device);
        let chain = self.substitute_chain.clone().unwrap_or(chain);
        let bundle = self.substitute_bundle.clone().unwrap_or(bundle);
        self.say(connection, Assignment { req, conversation: id, epoch, agent: chain, bundle, online });
        true
    }

    /// Whether the agent's certificate names the topic's team.
    fn serves(&self, device: &DeviceKeyHash, topic: &Handle) -> bool {
        let team = self.org.settings().topic(topic).map(|t| t.team.clone());
        let Some((_, chain, _)) = self.agents.get(device) else { return false };
        let Ok(certificate) = chain.device.peek::<DeviceCertificate>(2048) else { return false };
        self.any_team || team.is_some_and(|t| certificate.teams.contains(&t))
    }

    pub(super) fn assign_waiting(&mut self) {
        let waiting: Vec<(ConversationId, DeviceKeyHash)> = self
            .conversations
            .iter()
            .filter(|(_, c)| c.waiting)
            .map(|(id, c)| (*id, c.customer.hash()))
            .collect();
        for (id, customer) in waiting {
            if let Some(connection) = self.online.get(&customer).copied() {
                self.name_agent(connection, None, id);
            }
        }
    }

    pub(super) fn post(&mut self, connection: Connection, frame: PostStatement, now: u64) {
        match self.apply(&frame, now) {
            Ok(_) if self.hold_done => {}
            Ok(false) => self.say(connection, Done { req: frame.req }),
            Ok(true) => {
                for message in frame.envelopes {
                    self.store_envelope(message);
                }
                self.say(connection, Done { req: frame.req });
            }
            Err(code) => self.refuse(connection, frame.req, code),
        }
    }

    /// Stores a statement; false when it was stored before.
    fn apply(&mut self, frame: &PostStatement, now: u64) -> Result<bool, Code> {
        let statement = Statement::peek(&frame.statement).map_err(|_| Code::Malformed)?;
        let refused = self.refuse_resets.or(self.parts_full.then_some(Code::MailboxFull));
        if let Some(code) = refused.filter(|_| matches!(statement.action, Action::Reset { .. })) {
            return Err(code);
        }
        let root = self.org.root();
        let stored = self.conversations.get_mut(&frame.conversation).ok_or(Code::UnknownConversation)?;
        let roster: Option<&Roster> =
            statement.action.roster().or_else(|| stored.governance.as_ref().map(|g| &g.current().roster));
        let ever = stored.governance.as_ref().and_then(|g| g.ever_listed(&statement.signer));
        let signer = roster
            .and_then(|r| r.get(&statement.signer))
            .or(ever)
            .map(|m| m.device)
            .ok_or(Code::NotListed)?;
        let verified = VerifiedStatement::verify(&frame.statement, &signer).map_err(|_| Code::Malformed)?;
        let was_listed = stored.listed();
        match &mut stored.governance {
            Some(governance) => match governance.apply(&verified, Some(now)) {
                Err(Refusal::Known) => return Ok(false),
                Err(refusal) => return Err(refusal.code()),
                Ok(_) => {}
            },
            none => *none = Some(Governance::open(root, &verified).map_err(|r| r.code())?),
        }
        // Those who are listed, and whoever this statement replaces.
        let listed = stored.listed();
        let before: Vec<MailboxId> =
            listed.iter().filter(|(device, _)| !was_listed.contains_key(device)).map(|(_, m)| *m).collect();
        let concerned: BTreeMap<_, _> = was_listed.into_iter().chain(listed).collect();
        if statement.action.roster().is_some() {
            stored.epochs.push(frame.statement.clone());
        }
        let agent = stored.governance.as_ref().map(|g| g.current().roster.agent().hash());
        let chain = agent.and_then(|a| self.agents.get(&a)).map(|a| a.1.clone());
        let item = |statement: &SignedBytes, open: bool| {
            Item::Statement(StatementItem {
                statement: statement.clone(),
                agent: chain.clone(),
                consent: open.then(|| stored.consent.clone()),
            })
        };
        let mut appends: Vec<(MailboxId, Item)> = Vec::new();
        for mailbox in before {
            for (at, earlier) in stored.epochs.iter().enumerate().take(stored.epochs.len() - 1) {
                appends.push((mailbox, item(earlier, at == 0)));
            }
        }
        let open = matches!(statement.action, Action::Open { .. });
        for (device, mailbox) in &concerned {
            if *device != statement.signer {
                appends.push((*mailbox, item(&frame.statement, open)));
            }
        }
        for (mailbox, item) in appends {
            self.append(mailbox, item);
        }
        Ok(true)
    }

    /// Takes a conversation in that a customer made by hand opened with a connected agent.
    ///
    /// # Errors
    /// [`Code`], as in a post.
    pub fn host(
        &mut self,
        customer: DevicePublic,
        topic: Handle,
        consent: SignedBytes,
        statement: SignedBytes,
        now: u64,
    ) -> Result<(), Code> {
        let conversation = Statement::peek(&statement).map_err(|_| Code::Malformed)?.conversation;
        let stored = Stored {
            topic,
            customer,
            consent,
            governance: None,
            epochs: Vec::new(),
            named: BTreeSet::new(),
            waiting: false,
        };
        self.conversations.insert(conversation, stored);
        self.apply(&PostStatement { req: 0, conversation, statement, envelopes: Vec::new() }, now).map(drop)
    }

    /// Publishes prekeys for a device made by hand.
    pub fn publish_for(&mut self, device: &DeviceSecret, rng: &mut dyn rand_core::CryptoRng) {
        let last_resort = PrekeySecret::generate(PrekeyKind::LastResort, 0, u64::MAX, rng);
        let stored = self.prekeys.entry(device.hash()).or_default();
        stored.id = Some(last_resort.id());
        stored.last_resort = Some(last_resort.publish(device));
    }
}
