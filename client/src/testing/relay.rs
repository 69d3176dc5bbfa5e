//! A relay in memory, for one test.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sealdesk_protocol::conversation::Governance;
use sealdesk_protocol::crypto::certificate::{CertificateChain, SignedRevocations};
use sealdesk_protocol::crypto::identity::{DevicePublic, SignedBytes, VerifyKey};
use sealdesk_protocol::crypto::labels;
use sealdesk_protocol::crypto::prekeys::{PrekeyBundle, SignedPrekey};
use sealdesk_protocol::generation::SignedGeneration;
use sealdesk_protocol::ids::{BlobId, ConversationId, DeviceKeyHash, Handle, MailboxId, PrekeyId};
use sealdesk_protocol::org::VerifiedOrg;
use sealdesk_protocol::wire::*;

/// How the relay misbehaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mischief {
    /// Every n-th item is stored a second time, at a later position.
    pub repeat: Option<u64>,
    /// Every n-th item is stored before the one that came before it, as long as that one is undelivered.
    pub swap: Option<u64>,
    /// Every n-th envelope is accepted and thrown away.
    pub drop: Option<u64>,
}

/// A connection: which client, which number of it.
pub(super) type Connection = (usize, u32);

#[derive(Debug, Default)]
pub(super) struct Mailbox {
    pub(super) next: u64,
    pub(super) items: VecDeque<(u64, Item)>,
    pub(super) ids: BTreeSet<[u8; 16]>,
}

#[derive(Debug)]
pub(super) struct Stored {
    pub(super) topic: Handle,
    pub(super) customer: DevicePublic,
    pub(super) consent: SignedBytes,
    pub(super) governance: Option<Governance>,
    pub(super) epochs: Vec<SignedBytes>,
    pub(super) named: BTreeSet<DeviceKeyHash>,
    pub(super) waiting: bool,
}

#[derive(Debug, Default)]
pub(super) struct Prekeys {
    pub(super) last_resort: Option<SignedPrekey>,
    pub(super) id: Option<PrekeyId>,
    pub(super) one_time: VecDeque<SignedPrekey>,
}

#[derive(Debug)]
pub(super) struct Blob {
    pub(super) length: u64,
    pub(super) token_hash: [u8; 32],
    pub(super) bytes: Vec<u8>,
}

/// The relay.
#[derive(Debug)]
pub struct Relay {
    pub(super) org: VerifiedOrg,
    /// Its name, as it says.
    pub name: String,
    /// The version that it says it speaks.
    pub protocol: u16,
    /// The mailbox that it welcomes to, in place of the device's own.
    pub welcome_to: Option<MailboxId>,
    /// Counts restores.
    pub store_epoch: u32,
    /// How it misbehaves.
    pub mischief: Mischief,
    /// Answer to every envelope, instead of storing it.
    pub refuse_sends: Option<Code>,
    /// Answer to every upload of prekeys.
    pub refuse_prekeys: Option<Code>,
    /// Bytes of attachments are refused with this code.
    pub refuse_writes: Option<Code>,
    /// What becomes of each part of an attachment on its way to a reader.
    pub lie_of_parts: Option<fn(&mut BlobBytes)>,
    /// Answer to every statement, instead of storing it.
    pub refuse_statements: Option<Code>,
    /// Answer to every customer who asks for an agent.
    pub refuse_requests: Option<Code>,
    /// Names an agent before it refuses so.
    pub names_and_refuses: bool,
    /// No room is left in any device's part of another's mailbox: envelopes and resets are refused, other statements are not.
    pub parts_full: bool,
    /// Answer to every reset.
    pub refuse_resets: Option<Code>,
    /// Answer to every agent that authenticates, instead of a welcome.
    pub refuse_agents: Option<Code>,
    /// Statements are stored, and nobody is told.
    pub hold_done: bool,
    /// Statements that were refused so, in order.
    pub refused_statements: Vec<SignedBytes>,
    /// Says after each upload that no one-time prekeys are left.
    pub claims_no_prekeys: bool,
    /// Told with each welcome.
    pub limits: Limits,
    /// Sent with each welcome.
    pub revocations: Option<SignedRevocations>,
    /// Which agent devices are named, in this order; empty: all that are connected.
    pub preferred: Vec<DeviceKeyHash>,
    /// Certificates that are handed out in place of the named agent's.
    pub substitute_chain: Option<CertificateChain>,
    /// Certificates that are handed out when newer ones are asked for.
    pub renewed: Option<CertificateChain>,
    /// Prekeys that are handed out in place of the named agent's.
    pub substitute_bundle: Option<PrekeyBundle>,
    /// Requests for prekeys are answered by [`Self::answer_fetches`] only.
    pub hold_fetches: bool,
    pub(super) held_fetches: Vec<(Connection, FetchPrekeys)>,
    /// Names agents of any team, as a relay must not.
    pub any_team: bool,
    /// Frames received, by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// Bytes of every envelope that was stored, in order.
    pub envelopes: Vec<Vec<u8>>,
    challenges: BTreeMap<Connection, Challenge>,
    pub(super) online: BTreeMap<DeviceKeyHash, Connection>,
    devices: BTreeMap<Connection, DevicePublic>,
    pub(super) agents: BTreeMap<DeviceKeyHash, (DevicePublic, CertificateChain, bool)>,
    generations: BTreeMap<DeviceKeyHash, SignedGeneration>,
    pub(super) prekeys: BTreeMap<DeviceKeyHash, Prekeys>,
    pub(super) mailboxes: BTreeMap<MailboxId, Mailbox>,
    pub(super) owners: BTreeMap<MailboxId, DeviceKeyHash>,
    pub(super) conversations: BTreeMap<ConversationId, Stored>,
    pub(super) blobs: BTreeMap<BlobId, Blob>,
    pub(super) appended: u64,
    nonce: u8,
    out: Vec<(Connection, Option<ToClient>)>,
}

const TTL: u64 = 30 * 24 * 60 * 60 * 1000;

impl Relay {
    /// A relay of this organisation.
    pub fn new(org: VerifiedOrg) -> Self {
        Self {
            name: org.settings().relay_name.clone(),
            org,
            protocol: PROTOCOL_VERSION,
            welcome_to: None,
            store_epoch: 1,
            mischief: Mischief::default(),
            refuse_sends: None,
            refuse_prekeys: None,
            refuse_writes: None,
            lie_of_parts: None,
            refuse_statements: None,
            refuse_requests: None,
            names_and_refuses: false,
            parts_full: false,
            refuse_resets: None,
            refuse_agents: None,
            hold_done: false,
            refused_statements: Vec::new(),
            claims_no_prekeys: false,
            limits: Limits { attachment: 1 << 20, mailbox_ttl: TTL },
            revocations: None,
            preferred: Vec::new(),
            substitute_chain: None,
            renewed: None,
            substitute_bundle: None,
            hold_fetches: false,
            held_fetches: Vec::new(),
            any_team: false,
            counts: BTreeMap::new(),
            envelopes: Vec::new(),
            challenges: BTreeMap::new(),
            online: BTreeMap::new(),
            devices: BTreeMap::new(),
            agents: BTreeMap::new(),
            generations: BTreeMap::new(),
            prekeys: BTreeMap::new(),
            mailboxes: BTreeMap::new(),
            owners: BTreeMap::new(),
            conversations: BTreeMap::new(),
            blobs: BTreeMap::new(),
            appended: 0,
            nonce: 0,
            out: Vec::new(),
        }
    }

    /// Frames to deliver; none ends the connection.
    pub(super) fn take(&mut self) -> Vec<(Connection, Option<ToClient>)> {
        core::mem::take(&mut self.out)
    }

    pub(super) fn say(&mut self, connection: Connection, frame: impl Into<ToClient>) {
        self.out.push((connection, Some(frame.into())));
    }

    pub(super) fn opened(&mut self, connection: Connection, now: u64) {
        self.nonce = self.nonce.wrapping_add(1);
        let challenge = Challenge {
            protocol: self.protocol,
            relay: self.name.clone(),
            nonce: [self.nonce; 32],
            time: now,
        };
        self.challenges.insert(connection, challenge.clone());
        self.say(connection, challenge);
    }

    pub(super) fn closed(&mut self, connection: Connection) {
        self.challenges.remove(&connection);
        if let Some(device) = self.devices.remove(&connection) {
            self.online.retain(|d, c| *d != device.hash() || *c != connection);
        }
    }

    /// A backup is put back: everything since is gone, as seen from outside.
    pub fn restore(&mut self) {
        self.store_epoch += 1;
        self.prekeys.values_mut().for_each(|p| p.one_time.clear());
        for mailbox in self.mailboxes.values_mut() {
            mailbox.items.clear();
            mailbox.ids.clear();
            mailbox.next = 0;
        }
    }

    /// The highest generation that a device signed.
    pub fn generation(&self, device: &DeviceKeyHash) -> Option<SignedGeneration> {
        self.generations.get(device).copied()
    }

    /// Claims to have been told of a generation, as a malicious relay can.
    pub fn claim_generation(&mut self, device: &DeviceKeyHash, claim: SignedGeneration) {
        self.generations.insert(*device, claim);
    }

    /// Whoever shows a higher generation has to have signed it.
    fn take_generation(&mut self, device: &DevicePublic, vault: SignedGeneration) -> bool {
        let valid = vault.verify(&self.name, device).is_ok();
        let kept = self.generations.entry(device.hash()).or_insert(vault);
        if valid && vault.claimed() > kept.claimed() {
            *kept = vault;
        }
        valid
    }

    /// Undelivered and unacknowledged items.
    pub fn stored_items(&self) -> usize {
        self.mailboxes.values().map(|m| m.items.len()).sum()
    }

    /// One-time prekeys of a device.
    pub fn one_time_left(&self, device: &DeviceKeyHash) -> usize {
        self.prekeys.get(device).map_or(0, |p| p.one_time.len())
    }

    /// Sends a frame to a connected device, as a malicious relay can.
    pub fn push(&mut self, device: &DeviceKeyHash, frame: impl Into<ToClient>) {
        if let Some(connection) = self.online.get(device).copied() {
            self.say(connection, frame);
        }
    }

    /// Appends any item to a mailbox, as a malicious relay can.
    pub fn inject(&mut self, to: MailboxId, item: Item) {
        self.append(to, item);
    }

    /// Drops every stored item, as after the TTL.
    pub fn forget_items(&mut self) {
        self.mailboxes.values_mut().for_each(|mailbox| mailbox.items.clear());
    }

    /// The governed state of a conversation, as a malicious relay knows it too.
    pub fn governance(&self, id: &ConversationId) -> Option<&Governance> {
        self.conversations.get(id)?.governance.as_ref()
    }

    /// Names an agent for a conversation anew, also one that was named before.
    pub fn reassign_again(&mut self, id: &ConversationId) {
        if let Some(stored) = self.conversations.get_mut(id) {
            stored.named.clear();
        }
        self.reassign(id);
    }

    /// Names another agent for a conversation, as when the one before did not accept in time.
    pub fn reassign(&mut self, id: &ConversationId) {
        let customer = self.conversations.get(id).map(|c| c.customer.hash());
        if let Some(connection) = customer.and_then(|c| self.online.get(&c)).copied() {
            self.name_agent(connection, None, *id);
        }
    }

    /// One frame of a client.
    pub(super) fn frame(&mut self, connection: Connection, bytes: &[u8], now: u64) {
        let Ok(frame) = ToRelay::decode(bytes) else {
            let error = Error { req: None, code: Code::Malformed, retry_after: None };
            return self.say(connection, error);
        };
        *self.counts.entry(frame.name()).or_default() += 1;
        if let ToRelay::Authenticate(frame) = frame {
            return self.authenticate(connection, frame, now);
        }
        let Some(device) = self.devices.get(&connection).copied() else { return };
        match frame {
            ToRelay::Ping(ping) => self.say(connection, Pong { nonce: ping.nonce }),
            ToRelay::PublishPrekeys(frame) => match self.refuse_prekeys {
                Some(code) => self.refuse(connection, frame.req, code),
                None => self.publish(connection, &device, frame, now),
            },
            ToRelay::FetchPrekeys(frame) if self.hold_fetches => self.held_fetches.push((connection, frame)),
            ToRelay::FetchPrekeys(frame) => self.fetch(connection, &frame),
            ToRelay::FetchCertificate(frame) => match self.renewed.clone() {
                Some(chain) => self.say(connection, Certificate { req: frame.req, chain }),
                None => self.refuse(connection, frame.req, Code::CertificateExpired),
            },
            ToRelay::RequestAssignment(frame) => match self.refuse_requests {
                Some(code) => {
                    let req = frame.req;
                    if self.names_and_refuses {
                        self.request(connection, &device, frame, false);
                    }
                    self.refuse(connection, req, code);
                }
                None => self.request(connection, &device, frame, true),
            },
            ToRelay::PostStatement(frame) => match self.refuse_statements {
                Some(code) => {
                    self.refuse(connection, frame.req, code);
                    self.refused_statements.push(frame.statement);
                }
                None => self.post(connection, frame, now),
            },
            ToRelay::SetAvailability(frame) => {
                if let Some(agent) = self.agents.get_mut(&device.hash()) {
                    agent.2 = frame.available;
                }
                self.say(connection, Done { req: frame.req });
                self.assign_waiting();
            }
            ToRelay::Send(frame) => {
                if let Some(code) = self.refuse_sends.or(self.parts_full.then_some(Code::MailboxFull)) {
                    return self.refuse(connection, frame.req, code);
                }
                self.store_envelope(frame.message);
                self.say(connection, Done { req: frame.req });
            }
            ToRelay::SendEphemeral(frame) => {
                let to = self.owners.get(&frame.message.to).and_then(|d| self.online.get(d)).copied();
                if let Some(to) = to {
                    self.say(to, Ephemeral { envelope: frame.message.envelope });
                }
            }
            ToRelay::Ack(ack) => {
                if ack.vault.is_some_and(|vault| !self.take_generation(&device, vault)) {
                    let error = Error { req: None, code: Code::BadSignature, retry_after: None };
                    return self.say(connection, error);
                }
                if let Some(mailbox) = self.mailboxes.get_mut(&device.mailbox())
                    && ack.up_to.store_epoch == self.store_epoch
                {
                    mailbox.items.retain(|(seq, _)| *seq > ack.up_to.seq);
                }
            }
            ToRelay::BlobCreate(frame) => self.create_blob(connection, &frame),
            ToRelay::BlobWrite(frame) => self.write_blob(connection, &frame),
            ToRelay::BlobRead(frame) => self.read_blob(connection, &frame),
            _ => {}
        }
    }

    pub(super) fn refuse(&mut self, connection: Connection, req: u32, code: Code) {
        self.say(connection, Error { req: Some(req), code, retry_after: None });
    }

    fn authenticate(&mut self, connection: Connection, frame: Authenticate, now: u64) {
        let Some(challenge) = self.challenges.remove(&connection) else { return };
        let body = AuthBody {
            relay: challenge.relay,
            nonce: challenge.nonce,
            time: challenge.time,
            device: frame.device,
            vault_generation: frame.vault.claimed(),
        };
        let bytes = postcard::to_allocvec(&body).unwrap_or_default();
        let hash = frame.device.hash();
        let remembered = self.generation(&hash);
        if VerifyKey(frame.device.ed).verify(labels::AUTH, &bytes, &frame.signature).is_err()
            || !self.take_generation(&frame.device, frame.vault)
        {
            return self.say(connection, Error { req: None, code: Code::BadSignature, retry_after: None });
        }
        if let Party::Agent(chain) = frame.party {
            if let Some(code) = self.refuse_agents {
                self.say(connection, Error { req: None, code, retry_after: None });
                return self.out.push((connection, None));
            }
            self.agents.insert(hash, (frame.device, chain, true));
        }
        if let Some(before) = self.online.insert(hash, connection) {
            self.say(before, Goodbye { reason: Reason::Replaced });
            self.out.push((before, None));
            self.devices.remove(&before);
        }
        self.devices.insert(connection, frame.device);
        self.owners.insert(frame.device.mailbox(), hash);
        let (one_time_left, last_resort) =
            self.prekeys.get(&hash).map_or((0, None), |p| (p.one_time.len() as u16, p.id));
        let welcome = Welcome {
            mailbox: self.welcome_to.unwrap_or(frame.device.mailbox()),
            store_epoch: self.store_epoch,
            vault: remembered,
            one_time_left,
            last_resort,
            revocations: self.revocations.clone(),
            limits: self.limits,
            time: now,
        };
        self.say(connection, welcome);
        let items: Vec<(u64, Item)> = self
            .mailboxes
            .get(&frame.device.mailbox())
            .map(|m| m.items.iter().cloned().collect())
            .unwrap_or_default();
        for (seq, item) in items {
            self.deliver(connection, seq, item);
        }
    }
}
