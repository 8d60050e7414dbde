//! From a store into a file, while the store is in use.
//!
//! Rows are read page by page while commits go on, so a page is of its own moment. After each page
//! comes what changed since the page before: whatever a page missed stands later in the file, and
//! the last word on every row is its last record. Items never change, so the logs are followed to
//! their end. Only for the last few items do commits wait: rows and logs end at the same moment.

use std::io::Write;

use super::file::Writer;
use super::watched::{Changed, Watching};
use super::{BackupError, Counts, Header, Watched};
use crate::store::keys::Key;
use crate::store::{AllItems, Mark, Store};

/// Rows or items that are in memory at once.
const PAGE: usize = 256;

/// Writes all of a store to `out`. `told` hears now and then how far it is. Where it fails, the
/// reason is the last thing in the file.
pub fn take(
    store: &Watched,
    header: &Header,
    out: impl Write,
    mut told: impl FnMut(Counts),
) -> Result<Counts, BackupError> {
    store.health()?;
    // Before the first byte, so that whoever comes second is told as a call is told.
    let watching = store.watch()?;
    let mut writer = Writer::begin(out, header)?;
    match write_all(store, &watching, &mut writer, &mut told) {
        Ok(()) => writer.end(),
        Err(error) => {
            writer.give_up(&error);
            Err(error)
        }
    }
}

fn write_all(
    store: &Watched,
    watching: &Watching<'_>,
    writer: &mut Writer<impl Write>,
    told: &mut impl FnMut(Counts),
) -> Result<(), BackupError> {
    let mut after: Option<Key> = None;
    loop {
        let page = store.scan(&[], after.as_ref(), PAGE)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        page.iter().try_for_each(|(key, value)| writer.row(key, Some(value)))?;
        write_changed(writer, watching.changed()?)?;
        told(writer.counts());
    }
    let mut after: Option<Mark> = None;
    loop {
        let page = store.items(after, PAGE)?;
        let is_near_the_end = page.len() < PAGE;
        write_items(writer, &page, &mut after)?;
        write_changed(writer, watching.changed()?)?;
        told(writer.counts());
        if is_near_the_end {
            break;
        }
    }
    let (changed, items) = watching.at_rest(|| {
        let mut items = AllItems::new();
        loop {
            let last = items.last().map(|(mark, ..)| *mark).or(after);
            let page = store.items(last, PAGE)?;
            if page.is_empty() {
                break Ok(items);
            }
            items.extend(page);
        }
    })?;
    write_changed(writer, changed)?;
    write_items(writer, &items, &mut after)
}

fn write_changed(writer: &mut Writer<impl Write>, changed: Changed) -> Result<(), BackupError> {
    changed.iter().try_for_each(|(key, value)| writer.row(key, value.as_deref()))
}

fn write_items(writer: &mut Writer<impl Write>, items: &AllItems, after: &mut Option<Mark>) -> Result<(), BackupError> {
    for (mark, log, item) in items {
        writer.item(log, item)?;
        *after = Some(*mark);
    }
    Ok(())
}
