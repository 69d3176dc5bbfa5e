//! `sealdesk-relay`: see [`sealdesk_relay::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    sealdesk_relay::cli::main()
}
