//! Contents: kinds, limits, frozen bytes and running heads (§8).

use sealdesk_protocol::conversation::content::*;
use sealdesk_protocol::conversation::{Content, Head, Kind, MessageId};
use sealdesk_protocol::ids::*;

fn every_kind() -> Vec<Kind> {
    let attachment = Attachment {
        blob: BlobId([1; 16]),
        token: [2; 32],
        key: [3; 32],
        ciphertext_hash: [4; 32],
        ciphertext_length: 5,
        length: 4,
        media_type: "image/png".into(),
        name: "رسم.png".into(),
    };
    let id = MessageId { device: DeviceKeyHash([5; 32]), counter: 1 };
    vec![
        Kind::Text(Text("مرحبا 你好 🙂".into())),
        Kind::Attachment(attachment),
        Kind::Receipt(()),
        Kind::FormAnswers(vec![FormAnswer { field: "order".into(), value: "1234".into() }]),
        Kind::Profile(ProfileSignature { profile: [6; 32], signature: [7; 64] }),
        Kind::Rating((5, Text("fast".into()))),
        Kind::Edit(Edit { target: 1, text: "better".into() }),
        Kind::Delete(1),
        Kind::Reaction(Reaction { target: id, emoji: "👍".into() }),
        Kind::StaleEpoch(StaleEpoch { counter: 1, current: StatementHash([8; 32]) }),
        Kind::Typing(true),
        Kind::Presence(false),
        Kind::Read(9),
    ]
}

#[test]
fn every_kind_round_trips_and_keeps_its_number() {
    for (kind, number) in every_kind().into_iter().zip(1u16..) {
        assert_eq!(kind.number(), number, "numbers are fixed");
        let content = Content::new(3, 1, vec![], &kind);
        assert_eq!(content.counter, if Kind::is_counted(number) { 3 } else { 0 });
        let again = Content::decode(&content.encode().unwrap()).unwrap();
        assert_eq!(again, content);
        assert_eq!(again.kind(), Ok(kind));
    }
}

#[test]
fn nothing_written_shows_in_debug() {
    for kind in every_kind() {
        let shown = format!("{kind:?} {:?}", Content::new(3, 1, vec![], &kind));
        for secret in ["مرحبا", "رسم", "1234", "fast", "better", "[2, 2", "[3, 3"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn heads_are_bounded_and_name_each_device_once() {
    let head = |n: u8, counter| Head { device: DeviceKeyHash([n; 32]), counter, hash: HeadHash([0; 32]) };
    let decoded = |heads: Vec<Head>| {
        let content = Content::new(1, 1, heads, &Kind::Delete(1));
        Content::decode(&postcard::to_allocvec(&content).unwrap()).map(|_| ())
    };
    let most = u8::try_from(MAX_HEADS).unwrap();
    assert_eq!(decoded((0..most).map(|n| head(n, 1)).collect()), Ok(()));
    assert_eq!(decoded((0..=most).map(|n| head(n, 1)).collect()), Err(ContentError::TooLarge));
    assert_eq!(decoded(vec![head(1, 1), head(2, 1), head(1, 2)]), Err(ContentError::Malformed));
}

#[test]
fn unknown_kinds_are_kept_and_trailing_bytes_are_not() {
    assert_eq!(Kind::decode(999, b"anything"), Ok(Kind::Unknown(999)));
    assert!(Kind::is_counted(999), "receipted, so that the sender is not left waiting");
    let (number, mut body) = Kind::Text(Text("x".into())).encode();
    body.push(0);
    assert_eq!(Kind::decode(number, &body), Err(ContentError::Malformed));
    let mut bytes = Content::new(1, 1, vec![], &Kind::Delete(1)).encode().unwrap();
    bytes.push(0);
    assert_eq!(Content::decode(&bytes), Err(ContentError::Malformed));
}

#[test]
fn counters_fit_their_kinds() {
    let mut content = Content::new(1, 1, vec![], &Kind::Text(Text("x".into())));
    content.counter = 0;
    assert_eq!(Content::decode(&content.encode().unwrap()), Err(ContentError::Counter));
    let mut receipt = Content::new(1, 1, vec![], &Kind::Receipt(()));
    receipt.counter = 1;
    assert_eq!(Content::decode(&receipt.encode().unwrap()), Err(ContentError::Counter));
}

#[test]
fn limits_hold_when_decoded() {
    let refused = |kind: Kind| {
        let (number, body) = kind.encode();
        assert_eq!(Kind::decode(number, &body), Err(ContentError::Malformed));
    };
    refused(Kind::Text(Text("x".repeat(MAX_TEXT + 1))));
    refused(Kind::Rating((0, Text(String::new()))));
    refused(Kind::Rating((6, Text(String::new()))));
    refused(Kind::Reaction(Reaction {
        target: MessageId { device: DeviceKeyHash([5; 32]), counter: 1 },
        emoji: "👍".repeat(17),
    }));
    refused(Kind::FormAnswers(vec![FormAnswer { field: String::new(), value: String::new() }; 65]));
    let head = Head { device: DeviceKeyHash([1; 32]), counter: 1, hash: HeadHash([0; 32]) };
    let crowded = Content::new(1, 1, vec![head; MAX_HEADS + 1], &Kind::Delete(1));
    assert_eq!(Content::decode(&crowded.encode().unwrap()), Err(ContentError::TooLarge));
    let long = Content::new(1, 1, vec![], &Kind::Text(Text("x".repeat(60_000))));
    assert_eq!(long.encode(), Err(ContentError::TooLarge));
    let longest = Content::new(1, 1, vec![head; MAX_HEADS], &Kind::Text(Text("x".repeat(MAX_TEXT))));
    assert!(longest.encode().is_ok(), "the longest text fits with the most heads");
}

#[test]
fn heads_bind_conversation_sender_order_and_content() {
    let (a, b) = (ConversationId([1; 32]), ConversationId([2; 32]));
    let (x, y) = (DeviceKeyHash([3; 32]), DeviceKeyHash([4; 32]));
    let start = first_head(&a, &x);
    assert_ne!(start, first_head(&b, &x));
    assert_ne!(start, first_head(&a, &y));
    let one = next_head(&start, 1, b"one");
    assert_ne!(one, next_head(&start, 2, b"one"));
    assert_ne!(one, next_head(&start, 1, b"two"));
    assert_ne!(next_head(&one, 2, b"two"), next_head(&next_head(&start, 1, b"two"), 2, b"one"));
}
