//! TLS at the relay, with the company's own authority, and its refusal without.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sealdesk_relay::config::RawTls;
use sealdesk_tests::client::Client;
use sealdesk_tests::office::Office;
use sealdesk_tests::relay::{Door, Relay};
use serde_json::json;

/// An authority of one's own, and a certificate for 127.0.0.1 of it, as PEM files.
fn authority(office: &Office, name: &str) -> (String, RawTls) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().signed_by(&key, &issuer).unwrap();
    let file = |suffix: &str| office.path(&format!("{name}.{suffix}"));
    fs::write(file("ca.pem"), issuer.pem()).unwrap();
    fs::write(file("cert.pem"), leaf.pem()).unwrap();
    fs::write(file("key.pem"), key.serialize_pem()).unwrap();
    let ca = file("ca.pem").to_str().unwrap().to_string();
    (ca, RawTls { certificate: file("cert.pem"), key: file("key.pem") })
}

/// The problem of the first link that does not come up.
async fn refused(client: &mut Client) -> serde_json::Value {
    client.write(&json!({"open": {"topic": "general"}})).await;
    client
        .find(|line| {
            let problem = line.get("error").or_else(|| line.get("link")?.get("problem"))?;
            Some(problem.clone())
        })
        .await
}

#[tokio::test]
async fn clients_trust_the_authority_that_they_were_given_and_no_other() {
    let office = Office::with_agents(&["mira"]).await;
    let (ca, tls) = authority(&office, "own");
    let (other_ca, _) = authority(&office, "other");
    let relay = Relay::start(&office, |raw| raw.tls = Some(tls)).await;
    let url = format!("wss://{}/", relay.address());
    let mut agent = Client::agent(&office, &url, "mira", &["--ca", &ca]);
    let mut customer = Client::customer(&office, &url, "carla", &["--ca", &ca]);
    customer.open().await;
    customer.say("over TLS").await;
    assert_eq!(agent.hear().await.1, "over TLS");

    let mut stranger = Client::customer(&office, &url, "stranger", &[]);
    let problem = refused(&mut stranger).await;
    let text = problem.to_string().to_lowercase();
    assert!(
        text.contains("certificate") || text.contains("unknownissuer") || text.contains("tls"),
        "{problem}"
    );
    let mut misled = Client::customer(&office, &url, "misled", &["--ca", &other_ca]);
    refused(&mut misled).await;
    for client in [&stranger, &misled] {
        assert!(!client.seen.iter().any(|line| line["link"]["state"] == "online"), "{}", client.tail());
    }
    // Plaintext to a TLS port does not work either, and ends clearly.
    let mut plain = Client::customer(&office, &relay.url(), "plain", &[]);
    refused(&mut plain).await;
    assert_eq!(relay.metric("sealdesk_devices").await, 2);
}
