//! No conversation opens without a valid consent receipt for a current notice.

use sealdesk_protocol::conversation::notice_hash;
use sealdesk_protocol::ids::{ConversationId, NoticeHash};
use sealdesk_protocol::testing::handle;
use sealdesk_protocol::wire::{Code, RequestAssignment, ToClient};
use sealdesk_tests::company::Company;
use sealdesk_tests::connection::Connection;
use sealdesk_tests::device::Device;
use sealdesk_tests::relay::Relay;
use sealdesk_tests::talk::{Wish, certificate, post};
use sealdesk_tests::{now_ms, until};

struct Asking {
    company: Company,
    relay: Relay,
    device: Device,
    connection: Connection,
    _desk: Connection,
}

async fn start(seed: u64) -> Asking {
    let mut company = Company::new(seed);
    let relay = Relay::start(&company, |_| {}).await;
    let mut agent = company.agent("mira");
    let desk = agent.on_duty(&relay, 10_000).await;
    let device = Device::new();
    let connection = device.connect(&relay).await;
    Asking { company, relay, device, connection, _desk: desk }
}

impl Asking {
    /// The relay's verdict on a wish that was changed before it was signed.
    async fn refused(&mut self, change: impl FnOnce(&mut Wish)) -> Code {
        let mut wish = Wish::new(&self.company, &self.device);
        change(&mut wish);
        self.sent(wish.request(&self.device)).await
    }

    async fn sent(&mut self, frame: RequestAssignment) -> Code {
        self.connection.request(frame).await.expect_err("refused")
    }
}

#[tokio::test]
async fn a_receipt_counts_for_its_device_conversation_and_organisation_only() {
    let mut asking = start(31).await;
    let missing = Code::ConsentMissing;
    let other = Device::new();
    let others = Wish::new(&asking.company, &other);
    assert_eq!(asking.sent(others.request(&other)).await, missing, "another device's receipt");
    assert_eq!(asking.refused(|w| w.consent.device = Device::new().public()).await, missing);
    assert_eq!(asking.refused(|w| w.consent.conversation = ConversationId([1; 32])).await, missing);
    assert_eq!(asking.refused(|w| w.consent.root.0[0] ^= 1).await, missing);
    assert_eq!(asking.refused(|w| w.consent.given = now_ms() + 3_600_000).await, missing, "from tomorrow");

    // Altered after it was signed.
    let wish = Wish::new(&asking.company, &asking.device);
    let mut frame = wish.request(&asking.device);
    let mut bent = wish.clone();
    bent.consent.language = "de".into();
    frame.consent = bent.consent.sign(&other.secret);
    assert_eq!(asking.sent(frame).await, missing);

    let honest = wish.ask(&asking.device, &mut asking.connection).await;
    assert_eq!(certificate(&honest.unwrap()).agent, handle("mira"));
}

#[tokio::test]
async fn a_notice_that_changed_asks_for_consent_again() {
    let mut asking = start(32).await;
    assert_eq!(asking.refused(|w| w.consent.notice = NoticeHash([3; 32])).await, Code::ConsentOutdated);
    let old = Wish::new(&asking.company, &asking.device);
    asking.company.change(|settings| settings.notices[0].text = "A new notice.".into());
    let (relay, company) = (&asking.relay, &asking.company);
    // Each try is another customer, since an opened request stays good.
    until(async || {
        let device = Device::new();
        let mut connection = device.connect(relay).await;
        let mut wish = Wish::new(company, &device);
        wish.consent.notice = old.consent.notice;
        (connection.request(wish.request(&device)).await.err() == Some(Code::ConsentOutdated)).then_some(())
    })
    .await;
    assert_eq!(asking.sent(old.request(&asking.device)).await, Code::ConsentOutdated);
    let new = Wish::new(&asking.company, &asking.device);
    assert_eq!(new.consent.notice, notice_hash("en", "A new notice."));
    new.ask(&asking.device, &mut asking.connection).await.expect("the new notice is good");
    let arabic = &asking.company.org.settings.notices[1];
    let mut other_language = Wish::new(&asking.company, &asking.device);
    (other_language.consent.notice, other_language.consent.language) = (arabic.hash(), "ar".into());
    other_language.ask(&asking.device, &mut asking.connection).await.expect("any current notice is good");
}

#[tokio::test]
async fn topics_and_languages_are_the_organisations() {
    let mut asking = start(33).await;
    assert_eq!(asking.refused(|w| w.topic = handle("gossip")).await, Code::UnknownTopic);
    assert_eq!(asking.refused(|w| w.language = String::new()).await, Code::UnknownTopic);
    assert_eq!(asking.refused(|w| w.language = "e\u{301}n secret text".into()).await, Code::UnknownTopic);
    assert_eq!(asking.refused(|w| w.language = "x".repeat(36)).await, Code::UnknownTopic);
}

#[tokio::test]
async fn the_open_statement_has_to_rest_on_the_receipt_that_was_shown() {
    let mut asking = start(34).await;
    let wish = Wish::new(&asking.company, &asking.device);
    let assignment = wish.ask(&asking.device, &mut asking.connection).await.unwrap();
    let agent = certificate(&assignment);
    let good = wish.statement(&asking.company, &asking.device, &agent);
    let mut try_it = async |change: &dyn Fn(&mut sealdesk_protocol::conversation::Statement)| {
        let mut statement = good.clone();
        change(&mut statement);
        let signed = statement.sign(&asking.device.secret);
        post(&mut asking.connection, wish.conversation, signed, Vec::new()).await
    };
    use sealdesk_protocol::conversation::Action;
    let other_consent = try_it(&|s| {
        let Action::Open { consent, .. } = &mut s.action else { unreachable!() };
        consent[0] ^= 1;
    });
    assert_eq!(other_consent.await.unwrap_err(), Code::ConsentMissing);
    let other_topic = try_it(&|s| {
        let Action::Open { topic, .. } = &mut s.action else { unreachable!() };
        *topic = handle("billing");
    });
    assert_eq!(other_topic.await.unwrap_err(), Code::UnknownTopic);
    let other_nonce = try_it(&|s| {
        let Action::Open { nonce, .. } = &mut s.action else { unreachable!() };
        nonce[0] ^= 1;
    });
    assert_eq!(other_nonce.await.unwrap_err(), Code::Malformed, "the id commits to the device");
    assert_eq!(try_it(&|s| s.epoch = 2).await.unwrap_err(), Code::Conflict);
    assert_eq!(try_it(&|s| s.expires = now_ms() - 1).await.unwrap_err(), Code::Conflict);
    assert!(matches!(try_it(&|_| {}).await, Ok(ToClient::Done(_))));
    assert!(matches!(try_it(&|_| {}).await, Ok(ToClient::Done(_))), "a repetition is done");
    assert_eq!(try_it(&|s| s.time += 1).await.unwrap_err(), Code::Conflict, "a second open is a fork");
}

#[tokio::test]
async fn a_conversation_belongs_to_the_device_that_asked_first() {
    let mut asking = start(35).await;
    let wish = Wish::new(&asking.company, &asking.device);
    wish.ask(&asking.device, &mut asking.connection).await.unwrap();
    let thief = Device::new();
    let mut connection = thief.connect(&asking.relay).await;
    let mut stolen = Wish::new(&asking.company, &thief);
    stolen.conversation = wish.conversation;
    stolen.consent.conversation = wish.conversation;
    assert_eq!(connection.request(stolen.request(&thief)).await.unwrap_err(), Code::UnknownConversation);
}
