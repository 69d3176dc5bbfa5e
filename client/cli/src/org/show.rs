//! `org show`: what org.json says.

use sealdesk_native::clock;
use sealdesk_protocol::org::{AssignmentMode, Floor, VerifiedOrg};
use serde_json::json;

use crate::admin::{AdminDir, read_org};
use crate::args::OrgShow;
use crate::display::line;
use crate::error::Error;
use crate::{terminal, time};

pub(super) fn run(args: &OrgShow) -> Result<(), Error> {
    let path = match (&args.org, &args.dir) {
        (Some(file), _) => file.clone(),
        (None, Some(dir)) => AdminDir(dir.clone()).org(),
        (None, None) => return Err(Error::usage("no org.json is named", "Give --org FILE or --dir DIR.")),
    };
    let file = read_org(&path)?;
    let at = |source| Error::Org { path: path.clone(), source };
    let claimed = file.claimed_root().map_err(at)?;
    let org = file.verify(&claimed, &Floor::default(), clock::wall_ms()).map_err(at)?;
    if args.json { terminal::out(&as_json(&org).to_string()) } else { terminal::out(&as_text(&org)) }
}

fn mode(org: &VerifiedOrg) -> &'static str {
    match org.settings().assignment {
        AssignmentMode::Claim => "claim",
        _ => "automatic",
    }
}

fn as_json(org: &VerifiedOrg) -> serde_json::Value {
    let settings = org.settings();
    json!({
        "root": org.root().to_string(),
        "name": settings.name,
        "pins_version": org.pins().pins().version,
        "settings_version": settings.version,
        "revocations": org.revocations().number(),
        "log": org.pins().pins().log.is_some(),
        "issuer": { "serial": org.issuer().serial, "not_after": org.issuer().not_after },
        "relay_name": settings.relay_name,
        "relay_urls": settings.relay_urls,
        "assignment": mode(org),
        "teams": settings.teams.iter().map(|t| json!({"id": t.id, "name": t.name})).collect::<Vec<_>>(),
        "topics": crate::chat::json::topics(settings),
        "notices": crate::chat::json::notices(settings),
    })
}

fn as_text(org: &VerifiedOrg) -> String {
    let settings = org.settings();
    let mut out = format!(
        "{}\n  root hash    {}\n  version      pins {}, settings {}, revocation list {}\n  issuer       certificate {}, until {}\n  \
         log          {}\n  relay        {} at {}\n  assignment   {}\n",
        line(&settings.name),
        org.root(),
        org.pins().pins().version,
        settings.version,
        org.revocations().number(),
        org.issuer().serial,
        time::date(org.issuer().not_after),
        if org.pins().pins().log.is_some() { "demanded" } else { "none" },
        line(&settings.relay_name),
        line(&settings.relay_urls.join(", ")),
        mode(org),
    );
    for team in &settings.teams {
        out += &format!("  team         {}: {}\n", team.id, line(&team.name));
    }
    for topic in &settings.topics {
        let names: Vec<_> = topic.names.iter().map(|(tag, name)| format!("{name} ({tag})")).collect();
        out += &format!("  topic        {} for {}: {}\n", topic.id, topic.team, line(&names.join(", ")));
    }
    for notice in &settings.notices {
        out += &format!("  notice {:<5} {}\n", line(&notice.language), notice.hash());
    }
    out + "Signatures are good. Compare the root hash with the one that the organisation publishes: a stranger's org.json is signed as well."
}
