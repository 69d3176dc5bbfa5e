//! `cargo xtask`: everything that is done with this repository besides writing code.
//!
//! | module | command | what it does |
//! |---|---|---|
//! | [`suite`] | `test` | every test there is: Rust, documentation, TypeScript, browser |
//! | [`demo`] | `demo` | relay, organisation, agent and page on this machine, from nothing |
//! | [`web`] | `web` | the customer page as a folder of static files |
//! | [`bench`] | `bench` | benchmarks that print a ratio against a peer measured in the same run |
//! | [`licences`] | `licences` | licences of all dependencies, and one generation of cryptography |
//!
//! [`workspace`] knows the folders, [`command`] runs programs, [`tools`] finds or installs what they need.

mod bench;

mod command;
mod demo;
mod error;
mod licences;
mod suite;
mod system;
mod tools;
mod web;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Build, test and try Sealdesk")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run every test there is: Rust, documentation, TypeScript, browser
    Test(suite::Options),
    /// Start relay, organisation, agent and customer page on this machine
    Demo(demo::Options),
    /// Build the customer page into web/dist
    Web(web::Options),
    /// Run the benchmarks, each beside a peer measured in the same run
    Bench(bench::Options),
    /// Check the licences of all dependencies and that no crate of the cryptography is there twice
    Licences,
    /// Become a program that ends when the demo does (the demo itself calls this)
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    Bound(demo::bound::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = Workspace::find().and_then(|workspace| match &arguments.task {
        Task::Test(options) => suite::run(&workspace, options),
        Task::Demo(options) => demo::run(&workspace, options),
        Task::Web(options) => web::run(&workspace, options),
        Task::Bench(options) => bench::run(&workspace, options),
        Task::Licences => licences::run(&workspace),
        #[cfg(target_os = "linux")]
        Task::Bound(options) => demo::bound::run(options),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}
