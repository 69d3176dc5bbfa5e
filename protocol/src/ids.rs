//! Identifiers: fixed-size byte strings and bounded handles, all public.
//!
//! Each id is a type of its own, so that a session id cannot stand where a mailbox id is meant.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Defines a public identifier of `$len` bytes: serialised as raw bytes of fixed length, shown as hex,
/// shortened in `Debug` (the first four bytes) so that logs stay short.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The bytes.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = IdError;
            fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
                Ok(Self(bytes.try_into().map_err(|_| IdError::Length { expected: $len, got: bytes.len() })?))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "("))?;
                write_hex(f, &self.0[..4])?;
                f.write_str("..)")
            }
        }

        /// The whole id in lower-case hex.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut out = [0u8; $len];
                read_hex(text, &mut out)?;
                Ok(Self(out))
            }
        }
    };
}

id!(/** The organisation for ever: labelled hash of its first root key (§3). */ RootHash, 32);
id!(/** `SHA-256("device" | Ed25519 | X25519)`; a renewed certificate does not change it (§3.2). */ DeviceKeyHash, 32);
id!(/** `H(root, customer device key, 16 random bytes)` (§3). */ ConversationId, 32);
id!(/** SHA-256 of a certificate's exact signed bytes. */ CertificateId, 32);
id!(/** Hash of a prekey pair's two public keys (§3). */ PrekeyId, 32);
id!(/** Labelled hash of a statement's exact signed bytes (§7). */ StatementHash, 32);
id!(/** Hash of a roster in its epoch (§7). */ RosterHash, 32);
id!(/** SHA-256 of a privacy notice's exact text (§7). */ NoticeHash, 32);
id!(/** Running hash over one sender's contents (§8). */ HeadHash, 32);
id!(/** Labelled hash of a device key: the one mailbox of that device (§3.2). */ MailboxId, 16);
id!(/** 16 random bytes for each envelope (§6). */ EnvelopeId, 16);
id!(/** `H("sid" | T)[..16]` (§4). */ SessionId, 16);
id!(/** 16 random bytes for each attachment (§8). */ BlobId, 16);

/// Why text or bytes are no id. At fault: whoever supplied them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Wrong number of bytes.
    #[error("an id of {expected} bytes was expected, {got} were given")]
    Length {
        /// What the type holds.
        expected: usize,
        /// What was given.
        got: usize,
    },
    /// A character that is not hexadecimal.
    #[error("an id is written in hexadecimal digits only")]
    Hex,
    /// Not of the form of a [`Handle`].
    #[error(
        "a handle is 1 to 32 characters of a-z, 0-9, '.', '_' and '-', and starts with a letter or digit"
    )]
    Handle,
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
}

fn read_hex(text: &str, out: &mut [u8]) -> Result<(), IdError> {
    let digits = text.as_bytes();
    if digits.len() != out.len() * 2 {
        return Err(IdError::Length { expected: out.len(), got: digits.len() / 2 });
    }
    let nibble = |c: u8| char::from(c).to_digit(16).map(|d| d as u8).ok_or(IdError::Hex);
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Ok(())
}

/// A short public name chosen by an administrator: agent id, team id or topic id.
///
/// `[a-z0-9][a-z0-9._-]{0,31}`, checked on construction and on decoding.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Handle(alloc::string::String);

impl Handle {
    /// Longest handle in bytes.
    pub const MAX: usize = 32;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Handle {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let well_formed = bytes.len() <= Self::MAX
            && bytes.first().is_some_and(|&b| alnum(b))
            && bytes.iter().all(|&b| alnum(b) || matches!(b, b'.' | b'_' | b'-'));
        if well_formed { Ok(Self(text.into())) } else { Err(IdError::Handle) }
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = alloc::string::String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn hex_round_trip_and_refusals() {
        let id = BlobId([0xab; 16]);
        assert_eq!(id.to_string().parse::<BlobId>(), Ok(id));
        assert_eq!("ab".parse::<BlobId>(), Err(IdError::Length { expected: 16, got: 1 }));
        assert_eq!("zz".repeat(16).parse::<BlobId>(), Err(IdError::Hex));
        assert_eq!("+f".repeat(16).parse::<BlobId>(), Err(IdError::Hex));
        assert_eq!(alloc::format!("{id:?}"), "BlobId(abababab..)");
    }

    #[test]
    fn handles_are_bounded_and_plain() {
        for good in ["a", "mira", "9-lives", "sales.eu_1", &"x".repeat(32)] {
            assert!(good.parse::<Handle>().is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "Mira", "a b", "é", "a\u{202e}", &"x".repeat(33)] {
            assert_eq!(bad.parse::<Handle>(), Err(IdError::Handle), "{bad}");
        }
        // Decoding checks too: a peer cannot smuggle a malformed handle in.
        let raw = postcard::to_allocvec("Mira").unwrap();
        assert!(postcard::from_bytes::<Handle>(&raw).is_err());
    }
}
