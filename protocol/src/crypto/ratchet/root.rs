//! The root step: one X25519 and one ML-KEM-768 secret go into each chain (§5).
//!
//! ```text
//! RK', CK, NHK, EPH = HKDF(salt = RK, ikm = dh | ss, "root-step" | sid | hash("target", cp, tgt.x, tgt.ek)) -> 128 B
//! ```

use super::chain::ChainKey;
use super::header::HeaderKey;
use crate::crypto::kem::KEY_LEN;
use crate::crypto::{kdf, labels};
use crate::ids::SessionId;
use crate::secret::Secret;

/// What a chain begins with.
pub(super) struct Step {
    pub(super) root: Secret<32>,
    pub(super) chain: ChainKey,
    pub(super) next_header: HeaderKey,
    pub(super) ephemeral: Secret<32>,
}

/// The keys that a chain is opened towards: they belong to its receiver.
pub(super) struct Target<'a> {
    pub(super) x: &'a [u8; 32],
    pub(super) kem: &'a [u8; KEY_LEN],
}

/// One step; `part` is the opened chain part `x | ek | ct` of the chain's sender.
pub(super) fn step(
    root: &Secret<32>,
    session: &SessionId,
    dh: &Secret<32>,
    shared: &Secret<32>,
    part: &[u8],
    target: &Target<'_>,
) -> Step {
    let context = kdf::hash(labels::TARGET, &[part, target.x, target.kem]);
    let keys: Secret<128> = kdf::derive(
        root.expose(),
        &[dh.expose(), shared.expose()],
        labels::RATCHET_ROOT,
        &[session.as_bytes(), &context],
    );
    Step {
        root: keys.part::<32, 0>(),
        chain: ChainKey::new(keys.part::<32, 32>()),
        next_header: HeaderKey::new(keys.part::<32, 64>()),
        ephemeral: keys.part::<32, 96>(),
    }
}
