//! Agents' devices from invitation to revocation, with the real program.

use crate::administration::json;
use crate::desk::{Desk, edit};

#[test]
fn a_second_device_gets_the_next_number() {
    let desk = Desk::with_agent();
    desk.run("agent enroll --invitation mira.invitation --home laptop --out laptop.request --passphrase-file mira.pass").good();
    desk.run("agent approve --dir admin --request laptop.request --unchecked --out laptop.certificate --passphrase-file admin.pass").good();
    let listed = json(&desk.run("agent list --dir admin --json").good().out);
    assert_eq!(listed["devices"][1]["number"], 2);
    // A certificate of one device is of no use to the other.
    desk.run("agent install --home mira --certificate laptop.certificate --passphrase-file mira.pass")
        .refused(2, "another device");
    desk.run("agent revoke --dir admin --agent mira --device 2 --passphrase-file admin.pass").good();
    let listed = json(&desk.run("agent list --dir admin --json").good().out);
    let states = [&listed["devices"][0]["state"], &listed["devices"][1]["state"]];
    assert_eq!(states, ["valid", "revoked"]);
}

#[test]
fn inviting_again_says_what_stands_and_what_becomes_void() {
    let desk = Desk::with_request();
    let invite = |name: &str, out: &str| {
        let line = format!(
            "agent invite --dir admin --agent mira --name {name} --team support --out {out} --passphrase-file admin.pass"
        );
        desk.run(&line).good().out
    };
    let told = invite("Mirabel", "second.invitation");
    assert!(told.contains("mira is known in this folder") && told.contains("as \"Mira\""), "{told}");
    assert!(told.contains("is void") && !told.contains("certified"), "{told}");
    // The first invitation's request: not the organisation's fault, and what to do.
    let approve = |request: &str| {
        desk.run(&format!(
            "agent approve --dir admin --request {request} --unchecked --out c --passphrase-file admin.pass"
        ))
    };
    let refused = approve("mira.request").refused(6, "a newer invitation replaced this one");
    assert!(
        refused.err.contains("(on this side)") && refused.err.contains("newest invitation"),
        "{}",
        refused.err
    );
    desk.run("agent enroll --invitation second.invitation --home mira --out again.request --passphrase-file mira.pass").good();
    approve("again.request").good();
    let told = invite("Else", "third.invitation");
    assert!(
        told.contains("Device 1 is certified as \"Mirabel\"") && told.contains("shown as \"Else\""),
        "{told}"
    );
    desk.run("agent revoke --dir admin --agent mira --passphrase-file admin.pass").good();
    let told = invite("Mirabel", "fourth.invitation");
    assert!(told.contains("Device 1 was (revoked)") && !told.contains("shown as"), "{told}");
}

#[test]
fn a_renewal_passes_over_revoked_devices() {
    let desk = Desk::with_agent();
    desk.run("agent enroll --invitation mira.invitation --home laptop --out laptop.request --passphrase-file mira.pass").good();
    desk.run("agent approve --dir admin --request laptop.request --unchecked --out laptop.certificate --passphrase-file admin.pass").good();
    desk.run("agent revoke --dir admin --agent mira --device 2 --passphrase-file admin.pass").good();
    let renewed = desk
        .run("agent approve --dir admin --renew mira --out again.certificate --passphrase-file admin.pass");
    assert!(renewed.good().out.contains("device 1"));
    desk.run("agent approve --dir admin --renew mira --device 2 --out again.certificate --passphrase-file admin.pass")
        .refused(6, "revoked");
}

#[test]
fn a_stolen_device_is_revoked_without_the_folder_s_record() {
    let desk = Desk::with_agent();
    let listed = json(&desk.run("agent list --dir admin --json").good().out);
    let hash = listed["devices"][0]["device"].as_str().unwrap().to_owned();
    std::fs::write(desk.path("admin/agents/mira.json"), "damaged").unwrap();
    desk.run("agent revoke --dir admin --agent mira --passphrase-file admin.pass").refused(3, "mira.json");
    let revoke =
        |how: &str| desk.run(&format!("agent revoke --dir admin {how} --passphrase-file admin.pass"));
    assert!(revoke("--certificate mira.certificate").good().out.contains("list number 1"));
    assert!(revoke(&format!("--hash {hash}")).good().out.contains("already"), "the same device");
    assert_eq!(json(&desk.run("org show --dir admin --json").good().out)["revocations"], 1);
    // Another organisation's certificate names nobody here.
    desk.run("org init --dir other --demo --relay-url ws://127.0.0.1:9/ --passphrase-file admin.pass").good();
    desk.run("agent revoke --dir other --certificate mira.certificate --passphrase-file admin.pass")
        .refused(2, "not signed by the organisation");
}

#[test]
fn the_code_is_compared() {
    let desk = Desk::with_request();
    let approve = |how: &str| {
        desk.run(&format!(
            "agent approve --dir admin --request mira.request {how} --out c --passphrase-file admin.pass"
        ))
    };
    approve("--code 0000-0000-0000-0000").refused(6, "does not match");
    approve("").refused(2, "comparison code is missing");
    assert!(!desk.path("c").exists());
}

#[test]
fn malformed_files_of_enrolment_are_refused() {
    let desk = Desk::with_request();
    for text in ["", "{}", "{\"sealdesk_invitation\":2}", "\u{0}\u{0}"] {
        std::fs::write(desk.path("bad"), text).unwrap();
        desk.run("agent enroll --invitation bad --home new --out r --passphrase-file mira.pass")
            .refused(3, "no invitation");
        desk.run("agent approve --dir admin --request bad --unchecked --out c --passphrase-file admin.pass")
            .refused(3, "no enrolment request");
        desk.run("agent install --home mira --certificate bad --passphrase-file mira.pass")
            .refused(3, "no certificate");
    }
    // A request whose signature was bent.
    edit(&desk.path("mira.request"), |t| {
        let request = json(&t)["request"].as_str().unwrap().to_string();
        let at = request.len() - 20;
        let other = if request.as_bytes()[at] == b'A' { "B" } else { "A" };
        t.replace(&request, &format!("{}{other}{}", &request[..at], &request[at + 1..]))
    });
    desk.run(
        "agent approve --dir admin --request mira.request --unchecked --out c --passphrase-file admin.pass",
    )
    .refused(6, "does not verify");
}
