//! Which agent gets which conversation: team, presence, capacity, turns, offline, claims, reassignment.

use std::collections::BTreeMap;

use sealdesk_protocol::conversation::{Action, Roster, Statement};
use sealdesk_protocol::org::AssignmentMode;
use sealdesk_protocol::testing::handle;
use sealdesk_protocol::wire::{Assignment, Claim, Code, ToClient};
use sealdesk_tests::company::Company;
use sealdesk_tests::connection::Connection;
use sealdesk_tests::device::Device;
use sealdesk_tests::relay::Relay;
use sealdesk_tests::talk::{Side, Wish, assignment, certificate, post, statement};
use sealdesk_tests::{now_ms, until};

/// A customer who asks.
struct Customer {
    device: Device,
    connection: Connection,
    wish: Wish,
}

impl Customer {
    async fn new(company: &Company, relay: &Relay, topic: &str) -> Self {
        let device = Device::new();
        let connection = device.connect(relay).await;
        let mut wish = Wish::new(company, &device);
        wish.topic = handle(topic);
        Self { device, connection, wish }
    }

    async fn ask(&mut self) -> ToClient {
        self.connection.request(self.wish.request(&self.device)).await.unwrap()
    }

    /// Asks, expecting an agent at once.
    async fn named(&mut self) -> Assignment {
        match self.ask().await {
            ToClient::Assignment(assignment) => assignment,
            other => panic!("an assignment, not {other:?}"),
        }
    }

    async fn sign(&mut self, company: &Company, assignment: &Assignment) -> Side {
        Side::sign(company, &self.device, &mut self.connection, &self.wish, assignment).await.unwrap()
    }

    /// The statement that follows a reassignment, signed.
    fn reassign(&self, side: &Side, to: &Assignment) -> sealdesk_protocol::crypto::identity::SignedBytes {
        let agent = certificate(to);
        let current = side.governance.current();
        Statement {
            root: *side.governance.root(),
            conversation: side.conversation,
            epoch: current.number + 1,
            signer: self.device.hash(),
            time: now_ms(),
            expires: u64::MAX,
            action: Action::Reassign {
                previous: current.statement,
                roster: Roster::of(self.device.public(), agent.agent, agent.device).unwrap(),
            },
        }
        .sign(&self.device.secret)
    }
}

fn who(assignment: &Assignment) -> String {
    certificate(assignment).agent.to_string()
}

fn queued(frame: &ToClient) -> bool {
    matches!(frame, ToClient::Queued(queued) if !queued.claim)
}

#[tokio::test]
async fn topics_go_to_their_team() {
    let mut company = Company::new(61);
    let relay = Relay::start(&company, |_| {}).await;
    let mut mira = company.agent_of("mira", &["support"]);
    let mut bill = company.agent_of("bill", &["billing"]);
    let _desks = [mira.on_duty(&relay, 10).await, bill.on_duty(&relay, 10).await];
    for _ in 0..3 {
        assert_eq!(who(&Customer::new(&company, &relay, "general").await.named().await), "mira");
        assert_eq!(who(&Customer::new(&company, &relay, "billing").await.named().await), "bill");
    }
}

#[tokio::test]
async fn agents_take_turns_and_stop_at_their_capacity() {
    let mut company = Company::new(62);
    let relay = Relay::start(&company, |_| {}).await;
    let mut desks = Vec::new();
    for (id, capacity) in [("a", 4), ("b", 4), ("c", 2)] {
        let mut agent = company.agent(id);
        desks.push(agent.on_duty(&relay, capacity).await);
    }
    let (mut turns, mut count) = (Vec::new(), BTreeMap::<String, u32>::new());
    let mut customers = Vec::new();
    for _ in 0..10 {
        let mut customer = Customer::new(&company, &relay, "general").await;
        let named = customer.named().await;
        let side = customer.sign(&company, &named).await;
        *count.entry(who(&named)).or_default() += 1;
        turns.push(who(&named));
        customers.push((customer, side));
    }
    assert_eq!(
        turns[..3].iter().collect::<std::collections::BTreeSet<_>>().len(),
        3,
        "each in turn: {turns:?}"
    );
    assert_eq!(count, BTreeMap::from([("a".into(), 4), ("b".into(), 4), ("c".into(), 2)]));
    let mut eleventh = Customer::new(&company, &relay, "general").await;
    assert!(queued(&eleventh.ask().await), "everybody is busy");

    // Capacity that is raised, and a conversation that ends, let the next one in.
    desks[2].available(true, 3).await;
    assert_eq!(who(&assignment(&mut eleventh.connection).await), "c");
    let mut twelfth = Customer::new(&company, &relay, "general").await;
    assert!(queued(&twelfth.ask().await));
    let (first, side) = &mut customers[0];
    let close = side.note(&first.device, |current| Action::Close { current, heads: Vec::new() });
    post(&mut first.connection, side.conversation, close, Vec::new()).await.unwrap();
    assert_eq!(who(&assignment(&mut twelfth.connection).await), turns[0], "whose place is free again");
}

#[tokio::test]
async fn who_is_connected_comes_before_who_is_not_and_absence_counts() {
    let mut company = Company::new(63);
    let relay = Relay::start(&company, |_| {}).await;
    let (mut here, mut gone) = (company.agent("here"), company.agent("gone"));
    let mut desk = here.on_duty(&relay, 1).await;
    let mut left = gone.on_duty(&relay, 10).await;
    left.settle().await;
    left.leave().await;
    until(async || (relay.metric("sealdesk_devices").await == 1).then_some(())).await;
    let mut first = Customer::new(&company, &relay, "general").await;
    let named = first.named().await;
    assert_eq!((who(&named).as_str(), named.online), ("here", true));
    first.sign(&company, &named).await;
    // The one who is here is busy: the other gets it by his prekeys, although he is away.
    let mut second = Customer::new(&company, &relay, "general").await;
    let offline = second.named().await;
    assert_eq!((who(&offline).as_str(), offline.online), ("gone", false));
    let mut side = second.sign(&company, &offline).await;
    let sealed = side.seal(b"when you are back");
    second.connection.request(sealed).await.unwrap();
    let mut back = gone.connect(&relay).await;
    let (opened, envelope) = (back.delivery().await, back.delivery().await);
    let first_envelope = sealdesk_tests::talk::envelope(&envelope.item);
    let (_, text) = Side::accept(&company, &gone, &statement(&opened.item), &first_envelope).unwrap();
    assert_eq!(text.content, b"when you are back");

    // Away by his own word: nobody is named.
    back.available(false, 10).await;
    desk.available(false, 1).await;
    let mut third = Customer::new(&company, &relay, "general").await;
    assert!(queued(&third.ask().await));
    desk.available(true, 5).await;
    assert_eq!(who(&assignment(&mut third.connection).await), "here");
}

#[tokio::test]
async fn without_any_agent_a_customer_waits_and_the_first_who_comes_gets_it() {
    let mut company = Company::new(64);
    let relay = Relay::start(&company, |_| {}).await;
    let mut customer = Customer::new(&company, &relay, "general").await;
    assert!(queued(&customer.ask().await));
    assert!(queued(&customer.ask().await), "asking again changes nothing");
    let mut agent = company.agent("late");
    // Certified and connected, but without prekeys: nothing can be sent to him.
    let mut desk = agent.connect(&relay).await;
    desk.settle().await;
    assert!(queued(&customer.ask().await));
    let upload = agent.upload(3);
    desk.request(upload).await.unwrap();
    let named = assignment(&mut customer.connection).await;
    assert_eq!(who(&named), "late");
    assert_eq!(customer.named().await.bundle, named.bundle, "asking again gives the same prekeys");
}

#[tokio::test]
async fn an_agent_who_does_not_accept_in_time_loses_it_once_by_itself() {
    let mut company = Company::new(65);
    let relay = Relay::start(&company, |raw| raw.routing.accept_seconds = 1).await;
    let mut slow = company.agent("slow");
    let mut desk = slow.on_duty(&relay, 10).await;
    let mut customer = Customer::new(&company, &relay, "general").await;
    let named = customer.named().await;
    let mut side = customer.sign(&company, &named).await;
    let sealed = side.seal(b"for slow only");
    customer.connection.request(sealed).await.unwrap();
    let opened = desk.delivery().await;
    let envelope = sealdesk_tests::talk::envelope(&desk.delivery().await.item);
    let (slow_side, _) = Side::accept(&company, &slow, &statement(&opened.item), &envelope).unwrap();

    let mut swift = company.agent("swift");
    let mut other_desk = swift.on_duty(&relay, 10).await;
    let second = assignment(&mut customer.connection).await;
    assert_eq!((who(&second).as_str(), second.epoch), ("swift", 2));
    let signed = customer.reassign(&side, &second);
    let id = side.conversation;
    post(&mut customer.connection, id, signed.clone(), Vec::new()).await.unwrap();
    let told = statement(&desk.delivery().await.item);
    assert_eq!(told.statement, signed, "who had it learns that he lost it");
    let earlier = statement(&other_desk.delivery().await.item).statement;
    assert_ne!(earlier, signed, "who is listed later gets the open statement first");
    assert_eq!(statement(&other_desk.delivery().await.item).statement, signed);

    // The first one's acceptance comes too late: refused as a whole, with its envelope.
    let mut slow_side = slow_side;
    let accept = slow_side.note(&slow, |current| Action::Accept { current });
    let text = slow_side.seal(b"I am here!").message;
    let late = post(&mut desk, id, accept, vec![text]).await;
    assert_eq!(late.unwrap_err(), Code::AssignmentLost);
    customer.connection.settle().await;

    // The second one lets it pass as well: no further automatic reassignment, but the customer's click allows one.
    let mut third = company.agent("third");
    let _third_desk = third.on_duty(&relay, 10).await;
    customer
        .connection
        .find(|frame| matches!(frame, ToClient::Unaccepted(u) if u.conversation == id).then_some(()))
        .await;
    // Agents are named to two others who waited, one after the other: the relay has looked at everybody meanwhile.
    let mut desks = Vec::new();
    for id in ["bill", "bob"] {
        let mut waiting = Customer::new(&company, &relay, "billing").await;
        assert!(queued(&waiting.ask().await));
        desks.push(company.agent_of(id, &["billing"]).on_duty(&relay, 1).await);
        assert_eq!(who(&assignment(&mut waiting.connection).await), id);
    }
    customer.connection.settle().await;
    let further = customer.connection.passed_over().find(|frame| matches!(frame, ToClient::Assignment(_)));
    assert!(further.is_none(), "the automatic one was made once: {further:?}");
    let verified =
        sealdesk_protocol::conversation::VerifiedStatement::verify(&signed, &customer.device.public());
    side.governance.apply(&verified.unwrap(), None).unwrap();
    let third_time = match customer.ask().await {
        ToClient::Assignment(assignment) => assignment,
        ToClient::Queued(_) => assignment(&mut customer.connection).await,
        other => panic!("{other:?}"),
    };
    assert!(["third", "slow"].contains(&who(&third_time).as_str()), "not the one who has it now");
    assert_eq!(third_time.epoch, 3);
}

#[tokio::test]
async fn the_customer_may_only_sign_whom_the_relay_named() {
    let mut company = Company::new(66);
    let relay = Relay::start(&company, |_| {}).await;
    let (mut mira, mut sam) = (company.agent("mira"), company.agent("sam"));
    let _desks = [mira.on_duty(&relay, 10).await, sam.on_duty(&relay, 10).await];
    let mut customer = Customer::new(&company, &relay, "general").await;
    let named = customer.named().await;
    let wrong = if who(&named) == "mira" { &sam } else { &mira };
    let body = company.org.certificate("x", "x", &[], wrong.public());
    let signed = customer.wish.statement(&company, &customer.device, &body).sign(&customer.device.secret);
    let posted = post(&mut customer.connection, customer.wish.conversation, signed, Vec::new()).await;
    assert_eq!(posted.unwrap_err(), Code::AssignmentLost);
    customer.sign(&company, &named).await;
}

#[tokio::test]
async fn in_claim_mode_the_first_claim_wins() {
    let mut company = Company::new(67);
    company.change(|settings| settings.assignment = AssignmentMode::Claim);
    let relay = Relay::start(&company, |_| {}).await;
    let (mut mira, mut bill) = (company.agent("mira"), company.agent_of("bill", &["billing"]));
    let mut sam = company.agent("sam");
    let mut desks = [mira.on_duty(&relay, 10).await, sam.on_duty(&relay, 10).await];
    let mut billing = bill.on_duty(&relay, 10).await;
    let mut customer = Customer::new(&company, &relay, "general").await;
    let answer = customer.ask().await;
    assert!(matches!(&answer, ToClient::Queued(queued) if queued.claim), "{answer:?}");
    let id = customer.wish.conversation;
    for desk in &mut desks {
        let entry = desk.find(|frame| match frame {
            ToClient::Waiting(waiting) => waiting.entries.iter().find(|e| e.conversation == id).cloned(),
            _ => None,
        });
        let entry = entry.await;
        assert_eq!((entry.topic, entry.language.as_str()), (handle("general"), "en"));
    }
    let refused = billing.request(Claim { req: 0, conversation: id }).await;
    assert_eq!(refused.unwrap_err(), Code::CertificateRefused, "not his team's");
    let [first, second] = &mut desks;
    let (a, b) = tokio::join!(
        first.request(Claim { req: 0, conversation: id }),
        second.request(Claim { req: 0, conversation: id })
    );
    assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1, "{a:?} {b:?}");
    let loser = a.as_ref().err().or(b.as_ref().err());
    assert_eq!(loser, Some(&Code::AlreadyClaimed));
    let named = assignment(&mut customer.connection).await;
    assert_eq!(who(&named), if a.is_ok() { "mira" } else { "sam" });
    customer.sign(&company, &named).await;
    for desk in &mut desks {
        desk.find(|frame| matches!(frame, ToClient::Waiting(w) if w.entries.is_empty()).then_some(())).await;
    }
}
