//! `sealdesk`: see [`sealdesk_cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    sealdesk_cli::main()
}
