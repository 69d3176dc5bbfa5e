//! The relay's program, as `sealdesk-relay` runs it.

fn main() -> std::process::ExitCode {
    sealdesk_relay::cli::main()
}
