//! From rows to state: [`Engine::open`].

use std::collections::BTreeMap;

use sealdesk_protocol::crypto::certificate::Revocations;
use sealdesk_protocol::crypto::prekeys::PrekeySecret;
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash};
use sealdesk_protocol::org::VerifiedOrg;
use sealdesk_protocol::session::Session;

use super::aside::SetAside;
use super::records::{
    AttachmentRecord, ConversationRecord, Counters, DeviceRecord, Generation, Held, Meta, OutEnvelope,
    OwnContent, PrekeyRecord, SeenPage, SessionRecord, SkippedRecord, StoredCursor, StoredOwner,
    TransferRecord,
};
use super::state::{Conversation, Device, Engine, SessionEntry};
use super::transfer::Transfer;
use super::trust::accept_org;
use super::{Now, Row};
use crate::vault::{Corrupt, Key, Kind, Opened, Record, Vault, VaultKey, decode, is_hot};

/// Opened rows, by kind.
struct Rows(BTreeMap<Kind, Vec<Opened>>);

impl Rows {
    fn open(vault: &mut Vault, hot: &[Row]) -> Result<Self, Corrupt> {
        let kind_of = |row: &Row| Kind::from_number(row.name.0[0]);
        let generation =
            hot.iter().find(|r| kind_of(r) == Some(Kind::Generation)).ok_or(Corrupt::WrongKey)?;
        let opened = vault.open(generation).map_err(|_| Corrupt::WrongKey)?;
        let Generation(number) = decode(&opened.bytes)?;
        vault.set_generation(number);
        for row in hot.iter().filter(|r| kind_of(r) == Some(Kind::ConversationKey)) {
            vault.load_conversation_key(row)?;
        }
        let mut rows: BTreeMap<Kind, Vec<Opened>> = BTreeMap::new();
        let rest = |r: &&Row| {
            is_hot(r.name.0[0]) && !matches!(kind_of(r), Some(Kind::Generation | Kind::ConversationKey))
        };
        for row in hot.iter().filter(rest) {
            let opened = vault.open(row)?;
            rows.entry(opened.kind).or_default().push(opened);
        }
        Ok(Self(rows))
    }

    /// All records of a type.
    fn take<R: Record>(&mut self) -> Result<Vec<R>, Corrupt> {
        self.0.remove(&R::KIND).unwrap_or_default().iter().map(|opened| decode(&opened.bytes)).collect()
    }
}

fn missing(what: &'static str) -> Corrupt {
    Corrupt::Inconsistent(what)
}

impl Engine {
    pub(super) fn load(key: &VaultKey, org: VerifiedOrg, hot: &[Row], now: Now) -> Result<Self, Corrupt> {
        let mut vault = Vault::new(key);
        let mut rows = Rows::open(&mut vault, hot)?;
        let mut meta: Meta = rows.take()?.pop().ok_or(missing("the vault's description is missing"))?;
        accept_org(&meta, &org)?;
        // From the stored list on: a list that may not follow it does not take its place.
        let stored = meta.revocations.as_ref().and_then(|list| Revocations::verify(list, org.pins()).ok());
        let revocations = stored.unwrap_or_default().newest(org.revocations().clone());
        if revocations.edition() < meta.floor.revocations || org.check_issuer(&revocations).is_err() {
            return Err(Corrupt::OrganisationRollback);
        }
        // What is seen at an opening is remembered like any other (§3.8): the first step writes it.
        let mut floor = meta.floor.raise(org.floor());
        floor.revocations = revocations.edition();
        let rose = core::mem::replace(&mut meta.floor, floor) != floor;
        let devices = load_devices(&mut rows)?;
        let mut conversations = load_conversations(&mut rows, &devices)?;
        for conversation in conversations.values_mut() {
            // How long a gap lasts counts anew from here.
            let peers: Vec<DeviceKeyHash> = conversation.held.keys().map(|m| m.device).collect();
            conversation.waits.gaps.extend(peers.into_iter().map(|peer| (peer, now.mono_ms)));
            // An own receipt may not have left before the end.
            let due =
                conversation.counters.peers.iter().filter(|h| h.receipted < h.counter).map(|h| h.device);
            conversation.waits.receipts.extend(due.map(|peer| (peer, now.mono_ms)));
        }
        let mut transfers = BTreeMap::new();
        for record in rows.take::<TransferRecord>()? {
            if conversations.contains_key(&record.conversation) {
                transfers.insert(record.transfer, Transfer::from_record(record));
            }
        }
        if let StoredOwner::Agent { device } = &meta.owner
            && !devices.contains_key(device)
        {
            return Err(missing("the agent's device is missing"));
        }
        if conversations.keys().any(|id| !vault.holds(id)) {
            return Err(missing("a conversation's key is missing"));
        }
        let mut engine = Self {
            devices,
            conversations,
            transfers,
            dirty: rose.then_some(Key::Meta).into_iter().collect(),
            ..Self::idle(vault, org, meta, revocations, now)
        };
        engine.take_own_certificate(now.wall_ms);
        Ok(engine)
    }
}

fn load_devices(rows: &mut Rows) -> Result<BTreeMap<DeviceKeyHash, Device>, Corrupt> {
    let mut devices: BTreeMap<DeviceKeyHash, Device> = BTreeMap::new();
    for record in rows.take::<DeviceRecord>()? {
        let device = Device::from_record(record);
        devices.insert(device.public.hash(), device);
    }
    let no_device = missing("a device is missing");
    let mut cursors = 0;
    for stored in rows.take::<StoredCursor>()? {
        devices.get_mut(&stored.device).ok_or(no_device)?.cursor = stored.cursor;
        cursors += 1;
    }
    if cursors != devices.len() {
        return Err(missing("a device's mailbox position is missing"));
    }
    for record in rows.take::<PrekeyRecord>()? {
        let prekey =
            PrekeySecret::from_stored(&record.stored).map_err(|_| Corrupt::Record(Kind::Prekey as u8))?;
        devices.get_mut(&record.device).ok_or(no_device)?.prekeys.insert(prekey.id(), prekey);
    }
    for page in rows.take::<SeenPage>()? {
        devices.get_mut(&page.device).ok_or(no_device)?.seen.load(page);
    }
    for aside in rows.take::<SetAside>()? {
        devices.get_mut(&aside.device).ok_or(no_device)?.aside.insert(aside.number, aside);
    }
    Ok(devices)
}

fn load_conversations(
    rows: &mut Rows,
    devices: &BTreeMap<DeviceKeyHash, Device>,
) -> Result<BTreeMap<ConversationId, Conversation>, Corrupt> {
    let mut counters: BTreeMap<ConversationId, Counters> =
        rows.take::<Counters>()?.into_iter().map(|c| (c.conversation, c)).collect();
    let mut conversations = BTreeMap::new();
    for record in rows.take::<ConversationRecord>()? {
        if !devices.contains_key(&record.device) {
            return Err(missing("a conversation's device is missing"));
        }
        let own = counters.remove(&record.id).ok_or(missing("a conversation's counters are missing"))?;
        conversations.insert(record.id, Conversation::new(record, own));
    }
    let lost = missing("a conversation is missing");
    for (id, entry) in load_sessions(rows)? {
        conversations.get_mut(&id).ok_or(lost)?.sessions.insert(entry.session.id(), entry);
    }
    for own in rows.take::<OwnContent>()? {
        conversations.get_mut(&own.conversation).ok_or(lost)?.contents.insert(own.counter, own);
    }
    for envelope in rows.take::<OutEnvelope>()? {
        conversations.get_mut(&envelope.conversation).ok_or(lost)?.envelopes.insert(envelope.order, envelope);
    }
    for held in rows.take::<Held>()? {
        conversations.get_mut(&held.conversation).ok_or(lost)?.held.insert(held.id, held);
    }
    for attachment in rows.take::<AttachmentRecord>()? {
        let conversation = conversations.get_mut(&attachment.conversation).ok_or(lost)?;
        conversation.attachments.insert(attachment.message, attachment);
    }
    Ok(conversations)
}

fn load_sessions(rows: &mut Rows) -> Result<Vec<(ConversationId, SessionEntry)>, Corrupt> {
    let damaged = Corrupt::Record(Kind::Session as u8);
    let mut sessions = BTreeMap::new();
    for record in rows.take::<SessionRecord>()? {
        let session = Session::from_stored(&record.stored).map_err(|_| damaged)?;
        let (id, peer) = (session.id(), session.peer().hash());
        sessions.insert(id, (record.conversation, SessionEntry { session, peer, created: record.created }));
    }
    for record in rows.take::<SkippedRecord>()? {
        if let Some((_, entry)) = sessions.get_mut(&record.session) {
            entry.session.load_skipped(&record.stored).map_err(|_| damaged)?;
        }
    }
    Ok(sessions.into_values().collect())
}
