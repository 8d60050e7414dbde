//! A backtest's report for people at a terminal, and as a table for programs.

use std::collections::BTreeMap;
use std::fmt::Write;

use hearthway_core::money::{Currency, Money};

use crate::engine::backtest::{Counts, Report};

/// Cells of the longest bar.
const BAR_CELLS: u64 = 30;
/// Steps shown that blocked most.
const BLOCKS_SHOWN_MAX: usize = 15;
/// Triggers shown, in the order of what they sent.
const TRIGGERS_SHOWN_MAX: usize = 30;
/// Days shown; where there are more, the table has them all.
const DAYS_SHOWN_MAX: usize = 62;

/// The page.
pub(super) fn page(report: &Report) -> String {
    let mut page = String::new();
    // Writing into a string does not fail.
    let _ = head(&mut page, report).and_then(|()| days(&mut page, report)).and_then(|()| blocks(&mut page, report));
    let _ = triggers(&mut page, report).and_then(|()| homes(&mut page, report));
    page
}

fn head(page: &mut String, report: &Report) -> std::fmt::Result {
    let Report { retailer, counts: Counts { sent, held, blocked }, .. } = report;
    let from = report.from.map_or_else(|| "the beginning".to_owned(), |from| from.to_string());
    let until = report.until.map_or_else(|| "the end".to_owned(), |until| until.to_string());
    let number = report.triggers.len();
    writeln!(page, "Backtest of {number} {} of {retailer}, {from} to {until}", plural(number as u64, "trigger"))?;
    let homes = report.households;
    writeln!(page, "  inputs   {} in {homes} {}", report.inputs, plural(homes, "home"))?;
    let contacted = report.households_contacted;
    write!(page, "  sent     {sent} {} to {contacted} {}", plural(*sent, "offer"), plural(contacted, "home"))?;
    let worth = sums(&report.worth);
    if !worth.is_empty() {
        write!(page, ", {worth} if all are accepted")?;
    }
    writeln!(page, "\n  held     {held} for a better hour\n  blocked  {blocked}")?;
    match sums(&report.discounts) {
        none if none.is_empty() => writeln!(page, "  cost     none: nothing is taken off"),
        discounts => writeln!(page, "  cost     {discounts} of discounts if all are accepted"),
    }
}

/// Sums of money, one per currency.
fn sums(of: &BTreeMap<Currency, i64>) -> String {
    let each = of.iter().map(|(currency, minor)| Money { minor: *minor, currency: *currency }.to_string());
    each.collect::<Vec<_>>().join(" and ")
}

fn days(page: &mut String, report: &Report) -> std::fmt::Result {
    let most = report.days.values().map(|day| day.sent).max().unwrap_or(0);
    if report.days.is_empty() {
        return writeln!(page, "\nNo trigger was looked at.");
    }
    writeln!(page, "\nDay         sent {:cells$}    held blocked", "", cells = BAR_CELLS as usize)?;
    let skipped = report.days.len().saturating_sub(DAYS_SHOWN_MAX);
    if skipped > 0 {
        writeln!(page, "({skipped} earlier days: see --csv)")?;
    }
    for (day, Counts { sent, held, blocked }) in report.days.iter().skip(skipped) {
        writeln!(
            page,
            "{day} {sent:>5} {:cells$} {held:>6} {blocked:>7}",
            bar(*sent, most),
            cells = BAR_CELLS as usize
        )?;
    }
    Ok(())
}

fn blocks(page: &mut String, report: &Report) -> std::fmt::Result {
    let mut blocks: Vec<_> = report.blocked_by.iter().collect();
    blocks.sort_by_key(|(key, times)| (std::cmp::Reverse(**times), *key));
    let Some(most) = blocks.first().map(|(_, times)| **times) else { return Ok(()) };
    writeln!(page, "\nBlocked by")?;
    for (key, times) in blocks.iter().take(BLOCKS_SHOWN_MAX) {
        writeln!(page, "  {key:<34} {times:>7} {}", bar(**times, most))?;
    }
    Ok(())
}

fn triggers(page: &mut String, report: &Report) -> std::fmt::Result {
    let mut triggers: Vec<_> = report.triggers.iter().collect();
    triggers.sort_by_key(|(id, tally)| (std::cmp::Reverse(tally.counts.sent), *id));
    writeln!(page, "\nTrigger                            sent   homes    held blocked  mostly")?;
    for (id, tally) in triggers.iter().take(TRIGGERS_SHOWN_MAX) {
        let Counts { sent, held, blocked } = tally.counts;
        let mostly = tally.blocked_by.iter().max_by_key(|(key, times)| (**times, std::cmp::Reverse(*key)));
        let mostly = mostly.map_or("", |(key, _)| key);
        let line = format!("{:<32} {sent:>6} {:>7} {held:>7} {blocked:>7}  {mostly}", id.as_str(), tally.households);
        writeln!(page, "{}", line.trim_end())?;
    }
    if triggers.len() > TRIGGERS_SHOWN_MAX {
        writeln!(page, "and {} more: see --json", triggers.len() - TRIGGERS_SHOWN_MAX)?;
    }
    Ok(())
}

fn homes(page: &mut String, report: &Report) -> std::fmt::Result {
    if !report.most_contacted.is_empty() {
        writeln!(page, "\nMost contacted")?;
    }
    for home in &report.most_contacted {
        writeln!(page, "  {}  {}", home.household, home.sent)?;
    }
    let late = report.shorter_history;
    if late > 0 {
        writeln!(page, "\nThe log no longer has all of the time for {late} {}:", plural(late, "home"))?;
    }
    for home in &report.shorter_history_of {
        writeln!(page, "  {} begins at {}", home.household, home.since)?;
    }
    Ok(())
}

/// A bar of at most [`BAR_CELLS`], with half cells.
fn bar(value: u64, most: u64) -> String {
    let halves = if most == 0 { 0 } else { (value * BAR_CELLS * 2).div_ceil(most) };
    let whole = "█".repeat((halves / 2) as usize);
    if halves % 2 == 1 { format!("{whole}▌") } else { whole }
}

fn plural(n: u64, word: &str) -> String {
    if n == 1 { word.to_owned() } else { format!("{word}s") }
}

/// A table of the days.
pub(super) fn table(report: &Report) -> String {
    let mut table = "day,sent,held,blocked\n".to_owned();
    for (day, Counts { sent, held, blocked }) in &report.days {
        let _ = writeln!(table, "{day},{sent},{held},{blocked}");
    }
    table
}
