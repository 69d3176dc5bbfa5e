//! `sealdesk-relay`: see [`sealdesk_relay::cli`].

use std::process::ExitCode;

/// Groups of large batches come and go: the system's allocator gave their memory back and fetched it again each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sealdesk_relay::cli::main()
}
