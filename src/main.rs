//! The `hearthway` program. All of it is in the library.

/// A message makes and drops some hundred small values on several threads, which the system's
/// allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // The allocator asks for huge pages, of which a touched byte takes two megabytes: without them
    // the gateway is a hundred megabytes smaller and no slower. Where it cannot be said, it stays.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    hearthway::cli::run()
}
