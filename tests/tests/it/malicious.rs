//! A relay that lies: the client refuses, says why, and shows nothing false.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use sealdesk_protocol::crypto::prekeys::PrekeyBundle;
use sealdesk_protocol::wire::{Assignment, Deliver, Item, ToClient};
use sealdesk_tests::Site;
use sealdesk_tests::client::Client;
use sealdesk_tests::company::Company;
use sealdesk_tests::device::Device;
use sealdesk_tests::office::Office;
use sealdesk_tests::proxy::{Frame, Proxy};
use sealdesk_tests::relay::{Door, Relay};
use sealdesk_tests::terminal::Terminal;
use serde_json::json;

struct Scene {
    office: Office,
    relay: Relay,
    agent: Client,
}

impl Scene {
    async fn new() -> Self {
        let office = Office::with_agents(&["mira"]).await;
        let relay = Relay::start(&office, |_| {}).await;
        let agent = Client::agent(&office, &relay.url(), "mira", &[]);
        Self { office, relay, agent }
    }

    /// A customer whose relay does mischief.
    async fn customer(&self, mischief: impl FnMut(Frame) -> Vec<Frame> + Send + 'static) -> (Client, Proxy) {
        let proxy = Proxy::before(&self.relay, mischief).await;
        (Client::customer(&self.office, &proxy.url(), "carla", &[]), proxy)
    }
}

/// Exchanges something in every assignment.
fn assignments(change: impl Fn(&mut Assignment) + Send + 'static) -> impl FnMut(Frame) -> Vec<Frame> + Send {
    move |frame| match frame {
        Frame::Down(ToClient::Assignment(mut assignment)) => {
            change(&mut assignment);
            vec![Frame::Down(assignment.into())]
        }
        other => vec![other],
    }
}

/// What reached the agent: nothing but its own state.
async fn nothing_reached(agent: &mut Client) {
    assert_eq!(agent.leave().await, Some(0));
    let reached: Vec<_> = agent
        .seen
        .iter()
        .filter(|line| line.get("message").is_some() || line.get("assigned").is_some())
        .collect();
    assert!(reached.is_empty(), "{reached:?}");
}

/// A customer who is shown exchanged keys sends nothing, says which check failed, and never shows an agent.
async fn refuses(mischief: impl FnMut(Frame) -> Vec<Frame> + Send + 'static, code: &str) {
    let mut scene = Scene::new().await;
    let (mut customer, _proxy) = scene.customer(mischief).await;
    customer.open().await;
    customer.say("for the agent's eyes only").await;
    let problem = customer.problem(code).await;
    assert!(problem["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{problem}");
    assert!(!customer.seen.iter().any(|line| line.get("assigned").is_some()), "{}", customer.tail());
    assert!(!customer.seen.iter().any(|line| line.get("receipt").is_some()), "{}", customer.tail());
    customer.kill().await;
    nothing_reached(&mut scene.agent).await;
}

#[tokio::test]
async fn exchanged_prekeys_are_refused() {
    let mut thief = Device::new();
    let upload = thief.upload(1);
    let bundle = PrekeyBundle {
        last_resort: upload.last_resort.unwrap(),
        one_time: upload.one_time.into_iter().next(),
    };
    refuses(assignments(move |assignment| assignment.bundle = bundle.clone()), "prekey_refused").await;
}

#[tokio::test]
async fn one_time_pairs_cannot_be_another_devices() {
    let mut thief = Device::new();
    let one_time = thief.upload(1).one_time.into_iter().next();
    refuses(assignments(move |assignment| assignment.bundle.one_time = one_time.clone()), "prekey_refused")
        .await;
}

#[tokio::test]
async fn certificates_of_another_organisation_are_refused() {
    let agent = Company::new(91).agent("mira");
    let chain = agent.chain.clone().unwrap();
    refuses(assignments(move |assignment| assignment.agent = chain.clone()), "certificate_refused").await;
}

#[tokio::test]
async fn a_relay_with_another_name_gets_no_signature() {
    let scene = Scene::new().await;
    let authenticated = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&authenticated);
    let (mut customer, _proxy) = scene
        .customer(move |frame| match frame {
            Frame::Down(ToClient::Challenge(mut challenge)) => {
                challenge.relay = "relay.evil.test".into();
                vec![Frame::Down(challenge.into())]
            }
            Frame::Up(sealdesk_protocol::wire::ToRelay::Authenticate(_)) => {
                seen.store(true, Ordering::SeqCst);
                Vec::new()
            }
            other => vec![other],
        })
        .await;
    customer.write(&json!({"open": {"topic": "general"}})).await;
    let told = customer
        .find(|line| {
            let problem = line.get("error").or_else(|| line.get("link")?.get("problem"))?;
            (problem["code"] == "wrong_relay").then(|| problem.clone())
        })
        .await;
    assert!(told["text"].as_str().unwrap().contains("relay.evil.test"), "{told}");
    assert!(!authenticated.load(Ordering::SeqCst), "no signature for another name");
}

/// For people as for programs: what such a relay keeps back is its refusal, not the network's absence.
#[tokio::test]
async fn a_chat_that_such_a_relay_let_deliver_nothing_ends_with_its_refusal() {
    let scene = Scene::new().await;
    let proxy = Proxy::before(&scene.relay, |frame| match frame {
        Frame::Down(ToClient::Challenge(mut challenge)) => {
            challenge.relay = "relay.evil.test".into();
            vec![Frame::Down(challenge.into())]
        }
        other => vec![other],
    })
    .await;
    let (org, home, url) =
        (scene.office.org_json().display().to_string(), scene.office.text("carla"), proxy.url());
    let chat = ["customer", "chat", "--relay", &url, "--org", &org, "--home", &home, "--topic", "general"];
    let mut customer = Terminal::start(&[&chat[..], &["--drain", "1"]].concat());
    customer.shows("/agree agrees to it").await;
    customer.types("/agree\r").await;
    customer.shows("relay.evil.test").await;
    customer.types("/quit\r").await;
    customer.shows("What was not delivered is kept").await;
    assert_eq!(customer.ended().await, Some(7), "{}", customer.drawn());
}

#[tokio::test]
async fn repeated_mail_is_shown_once_and_in_order() {
    let mut scene = Scene::new().await;
    // Every item comes twice, and once more after each later one.
    let before: Mutex<Option<Deliver>> = Mutex::new(None);
    let (mut customer, _proxy) = scene
        .customer(move |frame| match frame {
            Frame::Down(ToClient::Deliver(deliver)) => {
                let again = before.lock().unwrap().replace(deliver.clone());
                let frames = [Some(deliver.clone()), again, Some(deliver)];
                frames.into_iter().flatten().map(|deliver| Frame::Down(deliver.into())).collect()
            }
            other => vec![other],
        })
        .await;
    let conversation = customer.open().await;
    customer.say("hello").await;
    scene.agent.hear().await;
    scene.agent.accepted(&conversation).await;
    for n in 0..9 {
        scene.agent.say_in(&conversation, &format!("answer {n}")).await;
    }
    for n in 0..9 {
        assert_eq!(customer.hear().await.1, format!("answer {n}"));
    }
    customer.command(json!({"verify": {}})).await;
    let shown = customer.seen.iter().filter(|line| line.get("message").is_some()).count();
    assert_eq!(shown, 9, "each once");
}

#[tokio::test]
async fn reordered_mail_is_never_shown_out_of_order() {
    let mut scene = Scene::new().await;
    // The fifth envelope comes after the sixth.
    let (count, held) = (AtomicU32::new(0), Mutex::new(None::<Deliver>));
    let (mut customer, _proxy) = scene
        .customer(move |frame| match frame {
            Frame::Down(ToClient::Deliver(deliver)) if matches!(deliver.item, Item::Envelope(_)) => {
                match count.fetch_add(1, Ordering::SeqCst) {
                    4 => {
                        *held.lock().unwrap() = Some(deliver);
                        Vec::new()
                    }
                    5 => {
                        let before = held.lock().unwrap().take().expect("the fifth came");
                        vec![Frame::Down(deliver.into()), Frame::Down(before.into())]
                    }
                    _ => vec![Frame::Down(deliver.into())],
                }
            }
            other => vec![other],
        })
        .await;
    no_gap_is_passed_over(&mut scene.agent, &mut customer).await;
}

#[tokio::test]
async fn altered_envelopes_are_set_aside_and_never_shown() {
    let mut scene = Scene::new().await;
    let alters = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&alters);
    let (mut customer, _proxy) = scene
        .customer(move |frame| match frame {
            Frame::Down(ToClient::Deliver(mut deliver)) => {
                if let Item::Envelope(bytes) = &mut deliver.item
                    && now.load(Ordering::SeqCst)
                {
                    let last = bytes.len() - 5;
                    bytes[last] ^= 1;
                }
                vec![Frame::Down(deliver.into())]
            }
            other => vec![other],
        })
        .await;
    let conversation = customer.open().await;
    customer.say("hello").await;
    scene.agent.hear().await;
    scene.agent.accepted(&conversation).await;
    scene.agent.say_in(&conversation, "as it was written").await;
    assert_eq!(customer.hear().await.1, "as it was written");
    alters.store(true, Ordering::SeqCst);
    scene.agent.say_in(&conversation, "as nobody wrote it").await;
    customer.problem("set_aside").await;
    // What goes the other way is not concerned.
    customer.say("are you there?").await;
    assert_eq!(scene.agent.hear().await.1, "are you there?");
    let shown: Vec<_> = customer.seen.iter().filter_map(|line| line["message"]["text"].as_str()).collect();
    assert_eq!(shown, ["as it was written"], "nothing false");
}

#[tokio::test]
async fn withheld_mail_leaves_a_gap_that_is_not_passed_over() {
    let mut scene = Scene::new().await;
    let count = AtomicU32::new(0);
    let (mut customer, _proxy) = scene
        .customer(move |frame| match frame {
            Frame::Down(ToClient::Deliver(deliver)) if matches!(deliver.item, Item::Envelope(_)) => {
                // The third envelope never arrives.
                if count.fetch_add(1, Ordering::SeqCst) == 2 {
                    Vec::new()
                } else {
                    vec![Frame::Down(deliver.into())]
                }
            }
            other => vec![other],
        })
        .await;
    no_gap_is_passed_over(&mut scene.agent, &mut customer).await;
}

/// The agent writes six answers, some of which the relay keeps from the customer or brings in another order. A gap that
/// lasts is told after five minutes, which the engine's tests show with their own clock. Here: nothing is shown as if
/// nothing were missing, and the sender sees that the receipts are missing.
async fn no_gap_is_passed_over(agent: &mut Client, customer: &mut Client) {
    let conversation = customer.open().await;
    customer.say("hello").await;
    agent.hear().await;
    agent.accepted(&conversation).await;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(agent.say_in(&conversation, &format!("answer {n}")).await);
    }
    // The relay took all of them, and the other direction works.
    agent.receipt(&ids[5], "sent").await;
    customer.say("are you still there?").await;
    assert_eq!(agent.hear().await.1, "are you still there?");
    let shown: Vec<&str> = customer.seen.iter().filter_map(|line| line["message"]["text"].as_str()).collect();
    let in_order: Vec<String> = (0..shown.len()).map(|n| format!("answer {n}")).collect();
    assert_eq!(shown, in_order, "a gap is not passed over");
    if let Some(missing) = ids.get(shown.len()) {
        let receipts = agent.seen.iter().filter_map(|line| line.get("receipt"));
        let claimed = receipts.filter(|r| r["message"] == **missing).any(|r| r["state"] != "sent");
        assert!(!claimed, "what did not arrive is not receipted");
    }
}

#[tokio::test]
async fn a_forged_acceptance_is_refused() {
    let scene = Scene::new().await;
    let (mut customer, _proxy) = scene
        .customer(|frame| match frame {
            Frame::Down(ToClient::Deliver(mut deliver)) => {
                if let Item::Statement(item) = &mut deliver.item {
                    // Signed by nobody: one bit of the body differs.
                    let forged = Device::new();
                    let label = sealdesk_protocol::crypto::labels::STATEMENT;
                    let body: Vec<u8> = item.statement.body().to_vec();
                    item.statement =
                        sealdesk_protocol::crypto::identity::SignedBytes::sign(label, &body, &forged.secret);
                }
                vec![Frame::Down(deliver.into())]
            }
            other => vec![other],
        })
        .await;
    customer.open().await;
    customer.say("hello").await;
    customer.problem("statement_refused").await;
    let accepted = customer.seen.iter().any(|line| line["assigned"]["accepted"] == true);
    assert!(!accepted, "{}", customer.tail());
}
