//! `cargo xtask test`: every test there is, step by step, to the end, with a summary.
//!
//! 1. Rust: all crates, by cargo-nextest when it is installed, else by cargo test.
//! 2. The examples in the documentation.
//! 3. The customer page is built, because the next two need it.
//! 4. The TypeScript compiler over the page's sources.
//! 5. Chromium and Firefox: every test in tests/browser, against real relays and real clients.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::command::Program;
use crate::error::{Error, Result};
use crate::workspace::Workspace;
use crate::{tools, web};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Run these steps alone
    #[arg(long, value_enum)]
    only: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    Rust,
    Docs,
    Page,
    Types,
    Browser,
}

impl Step {
    const ALL: [Step; 5] = [Step::Rust, Step::Docs, Step::Page, Step::Types, Step::Browser];

    fn title(self) -> &'static str {
        match self {
            Step::Rust => "Rust tests",
            Step::Docs => "documentation examples",
            Step::Page => "customer page builds",
            Step::Types => "TypeScript check",
            Step::Browser => "browser tests",
        }
    }

    fn run(self, workspace: &Workspace) -> Result<Outcome> {
        match self {
            Step::Rust => rust(workspace),
            Step::Docs => {
                workspace.cargo().args(["test", "--workspace", "--doc"]).run().map(|()| Outcome::Passed)
            }
            Step::Page => web::build(workspace, &web::Options::default()).map(|()| Outcome::Passed),
            Step::Types => {
                tools::npm_packages(&workspace.web())?;
                Program::new("npm", &workspace.web()).args(["run", "check"]).run().map(|()| Outcome::Passed)
            }
            Step::Browser => browser(workspace),
        }
    }
}

#[derive(Debug)]
enum Outcome {
    Passed,
    /// Why, and what to do about it.
    Skipped(String),
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let steps: Vec<Step> =
        Step::ALL.into_iter().filter(|step| options.only.is_empty() || options.only.contains(step)).collect();
    let done: Vec<(Step, Result<Outcome>, Duration)> = steps
        .iter()
        .enumerate()
        .map(|(index, step)| {
            eprintln!("\n=== {}/{} {} ===", index + 1, steps.len(), step.title());
            let begin = Instant::now();
            let outcome = step.run(workspace);
            match &outcome {
                Ok(Outcome::Passed) => {}
                Ok(Outcome::Skipped(why)) => eprintln!("!!! SKIPPED: {why}"),
                Err(error) => eprintln!("error: {error}"),
            }
            (*step, outcome, begin.elapsed())
        })
        .collect();
    summary(&done)
}

fn summary(done: &[(Step, Result<Outcome>, Duration)]) -> Result<()> {
    println!("\n=== summary ===");
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (step, outcome, took) in done {
        let (word, more) = match outcome {
            Ok(Outcome::Passed) => {
                passed += 1;
                ("passed", String::new())
            }
            Ok(Outcome::Skipped(why)) => {
                skipped += 1;
                ("SKIPPED", format!("  {why}"))
            }
            Err(error) => {
                failed += 1;
                let hint = error.hint().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
                ("FAILED", format!("  {error}{hint}"))
            }
        };
        println!("{word:8}{:24}{:7.1} s{more}", step.title(), took.as_secs_f64());
    }
    println!("steps: {passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { Ok(()) } else { Err(Error::Found(format!("{failed} of {} steps failed", done.len()))) }
}

/// The tests start our own programs (kill -9 among others), so these are built first, with the same features.
fn rust(workspace: &Workspace) -> Result<Outcome> {
    let targets = ["--workspace", "--lib", "--bins", "--tests"];
    workspace.cargo().arg("build").args(targets).run()?;
    let nextest = workspace.cargo().args(["nextest", "--version"]).first_line().is_some();
    let tests = if nextest {
        workspace.cargo().args(["nextest", "run", "--no-fail-fast"]).args(targets)
    } else {
        eprintln!("cargo-nextest is not installed: using cargo test, which is slower");
        workspace.cargo().args(["test", "--no-fail-fast"]).args(targets)
    };
    own_programs(workspace, tests).run()?;
    Ok(Outcome::Passed)
}

fn browser(workspace: &Workspace) -> Result<Outcome> {
    let Some(chromium) = tools::chromium(workspace) else {
        let hint = "install Chromium (Debian: `apt-get install chromium fonts-noto-core fonts-noto-cjk \
                    fonts-noto-color-emoji`) or set SEALDESK_CHROMIUM to its path";
        return if std::env::var("CI").is_ok_and(|ci| ci == "true") {
            Err(Error::Missing { program: "Chromium".to_owned(), hint: hint.to_owned() })
        } else {
            Ok(Outcome::Skipped(format!("no Chromium on this machine: {hint}")))
        };
    };
    workspace.cargo().args(["build", "-p", "sealdesk-cli", "-p", "sealdesk-relay"]).run()?;
    let folder = workspace.browser_tests();
    tools::npm_packages(&folder)?;
    let tests = Program::new("npm", &folder).args(["test"]).env("SEALDESK_CHROMIUM", chromium);
    own_programs(workspace, tests).run()?;
    Ok(Outcome::Passed)
}

/// Tells tests where our programs and the built page are.
fn own_programs(workspace: &Workspace, tests: Program) -> Program {
    tests
        .env("SEALDESK_BIN", workspace.built("debug", "sealdesk"))
        .env("SEALDESK_RELAY_BIN", workspace.built("debug", "sealdesk-relay"))
        .env("SEALDESK_DIST", workspace.web().join("dist"))
}
