//! Attachments: chunks come back, altered ones never open.

use alloc::string::String;
use alloc::vec::Vec;

use super::{Sink, edit};
use crate::attachment::{AttachmentKey, CHUNK_LEN, CiphertextHash, Layout, MAX_LENGTH};

/// Four bytes of length, one that picks a chunk, one that picks what is done to it, then a script of alterations.
///
/// # Panics
/// When a chunk does not come back, or an altered, moved or relabelled one opens.
pub fn attachment(data: &[u8]) {
    let [a, b, c, d, pick, how, script @ ..] = data else { return };
    let raw = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
    borders(raw << (how % 32));
    let length = raw % (3 * CHUNK_LEN as u64 + 7);
    let layout = Layout::of(length).unwrap();
    let key = AttachmentKey::from_bytes(&[*pick; 32]);
    let index = u64::from(*pick) % layout.chunks();
    let content: Vec<u8> = (0..layout.content_length(index).unwrap())
        .map(|i| (i as u8) ^ script.first().unwrap_or(&0))
        .collect();
    let sealed = key.seal(&layout, index, &content).unwrap();
    assert_eq!(sealed.len(), layout.sealed_length(index).unwrap());
    assert_eq!(key.open(&layout, index, &sealed).unwrap(), content);

    let bent = edit(&sealed, script);
    if bent != sealed {
        assert!(key.open(&layout, index, &bent).is_err(), "an altered chunk opened");
        let mut hash = CiphertextHash::new();
        hash.update(&sealed);
        let (digest, length) = hash.finish();
        let mut hash = CiphertextHash::new();
        hash.update(&bent);
        assert!(hash.check(&digest, length).is_err(), "an altered ciphertext has the same hash");
    }
    for other in (0..layout.chunks() + 1).filter(|i| *i != index) {
        assert!(key.open(&layout, other, &sealed).is_err(), "a moved chunk opened");
    }
    for relabelled in [length + 1, length.saturating_sub(1), length + CHUNK_LEN as u64] {
        let other = Layout::of(relabelled).unwrap();
        if other != layout {
            assert!(key.open(&other, index, &sealed).is_err(), "a chunk opened under another length");
        }
    }
    let other = AttachmentKey::from_bytes(&[pick.wrapping_add(1); 32]);
    assert!(other.open(&layout, index, &sealed).is_err(), "a chunk opened under another key");
}

/// Layouts of any length add up or are refused.
fn borders(length: u64) {
    let Ok(layout) = Layout::of(length) else {
        assert!(length > MAX_LENGTH);
        return;
    };
    let last = layout.chunks() - 1;
    let end = layout.offset(last) + layout.sealed_length(last).unwrap() as u64;
    assert_eq!(end, layout.ciphertext_length());
    assert!(layout.ciphertext_length() >= length);
    assert!(layout.sealed_length(last + 1).is_err() && layout.content_length(last + 1).is_err());
}

pub(super) fn seeds(sink: Sink<'_>) {
    for length in [0u32, 1, 1023, 1024, 1025, 32_767, 32_768, 32_769, 65_536, 98_304] {
        let seed = |tail: &[u8]| [&length.to_le_bytes()[..], tail].concat();
        sink(alloc::format!("whole-{length}"), seed(&[0, 0]));
        sink(alloc::format!("flip-{length}"), seed(&[2, 7, 0, 5, 0, 1]));
        sink(alloc::format!("cut-{length}"), seed(&[1, 9, 4, 200, 3, 0]));
    }
    sink(String::from("huge"), [&[255; 4][..], &[1, 31]].concat());
}
