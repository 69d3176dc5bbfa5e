use super::*;

const EPOCH: u64 = 7;

fn group(n: u8) -> Layer {
    Layer::from([
        (vec![b'k', n], Some(Bytes::from(vec![n; 700]))),
        (vec![b'k', n.wrapping_sub(1)], None),
        (b"same".to_vec(), Some(Bytes::from(vec![n]))),
    ])
}

fn begin(folder: &Path) -> (Layer, Journal) {
    let found = read(folder, EPOCH).unwrap();
    (found.layer.clone(), found.begin(folder, EPOCH).unwrap())
}

fn held(layer: &Layer) -> Vec<u8> {
    layer.iter().filter(|(key, value)| key[0] == b'k' && value.is_some()).map(|(key, _)| key[1]).collect()
}

#[test]
fn groups_come_back_in_order_over_turns_and_openings() {
    let folder = tempfile::tempdir().unwrap();
    let (layer, mut journal) = begin(folder.path());
    assert!(layer.is_empty());
    for n in 1..=3 {
        journal.append(&group(n)).unwrap();
    }
    journal.turn().unwrap();
    journal.append(&group(4)).unwrap();
    drop(journal);
    let (layer, mut journal) = begin(folder.path());
    assert_eq!(held(&layer), [4], "the newest write of each key");
    assert_eq!(layer[&b"same"[..]], Some(Bytes::from(vec![4])));
    assert_eq!(layer.get(&b"k\x03"[..]), Some(&None), "a removal is remembered: sled may hold the key");
    // Both files were begun anew: what they held is in sled by now.
    journal.append(&group(9)).unwrap();
    let (layer, _) = begin(folder.path());
    assert_eq!(held(&layer), [9]);
    let (layer, _) = begin(folder.path());
    assert!(layer.is_empty());
}

#[test]
fn groups_of_an_earlier_turn_are_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut journal) = begin(folder.path());
    for n in 1..=5 {
        journal.append(&group(n)).unwrap();
    }
    journal.turn().unwrap();
    journal.turn().unwrap();
    journal.append(&group(9)).unwrap();
    drop(journal);
    let (layer, _) = begin(folder.path());
    assert_eq!(held(&layer), [9], "two to five lie behind it in the same file");
}

/// A stranger's message may hold whatever passes for groups elsewhere: of this journal, of other turns, whole or not.
#[test]
fn what_strangers_send_never_passes_for_a_group() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut journal) = begin(folder.path());
    let forged = |token: &Token| {
        let mut group = Vec::new();
        encode(&Layer::from([(b"kF".to_vec(), Some(Bytes::from_static(b"forged")))]), token, &mut group)
            .unwrap();
        (0..ALIGN).flat_map(|phase| [vec![0; phase], group.clone()].concat()).collect::<Vec<u8>>()
    };
    // All that is not secret: the number of the turn in which they will lie there, nothing, anything.
    let tokens = [[0; TOKEN], [7; TOKEN], u128::from(journal.number + 2).to_be_bytes()];
    let message: Vec<u8> = tokens.iter().flat_map(forged).collect();
    for _ in 0..2 {
        journal.append(&Layer::from([(b"message".to_vec(), Some(message.clone().into()))])).unwrap();
        journal.append(&group(1)).unwrap();
        journal.turn().unwrap();
    }
    journal.append(&group(5)).unwrap();
    drop(journal);
    let layer = read(folder.path(), EPOCH).unwrap().layer;
    assert_eq!(held(&layer), [1, 5]);
    // What two turns ago was written there lies behind the last group.
    let file = std::fs::read(path(folder.path(), 0)).unwrap();
    let end = &message[message.len() / 2..];
    assert!(file.windows(end.len()).any(|bytes| bytes == end));
}

#[test]
fn an_item_removed_in_a_later_group_stays_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut journal) = begin(folder.path());
    let item = vec![crate::store::sled::keys::prefix::ITEM, 1];
    journal.append(&Layer::from([(item.clone(), Some(Bytes::from_static(b"text")))])).unwrap();
    journal.turn().unwrap();
    journal.append(&Layer::from([(item.clone(), None)])).unwrap();
    let layer = read(folder.path(), EPOCH).unwrap().layer;
    assert_eq!(layer.get(&item), Some(&None), "sled may hold it");
}

#[test]
fn a_torn_end_is_dropped_and_a_hole_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut journal) = begin(folder.path());
    let mut ends = Vec::new();
    for n in 1..=3 {
        journal.append(&group(n)).unwrap();
        ends.push(usize::try_from(journal.length()).unwrap());
    }
    drop(journal);
    let written = path(folder.path(), 0);
    let whole = std::fs::read(&written).unwrap();
    // Any byte of the last group, or its end missing: the groups before it stand.
    for cut in [ends[1] + 1, ends[1] + 600, ends[2] - ALIGN] {
        std::fs::write(&written, &whole[..cut]).unwrap();
        assert_eq!(held(&read(folder.path(), EPOCH).unwrap().layer), [2], "cut at {cut}");
    }
    for bent in [ends[1], ends[1] + 5, ends[1] + 9, ends[1] + 700] {
        let mut bytes = whole.clone();
        bytes[bent] ^= 1;
        std::fs::write(&written, &bytes).unwrap();
        assert_eq!(held(&read(folder.path(), EPOCH).unwrap().layer), [2], "bent at {bent}");
    }
    // A group in the middle: what follows it was acknowledged.
    for bent in [ends[0], ends[0] + 5, ends[0] + 9, ends[0] + 700] {
        let mut bytes = whole.clone();
        bytes[bent] ^= 1;
        std::fs::write(&written, &bytes).unwrap();
        let found = read(folder.path(), EPOCH);
        assert!(matches!(found, Err(JournalError::Damaged(_))), "bent at {bent}");
    }
}

#[test]
fn a_bent_header_or_anothers_journal_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut journal) = begin(folder.path());
    journal.append(&group(1)).unwrap();
    drop(journal);
    assert!(matches!(read(folder.path(), EPOCH + 1), Err(JournalError::Foreign(_))));
    let written = path(folder.path(), 0);
    let whole = std::fs::read(&written).unwrap();
    for bent in 0..HEADER + 4 {
        let mut bytes = whole.clone();
        bytes[bent] ^= 1;
        std::fs::write(&written, &bytes).unwrap();
        assert!(matches!(read(folder.path(), EPOCH), Err(JournalError::Damaged(_))), "byte {bent}");
    }
}
