//! No conversation without consent to a current notice.

use sealdesk_protocol::conversation::ConsentReceipt;
use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::ids::NoticeHash;
use sealdesk_protocol::wire::{Code, ToClient};
use sealdesk_relay::clock::now_ms;

use crate::client::Client;
use crate::harness::TestRelay;
use crate::organisation::handle;
use crate::talk::Talk;

#[tokio::test]
async fn no_conversation_without_a_valid_receipt_for_a_current_notice() {
    let mut relay = TestRelay::start().await;
    relay.agent("mira").await;
    let mut customer = relay.customer().await;
    let other = relay.customer().await;
    let good = Talk::new(&relay.organisation, &customer);
    let receipt = ConsentReceipt::verify(&good.consent).unwrap();
    let refused = async |customer: &mut Client, receipt: ConsentReceipt, by: &DeviceSecret| {
        let consent = receipt.sign(by);
        let talk = Talk { consent, ..Talk::new(&relay.organisation, customer) };
        let talk = Talk { id: good.id, ..talk };
        match customer.ask(&talk).await {
            ToClient::Error(error) => error.code,
            other => panic!("{other:?}"),
        }
    };
    let bytes = postcard::to_allocvec(&customer.device).unwrap();
    let twin = postcard::from_bytes::<DeviceSecret>(&bytes).unwrap();
    let old = ConsentReceipt { notice: NoticeHash([1; 32]), ..receipt.clone() };
    assert_eq!(refused(&mut customer, old, &twin).await, Code::ConsentOutdated);
    let elsewhere = ConsentReceipt { root: sealdesk_protocol::ids::RootHash([1; 32]), ..receipt.clone() };
    assert_eq!(refused(&mut customer, elsewhere, &twin).await, Code::ConsentMissing);
    let another =
        ConsentReceipt { conversation: Talk::new(&relay.organisation, &other).id, ..receipt.clone() };
    assert_eq!(refused(&mut customer, another, &twin).await, Code::ConsentMissing);
    assert_eq!(refused(&mut customer, receipt.clone(), &other.device).await, Code::ConsentMissing, "forged");
    let theirs = ConsentReceipt { device: other.device.public(), ..receipt.clone() };
    assert_eq!(refused(&mut customer, theirs, &other.device).await, Code::ConsentMissing, "another device's");
    let future = ConsentReceipt { given: now_ms() + 3_600_000, ..receipt };
    assert_eq!(refused(&mut customer, future, &twin).await, Code::ConsentMissing);

    let mut unknown = good.request(77);
    unknown.topic = handle("poetry");
    customer.send(unknown).await;
    assert_eq!(customer.outcome(77).await, Err(Code::UnknownTopic));
    customer.named(&good).await;

    // The notice changes: new conversations need the new one.
    relay.organisation.settings.notices[0].text = "We keep messages for 60 days.".into();
    relay.organisation.settings.version += 1;
    let outdated = Talk::new(&relay.organisation, &customer);
    relay.rewrite_org();
    let old = ConsentReceipt {
        notice: ConsentReceipt::verify(&good.consent).unwrap().notice,
        ..ConsentReceipt::verify(&outdated.consent).unwrap()
    };
    let stale = Talk { consent: old.sign(&twin), ..outdated };
    relay.until_metric("organisation_taken", 1).await;
    match customer.ask(&stale).await {
        ToClient::Error(error) => assert_eq!(error.code, Code::ConsentOutdated),
        other => panic!("{other:?}"),
    }
}

/// The notice changes between the request and the signature.
#[tokio::test]
async fn what_was_agreed_to_before_the_notice_changed_opens_nothing() {
    let mut relay = TestRelay::start().await;
    let agent = relay.agent("mira").await;
    let mut customer = relay.customer().await;
    let (asked, next) =
        (Talk::new(&relay.organisation, &customer), Talk::new(&relay.organisation, &customer));
    customer.named(&asked).await;
    customer.named(&next).await;
    // Another one joins the first: both are current.
    let mut newer = relay.organisation.settings.notices[0].clone();
    newer.text = "We keep messages for 60 days.".into();
    relay.organisation.settings.notices.push(newer);
    relay.organisation.settings.version += 1;
    relay.rewrite_org();
    relay.until_metric("organisation_taken", 1).await;
    let open = next.open(&customer, &agent, "mira");
    customer.post(&next, 1, open).await.unwrap();
    // It alone is left.
    relay.organisation.settings.notices.remove(0);
    relay.organisation.settings.version += 1;
    relay.rewrite_org();
    relay.until_metric("organisation_taken", 2).await;
    let open = asked.open(&customer, &agent, "mira");
    assert_eq!(customer.post(&asked, 1, open).await, Err(Code::ConsentOutdated));
    assert_eq!(relay.metric("conversations_opened").await, 1);
}
