//! The handshake: hybrid PQXDH (§4; after Signal's PQXDH, revision 3).
//!
//! ```text
//! dh1 = DH(IKi,LRr)  dh2 = DH(EK,IKr)  dh3 = DH(EK,LRr)  dh4 = DH(EK,OTr) if a one-time pair was issued
//! (ct0, ss0) = Encaps(OTr.kem or LRr.kem)
//! T   = hash("transcript", suite, IKi hash, IKr hash, LR id, OT id or "", EK, ct0, conversation, epoch statement, generation)
//! SK, HK_i2r, HK_r2i = HKDF(salt 0, ikm 0xFF^32 | dh1 | dh2 | dh3 | dh4 | ss0, "pqxdh" | T)
//! sid = hash("sid", T)[..16]
//! preamble = all inputs of T, and the initiator's signature over T
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use super::codec;
use super::dh::{DhSecret, LowOrder};
use super::identity::{BadSignature, DevicePublic, DeviceSecret, SIGNATURE_LEN};
use super::kdf;
use super::kem::CIPHERTEXT_LEN;
use super::labels;
use super::prekeys::{PrekeyKind, PrekeySecret, VerifiedBundle};
use crate::ids::{ConversationId, DeviceKeyHash, PrekeyId, SessionId, StatementHash};
use crate::secret::Secret;

/// The one suite of version 1: X25519, ML-KEM-768, ChaCha20-Poly1305, SHA-256.
const SUITE: u8 = 1;
/// Largest encoded preamble, bytes.
pub const MAX_PREAMBLE: usize = 1400;

/// What a handshake is bound to besides the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The conversation.
    pub conversation: ConversationId,
    /// The epoch statement whose roster lists both devices.
    pub statement: StatementHash,
    /// Counts sessions of this pair of devices in this epoch, from 0.
    pub generation: u32,
}

/// Mark of one initiation: hash of the last-resort key's id and EK. A responder that met it before refuses a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InitiationId(pub [u8; 32]);

/// All public inputs of the handshake, signed by the initiator; rides on every envelope until the peer has answered.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preamble {
    suite: u8,
    initiator: DeviceKeyHash,
    responder: DeviceKeyHash,
    last_resort: PrekeyId,
    one_time: Option<PrekeyId>,
    ephemeral: [u8; 32],
    #[serde(with = "serde_bytes")]
    ciphertext: Box<[u8]>,
    binding: Binding,
    #[serde(with = "serde_bytes")]
    signature: [u8; SIGNATURE_LEN],
}

impl fmt::Debug for Preamble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Preamble({:?} to {:?}, {:?})", self.initiator, self.responder, self.binding)
    }
}

/// The bytes are no preamble. At fault: the sender, or whoever altered them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a handshake preamble is malformed")]
pub struct MalformedPreamble;

impl Preamble {
    /// Decodes; nothing is verified yet.
    ///
    /// # Errors
    /// [`MalformedPreamble`]: size, encoding or an unknown suite.
    pub fn decode(bytes: &[u8]) -> Result<Self, MalformedPreamble> {
        let preamble: Self = codec::decode(bytes, MAX_PREAMBLE).map_err(|_| MalformedPreamble)?;
        if preamble.suite != SUITE || preamble.ciphertext.len() != CIPHERTEXT_LEN {
            return Err(MalformedPreamble);
        }
        Ok(preamble)
    }

    /// The bytes that ride on envelopes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The device that initiates; its keys stand in the roster of [`Preamble::binding`]'s statement.
    pub fn initiator(&self) -> &DeviceKeyHash {
        &self.initiator
    }

    /// The device that it is meant for.
    pub fn responder(&self) -> &DeviceKeyHash {
        &self.responder
    }

    /// The last-resort pair used.
    pub fn last_resort(&self) -> &PrekeyId {
        &self.last_resort
    }

    /// The one-time pair used, if any.
    pub fn one_time(&self) -> Option<&PrekeyId> {
        self.one_time.as_ref()
    }

    /// Conversation, statement and generation.
    pub fn binding(&self) -> &Binding {
        &self.binding
    }

    /// The session that it begins.
    pub fn session(&self) -> SessionId {
        session_id(&self.transcript())
    }

    /// Its replay mark.
    pub fn initiation(&self) -> InitiationId {
        InitiationId(kdf::hash(labels::INITIATION, &[self.last_resort.as_bytes(), &self.ephemeral]))
    }

    /// Verifies the initiator's signature over T. Works even when the prekeys are gone, as evidence for a reset (§9.8).
    ///
    /// # Errors
    /// [`BadSignature`]: wrong signature, or `initiator` is not the device that the preamble names.
    pub fn verify(&self, initiator: &DevicePublic) -> Result<VerifiedPreamble<'_>, BadSignature> {
        if initiator.hash() != self.initiator {
            return Err(BadSignature);
        }
        let transcript = self.transcript();
        initiator.verify_key().verify(labels::PREAMBLE, &transcript, &self.signature)?;
        Ok(VerifiedPreamble { preamble: self, initiator: *initiator, transcript })
    }

    /// T.
    fn transcript(&self) -> [u8; 32] {
        kdf::hash(
            labels::TRANSCRIPT,
            &[
                &[self.suite],
                self.initiator.as_bytes(),
                self.responder.as_bytes(),
                self.last_resort.as_bytes(),
                self.one_time.as_ref().map_or(&[][..], |id| id.as_bytes()),
                &self.ephemeral,
                &self.ciphertext,
                self.binding.conversation.as_bytes(),
                self.binding.statement.as_bytes(),
                &self.binding.generation.to_be_bytes(),
            ],
        )
    }
}

/// A preamble whose signature verified under the initiator's key.
#[derive(Clone, Debug)]
pub struct VerifiedPreamble<'a> {
    preamble: &'a Preamble,
    initiator: DevicePublic,
    transcript: [u8; 32],
}

impl VerifiedPreamble<'_> {
    /// The preamble.
    pub fn get(&self) -> &Preamble {
        self.preamble
    }

    /// The initiator's keys.
    pub fn initiator(&self) -> &DevicePublic {
        &self.initiator
    }
}

fn session_id(transcript: &[u8; 32]) -> SessionId {
    let hash = kdf::hash(labels::SESSION, &[transcript]);
    let mut id = [0; SessionId::LEN];
    id.copy_from_slice(&hash[..SessionId::LEN]);
    SessionId(id)
}

/// What both sides derive.
pub(crate) struct SessionKeys {
    pub(crate) session: SessionId,
    pub(crate) root: Secret<32>,
    pub(crate) initiator_header: Secret<32>,
    pub(crate) responder_header: Secret<32>,
}

/// `HKDF(salt 0, ikm 0xFF^32 | dh.. | ss0, "pqxdh" | T)`.
fn session_keys(transcript: &[u8; 32], shared: &[&Secret<32>]) -> SessionKeys {
    let mut ikm: Vec<&[u8]> = Vec::with_capacity(6);
    ikm.push(&[0xFF; 32]);
    ikm.extend(shared.iter().map(|s| &s.expose()[..]));
    let keys: Secret<96> = kdf::derive(&[], &ikm, labels::PQXDH, &[transcript]);
    SessionKeys {
        session: session_id(transcript),
        root: keys.part::<32, 0>(),
        initiator_header: keys.part::<32, 32>(),
        responder_header: keys.part::<32, 64>(),
    }
}

/// The initiator's half.
///
/// # Errors
/// [`LowOrder`]: a key of the bundle is of low order; at fault: the bundle's device.
pub(crate) fn initiate(
    me: &DeviceSecret,
    bundle: &VerifiedBundle,
    binding: Binding,
    rng: &mut dyn CryptoRng,
) -> Result<(SessionKeys, Preamble), LowOrder> {
    let ephemeral = DhSecret::generate(rng);
    let last_resort = &bundle.last_resort;
    let dh1 = me.agreement().agree(&last_resort.x)?;
    let dh2 = ephemeral.agree(&bundle.device.x)?;
    let dh3 = ephemeral.agree(&last_resort.x)?;
    let dh4 = bundle.one_time.as_ref().map(|one_time| ephemeral.agree(&one_time.x)).transpose()?;
    let (ciphertext, ss0) = bundle.one_time.as_ref().unwrap_or(last_resort).kem.encapsulate(rng);

    let mut preamble = Preamble {
        suite: SUITE,
        initiator: me.hash(),
        responder: bundle.device.hash(),
        last_resort: last_resort.id(),
        one_time: bundle.one_time.as_ref().map(|p| p.id()),
        ephemeral: *ephemeral.public(),
        ciphertext: ciphertext[..].into(),
        binding,
        signature: [0; SIGNATURE_LEN],
    };
    let transcript = preamble.transcript();
    preamble.signature = me.sign(labels::PREAMBLE, &transcript);
    let mut shared = alloc::vec![&dh1, &dh2, &dh3];
    shared.extend(&dh4);
    shared.push(&ss0);
    Ok((session_keys(&transcript, &shared), preamble))
}

/// Why a handshake cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RespondError {
    /// The preamble names another responder, or the given prekeys are not the ones that it names.
    NoPrekey,
    /// The initiator's keys are of low order.
    Protocol,
}

impl From<LowOrder> for RespondError {
    fn from(_: LowOrder) -> Self {
        Self::Protocol
    }
}

/// The responder's half.
pub(crate) fn respond(
    me: &DeviceSecret,
    verified: &VerifiedPreamble<'_>,
    last_resort: &PrekeySecret,
    one_time: Option<&PrekeySecret>,
) -> Result<SessionKeys, RespondError> {
    let preamble = verified.preamble;
    let named = preamble.responder == me.hash()
        && last_resort.kind() == PrekeyKind::LastResort
        && last_resort.id() == preamble.last_resort
        && one_time.is_none_or(|p| p.kind() == PrekeyKind::OneTime)
        && one_time.map(PrekeySecret::id) == preamble.one_time;
    if !named {
        return Err(RespondError::NoPrekey);
    }
    let dh1 = last_resort.x.agree(&verified.initiator.x)?;
    let dh2 = me.agreement().agree(&preamble.ephemeral)?;
    let dh3 = last_resort.x.agree(&preamble.ephemeral)?;
    let dh4 = one_time.map(|p| p.x.agree(&preamble.ephemeral)).transpose()?;
    let ciphertext = preamble.ciphertext[..].try_into().map_err(|_| RespondError::Protocol)?;
    let ss0 = one_time.unwrap_or(last_resort).kem.decapsulate(ciphertext);

    let mut shared = alloc::vec![&dh1, &dh2, &dh3];
    shared.extend(&dh4);
    shared.push(&ss0);
    Ok(session_keys(&verified.transcript, &shared))
}

/// What an attacker of the tests computes by the same equations.
#[cfg(test)]
pub(crate) fn session_keys_for_tests(verified: &VerifiedPreamble<'_>, shared: &[&Secret<32>]) -> SessionKeys {
    session_keys(&verified.transcript, shared)
}

#[cfg(test)]
impl Preamble {
    pub(crate) fn ciphertext_for_tests(&self) -> [u8; CIPHERTEXT_LEN] {
        self.ciphertext[..].try_into().unwrap()
    }
}

#[cfg(test)]
mod tests;
