//! One session between two devices: the handshake and the ratchet together (§4, §5).
//!
//! Flow:
//! 1. The initiator verifies the peer's prekey bundle and calls [`Session::initiate`]; its envelopes carry the preamble until
//!    the first message of the peer has decrypted.
//! 2. The responder meets an envelope of an unknown session: decode the [`Preamble`](crate::crypto::handshake::Preamble), find
//!    the statement that it names (else [`Quarantine::NoStatement`]), its initiator in that statement's roster (else
//!    [`Quarantine::NotListed`]), verify the signature (else [`Quarantine::Signature`]), find the prekeys (else
//!    [`Quarantine::NoPrekey`]), then [`Session::accept`], which opens the first message in the same call: a session exists
//!    only once something decrypted.
//! 3. What an operation changed is written in one transaction: [`Session::to_stored`], the [`SkippedChanges`], and after
//!    `accept` the [`Accepted::initiation`] mark and the deletion of [`Accepted::used_one_time`].
//!
//! A failed operation changes nothing.

mod refusal;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use self::refusal::{EncryptError, Quarantine};
pub use crate::crypto::StoredError;
use crate::crypto::codec;
use crate::crypto::dh::LowOrder;
use crate::crypto::handshake::{self, VerifiedPreamble};
pub use crate::crypto::handshake::{Binding, InitiationId};
use crate::crypto::identity::{DevicePublic, DeviceSecret};
use crate::crypto::prekeys::{PrekeySecret, VerifiedBundle};
pub use crate::crypto::ratchet::{MAX_RETIRED, MAX_SKIP, MAX_STORED, SkippedChanges, SkippedName};
use crate::crypto::ratchet::{Parts, Ratchet};
use crate::ids::{EnvelopeId, MailboxId, PrekeyId, RosterHash, SessionId};
use crate::wire::envelope::{Class, Envelope};

/// How long a skipped key is kept: the relay's longest mailbox TTL, after which the message cannot arrive any more (ms).
pub const SKIPPED_KEY_TTL: u64 = 30 * 24 * 60 * 60 * 1000;
/// Version of the stored form.
const STORED_VERSION: u8 = 1;

/// An opened message.
pub struct Opened {
    /// What was sealed.
    pub content: Vec<u8>,
    /// Epoch that the sender was in; judged by `roster_check` (§7). The ratchet commits whatever the verdict.
    pub epoch: u32,
    /// Roster that the sender had.
    pub roster: RosterHash,
    /// Skipped keys to write and delete with the session's state.
    pub changes: SkippedChanges,
}

impl fmt::Debug for Opened {
    /// Never shows the content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({} bytes, epoch {})", self.content.len(), self.epoch)
    }
}

/// A session that began with this message.
#[derive(Debug)]
pub struct Accepted {
    /// The new session.
    pub session: Session,
    /// Its first message.
    pub opened: Opened,
    /// Replay mark to remember for as long as the last-resort key is kept.
    pub initiation: InitiationId,
    /// The one-time pair to delete.
    pub used_one_time: Option<PrekeyId>,
}

/// One session between two devices.
#[derive(Serialize, Deserialize)]
pub struct Session {
    peer: DevicePublic,
    mailbox: MailboxId,
    binding: Binding,
    initiated: bool,
    last_resort_only: bool,
    answered: bool,
    preamble: Option<serde_bytes::ByteBuf>,
    ratchet: Ratchet,
}

impl Session {
    /// Begins a session with the bundle's device.
    ///
    /// # Errors
    /// [`LowOrder`]: a key of the bundle is of low order; at fault: its device.
    pub fn initiate(
        me: &DeviceSecret,
        bundle: &VerifiedBundle,
        binding: Binding,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, LowOrder> {
        let (keys, preamble) = handshake::initiate(me, bundle, binding, rng)?;
        let kem = bundle.one_time.as_ref().unwrap_or(&bundle.last_resort).kem.clone();
        Ok(Self {
            peer: bundle.device,
            mailbox: bundle.device.mailbox(),
            binding,
            initiated: true,
            last_resort_only: bundle.is_last_resort_only(),
            answered: false,
            preamble: Some(serde_bytes::ByteBuf::from(preamble.encode())),
            ratchet: Ratchet::initiator(keys, bundle.last_resort.x, kem),
        })
    }

    /// Answers a handshake: derives the session and opens its first message. The prekeys are those that the preamble
    /// names; `seen` tells whether an initiation was accepted before. `now` in ms.
    ///
    /// # Errors
    /// [`Quarantine`]; nothing has changed then, the prekeys stay.
    pub fn accept(
        me: &DeviceSecret,
        preamble: &VerifiedPreamble<'_>,
        last_resort: &PrekeySecret,
        one_time: Option<&PrekeySecret>,
        seen: &dyn Fn(&InitiationId) -> bool,
        envelope: &Envelope,
        now: u64,
    ) -> Result<Accepted, Quarantine> {
        let initiation = preamble.get().initiation();
        if seen(&initiation) {
            return Err(Quarantine::Replay);
        }
        let keys = handshake::respond(me, preamble, last_resort, one_time)?;
        let (x, kem) = (last_resort.x.duplicate(), one_time.unwrap_or(last_resort).kem.duplicate());
        let mut session = Self {
            peer: *preamble.initiator(),
            mailbox: preamble.initiator().mailbox(),
            binding: *preamble.get().binding(),
            initiated: false,
            last_resort_only: one_time.is_none(),
            answered: true,
            preamble: None,
            ratchet: Ratchet::responder(keys, x, kem),
        };
        let opened = session.decrypt(envelope, now)?;
        Ok(Accepted { session, opened, initiation, used_one_time: one_time.map(PrekeySecret::id) })
    }

    /// Seals `content` for the peer. Write the new state and the envelope before transmitting; retries send the same bytes.
    ///
    /// # Errors
    /// [`EncryptError`].
    pub fn encrypt(
        &mut self,
        content: &[u8],
        epoch: u32,
        roster: RosterHash,
        rng: &mut dyn CryptoRng,
    ) -> Result<Envelope, EncryptError> {
        let mut envelope = self.blank(Class::Store, rng);
        envelope.preamble.clone_from(&self.preamble);
        let sealed = self.ratchet.encrypt(&envelope.clear(), epoch, roster, content, rng)?;
        envelope.chain = sealed.chain;
        envelope.nonce = sealed.nonce;
        envelope.header = sealed.header;
        envelope.body = sealed.body;
        Ok(envelope)
    }

    /// Opens an envelope of this session. `now` in ms.
    ///
    /// # Errors
    /// [`Quarantine`]; nothing has changed then.
    pub fn decrypt(&mut self, envelope: &Envelope, now: u64) -> Result<Opened, Quarantine> {
        if envelope.session != self.id() || envelope.class != Class::Store {
            return Err(Quarantine::Malformed);
        }
        let clear = envelope.clear();
        let parts = Parts {
            clear: &clear,
            chain: &envelope.chain,
            nonce: &envelope.nonce,
            header: &envelope.header,
            body: &envelope.body,
        };
        let decrypted = self.ratchet.decrypt(&parts, now, now.saturating_add(SKIPPED_KEY_TTL))?;
        self.preamble = None;
        self.answered = true;
        Ok(Opened {
            content: decrypted.content,
            epoch: decrypted.epoch,
            roster: decrypted.roster,
            changes: decrypted.changes,
        })
    }

    /// Seals a content that is delivered now or never. Changes nothing and needs no write.
    ///
    /// # Errors
    /// [`EncryptError::NoChain`] before the first stored message of this side.
    pub fn encrypt_ephemeral(
        &self,
        content: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<Envelope, EncryptError> {
        let mut envelope = self.blank(Class::Ephemeral, rng);
        (envelope.nonce, envelope.body) = self.ratchet.encrypt_ephemeral(&envelope.clear(), content, rng)?;
        Ok(envelope)
    }

    /// Opens an ephemeral envelope. Within one or two chains the relay can repeat it: it must mean nothing lasting.
    ///
    /// # Errors
    /// [`Quarantine`]; an ephemeral envelope that does not open is dropped, not set aside.
    pub fn decrypt_ephemeral(&self, envelope: &Envelope) -> Result<Vec<u8>, Quarantine> {
        if envelope.session != self.id() || envelope.class != Class::Ephemeral {
            return Err(Quarantine::Malformed);
        }
        Ok(self.ratchet.decrypt_ephemeral(&envelope.clear(), &envelope.nonce, &envelope.body)?)
    }

    /// An envelope without content.
    fn blank(&self, class: Class, rng: &mut dyn CryptoRng) -> Envelope {
        let mut id = [0; EnvelopeId::LEN];
        rng.fill_bytes(&mut id);
        Envelope {
            mailbox: self.mailbox,
            id: EnvelopeId(id),
            session: self.id(),
            class,
            preamble: None,
            chain: Box::default(),
            nonce: [0; 24],
            header: Vec::new(),
            body: Vec::new(),
        }
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.ratchet.session()
    }

    /// The other device.
    pub fn peer(&self) -> &DevicePublic {
        &self.peer
    }

    /// Conversation, statement and generation that it was begun for.
    pub fn binding(&self) -> &Binding {
        &self.binding
    }

    /// Whether this side began it.
    pub fn is_initiator(&self) -> bool {
        self.initiated
    }

    /// Began without a one-time prekey: weaker forward secrecy of the first flight, shown as such.
    pub fn is_last_resort_only(&self) -> bool {
        self.last_resort_only
    }

    /// Whether envelopes still carry the preamble: nothing of the peer has decrypted.
    pub fn needs_preamble(&self) -> bool {
        self.preamble.is_some()
    }

    /// Whether anything of the peer has decrypted in this session.
    pub fn has_decrypted(&self) -> bool {
        self.answered
    }

    /// Drops skipped keys that expired at `now` (ms).
    pub fn expire(&mut self, now: u64) -> SkippedChanges {
        self.ratchet.expire(now)
    }

    /// Drops the `count` skipped keys that expire soonest: what several sessions keep together is the caller's to bound.
    pub fn forget_skipped(&mut self, count: usize) -> SkippedChanges {
        self.ratchet.forget_skipped(count)
    }

    /// Names of all skipped keys, for deleting a session's records.
    pub fn skipped_names(&self) -> impl Iterator<Item = &SkippedName> {
        self.ratchet.skipped_names()
    }

    /// The record of a skipped key, secret; none when it is used or dropped.
    pub fn skipped(&self, name: &SkippedName) -> Option<Zeroizing<Vec<u8>>> {
        self.ratchet.skipped_record(name)
    }

    /// Stored form without the skipped keys, secret: `version | postcard`. Seal it before it is written.
    pub fn to_stored(&self) -> Zeroizing<Vec<u8>> {
        codec::encode_versioned(STORED_VERSION, self)
    }

    /// Reads the stored form; [`Self::load_skipped`] brings the skipped keys.
    ///
    /// # Errors
    /// [`StoredError`]: the vault is damaged or newer than this program.
    pub fn from_stored(stored: &[u8]) -> Result<Self, StoredError> {
        codec::decode_versioned(STORED_VERSION, stored)
    }

    /// Takes in the record of a skipped key of this session.
    ///
    /// # Errors
    /// [`StoredError`], as [`Self::from_stored`].
    pub fn load_skipped(&mut self, record: &[u8]) -> Result<(), StoredError> {
        self.ratchet.load_skipped(record)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?}, peer {:?}, ..)", self.id(), self.peer.hash())
    }
}
