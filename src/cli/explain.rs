//! `hearthway explain` and `hearthway triggers try`: why, step by step, in a person's words.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use hearthway_core::time::Timestamp;
use serde_json::{Value, json};

use super::gateway_client::{GatewayClient, encoded};

/// Bytes of an input file: a device's message is smaller.
const INPUT_BYTES_MAX: u64 = 64 * 1024;

/// The language of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Lang {
    /// English.
    En,
    /// French.
    Fr,
}

impl Lang {
    fn tag(self) -> &'static str {
        match self {
            Lang::En => "en",
            Lang::Fr => "fr",
        }
    }
}

/// What the answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// What was decided.
    Decided,
    /// What the draft would do.
    Draft,
    /// What the trigger of a file would do.
    File,
    /// What a live trigger would do.
    Live,
}

/// Which gateway, and how to answer.
#[derive(Debug, Clone, clap::Args)]
pub struct Asked {
    /// The running gateway's HTTP address; the retailer's token is taken from HEARTHWAY_TOKEN.
    #[arg(long, value_name = "URL", env = "HEARTHWAY_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// The language of the reasons.
    #[arg(long, value_enum, default_value = "en")]
    pub lang: Lang,
    /// The answer as JSON, as the gateway gives it.
    #[arg(long)]
    pub json: bool,
}

impl Asked {
    fn gateway(&self) -> anyhow::Result<GatewayClient> {
        Ok(GatewayClient::new(&self.url)?.in_language(self.lang.tag()))
    }

    fn tell(&self, answer: anyhow::Result<Value>, asked: Question) -> ExitCode {
        match answer {
            Ok(answer) if self.json => super::say(&format!("{answer:#}\n")),
            Ok(answer) if asked == Question::Live => super::say(&live_page(&answer, self.lang)),
            Ok(answer) => super::say(&page(&answer, self.lang, asked)),
            Err(error) => {
                eprintln!("error: {error:#}");
                return ExitCode::FAILURE;
            }
        }
        ExitCode::SUCCESS
    }
}

/// Says why a trigger did or did not send in a household: every step, with its numbers.
#[derive(Debug, clap::Args)]
pub struct Explain {
    /// The household.
    #[arg(long, value_name = "ID")]
    pub household: String,
    /// The trigger.
    #[arg(long, value_name = "ID")]
    pub trigger: String,
    /// At the last input at or before this instant; without it, at the last decision about it.
    #[arg(long, value_name = "TIME", value_parser = super::instant)]
    pub at: Option<Timestamp>,
    /// Which gateway, and how to answer.
    #[command(flatten)]
    pub asked: Asked,
}

impl Explain {
    /// Does it.
    pub fn run(self) -> ExitCode {
        let at = self.at.map(|at| format!("&at={at}")).unwrap_or_default();
        let (household, trigger) = (encoded(&self.household), encoded(&self.trigger));
        let path = format!("/v1/explain?household={household}&trigger={trigger}{at}");
        let answer = super::on_runtime(async { self.asked.gateway()?.call("GET", &path, None).await });
        self.asked.tell(answer, Question::Decided)
    }
}

/// Says what triggers would do about an input in a household as it is. Nothing is written or sent.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hearthway triggers try --household hh_… --input worn.json                          # all that is live
  hearthway triggers try --household hh_… --input worn.json --trigger filter-worn    # the draft of one
  hearthway triggers try --household hh_… --input worn.json --file warm-filter.toml  # one that is no draft yet")]
pub struct Try {
    /// The household.
    #[arg(long, value_name = "ID")]
    pub household: String,
    /// The input as JSON, such as `{"telemetry":{"temperature":16}}` or
    /// `{"slot":{"air_filter":{"used":612}}}`.
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// The trigger, by its id at the gateway: its draft is tried. Without it and `--file`, all that are live.
    #[arg(long, value_name = "ID")]
    pub trigger: Option<String>,
    /// A file with the trigger, in place of the draft; of several in it, `--trigger` names one.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// On this device; without it, on the first that the trigger is about, or that wakes something.
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// As if it were this instant; without it, now.
    #[arg(long, value_name = "TIME", value_parser = super::instant)]
    pub at: Option<Timestamp>,
    /// Which gateway, and how to answer.
    #[command(flatten)]
    pub asked: Asked,
}

impl Try {
    /// Does it.
    pub fn run(self) -> ExitCode {
        let question = match (&self.file, &self.trigger) {
            (Some(_), _) => Question::File,
            (None, Some(_)) => Question::Draft,
            (None, None) => Question::Live,
        };
        let answer = self.call().and_then(|(path, body)| {
            super::on_runtime(async { self.asked.gateway()?.call("POST", &path, Some(&body)).await })
        });
        self.asked.tell(answer, question)
    }

    /// Which call asks it, with which body.
    fn call(&self) -> anyhow::Result<(String, Value)> {
        let input = read(&self.input)?;
        let input: Value =
            serde_json::from_str(&input).with_context(|| format!("`{}` is not JSON", self.input.display()))?;
        let at = self.at.map(|at| at.to_string());
        let mut body = json!({"household": self.household, "device": self.device, "input": input, "at": at});
        let of = |id: &str| format!("/v1/triggers/{}/try", encoded(id));
        match (&self.file, &self.trigger) {
            (Some(file), id) => {
                let trigger = trigger_of(file, id.as_deref())?;
                let path = of(trigger["id"].as_str().unwrap_or_default());
                body["trigger"] = trigger;
                Ok((path, body))
            }
            (None, Some(id)) => Ok((of(id), body)),
            (None, None) => Ok(("/v1/triggers:try".to_owned(), body)),
        }
    }
}

/// The trigger with the id among those of a file; without an id the only one.
fn trigger_of(file: &PathBuf, id: Option<&str>) -> anyhow::Result<Value> {
    let sources = super::triggers::read_sources(std::slice::from_ref(file))?;
    let mut all = Vec::new();
    for source in &sources {
        all.extend(super::triggers::triggers_in(source)?);
    }
    let shown = file.display();
    match id {
        Some(id) => {
            let found = all.into_iter().find(|trigger| trigger["id"] == id);
            found.with_context(|| format!("`{shown}` has no trigger `{id}`"))
        }
        None => {
            let several = all.len() > 1;
            anyhow::ensure!(!several, "`{shown}` has {} triggers: name one by `--trigger ID`", all.len());
            all.pop().with_context(|| format!("`{shown}` has no [[trigger]]"))
        }
    }
}

fn read(path: &PathBuf) -> anyhow::Result<String> {
    let bytes = std::fs::metadata(path).with_context(|| format!("reading `{}`", path.display()))?.len();
    anyhow::ensure!(bytes <= INPUT_BYTES_MAX, "`{}` has more than {INPUT_BYTES_MAX} bytes", path.display());
    std::fs::read_to_string(path).with_context(|| format!("reading `{}`", path.display()))
}

/// What all live triggers would do, for people.
fn live_page(answer: &Value, lang: Lang) -> String {
    let woken = answer["woken"].as_array().map_or(&[][..], Vec::as_slice);
    let pages: String = woken.iter().map(|one| page(one, lang, Question::Live)).collect();
    let (device, live, count) = (answer["device"].as_str().unwrap_or_default(), &answer["live"], woken.len());
    let counted = match lang {
        Lang::En => format!("{count} woken; {live} live triggers are about {device}"),
        Lang::Fr => format!("{count} éveillé(s) ; {live} déclencheurs en ligne concernent {device}"),
    };
    format!("{pages}{counted}\n")
}

/// The answer for people.
fn page(answer: &Value, lang: Lang, asked: Question) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let words = |en: &'static str, fr: &'static str| match lang {
        Lang::En => en,
        Lang::Fr => fr,
    };
    let (sent, not_sent) = match asked {
        Question::Decided => (words("sent", "envoyée"), words("not sent", "non envoyée")),
        Question::Draft | Question::File | Question::Live => {
            (words("would be sent", "serait envoyée"), words("would not be sent", "ne serait pas envoyée"))
        }
    };
    let verdict = match (answer["verdict"].as_str(), answer["first_block"].as_str()) {
        (Some("sent"), _) => sent.to_owned(),
        (_, Some(step)) => format!("{not_sent}, {} {step}", words("stopped at", "arrêtée à")),
        (_, None) => not_sent.to_owned(),
    };
    let version = match asked {
        Question::Decided | Question::Live => format!("v{}", answer["trigger_version"]),
        Question::Draft => words("(draft)", "(brouillon)").to_owned(),
        Question::File => words("(file)", "(fichier)").to_owned(),
    };
    let mut page = format!("{} {version} {}: {verdict}\n", text(&answer["trigger"]), text(&answer["at"]));
    if answer["woken"] == false {
        page += words("The input does not wake the trigger.\n", "Cette entrée n'éveille pas le déclencheur.\n");
    }
    for step in answer["steps"].as_array().into_iter().flatten() {
        let mark = match step["verdict"].as_str().unwrap_or_default() {
            "pass" => "✓",
            "block" => "✗",
            "hold" => "…",
            "not_configured" => "·",
            _ => "-",
        };
        page += &format!("  {mark} {:<11} {}\n", text(&step["step"]), text(&step["reason"]));
        let leaves = step["numbers"].as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("leaf"));
        for (_, leaf) in leaves {
            page += &format!("    {}\n", text(leaf));
        }
    }
    if let Some(title) = answer["would_send"]["text"]["title"].as_str() {
        page += &format!("{} “{title}”\n", words("It would say", "Elle dirait"));
    }
    page
}
