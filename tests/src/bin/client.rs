//! The clients' program, as `sealdesk` runs it.

fn main() -> std::process::ExitCode {
    sealdesk_cli::main()
}
