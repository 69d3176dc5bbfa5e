//! `cargo xtask licences`: what cargo already knows about all dependencies, without a network.
//!
//! 1. Every package names a licence that `deny.toml` allows. The agents' desktop program is GPL (its user
//!    interface library is) and may link what is compatible with that; nothing else may depend on it.
//! 2. The crates of the cryptography are there once: two generations side by side would mean keys and
//!    random number generators that do not fit together, and code that nobody reviewed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::workspace::Workspace;

/// Packages of ours that are not MIT OR Apache-2.0, with their licence.
const OWN_COPYLEFT: [(&str, &str); 1] = [("sealdesk-desktop", "GPL-3.0-or-later")];

/// Only one version of each may be linked into what we ship.
const CRYPTOGRAPHY: [&str; 15] = [
    "aead",
    "argon2",
    "chacha20",
    "chacha20poly1305",
    "curve25519-dalek",
    "ed25519-dalek",
    "hkdf",
    "hmac",
    "libcrux-ml-kem",
    "poly1305",
    "rand_core",
    "sha2",
    "subtle",
    "x25519-dalek",
    "zeroize",
];

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

/// `kind` is none for a normal dependency, else `dev` or `build`.
#[derive(Debug, Deserialize)]
struct Kind {
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Policy {
    licenses: Allowed,
}

#[derive(Debug, Deserialize)]
struct Allowed {
    allow: BTreeSet<String>,
}

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let allowed = policy(workspace)?;
    let json = workspace.cargo().args(["metadata", "--format-version", "1"]).output()?;
    let metadata: Metadata = serde_json::from_str(&json)
        .map_err(|error| Error::Answer { program: "cargo metadata".to_owned(), said: error.to_string() })?;
    let mut faults: Vec<String> =
        metadata.packages.iter().filter_map(|package| licence_fault(package, &allowed)).collect();
    faults.extend(duplicate_faults(&metadata));
    for fault in &faults {
        println!("{fault}");
    }
    if faults.is_empty() {
        println!(
            "{} packages: licences allowed, one generation of cryptography. Advisories were not checked: there is \
             no database offline (`cargo deny check advisories` has one where it is installed).",
            metadata.packages.len()
        );
        Ok(())
    } else {
        Err(Error::Found(format!("{} dependencies do not fit (see deny.toml and Cargo.toml)", faults.len())))
    }
}

fn policy(workspace: &Workspace) -> Result<BTreeSet<String>> {
    let path = workspace.root().join("deny.toml");
    let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    let policy: Policy = toml::from_str(&text)
        .map_err(|error| Error::Input { what: error.to_string(), hint: "mend deny.toml".to_owned() })?;
    Ok(policy.licenses.allow)
}

fn licence_fault(package: &Package, allowed: &BTreeSet<String>) -> Option<String> {
    let Package { name, version, license, .. } = package;
    let Some(licence) = license else {
        return Some(format!("{name} {version}: names no licence"));
    };
    if OWN_COPYLEFT.contains(&(name.as_str(), licence.as_str())) || is_allowed(licence, allowed) {
        return None;
    }
    Some(format!("{name} {version}: `{licence}` is not allowed by deny.toml"))
}

/// Whether an SPDX expression can be met with allowed licences: OR needs one side, AND both. AND binds closer.
/// The old `MIT/Apache-2.0` means OR. Anything that does not parse is not allowed.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    either(&mut rest, allowed).is_some_and(|met| met && rest.is_empty())
}

fn either(rest: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    let mut met = both(rest, allowed)?;
    while let Some(after) = rest.strip_prefix(&["OR"]) {
        *rest = after;
        met |= both(rest, allowed)?;
    }
    Some(met)
}

fn both(rest: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    let mut met = one(rest, allowed)?;
    while let Some(after) = rest.strip_prefix(&["AND"]) {
        *rest = after;
        met &= one(rest, allowed)?;
    }
    Some(met)
}

fn one(rest: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    if *first == "(" {
        let met = either(rest, allowed)?;
        *rest = rest.strip_prefix(&[")"])?;
        return Some(met);
    }
    if ["AND", "OR", "WITH", ")"].contains(first) {
        return None;
    }
    match *rest {
        ["WITH", exception, after @ ..] => {
            *rest = after;
            Some(allowed.contains(&format!("{first} WITH {exception}")))
        }
        _ => Some(allowed.contains(*first)),
    }
}

fn duplicate_faults(metadata: &Metadata) -> Vec<String> {
    let linked = linked(metadata);
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in metadata.packages.iter().filter(|package| linked.contains(package.id.as_str())) {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    CRYPTOGRAPHY
        .iter()
        .filter_map(|name| {
            let versions = versions.get(name).filter(|versions| versions.len() > 1)?;
            let versions: Vec<&str> = versions.iter().copied().collect();
            Some(format!("{name}: linked in versions {}", versions.join(" and ")))
        })
        .collect()
}

/// Everything that the workspace's own crates reach without dev-dependencies.
fn linked(metadata: &Metadata) -> BTreeSet<&str> {
    let nodes: BTreeMap<&str, &Node> =
        metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&str> = metadata.workspace_members.iter().map(String::as_str).collect();
    while let Some(id) = open.pop() {
        if !found.insert(id) {
            continue;
        }
        let dependencies = nodes.get(id).map(|node| node.deps.as_slice()).unwrap_or_default();
        open.extend(
            dependencies
                .iter()
                .filter(|dependency| {
                    dependency.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev"))
                })
                .map(|dependency| dependency.pkg.as_str()),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> BTreeSet<String> {
        ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"].map(str::to_owned).into()
    }

    #[test]
    fn an_expression_is_met_by_one_side_of_or_and_both_of_and() {
        for (expression, met) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("Apache-2.0 / GPL-3.0", true),
            ("GPL-3.0-or-later", false),
            ("MIT OR LGPL-2.1-or-later", true),
            ("MIT AND LGPL-2.1-or-later", false),
            ("(MIT OR GPL-2.0) AND Unicode-3.0", true),
            ("MIT AND (GPL-2.0 OR MPL-2.0)", false),
            ("GPL-2.0 AND MIT OR MIT", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("GPL-2.0 WITH LLVM-exception", false),
        ] {
            assert_eq!(is_allowed(expression, &allowed()), met, "{expression}");
        }
    }

    #[test]
    fn what_does_not_parse_is_refused() {
        for expression in ["", "MIT OR", "(MIT", "MIT)", "MIT MIT", "OR MIT", "MIT WITH", "non-standard"] {
            assert!(!is_allowed(expression, &allowed()), "{expression}");
        }
    }

    #[test]
    fn a_second_version_counts_only_where_it_is_linked() {
        let metadata = |kind: &str| -> Metadata {
            serde_json::from_str(&format!(
                r#"{{"workspace_members":["us"],
                "packages":[{{"id":"us","name":"us","version":"1","license":"MIT"}},
                    {{"id":"new","name":"rand_core","version":"0.10.1","license":"MIT"}},
                    {{"id":"old","name":"rand_core","version":"0.6.4","license":"MIT"}}],
                "resolve":{{"nodes":[{{"id":"us","deps":[
                    {{"pkg":"new","dep_kinds":[{{"kind":null}}]}},{{"pkg":"old","dep_kinds":[{{"kind":{kind}}}]}}]}}]}}}}"#
            ))
            .expect("well-formed")
        };
        assert!(duplicate_faults(&metadata("\"dev\"")).is_empty());
        assert_eq!(duplicate_faults(&metadata("null")), ["rand_core: linked in versions 0.10.1 and 0.6.4"]);
    }

    #[test]
    fn a_package_without_licence_and_a_stranger_under_the_gpl_are_faults() {
        let package = |name: &str, license: Option<&str>| Package {
            id: name.to_owned(),
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: license.map(str::to_owned),
        };
        assert!(licence_fault(&package("nameless", None), &allowed()).is_some());
        assert!(licence_fault(&package("stranger", Some("GPL-3.0-or-later")), &allowed()).is_some());
        assert!(licence_fault(&package("sealdesk-desktop", Some("GPL-3.0-or-later")), &allowed()).is_none());
    }
}
