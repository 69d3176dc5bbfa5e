use sealdesk_protocol::crypto::identity::DeviceSecret;
use sealdesk_protocol::wire::Party;

use super::*;
use crate::testing::Running;
use crate::testing::organisation::rng;

/// An error means that nothing was stored: the click that is refused allows nothing later.
#[tokio::test]
async fn a_click_that_no_name_may_follow_is_not_stored() {
    let running = Running::start().await;
    let (relay, customer) = (&running.relay, DeviceSecret::generate(&mut rng()));
    let agent = running.agent("mira", 9).await;
    let session = running.connect(&customer, Party::Customer);
    let opened = running.opened(&customer, &agent).await;
    let clicked = async |last_ms, lapsed: &[DeviceKeyHash]| {
        let (lapsed, unsigned) = (lapsed.to_vec(), (3, last_ms));
        let record = Record { reassigned: true, lapsed, unsigned, ..opened.record.clone() };
        let version = relay.conversation(opened.id).await.unwrap().unwrap().version;
        assert!(relay.put(opened.id, version, record).await.unwrap());
        let (topic, language) = (opened.record.topic.clone(), opened.record.language.clone());
        let consent = opened.record.consent.clone();
        let ask = RequestAssignment { req: 1, conversation: opened.id, topic, language, consent };
        let asked = session.request_assignment(ask).await.map(|_| ());
        (asked, relay.conversation(opened.id).await.unwrap().unwrap().record.reassigned)
    };
    let left = [agent.hash()];
    assert_eq!(clicked(now_ms(), &left).await, (Err(Code::RateLimited), true));
    assert_eq!(relay.metrics.rate_limited.get(), 1);
    assert_eq!(clicked(0, &left).await, (Ok(()), false), "an hour later");
    assert_eq!(clicked(now_ms(), &[]).await, (Ok(()), false), "for when its time has come");
}
