//! Administration with the real program: stdout, stderr, exit codes, files.

use std::process::Stdio;

use crate::desk::{Desk, edit};
use serde_json::Value;

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}\n{e}"))
}

#[test]
fn from_the_first_key_to_a_revocation() {
    let desk = Desk::with_request();
    let asked = desk.run("agent enroll --invitation mira.invitation --home mira --out again.request --passphrase-file mira.pass --json");
    let code = json(&asked.good().out)["code"].as_str().unwrap().to_lowercase();
    let approved = desk.run(&format!(
        "agent approve --dir admin --request again.request --code {code} --out mira.certificate --passphrase-file admin.pass"
    ));
    assert!(approved.good().out.contains("device 1"));
    let installed =
        desk.run("agent install --home mira --certificate mira.certificate --passphrase-file mira.pass");
    assert!(installed.good().out.contains("Mira (mira)"));
    let listed = json(&desk.run("agent list --dir admin --json").good().out);
    assert_eq!((&listed["agent"], &listed["devices"][0]["state"]), (&"mira".into(), &"valid".into()));

    // Renewal keeps the device and its number.
    desk.run(
        "agent approve --dir admin --renew mira --days 5 --out mira.certificate --passphrase-file admin.pass",
    )
    .good();
    let renewed = json(&desk.run("agent list --dir admin --json").good().out);
    assert_eq!(renewed["devices"][0]["device"], listed["devices"][0]["device"]);
    assert_eq!((&renewed["devices"][0]["number"], &renewed["devices"][0]["serial"]), (&1.into(), &2.into()));

    let revoked = desk.run("agent revoke --dir admin --agent mira --passphrase-file admin.pass");
    assert!(revoked.good().out.contains("list number 1"));
    let listed = json(&desk.run("agent list --dir admin --json").good().out);
    assert_eq!(listed["devices"][0]["state"], "revoked");
    // To an administrator, and to the agent: what helps, and nothing that does not.
    for command in [
        "agent approve --dir admin --renew mira --out mira.certificate --passphrase-file admin.pass",
        "agent approve --dir admin --request again.request --unchecked --out c --passphrase-file admin.pass",
    ] {
        let refused = desk.run(command).refused(6, "device 1 of 'mira' is revoked");
        assert!(
            refused.err.contains("(on this side)") && refused.err.contains("agent invite"),
            "{}",
            refused.err
        );
    }
    assert!(
        desk.run("agent revoke --dir admin --agent mira --passphrase-file admin.pass")
            .good()
            .out
            .contains("already")
    );
    assert_eq!(json(&desk.run("org show --dir admin --json").good().out)["revocations"], 1);

    // For good, whatever becomes of its certificate.
    desk.run("org rotate-root --dir admin --passphrase-file admin.pass").good();
    let listed = json(&desk.run("agent list --dir admin --json").good().out);
    assert_eq!(listed["devices"][0]["state"], "revoked");
    let listed = desk.run("agent list --dir admin").good().out;
    assert!(listed.contains("  revoked\n") && !listed.contains("until"), "{listed}");
    std::fs::copy(desk.path("admin/org.json"), desk.path("mira/org.json")).unwrap();
    let refused = desk.run("agent chat --home mira --passphrase-file mira.pass").refused(6, "revoked");
    assert!(
        refused.err.contains("agent invite") && !refused.err.contains("agent install"),
        "{}",
        refused.err
    );
}

#[test]
fn what_is_not_there_is_not_taken_out() {
    let desk = Desk::with_agent();
    for (what, id) in
        [("topic", "no topic 'typo'"), ("team", "no team 'typo'"), ("notice", "no notice in 'typo'")]
    {
        desk.run(&format!("org set --dir admin --remove-{what} typo --passphrase-file admin.pass"))
            .refused(2, id);
    }
}

#[test]
fn one_command_at_a_time_changes_the_folder() {
    let desk = Desk::with_agent();
    let held = std::fs::File::create(desk.path("admin/lock")).unwrap();
    held.lock().unwrap();
    std::fs::write(desk.path("admin/lock"), "4711\n").unwrap();
    let revoke = "agent revoke --dir admin --agent mira --passphrase-file admin.pass";
    desk.run(revoke).refused(3, "process 4711");
    desk.run("org show --dir admin").good();
    drop(held);
    desk.run(revoke).good();

    let invite = |n: u8| {
        format!(
            "agent invite --dir admin --agent a{n} --name A{n} --team support --out a{n} --passphrase-file admin.pass"
        )
    };
    let desk = &desk;
    for n in 0..3 {
        desk.run(&invite(n)).good();
        desk.run(&format!(
            "agent enroll --invitation a{n} --home h{n} --out r{n} --passphrase-file mira.pass"
        ))
        .good();
    }
    std::thread::scope(|scope| {
        for n in 0..3 {
            scope.spawn(move || {
                let approve = format!(
                    "agent approve --dir admin --request r{n} --unchecked --out c{n} --passphrase-file admin.pass"
                );
                desk.run(&approve).good();
            });
        }
    });
    let listed = desk.run("agent list --dir admin --json").good().out;
    let agents: Vec<Value> = listed.lines().map(json).collect();
    let serials: std::collections::BTreeSet<u64> = agents
        .iter()
        .flat_map(|a| a["devices"].as_array().unwrap())
        .map(|d| d["serial"].as_u64().unwrap())
        .collect();
    assert_eq!(serials.len(), 4, "each device under a serial of its own");
}

#[test]
fn a_folder_that_is_no_administrators_is_named_and_left_as_it_was() {
    let desk = Desk::with_agent();
    std::fs::create_dir(desk.path("other")).unwrap();
    let invite =
        "agent invite --dir other --agent a --name A --team support --out a --passphrase-file admin.pass";
    let refused = desk.run(invite);
    assert!(refused.err.contains("sealdesk org init"), "{}", refused.err);
    refused.refused(3, "no administrator's folder");
    assert_eq!(std::fs::read_dir(desk.path("other")).unwrap().count(), 0);
}

#[test]
fn nothing_is_overwritten() {
    let desk = Desk::with_agent();
    let before = std::fs::read(desk.path("admin/root.key")).unwrap();
    desk.run("org init --dir admin --demo --passphrase-file admin.pass").refused(3, "not overwritten");
    assert_eq!(std::fs::read(desk.path("admin/root.key")).unwrap(), before);
    let org = std::fs::read(desk.path("admin/org.json")).unwrap();
    std::fs::remove_file(desk.path("admin/org.json")).unwrap();
    desk.run("org init --dir admin --demo --passphrase-file admin.pass").refused(3, "root.key");
    std::fs::write(desk.path("admin/org.json"), org).unwrap();
    std::fs::write(desk.path("taken"), "x").unwrap();
    desk.run(
        "agent enroll --invitation mira.invitation --home other --out taken --passphrase-file mira.pass",
    )
    .refused(3, "not overwritten");
    assert!(!desk.path("other/vault.redb").exists(), "refused before keys are made");
    desk.run("export --home mira --out taken --passphrase-file mira.pass").refused(3, "not overwritten");
    // A certificate takes the place of an older certificate, and of nothing else.
    let approve = |out: &str| {
        desk.run(&format!("agent approve --dir admin --renew mira --out {out} --passphrase-file admin.pass"))
    };
    for other in ["taken", "admin/root.key", "mira.request"] {
        approve(other).refused(3, "not overwritten");
    }
    assert_eq!(std::fs::read(desk.path("admin/root.key")).unwrap(), before);
    approve("mira.certificate").good();
}

#[test]
fn what_an_error_names_cannot_rule_the_terminal() {
    let desk = Desk::new();
    let shown = desk.run("org show --org \u{1b}[2J\u{202e}x.json");
    assert!(!shown.err.contains(['\u{1b}', '\u{202e}']), "{:?}", shown.err);
    shown.refused(3, "␛[2J");
}

#[cfg(unix)]
#[test]
fn keys_are_for_their_owner() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::with_agent();
    for secret in ["admin/root.key", "admin/issuer.key", "mira/vault.redb"] {
        let mode = std::fs::metadata(desk.path(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    std::fs::set_permissions(desk.path("admin.pass"), std::fs::Permissions::from_mode(0o644)).unwrap();
    desk.run("org set --dir admin --name X --passphrase-file admin.pass").refused(3, "other users");
}

#[test]
fn passphrases_are_asked_for_and_checked() {
    let desk = Desk::with_organisation();
    desk.run("org set --dir admin --name X --passphrase-file wrong.pass").refused(4, "does not open");
    desk.run("org set --dir admin --name X").refused(4, "no terminal");
    desk.run(
        "org renew-issuer --dir admin --root-passphrase-file wrong.pass --issuer-passphrase-file admin.pass",
    )
    .refused(4, "root.key");
    desk.secret("short.pass", "1234567\n");
    desk.run("org init --dir other --demo --passphrase-file short.pass").refused(4, "at least 8");
    assert!(!desk.path("other").exists());
    desk.run("org set --dir admin --name X --passphrase-file absent.pass")
        .refused(3, "absent.pass does not exist");
}

#[test]
fn an_altered_org_json_is_refused_everywhere() {
    let desk = Desk::with_request();
    let (ours, path) = (desk.path("admin/org.json"), desk.path("bad.json"));
    let good = std::fs::read_to_string(&ours).unwrap();
    let org = json(&good);
    let settings = org["settings"].as_str().unwrap();
    // One letter of a signed part.
    let other = if settings.as_bytes()[40] == b'A' { "B" } else { "A" };
    let bent = format!("{}{other}{}", &settings[..40], &settings[41..]);
    let tampered = good.replace(settings, &bent);
    std::fs::write(&path, &tampered).unwrap();
    desk.run("org show --org bad.json").refused(6, "bad.json");
    desk.run("customer chat --json --org bad.json --home customer").refused(6, "bad.json");
    assert!(!desk.path("customer").exists(), "nothing is made for an organisation that does not verify");
    std::fs::write(&ours, &tampered).unwrap();
    for command in [
        "org set --dir admin --name X --passphrase-file admin.pass",
        "agent approve --dir admin --request mira.request --unchecked --out c --passphrase-file admin.pass",
        "agent list --dir admin",
    ] {
        desk.run(command).refused(6, "org.json");
    }
    for (text, words) in [("", "no org.json"), ("{}", "no org.json"), ("[1]", "no org.json")] {
        std::fs::write(&path, text).unwrap();
        desk.run("org show --org bad.json").refused(3, words);
    }
    desk.run("org show --org nowhere.json").refused(3, "does not exist");
}

#[test]
fn another_organisations_files_are_refused() {
    let desk = Desk::with_request();
    desk.run("org init --dir theirs --demo --passphrase-file admin.pass").good();
    // Their org.json beside our keys.
    let ours = std::fs::read(desk.path("admin/org.json")).unwrap();
    std::fs::copy(desk.path("theirs/org.json"), desk.path("admin/org.json")).unwrap();
    for (command, key) in [("org set --name X", "issuer.key"), ("org renew-issuer", "root.key")] {
        let refused = desk.run(&format!("{command} --dir admin --passphrase-file admin.pass"));
        let refused = refused.refused(6, "does not belong to the org.json beside it");
        assert!(refused.err.contains(key) && refused.err.contains("(on this side)"), "{}", refused.err);
        assert!(!refused.err.contains("Fetch org.json"), "{}", refused.err);
    }
    std::fs::write(desk.path("admin/org.json"), ours).unwrap();
    // A request for us, brought to them; an invitation of theirs, accepted by a vault of ours.
    desk.run(
        "agent approve --dir theirs --request mira.request --unchecked --out c --passphrase-file admin.pass",
    )
    .refused(2, "no agent 'mira'");
    let theirs = desk.run("agent invite --dir theirs --agent mira --name Mira --team support --out theirs.invitation --passphrase-file admin.pass");
    assert!(!theirs.good().out.contains("known in this folder"));
    desk.run(
        "agent approve --dir theirs --request mira.request --unchecked --out c --passphrase-file admin.pass",
    )
    .refused(6, "does not belong to this invitation");
    desk.run("agent enroll --invitation theirs.invitation --home mira --out r --passphrase-file mira.pass")
        .refused(6, "another organisation");
    // An invitation whose root hash was exchanged.
    edit(&desk.path("mira.invitation"), |t| {
        let root = json(&t)["root"].as_str().unwrap().to_string();
        t.replace(&root, &root.replace(['0', '1'], "2"))
    });
    let altered = desk
        .run("agent enroll --invitation mira.invitation --home new --out r --passphrase-file mira.pass")
        .refused(6, "another organisation");
    assert!(altered.err.contains("Ask for the invitation again"), "{}", altered.err);
    assert!(!desk.path("new").exists());
}

#[test]
fn a_root_key_that_was_taken_away_is_asked_back() {
    let desk = Desk::with_organisation();
    std::fs::rename(desk.path("admin/root.key"), desk.path("stick")).unwrap();
    for command in ["renew-issuer", "rotate-root"] {
        let refused = desk.run(&format!("org {command} --dir admin --passphrase-file admin.pass"));
        let refused = refused.refused(3, "admin/root.key is not here");
        assert!(refused.err.contains("Copy root.key back"), "{}", refused.err);
    }
    desk.run("org set --dir admin --name X --passphrase-file admin.pass").good();
    std::fs::rename(desk.path("stick"), desk.path("admin/root.key")).unwrap();
    desk.run("org renew-issuer --dir admin --passphrase-file admin.pass").good();
}

#[test]
fn an_older_issuers_key_does_not_sign() {
    let desk = Desk::with_agent();
    let old = std::fs::read(desk.path("admin/issuer.key")).unwrap();
    assert!(
        desk.run("org renew-issuer --dir admin --passphrase-file admin.pass")
            .good()
            .out
            .contains("certificate 2")
    );
    assert!(desk.path("admin/issuer-1.key").exists());
    // Certificates under the old issuer stay good; its key is not used any more.
    let listed = json(&desk.run("agent list --dir admin --json").good().out);
    assert_eq!(listed["devices"][0]["state"], "valid");
    std::fs::write(desk.path("admin/issuer.key"), old).unwrap();
    desk.run("org set --dir admin --name X --passphrase-file admin.pass").refused(6, "does not belong");
    // Every renewal brings a list of the new issuer: none under the old key is newer than it.
    let file: sealdesk_protocol::org::OrgFile =
        serde_json::from_slice(&std::fs::read(desk.path("admin/org.json")).unwrap()).unwrap();
    assert_eq!(file.revocations().unwrap().unwrap().issuer, file.issuer().unwrap());
    // The way out is to run it again.
    desk.run("org renew-issuer --dir admin --revoke-old --passphrase-file admin.pass").good();
    desk.run("org set --dir admin --name X --passphrase-file admin.pass").good();
    let shown = json(&desk.run("org show --dir admin --json").good().out);
    assert_eq!(
        (&shown["issuer"]["serial"], &shown["revocations"], &shown["name"]),
        (&3.into(), &2.into(), &"X".into())
    );
}

#[test]
fn settings_change_and_stay_sound() {
    let desk = Desk::with_organisation();
    std::fs::write(desk.path("notice.txt"), "Rien n'est conservé.").unwrap();
    desk.run("org set --dir admin --team billing=Billing --topic billing=billing:Invoices --topic-name billing:fr=Factures --notice fr=notice.txt --assignment claim --relay-url wss://relay.example/ --passphrase-file admin.pass").good();
    let shown = json(&desk.run("org show --dir admin --json").good().out);
    assert_eq!((&shown["settings_version"], &shown["assignment"]), (&2.into(), &"claim".into()));
    assert_eq!(shown["topics"][1]["names"]["fr"], "Factures");
    assert_eq!(shown["notices"].as_array().unwrap().len(), 5);
    assert!(
        desk.run("org set --dir admin --assignment claim --passphrase-file admin.pass")
            .good()
            .out
            .contains("Nothing to change")
    );
    let set = |how: &str| desk.run(&format!("org set --dir admin {how} --passphrase-file admin.pass"));
    set("--remove-team billing").refused(2, "topic 'billing' belongs to team 'billing', which is taken out");
    let all = set("--remove-team billing --remove-team support").refused(2, "--remove-topic general");
    assert!(!all.err.contains("--demo"), "{}", all.err);
    set("--topic a=nowhere:A").refused(2, "does not exist");
    let none = set("--remove-topic general --remove-topic billing").refused(2, "topic is missing");
    assert!(none.err.contains("--topic ID=TEAM:NAME.") && !none.err.contains("--demo"), "{}", none.err);
    set("--relay-url ws://relay.example/").refused(2, "no TLS");
    set("--notice en=absent.txt").refused(3, "absent.txt");
    std::fs::write(desk.path("notice.txt"), [0xff, 0xfe]).unwrap();
    set("--notice en=notice.txt").refused(3, "UTF-8");
    assert_eq!(json(&desk.run("org show --dir admin --json").good().out)["settings_version"], 2);
    let text = desk.run("org show --org admin/org.json").good().out;
    assert!(text.contains("Demo Shop") && text.contains("root hash"), "{text}");
}

#[test]
fn wrong_usage_is_said_with_exit_code_2() {
    let desk = Desk::new();
    for line in [
        "",
        "org",
        "org init",
        "agent invite --dir admin",
        "agent approve --dir a --out b",
        "customer chat --relay https://x/",
        "agent invite --dir a --agent Mira --name M --team t --out x",
        "--nonsense",
    ] {
        let ran = desk.run(line);
        assert_eq!(ran.code, 2, "{line}: {}", ran.err);
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{line}");
    }
    desk.run("org init --dir admin --passphrase-file admin.pass").refused(2, "name is missing");
    let revoke = "agent revoke --dir admin --agent mira --passphrase-file admin.pass";
    desk.run(revoke).refused(3, "admin does not exist");
    std::fs::create_dir(desk.path("admin")).unwrap();
    desk.run(revoke).refused(3, "no administrator's folder");
    let desk = Desk::with_organisation();
    desk.run(revoke).refused(2, "was invited");
}

#[test]
fn a_reader_who_has_enough_is_no_fault() {
    let desk = Desk::with_organisation();
    let mut command = desk.command("org show --dir admin");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr).unwrap()), (Some(141), String::new()));
}
