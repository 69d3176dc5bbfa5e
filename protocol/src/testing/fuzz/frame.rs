//! Frames of both directions, and contents.

use alloc::string::String;
use alloc::vec::Vec;

use super::Sink;
use crate::conversation::content::{Content, Kind};
use crate::wire::{FrameError, MAX_FRAME, ToClient, ToRelay};

/// Any bytes as a frame of either direction, and as a content.
///
/// # Panics
/// When what decodes does not encode to the same again, or a cap or a number is not respected.
pub fn frame(data: &[u8]) {
    match ToRelay::decode(data) {
        Ok(frame) => {
            let bytes = frame.encode().unwrap();
            assert!(bytes.len() <= data.len(), "the encoding is the shortest");
            assert_eq!(bytes[0], data[0], "the number stays");
            assert_eq!(ToRelay::decode(&bytes).unwrap(), frame);
        }
        Err(error) => refused(data, error, ToRelay::NUMBERS),
    }
    match ToClient::decode(data) {
        Ok(frame) => {
            let bytes = frame.encode().unwrap();
            assert!(bytes.len() <= data.len(), "the encoding is the shortest");
            assert_eq!(ToClient::decode(&bytes).unwrap(), frame);
        }
        Err(error) => refused(data, error, ToClient::NUMBERS),
    }
    content(data);
}

fn refused(data: &[u8], error: FrameError, numbers: &[(u8, &str)]) {
    let known = data.first().is_some_and(|n| numbers.iter().any(|(number, _)| number == n));
    match error {
        FrameError::Empty => assert!(data.is_empty()),
        FrameError::TooLarge(len) => assert!(len == data.len() && len > MAX_FRAME),
        FrameError::Unknown(number) => assert!(number == data[0] && !known),
        FrameError::Malformed(number) => assert!(number == data[0] && known),
    }
}

fn content(data: &[u8]) {
    let Ok(content) = Content::decode(data) else { return };
    assert_eq!((content.counter == 0), !Kind::is_counted(content.kind));
    if let Ok(bytes) = content.encode() {
        assert_eq!(Content::decode(&bytes).unwrap(), content);
    }
    if let Ok(kind) = content.kind() {
        assert_eq!(kind.number(), content.kind);
        if !matches!(kind, Kind::Unknown(_)) {
            let (number, body) = kind.encode();
            assert_eq!(Kind::decode(number, &body).unwrap(), kind);
        }
    }
}

pub(super) fn seeds(golden: &str, sink: Sink<'_>) {
    // A line is `direction number name hex`; the hex holds the number as well.
    for line in golden.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [direction @ ("to_relay" | "to_client"), number, name, hex] = fields[..] {
            sink(alloc::format!("{direction}-{number}-{}", name.replace('/', "-")), unhex(hex));
        }
    }
    let text = Kind::Text(crate::conversation::content::Text(String::from("Hello")));
    let content = Content::new(1, 1_800_000_000_000, Vec::new(), &text);
    sink(String::from("content-text"), content.encode().unwrap());
    sink(String::from("empty"), Vec::new());
    sink(String::from("unknown-number"), alloc::vec![0xff, 0]);
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).unwrap_or_default() as u8;
    text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
