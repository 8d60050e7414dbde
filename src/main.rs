//! The `hearthway` program. All of it is in the library.

/// A message makes and drops some hundred small values on several threads; the system's allocator
/// costs a fifth of all CPU there (`docs/figures.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    hearthway::cli::run()
}
