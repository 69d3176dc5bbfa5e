//! `cargo xtask bench`: benchmarks that print a ratio against a peer measured in the same run.
//!
//! | bench | ours | peer |
//! |---|---|---|
//! | ratchet_one_way, ratchet_round_trip, establish, wire_bytes | [`ratchet`] | [`olm`] |
//! | relay_durable_1, _64, _1024 | [`durable`]: a [`relay`] process and [`device`]s | [`plain_file`] |
//! | idle_connection | [`idle`] | in the same module |
//!
//! [`rounds`] lets both take turns, [`report`] prints.

mod device;
mod durable;
mod error;
mod idle;
mod olm;
mod plain_file;
mod ratchet;
mod relay;
mod report;
mod rounds;

use std::process::ExitCode;

use clap::Parser;

use crate::error::Error;
use crate::report::Row;
use crate::rounds::Effort;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", about = "Benchmarks, each beside a peer measured in the same run")]
struct Arguments {
    /// Names of benchmarks, or their beginnings (`ratchet`, `relay`); none means all
    names: Vec<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// A short run that proves that everything works; its numbers are rough
    #[arg(long)]
    quick: bool,
    /// Be the peer's server of idle_connection
    #[arg(long, hide = true)]
    idle_peer: bool,
}

type Bench = fn(Effort) -> Result<Row, Error>;

const BENCHES: [(&str, Bench); 8] = [
    ("ratchet_one_way", ratchet::one_way),
    ("ratchet_round_trip", ratchet::round_trip),
    ("establish", ratchet::establish),
    ("wire_bytes", ratchet::wire_bytes),
    ("relay_durable_1", durable::one),
    ("relay_durable_64", durable::sixty_four),
    ("relay_durable_1024", durable::thousand),
    ("idle_connection", idle::run),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.idle_peer {
        return match idle::serve_peer() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let effort = if arguments.quick { Effort::QUICK } else { Effort::FULL };
    let chosen: Vec<_> = BENCHES
        .iter()
        .filter(|(name, _)| {
            arguments.names.is_empty()
                || arguments.names.iter().any(|wanted| name.starts_with(wanted.as_str()))
        })
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
        eprintln!("error: no benchmark has such a name\nhint: there are {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    if !arguments.json {
        Row::print_heading();
    }
    let mut failed = false;
    for (name, bench) in chosen {
        match bench(effort) {
            Ok(row) => row.print(arguments.json),
            Err(error) => {
                failed = true;
                eprintln!("error: {name}: {error}");
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
