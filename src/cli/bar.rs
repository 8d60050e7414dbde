//! How far a long piece of work is: a bar on stderr, and nothing where stderr is no terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work whose length is known, in bytes.
pub(super) fn bytes(doing: &'static str, length: u64) -> ProgressBar {
    shown(Some(length), "{msg:<10} {bar:40} {bytes}/{total_bytes} {eta}").with_message(doing)
}

/// Work whose length is known, in things of a kind.
pub(super) fn counted(doing: &'static str, length: u64, things: &'static str) -> ProgressBar {
    let template = format!("{{msg:<10}} {{bar:40}} {{human_pos}}/{{human_len}} {things} {{eta}}");
    shown(Some(length), &template).with_message(doing)
}

/// Work whose length shows only at its end.
pub(super) fn endless(doing: &'static str) -> ProgressBar {
    shown(None, "{msg:<10} {spinner} {bytes} {bytes_per_sec}").with_message(doing)
}

/// indicatif itself draws on terminals only.
fn shown(length: Option<u64>, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr_with_hz(8)).with_style(style)
}
