//! Programs and packages that our builds need: found, installed where we may, else named with the command that installs
//! them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::Program;
use crate::error::{Error, Result};
use crate::system;
use crate::workspace::Workspace;

pub(crate) const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Beside the packages: the lock file that they were installed from.
const INSTALLED: &str = "node_modules/.sealdesk-package-lock.json";

/// `program --version`, or an error with the command that installs it on Debian.
pub(crate) fn require(workspace: &Workspace, program: &str, hint: &str) -> Result<String> {
    Program::new(program, workspace.root())
        .arg("--version")
        .first_line()
        .ok_or_else(|| Error::Missing { program: program.to_owned(), hint: hint.to_owned() })
}

/// Node 20 or newer, and npm.
pub(crate) fn require_node(workspace: &Workspace) -> Result<()> {
    const HINT: &str = "install Node.js 20 or newer with npm: `apt-get install nodejs npm` on Debian 13 or Ubuntu 25.04, \
                        else from https://nodejs.org";
    let there = |program| Program::new(program, workspace.root()).arg("--version").first_line().is_some();
    if !(there("node") && there("npm")) {
        // Whether that helped, the next lines see.
        system::install(workspace, &["nodejs", "npm"]);
    }
    let version = require(workspace, "node", HINT)?;
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major < 20) {
        return Err(Error::Missing {
            program: format!("Node.js 20 (here is {version})"),
            hint: HINT.to_owned(),
        });
    }
    require(workspace, "npm", HINT)?;
    Ok(())
}

/// Rust's own library for WebAssembly; rustup brings it when it is missing, or the system's package manager where Rust is
/// the system's own.
pub(crate) fn require_wasm_target(workspace: &Workspace) -> Result<()> {
    let library = sysroot(workspace)?.join("lib/rustlib").join(WASM_TARGET).join("lib");
    if library.is_dir() {
        return Ok(());
    }
    eprintln!("Rust's library for {WASM_TARGET} is missing: rustup target add {WASM_TARGET}");
    match Program::new("rustup", workspace.root()).args(["target", "add", WASM_TARGET]).run() {
        Err(Error::Start { .. })
            if system::install(workspace, &["libstd-rust-dev-wasm32"]) && library.is_dir() =>
        {
            Ok(())
        }
        Err(Error::Start { .. }) => Err(Error::Missing {
            program: format!("Rust's library for {WASM_TARGET}"),
            hint:
                "this Rust does not come from rustup: install the library with the system's package manager \
                   (Debian: `apt-get install libstd-rust-dev-wasm32`), or Rust from https://rustup.rs"
                    .to_owned(),
        }),
        done => done,
    }
}

/// The folder of the Rust toolchain in use.
pub(crate) fn sysroot(workspace: &Workspace) -> Result<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = Program::new(rustc, workspace.root()).args(["--print", "sysroot"]).output()?;
    Ok(PathBuf::from(printed.trim()))
}

/// `npm ci`, when the packages in `folder` are not the ones that its lock file names.
pub(crate) fn npm_packages(folder: &Path) -> Result<()> {
    let lock = folder.join("package-lock.json");
    let wanted = fs::read(&lock).map_err(Error::file("read", &lock))?;
    let installed = folder.join(INSTALLED);
    if fs::read(&installed).is_ok_and(|have| have == wanted) {
        return Ok(());
    }
    eprintln!("npm packages for {}", folder.display());
    Program::new("npm", folder).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).run()?;
    fs::write(&installed, wanted).map_err(Error::file("write", &installed))
}

/// Chromium for the browser tests: `SEALDESK_CHROMIUM`, else one of the usual names.
pub(crate) fn chromium(workspace: &Workspace) -> Option<PathBuf> {
    if let Some(chosen) = std::env::var_os("SEALDESK_CHROMIUM") {
        return Some(PathBuf::from(chosen)).filter(|path| path.is_file());
    }
    let folders = std::env::var_os("PATH")?;
    ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .flat_map(|name| std::env::split_paths(&folders).map(move |folder| folder.join(name)))
        .find(|path| {
            path.is_file() && Program::new(path, workspace.root()).arg("--version").first_line().is_some()
        })
}
