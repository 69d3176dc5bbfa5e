//! Rates, numbers, time-outs, slow consumers.

use std::time::{Duration, Instant};

use futures_util::SinkExt;
use sealdesk_protocol::conversation::Action;
use sealdesk_protocol::wire::envelope::Class;
use sealdesk_protocol::wire::{Code, Ping, Reason, ToClient};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use crate::client::{Client, Party, challenge, envelope, next, socket};
use crate::harness::TestRelay;
use crate::talk::Talk;

#[tokio::test]
async fn frames_above_the_rate_are_refused_with_a_time_to_wait() {
    let relay = TestRelay::with(|raw, _| raw.limits.frames_per_second = 5).await;
    let mut client = relay.customer().await;
    for nonce in 0..40 {
        client.send(Ping { nonce }).await;
    }
    let retry_after = client
        .expect(|frame| match frame {
            ToClient::Error(error) if error.code == Code::RateLimited => Some(error.retry_after),
            _ => None,
        })
        .await;
    assert!(retry_after.is_some());
    let mut other = relay.customer().await;
    other.send(Ping { nonce: 1 }).await;
    other.expect(|frame| matches!(frame, ToClient::Pong(_)).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    client.send(Ping { nonce: 777 }).await;
    client.expect(|frame| matches!(frame, ToClient::Pong(pong) if pong.nonce == 777).then_some(())).await;
}

#[tokio::test]
async fn a_device_has_one_rate_over_all_its_connections() {
    let relay = TestRelay::with(|raw, _| raw.limits.device_frames_per_second = 1).await;
    let begun = Instant::now();
    let mut client = relay.customer().await;
    let mut taken = 0;
    for _ in 0..2 {
        for nonce in 0..4 {
            client.send(Ping { nonce }).await;
        }
        for _ in 0..4 {
            let pong = |frame: &ToClient| match frame {
                ToClient::Pong(_) => Some(1),
                ToClient::Error(error) if error.code == Code::RateLimited => Some(0),
                _ => None,
            };
            taken += client.expect(pong).await;
        }
        client = client.reconnect(relay.address, Party::Customer).await;
    }
    // A burst of four, and one a second.
    assert!((4..=4 + begun.elapsed().as_secs() + 1).contains(&taken), "{taken}");
}

async fn status(relay: &TestRelay) -> Option<u16> {
    let stream = TcpStream::connect(relay.address).await.unwrap();
    match client_async("ws://relay/", stream).await {
        Err(SocketError::Http(response)) => Some(response.status().as_u16()),
        Ok(_) => None,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn connections_are_capped() {
    let relay = TestRelay::with(|raw, _| raw.limits.connections_per_prefix = 2).await;
    let first = relay.customer().await;
    let _second = relay.customer().await;
    assert_eq!(status(&relay).await, Some(429));
    drop(first);
    relay.until_metric("connections", 1).await;
    assert_eq!(status(&relay).await, None);

    let relay = TestRelay::with(|raw, _| raw.limits.connects_per_minute = 3).await;
    for _ in 0..3 {
        assert_eq!(status(&relay).await, None);
    }
    assert_eq!(status(&relay).await, Some(429));
}

#[tokio::test]
async fn new_conversations_are_limited_by_address() {
    let relay = TestRelay::with(|raw, _| raw.limits.conversations_per_hour = 2).await;
    let mut customer = relay.customer().await;
    for n in 1..=3 {
        let talk = Talk::new(&relay.organisation, &customer);
        customer.send(talk.request(n)).await;
        match customer.answer(n).await {
            ToClient::Queued(_) => assert!(n <= 2),
            ToClient::Error(error) => assert_eq!((n, error.code), (3, Code::RateLimited)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn every_step_of_the_handshake_has_a_time_out() {
    let relay = TestRelay::with(|raw, _| raw.limits.handshake_seconds = 4).await;
    let begun = Instant::now();
    let mut silent = TcpStream::connect(relay.address).await.unwrap();
    let mut upgraded = socket(relay.address).await;
    challenge(&mut upgraded).await;
    let Some(ToClient::Error(error)) = next(&mut upgraded).await else { panic!() };
    assert_eq!(error.code, Code::NotAuthenticated);
    assert!(next(&mut upgraded).await.is_some_and(|frame| matches!(frame, ToClient::Goodbye(_))));
    let mut byte = [0];
    let closed = tokio::time::timeout(Duration::from_secs(30), silent.read(&mut byte)).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)));
    assert!(begun.elapsed() >= Duration::from_millis(3_900));
}

/// Idle sockets from one address of the loopback network.
async fn idle(relay: &TestRelay, from: &str, count: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        held.push(socket.connect(relay.address).await.unwrap());
    }
    held
}

#[tokio::test]
async fn whoever_only_connects_shuts_out_nobody_else() {
    let relay = TestRelay::with(|raw, _| {
        (raw.limits.handshakes, raw.limits.handshakes_per_prefix) = (8, 4);
        // Nobody's time is over before the test is.
        raw.limits.handshake_seconds = 60;
    })
    .await;
    let one = idle(&relay, "127.0.0.2", 20).await;
    relay.until_metric("refused", 16).await;
    relay.customer().await;

    // Many addresses together: no more than the number in all, until they leave.
    let others = idle(&relay, "127.0.0.3", 4).await;
    relay.until_metric("accepted", 25).await;
    let shut_out = TcpStream::connect(relay.address).await.unwrap();
    assert!(client_async("ws://relay/", shut_out).await.is_err(), "all handshakes are taken");
    drop((one, others));
    let freed = async {
        loop {
            let stream = TcpStream::connect(relay.address).await.unwrap();
            if client_async("ws://relay/", stream).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), freed).await.unwrap();
}

#[tokio::test]
async fn a_trusted_proxy_speaks_for_many() {
    let relay = TestRelay::with(|raw, _| {
        raw.limits.handshakes_per_prefix = 2;
        raw.trusted_proxies = vec!["127.0.0.2".into()];
    })
    .await;
    let _held = idle(&relay, "127.0.0.2", 10).await;
    relay.until_metric("accepted", 10).await;
    assert_eq!(relay.metric("refused").await, 0);
}

#[tokio::test]
async fn silence_ends_a_connection_and_pongs_keep_it() {
    let relay = TestRelay::with(|raw, _| raw.limits.idle_seconds = 6).await;
    let mut attentive = relay.customer().await;
    let mut silent = relay.customer().await;
    // Reading answers the relay's pings.
    let ended = |frame: &ToClient| matches!(frame, ToClient::Goodbye(_));
    assert!(attentive.silent(Duration::from_secs(10), ended).await);
    assert_eq!(silent.goodbye().await, Reason::Idle);
    attentive.pinged().await;
}

#[tokio::test]
async fn who_does_not_read_is_cut_off_and_loses_nothing() {
    let relay = TestRelay::with(|raw, _| {
        raw.limits.write_seconds = 1;
        raw.limits.mailbox_items = 100_000;
        raw.limits.mailbox_share_items = 100_000;
        raw.limits.mailbox_share_mib = 256;
        raw.limits.frames_per_second = 100_000;
        raw.limits.device_frames_per_second = 100_000;
    })
    .await;
    let (mut customer, mut agent) = (relay.customer().await, relay.agent("mira").await);
    let talk = Talk::opened(&relay.organisation, &mut customer, &mut agent, "mira").await;
    agent.post(&talk, 1, Action::Accept { current: talk.epoch_statement }).await.unwrap();
    let mut sent = 0;
    // The agent does not read any more: what the kernel's buffers hold, then nothing.
    let cut_off = async {
        while relay.metric("slow_consumers").await == 0 {
            for _ in 0..50 {
                let req = customer.number();
                let message = envelope(agent.device.public().mailbox(), Class::Store);
                let conversation = talk.id;
                let frame = sealdesk_protocol::wire::Send { req, conversation, message };
                customer.send(frame).await;
                sent += 1;
            }
            for req in sent - 49..=sent {
                customer.outcome(customer_req(req)).await.unwrap();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), cut_off).await.unwrap();
    let chain = relay.organisation.chain(&relay.organisation.certificate("mira", &agent.device));
    let mut agent = agent.reconnect(relay.address, Party::Agent(chain)).await;
    for _ in 0..sent {
        agent.delivered_envelope().await;
    }
}

/// Two requests of the customer came before: the assignment and the open statement.
fn customer_req(n: u32) -> u32 {
    n + 2
}

#[tokio::test]
async fn endless_refused_frames_end_the_connection() {
    let relay = TestRelay::with(|raw, _| raw.limits.frames_per_second = 1).await;
    let mut client: Client = relay.customer().await;
    let frame = sealdesk_protocol::wire::ToRelay::from(Ping { nonce: 0 }).encode().unwrap();
    for _ in 0..1_200 {
        if client.socket.feed(Message::Binary(frame.clone().into())).await.is_err() {
            break;
        }
    }
    let _ = client.socket.flush().await;
    assert_eq!(client.goodbye().await, Reason::Violation);
}

/// Also of frames that this relay does not know, and at the rates that are the default: 200 a second.
#[tokio::test]
async fn a_flood_of_unknown_frames_ends_the_connection() {
    let relay = TestRelay::with(|raw, _| {
        raw.limits.frames_per_second = 200;
        raw.limits.device_frames_per_second = 200;
    })
    .await;
    let mut client: Client = relay.customer().await;
    for _ in 0..5_000 {
        if client.socket.feed(Message::Binary(vec![0x0f].into())).await.is_err() {
            break;
        }
    }
    let _ = client.socket.flush().await;
    assert_eq!(client.goodbye().await, Reason::Violation);
}
