//! What `org init` asks at a terminal. An answer that does not serve is asked for again, with the reason: those before it stay.

use std::fmt::Display;

use sealdesk_native::transport::RelayUrl;
use sealdesk_protocol::org::{Settings, Team};

use super::settings::{self, DEMO_URL, MAX_RELAY_NAME};
use crate::args::{NoticeArg, SettingsArgs, TeamArg, TopicArg, public_name};
use crate::display::line;
use crate::error::Error;
use crate::terminal;

/// Asks for what is missing.
pub(super) fn fill(settings: &mut Settings) -> Result<(), Error> {
    if settings.name.is_empty() {
        ask("Name of the organisation, as customers see it", None, |typed| {
            settings.name = public_name(typed).map_err(|why| invalid(&why))?;
            Ok(())
        })?;
    }
    if settings.relay_name.is_empty() {
        ask("Name of the relay (the same stands in its configuration)", None, |typed| {
            if typed.len() > MAX_RELAY_NAME {
                return Err(invalid(&format!("a relay's name has 1 to {MAX_RELAY_NAME} bytes")));
            }
            settings.relay_name = typed.into();
            Ok(())
        })?;
    }
    if settings.relay_urls.is_empty() {
        ask("URL of the relay", Some(DEMO_URL), |typed| {
            let url: RelayUrl = typed.parse().map_err(|why| invalid(&why))?;
            settings::check_url(&url)?;
            settings.relay_urls.push(url.to_string());
            Ok(())
        })?;
    }
    if settings.teams.is_empty() {
        ask("A team, as ID=NAME", Some("support=Support"), |typed| {
            let team: TeamArg = typed.parse().map_err(|why: String| invalid(&why))?;
            settings.teams.push(Team { id: team.id, name: team.name });
            Ok(())
        })?;
    }
    if settings.topics.is_empty() {
        let default = format!("general={}:General", settings.teams[0].id);
        ask("A topic, as ID=TEAM:NAME", Some(&default), |typed| {
            let topic: TopicArg = typed.parse().map_err(|why: String| invalid(&why))?;
            settings::check_team(settings, &topic.id, &topic.team)?;
            settings::merge(settings, &SettingsArgs { topic: vec![topic], ..SettingsArgs::default() })
        })?;
    }
    if settings.notices.is_empty() {
        ask("Privacy notice, as LANG=FILE", None, |typed| {
            let notice: NoticeArg = typed.parse().map_err(|why: String| invalid(&why))?;
            let mut with = settings.clone();
            settings::merge(&mut with, &SettingsArgs { notice: vec![notice], ..SettingsArgs::default() })?;
            if with.notices.iter().any(|notice| notice.text.is_empty()) {
                return Err(Error::usage(
                    "there is no text in that file",
                    "Write the notice into it, or name another.",
                ));
            }
            *settings = with;
            Ok(())
        })?;
    }
    Ok(())
}

/// Asks until the answer is taken.
fn ask(
    question: &str,
    default: Option<&str>,
    mut take: impl FnMut(&str) -> Result<(), Error>,
) -> Result<(), Error> {
    loop {
        let typed = terminal::ask(question, default)?;
        match take(&typed) {
            Ok(()) => return Ok(()),
            Err(why) => eprintln!("{}. {}", line(&why.to_string()), line(&why.hint())),
        }
    }
}

fn invalid(why: &dyn Display) -> Error {
    Error::usage(why.to_string(), "Try again with another value.")
}
