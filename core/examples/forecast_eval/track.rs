//! One track of a directory: series with what they are, and the moments at which a prediction is asked for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hearthway_core::time::Timestamp;

/// One row of a series.
pub struct Row {
    pub day: f64,
    pub value: f64,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Purchase,
    Refill,
    Level,
    Counter,
    Replaced,
    TruthRunOut,
    TruthRefill,
    /// For scoring only, and not used here.
    TruthOther,
}

/// A moment at which a prediction is asked for.
pub struct Origin {
    pub day: f64,
    /// As it was written, for the answer.
    pub text: String,
    /// Events or cycles seen by then.
    pub seen: u32,
}

pub struct Series {
    pub id: String,
    pub product: String,
    pub capacity: Option<f64>,
    pub rows: Vec<Row>,
    pub origins: Vec<Origin>,
}

pub struct Track {
    pub series: Vec<Series>,
}

impl Track {
    /// Nothing to learn from.
    pub fn empty() -> Track {
        Track { series: Vec::new() }
    }
}

/// A line that cannot be read: where, and why.
struct Place<'a>(&'a Path, usize);

impl Place<'_> {
    fn says(&self, why: impl std::fmt::Display) -> String {
        format!("{}:{}: {why}", self.0.display(), self.1)
    }
}

/// The names for which a directory has all three files, and notes on those that lack one.
pub fn names(folder: &Path) -> Result<(Vec<String>, Vec<String>), String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|file| file.strip_suffix(".csv").map(str::to_owned))
        .filter(|name| !name.contains('.'))
        .collect();
    names.sort();
    let missing = |name: &String| {
        ["meta", "origins"].into_iter().find(|part| !folder.join(format!("{name}.{part}.csv")).exists())
    };
    let notes = names.iter().filter_map(|name| Some((name, missing(name)?)));
    let notes = notes.map(|(name, part)| format!("{name}: {name}.{part}.csv is missing")).collect();
    names.retain(|name| missing(name).is_none());
    Ok((names, notes))
}

pub fn read(folder: &Path, name: &str) -> Result<Track, String> {
    let mut series: BTreeMap<String, Series> = BTreeMap::new();
    let meta = folder.join(format!("{name}.meta.csv"));
    each_line(&meta, ["series_id", "product", "capacity", "unit"], |place, [id, product, capacity, _]| {
        let capacity = match capacity {
            "" => None,
            text => Some(number(text).ok_or_else(|| place.says(format!("capacity `{text}` is not a number")))?),
        };
        let (id, product) = (id.to_owned(), product.to_owned());
        let one = Series { id: id.clone(), product, capacity, rows: Vec::new(), origins: Vec::new() };
        if series.insert(id, one).is_some() {
            return Err(place.says("the series is there twice"));
        }
        Ok(())
    })?;
    let unknown = |place: &Place<'_>, id: &str| place.says(format!("series `{id}` is not in {}", meta.display()));
    let rows = folder.join(format!("{name}.csv"));
    each_line(&rows, ["series_id", "timestamp", "value", "kind"], |place, [id, at, value, kind]| {
        let one = series.get_mut(id).ok_or_else(|| unknown(place, id))?;
        let day = day(at).ok_or_else(|| place.says(format!("`{at}` is not a time; write `2026-01-31T08:00:00Z`")))?;
        let value = number(value).ok_or_else(|| place.says(format!("value `{value}` is not a finite number")))?;
        let kind = match kind {
            "purchase" => Kind::Purchase,
            "refill" => Kind::Refill,
            "level" => Kind::Level,
            "counter" => Kind::Counter,
            "replaced" => Kind::Replaced,
            "truth_runout" => Kind::TruthRunOut,
            "truth_refill" => Kind::TruthRefill,
            other if other.starts_with("truth_") => Kind::TruthOther,
            other => return Err(place.says(format!("kind `{other}` is not known"))),
        };
        one.rows.push(Row { day, value, kind });
        Ok(())
    })?;
    let origins = folder.join(format!("{name}.origins.csv"));
    each_line(&origins, ["series_id", "origin_ts", "n_hist"], |place, [id, at, seen]| {
        let one = series.get_mut(id).ok_or_else(|| unknown(place, id))?;
        let day = day(at).ok_or_else(|| place.says(format!("`{at}` is not a time; write `2026-01-31T08:00:00Z`")))?;
        let seen = seen.parse().map_err(|_| place.says(format!("n_hist `{seen}` is not a count")))?;
        one.origins.push(Origin { day, text: at.to_owned(), seen });
        Ok(())
    })?;
    let mut series: Vec<Series> = series.into_values().collect();
    for one in &mut series {
        one.rows.sort_by(|a, b| a.day.total_cmp(&b.day));
        one.origins.sort_by(|a, b| a.day.total_cmp(&b.day));
    }
    Ok(Track { series })
}

/// Calls `take` with the fields of each line after the heading, which must be as given.
fn each_line<const N: usize>(
    path: &Path,
    heading: [&str; N],
    mut take: impl FnMut(&Place<'_>, [&str; N]) -> Result<(), String>,
) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    for (n, line) in text.lines().enumerate() {
        let place = Place(path, n + 1);
        let line = line.trim_end_matches('\r');
        if n == 0 {
            let expected = heading.join(",");
            let found = line.trim_start_matches('\u{feff}');
            if found != expected {
                return Err(place.says(format!("the heading is `{found}`; it must be `{expected}`")));
            }
            continue;
        }
        if line.is_empty() {
            continue;
        }
        let fields: Vec<&str> = line.split(',').collect();
        let count = fields.len();
        let fields = fields.try_into().map_err(|_| place.says(format!("{count} fields; {N} are needed")))?;
        take(&place, fields)?;
    }
    Ok(())
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|value| value.is_finite())
}

fn day(text: &str) -> Option<f64> {
    Timestamp::parse_rfc3339(text.trim()).map(|at| at.0 as f64 / 86_400_000.0)
}

/// One answer; moments in days since 1970.
pub struct Answer {
    pub series: usize,
    pub origin: usize,
    pub p10: f64,
    pub p50: f64,
    pub p90: f64,
}

pub fn write(folder: &Path, name: &str, track: &Track, answers: &[Answer]) -> Result<PathBuf, String> {
    let path = folder.join(format!("{name}.predictions.csv"));
    let mut text = String::from("series_id,origin_ts,median_ts,lo80_ts,hi80_ts\n");
    for answer in answers {
        let series = &track.series[answer.series];
        let [p50, p10, p90] = [answer.p50, answer.p10, answer.p90]
            .map(|day| Timestamp(((day * 86_400.0).round() as i64).saturating_mul(1000)));
        text += &format!("{},{},{p50},{p10},{p90}\n", series.id, series.origins[answer.origin].text);
    }
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}
