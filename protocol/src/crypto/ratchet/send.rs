//! Sending (§5: `encrypt`, `turn_send`).

use alloc::boxed::Box;
use alloc::vec::Vec;

use rand_core::CryptoRng;

use super::chain::{ChainHash, ChainPart};
use super::header::SmallHeader;
use super::root::{self, Target};
use super::{OwnKeys, Ratchet, Sending, Turn, body_aad};
use crate::conversation::padding;
use crate::crypto::aead;
use crate::crypto::dh::{DhSecret, LowOrder};
use crate::crypto::kem::KemSecret;
use crate::ids::RosterHash;

/// The encrypted parts of an envelope.
pub(crate) struct Sealed {
    pub(crate) chain: Box<[u8]>,
    pub(crate) nonce: [u8; 24],
    pub(crate) header: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// Why nothing was encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealRefused {
    /// Longer than the largest bucket.
    TooLong(usize),
    /// A responder before the first message, or ephemeral before the first chain.
    NoChain,
    /// 2^32 messages in one chain, or a peer key of low order.
    Exhausted,
}

impl From<padding::TooLong> for SealRefused {
    fn from(error: padding::TooLong) -> Self {
        Self::TooLong(error.0)
    }
}

impl From<LowOrder> for SealRefused {
    fn from(_: LowOrder) -> Self {
        Self::Exhausted
    }
}

impl Ratchet {
    /// Seals `content` in the sending chain. Nothing changes on an error.
    pub(crate) fn encrypt(
        &mut self,
        clear: &[u8],
        epoch: u32,
        roster: RosterHash,
        content: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<Sealed, SealRefused> {
        let padded = padding::pad(content, aead::TAG_LEN)?;
        self.turn_send(rng)?;
        let Turn::Theirs { sending: Some(sending), .. } = &mut self.turn else {
            return Err(SealRefused::NoChain);
        };
        let number = sending.number;
        let next_number = number.checked_add(1).ok_or(SealRefused::Exhausted)?;
        let (message, next) = sending.chain.step();
        let mut nonce = [0; 24];
        rng.fill_bytes(&mut nonce);
        let header = SmallHeader { chain: sending.hash, previous: sending.previous, number, epoch, roster }
            .seal(&sending.header, &nonce, clear);
        let body = message.seal(&nonce, &body_aad(clear, &nonce, &header), padded);
        sending.chain = next;
        sending.number = next_number;
        Ok(Sealed { chain: sending.part.clone(), nonce, header, body })
    }

    /// `turn_send`, if it is our turn: fresh keys, one exchange and one encapsulation towards the peer's.
    fn turn_send(&mut self, rng: &mut dyn CryptoRng) -> Result<(), LowOrder> {
        let Turn::Mine { peer, sent } = &self.turn else { return Ok(()) };
        let (peer, sent) = (&**peer, *sent);
        let me = Box::new(OwnKeys { x: DhSecret::generate(rng), kem: KemSecret::generate(rng) });
        let dh = me.x.agree(&peer.x)?;
        let (ciphertext, shared) = peer.kem.encapsulate(rng);
        let part = ChainPart::new(me.x.public(), me.kem.public(), &ciphertext);
        let target = Target { x: &peer.x, kem: peer.kem.as_bytes() };
        let step = root::step(&self.root, &self.session, &dh, &shared, part.as_bytes(), &target);

        let header = core::mem::replace(&mut self.next_send, step.next_header);
        let sealed = part.seal(&header, &self.session, rng);
        let hash = ChainHash::of(&sealed);
        let sending = Sending { header, chain: step.chain, number: 0, previous: sent, part: sealed, hash };
        self.root = step.root;
        self.ephemeral.send = Some(step.ephemeral);
        self.turn = Turn::Theirs { me, sending: Some(sending) };
        Ok(())
    }

    /// Seals an ephemeral content: no chain, no counter, nothing to store (§5).
    pub(crate) fn encrypt_ephemeral(
        &self,
        clear: &[u8],
        content: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<([u8; 24], Vec<u8>), SealRefused> {
        let key = self.ephemeral.send.as_ref().ok_or(SealRefused::NoChain)?;
        if content.len() >= padding::BUCKETS[0] {
            return Err(SealRefused::TooLong(content.len()));
        }
        let mut nonce = [0; 24];
        rng.fill_bytes(&mut nonce);
        Ok((nonce, aead::seal_x(key, &nonce, clear, padding::pad(content, aead::TAG_LEN)?)))
    }
}
