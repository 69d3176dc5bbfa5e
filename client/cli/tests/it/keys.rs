//! Endorsements, rotation of the root key, passphrases: with the real program.

use crate::desk::{Desk, edit};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}\n{e}"))
}

impl Desk {
    /// A second device of mira asks.
    fn with_laptop() -> (Self, String) {
        let desk = Self::with_agent();
        let asked = desk.run("agent enroll --invitation mira.invitation --home laptop --out laptop.request --passphrase-file mira.pass --json");
        let code = json(&asked.good().out)["code"].as_str().unwrap().to_string();
        (desk, code)
    }

    fn devices(&self) -> Vec<Value> {
        json(&self.run("agent list --dir admin --json").good().out)["devices"].as_array().unwrap().clone()
    }
}

const APPROVE: &str = "agent approve --dir admin --request laptop.request --unchecked --out laptop.certificate --passphrase-file admin.pass";

#[test]
fn an_earlier_device_vouches_for_a_further_one() {
    let (desk, code) = Desk::with_laptop();
    let endorse = |how: &str| {
        desk.run(&format!("agent endorse --home mira --request laptop.request {how} --out laptop.endorsement --passphrase-file mira.pass"))
    };
    endorse("").refused(2, "comparison code is missing");
    endorse("--code 0000-0000-0000-0000").refused(6, "does not match");
    assert!(!desk.path("laptop.endorsement").exists());
    assert!(endorse(&format!("--code {code}")).good().out.contains("vouches"));
    endorse("--unchecked").refused(3, "not overwritten");

    desk.run(APPROVE).good();
    assert_eq!(desk.devices()[1]["endorsed"], false, "shown as new");
    desk.run(&format!("{APPROVE} --endorsement laptop.endorsement")).good();
    assert_eq!(desk.devices()[1]["endorsed"], true);
    desk.run("agent install --home laptop --certificate laptop.certificate --passphrase-file mira.pass")
        .good();
    // A renewal keeps the word, and either device can be renewed.
    for (device, endorsed) in [(2, true), (1, false)] {
        desk.run(&format!("agent approve --dir admin --renew mira --device {device} --out renewed --passphrase-file admin.pass")).good();
        assert_eq!(desk.devices()[device - 1]["serial"], 6 - device);
        assert_eq!(desk.devices()[device - 1]["endorsed"], endorsed);
    }
    desk.run("agent approve --dir admin --renew mira --device 3 --out renewed --passphrase-file admin.pass")
        .refused(2, "no approved device 3");
    // The word of a device that was revoked since counts for nothing.
    desk.run("agent revoke --dir admin --agent mira --device 1 --passphrase-file admin.pass").good();
    assert_eq!(desk.devices()[1]["endorsed"], false);
    desk.run(&format!("{APPROVE} --endorsement laptop.endorsement")).refused(2, "may vouch");
}

#[test]
fn only_a_device_of_the_same_agent_vouches_and_only_for_another() {
    let (desk, _) = Desk::with_laptop();
    let endorse = |home: &str, request: &str| {
        desk.run(&format!(
            "agent endorse --home {home} --request {request} --unchecked --out e --passphrase-file mira.pass"
        ))
    };
    endorse("mira", "mira.request").refused(6, "not of a further device");
    endorse("laptop", "mira.request").refused(6, "no certificate");
    // Another agent's device.
    desk.run("agent invite --dir admin --agent sam --name Sam --team support --out sam.invitation --passphrase-file admin.pass").good();
    desk.run(
        "agent enroll --invitation sam.invitation --home sam --out sam.request --passphrase-file mira.pass",
    )
    .good();
    desk.run("agent approve --dir admin --request sam.request --unchecked --out sam.certificate --passphrase-file admin.pass").good();
    desk.run("agent install --home sam --certificate sam.certificate --passphrase-file mira.pass").good();
    endorse("sam", "laptop.request").refused(6, "not of a further device");
    // An endorsement of another request.
    desk.run("agent enroll --invitation mira.invitation --home tablet --out tablet.request --passphrase-file mira.pass").good();
    endorse("mira", "tablet.request").good();
    desk.run(&format!("{APPROVE} --endorsement e")).refused(6, "e does not vouch for this request");
    edit(&desk.path("e"), |text| text.replace("\"sealdesk_endorsement\": 1", "\"sealdesk_endorsement\": 2"));
    desk.run(&format!("{APPROVE} --endorsement e")).refused(3, "no endorsement");
}

const ROTATE: &str =
    "org rotate-root --dir admin --passphrase-file admin.pass --new-root-passphrase-file new.pass";

#[test]
fn a_root_rotates_and_everything_below_is_signed_anew() {
    let (desk, _) = Desk::with_laptop();
    desk.secret("new.pass", "another root's words");
    desk.run(APPROVE).good();
    desk.run("agent revoke --dir admin --agent mira --device 2 --passphrase-file admin.pass").good();
    let (before, root) = (desk.devices(), json(&desk.run("org show --dir admin --json").good().out));
    std::fs::copy(desk.path("admin/org.json"), desk.path("old.json")).unwrap();

    desk.run("org rotate-root --dir admin --passphrase-file wrong.pass").refused(4, "root.key");
    let said = desk.run(ROTATE).good().out;
    assert!(said.contains("version 2") && said.contains("mira-1.certificate"), "{said}");
    assert!(!said.contains("mira-2"), "revoked: {said}");
    let now = json(&desk.run("org show --dir admin --json").good().out);
    assert_eq!(now["root"], root["root"], "the same organisation");
    assert_eq!(now["revocations"], 2);

    // Devices keep numbers, ends and standing.
    let after = desk.devices();
    assert_eq!((&after[0]["state"], &after[0]["number"]), (&"valid".into(), &1.into()));
    assert_eq!(after[0]["not_after"], before[0]["not_after"]);
    assert_ne!(after[1]["state"], "valid");
    assert_eq!((&after[1]["number"], &after[1]["device"]), (&2.into(), &before[1]["device"]));
    desk.run("agent approve --dir admin --renew mira --device 2 --out x --passphrase-file admin.pass")
        .refused(6, "revoked");

    // The agent takes the new chain, and does not go back.
    desk.run(
        "agent install --home mira --certificate admin/agents/mira-1.certificate --passphrase-file mira.pass",
    )
    .good();
    desk.run("agent chat --json --home mira --org old.json --passphrase-file mira.pass --drain 0")
        .refused(6, "older");

    // The old key opens still, and certifies nothing; the new one does.
    desk.run(
        "org renew-issuer --dir admin --root-passphrase-file admin.pass --issuer-passphrase-file admin.pass",
    )
    .refused(4, "root.key");
    desk.run(
        "org renew-issuer --dir admin --root-passphrase-file new.pass --issuer-passphrase-file admin.pass",
    )
    .good();
    std::fs::copy(desk.path("admin/root-1.key"), desk.path("admin/root.key")).unwrap();
    desk.run("org renew-issuer --dir admin --passphrase-file admin.pass").refused(6, "does not belong");
}

#[test]
fn a_rotation_that_was_cut_off_is_finished_by_running_it_again() {
    let desk = Desk::with_agent();
    desk.secret("new.pass", "another root's words");
    let old = std::fs::read(desk.path("admin/org.json")).unwrap();
    let record = std::fs::read(desk.path("admin/agents/mira.json")).unwrap();
    desk.run(ROTATE).good();
    let shown = json(&desk.run("org show --dir admin --json").good().out);
    assert_eq!(shown["revocations"], 1, "the new root's issuer signs a list at once, though there was none");
    let key = std::fs::read(desk.path("admin/root.key")).unwrap();
    // The key was written, nothing else.
    std::fs::write(desk.path("admin/org.json"), old).unwrap();
    std::fs::write(desk.path("admin/agents/mira.json"), record).unwrap();
    desk.run("org renew-issuer --dir admin --passphrase-file new.pass").refused(6, "does not belong");
    assert!(desk.run(ROTATE).good().out.contains("version 2"));
    assert_eq!(std::fs::read(desk.path("admin/root.key")).unwrap(), key, "no second new key");
    assert_eq!(desk.devices()[0]["state"], "valid");
    assert!(
        desk.run(
            "org rotate-root --dir admin --root-passphrase-file new.pass --issuer-passphrase-file admin.pass"
        )
        .good()
        .out
        .contains("version 3")
    );
}

#[test]
fn passphrases_of_vaults_and_keys_change() {
    let desk = Desk::with_agent();
    desk.secret("new.pass", "words that are new");
    let change = |what: &str, old: &str| {
        desk.run(&format!("passphrase {what} --passphrase-file {old} --new-passphrase-file new.pass"))
    };
    for (what, old, opens) in [
        (
            "--home mira",
            "mira.pass",
            "agent install --home mira --certificate mira.certificate --passphrase-file",
        ),
        ("--key admin/issuer.key", "admin.pass", "org set --dir admin --name Newer --passphrase-file"),
        (
            "--key admin/root.key",
            "admin.pass",
            "org renew-issuer --dir admin --issuer-passphrase-file new.pass --root-passphrase-file",
        ),
    ] {
        change(what, "wrong.pass").refused(4, "passphrase");
        change(what, old).good();
        desk.run(&format!("{opens} {old}")).refused(4, "passphrase");
        desk.run(&format!("{opens} new.pass")).good();
    }
    // The passphrase of now was given: the new one is missing.
    for what in ["--home mira", "--key admin/issuer.key"] {
        desk.run(&format!("passphrase {what} --passphrase-file new.pass"))
            .refused(4, "or give --new-passphrase-file FILE");
    }
    desk.secret("short.pass", "1234567");
    desk.run("passphrase --home mira --passphrase-file new.pass --new-passphrase-file short.pass")
        .refused(4, "at least 8");
    desk.run("agent install --home mira --certificate mira.certificate --passphrase-file new.pass").good();
    change("--key mira.request", "mira.pass").refused(3, "no key");
    change("--home nowhere", "mira.pass").refused(3, "nowhere");
    assert_eq!(change("--home mira --key admin/root.key", "new.pass").code, 2);
    assert_eq!(desk.run("passphrase").code, 2);
}

#[test]
fn a_vault_without_passphrase_gets_its_first() {
    let desk = Desk::with_organisation();
    let chat = "customer chat --json --org admin/org.json --home carla --drain 0";
    assert!(desk.run(chat).good().out.contains("\"unprotected\":true"));
    assert!(desk.path("carla/vault.key").exists());
    desk.run("passphrase --home carla --new-passphrase-file mira.pass").good();
    assert!(!desk.path("carla/vault.key").exists());
    desk.run(chat).refused(4, "no terminal");
    desk.run(&format!("{chat} --passphrase-file wrong.pass")).refused(4, "passphrase is wrong");
    assert!(
        desk.run(&format!("{chat} --passphrase-file mira.pass")).good().out.contains("\"unprotected\":false")
    );
}

#[test]
fn a_conversation_is_deleted_when_it_is_confirmed() {
    let desk = Desk::with_organisation();
    let chat = "customer chat --json --org admin/org.json --home carla --drain 0";
    let open = b"{\"open\":{\"topic\":\"general\"},\"id\":1}\n{\"send\":{\"text\":\"hello\"}}\n";
    let ran = desk.run_with(chat, open);
    assert_eq!(ran.code, 8, "{}", ran.err);
    let done = ran.out.lines().map(json).find(|line| line["id"] == 1).unwrap();
    let id = done["conversation"].as_str().unwrap();
    let begin = &id[..8];
    // A spool that a crash left behind goes along.
    std::fs::write(desk.path("carla/spool/00112233445566778899aabbccddeeff"), "x").unwrap();
    // Whoever names none, or a wrong one, is shown what there is.
    let entry = format!("\n    {}  20", &id[..16]);
    for (wrong, words) in [
        (" --conversation ffffffffff", "no such conversation"),
        (" --conversation zz", "hexadecimal"),
        ("", "which"),
    ] {
        let refused = desk.run(&format!("delete --home carla{wrong} --yes")).refused(2, words);
        assert!(refused.err.contains(&entry) && refused.err.contains("sealdesk list"), "{}", refused.err);
    }
    for command in ["verify", "export --out t"] {
        let refused = desk.run(&format!("{command} --home carla --conversation ff")).refused(2, "no such");
        assert!(refused.err.contains(&entry), "{}", refused.err);
    }
    let listed = desk.run("list --home carla").good().out;
    assert!(listed.starts_with(&id[..16]) && listed.contains("general  with nobody yet  queued"), "{listed}");
    assert!(!desk.run("verify --home carla").good().out.contains("newest of"));
    desk.run_with(chat, b"{\"open\":{\"topic\":\"billing\"}}\n").refused(8, "");
    assert!(desk.run("verify --home carla").good().out.contains("newest of 2 conversations"));
    assert!(desk.run("export --home carla --out t").good().out.contains("newest of 2 conversations"));
    let rows = desk.run("list --home carla --json").good().out;
    assert_eq!(rows.lines().map(json).filter(|row| row["state"]["phase"] == "queued").count(), 2);
    let second = json(rows.lines().next().unwrap())["conversation"].as_str().unwrap().to_owned();
    assert_ne!(second, id, "newest first");
    desk.run(&format!("delete --home carla --conversation {second} --yes")).good();
    desk.run(&format!("delete --home carla --conversation {begin}")).refused(2, "no terminal");
    assert!(desk.run("verify --home carla --json").good().out.contains(id), "still there");
    assert!(
        desk.run(&format!("delete --home carla --conversation {begin} --yes")).good().out.contains("Deleted")
    );
    desk.run("verify --home carla").refused(2, "holds no conversation");
    desk.run("delete --home carla --conversation ff").refused(2, "holds no conversation");
    assert!(desk.run("list --home carla").good().out.contains("holds no conversation"));
    assert_eq!(std::fs::read_dir(desk.path("carla/spool")).unwrap().count(), 0);
    assert!(desk.run(chat).good().out.contains("\"conversations\":[]"));
}
