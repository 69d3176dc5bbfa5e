//! Golden vectors of every frame, and what the codec refuses (§12).
//!
//! `SEALDESK_WRITE_VECTORS=1 cargo test -p sealdesk-protocol --test frames` writes `tests/vectors/frames.hex` anew. A
//! difference in a frame that exists is a break of the wire format; only lines for new frames may be added.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sealdesk_protocol::crypto::identity::{DeviceSecret, SignedBytes};
use sealdesk_protocol::crypto::labels;
use sealdesk_protocol::crypto::prekeys::{PrekeyBundle, PrekeyKind, PrekeySecret, SignedPrekey};
use sealdesk_protocol::generation::SignedGeneration;
use sealdesk_protocol::ids::*;
use sealdesk_protocol::testing::{TestOrg, handle, rng};
use sealdesk_protocol::wire::*;

const NOW: u64 = 1_800_000_000_000;
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/frames.hex");

fn prekey(device: &DeviceSecret, kind: PrekeyKind, seed: u64) -> SignedPrekey {
    PrekeySecret::generate(kind, NOW, NOW + 1, &mut rng(seed)).publish(device)
}

fn signed(device: &DeviceSecret) -> SignedBytes {
    SignedBytes::sign(labels::STATEMENT, &(1u8, 2u8), device)
}

fn generation(device: &DeviceSecret) -> SignedGeneration {
    SignedGeneration::sign("relay.test", device, 300)
}

fn to_relay() -> Vec<ToRelay> {
    let device = DeviceSecret::generate(&mut rng(1));
    let chain = TestOrg::new(1, NOW).agent_chain("mira", "Mira", device.public());
    let conversation = ConversationId([2; 32]);
    let message = Addressed { to: MailboxId([3; 16]), envelope: vec![4; 5] };
    vec![
        ToRelay::Authenticate(Authenticate {
            protocol: 1,
            party: Party::Agent(chain),
            device: device.public(),
            vault: generation(&device),
            signature: [5; 64],
        }),
        Ping { nonce: 6 }.into(),
        PublishPrekeys {
            req: 7,
            last_resort: Some(prekey(&device, PrekeyKind::LastResort, 2)),
            one_time: vec![prekey(&device, PrekeyKind::OneTime, 3)],
        }
        .into(),
        FetchPrekeys { req: 8, conversation, device: device.hash() }.into(),
        FetchCertificate { req: 17, conversation, device: device.hash() }.into(),
        RequestAssignment {
            req: 9,
            conversation,
            topic: handle("general"),
            language: "de-AT".into(),
            consent: signed(&device),
        }
        .into(),
        PostStatement { req: 10, conversation, statement: signed(&device), envelopes: vec![message.clone()] }
            .into(),
        SetAvailability { req: 11, available: true, capacity: 200 }.into(),
        Claim { req: 12, conversation }.into(),
        ToRelay::Send(Send { req: 13, conversation, message: message.clone() }),
        SendEphemeral { conversation, message }.into(),
        Ack { up_to: Position { store_epoch: 1, seq: 1 << 40 }, vault: Some(generation(&device)) }.into(),
        BlobCreate { req: 14, conversation, blob: BlobId([6; 16]), length: 1 << 30, token_hash: [7; 32] }
            .into(),
        BlobWrite { req: 15, blob: BlobId([6; 16]), offset: 32 * 1024, bytes: vec![8; 3] }.into(),
        BlobRead { req: 16, blob: BlobId([6; 16]), token: [9; 32], offset: 0, length: 32 * 1024 + 16 }.into(),
    ]
}

fn to_client() -> Vec<ToClient> {
    let device = DeviceSecret::generate(&mut rng(1));
    let mut org = TestOrg::new(1, NOW);
    let agent = org.agent_chain("mira", "Mira", device.public());
    org.revoke(3, NOW, vec![]);
    let revocations = org.revocations.clone();
    let conversation = ConversationId([2; 32]);
    let bundle = PrekeyBundle {
        last_resort: prekey(&device, PrekeyKind::LastResort, 2),
        one_time: Some(prekey(&device, PrekeyKind::OneTime, 3)),
    };
    let position = Position { store_epoch: 0, seq: 1 };
    let statement = StatementItem {
        statement: signed(&device),
        agent: Some(agent.clone()),
        consent: Some(signed(&device)),
    };
    vec![
        Challenge { protocol: 1, relay: "relay.test".into(), nonce: [3; 32], time: NOW }.into(),
        Welcome {
            mailbox: device.public().mailbox(),
            store_epoch: 1,
            vault: Some(generation(&device)),
            one_time_left: 25,
            last_resort: Some(PrekeyId([4; 32])),
            revocations: revocations.clone(),
            limits: Limits { attachment: 100 << 20, mailbox_ttl: 30 * 86_400_000 },
            time: NOW,
        }
        .into(),
        Goodbye { reason: Reason::Replaced }.into(),
        ToClient::Error(Error { req: Some(5), code: Code::RateLimited, retry_after: Some(1500) }),
        Done { req: 6 }.into(),
        Pong { nonce: 7 }.into(),
        PrekeyCount { req: None, one_time_left: 24 }.into(),
        Prekeys { req: 8, bundle: bundle.clone() }.into(),
        Revocations { list: revocations.unwrap() }.into(),
        Certificate { req: 13, chain: agent.clone() }.into(),
        Unaccepted { conversation }.into(),
        Queued { req: Some(9), conversation, claim: true }.into(),
        Assignment { req: Some(10), conversation, epoch: 1, agent, bundle, online: true }.into(),
        Waiting {
            entries: vec![WaitingEntry {
                conversation,
                topic: handle("general"),
                language: "ar".into(),
                since: NOW,
            }],
        }
        .into(),
        Deliver { position, item: Item::Statement(statement) }.into(),
        Ephemeral { envelope: vec![5; 6] }.into(),
        BlobStatus { req: 11, blob: BlobId([6; 16]), stored: 32 * 1024, complete: false }.into(),
        BlobBytes { req: 12, blob: BlobId([6; 16]), offset: 0, total: 3, bytes: vec![7; 3] }.into(),
    ]
}

/// `table number name hex`, one line a frame.
fn lines() -> Vec<(String, Vec<u8>)> {
    let ours =
        to_relay().into_iter().map(|f| (format!("to_relay {:#04x} {}", f.number(), f.name()), f.encode()));
    let theirs =
        to_client().into_iter().map(|f| (format!("to_client {:#04x} {}", f.number(), f.name()), f.encode()));
    let envelope = Deliver { position: Position::default(), item: Item::Envelope(vec![1; 4]) };
    let item = ToClient::from(envelope).encode();
    let codes = Code::ALL.iter().map(|c| (format!("code {}", c.as_str()), postcard::to_allocvec(c).unwrap()));
    ours.chain(theirs)
        .map(|(name, bytes)| (name, bytes.unwrap()))
        .chain([("to_client 0x30 Deliver/Envelope".to_string(), item.unwrap())])
        .chain(codes)
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, b| {
        write!(out, "{b:02x}").unwrap();
        out
    })
}

#[test]
fn every_frame_has_its_golden_vector() {
    let now: String = lines().iter().map(|(name, bytes)| format!("{name} {}\n", hex(bytes))).collect();
    if std::env::var_os("SEALDESK_WRITE_VECTORS").is_some() {
        std::fs::write(PATH, &now).unwrap();
    }
    let golden = std::fs::read_to_string(PATH).unwrap();
    for (ours, theirs) in now.lines().zip(golden.lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(now.lines().count(), golden.lines().count());
}

#[test]
fn every_number_of_both_tables_has_a_vector_and_stands_once() {
    let covered: BTreeSet<u8> = to_relay().iter().map(ToRelay::number).collect();
    let table: BTreeSet<u8> = ToRelay::NUMBERS.iter().map(|(n, _)| *n).collect();
    assert_eq!((covered.len(), &covered), (ToRelay::NUMBERS.len(), &table));
    let covered: BTreeSet<u8> = to_client().iter().map(ToClient::number).collect();
    let table: BTreeSet<u8> = ToClient::NUMBERS.iter().map(|(n, _)| *n).collect();
    assert_eq!((covered.len(), &covered), (ToClient::NUMBERS.len(), &table));
}

#[test]
fn frames_round_trip() {
    for frame in to_relay() {
        assert_eq!(ToRelay::decode(&frame.encode().unwrap()), Ok(frame));
    }
    for frame in to_client() {
        assert_eq!(ToClient::decode(&frame.encode().unwrap()), Ok(frame));
    }
}

#[test]
fn empty_unknown_truncated_trailing_and_oversized_frames_are_refused() {
    assert_eq!(ToRelay::decode(&[]), Err(FrameError::Empty));
    assert_eq!(ToRelay::decode(&[0xff, 1]), Err(FrameError::Unknown(0xff)));
    assert_eq!(ToRelay::decode(&vec![2; MAX_FRAME + 1]), Err(FrameError::TooLarge(MAX_FRAME + 1)));
    for frame in to_relay() {
        let bytes = frame.encode().unwrap();
        let trailing = [bytes.as_slice(), &[0]].concat();
        assert_eq!(ToRelay::decode(&trailing), Err(FrameError::Malformed(frame.number())));
        for cut in 1..bytes.len() {
            assert!(ToRelay::decode(&bytes[..cut]).is_err(), "{} cut to {cut}", frame.name());
        }
    }
    for frame in to_client() {
        let bytes = frame.encode().unwrap();
        assert!(ToClient::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
        for cut in 1..bytes.len() {
            assert!(ToClient::decode(&bytes[..cut]).is_err(), "{} cut to {cut}", frame.name());
        }
    }
    let huge = BlobWrite { req: 1, blob: BlobId([0; 16]), offset: 0, bytes: vec![0; MAX_FRAME] };
    assert!(matches!(ToRelay::from(huge).encode(), Err(FrameError::TooLarge(_))));
    let announced = [&[0x41u8, 1][..], &[0; 16], &[0], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0; 8]].concat();
    assert_eq!(ToRelay::decode(&announced), Err(FrameError::Malformed(0x41)), "a length that is not there");
}

#[test]
fn the_largest_legal_bodies_fit_into_a_frame() {
    let device = DeviceSecret::generate(&mut rng(1));
    let one = prekey(&device, PrekeyKind::OneTime, 2);
    let upload =
        PublishPrekeys { req: u32::MAX, last_resort: Some(one.clone()), one_time: vec![one; MAX_PREKEYS] };
    assert!(ToRelay::from(upload).encode().is_ok());
    let chunk =
        BlobWrite { req: u32::MAX, blob: BlobId([0; 16]), offset: u64::MAX, bytes: vec![0; MAX_BLOB_CHUNK] };
    assert!(ToRelay::from(chunk).encode().is_ok());
}

#[test]
fn codes_say_who_is_at_fault_and_what_to_do() {
    let names: BTreeSet<&str> = Code::ALL.iter().map(|c| c.as_str()).collect();
    assert_eq!(names.len(), Code::ALL.len(), "names are distinct");
    for (code, number) in Code::ALL.iter().zip(0u8..) {
        assert!(code.hint().ends_with('.') && code.hint().len() > 20, "{code:?}");
        assert_eq!(postcard::to_allocvec(code).unwrap(), [number], "numbers are fixed");
    }
}

#[test]
fn a_refusal_of_a_newer_relay_is_still_a_refusal() {
    let known = u8::try_from(Code::ALL.len()).unwrap();
    for number in [known, known + 1, 127] {
        let frame = [&[0x04u8, 1, 5, number][..], &[0]].concat();
        let refused = ToClient::Error(Error { req: Some(5), code: Code::Unknown, retry_after: None });
        assert_eq!(ToClient::decode(&frame), Ok(refused), "{number}");
    }
}

/// Whoever knows an attachment's token may read it.
#[test]
fn a_capability_never_shows_in_debug() {
    let read = BlobRead { req: 1, blob: BlobId([1; 16]), token: [0xab; 32], offset: 0, length: 9 };
    let shown = format!("{read:?} {:?}", ToRelay::from(read.clone()));
    assert!(!shown.contains("171") && !shown.contains("ab, ab") && !shown.contains("abab"), "{shown}");
}
