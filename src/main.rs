//! The `stoker` command.

use std::process::ExitCode;

/// Most of what a message costs besides its mapping is small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    stoker::cli::main()
}
