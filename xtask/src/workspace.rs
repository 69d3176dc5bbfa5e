//! The folders of this repository and of what is built from it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::command::Program;
use crate::error::{Error, Result};

#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Asks cargo, so that CARGO_TARGET_DIR and configuration files count as they do for every other build.
    pub(crate) fn find() -> Result<Workspace> {
        let here = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let metadata =
            Program::cargo(&here).args(["metadata", "--no-deps", "--format-version", "1"]).json()?;
        let folder = |key: &str| {
            metadata.get(key).and_then(Value::as_str).map(PathBuf::from).ok_or_else(|| Error::Answer {
                program: "cargo metadata".to_owned(),
                said: format!("no {key}"),
            })
        };
        Ok(Workspace { root: folder("workspace_root")?, target: folder("target_directory")? })
    }

    /// A copy of the sources, with a target folder of its own.
    pub(crate) fn at(root: PathBuf, target: PathBuf) -> Workspace {
        Workspace { root, target }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// The customer page's sources.
    pub(crate) fn web(&self) -> PathBuf {
        self.root.join("web")
    }

    /// The tests that drive a browser.
    pub(crate) fn browser_tests(&self) -> PathBuf {
        self.root.join("tests/browser")
    }

    /// A program built by us, in the profile's folder (`debug` or `release`).
    pub(crate) fn built(&self, profile: &str, program: &str) -> PathBuf {
        self.target.join(profile).join(format!("{program}{}", std::env::consts::EXE_SUFFIX))
    }

    /// `cargo` in the root of the workspace.
    pub(crate) fn cargo(&self) -> Program {
        Program::cargo(&self.root)
    }
}
