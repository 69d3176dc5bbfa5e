//! Keys and what is done with them, one small file for each kind (docs/protocol.md §2 to §5).
//!
//! ```text
//! labels      every label of the protocol, in one table
//! codec       postcard with a cap, trailing bytes refused
//! kdf         SHA-256, HMAC, HKDF over labelled, length-prefixed parts
//! aead        ChaCha20-Poly1305 and XChaCha20-Poly1305
//! dh          X25519, all-zero outputs refused
//! kem         ML-KEM-768 behind a small trait
//! identity    signing keys, device keys, signed bytes
//! certificate root -> issuer -> agent device
//! edition     what of two things that issuers signed is newer
//! prekeys     signed prekey pairs and their bundle
//! handshake   hybrid PQXDH: preamble, initiate, respond
//! ratchet     hybrid double ratchet with header encryption
//! ```

pub mod aead;
pub mod certificate;
pub(crate) mod codec;
pub mod dh;
pub mod edition;
pub mod handshake;
pub mod identity;
pub mod kdf;
pub mod kem;
pub mod labels;
pub mod prekeys;
pub(crate) mod ratchet;
pub use codec::StoredError;

#[cfg(test)]
mod vectors;
