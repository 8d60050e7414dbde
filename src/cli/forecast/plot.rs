//! `hearthway forecast plot`: a slot's level, refills, decisions and what is foreseen, drawn.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use hearthway_core::time::Timestamp;
use serde_json::Value;

use super::svg::Drawing;
use crate::cli::gateway_client::GatewayClient;
use crate::cli::{on_runtime, say};

/// Days that the drawing goes on beyond now where the slot lasts longer.
const AHEAD_DAYS_MAX: f64 = 120.0;
const DAY_MS: f64 = 86_400_000.0;

/// Draws a slot of a device: its level, refills, what was decided, and the fan of what is foreseen.
///
/// Asks a running gateway; the retailer's token is taken from HEARTHWAY_TOKEN.
#[derive(Debug, clap::Args)]
pub struct Plot {
    /// The device, by its name or as `maker/device`.
    #[arg(long)]
    device: String,
    /// Which of its slots; may be left out where it has one.
    #[arg(long)]
    slot: Option<String>,
    /// A running gateway's HTTP address.
    #[arg(long, value_name = "URL", env = "HEARTHWAY_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Where the drawing goes; `<device>-<slot>.svg` where not said.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Plot {
    /// Does it.
    pub fn run(self) -> ExitCode {
        match on_runtime(self.plot()) {
            Ok(text) => {
                say(&text);
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("Error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    async fn plot(&self) -> anyhow::Result<String> {
        let gateway = GatewayClient::new(&self.url)?;
        let device = self.device.replace('/', "%2F");
        let slot = match &self.slot {
            Some(slot) => slot.clone(),
            None => only_slot(&gateway.call("GET", &format!("/v1/devices/{device}/slots"), None).await?)?,
        };
        let path = format!("/v1/devices/{device}/slots/{slot}/history");
        let history = gateway.call("GET", &path, None).await?;
        let name = self.device.rsplit('/').next().unwrap_or(&self.device);
        let out = self.out.clone().unwrap_or_else(|| PathBuf::from(format!("{name}-{slot}.svg")));
        let drawn = drawing(&format!("{name}: {slot}"), &history).context("the gateway's answer has another shape")?;
        std::fs::write(&out, drawn).with_context(|| format!("writing the drawing to `{}`", out.display()))?;
        Ok(summary(&history, &out.display().to_string()))
    }
}

fn only_slot(slots: &Value) -> anyhow::Result<String> {
    let names: Vec<&str> =
        slots["items"].as_array().into_iter().flatten().filter_map(|it| it["slot"].as_str()).collect();
    match names[..] {
        [only] => Ok(only.to_owned()),
        [] => bail!("the device has reported no slot yet"),
        _ => bail!("the device has the slots {}: name one by `--slot`", names.join(", ")),
    }
}

fn summary(history: &Value, out: &str) -> String {
    let count = |name: &str| history[name].as_array().map_or(0, Vec::len);
    let foreseen = match (history["forecast"]["expected_empty"]["p50"].as_str(), history["no_forecast"].as_str()) {
        (Some(at), _) => format!("empty about {at}"),
        (None, Some(why)) => format!("nothing foreseen: {why}"),
        (None, None) => "nothing foreseen".to_owned(),
    };
    format!("{} readings, {} decisions; {foreseen}; drawn in {out}\n", count("points"), count("decisions"))
}

fn day_of(value: &Value) -> Option<f64> {
    Some(Timestamp::parse_rfc3339(value.as_str()?)?.0 as f64 / DAY_MS)
}

fn drawing(title: &str, history: &Value) -> Option<String> {
    let now = day_of(&history["at"])?;
    let points: Vec<(f64, f64, &Value)> = history["points"]
        .as_array()?
        .iter()
        .filter_map(|point| Some((day_of(&point["t"])?, point["left_percent"].as_f64()?, point)))
        .collect();
    let fan: Vec<(f64, f64)> = history["forecast"]["fan"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|quantile| Some((quantile["p"].as_f64()?, day_of(&quantile["at"])?)))
        .collect();
    let latest = fan.iter().map(|(_, at)| *at).fold(now + 1.0, f64::max).min(now + AHEAD_DAYS_MAX);
    let first = points.first().map_or(now - 1.0, |(at, _, _)| *at);
    let mut drawing = Drawing::new(title, (first, latest), (0.0, 100.0), "left, percent of a full one");
    let step = ((latest - first) / 8.0).ceil().max(1.0);
    let mut day = first.ceil();
    while day <= latest {
        let at = Timestamp((day * DAY_MS) as i64).to_string();
        drawing.tick(day, at.get(5..10).unwrap_or(&at));
        day += step;
    }
    let level = points.last().map_or(0.0, |(_, left, _)| *left);
    let at = |p: f64| fan.iter().find(|(known, _)| (known - p).abs() < 1e-6).map(|(_, at)| at.min(latest));
    for (low, high, opacity) in [(0.1, 0.9, 0.15), (0.25, 0.75, 0.2)] {
        if let (Some(low), Some(high)) = (at(low), at(high)) {
            drawing.area([(now, level), (low, 0.0), (high, 0.0)], "#1f6fb4", opacity);
        }
    }
    if let Some(median) = at(0.5) {
        drawing.line([(now, level), (median, 0.0)], "#1f6fb4");
    }
    drawing.line(points.iter().map(|(at, left, _)| (*at, *left)), "#333333");
    for (at, left, point) in points.iter().filter(|(_, _, point)| point["refilled"] == true) {
        drawing.dot(*at, *left, "#2e8b57", point["verdict"].as_str().unwrap_or("refilled"));
    }
    for decision in history["decisions"].as_array()? {
        let is_said = decision["verdict"] == "sent";
        let (colour, height) = if is_said { ("#d2691e", 4.0) } else { ("#999999", 0.0) };
        let why = decision["first_block"].as_str().unwrap_or("said");
        let word = format!("{}: {why}", decision["trigger"].as_str().unwrap_or_default());
        drawing.dot(day_of(&decision["t"])?, height, colour, &word);
    }
    drawing.mark(now, "#444444", "now");
    if let Some(order_by) = day_of(&history["forecast"]["order_by"]).filter(|at| *at <= latest) {
        drawing.mark(order_by, "#d2691e", "order by");
    }
    for (colour, word) in [
        ("#333333", "reported"),
        ("#2e8b57", "refill"),
        ("#d2691e", "suggested or ordered"),
        ("#1f6fb4", "foreseen: p10 to p90, p25 to p75, median"),
    ] {
        drawing.legend(colour, word);
    }
    Some(drawing.finish())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_history_is_drawn_with_its_fan_its_refill_and_its_decisions() {
        let history = json!({
            "at": "2026-03-20T00:00:00Z",
            "points": [
                {"t": "2026-03-01T00:00:00Z", "left_percent": 8.0, "verdict": "used 1.0 points", "refilled": false},
                {"t": "2026-03-02T00:00:00Z", "left_percent": 99.0, "verdict": "refilled <by hand>", "refilled": true},
                {"t": "2026-03-20T00:00:00Z", "left_percent": 60.0, "verdict": "used 2.0 points", "refilled": false},
            ],
            "decisions": [
                {"t": "2026-03-01T00:00:00Z", "trigger": "runs-out", "verdict": "sent", "first_block": null},
                {"t": "2026-03-02T00:00:00Z", "trigger": "runs-out", "verdict": "held", "first_block": "suppression"},
            ],
            "forecast": {"order_by": "2026-04-01T00:00:00Z", "expected_empty": {"p50": "2026-04-15T00:00:00Z"}, "fan": [
                {"p": 0.1, "at": "2026-04-05T00:00:00Z"}, {"p": 0.25, "at": "2026-04-10T00:00:00Z"},
                {"p": 0.5, "at": "2026-04-15T00:00:00Z"}, {"p": 0.75, "at": "2026-04-20T00:00:00Z"},
                {"p": 0.9, "at": "2026-05-01T00:00:00Z"},
            ]},
        });
        let svg = drawing("d-42: salt", &history).unwrap_or_default();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        for part in ["d-42: salt", "refilled &lt;by hand&gt;", "runs-out: suppression", "order by", "fill-opacity"] {
            assert!(svg.contains(part), "{part} is missing in {svg}");
        }
        let told = summary(&history, "x.svg");
        assert_eq!(told, "3 readings, 2 decisions; empty about 2026-04-15T00:00:00Z; drawn in x.svg\n");
        assert!(drawing("x", &json!({})).is_none());
    }
}
