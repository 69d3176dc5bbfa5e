//! Flags -> settings: merging, defaults of the demonstration, checks.

use std::collections::BTreeMap;

use sealdesk_native::private_file;
use sealdesk_native::transport::RelayUrl;
use sealdesk_protocol::ids::{Handle, RootHash};
use sealdesk_protocol::org::{AssignmentMode, Notice, Settings, Team, Topic};

use crate::args::{NoticeArg, SettingsArgs, TeamArg, TopicArg};
use crate::error::Error;

/// Largest notice, bytes.
const MAX_NOTICE: u64 = 32 * 1024;
/// Largest settings once encoded, with room below the protocol's limit for a signed part.
const MAX_SETTINGS: usize = 200 * 1024;

/// Longest name of a relay, bytes.
pub(super) const MAX_RELAY_NAME: usize = 64;
pub(super) const DEMO_URL: &str = "ws://127.0.0.1:7443/";
/// In the languages of the customer page.
const DEMO_NOTICES: [(&str, &str); 4] = [
    (
        "en",
        "This is a demonstration. What you write is encrypted end to end and read by the agent whose name you see. \
         It is kept on both devices until it is deleted there, and encrypted on the relay for at most 30 days.",
    ),
    (
        "de",
        "Dies ist eine Vorführung. Was Sie schreiben, ist Ende zu Ende verschlüsselt; es liest die Person, deren Namen Sie \
         sehen. Es bleibt auf beiden Geräten, bis es dort gelöscht wird, und verschlüsselt höchstens 30 Tage im Relay.",
    ),
    (
        "ar",
        "هذا عرض توضيحي. ما تكتبه مشفّر من الطرف إلى الطرف ويقرؤه الموظف الذي يظهر اسمه لك. \
         يُحفظ على الجهازين حتى يُحذف منهما، ومشفّرًا في الخادم لمدة أقصاها 30 يومًا.",
    ),
    (
        "zh",
        "这是演示。您写的内容经过端到端加密，只由您看到姓名的客服人员阅读。\
         内容保存在双方设备上，直到在那里删除；加密后的内容在中继服务器上最多保存 30 天。",
    ),
];
/// Names by language, beside the id.
const DEMO_TOPICS: [(&str, [(&str, &str); 4]); 2] = [
    ("general", [("en", "General"), ("de", "Allgemeines"), ("ar", "عام"), ("zh", "一般问题")]),
    ("billing", [("en", "Billing"), ("de", "Rechnungen"), ("ar", "الفواتير"), ("zh", "账单")]),
];

/// Nothing but the organisation.
pub(super) fn empty(root: RootHash) -> Settings {
    Settings {
        root,
        version: 0,
        issued: 0,
        name: String::new(),
        relay_name: String::new(),
        relay_urls: Vec::new(),
        assignment: AssignmentMode::Automatic,
        topics: Vec::new(),
        teams: Vec::new(),
        notices: Vec::new(),
    }
}

/// Replaces what the flags name.
pub(super) fn merge(settings: &mut Settings, args: &SettingsArgs) -> Result<(), Error> {
    if let Some(name) = &args.name {
        settings.name.clone_from(name);
    }
    if let Some(name) = &args.relay_name {
        settings.relay_name.clone_from(name);
    }
    if !args.relay_url.is_empty() {
        settings.relay_urls = args.relay_url.iter().map(ToString::to_string).collect();
    }
    if let Some(mode) = args.assignment {
        settings.assignment = mode.into();
    }
    for TeamArg { id, name } in &args.team {
        settings.teams.retain(|t| t.id != *id);
        settings.teams.push(Team { id: id.clone(), name: name.clone() });
    }
    for TopicArg { id, team, name } in &args.topic {
        let names = BTreeMap::from([("en".to_string(), name.clone())]);
        let topic = Topic { id: id.clone(), team: team.clone(), names };
        match settings.topics.iter_mut().find(|t| t.id == *id) {
            Some(known) => *known = topic,
            None => settings.topics.push(topic),
        }
    }
    for named in &args.topic_name {
        let topic = settings.topics.iter_mut().find(|t| t.id == named.id).ok_or_else(|| {
            Error::usage(
                format!("there is no topic '{}'", named.id),
                "Name it with --topic ID=TEAM:NAME as well.",
            )
        })?;
        topic.names.insert(named.language.clone(), named.name.clone());
    }
    for NoticeArg { language, file } in &args.notice {
        let bytes = private_file::read(file, MAX_NOTICE)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::Malformed { path: file.clone(), what: "text in UTF-8" })?;
        put_notice(settings, language, &text);
    }
    Ok(())
}

fn put_notice(settings: &mut Settings, language: &str, text: &str) {
    let notice = Notice { language: language.into(), text: text.trim().into() };
    match settings.notices.iter_mut().find(|n| n.language.eq_ignore_ascii_case(language)) {
        Some(known) => *known = notice,
        None => settings.notices.push(notice),
    }
}

/// Fills what is missing with the values of a demonstration.
pub(super) fn fill_demo(settings: &mut Settings) -> Result<(), Error> {
    let default = |text: &mut String, value: &str| {
        if text.is_empty() {
            *text = value.into();
        }
    };
    default(&mut settings.name, "Demo Shop");
    default(&mut settings.relay_name, "demo");
    if settings.relay_urls.is_empty() {
        settings.relay_urls.push(DEMO_URL.into());
    }
    if settings.teams.is_empty() {
        settings.teams.push(Team { id: handle("support")?, name: "Support".into() });
    }
    if settings.topics.is_empty() {
        let team = settings.teams[0].id.clone();
        for (id, names) in DEMO_TOPICS {
            let names = names.map(|(language, name)| (language.to_owned(), name.to_owned()));
            let topic = Topic { id: handle(id)?, team: team.clone(), names: BTreeMap::from(names) };
            settings.topics.push(topic);
        }
    }
    if settings.notices.is_empty() {
        DEMO_NOTICES.iter().for_each(|(language, text)| put_notice(settings, language, text));
    }
    Ok(())
}

fn handle(text: &str) -> Result<Handle, Error> {
    text.parse().map_err(|e| Error::usage(format!("'{text}': {e}"), "Choose another id."))
}

/// What else helps where something is missing.
pub(super) const OR_DEMO: &str = ", or --demo for a demonstration";

/// Refuses settings with which no conversation could be opened. `otherwise` is what the command offers beside the flag.
pub(super) fn check(settings: &Settings, otherwise: &str) -> Result<(), Error> {
    let missing = |what: &str, flag: &str| {
        Error::usage(format!("{what} is missing"), format!("Give {flag}{otherwise}."))
    };
    if settings.name.is_empty() {
        return Err(missing("the organisation's name", "--name NAME"));
    }
    if settings.relay_name.is_empty() || settings.relay_name.len() > MAX_RELAY_NAME {
        return Err(missing("the relay's name (1 to 64 bytes)", "--relay-name NAME"));
    }
    if settings.relay_urls.is_empty() {
        return Err(missing("the relay's URL", "--relay-url URL"));
    }
    for url in &settings.relay_urls {
        let url: RelayUrl =
            url.parse().map_err(|e| Error::usage(format!("{e}"), "Give --relay-url wss://HOST/."))?;
        check_url(&url)?;
    }
    if settings.teams.is_empty() {
        return Err(missing("a team", "--team ID=NAME"));
    }
    if settings.topics.is_empty() {
        return Err(missing("a topic", "--topic ID=TEAM:NAME"));
    }
    for topic in &settings.topics {
        check_team(settings, &topic.id, &topic.team)?;
    }
    if settings.notices.is_empty() || settings.notices.iter().any(|n| n.text.is_empty()) {
        return Err(missing("a privacy notice with text", "--notice LANG=FILE"));
    }
    if postcard::to_allocvec(settings).map_or(usize::MAX, |b| b.len()) > MAX_SETTINGS {
        return Err(Error::usage("the settings are too large", "Shorten the notices."));
    }
    Ok(())
}

/// Without TLS only on this machine.
pub(super) fn check_url(url: &RelayUrl) -> Result<(), Error> {
    if url.is_secure() || url.is_loopback() {
        return Ok(());
    }
    Err(Error::usage(
        format!("{url} has no TLS, and is not on this machine"),
        "Give a wss:// URL; ws:// is for a loopback relay only.",
    ))
}

/// A topic belongs to a team that there is.
pub(super) fn check_team(settings: &Settings, topic: &Handle, team: &Handle) -> Result<(), Error> {
    if settings.teams.iter().any(|t| t.id == *team) {
        return Ok(());
    }
    Err(Error::usage(
        format!("topic '{topic}' belongs to team '{team}', which does not exist"),
        "Name the team with --team ID=NAME, or the topic with another one: --topic ID=TEAM:NAME.",
    ))
}
