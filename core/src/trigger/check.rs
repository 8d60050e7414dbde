//! All errors of all trigger files in one pass; what is sound comes out compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::compile::{self, Against, compile};
use super::definition::TriggerDefinition;
use super::nearest::suggestion;
use super::problem::Problem;
use super::shape::TRIGGER;
use super::tree::{Branch, Findings, Tree, line_and_column};
use super::units::Units;
use super::{BudgetPlan, Trigger};
use crate::catalog::Products;
use crate::id::{ModelId, ProductId, RetailerId, TriggerId};
use crate::model::DeviceModel;

/// Bytes of one trigger file; ten thousand triggers in one file are better kept in several.
pub const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One trigger file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name, for messages.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What triggers are checked against, and whose they are.
#[derive(Debug, Clone)]
pub struct World<'a> {
    /// Whose triggers.
    pub retailer: RetailerId,
    /// The version that the compiled triggers get.
    pub version: u64,
    /// The device models there are.
    pub models: &'a BTreeMap<ModelId, Arc<DeviceModel>>,
    /// The products there are, of all retailers.
    pub products: &'a Products,
    /// The retailer's language.
    pub default_locale: &'a str,
}

/// Article numbers among which the one is looked for that was meant: with more of them the nearest is
/// a guess anyhow.
const NEAREST_OF_MAX: usize = 10_000;

impl World<'_> {
    /// The first of the retailer's article numbers: to say which was meant.
    pub(super) fn some_products(&self) -> Vec<ProductId> {
        self.products.ids(&self.retailer, None, NEAREST_OF_MAX)
    }
}

/// A trigger without an error: as it was written, and compiled.
pub type Sound = Option<(TriggerDefinition, Arc<Trigger>)>;

/// What a check found.
#[derive(Debug, Default)]
pub struct Checked {
    /// The triggers without an error, compiled, in the order written.
    pub triggers: Vec<Arc<Trigger>>,
    /// Their definitions.
    pub definitions: Vec<(TriggerId, TriggerDefinition)>,
    /// All problems, in the order of files and lines.
    pub problems: Vec<Problem>,
}

impl Checked {
    /// Whether nothing keeps any trigger from being published.
    pub fn is_sound(&self) -> bool {
        !self.problems.iter().any(Problem::is_error)
    }
}

/// Checks trigger files: every error of every file, and every sound trigger.
pub fn check(sources: &[SourceFile], world: &World<'_>) -> Checked {
    let mut checked = Checked::default();
    let mut seen: BTreeMap<TriggerId, String> = BTreeMap::new();
    for source in sources {
        check_file(source, world, &mut seen, &mut checked);
    }
    checked
}

fn check_file(source: &SourceFile, world: &World<'_>, seen: &mut BTreeMap<TriggerId, String>, checked: &mut Checked) {
    let text = if source.text.len() <= FILE_BYTES_MAX { source.text.as_str() } else { "" };
    let (tree, syntax_errors) = Tree::from_toml(text);
    let mut findings = Findings::new(&source.name, text, &tree);
    if text.len() != source.text.len() {
        let message = format!("this file has {} bytes, at most {FILE_BYTES_MAX} are read", source.text.len());
        findings.at("toml.too_large", 0..0, message, None);
    }
    let mut broken_lines = BTreeSet::new();
    for (span, message) in syntax_errors {
        broken_lines.insert(line_and_column(text, span.start).0);
        findings.at("toml.syntax", span, message, None);
    }
    let Branch::Table(members) = &tree.value else { return };
    let sound_before = checked.triggers.len();
    for (name, _, member) in members {
        let pointer = format!("/{}", super::tree::pointer_part(name));
        match (name.as_str(), &member.value) {
            ("trigger", Branch::List(items)) => {
                for (i, item) in items.iter().enumerate() {
                    findings.base = format!("/trigger/{i}");
                    check_one(item, world, &source.name, seen, &mut findings, checked);
                }
                findings.base.clear();
            }
            ("trigger", other) => {
                let message = format!("this is {}; each trigger begins with [[trigger]]", other.name());
                findings.error(
                    "trigger.type",
                    &pointer,
                    message,
                    Some("write [[trigger]], with two brackets".to_owned()),
                );
            }
            _ => {
                let help = suggestion(name, ["trigger"]);
                findings.key_error("trigger.unknown_key", &pointer, format!("there is no key `{name}` here"), help);
            }
        }
    }
    let mut problems = findings.problems;
    if !broken_lines.is_empty() {
        // What was read of a broken file may not be what was written.
        checked.triggers.truncate(sound_before);
        checked.definitions.truncate(sound_before);
        // Where the file itself is broken, what seems to be missing may only be unreadable.
        problems.retain(|problem| {
            problem.code == "toml.syntax"
                || (problem.code != "trigger.missing_key" && !broken_lines.contains(&problem.line))
        });
    }
    problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
    checked.problems.extend(problems);
}

fn check_one(
    tree: &Tree,
    world: &World<'_>,
    file: &str,
    seen: &mut BTreeMap<TriggerId, String>,
    findings: &mut Findings<'_>,
    checked: &mut Checked,
) {
    let Some((definition, trigger)) = read(tree, world, Against::Everything, findings) else { return };
    let Some(id) = definition.id.as_deref().and_then(|id| TriggerId::new(id).ok()) else { return };
    if let Some(other) = seen.get(&id) {
        let message = format!("there is a trigger `{id}` already, in {other}");
        findings.error("trigger.duplicate_id", "/id", message, Some("ids are unique within a retailer".to_owned()));
        return;
    }
    seen.insert(id.clone(), file.to_owned());
    if let Some(trigger) = trigger {
        checked.triggers.push(Arc::new(trigger));
        checked.definitions.push((id, definition));
    }
}

/// Reads one trigger as far as it is sound; compiled only when it has no error at all.
fn read(
    tree: &Tree,
    world: &World<'_>,
    against: Against,
    findings: &mut Findings<'_>,
) -> Option<(TriggerDefinition, Option<Trigger>)> {
    let errors_before = findings.errors();
    let sound = TRIGGER.sound(tree, "", findings)?;
    let definition = match serde_json::from_value::<TriggerDefinition>(sound) {
        Ok(definition) => definition,
        Err(error) => {
            findings.error("trigger.type", "", format!("this trigger cannot be read: {error}"), None);
            return None;
        }
    };
    let trigger = compile(&definition, world, against, findings).filter(|_| findings.errors() == errors_before);
    Some((definition, trigger))
}

/// Compiles one trigger that came as JSON. The problems carry JSON pointers into `value`; the
/// warnings of a sound trigger are left out (see [`check_json`]).
pub fn compile_json(
    value: &serde_json::Value,
    retailer: &RetailerId,
    version: u64,
    world: &World<'_>,
) -> Result<Arc<Trigger>, Vec<Problem>> {
    let world = World { retailer: retailer.clone(), version, ..world.clone() };
    let (trigger, problems) = check_json(value, &world);
    match trigger {
        Some((_, trigger)) => Ok(trigger),
        None => Err(problems),
    }
}

/// Checks one trigger that came as JSON: the trigger where it is sound, and all problems,
/// warnings included, with JSON pointers into `value`.
pub fn check_json(value: &serde_json::Value, world: &World<'_>) -> (Sound, Vec<Problem>) {
    read_json(value, world, Against::Everything)
}

/// Compiles a trigger that was published at a version of the rules against the models as they are. What became of
/// its products is no matter here: every decision looks them up and says what is wrong with them. A number
/// without a unit means the unit that there was when it was published.
pub fn compile_published(
    value: &serde_json::Value,
    published_at: u64,
    units: &Units,
    world: &World<'_>,
) -> Result<Arc<Trigger>, Vec<Problem>> {
    let (sound, mut problems) = read_json(value, world, Against::Models);
    problems.retain(Problem::is_error);
    let Some((definition, trigger)) = sound else { return Err(problems) };
    let changed = units.changed_under(&definition, &trigger.on, published_at, world);
    if changed.is_empty() { Ok(trigger) } else { Err(changed) }
}

/// What a trigger that was published may draw, also where it does not agree with the models any more: a budget leans on
/// none. None where it has no budget.
pub fn budget_of(value: &serde_json::Value) -> Option<BudgetPlan> {
    let tree = Tree::from_json(value)?;
    let mut findings = Findings::new("", "", &tree);
    let sound = TRIGGER.sound(&tree, "", &mut findings)?;
    compile::budget_of(&serde_json::from_value(sound).ok()?, &mut findings)
}

fn read_json(value: &serde_json::Value, world: &World<'_>, against: Against) -> (Sound, Vec<Problem>) {
    let tree = Tree::from_json(value).unwrap_or(Tree { value: Branch::Table(Vec::new()), span: 0..0 });
    let mut findings = Findings::new("", "", &tree);
    let read = read(&tree, world, against, &mut findings);
    (read.and_then(|(definition, trigger)| Some((definition, Arc::new(trigger?)))), findings.problems)
}
