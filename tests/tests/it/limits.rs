//! Limits: sizes, rates, quotas, slow consumers, connection caps, time-outs. Each refusal says so and harms nobody else.

use std::net::IpAddr;

use sealdesk_protocol::wire::{Code, FetchPrekeys, MAX_FRAME, MAX_PREKEYS, Ping, Reason, ToClient};
use sealdesk_tests::company::Company;
use sealdesk_tests::connection::Connection;
use sealdesk_tests::device::Device;
use sealdesk_tests::pair::Pair;
use sealdesk_tests::relay::{Door, Relay};
use sealdesk_tests::talk::{Side, Wish};
use sealdesk_tests::{until, within};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

#[tokio::test]
async fn hostile_bytes_end_only_the_connection_that_sent_them() {
    let mut company = Company::new(41);
    let relay = Relay::start(&company, |_| {}).await;
    let Pair { mut customer, mut agent } = Pair::meet(&mut company, &relay, "mira").await;
    let cases: [(Message, Code); 5] = [
        (Message::Binary(vec![0x30; MAX_FRAME + 1].into()), Code::TooLarge),
        (Message::Binary(vec![0x30; 100].into()), Code::Malformed),
        (Message::Binary(Vec::new().into()), Code::Malformed),
        (Message::Binary([&[0x02, 7][..], b"trailing"].concat().into()), Code::Malformed),
        (Message::Text("hello".into()), Code::Malformed),
    ];
    for (n, (message, code)) in cases.into_iter().enumerate() {
        let mut hostile = Device::new().connect(&relay).await;
        hostile.send_message(message).await;
        assert_eq!(hostile.error().await, code, "case {n}");
        assert_eq!(hostile.farewell().await.0, Some(Reason::Violation), "case {n}");
    }
    // A frame of a later version is said to be unknown, and the connection lives on.
    let mut newer = Device::new().connect(&relay).await;
    newer.send_bytes(vec![0xee, 1, 2]).await;
    assert_eq!(newer.error().await, Code::Unsupported);
    newer.settle().await;
    customer.say("meanwhile").await.unwrap();
    assert_eq!(agent.hear().await, "meanwhile");
}

/// Every single byte of a frame number, with a body of noise: never a crash, always an answer.
#[tokio::test]
async fn no_frame_number_with_noise_brings_the_relay_down() {
    let company = Company::new(42);
    let relay = Relay::start(&company, |_| {}).await;
    for number in 0..=255u8 {
        let mut hostile = Device::new().connect(&relay).await;
        let noise: Vec<u8> = (0..64).map(|n: u8| n.wrapping_mul(37) ^ number).collect();
        hostile.send_bytes([&[number][..], &noise].concat()).await;
        hostile.send(Ping { nonce: 9 }).await;
        let answered = loop {
            match hostile.next().await {
                Some(ToClient::Error(_) | ToClient::Pong(_)) => break true,
                Some(_) => {}
                None => break false,
            }
        };
        // An Ack or ephemeral frame has no answer; then the ping has one.
        assert!(answered, "number {number:#04x}");
    }
    assert!(relay.admin("/healthz").await.contains("200 OK"));
}

#[tokio::test]
async fn too_many_frames_are_refused_by_number_and_later_taken() {
    let mut company = Company::new(43);
    let relay = Relay::start(&company, |raw| raw.limits.frames_per_second = 5).await;
    let mut agent = company.agent("mira");
    let mut desk = agent.on_duty(&relay, 5).await;
    let device = Device::new();
    let mut connection = device.connect(&relay).await;
    let mut side = Side::open(&company, &device, &mut connection).await.unwrap();
    let sealed: Vec<_> = (0..40).map(|n| side.seal(format!("{n}").as_bytes())).collect();
    // All at once: one after the other they might be slower than the limit.
    let mut requests = Vec::new();
    for frame in &sealed {
        requests.push(connection.begin(frame.clone()).await);
    }
    let mut refused = Vec::new();
    for (n, request) in requests.into_iter().enumerate() {
        if let Err(code) = connection.answer(request).await {
            assert_eq!(code, Code::RateLimited);
            refused.push(n);
        }
    }
    assert!(!refused.is_empty() && refused.len() < 40, "{refused:?}");
    // What was refused was not stored: sent again until taken, everything arrives once.
    for n in refused {
        let (connection, frame) = (&mut connection, &sealed[n]);
        let mut taken = false;
        while !taken {
            taken = within(connection.request(frame.clone())).await.is_ok();
            if !taken {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
    let opened = desk.delivery().await;
    drop(opened);
    let mut arrived = 0;
    while arrived < 40 {
        desk.delivery().await;
        arrived += 1;
    }
    assert!(relay.metric("sealdesk_rate_limited").await > 0);
}

#[tokio::test]
async fn a_full_mailbox_refuses_with_its_code_and_takes_again_after_an_ack() {
    let mut company = Company::new(44);
    let relay = Relay::start(&company, |raw| raw.limits.mailbox_items = 10).await;
    let Pair { mut customer, mut agent } = Pair::meet(&mut company, &relay, "mira").await;
    agent.connection.settle().await;
    let sealed: Vec<_> = (0..11).map(|n| customer.side.seal(format!("{n}").as_bytes())).collect();
    for frame in &sealed[..10] {
        customer.connection.request(frame.clone()).await.unwrap();
    }
    let refused = customer.connection.request(sealed[10].clone()).await;
    assert_eq!(refused.unwrap_err(), Code::MailboxFull, "the sender is told, and keeps the message");
    customer.connection.request(sealed[9].clone()).await.expect("a repetition needs no room");
    let first = agent.connection.delivery().await;
    agent.connection.ack(first.position).await;
    agent.connection.settle().await;
    until(async || customer.connection.request(sealed[10].clone()).await.ok()).await;
    assert_eq!(agent.side.unseal(&first.item).unwrap(), b"0");
    for n in 1..11 {
        assert_eq!(agent.hear().await, n.to_string());
    }
    assert!(relay.metric("sealdesk_quota_refusals").await > 0);
}

#[tokio::test]
async fn a_mailbox_is_bounded_in_bytes_too() {
    let mut company = Company::new(45);
    let relay = Relay::start(&company, |raw| raw.limits.mailbox_mib = 1).await;
    let Pair { mut customer, .. } = Pair::meet(&mut company, &relay, "mira").await;
    let long = "x".repeat(40_000);
    let mut stored = 0;
    let code = loop {
        match customer.say(&long).await {
            Ok(_) => stored += 1,
            Err(code) => break code,
        }
        assert!(stored < 40, "a MiB holds about 20 of them");
    };
    assert_eq!(code, Code::MailboxBytes);
    assert!(stored >= 15, "{stored}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_loses_nothing() {
    let mut company = Company::new(46);
    let relay = Relay::start(&company, |raw| raw.limits.write_seconds = 1).await;
    let Pair { mut customer, mut agent } = Pair::meet(&mut company, &relay, "mira").await;
    agent.connection.settle().await;
    agent.connection.leave().await;
    // A connection whose receive buffer is tiny and which never reads again.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let stream = within(socket.connect(relay.address())).await.unwrap();
    let mut deaf = Connection::over(stream, relay.address()).await.unwrap();
    deaf.authenticate(&agent.device).await.unwrap();
    let long = "y".repeat(40_000);
    let mut sent = 0;
    while relay.metric("sealdesk_slow_consumers").await == 0 {
        if sent < 250 {
            customer.say(&format!("{sent} {long}")).await.unwrap();
            sent += 1;
        } else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    // The customer was served all the while, and everything waits for the agent's next connection.
    agent.connection = agent.device.connect(&relay).await;
    for n in 0..sent {
        assert!(agent.hear().await.starts_with(&format!("{n} ")));
    }
    drop(deaf);
}

#[tokio::test]
async fn connections_are_capped_by_address_and_in_all() {
    let company = Company::new(47);
    let relay = Relay::start(&company, |raw| {
        (raw.limits.connections_per_prefix, raw.limits.connections) = (3, 5);
    })
    .await;
    let from = |last: u8| IpAddr::from([127, 0, 0, last]);
    let refused = |result: Result<Connection, SocketError>| match result {
        Err(SocketError::Http(response)) => response.status().as_u16(),
        other => panic!("an HTTP refusal, not {other:?}"),
    };
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Connection::dial_from(&relay, from(1)).await.unwrap());
    }
    assert_eq!(refused(Connection::dial_from(&relay, from(1)).await), 429, "of one address");
    for _ in 0..2 {
        held.push(Connection::dial_from(&relay, from(2)).await.unwrap());
    }
    assert_eq!(refused(Connection::dial_from(&relay, from(3)).await), 429, "in all");
    drop(held);
    until(async || Connection::dial_from(&relay, from(1)).await.ok()).await;
}

#[tokio::test]
async fn new_connections_and_conversations_are_limited_by_rate() {
    let mut company = Company::new(48);
    let relay = Relay::start(&company, |raw| {
        (raw.limits.connects_per_minute, raw.limits.conversations_per_hour) = (6, 2);
    })
    .await;
    let mut agent = company.agent("mira");
    let _desk = agent.on_duty(&relay, 50).await;
    let mut codes = Vec::new();
    for _ in 0..3 {
        let device = Device::new();
        let mut connection = device.connect(&relay).await;
        let wish = Wish::new(&company, &device);
        codes.push(connection.request(wish.request(&device)).await.err());
    }
    assert_eq!(codes, [None, None, Some(Code::RateLimited)]);
    // Four were made; two more are within the rate, then the address has to wait.
    let mut made = 0;
    while Connection::dial_from(&relay, [127, 0, 0, 1].into()).await.is_ok() {
        made += 1;
        assert!(made < 6, "the rate limits");
    }
    assert!(Connection::dial_from(&relay, [127, 0, 0, 9].into()).await.is_ok(), "another address may");
}

#[tokio::test]
async fn whoever_does_not_authenticate_in_time_is_cut_off() {
    let company = Company::new(49);
    let relay = Relay::start(&company, |raw| raw.limits.handshake_seconds = 4).await;
    let mut silent = Connection::dial(&relay).await;
    assert_eq!(silent.welcome().await.unwrap_err(), Code::NotAuthenticated);
    // Without a word of HTTP, the socket is closed.
    let mut mute = TcpStream::connect(relay.address()).await.unwrap();
    let mut buffer = [0; 16];
    assert_eq!(within(mute.read(&mut buffer)).await.unwrap_or(0), 0);
    // An authenticated connection is not concerned.
    let mut lasting = Device::new().connect(&relay).await;
    tokio::time::sleep(std::time::Duration::from_millis(4_500)).await;
    lasting.settle().await;
}

#[tokio::test]
async fn a_silent_peer_is_asked_and_then_left() {
    let company = Company::new(50);
    let relay = Relay::start(&company, |raw| raw.limits.idle_seconds = 1).await;
    let device = Device::new();
    // Reading answers pings, which is a sign of life; so this connection is not read at all.
    let silent = device.connect(&relay).await;
    until(async || (relay.metric("sealdesk_devices").await == 0).then_some(())).await;
    assert_eq!(silent.farewell().await.0, Some(Reason::Idle));
}

#[tokio::test]
async fn draining_one_time_prekeys_is_limited_and_fails_closed() {
    let mut company = Company::new(51);
    let relay = Relay::start(&company, |raw| raw.limits.prekeys_per_conversation_hour = 3).await;
    let Pair { mut customer, agent } = Pair::meet(&mut company, &relay, "mira").await;
    let fetch =
        FetchPrekeys { req: 0, conversation: customer.side.conversation, device: agent.device.hash() };
    let mut pairs = Vec::new();
    let code = loop {
        match customer.connection.request(fetch.clone()).await {
            Ok(ToClient::Prekeys(prekeys)) => pairs.push(prekeys.bundle.one_time.unwrap()),
            Ok(other) => panic!("prekeys, not {other:?}"),
            Err(code) => break code,
        }
        assert!(pairs.len() < 10, "the conversation's share is limited");
    };
    assert_eq!(code, Code::RateLimited, "no bundle at all, rather than the last resort alone");
    for (n, pair) in pairs.iter().enumerate() {
        assert!(!pairs[..n].contains(pair), "a one-time pair is handed out once");
    }
    let mut outsider = Device::new().connect(&relay).await;
    assert_eq!(outsider.request(fetch).await.unwrap_err(), Code::NotListed);
}

#[tokio::test]
async fn uploads_of_prekeys_are_verified() {
    let company = Company::new(52);
    let relay = Relay::start(&company, |_| {}).await;
    let mut other = Device::new();
    let mut stranger = other.connect(&relay).await;
    let refused = stranger.request(other.upload(1)).await.unwrap_err();
    assert_eq!(refused, Code::UnknownConversation, "nothing is kept of strangers");
    let mut device = Device::new();
    let mut connection = device.connect(&relay).await;
    connection.request(Wish::new(&company, &device).request(&device)).await.unwrap();
    let others = other.upload(1);
    assert_eq!(connection.request(others).await.unwrap_err(), Code::BadSignature, "another device's");
    let mut swapped = device.upload(1);
    swapped.one_time.push(swapped.last_resort.clone().unwrap());
    assert_eq!(connection.request(swapped).await.unwrap_err(), Code::Malformed, "of the wrong kind");
    let good = device.upload(1);
    let mut many = good.clone();
    many.one_time = vec![good.one_time[0].clone(); MAX_PREKEYS + 1];
    let refused = if sealdesk_protocol::wire::ToRelay::from(many.clone()).encode().is_ok() {
        connection.request(many).await.unwrap_err()
    } else {
        Code::TooLarge
    };
    assert_eq!(refused, Code::TooLarge);
    let count = |answer| match answer {
        Ok(ToClient::PrekeyCount(count)) => count.one_time_left,
        other => panic!("a count, not {other:?}"),
    };
    assert_eq!(count(connection.request(good.clone()).await), 1);
    assert_eq!(count(connection.request(good).await), 1, "the same pair counts once");
    let stored = device.upload(9);
    assert_eq!(count(connection.request(stored).await), 10, "a customer's device keeps at most ten");
    let over = device.upload(5);
    assert!(count(connection.request(over).await) <= 10);
}

#[tokio::test]
async fn pages_of_foreign_origins_and_plain_http_are_refused_with_a_reason() {
    let company = Company::new(53);
    let relay = Relay::start(&company, |raw| raw.allowed_origins = vec!["https://chat.example".into()]).await;
    let page = sealdesk_tests::relay::http_get(relay.address(), "/").await;
    assert!(page.contains("426") && page.contains("WebSocket"), "{page}");
    let with_origin = async |origin: &str| {
        use tokio_tungstenite::tungstenite::client::IntoClientRequest;
        let mut request = relay.url().into_client_request().unwrap();
        request.headers_mut().insert("Origin", origin.parse().unwrap());
        let stream = TcpStream::connect(relay.address()).await.unwrap();
        match within(tokio_tungstenite::client_async(request, stream)).await {
            Ok(_) => String::from("connected"),
            Err(SocketError::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                format!("{} {}", response.status(), String::from_utf8_lossy(&body))
            }
            Err(other) => other.to_string(),
        }
    };
    assert_eq!(with_origin("https://chat.example").await, "connected");
    let told = with_origin("https://evil.example").await;
    assert!(told.contains("403"), "{told}");
}
