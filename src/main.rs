//! The `hearthway` program. All of it is in the library.

fn main() -> std::process::ExitCode {
    hearthway::cli::run()
}
