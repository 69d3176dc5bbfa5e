//! Versioned records: a leading version byte, and a chain of steps that lead old versions up to the current one.

use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::{Corrupt, Kind};

/// A stored structure.
pub(crate) trait Record: Serialize + DeserializeOwned {
    /// Its kind.
    const KIND: Kind;
    /// The version that this program writes, from 1.
    const VERSION: u8 = 1;

    /// Turns the body of version `from` into the body of version `from + 1`; none when it is damaged.
    fn migrate(from: u8, body: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let _ = (from, body);
        None
    }
}

/// `version | postcard`.
pub(crate) fn encode<R: Record>(record: &R) -> Zeroizing<Vec<u8>> {
    // Encoding into memory fails only for sequences of unknown length, which no record has; nothing would be refused when
    // read.
    encode_onto(&[R::VERSION], record).unwrap_or_default()
}

/// What a step of [`Record::migrate`] answers: the body of the next version.
pub(crate) fn body<T: Serialize>(record: &T) -> Option<Zeroizing<Vec<u8>>> {
    encode_onto(&[], record)
}

/// Into a buffer of exactly the size: one that grows leaves half-filled ones with secrets behind.
fn encode_onto<T: Serialize>(head: &[u8], record: &T) -> Option<Zeroizing<Vec<u8>>> {
    let size = postcard::serialize_with_flavor(record, postcard::ser_flavors::Size::default()).ok()?;
    let mut out = Vec::with_capacity(head.len() + size);
    out.extend_from_slice(head);
    postcard::to_extend(record, out).ok().map(Zeroizing::new)
}

/// Reads any version up to the current one.
pub(crate) fn decode<R: Record>(bytes: &[u8]) -> Result<R, Corrupt> {
    let damaged = Corrupt::Record(R::KIND as u8);
    let (&version, body) = bytes.split_first().ok_or(damaged)?;
    if version > R::VERSION {
        return Err(Corrupt::Newer(R::KIND as u8));
    }
    if version == 0 {
        return Err(damaged);
    }
    let mut body = Zeroizing::new(body.to_vec());
    for from in version..R::VERSION {
        body = R::migrate(from, &body).ok_or(damaged)?;
    }
    match postcard::take_from_bytes(&body) {
        Ok((record, [])) => Ok(record),
        _ => Err(damaged),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// A record that changed twice: v1 had a text, v2 split a number off, v3 added a flag.
    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Sample {
        name: String,
        number: u32,
        flag: bool,
    }

    #[derive(Serialize, Deserialize)]
    struct V1 {
        text: String,
    }

    #[derive(Serialize, Deserialize)]
    struct V2 {
        name: String,
        number: u32,
    }

    impl Record for Sample {
        const KIND: Kind = Kind::Meta;
        const VERSION: u8 = 3;

        fn migrate(from: u8, body: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
            let next = match from {
                1 => {
                    let V1 { text } = postcard::from_bytes(body).ok()?;
                    let (name, number) = text.split_once('#')?;
                    postcard::to_allocvec(&V2 { name: name.into(), number: number.parse().ok()? }).ok()?
                }
                2 => {
                    let V2 { name, number } = postcard::from_bytes(body).ok()?;
                    postcard::to_allocvec(&(name, number, number > 4)).ok()?
                }
                _ => return None,
            };
            Some(Zeroizing::new(next))
        }
    }

    #[test]
    fn stored_samples_of_every_version_are_read() {
        let v1 = [&[1u8, 6][..], b"desk#7"].concat();
        let v2 = [&[2u8, 4][..], b"desk", &[7]].concat();
        let v3 = [&[3u8, 4][..], b"desk", &[7, 1]].concat();
        let current = Sample { name: "desk".into(), number: 7, flag: true };
        for stored in [&v1, &v2, &v3] {
            assert_eq!(decode::<Sample>(stored).unwrap(), current);
        }
        assert_eq!(*encode(&current), v3);
    }

    /// A buffer that grew would be larger than its content, and its smaller halves would be freed with secrets in them.
    #[test]
    fn encoding_never_grows_its_buffer() {
        for length in [0, 1, 127, 128, 4_090, 4_097, 70_000, 300_000] {
            let sample = Sample { name: "x".repeat(length), number: 7, flag: true };
            let encoded = encode(&sample);
            assert_eq!(encoded.len(), encoded.capacity(), "{length}");
        }
    }

    #[test]
    fn newer_damaged_and_trailing_bytes_are_refused() {
        let damaged = Err(Corrupt::Record(1));
        assert_eq!(decode::<Sample>(&[4, 0]), Err(Corrupt::Newer(1)));
        assert_eq!(decode::<Sample>(&[]), damaged);
        assert_eq!(decode::<Sample>(&[0, 4]), damaged);
        assert_eq!(decode::<Sample>(&[1, 6, b'd']), damaged);
        assert_eq!(decode::<Sample>(&[&[3u8, 4][..], b"desk", &[7, 1, 0]].concat()), damaged);
    }
}
