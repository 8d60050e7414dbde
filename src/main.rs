//! The `hearthway` program. All of it is in the library.

/// A message makes and drops some hundred small values on several threads: the system's allocator is
/// slow at that, others keep twice the memory. How it is tuned: `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    // Of a huge page a touched byte takes two megabytes. Where it cannot be said, it stays.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    hearthway::cli::run()
}
