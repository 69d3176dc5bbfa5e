//! Values with a form of their own.

use core::str::FromStr;
use std::path::PathBuf;

use clap::ValueEnum;
use sealdesk_protocol::conversation::is_language_tag;
use sealdesk_protocol::crypto::certificate::AgentRole;
use sealdesk_protocol::ids::Handle;
use sealdesk_protocol::org::AssignmentMode;

/// `ID=NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamArg {
    /// Id.
    pub id: Handle,
    /// Name.
    pub name: String,
}

/// `ID=TEAM:NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicArg {
    /// Id.
    pub id: Handle,
    /// The team that answers.
    pub team: Handle,
    /// English name.
    pub name: String,
}

/// `ID:LANG=NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicNameArg {
    /// Topic.
    pub id: Handle,
    /// Language tag.
    pub language: String,
    /// Name in it.
    pub name: String,
}

/// `LANG=FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeArg {
    /// Language tag.
    pub language: String,
    /// UTF-8 text.
    pub file: PathBuf,
}

fn split<'a>(text: &'a str, at: char, form: &str) -> Result<(&'a str, &'a str), String> {
    text.split_once(at)
        .filter(|(a, b)| !a.is_empty() && !b.trim().is_empty())
        .ok_or_else(|| format!("write {form}"))
}

fn handle(text: &str) -> Result<Handle, String> {
    text.parse().map_err(|e| format!("'{text}': {e}"))
}

/// A BCP 47 tag.
///
/// # Errors
/// What is wrong, for people.
pub fn language(text: &str) -> Result<String, String> {
    if is_language_tag(text) {
        Ok(text.into())
    } else {
        Err(format!("'{text}' is no language tag like en or pt-BR"))
    }
}

/// A public name: not empty, at most 64 bytes, no control characters.
///
/// # Errors
/// What is wrong, for people.
pub fn public_name(text: &str) -> Result<String, String> {
    use sealdesk_protocol::crypto::certificate::MAX_DISPLAY_NAME;
    use sealdesk_protocol::names::deceives;
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_DISPLAY_NAME {
        return Err(format!("a name has 1 to {MAX_DISPLAY_NAME} bytes"));
    }
    if deceives(text) {
        return Err("a name holds no control characters".into());
    }
    Ok(text.into())
}

impl FromStr for TeamArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (id, name) = split(text, '=', "ID=NAME, for example support=Support")?;
        Ok(Self { id: handle(id)?, name: public_name(name)? })
    }
}

impl FromStr for TopicArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "ID=TEAM:NAME, for example billing=accounts:Billing";
        let (id, rest) = split(text, '=', FORM)?;
        let (team, name) = split(rest, ':', FORM)?;
        Ok(Self { id: handle(id)?, team: handle(team)?, name: public_name(name)? })
    }
}

impl FromStr for TopicNameArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "ID:LANG=NAME, for example billing:de=Rechnungen";
        let (key, name) = split(text, '=', FORM)?;
        let (id, tag) = split(key, ':', FORM)?;
        Ok(Self { id: handle(id)?, language: language(tag)?, name: public_name(name)? })
    }
}

impl FromStr for NoticeArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (tag, file) = split(text, '=', "LANG=FILE, for example en=notice.txt")?;
        Ok(Self { language: language(tag)?, file: file.into() })
    }
}

/// How conversations reach agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Assignment {
    /// The relay picks an agent.
    Automatic,
    /// The first agent who claims it.
    Claim,
}

impl From<Assignment> for AssignmentMode {
    fn from(mode: Assignment) -> Self {
        match mode {
            Assignment::Automatic => Self::Automatic,
            Assignment::Claim => Self::Claim,
        }
    }
}

/// Roles of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// Answers customers.
    Agent,
    /// Reserved; no effect in this version.
    Supervisor,
    /// Reserved; no effect in this version.
    Manager,
    /// Reserved; no effect in this version.
    Admin,
}

impl From<Role> for AgentRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Agent => Self::Agent,
            Role::Supervisor => Self::Supervisor,
            Role::Manager => Self::Manager,
            Role::Admin => Self::Admin,
        }
    }
}

/// Name of a role, stable.
pub fn role_name(role: &AgentRole) -> &'static str {
    match role {
        AgentRole::Agent => "agent",
        AgentRole::Supervisor => "supervisor",
        AgentRole::Manager => "manager",
        AgentRole::Admin => "admin",
        _ => "unknown",
    }
}

/// Form of an exported transcript.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_one_form() {
        let topic: TopicArg = "billing=accounts:Billing & more: all".parse().unwrap();
        assert_eq!((topic.team.as_str(), topic.name.as_str()), ("accounts", "Billing & more: all"));
        let name: TopicNameArg = "billing:pt-BR=Faturas".parse().unwrap();
        assert_eq!((name.language.as_str(), name.name.as_str()), ("pt-BR", "Faturas"));
        let notice: NoticeArg = "en=a=b.txt".parse().unwrap();
        assert_eq!(notice.file, PathBuf::from("a=b.txt"));
        for bad in ["", "a", "a=", "=b", "A=b", "a=\u{202e}b", "a=\u{1b}[1m"] {
            assert!(bad.parse::<TeamArg>().is_err(), "{bad:?}");
        }
        for bad in ["a=b", "a=b:", "a=:c", "a=b:  "] {
            assert!(bad.parse::<TopicArg>().is_err(), "{bad:?}");
        }
        assert!("not a tag=x".parse::<NoticeArg>().is_err());
    }
}
