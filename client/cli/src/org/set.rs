//! `org set`: change settings, raise the version, sign anew.

use sealdesk_native::clock;
use sealdesk_protocol::org::{OrgError, OrgFile};

use super::settings;
use crate::admin::{AdminDir, Issuer};
use crate::args::OrgSet;
use crate::error::Error;
use crate::terminal;

pub(super) fn run(args: &OrgSet) -> Result<(), Error> {
    let dir = AdminDir(args.dir.clone()).lock()?;
    let issuer = dir.open_issuer(&args.passphrases)?;
    let mut changed = issuer.org.settings().clone();
    settings::merge(&mut changed, &args.settings)?;
    let here = |known: bool, what: &str, id: &dyn core::fmt::Display| {
        let hint = "`sealdesk org show` lists them.";
        if known { Ok(()) } else { Err(Error::usage(format!("org.json has no {what} '{id}'"), hint)) }
    };
    for id in &args.remove_topic {
        here(changed.topics.iter().any(|t| t.id == *id), "topic", id)?;
    }
    for id in &args.remove_team {
        here(changed.teams.iter().any(|t| t.id == *id), "team", id)?;
    }
    for language in &args.remove_notice {
        let known = changed.notices.iter().any(|n| language.eq_ignore_ascii_case(&n.language));
        here(known, "notice in", language)?;
    }
    changed.topics.retain(|t| !args.remove_topic.contains(&t.id));
    changed.teams.retain(|t| !args.remove_team.contains(&t.id));
    changed.notices.retain(|n| !args.remove_notice.iter().any(|l| l.eq_ignore_ascii_case(&n.language)));
    // A topic goes, or gets another team, before its team does.
    if let Some(topic) = changed.topics.iter().find(|t| args.remove_team.contains(&t.team)) {
        return Err(Error::usage(
            format!("topic '{}' belongs to team '{}', which is taken out", topic.id, topic.team),
            format!(
                "Take it out as well, --remove-topic {0}, or give it another team: --topic {0}=TEAM:NAME.",
                topic.id
            ),
        ));
    }
    settings::check(&changed, "")?;
    if changed == *issuer.org.settings() {
        return terminal::out("Nothing to change: org.json says this already.");
    }
    changed.version =
        changed.version.checked_add(1).ok_or(Error::Org { path: dir.org(), source: OrgError::Malformed })?;
    changed.issued = clock::wall_ms();
    dir.write_org(&resign(&issuer, &dir, &changed)?)?;
    terminal::out(&format!(
        "org.json is now version {}. Give it to the relay and to whoever serves the customer page.",
        changed.version
    ))
}

fn resign(
    issuer: &Issuer,
    dir: &AdminDir,
    settings: &sealdesk_protocol::org::Settings,
) -> Result<OrgFile, Error> {
    let at = |source| Error::Org { path: dir.org(), source };
    Ok(OrgFile::assemble(
        &issuer.key.root,
        &issuer.file.pins().map_err(at)?,
        &issuer.certificate,
        &settings.sign(&issuer.key.secret),
        issuer.file.revocations().map_err(at)?.as_ref(),
    ))
}
