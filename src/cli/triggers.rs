//! `hearthway triggers`: trigger files. `check` tells all that is wrong with them, at file, line and
//! column, and how the cases come out that travel with them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use hearthway_core::audience::Audience;
use hearthway_core::id::{RetailerId, TriggerId};
use hearthway_core::rules::RuleSet;
use hearthway_core::trigger::{self, CaseOutcome, Checked, Conflict, Problem, SourceFile, Trigger, World};

use serde_json::Value;

use crate::config::samples::{Catalog, SampleError};
use crate::config::tables;
use crate::engine::Past;

/// The code of a case that did not come out.
const CASE_FAILED: &str = "trigger.case_failed";
/// Files that one check reads at most.
const FILES_MAX: usize = 4096;

/// Works on trigger files.
#[derive(Debug, clap::Subcommand)]
pub enum Triggers {
    /// Checks trigger files and plays their cases; shows every error with its place and how to mend
    /// it. Exits with 1 where there is one.
    Check(Check),
    /// Makes the triggers of files live, all or none; with --watch again at each change of a file.
    Publish(super::publish::Publish),
    /// Lists the shop's triggers: which are live, in which version, and which are silenced.
    List(super::live::List),
    /// Lists what was published of a trigger, newest first.
    Versions(super::live::Versions),
    /// Silences live triggers, from the next decision on.
    Pause(super::live::Pause),
    /// Lets paused triggers speak again, in the version that was paused.
    Resume(super::live::Resume),
    /// Makes an earlier version of a trigger live again.
    RollBack(super::live::RollBack),
    /// The kill switch: silences all of the shop's live triggers at once.
    Stop(super::live::Stop),
    /// Says what a trigger would do about an input in a household; nothing is written or sent.
    Try(super::explain::Try),
    /// Says whom triggers would reach of a retailer's homes, and what they would have sent lately.
    Reach(super::reach::Reach),
    /// Learns anew how likely offers are accepted, which ranking weighs margins with.
    Learn(super::learn::Learn),
    /// Prints the JSON Schema of trigger files, which editors use.
    Schema,
}

impl Triggers {
    /// Does it.
    pub fn run(self) -> ExitCode {
        match self {
            Triggers::Check(check) => check.run(),
            Triggers::Publish(publish) => publish.run(),
            Triggers::List(list) => list.run(),
            Triggers::Versions(versions) => versions.run(),
            Triggers::Pause(pause) => pause.run(),
            Triggers::Resume(resume) => resume.run(),
            Triggers::RollBack(roll_back) => roll_back.run(),
            Triggers::Stop(stop) => stop.run(),
            Triggers::Try(trial) => trial.run(),
            Triggers::Reach(reach) => reach.run(),
            Triggers::Learn(learn) => learn.run(),
            Triggers::Schema => {
                super::say(&trigger::file_schema());
                ExitCode::SUCCESS
            }
        }
    }
}

/// Checks trigger files.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// Files, or directories of `*.toml`.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The models and products that triggers may refer to.
    #[arg(long, value_name = "DIR", default_value = "config/catalog")]
    pub catalog: PathBuf,
    /// Whose triggers they are; without it, the catalog's first retailer.
    #[arg(long, value_name = "ID")]
    pub retailer: Option<RetailerId>,
    /// Says too what each sound trigger is found by when something happens.
    #[arg(long)]
    pub explain_index: bool,
    /// One JSON object per problem on stdout, for programs.
    #[arg(long)]
    pub json: bool,
}

/// Why a check could not be made at all.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum CheckError {
    #[error("reading `{path}`: {cause}")]
    Unreadable { path: PathBuf, cause: std::io::Error },
    #[error("`{path}` has {bytes} bytes, more than the {max} of a trigger file", max = trigger::FILE_BYTES_MAX)]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("more than {FILES_MAX} trigger files")]
    TooMany,
    #[error("no `*.toml` in {0}")]
    Nothing(String),
    #[error(transparent)]
    #[diagnostic(help("name the directory with the models and products by `--catalog DIR`"))]
    Catalog(#[from] SampleError),
    #[error("the catalog has no retailer")]
    #[diagnostic(help("say whose triggers they are by `--retailer ID`"))]
    NoRetailer,
    #[error("there is no retailer `{named}` in `{catalog}`; there is {known}")]
    UnknownRetailer { named: RetailerId, catalog: PathBuf, known: String },
}

impl Check {
    fn run(self) -> ExitCode {
        match self.examine() {
            Ok(examined) => {
                if self.explain_index {
                    self.tell_keys(&examined.checked);
                }
                if self.json { examined.tell_programs() } else { examined.tell_people() }
            }
            Err(error) => super::failed(error),
        }
    }

    /// Says which key each trigger got.
    fn tell_keys(&self, checked: &Checked) {
        let widest = checked.triggers.iter().map(|trigger| trigger.id.as_str().len()).max().unwrap_or_default();
        for trigger in &checked.triggers {
            let (id, key) = (trigger.id.as_str(), trigger.on.key());
            let line = if self.json {
                serde_json::json!({"trigger": id, "index": key.to_string()}).to_string()
            } else {
                format!("{id:<widest$}  {key}")
            };
            super::say(&format!("{line}\n"));
        }
    }

    fn examine(&self) -> Result<Examined, CheckError> {
        let sources = read_sources(&self.paths)?;
        let catalog = Catalog::read(&self.catalog)?;
        let first = || catalog.retailers.keys().next().cloned();
        let retailer = self.retailer.clone().or_else(first).ok_or(CheckError::NoRetailer)?;
        if !catalog.retailers.is_empty() && !catalog.retailers.contains_key(&retailer) {
            let known = catalog.retailers.keys().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
            return Err(CheckError::UnknownRetailer { named: retailer, catalog: self.catalog.clone(), known });
        }
        let world = World {
            default_locale: catalog.retailers.get(&retailer).map_or("en", String::as_str),
            retailer,
            version: 1,
            models: &catalog.models,
            products: &catalog.products,
        };
        let checked = trigger::check(&sources, &world);
        let conflicts = trigger::conflicts(&checked.triggers, &world);
        let mut rules = RuleSet { models: catalog.models, products: catalog.products, ..RuleSet::default() };
        // Which audiences there are is known to a gateway only. A case says in `lists` where its person is.
        for trigger in &checked.triggers {
            for id in trigger.audiences.iter().chain(&trigger.except) {
                rules.audiences.insert((trigger.retailer.clone(), id.clone()), Arc::new(Audience::list(id, 1)));
            }
        }
        let read = |name: &str| read_beside(&sources, name);
        let mut cases = Vec::new();
        for trigger in &checked.triggers {
            let (_, definition) = match checked.definitions.iter().find(|(id, _)| *id == trigger.id) {
                Some(found) => found,
                None => continue,
            };
            let outcomes = trigger::run_cases(trigger, definition, &rules, &read);
            cases.extend(outcomes.into_iter().map(|outcome| (trigger.id.clone(), outcome)));
        }
        Ok(Examined { sources, checked, conflicts, cases })
    }
}

/// What a check found.
struct Examined {
    sources: Vec<SourceFile>,
    checked: Checked,
    conflicts: Vec<Conflict>,
    /// How the cases of the sound triggers came out.
    cases: Vec<(TriggerId, CaseOutcome)>,
}

/// The triggers of the files as JSON, each with the name of its file. What a case names as a file of
/// its own is put in its place: a gateway reads none.
pub(super) fn definitions_of(sources: &[SourceFile]) -> anyhow::Result<Vec<(String, Value)>> {
    let mut all = Vec::new();
    for source in sources {
        for mut trigger in triggers_in(source)? {
            for case in trigger.get_mut("test").and_then(Value::as_array_mut).into_iter().flatten() {
                put_files_in(case, source)?;
            }
            all.push((source.name.clone(), trigger));
        }
    }
    Ok(all)
}

/// The triggers of a file as JSON, as they stand there.
pub(super) fn triggers_in(source: &SourceFile) -> anyhow::Result<Vec<Value>> {
    let file = tables::read(&source.text).with_context(|| format!("reading `{}`", source.name))?;
    let triggers = file.get("trigger").and_then(Value::as_array);
    triggers.cloned().with_context(|| format!("`{}` has no [[trigger]]", source.name))
}

/// A household that a file describes lies under what is given; an input in a file is JSON.
fn put_files_in(case: &mut Value, source: &SourceFile) -> anyhow::Result<()> {
    let read = |name: &str| {
        read_beside(std::slice::from_ref(source), name)
            .map_err(|error| anyhow!("a case of `{}` names `{name}`: {error}", source.name))
    };
    if let Some(given) = case.get_mut("given").and_then(Value::as_object_mut)
        && let Some(Value::String(name)) = given.remove("household")
    {
        for (key, value) in tables::read(&read(&name)?).with_context(|| format!("reading `{name}`"))? {
            given.entry(key).or_insert(value);
        }
    }
    if let Some(input) = case.get_mut("input")
        && let Value::String(name) = input
    {
        *input = serde_json::from_str(&read(name)?).with_context(|| format!("reading `{name}`"))?;
    }
    Ok(())
}

/// A file that a case names: beside the file that the case stands in.
fn read_beside(sources: &[SourceFile], name: &str) -> Result<String, String> {
    let beside = sources.iter().filter_map(|source| Path::new(&source.name).parent().map(|folder| folder.join(name)));
    let found = beside.into_iter().find(|path| path.is_file());
    let path = found.ok_or_else(|| format!("there is no file `{name}` beside the trigger's"))?;
    read_source(&path).map(|source| source.text).map_err(|error| error.to_string())
}

/// Reads trigger files, and those of directories.
pub(super) fn read_sources(paths: &[PathBuf]) -> Result<Vec<SourceFile>, CheckError> {
    let mut files = Vec::new();
    for path in paths {
        let unreadable = |cause| CheckError::Unreadable { path: path.clone(), cause };
        if std::fs::metadata(path).map_err(unreadable)?.is_dir() {
            for entry in std::fs::read_dir(path).map_err(unreadable)? {
                files.push(entry.map_err(unreadable)?.path());
            }
            files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
        } else {
            files.push(path.clone());
        }
        if files.len() > FILES_MAX {
            return Err(CheckError::TooMany);
        }
    }
    if files.is_empty() {
        let named: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
        return Err(CheckError::Nothing(named.join(", ")));
    }
    files.sort();
    files.dedup();
    files.iter().map(|file| read_source(file)).collect()
}

fn read_source(path: &Path) -> Result<SourceFile, CheckError> {
    let unreadable = |cause| CheckError::Unreadable { path: path.to_owned(), cause };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > trigger::FILE_BYTES_MAX as u64 {
        return Err(CheckError::TooLarge { path: path.to_owned(), bytes });
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    Ok(SourceFile { name: path.display().to_string(), text })
}

/// The triggers of files, checked against a gateway's own models and products.
pub(super) fn sound_triggers(
    past: &Past,
    retailer: &RetailerId,
    paths: &[PathBuf],
) -> anyhow::Result<Vec<Arc<Trigger>>> {
    let (sources, rules) = (read_sources(paths)?, past.rules());
    let world = World {
        default_locale: rules.retailers.get(retailer).map_or("en", |retailer| &retailer.default_locale),
        retailer: retailer.clone(),
        version: 1,
        models: &rules.models,
        products: &rules.products,
    };
    let checked = trigger::check(&sources, &world);
    if !checked.is_sound() {
        tell_problems(&sources, &checked);
        anyhow::bail!("the triggers have errors; mend them first");
    }
    Ok(checked.triggers)
}

/// The triggers of files and directories as JSON. A gateway checks them against its own models and products.
pub(super) fn definitions(paths: &[PathBuf]) -> anyhow::Result<Vec<Value>> {
    let sources = if paths.is_empty() { Vec::new() } else { read_sources(paths)? };
    Ok(definitions_of(&sources)?.into_iter().map(|(_, definition)| definition).collect())
}

impl Examined {
    fn failed_cases(&self) -> impl Iterator<Item = &(TriggerId, CaseOutcome)> {
        self.cases.iter().filter(|(_, outcome)| !outcome.passed())
    }

    fn outcome(&self) -> ExitCode {
        let is_good = self.checked.is_sound() && self.failed_cases().next().is_none();
        if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn tell_programs(&self) -> ExitCode {
        let problems = self.checked.problems.iter().map(serde_json::to_string);
        let cases = self.failed_cases().map(|(trigger, CaseOutcome { name, differences, .. })| {
            Ok(serde_json::json!({
                "severity": "error", "code": CASE_FAILED, "trigger": trigger.as_str(), "case": name,
                "message": differences.join("; "),
            })
            .to_string())
        });
        for line in problems.chain(cases).chain(self.conflicts.iter().map(serde_json::to_string)) {
            match line {
                Ok(line) => super::say(&format!("{line}\n")),
                Err(error) => eprintln!("error: a finding cannot be written as JSON: {error}"),
            }
        }
        self.outcome()
    }

    fn tell_people(&self) -> ExitCode {
        let Examined { sources, checked, conflicts, cases } = self;
        tell_problems(sources, checked);
        for (trigger, CaseOutcome { name, differences, .. }) in self.failed_cases() {
            for difference in differences {
                eprintln!("error[{CASE_FAILED}]: the case `{name}` of `{trigger}` fails: {difference}");
            }
        }
        for Conflict { code, message, help, .. } in conflicts {
            eprintln!("conflict[{code}]: {message} ({help})");
        }
        let errors = checked.problems.iter().filter(|problem| problem.is_error()).count();
        let failed = self.failed_cases().count();
        let counted = |n: usize, word: &str| format!("{n} {}", plural(n, word));
        let mut found = vec![
            counted(sources.len(), "file"),
            counted(checked.triggers.len(), "sound trigger"),
            counted(errors, "error"),
            counted(checked.problems.len() - errors, "warning"),
        ];
        if !cases.is_empty() {
            found.push(format!("{} of {} passed", cases.len() - failed, counted(cases.len(), "case")));
        }
        if !conflicts.is_empty() {
            found.push(counted(conflicts.len(), "conflict"));
        }
        super::say(&format!("{}\n", found.join(", ")));
        self.outcome()
    }
}

/// Shows every problem with its lines.
pub(super) fn tell_problems(sources: &[SourceFile], checked: &Checked) {
    for problem in &checked.problems {
        eprint!("{}", rendered(problem, sources));
    }
}

/// A problem with its lines and a caret, where its source is at hand.
fn rendered(problem: &Problem, sources: &[SourceFile]) -> String {
    let source = sources.iter().find(|source| source.name == problem.file);
    let mut text = String::new();
    let drawn = source
        .map(|source| miette::GraphicalReportHandler::new().render_report(&mut text, &problem.report(&source.text)));
    if drawn != Some(Ok(())) {
        text = problem.to_string();
    }
    text.push('\n');
    text
}

fn plural(n: usize, word: &str) -> String {
    if n == 1 { word.to_owned() } else { format!("{word}s") }
}
