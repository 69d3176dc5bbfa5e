//! An agent at a terminal, as a person sits there.

use sealdesk_tests::client::Client;
use sealdesk_tests::office::{Office, private, succeed};
use sealdesk_tests::relay::{Door, Relay};
use sealdesk_tests::terminal::Terminal;
use serde_json::json;

#[tokio::test]
async fn files_are_named_with_where_they_are_and_whole_in_receipts() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let (home, pass, url) = (office.text("mira"), office.text("agent.pass"), relay.url());
    let chat = ["agent", "chat", "--relay", &url, "--home", &home, "--passphrase-file", &pass];
    let folder = office.path("downloads");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(office.path("bild.png"), b"a picture").unwrap();
    let mut agent = Terminal::start_in(&folder, &chat);
    agent.shows("Waiting for customers.").await;
    let mut carla = Client::customer(&office, &url, "carla", &[]);
    carla.open().await;
    carla.say("I am Carla.").await;
    agent.shows("I am Carla.").await;
    carla.command(json!({"send": {"file": office.text("bild.png")}})).await;
    agent.shows("/save ").await;
    agent.shows("[1] > ").await;
    let drawn = agent.drawn();
    let number = drawn.rsplit_once("/save ").unwrap().1.split(' ').next().unwrap();
    agent.types(&format!("/save {number}\r")).await;
    agent.shows(&format!("Saved as {}.", folder.join("bild.png").display())).await;
    assert_eq!(std::fs::read(folder.join("bild.png")).unwrap(), b"a picture");
    agent.shows("[1] > ").await;
    agent.types("/save 1\r").await;
    agent.shows("That message holds no file. The number stands below each file.").await;
    // A folder takes it under its own name, once.
    let album = office.path("album");
    std::fs::create_dir(&album).unwrap();
    agent.shows("[1] > ").await;
    agent.types(&format!("/save {number} {}\r", album.display())).await;
    agent.shows(&format!("Saved as {}.", album.join("bild.png").display())).await;
    assert_eq!(std::fs::read(album.join("bild.png")).unwrap(), b"a picture");
    agent.shows("[1] > ").await;
    agent.types(&format!("/save {number} ../album/\r")).await;
    agent.shows("../album/bild.png exists already and is not overwritten. Choose another name").await;
    agent.shows("[1] > ").await;
    agent.types(&format!("/save {number} nowhere/\r")).await;
    agent.shows("nowhere does not exist.").await;
    agent.types("/export ../album\r").await;
    agent.shows("../album is a folder.").await;
    agent.types("/file bild.png\r").await;
    agent.shows("read: [file] bild.png\r\n").await;
    agent.types("/help\r").await;
    agent.shows("\r\n  /accept ").await;
    agent.types("/quit\r").await;
    assert_eq!(agent.ended().await, Some(0), "{}", agent.drawn());
    assert_eq!(carla.leave().await, Some(0));
}

#[tokio::test]
async fn who_makes_an_organisation_is_asked_again_what_does_not_serve() {
    let folder = tempfile::Builder::new().prefix("sealdesk-it-").tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (admin, pass, notice, empty) = (path("admin"), path("pass"), path("notice.txt"), path("empty.txt"));
    private(pass.as_ref(), "correct horse battery");
    std::fs::write(&notice, "We process what you write.").unwrap();
    std::fs::write(&empty, "\n").unwrap();
    let issuer = ["--issuer-passphrase-file", &pass];
    let mut init = Terminal::start(&[&["org", "init", "--dir", &admin][..], &issuer].concat());
    for (question, answers) in [
        ("Name of the organisation", vec![("", "An answer is needed"), ("Example Shop", "")]),
        ("Name of the relay", vec![(&*"x".repeat(65), "1 to 64 bytes"), ("relay.example", "")]),
        ("URL of the relay", vec![("ws://relay.example/", "has no TLS"), ("wss://relay.example/", "")]),
        ("A team", vec![("support", "ID=NAME"), ("help=Help", "")]),
        ("A topic", vec![("general=support:General", "team 'support', which does not exist"), ("", "")]),
    ] {
        for (answer, refused) in answers {
            init.shows(question).await;
            init.shows(": ").await;
            init.answers(&format!("{answer}\r"));
            init.shows(refused).await;
        }
    }
    for (answer, refused) in [
        ("en", "LANG=FILE"),
        (&*format!("en={}", path("none.txt")), "none.txt does not exist"),
        (&*format!("en={empty}"), "there is no text in that file"),
        (&*format!("en={notice}"), ""),
    ] {
        init.shows("Privacy notice, as LANG=FILE: ").await;
        init.answers(&format!("{answer}\r"));
        init.shows(refused).await;
    }
    // All that was answered before is not asked again because of a passphrase.
    init.shows("New passphrase of the root key: ").await;
    init.answers("short\r");
    init.shows("at least").await;
    for (again, said) in
        [("another horse", "The two are not the same."), ("correct horse battery", "made in")]
    {
        init.shows("New passphrase of the root key: ").await;
        init.answers("correct horse battery\r");
        init.shows("The same again: ").await;
        init.answers(&format!("{again}\r"));
        init.shows(said).await;
    }
    assert_eq!(init.ended().await, Some(0), "{}", init.drawn());
    let shown = succeed(&["org", "show", "--json", "--dir", &admin]).await;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["topics"][0]["team"], "help");
    assert_eq!(shown["relay_urls"], json!(["wss://relay.example/"]));
    assert_eq!(shown["notices"][0]["text"], "We process what you write.");
}

#[tokio::test]
async fn an_agent_who_accepts_by_hand_is_told_what_to_type() {
    let office = Office::with_agents(&["mira"]).await;
    let relay = Relay::start(&office, |_| {}).await;
    let (home, pass, url) = (office.text("mira"), office.text("agent.pass"), relay.url());
    let chat = ["agent", "chat", "--relay", &url, "--home", &home, "--passphrase-file", &pass, "--manual"];
    let mut agent = Terminal::start(&chat);
    agent.shows("Waiting for customers.").await;
    let mut carla = Client::customer(&office, &url, "carla", &[]);
    carla.open().await;
    agent.shows("Conversation 1 with a customer").await;
    agent.shows("It waits for you: /accept takes it.").await;
    let mut dora = Client::customer(&office, &url, "dora", &[]);
    dora.open().await;
    agent.shows("[2] It waits for you: /switch 2, then /accept takes it.").await;
    agent.shows("[1] > ").await;
    agent.types("Hello Carla.\r").await;
    agent.shows("This conversation is not accepted yet. /accept takes it.").await;
    agent.shows("Not sent: Hello Carla.").await;
    agent.types("/switch 2\r").await;
    agent.shows("Now in conversation 2 with a customer, which waits: /accept takes it.").await;
    agent.shows("[2] > ").await;
    agent.types("/accept\r").await;
    agent.shows("Accepted.").await;
    agent.types("Hello Dora.\r").await;
    assert_eq!(dora.hear().await.1, "Hello Dora.");
    // Not said once more, as if it had taken Carla.
    agent.types("/accept\r").await;
    agent.shows("This conversation is accepted already. Conversation 1 waits: /switch 1").await;
    agent.types("/quit\r").await;
    assert_eq!(agent.ended().await, Some(0), "{}", agent.drawn());
    assert_eq!(dora.leave().await, Some(0));
}
