//! The peer of the ratchet: Olm as vodozemac implements it (X25519 double ratchet, AES-CBC with HMAC; no
//! post-quantum part, no padding, no encrypted headers).

use std::hint::black_box;

use vodozemac::olm::{Account, OlmMessage, Session, SessionConfig};
use vodozemac::{Curve25519PublicKey, Ed25519PublicKey, Ed25519Signature};

use crate::error::Error;

pub(crate) const NAME: &str = "vodozemac 0.11 (Olm)";

/// Two devices whose session has seen a message each way, so that no message carries prekeys.
#[derive(Debug)]
pub(crate) struct Pair {
    alice: Session,
    bob: Session,
}

impl Pair {
    pub(crate) fn new() -> Result<Pair, Error> {
        let alice = Account::new();
        let mut bob = Account::new();
        let bundle = Bundle::publish(&mut bob, 1).pop().ok_or(Error::peer("no one-time key"))?;
        let (mut alice, mut bob) = establish(&alice, &mut bob, &bundle, b"hello")?;
        let answer = bob.encrypt(b"hello").map_err(Error::peer)?;
        alice.decrypt(&answer).map_err(Error::peer)?;
        let mut pair = Pair { alice, bob };
        pair.one_way(b"settled")?;
        Ok(pair)
    }

    /// Alice encrypts, Bob decrypts; no ratchet step.
    pub(crate) fn one_way(&mut self, text: &[u8]) -> Result<(), Error> {
        pass(&mut self.alice, &mut self.bob, text)
    }

    /// Each side sends once: a ratchet step each way.
    pub(crate) fn round_trip(&mut self, text: &[u8]) -> Result<(), Error> {
        pass(&mut self.alice, &mut self.bob, text)?;
        pass(&mut self.bob, &mut self.alice, text)
    }

    /// Bytes of one message in the middle of a chain.
    pub(crate) fn message_bytes(&mut self, text: &[u8]) -> Result<usize, Error> {
        let message = self.alice.encrypt(text).map_err(Error::peer)?;
        self.bob.decrypt(&message).map_err(Error::peer)?;
        Ok(message.to_parts().1.len())
    }
}

fn pass(from: &mut Session, to: &mut Session, text: &[u8]) -> Result<(), Error> {
    let message = from.encrypt(text).map_err(Error::peer)?;
    let (kind, bytes) = message.to_parts();
    let received = OlmMessage::from_parts(kind, &bytes).map_err(Error::peer)?;
    black_box(to.decrypt(&received).map_err(Error::peer)?);
    Ok(())
}

/// What one device publishes for another to begin a session: its keys and a signed one-time key, as Matrix has it.
#[derive(Debug)]
pub(crate) struct Bundle {
    identity: Curve25519PublicKey,
    signing: Ed25519PublicKey,
    one_time: Curve25519PublicKey,
    signature: Ed25519Signature,
}

impl Bundle {
    pub(crate) fn publish(account: &mut Account, count: usize) -> Vec<Bundle> {
        account.generate_one_time_keys(count);
        let bundles = account
            .one_time_keys()
            .values()
            .map(|key| Bundle {
                identity: account.curve25519_key(),
                signing: account.ed25519_key(),
                one_time: *key,
                signature: account.sign(key.as_bytes()),
            })
            .collect();
        account.mark_keys_as_published();
        bundles
    }
}

/// Checks the bundle, begins a session, sends the first text; the other side accepts and reads it.
pub(crate) fn establish(
    alice: &Account,
    bob: &mut Account,
    bundle: &Bundle,
    text: &[u8],
) -> Result<(Session, Session), Error> {
    bundle.signing.verify(bundle.one_time.as_bytes(), &bundle.signature).map_err(Error::peer)?;
    let mut ours = alice
        .create_outbound_session(SessionConfig::version_1(), bundle.identity, bundle.one_time)
        .map_err(Error::peer)?;
    let (kind, bytes) = ours.encrypt(text).map_err(Error::peer)?.to_parts();
    let OlmMessage::PreKey(first) = OlmMessage::from_parts(kind, &bytes).map_err(Error::peer)? else {
        return Err(Error::peer("the first message carries no prekeys"));
    };
    let theirs = bob
        .create_inbound_session(SessionConfig::version_1(), alice.curve25519_key(), &first)
        .map_err(Error::peer)?;
    black_box(&theirs.plaintext);
    Ok((ours, theirs.session))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_does_what_it_is_timed_for() {
        let mut pair = Pair::new().expect("pair");
        pair.one_way(&[7; 256]).expect("one way");
        pair.round_trip(&[7; 256]).expect("round trip");
        assert!(pair.message_bytes(&[7; 200]).expect("message") >= 200);
    }

    #[test]
    fn a_bundle_with_a_foreign_signature_is_refused() {
        let alice = Account::new();
        let mut bob = Account::new();
        let mut bundle = Bundle::publish(&mut bob, 1).pop().expect("bundle");
        bundle.signature = Account::new().sign(b"other");
        assert!(establish(&alice, &mut bob, &bundle, b"x").is_err());
    }
}
