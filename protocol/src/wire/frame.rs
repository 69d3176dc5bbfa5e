//! The frame codec and the macro that builds a frame table.

use alloc::vec::Vec;

use serde::{Serialize, de::DeserializeOwned};

/// Version spoken by this crate; both sides name theirs in the first frames.
pub const PROTOCOL_VERSION: u16 = 1;

/// Largest frame in bytes, number included.
pub const MAX_FRAME: usize = 64 * 1024;

/// Why bytes are no frame. At fault: the sender of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No byte at all.
    #[error("an empty frame was received")]
    Empty,
    /// Above [`MAX_FRAME`].
    #[error("a frame of {0} bytes is above the limit of {MAX_FRAME}")]
    TooLarge(usize),
    /// A number that this version does not know.
    #[error("frame number {0:#04x} is unknown to this version")]
    Unknown(u8),
    /// The body does not decode, or bytes are left over.
    #[error("the body of frame {0:#04x} is malformed")]
    Malformed(u8),
}

/// Number and body to bytes. The only failure is a frame above [`MAX_FRAME`].
pub(crate) fn encode<T: Serialize>(number: u8, body: &T) -> Result<Vec<u8>, FrameError> {
    let mut out = Vec::with_capacity(256);
    out.push(number);
    let out = postcard::to_extend(body, out).map_err(|_| FrameError::Malformed(number))?;
    if out.len() > MAX_FRAME { Err(FrameError::TooLarge(out.len())) } else { Ok(out) }
}

/// Splits a frame into number and body after the size check.
pub(crate) fn split(bytes: &[u8]) -> Result<(u8, &[u8]), FrameError> {
    if bytes.len() > MAX_FRAME {
        return Err(FrameError::TooLarge(bytes.len()));
    }
    bytes.split_first().map(|(number, body)| (*number, body)).ok_or(FrameError::Empty)
}

/// Decodes a whole body: trailing bytes are an error.
pub(crate) fn body<T: DeserializeOwned>(number: u8, bytes: &[u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(FrameError::Malformed(number)),
    }
}

/// Builds a frame enum from one table of `number Name`; each body is the struct of the same name.
macro_rules! frames {
    ($(#[$doc:meta])* $table:ident { $($number:literal $name:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        #[expect(missing_docs, reason = "each variant is documented at the struct of its name")]
        pub enum $table { $($name($name),)+ }

        impl $table {
            /// Every number of the table with its name, in order.
            pub const NUMBERS: &'static [(u8, &'static str)] = &[$(($number, stringify!($name)),)+];

            /// The frame's fixed number.
            pub fn number(&self) -> u8 {
                match self { $(Self::$name(_) => $number,)+ }
            }

            /// The frame's name, for logs and metrics.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name),)+ }
            }

            /// Number and body.
            ///
            /// # Errors
            /// [`FrameError::TooLarge`](super::FrameError) when the body does not fit into one frame.
            pub fn encode(&self) -> Result<alloc::vec::Vec<u8>, super::FrameError> {
                match self { $(Self::$name(body) => super::frame::encode($number, body),)+ }
            }

            /// Bytes of one WebSocket message to a frame.
            ///
            /// # Errors
            /// [`FrameError`](super::FrameError): the sender is at fault.
            pub fn decode(bytes: &[u8]) -> Result<Self, super::FrameError> {
                let (number, body) = super::frame::split(bytes)?;
                match number {
                    $($number => Ok(Self::$name(super::frame::body(number, body)?)),)+
                    other => Err(super::FrameError::Unknown(other)),
                }
            }
        }

        $(impl From<$name> for $table {
            fn from(body: $name) -> Self { Self::$name(body) }
        })+
    };
}
pub(crate) use frames;
