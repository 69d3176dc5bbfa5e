//! Bodies of the fuzz targets: plain functions over bytes, so that a test replays every corpus file on stable Rust.
//!
//! ```text
//! frame         what decodes encodes again to the same; nothing above the cap decodes
//! envelope      no altered envelope of a real session opens, and none changes the session
//! certificate   of chains, revocations, org.json and statements only the genuine verifies; what an issuer or a
//!               customer signs carelessly keeps its invariants
//! handshake     no altered preamble, prekey or first message begins a session
//! attachment    chunks come back as sealed; altered, moved or relabelled ones never open
//! stored_state  damaged state is refused or loads to something that neither panics nor changes on failure
//! ```
//!
//! The first byte of an input chooses the case, the rest feeds it. Altering goes by a script ([`edit`]), so that inputs
//! stay near to what is genuine. Each body panics when its property fails.
#![expect(clippy::unwrap_used, reason = "a fuzz body reports by panicking")]

use alloc::vec::Vec;

use serde::ser::{Serialize, SerializeTuple, Serializer};

mod attachment;
mod certificate;
mod envelope;
mod frame;
mod handshake;
mod stored_state;
mod world;

pub use attachment::attachment;
pub use certificate::certificate;
pub use envelope::envelope;
pub use frame::frame;
pub use handshake::handshake;
pub use stored_state::stored_state;

/// A fuzz body.
pub type Body = fn(&[u8]);

/// Every target by its name, which is also the name of its corpus folder.
pub const TARGETS: &[(&str, Body)] = &[
    ("frame", frame),
    ("envelope", envelope),
    ("certificate", certificate),
    ("handshake", handshake),
    ("attachment", attachment),
    ("stored_state", stored_state),
];

/// Inputs to begin with, made from golden vectors and real runs: target, name, bytes.
pub fn seeds(golden_frames: &str) -> Vec<(&'static str, alloc::string::String, Vec<u8>)> {
    let mut out = Vec::new();
    frame::seeds(golden_frames, &mut |name, bytes| out.push(("frame", name, bytes)));
    envelope::seeds(&mut |name, bytes| out.push(("envelope", name, bytes)));
    certificate::seeds(&mut |name, bytes| out.push(("certificate", name, bytes)));
    handshake::seeds(&mut |name, bytes| out.push(("handshake", name, bytes)));
    attachment::seeds(&mut |name, bytes| out.push(("attachment", name, bytes)));
    stored_state::seeds(&mut |name, bytes| out.push(("stored_state", name, bytes)));
    out
}

/// Takes a seed: its name and its bytes.
type Sink<'a> = &'a mut dyn FnMut(alloc::string::String, Vec<u8>);

/// Alters `original` by a script of 4-byte steps: what to do, where (2 bytes, little-endian), a byte.
fn edit(original: &[u8], script: &[u8]) -> Vec<u8> {
    let mut out = original.to_vec();
    for step in script.chunks_exact(4) {
        let at = usize::from(u16::from_le_bytes([step[1], step[2]])) % (out.len() + 1);
        match (step[0] % 5, out.get_mut(at)) {
            (0, Some(byte)) => *byte ^= step[3],
            (1, Some(byte)) => *byte = step[3],
            (2, Some(_)) => drop(out.remove(at)),
            (3, _) => out.insert(at, step[3]),
            (4, _) => out.truncate(at),
            _ => {}
        }
    }
    out
}

/// Splits an input into its first byte and the rest.
fn case(data: &[u8]) -> Option<(u8, &[u8])> {
    data.split_first().map(|(case, rest)| (*case, rest))
}

/// Serialises to exactly these bytes: to sign a body that no honest program would make.
struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}
