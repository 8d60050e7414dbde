//! Reports for people at a terminal.

use std::fmt::Write;

use hearthway_core::report::{
    ChannelReport, ChannelRow, ForecastErrorReport, FunnelReport, FunnelTrigger, Interval, OptOutsReport, ReasonCount,
    ReasonsReport, Stage, UpliftReport,
};
use hearthway_core::time::Span;

use crate::engine::reports::{Found, Report};

/// Cells of the longest bar.
const BAR_CELLS: u64 = 24;
/// Reasons shown of one trigger; the CSV has all.
const REASONS_SHOWN_MAX: usize = 12;
/// Days shown of one trigger, the last ones.
const DAYS_SHOWN_MAX: usize = 31;
/// Stages that have a column of their own in the table of days.
const DAY_STAGES: [Stage; 6] =
    [Stage::Matched, Stage::HeldOut, Stage::Sent, Stage::Shown, Stage::Accepted, Stage::Ordered];

/// The page.
pub(super) fn page(report: &Report) -> String {
    let mut page = String::new();
    // Writing into a string does not fail.
    let _ = head(&mut page, report);
    let _ = match &report.found {
        Found::Funnel(found) => funnel(&mut page, found),
        Found::Uplift(found) => uplift(&mut page, found),
        Found::OptOuts(found) => opt_outs(&mut page, found),
        Found::BlockedReasons(found) => reasons(&mut page, found),
        Found::Channel(found) => channel(&mut page, found),
        Found::ForecastError(found) => forecast_error(&mut page, found),
    };
    if report.found.table().rows.is_empty() {
        page.push_str("\nNothing was counted.\n");
    }
    if report.uncounted > 0 {
        let _ = writeln!(page, "\n{} more found no room in the ledgers of their homes.", report.uncounted);
    }
    page
}

fn head(page: &mut String, report: &Report) -> std::fmt::Result {
    let name = match &report.found {
        Found::Funnel(_) => "Funnel",
        Found::Uplift(_) => "Uplift",
        Found::OptOuts(_) => "Opt-outs",
        Found::BlockedReasons(_) => "Blocked reasons",
        Found::Channel(_) => "Channel",
        Found::ForecastError(_) => "Forecast error",
    };
    let from = report.from.as_deref().unwrap_or("the beginning");
    let until = report.until.as_deref().unwrap_or("the end");
    let Report { retailer, zone, households, .. } = report;
    writeln!(page, "{name} of {retailer}, {from} to {until} ({zone}), {households} {}", plural(*households, "home"))
}

fn funnel(page: &mut String, found: &FunnelReport) -> std::fmt::Result {
    for of in &found.triggers {
        let most = of.count(Stage::Matched).decisions;
        let cells = BAR_CELLS as usize;
        writeln!(page, "\n{:<14} {:cells$} decisions   homes", of.trigger, "")?;
        for at in &of.stages {
            let bar = bar(at.decisions, most);
            writeln!(page, "  {:<12} {bar:cells$} {:>9} {:>7}", at.stage.as_str(), at.decisions, at.households)?;
        }
        blocked_by(page, &of.blocked_by, most)?;
        days(page, of)?;
    }
    Ok(())
}

fn blocked_by(page: &mut String, reasons: &[ReasonCount], most: u64) -> std::fmt::Result {
    if !reasons.is_empty() {
        writeln!(page, "  blocked by")?;
    }
    for by in reasons.iter().take(REASONS_SHOWN_MAX) {
        writeln!(
            page,
            "    {:<35} {:>9} {:>7} {:>6}",
            by.reason,
            by.decisions,
            by.households,
            share(by.decisions, most)
        )?;
    }
    let more = reasons.len().saturating_sub(REASONS_SHOWN_MAX);
    if more > 0 {
        writeln!(page, "    and {more} more: see --format csv")?;
    }
    Ok(())
}

fn days(page: &mut String, of: &FunnelTrigger) -> std::fmt::Result {
    if of.days.is_empty() {
        return Ok(());
    }
    write!(page, "  day       ")?;
    for stage in DAY_STAGES {
        write!(page, " {:>8}", stage.as_str())?;
    }
    writeln!(page)?;
    let skipped = of.days.len().saturating_sub(DAYS_SHOWN_MAX);
    if skipped > 0 {
        writeln!(page, "  ({skipped} earlier days: see --format csv)")?;
    }
    for day in of.days.iter().skip(skipped) {
        write!(page, "  {}", day.day)?;
        for stage in DAY_STAGES {
            let count = day.stages.iter().find(|at| at.stage == stage).map_or(0, |at| at.decisions);
            write!(page, " {count:>8}")?;
        }
        writeln!(page)?;
    }
    Ok(())
}

fn uplift(page: &mut String, found: &UpliftReport) -> std::fmt::Result {
    writeln!(page, "  bought within {} of the first offer; {}", Span::seconds(found.window_s), found.method)?;
    for of in &found.triggers {
        writeln!(page, "\n{:<20} homes  ordered    share  window open", of.trigger)?;
        for (name, side) in [("spoken to", &of.treated), ("held out", &of.held_out)] {
            let (homes, ordered, open) = (side.households, side.ordered, side.still_open);
            writeln!(page, "  {name:<16} {homes:>7} {ordered:>8} {:>8}  {open:>11}", share(ordered, homes))?;
        }
        match of.uplift {
            Some(uplift) => {
                let says = match uplift {
                    Interval { low, .. } if low > 0.0 => "it sells more than would have been bought anyway",
                    Interval { high, .. } if high < 0.0 => "it sells less than would have been bought anyway",
                    _ => "not told from chance yet",
                };
                writeln!(page, "  uplift {}: {says}", points(&uplift))?;
            }
            None => writeln!(page, "  one side is empty: nothing to compare")?,
        }
        if of.changed_side > 0 {
            let homes = plural(of.changed_side, "home");
            writeln!(page, "  {} {homes} changed sides later; counted on the first", of.changed_side)?;
        }
    }
    if found.triggers.is_empty() {
        writeln!(page, "  no trigger that sells something held a home out (`[trigger.rollout] holdout`)")?;
    }
    Ok(())
}

fn opt_outs(page: &mut String, found: &OptOutsReport) -> std::fmt::Result {
    writeln!(page, "  withdrawn within {} of an offer", Span::seconds(found.within_s))?;
    for of in &found.triggers {
        writeln!(page, "\n{:<20} homes  opted out    share  consent  paused  released", of.trigger)?;
        for (name, side) in [("spoken to", &of.spoken_to), ("held out", &of.held_out)] {
            let (homes, out) = (side.households, side.opted_out);
            let (consent, paused, released) = (side.consent_withdrawn, side.paused, side.released);
            let share = share(out, homes);
            writeln!(page, "  {name:<16} {homes:>7} {out:>10} {share:>8} {consent:>8} {paused:>7} {released:>9}")?;
        }
        if let Some(more) = of.more {
            writeln!(page, "  more by {}", points(&more))?;
        }
        let ordered = of.ordered;
        if of.drives_opt_outs {
            writeln!(page, "  FLAG: it drives homes away, more than chance would; it sold to {ordered}")?;
        } else {
            writeln!(page, "  it sold to {ordered} {}", plural(ordered, "home"))?;
        }
    }
    Ok(())
}

fn reasons(page: &mut String, found: &ReasonsReport) -> std::fmt::Result {
    for of in &found.triggers {
        let matched = of.matched.decisions;
        writeln!(page, "\n{}: {} of {matched} {} stopped", of.trigger, of.blocked.decisions, plural(matched, "look"))?;
        for by in &of.blocked_by {
            let bar = bar(by.decisions, matched);
            let (decisions, homes) = (by.decisions, by.households);
            writeln!(page, "  {:<34} {decisions:>7} in {homes:>6} {:<5} {bar}", by.reason, plural(homes, "home"))?;
        }
    }
    Ok(())
}

fn channel(page: &mut String, found: &ChannelReport) -> std::fmt::Result {
    let mut device = None;
    let most = found.rows.iter().map(|row| row.sent).max().unwrap_or(0);
    for row in &found.rows {
        let ChannelRow { kind, model, hour, sent, shown, answered, accepted } = row;
        if device != Some((kind, model)) {
            device = Some((kind, model));
            writeln!(page, "\n{kind} {model}\n  hour     sent    shown answered accepted")?;
        }
        let bar = bar(*sent, most);
        let line = format!("  {hour:02}:00 {sent:>7} {shown:>8} {answered:>8} {accepted:>8}  {bar}");
        writeln!(page, "{}", line.trim_end())?;
    }
    Ok(())
}

fn forecast_error(page: &mut String, found: &ForecastErrorReport) -> std::fmt::Result {
    writeln!(page, "\n  product                cycles  error d   bias d  in p10-p90  stock-outs  days early")?;
    for of in &found.products {
        let product = if of.product.is_empty() { "(none known)" } else { &of.product };
        let coverage = format!("{:.0} %", 100.0 * of.coverage_80);
        writeln!(
            page,
            "  {product:<20} {:>8} {:>8.1} {:>+8.1} {coverage:>11} {:>11} {:>11.1}",
            of.cycles, of.mean_error_days, of.bias_days, of.stock_outs, of.days_early
        )?;
    }
    if found.products.is_empty() {
        writeln!(page, "  no slot was used up and refilled yet")?;
    }
    Ok(())
}

/// A bar of at most [`BAR_CELLS`], with half cells; whatever is more than nothing is seen.
fn bar(value: u64, most: u64) -> String {
    let halves = if most == 0 { 0 } else { (value * BAR_CELLS * 2).div_ceil(most) };
    let whole = "█".repeat((halves / 2) as usize);
    if halves % 2 == 1 { format!("{whole}▌") } else { whole }
}

fn share(of: u64, all: u64) -> String {
    if all == 0 { "-".to_owned() } else { format!("{:.1} %", 100.0 * of as f64 / all as f64) }
}

/// A difference of shares in points, with its interval.
fn points(of: &Interval) -> String {
    let Interval { difference, low, high } = of;
    format!("{:+.1} points ({:+.1} to {:+.1} with 95 %)", 100.0 * difference, 100.0 * low, 100.0 * high)
}

fn plural(n: u64, word: &str) -> String {
    if n == 1 { word.to_owned() } else { format!("{word}s") }
}
