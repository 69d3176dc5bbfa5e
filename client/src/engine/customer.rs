//! The customer's way in: consent, assignment, verification, the open statement, reassignment (§7.5 to §7.8).
//!
//! 1. [`Engine::open_conversation`]: a fresh device, the conversation's id, the consent receipt.
//! 2. Online: `RequestAssignment`; the relay names an agent device.
//! 3. [`Engine::assigned`]: chain, validity, revocation, role, team, prekeys; anything wrong: nothing is sent.
//! 4. The open (or reassignment) statement is signed, kept and posted.
//! 5. [`Engine::statement_stored`](super::Engine): the session begins, what was written is sealed and leaves.

use sealdesk_protocol::conversation::content::first_head;
use sealdesk_protocol::conversation::statements::{Action, Statement};
use sealdesk_protocol::conversation::{
    ConsentReceipt, Kind, Roster, content::ProfileSignature, conversation_id, is_language_tag,
};
use sealdesk_protocol::crypto::identity::{DevicePublic, DeviceSecret};
use sealdesk_protocol::crypto::labels;
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash, Handle, NoticeHash};
use sealdesk_protocol::session::{Binding, Session};
use sealdesk_protocol::wire::{Assignment, Code, RequestAssignment};

use super::context::Cx;
use super::link::{Link, Request};
use super::records::{ConversationRecord, Counters, Cursor, DeviceRecord, Named, Pending, Side, StoredOwner};
use super::seen::Seen;
use super::state::{Conversation, Device, Engine, SessionEntry};
use super::{Problem, problem};
use crate::vault::Key;

/// A refused assignment is asked for again after this long, ms.
const ASK_AGAIN: u64 = 60_000;
/// Reassignments that need no click (§7.8).
const AUTOMATIC: u32 = 1;

impl Engine {
    pub(super) fn open_conversation(
        &mut self,
        cx: &mut Cx<'_>,
        command: u64,
        topic: Handle,
        language: String,
        notice: NoticeHash,
    ) {
        if self.is_agent() {
            return cx.failed(command, problem::wrong_party("a customer"));
        }
        if self.org.settings().topic(&topic).is_none() {
            return cx.failed(command, Problem::from(Code::UnknownTopic));
        }
        if !is_language_tag(&language) {
            return cx.failed(command, problem::language());
        }
        if !self.org.settings().has_notice(&notice) {
            return cx.failed(command, Problem::from(Code::ConsentOutdated));
        }
        let secret = DeviceSecret::generate(cx.rng);
        let public = secret.public();
        let device = public.hash();
        let mut nonce = [0; 16];
        cx.rng.fill_bytes(&mut nonce);
        let root = self.org.root();
        let id = conversation_id(&root, &public, &nonce);
        let now = cx.now.wall_ms;
        let consent = ConsentReceipt {
            root,
            conversation: id,
            device: public,
            notice,
            language: language.clone(),
            given: now,
        }
        .sign(&secret);

        self.vault.add_conversation(id, cx.rng);
        self.devices.insert(device, Device::new(secret, Some(id)));
        let record = ConversationRecord {
            nonce,
            consent: Some(consent),
            ..ConversationRecord::new(id, device, Side::Customer, topic, language, now)
        };
        self.conversations.insert(id, Conversation::new(record, Counters::new(id, &device, now)));
        for key in [
            Key::Wrapped(id),
            Key::Device(device),
            Key::Cursor(device),
            Key::Conversation(id),
            Key::Counters(id),
        ] {
            self.mark(key);
        }
        if let StoredOwner::Customer { profile } = &self.meta.owner {
            let signature = profile.sign(labels::PROFILE, &profile_body(&id, &device));
            let kind =
                Kind::Profile(ProfileSignature { profile: *profile.verify_key().as_bytes(), signature });
            // The profile goes first; it cannot be too long.
            let _ = self.write_content(cx, id, &kind);
        }
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.waits.changed = true;
        }
        cx.done(command, Some(id));
    }

    /// Asks for an agent where none is named.
    pub(super) fn run_assignment(&mut self, cx: &mut Cx<'_>, id: ConversationId) {
        let now = cx.now.mono_ms;
        let Some(c) = self.conversations.get_mut(&id) else { return };
        let idle = c.record.side == Side::Customer
            && c.wants_agent()
            && c.record.pending.is_empty()
            && !c.is_closed()
            && !c.waits.assigning
            && c.waits.assignment_at <= now;
        let Some(consent) = c.record.consent.clone().filter(|_| idle) else { return };
        let (topic, language, hash) = (c.record.topic.clone(), c.record.language.clone(), c.record.device);
        let Some(online) = self.devices.get_mut(&hash).and_then(|d| d.link.online_mut()) else { return };
        let req = online.request(Request::Assignment(id), now);
        c.waits.assigning = true;
        self.send(cx, hash, RequestAssignment { req, conversation: id, topic, language, consent });
    }

    /// The relay took the request: from now on it knows the conversation.
    pub(super) fn asked(&mut self, hash: &DeviceKeyHash, id: ConversationId) {
        if let Some(c) = self.conversations.get_mut(&id).filter(|c| c.record.device == *hash) {
            c.waits.known = true;
        }
    }

    /// The relay's automatic reassignment is used up; a person decides about a further one.
    pub(super) fn nobody_accepted(&mut self, hash: DeviceKeyHash, id: ConversationId) {
        let Some(c) = self.conversations.get_mut(&id).filter(|c| c.record.device == hash) else { return };
        let waits = c.record.governance.as_ref().is_some_and(|g| !g.is_accepted());
        if waits && !c.is_closed() && !c.record.allowed && !c.record.unaccepted {
            c.record.unaccepted = true;
            c.waits.changed = true;
            self.mark(Key::Conversation(id));
        }
    }

    pub(super) fn assignment_refused(&mut self, cx: &mut Cx<'_>, id: ConversationId, code: Code, at: u64) {
        self.tell_once(cx, id, code);
        let Some(c) = self.conversations.get_mut(&id) else { return };
        c.waits.assigning = false;
        c.waits.assignment_at = if super::requests::is_passing(code) { at } else { at + ASK_AGAIN };
        self.end_unopened(cx, id, code);
    }

    /// What the person agreed to, or asked about, does not exist any more: the relay never opens the conversation. It ends,
    /// unless an opening is on its way, which may be stored already.
    pub(super) fn end_unopened(&mut self, cx: &mut Cx<'_>, id: ConversationId, code: Code) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        let dead = matches!(code, Code::ConsentOutdated | Code::ConsentMissing | Code::UnknownTopic);
        let unopened = c.record.governance.is_none() && c.record.pending.is_empty();
        if dead && unopened && !c.is_closed() {
            c.record.closed_here = Some(cx.now.wall_ms);
            c.waits.changed = true;
            self.mark(Key::Conversation(id));
            self.give_up_all(cx, id);
        }
    }

    /// The relay names an agent device.
    pub(super) fn assigned(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, assignment: Assignment) {
        let id = assignment.conversation;
        let Some(c) = self.conversations.get_mut(&id).filter(|c| c.record.device == hash) else { return };
        if c.record.side != Side::Customer || c.is_closed() || !c.record.pending.is_empty() {
            return;
        }
        let expected = c.record.governance.as_ref().map_or(1, |g| g.current().number + 1);
        let accepted = c.record.governance.as_ref().is_some_and(|g| g.is_accepted());
        if assignment.epoch != expected || accepted {
            return;
        }
        let named = Named { epoch: assignment.epoch, chain: assignment.agent, bundle: assignment.bundle };
        if named.epoch > 1 && c.record.reassignments >= AUTOMATIC && !c.record.allowed {
            c.record.offered = Some(named);
            c.waits.changed = true;
            return self.mark(Key::Conversation(id));
        }
        self.name_agent(cx, id, named);
    }

    /// The click that allows one more reassignment came after the relay named somebody.
    pub(super) fn take_offered(&mut self, cx: &mut Cx<'_>, id: ConversationId) {
        if let Some(named) = self.conversations.get_mut(&id).and_then(|c| c.record.offered.take()) {
            self.name_agent(cx, id, named);
        }
    }

    /// Verifies everything about a named agent, then signs the statement that lists it.
    fn name_agent(&mut self, cx: &mut Cx<'_>, id: ConversationId, named: Named) {
        let result = self.epoch_statement(cx, id, &named);
        let Some(c) = self.conversations.get_mut(&id) else { return };
        match result {
            Ok((statement, certificate)) => {
                if let Some(code) = c.waits.misnamed.take() {
                    cx.resolved(Some(id), code);
                }
                c.record.unaccepted = false;
                if named.epoch > 1 {
                    c.record.reassignments += 1;
                    c.record.allowed = false;
                }
                let chain = named.chain.clone();
                c.record.offered = None;
                c.record.pending.push(Pending { statement, envelopes: Vec::new(), named: Some(named) });
                c.waits.attention = true;
                self.mark(Key::Conversation(id));
                self.remember_agent(&id, &chain, &certificate);
            }
            Err(problem) => {
                c.waits.assigning = false;
                c.waits.assignment_at = cx.now.mono_ms + ASK_AGAIN;
                if c.waits.misnamed.replace(problem.code) != Some(problem.code) {
                    cx.problem(Some(id), problem);
                }
            }
        }
    }

    fn epoch_statement(
        &self,
        cx: &Cx<'_>,
        id: ConversationId,
        named: &Named,
    ) -> Result<
        (
            sealdesk_protocol::crypto::identity::SignedBytes,
            sealdesk_protocol::crypto::certificate::VerifiedCertificate,
        ),
        Problem,
    > {
        let c = self.conversations.get(&id).ok_or_else(problem::unknown_conversation)?;
        let device = self.devices.get(&c.record.device).ok_or_else(problem::unknown_conversation)?;
        let certificate = self.verify_for_topic(&named.chain, &c.record.topic, cx.now.wall_ms)?;
        named.bundle.verify(certificate.device(), cx.now.wall_ms).map_err(problem::prekey)?;
        let roster = Roster::of(device.public, certificate.agent().clone(), *certificate.device())
            .map_err(problem::statement)?;
        let action = match &c.record.governance {
            None => Action::Open {
                roster,
                topic: c.record.topic.clone(),
                language: c.record.language.clone(),
                consent: c.record.consent.as_ref().map_or([0; 32], |c| c.digest()),
                nonce: c.record.nonce,
            },
            Some(governance) => Action::Reassign { previous: governance.current().statement, roster },
        };
        let statement = Statement {
            root: self.org.root(),
            conversation: id,
            epoch: named.epoch,
            signer: device.public.hash(),
            time: cx.now.wall_ms,
            expires: u64::MAX,
            action,
        };
        Ok((statement.sign(&device.record.secret), certificate))
    }

    /// The statement is stored: the session with the named device begins (§4: whoever signs the epoch initiates).
    pub(super) fn begin_session(&mut self, cx: &mut Cx<'_>, id: ConversationId, named: &Named) {
        let Some(c) = self.conversations.get(&id) else { return };
        let (Some(governance), Some(device)) = (&c.record.governance, self.devices.get(&c.record.device))
        else {
            return;
        };
        let binding = Binding { conversation: id, statement: governance.current().statement, generation: 0 };
        let peer: DevicePublic = governance.current().roster.agent().device;
        let session =
            named.bundle.verify(&peer, cx.now.wall_ms).map_err(problem::prekey).and_then(|bundle| {
                Session::initiate(&device.record.secret, &bundle, binding, cx.rng).map_err(problem::handshake)
            });
        match session {
            Ok(session) => self.add_session(cx, id, session),
            // The bundle expired between naming and storing, for instance offline: fresh prekeys are fetched instead.
            Err(_) => self.attend(&id),
        }
    }

    /// Takes a session in and sends in it from now on.
    pub(super) fn add_session(&mut self, cx: &Cx<'_>, id: ConversationId, session: Session) {
        let Some(c) = self.conversations.get_mut(&id) else { return };
        let (peer, number) = (session.peer().hash(), session.id());
        c.sessions.insert(number, SessionEntry { session, peer, created: cx.now.wall_ms });
        self.mark(Key::Session(id, number));
        self.send_in(id, peer, number);
        self.bound_sessions(id, &peer);
    }
}

/// What a profile key signs: conversation and customer device (§3).
pub(super) fn profile_body(conversation: &ConversationId, device: &DeviceKeyHash) -> Vec<u8> {
    [conversation.as_bytes(), &device.as_bytes()[..]].concat()
}

impl Conversation {
    /// Nobody is named yet, or the person allowed one more reassignment.
    fn wants_agent(&self) -> bool {
        match &self.record.governance {
            None => true,
            Some(governance) => self.record.allowed && !governance.is_accepted(),
        }
    }
}

impl Device {
    pub(super) fn new(secret: DeviceSecret, conversation: Option<ConversationId>) -> Self {
        let record = DeviceRecord {
            secret,
            conversation,
            chain: None,
            last_resort: None,
            stopped: false,
            deleted: Vec::new(),
            limits: None,
        };
        Self::from_record(record)
    }

    pub(super) fn from_record(record: DeviceRecord) -> Self {
        let public = record.secret.public();
        Self {
            public,
            cursor: Cursor::default(),
            prekeys: std::collections::BTreeMap::new(),
            seen: Seen::new(public.hash()),
            aside: std::collections::BTreeMap::new(),
            link: Link::new(),
            certificate: None,
            warned: None,
            record,
        }
    }
}

impl ConversationRecord {
    pub(super) fn new(
        id: ConversationId,
        device: DeviceKeyHash,
        side: Side,
        topic: Handle,
        language: String,
        opened: u64,
    ) -> Self {
        Self {
            id,
            device,
            side,
            topic,
            language,
            opened,
            nonce: [0; 16],
            consent: None,
            governance: None,
            known: Vec::new(),
            pending: Vec::new(),
            offered: None,
            reassignments: 0,
            allowed: false,
            unaccepted: false,
            closed_here: None,
            closing: false,
            lost: false,
            accept_wanted: false,
            profile: None,
            safety_number: None,
            sending: Vec::new(),
            resets: Vec::new(),
            dead: Vec::new(),
        }
    }
}

impl Counters {
    pub(super) fn new(conversation: ConversationId, device: &DeviceKeyHash, now: u64) -> Self {
        Self {
            conversation,
            places: 0,
            counter: 0,
            head: first_head(&conversation, device),
            sent: 0,
            delivered: 0,
            read: 0,
            undelivered: Vec::new(),
            peers: Vec::new(),
            order: 0,
            marked: 0,
            unread: 0,
            updated: now,
        }
    }
}
