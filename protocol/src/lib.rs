//! Sealdesk's protocol: keys, handshake, ratchet, signed statements and frames, without any I/O (docs/protocol.md).
//!
//! ```text
//! ids            identifiers
//! secret         bytes that are wiped on drop and never shown
//! crypto         primitives, keys, certificates, prekeys, handshake, ratchet
//! session        one session between two devices: handshake and ratchet together
//! attachment     files, sealed in chunks
//! fingerprint    the safety number that people compare
//! conversation   roster, statements and their rules, consent, content, padding
//! org            org.json: what a client pins
//! generation     a device's signed word for its vault's generation
//! names          what a name may not hold
//! enrolment      invitation and request of an agent's device
//! wire           the relay's frames and the envelope
//! ```
//!
//! Time and randomness are passed in; nothing here touches a socket, a clock, a disk or a thread.

#![no_std]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(any(test, feature = "testing"))]
extern crate std;

pub mod attachment;
pub mod conversation;
pub mod crypto;
pub mod enrolment;
pub mod fingerprint;
pub mod generation;
pub mod ids;
pub mod names;
pub mod org;
pub mod secret;
pub mod session;
pub mod wire;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
