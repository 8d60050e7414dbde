//! Documents that are made from the code: they say what the code does, or the build is red.
//! `UPDATE_DOCUMENTS=1 cargo test --test it` writes them; read the difference before accepting it.

use std::path::Path;

fn is_as_made(path: &str, made: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(&file, made).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == made, "`{path}` is not what the code says; run `UPDATE_DOCUMENTS=1 cargo test --test it`");
}

#[test]
fn the_error_page_has_every_code_with_cause_and_cure() {
    is_as_made(hearthway_core::wire::ERRORS_PAGE, &hearthway_core::wire::errors_page());
}
