//! `cargo xtask web`: the customer page as a folder of static files (web/dist), which the company puts on an origin
//! of its own.
//!
//! 1. web/core is compiled for WebAssembly with the profile `web`, with no path of this machine in it.
//! 2. The wasm-bindgen library, pinned to the crate's own version, writes the module and its bindings to web/pkg.
//! 3. npm's packages are installed when they are not those of the lock file.
//! 4. `npm run build` bundles scripts, styles and pages into web/dist.

mod reproducible;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use wasm_bindgen_cli_support::Bindgen;

use crate::command::Program;
use crate::error::{Error, Result};
use crate::tools;
use crate::workspace::Workspace;

#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// The organisation's org.json: its root hash is baked into the page, which then accepts no other
    #[arg(long, value_name = "FILE")]
    pub(crate) org: Option<PathBuf>,
    /// For publishing: minified, without source maps and function names
    #[arg(long)]
    pub(crate) release: bool,
    /// Build for publishing from two folders and compare every byte
    #[arg(long)]
    pub(crate) check_reproducible: bool,
    /// A folder that is emptied and filled instead of web/dist; so it is no flag.
    #[arg(skip)]
    pub(crate) out: Option<PathBuf>,
    /// The page says that whoever runs the relay serves it.
    #[arg(skip)]
    pub(crate) demo: bool,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if options.check_reproducible {
        return reproducible::check(workspace, options);
    }
    build(workspace, options)?;
    print_sizes(&page(workspace, options))
}

/// The folder that [`build`] fills.
fn page(workspace: &Workspace, options: &Options) -> PathBuf {
    options.out.clone().unwrap_or_else(|| workspace.web().join("dist"))
}

pub(crate) fn build(workspace: &Workspace, options: &Options) -> Result<()> {
    tools::require_node(workspace)?;
    tools::require_wasm_target(workspace)?;
    let module = compile(workspace)?;
    bind(&module, &workspace.web().join("pkg"), options.release)?;
    tools::npm_packages(&workspace.web())?;
    bundle(workspace, options)
}

/// Own target folder: other builds neither wait for this one nor share its flags.
fn compile(workspace: &Workspace) -> Result<PathBuf> {
    let target = workspace.target().join("web");
    workspace
        .cargo()
        .args(["build", "--package", "sealdesk-web", "--lib", "--profile", "web"])
        .args(["--target", tools::WASM_TARGET])
        .arg("--target-dir")
        .arg(&target)
        .arg("--config")
        .arg(remap(workspace, &target)?)
        .without_env("RUSTFLAGS")
        .without_env("CARGO_ENCODED_RUSTFLAGS")
        .run()?;
    Ok(target.join(tools::WASM_TARGET).join("web/sealdesk_web.wasm"))
}

/// Names of folders that end up in panic messages; without them two machines build the same bytes.
fn remap(workspace: &Workspace, target: &Path) -> Result<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| {
        // `HOME/.cargo` is cargo's own default.
        std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"))
    });
    // The last one that fits wins, so the workspace comes before what may lie inside it.
    let mut folders = vec![(workspace.root().to_owned(), "/sealdesk"), (target.to_owned(), "/target")];
    folders.extend(home.map(|home| (home.join("registry/src"), "/registry")));
    folders.push((tools::sysroot(workspace)?, "/rust"));
    let flags: Vec<String> =
        folders.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect();
    let flags = serde_json::to_string(&flags)
        .map_err(|error| Error::Answer { program: "serde_json".to_owned(), said: error.to_string() })?;
    Ok(format!("target.{}.rustflags={flags}", tools::WASM_TARGET))
}

fn bind(module: &Path, out: &Path, release: bool) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| Error::Answer {
        program: "wasm-bindgen".to_owned(),
        said: format!("{error:#} (are the crates wasm-bindgen and wasm-bindgen-cli-support of one version?)"),
    };
    let mut bindgen = Bindgen::new();
    bindgen.web(true).map_err(|error| failed(&error))?;
    bindgen
        .input_path(module)
        .out_name("sealdesk")
        .typescript(true)
        .remove_producers_section(true)
        .remove_name_section(release)
        .generate(out)
        .map_err(|error| failed(&error))
}

fn bundle(workspace: &Workspace, options: &Options) -> Result<()> {
    let mut npm = Program::new("npm", &workspace.web())
        .args(["run", "build"])
        .env("SEALDESK_OUT", absolute(&page(workspace, options))?)
        .env("SEALDESK_RELEASE", if options.release { "1" } else { "" })
        .env("SEALDESK_DEMO", if options.demo { "1" } else { "" });
    npm = match &options.org {
        Some(org) => npm.env("SEALDESK_ORG", fs::canonicalize(org).map_err(Error::file("read", org))?),
        None => npm.without_env("SEALDESK_ORG"),
    };
    npm.run()
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::file("use", path))
}

fn print_sizes(page: &Path) -> Result<()> {
    println!("{}", page.display());
    println!("{:>10} {:>10}  file", "bytes", "brotli");
    let (mut raw, mut packed) = (0, Some(0));
    for file in files(page)? {
        let bytes = fs::metadata(&file).map_err(Error::file("read", &file))?.len();
        let brotli = brotli(&file);
        raw += bytes;
        packed = packed.zip(brotli).map(|(sum, this)| sum + this);
        let name = file.strip_prefix(page).unwrap_or(&file);
        println!("{bytes:>10} {:>10}  {}", shown(brotli), name.display());
    }
    println!("{raw:>10} {:>10}  together", shown(packed));
    if packed.is_none() {
        println!("(no brotli program here: `apt-get install brotli` shows what travels)");
    }
    Ok(())
}

fn shown(size: Option<u64>) -> String {
    size.map_or_else(|| "?".to_owned(), |bytes| bytes.to_string())
}

/// Every file below `folder`, in order.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::file("read", folder))? {
        let path = entry.map_err(Error::file("read", folder))?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Bytes after brotli at its best, as a web server would send a prepared file.
fn brotli(file: &Path) -> Option<u64> {
    let packed = std::process::Command::new("brotli")
        .args(["--best", "--stdout"])
        .arg(file)
        .stderr(std::process::Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    u64::try_from(packed.stdout.len()).ok()
}
