//! Transcripts of a vault, with the files beside them.

use std::fs;

use sealdesk_tests::client::Client;
use sealdesk_tests::office::{Office, run, succeed};
use sealdesk_tests::relay::{Door, Relay};
use serde_json::json;

#[tokio::test]
async fn a_transcript_comes_with_its_files_and_at_once_without_them_when_the_relay_is_away() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let mut mira = Client::agent(&office, &relay.url(), "mira", &[]);
    let mut carla = Client::customer(&office, &relay.url(), "carla", &[]);
    let conversation = carla.open().await;
    carla.say("I am Carla.").await;
    mira.hear().await;
    fs::write(office.path("bild.png"), b"a picture").unwrap();
    let file = json!({"send": {"file": office.text("bild.png")}, "conversation": conversation});
    mira.command(file).await;
    carla.find(|line| line.get("message")?.get("file").map(drop)).await;
    assert_eq!(carla.leave().await, Some(0));

    let (home, url) = (office.text("carla"), relay.url());
    let export = |out: &str| {
        ["export", "--home", &home, "--attachments", "--relay", &url, "--out", out].map(String::from)
    };
    let with = office.text("with.txt");
    succeed(&export(&with).each_ref().map(String::as_str)).await;
    let files: Vec<_> =
        fs::read_dir(office.path("with.txt.files")).unwrap().map(|f| f.unwrap().path()).collect();
    let [saved] = files.as_slice() else { panic!("one file: {files:?}") };
    assert_eq!(fs::read(saved).unwrap(), b"a picture");
    let text = fs::read_to_string(&with).unwrap();
    assert!(text.contains(&format!("saved as {}", saved.display())), "{text}");

    relay.stop().await;
    let without = office.text("without.txt");
    let ran = run(&export(&without).each_ref().map(String::as_str)).await;
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.success(), "{said}");
    let warning =
        format!("warning: the files of this conversation are not fetched: The relay {url} cannot be reached");
    assert!(said.contains(&warning), "{said}");
    let text = fs::read_to_string(&without).unwrap();
    assert!(text.contains("[file] bild.png") && !text.contains("saved as"), "{text}");
    assert!(!office.path("without.txt.files").exists(), "nothing is in it");
    assert_eq!(fs::read_dir(office.path("with.txt.files")).unwrap().count(), 1);
}
