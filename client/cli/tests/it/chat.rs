//! Chats with the real program and no relay: what must work, and how it fails.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use crate::desk::Desk;
use serde_json::Value;

const CUSTOMER: &str = "customer chat --json --org admin/org.json --home customer --drain 0";

fn lines(out: &str) -> Vec<Value> {
    out.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l}\n{e}"))).collect()
}

fn find<'a>(lines: &'a [Value], kind: &str) -> &'a Value {
    lines.iter().find_map(|l| l.get(kind)).unwrap_or_else(|| panic!("no {kind} in {lines:#?}"))
}

#[test]
fn without_a_relay_everything_is_kept_and_said() {
    let desk = Desk::with_organisation();
    let input =
        b"{\"open\":{\"topic\":\"general\"},\"id\":1}\n{\"send\":{\"text\":\"hello\"},\"id\":\"two\"}\n";
    let ran = desk
        .run_with("customer chat --json --org admin/org.json --home customer --drain 6", input)
        .refused(8, "not everything");
    let told = lines(&ran.out);
    assert!(told[0].get("ready").is_some(), "ready comes first");
    let done: Vec<_> = told.iter().filter(|l| l.get("done").is_some()).map(|l| l["id"].clone()).collect();
    assert_eq!(done, [Value::from(1), Value::from("two")]);
    let unreachable = told.iter().find(|l| l["error"]["code"] == "relay_unreachable").unwrap();
    assert_eq!(unreachable["error"]["fault"], "network");
    assert_eq!(told.last().unwrap()["error"]["code"], "undelivered");
    // It is there at the next start, and in the transcript.
    let again = lines(&desk.run_with(CUSTOMER, b"").refused(8, "").out);
    assert_eq!(again[0]["ready"]["conversations"][0]["phase"], "queued");
    desk.run("export --home customer --out t.json --format json").good();
    let transcript: Value = serde_json::from_slice(&std::fs::read(desk.path("t.json")).unwrap()).unwrap();
    assert_eq!(transcript["messages"][0]["text"], "hello");
    assert_eq!(transcript["messages"][0]["state"], "waiting");
    desk.run("export --home customer --out t.txt").good();
    assert!(std::fs::read_to_string(desk.path("t.txt")).unwrap().contains("\n    hello\n"));
    let verified = desk.run("verify --home customer --json").good().out;
    assert_eq!(lines(&verified)[0]["verified"]["safety_number"], Value::Null);
}

/// A network that is away passes by itself; what the relay refuses does not.
#[test]
fn a_relay_that_refuses_is_the_relay_s_fault_also_with_a_message_pending() {
    let desk = Desk::with_organisation();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let input = b"{\"open\":{\"topic\":\"general\"}}\n{\"send\":{\"text\":\"hello\"}}\n";
    // No TLS there, and no WebSocket.
    for scheme in ["wss", "ws"] {
        let ran = desk.run_with(
            &format!("customer chat --json --org admin/org.json --home {scheme} --drain 6 --relay {scheme}://127.0.0.1:{port}/"),
            input,
        );
        let ran = ran.refused(7, "(the relay's fault)");
        let last = lines(&ran.out).pop().unwrap();
        assert_eq!(
            (&last["error"]["code"], &last["error"]["fault"]),
            (&"relay_unreachable".into(), &"relay".into())
        );
    }
}

#[test]
fn no_input_line_panics_and_each_bad_one_is_answered() {
    let desk = Desk::with_organisation();
    let mut input = Vec::new();
    let bad: Vec<Vec<u8>> = vec![
        b"hello".to_vec(),
        b"{".to_vec(),
        b"[]".to_vec(),
        b"null".to_vec(),
        b"{\"open\":{\"topic\":\"nowhere\"},\"id\":1}".to_vec(),
        b"{\"open\":{\"topic\":\"general\",\"language\":\"no such tag!\"}}".to_vec(),
        b"{\"send\":{\"text\":\"to whom?\"}}".to_vec(),
        b"{\"close\":{},\"conversation\":\"zz\"}".to_vec(),
        b"{\"claim\":{}}".to_vec(),
        b"{\"send\":{\"rating\":9}}".to_vec(),
        b"{\"id\":{\"a\":1},\"list\":{}}".to_vec(),
        vec![0xff, 0x00, 0x80],
        vec![b'['; 200_000],
        [b"{\"send\":{\"text\":\"".as_slice(), &vec![b'x'; 2_000_000], b"\"}}"].concat(),
    ];
    for line in &bad {
        input.extend_from_slice(line);
        input.push(b'\n');
    }
    // And still alive.
    input.extend_from_slice(b"{\"open\":{\"topic\":\"general\"},\"id\":\"last\"}");
    let ran = desk.run_with(CUSTOMER, &input);
    assert!(ran.code == 0 || ran.code == 8, "{}: {}", ran.code, ran.err);
    let told = lines(&ran.out);
    let errors: Vec<_> = told.iter().filter_map(|l| l.get("error")).collect();
    for error in &errors {
        for field in ["code", "fault", "text", "hint"] {
            assert!(error[field].as_str().is_some_and(|t| !t.is_empty()), "{field} of {error}");
        }
    }
    let answers = errors.iter().filter(|e| e["code"] != "relay_unreachable" && e["code"] != "undelivered");
    assert_eq!(answers.count(), bad.len(), "{errors:#?}");
    assert!(told.iter().any(|l| l.get("done").is_some() && l["id"] == "last"));
}

#[test]
fn texts_and_files_that_cannot_be_sent_are_refused() {
    let desk = Desk::with_organisation();
    let long = format!("{{\"send\":{{\"text\":\"{}\"}},\"id\":\"long\"}}\n", "x".repeat(50_000));
    let input = format!(
        "{{\"open\":{{\"topic\":\"general\"}}}}\n{long}{}\n{}\n{}\n{}\n",
        r#"{"send":{"text":""},"id":"empty"}"#,
        r#"{"send":{"file":"absent.pdf"},"id":"absent"}"#,
        r#"{"send":{"file":"."},"id":"folder"}"#,
        r#"{"save":{"message":"nonsense","to":"x"},"id":"save"}"#,
    );
    let told = lines(&desk.run_with(CUSTOMER, input.as_bytes()).out);
    let code = |id: &str| told.iter().find(|l| l["id"] == id).map(|l| l["error"]["code"].clone()).unwrap();
    assert_eq!(code("long"), "content_refused");
    assert_eq!(code("empty"), "content_refused");
    assert_eq!(code("absent"), "file");
    assert_eq!(code("folder"), "file");
    assert_eq!(code("save"), "unknown_message");
}

#[test]
fn an_outdated_notice_is_no_consent() {
    let desk = Desk::with_organisation();
    let ready = lines(&desk.run_with(CUSTOMER, b"").good().out);
    let notices = &find(&ready, "ready")["notices"];
    let current = notices[0]["hash"].as_str().unwrap();
    let open = |hash: &str| {
        let line = format!("{{\"open\":{{\"topic\":\"general\",\"notice\":\"{hash}\"}},\"id\":1}}\n");
        lines(&desk.run_with(CUSTOMER, line.as_bytes()).out)
    };
    assert_eq!(find(&open(&"0".repeat(64)), "error")["code"], "consent_outdated");
    find(&open(current), "done");
    // Nobody agreed to a notice that there is not; to one in another language, by naming it.
    let open = |more: &str| {
        let line = format!("{{\"open\":{{\"topic\":\"general\",\"language\":{more}}},\"id\":1}}\n");
        lines(&desk.run_with(CUSTOMER, line.as_bytes()).out)
    };
    let refused = open("\"fr\"");
    let why = &refused.iter().find(|l| l["id"] == 1).unwrap()["error"];
    assert_eq!(why["code"], "no_notice");
    assert!(
        why["text"].as_str().unwrap().contains("'fr'")
            && why["hint"].as_str().unwrap().contains("en, de, ar, zh"),
        "{why}"
    );
    let named = open(&format!("\"fr\",\"notice\":\"{current}\""));
    assert_eq!(find(&named, "state")["language"], "fr");
    find(&open("\"AR-eg\""), "done");
}

/// A chat that stays, holding its vault.
fn holding(desk: &Desk) -> Child {
    let mut child = desk.command(CUSTOMER).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("{\"ready\":"), "{first}");
    child
}

#[test]
fn a_vault_in_use_names_its_holder() {
    let desk = Desk::with_organisation();
    let mut child = holding(&desk);
    let words = format!("in use by sealdesk (process {})", child.id());
    desk.run_with(CUSTOMER, b"").refused(5, &words);
    desk.run("export --home customer --out t.txt").refused(5, &words);
    desk.run("verify --home customer").refused(5, "/verify");
    child.stdin.take().unwrap().flush().unwrap();
    assert!(child.wait().unwrap().success());
    desk.run_with(CUSTOMER, b"").good();
}

#[test]
fn a_killed_chat_leaves_its_vault_usable() {
    let desk = Desk::with_organisation();
    let mut child = holding(&desk);
    child.kill().unwrap();
    child.wait().unwrap();
    desk.run_with(CUSTOMER, b"").good();
}

#[test]
fn damaged_vaults_are_said_and_survive() {
    let desk = Desk::with_agent();
    let path = desk.path("mira/vault.redb");
    let good = std::fs::read(&path).unwrap();
    let export = "export --home mira --out t.txt --passphrase-file mira.pass";
    for bad in [&good[..0], &good[..good.len() / 3], &vec![0x5a; 8192][..]] {
        std::fs::write(&path, bad).unwrap();
        desk.run(export).refused(5, "damaged");
        assert_eq!(std::fs::read(&path).unwrap(), bad, "what is damaged is left for a rescue");
    }
    std::fs::write(&path, &good).unwrap();
    desk.run(export).refused(2, "no conversation yet");
    desk.run("export --home mira --out t.txt --passphrase-file wrong.pass").refused(4, "passphrase is wrong");
    desk.run("export --home mira --out t.txt").refused(4, "no terminal");
    desk.run("export --home nowhere --out t.txt").refused(3, "no vault");
}

#[test]
fn a_home_belongs_to_one_organisation_and_one_side() {
    let desk = Desk::with_agent();
    desk.run_with(CUSTOMER, b"").good();
    desk.run("org init --dir theirs --demo --passphrase-file admin.pass").good();
    let ran = desk
        .run_with("customer chat --json --org theirs/org.json --home customer", b"")
        .refused(6, "another organisation");
    assert_eq!(find(&lines(&ran.out), "error")["code"], "untrusted", "programs get it as a line");
    let root = "0".repeat(64);
    desk.run_with(&format!("{CUSTOMER} --root {root}"), b"").refused(2, "bound to the organisation");
    desk.run_with(&format!("customer chat --json --org admin/org.json --home new --root {root}"), b"")
        .refused(6, "another organisation");
    assert!(!desk.path("new").exists());
    desk.run_with("customer chat --json --home mira --passphrase-file mira.pass", b"")
        .refused(2, "an agent's");
    desk.run_with("agent chat --json --home customer", b"").refused(2, "a customer's");
    desk.run_with("customer chat --json --home fresh", b"").refused(2, "--org");
}

#[test]
fn an_older_org_json_is_refused() {
    let desk = Desk::with_organisation();
    std::fs::copy(desk.path("admin/org.json"), desk.path("old.json")).unwrap();
    desk.run("org set --dir admin --name Newer --passphrase-file admin.pass").good();
    desk.run_with(CUSTOMER, b"").good();
    desk.run_with("customer chat --json --org old.json --home customer", b"").refused(6, "older");
    // Also when the home's own copy is exchanged: the vault remembers.
    std::fs::copy(desk.path("old.json"), desk.path("customer/org.json")).unwrap();
    desk.run_with("customer chat --json --home customer", b"").refused(6, "older");
}

#[test]
fn plaintext_to_other_machines_has_to_be_allowed() {
    let desk = Desk::with_organisation();
    desk.run_with(&format!("{CUSTOMER} --relay ws://192.0.2.1/"), b"").refused(2, "no TLS");
    desk.run_with(&format!("{CUSTOMER} --relay ws://192.0.2.1/ --insecure-plaintext"), b"").good();
    desk.run_with(&format!("{CUSTOMER} --ca absent.pem"), b"").refused(3, "absent.pem");
    std::fs::write(desk.path("ca.pem"), "nothing").unwrap();
    desk.run_with(&format!("{CUSTOMER} --ca ca.pem"), b"").refused(2, "no certificate authority");
}

#[test]
fn an_agent_needs_a_certificate_and_picks_it_up() {
    let desk = Desk::with_request();
    let chat = "agent chat --json --home mira --passphrase-file mira.pass --drain 0";
    desk.run_with(chat, b"").refused(2, "no certificate");
    desk.run("agent approve --dir admin --request mira.request --unchecked --out mira/certificate --passphrase-file admin.pass").good();
    let ran = desk.run_with(chat, b"{\"list\":{},\"id\":1}\n{\"open\":{\"topic\":\"general\"},\"id\":2}\n");
    let told = lines(&ran.good().out);
    assert_eq!(find(&told, "ready")["party"], "agent");
    assert_eq!(told.iter().find(|l| l["id"] == 2).unwrap()["error"]["code"], "wrong_party");
    // A spoilt file is said, and the certificate before still serves.
    std::fs::write(desk.path("mira/certificate"), "spoilt").unwrap();
    let ran = desk.run_with(chat, b"");
    assert_eq!(ran.code, 0);
    assert!(ran.err.starts_with("warning: "), "{}", ran.err);
}

#[test]
fn the_later_certificate_counts_not_the_longer_one() {
    let desk = Desk::with_request();
    let chat = "agent chat --json --home mira --passphrase-file mira.pass --drain 0";
    desk.run("agent approve --dir admin --request mira.request --unchecked --days 30 --out mira/certificate --passphrase-file admin.pass").good();
    desk.run_with(chat, b"").good();
    std::fs::copy(desk.path("mira/certificate"), desk.path("before")).unwrap();
    desk.run(
        "agent approve --dir admin --renew mira --days 5 --out mira/certificate --passphrase-file admin.pass",
    )
    .good();
    desk.run_with(chat, b"").good();
    // The one before does not come back.
    std::fs::copy(desk.path("before"), desk.path("mira/certificate")).unwrap();
    let ran = desk.run_with(chat, b"");
    assert_eq!(ran.code, 0);
    assert!(ran.err.contains("this home has a later certificate"), "{}", ran.err);
}

#[cfg(unix)]
#[test]
fn a_full_disk_loses_nothing_and_is_said() {
    let desk = Desk::with_organisation();
    desk.run_with(CUSTOMER, b"{\"open\":{\"topic\":\"general\"}}\n");
    let kib = std::fs::metadata(desk.path("customer/vault.redb")).unwrap().len() / 1024 + 256;
    let mut input = String::new();
    for n in 0..60 {
        input += &format!("{{\"send\":{{\"text\":\"{}\"}},\"id\":{n}}}\n", format!("{n} ").repeat(9_000));
    }
    // Files of this shell's children end at a size, as on a full disk.
    let script = format!("trap '' XFSZ; ulimit -f {kib}; exec {} {CUSTOMER}", env!("CARGO_BIN_EXE_sealdesk"));
    let mut child = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(desk.folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let ran = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let err = String::from_utf8_lossy(&ran.stderr);
    assert!(!err.contains("panicked"), "{err}");
    let told = lines(&String::from_utf8(ran.stdout).unwrap());
    let done: Vec<i64> =
        told.iter().filter(|l| l.get("done").is_some()).filter_map(|l| l["id"].as_i64()).collect();
    let failed = told.iter().filter(|l| l["error"]["code"] == "not_stored").count();
    assert!(failed > 0, "the limit was reached: {} done", done.len());
    // What was said to be done is there; what was refused is not.
    desk.run("export --home customer --out t.json --format json").good();
    let transcript: Value = serde_json::from_slice(&std::fs::read(desk.path("t.json")).unwrap()).unwrap();
    let kept: Vec<i64> = transcript["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["text"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap())
        .collect();
    for id in done {
        assert_eq!(kept.iter().filter(|k| **k == id).count(), 1, "message {id}");
    }
}

#[cfg(unix)]
#[test]
fn a_chat_for_people_ends_in_order_when_it_is_told_to() {
    for signal in ["-TERM", "-HUP"] {
        let desk = Desk::with_organisation();
        let mut child = desk
            .command("customer chat --org admin/org.json --home customer")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The end of input is another matter, and comes when this is dropped.
        let _input = child.stdin.take();
        let mut first = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        while !first.contains("Choose what it is about") {
            assert_ne!(out.read_line(&mut first).unwrap(), 0, "{first}");
        }
        let sent = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
        desk.run_with(CUSTOMER, b"").good();
    }
}

#[test]
fn people_are_led_to_a_conversation() {
    let desk = Desk::with_organisation();
    let input =
        b"/help\nhello?\n/new general\nhello\n/nonsense\n/agree\nHello!\n/verify\n/list\n/close\n/export t.txt\n";
    let chat = "customer chat --org admin/org.json --home customer --drain 0";
    let ran = desk.run_until(chat, input, "cannot be reached", b"/quit\n");
    assert_eq!(ran.code, 8, "{}\n{}", ran.out, ran.err);
    for words in [
        "Demo Shop, end to end encrypted",
        "This vault has no passphrase",
        "Choose what it is about",
        "Privacy notice:",
        "the privacy notice comes first",
        "There is no such command",
        "No safety number yet",
        "cannot be reached",
        "/save N [PATH]",
        "/close now closes without being asked",
    ] {
        assert!(ran.out.contains(words), "{words:?} is not in:\n{}", ran.out);
    }
    assert!(!ran.out.contains('\u{1b}'), "no colours without a terminal");
    let exported = std::fs::read_to_string(desk.path("t.txt")).unwrap();
    assert!(exported.contains("Hello!") && exported.contains("you (not sent):"), "{exported}");
}
