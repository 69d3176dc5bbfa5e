//! What a mailbox holds, and whose part it is.

use super::*;

pub(super) async fn quotas<S: Store>(open: &impl Fn(&str) -> S) {
    let store = open("quotas");
    for id in 0..8 {
        store.append(item(BOX, id, b"x")).await.unwrap();
    }
    let full = store.append(item(BOX, 8, b"x")).await;
    assert_eq!(full, Err(StoreError::MailboxFull { limit: Limit::Items }));
    assert!(store.append(item(BOX, 0, b"x")).await.is_ok(), "a repetition is no new item");
    store.ack(BOX, 1).await.unwrap();
    assert!(store.append(item(BOX, 8, b"x")).await.is_ok(), "an ack makes room");
    let other = MailboxId([7; 16]);
    store.append(item(other, 1, &[0; 450])).await.unwrap();
    store.append(item(other, 3, &[0; 450])).await.unwrap();
    drop(store);

    let store = open("quotas");
    let full = store.append(item(other, 2, &[0; 101])).await;
    assert_eq!(full, Err(StoreError::MailboxFull { limit: Limit::Bytes }), "counted again after reopening");
    assert!(store.append(item(other, 2, &[0; 100])).await.is_ok());
}

fn room(statements: u64, bytes: u64, message: u64) -> Room {
    Room { statements, bytes, message }
}

/// One sender fills its part and leaves the rest to others; what the relay stores has a reserve.
pub(super) async fn shares<S: Store>(open: &impl Fn(&str) -> S) {
    let full = |limit| Err(StoreError::MailboxFull { limit });
    let store = open("shares");
    for id in 0..5 {
        store.append(from(1, id, b"x")).await.unwrap();
    }
    assert_eq!(store.append(from(1, 5, b"x")).await, full(Limit::ShareItems));
    store.append(from(2, 6, &[0; 400])).await.unwrap();
    let large = store.append(from(2, 7, &[0; 201])).await;
    assert_eq!(large, full(Limit::ShareBytes));
    drop(store);

    let store = open("shares");
    assert_eq!(store.append(from(1, 5, b"x")).await, full(Limit::ShareItems), "reopened");
    assert!(
        store.has_room(BOX, room(1, 0, 595)).await.unwrap()
            && !store.has_room(BOX, room(1, 0, 596)).await.unwrap()
    );
    store.append(from(3, 8, b"x")).await.unwrap();
    store.append(from(4, 9, b"x")).await.unwrap();
    assert!(!store.has_room(BOX, room(1, 0, 1)).await.unwrap());
    assert_eq!(store.append(from(5, 10, b"x")).await, full(Limit::Items));
    store.append(of(Part::Reserved, 11, &[0; 700])).await.unwrap();
    assert_eq!(
        store.append(of(Part::Reserved, 12, b"x")).await,
        full(Limit::Items),
        "the reserve has an end"
    );
    store.ack(BOX, 2).await.unwrap();
    store.append(from(1, 5, b"x")).await.unwrap_err();
    store.ack(BOX, 6).await.unwrap();
    store.append(from(1, 5, b"x")).await.unwrap();
}

/// What strangers sign has one part, and what each of them sends a small one.
pub(super) async fn parts<S: Store>(open: &impl Fn(&str) -> S) {
    let full = |limit| Err(StoreError::MailboxFull { limit });
    let numbered = |part, n: u16| {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        Append { id, ..of(part, 0, b"x") }
    };
    // What a device sent in an accepted conversation takes nothing of its small part in another one, nor the other way round.
    let store = open("parts:one");
    let device = DeviceSecret::generate(&mut rand_core::UnwrapErr(getrandom::SysRng)).hash();
    for n in 0..16 {
        store.append(numbered(Part::Of(device), n)).await.unwrap();
    }
    for n in 16..18 {
        store.append(numbered(Part::Stranger(device), n)).await.unwrap();
    }
    for part in [Part::Of(device), Part::Stranger(device)] {
        assert_eq!(store.append(numbered(part, 18)).await, full(Limit::ShareItems));
    }
    let store = open("parts:strangers");
    assert!(store.has_room(BOX, room(10, 0, 1)).await.unwrap());
    assert!(!store.has_room(BOX, room(11, 0, 1)).await.unwrap(), "not for all of its statements");
    let most = PARTS.bytes / 32;
    let (fits, above) = (room(1, most, 1), room(1, most + 1, 1));
    assert_eq!((store.has_room(BOX, fits).await, store.has_room(BOX, above).await), (Ok(true), Ok(false)));
    for n in 0..10 {
        assert!(store.has_room(BOX, room(1, 0, 1)).await.unwrap());
        store.append(numbered(Part::Beginning, n)).await.unwrap();
    }
    assert_eq!(store.append(numbered(Part::Beginning, 10)).await, full(Limit::ShareItems));
    assert!(!store.has_room(BOX, room(1, 0, 1)).await.unwrap(), "nothing more begins");
    for n in 10..20 {
        store.append(numbered(Part::Ending, n)).await.unwrap();
    }
    drop(store);
    let store = open("parts:strangers");
    assert_eq!(store.append(numbered(Part::Ending, 20)).await, full(Limit::ShareItems));
    for n in 20..22 {
        store.append(numbered(Part::Stranger(DEVICE), n)).await.unwrap();
    }
    assert_eq!(store.append(numbered(Part::Stranger(DEVICE), 22)).await, full(Limit::ShareItems));
    for n in 22..36 {
        store.append(numbered(Part::Of(DEVICE), n)).await.unwrap();
    }
    assert_eq!(store.append(numbered(Part::Of(DEVICE), 36)).await, full(Limit::ShareItems), "one part");
    store.ack(BOX, 1).await.unwrap();
    store.append(numbered(Part::Ending, 20)).await.unwrap();

    let store = open("parts:full");
    for n in 0..320 {
        let device = DeviceKeyHash([u8::try_from(n / 16).unwrap(); 32]);
        store.append(numbered(Part::Of(device), n)).await.unwrap();
    }
    assert_eq!(store.append(numbered(Part::Beginning, 320)).await, full(Limit::Items));
    store.append(numbered(Part::Ending, 321)).await.unwrap();
    store.append(numbered(Part::Reserved, 322)).await.unwrap();
}
