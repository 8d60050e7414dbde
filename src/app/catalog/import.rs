//! Many products at once, line by line: each line is taken or told, and none stops the others.

use std::collections::BTreeSet;
use std::sync::Arc;

use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::RetailerId;
use hearthway_core::model::Product;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::plain_words::in_plain_words;
use super::super::tokens::{Caller, Scope};
use super::super::{App, Failure, rows};
use super::csv::Head;
use super::form::{Form, ProductBody, Written};
use super::kept::Kept;
use super::products::check_room;
use crate::store::Write;
use crate::store::codec::Schema;
use crate::store::keys::{self, Key, KeyBuilder, table};

/// Wrong lines of an import that are remembered with what is wrong; more are counted.
const WRONG_KEPT_MAX: usize = 100;
/// Bytes of one line: as many as the largest product that is kept has in JSON.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Characters of the name by which an import can go on.
const IMPORT_CHARS_MAX: usize = 64;

/// One import: whose, in which form, and how far it came.
#[derive(Debug, Clone)]
pub struct Import {
    retailer: RetailerId,
    name: Option<String>,
    form: Form,
    head: Option<Arc<Head>>,
    /// Lines of the file that need not be looked at: they were taken before.
    skip: u64,
    /// The number of the next line of the body.
    line: u64,
}

/// A line that was read: the product that comes of it, if nobody else changes that meanwhile.
struct Line {
    number: u64,
    written: Written,
    product: Product,
    /// How often the product had changed when it was looked at.
    before: Option<u32>,
}

/// Lines of an import that follow each other, read and not yet taken.
pub struct Lines {
    products: Vec<Line>,
    /// What is wrong with which line.
    pub faults: Vec<(u64, Failure)>,
    /// The last of the lines.
    pub last: u64,
    /// How many of them had something on them.
    pub count: usize,
    /// How many were taken before and not looked at.
    pub skipped: usize,
    /// What is wrong with them, as it is remembered of a named import.
    wrong: Wrong,
}

/// What was wrong with the lines of an import that it has passed: they are not looked at again, and would else be
/// forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    /// How many lines.
    pub lines: u64,
    /// The first of them: number, place and what is wrong.
    pub first: Vec<(u64, String, String)>,
}

impl Wrong {
    fn add(&mut self, line: u64, failure: &Failure) {
        self.lines += 1;
        if self.first.len() < WRONG_KEPT_MAX {
            let pointer = match failure {
                Failure::Refused(refusal) => refusal.pointer.clone().unwrap_or_default(),
                _ => String::new(),
            };
            self.first.push((line, pointer, failure.words()));
        }
    }
    fn and(mut self, later: &Wrong) -> Wrong {
        self.lines += later.lines;
        let room = WRONG_KEPT_MAX.saturating_sub(self.first.len());
        self.first.extend(later.first.iter().take(room).cloned());
        self
    }
}

/// Where the wrong lines of a named import stand.
pub(super) fn wrong_key(retailer: &RetailerId, name: &str) -> Key {
    KeyBuilder::table(table::DOCUMENT).name("import-wrong").name(retailer.as_str()).name(name).key()
}

/// What came of lines.
#[derive(Debug, Default)]
pub struct Taken {
    /// Products that changed.
    pub changed: usize,
    /// What is wrong with which line, since somebody else changed its product.
    pub faults: Vec<(u64, Failure)>,
}

impl App {
    /// Begins an import, or goes on with one. With a name, lines that it took before are passed over; `from_line`
    /// says that the body begins with that line of the file.
    pub async fn begin_import(
        &self,
        who: &Caller,
        form: Form,
        name: Option<String>,
        from_line: Option<u64>,
    ) -> Result<Import, Failure> {
        let retailer = who.retailer(Scope::ProductsWrite)?.clone();
        let is_word = |name: &String| {
            name.len() <= IMPORT_CHARS_MAX
                && !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        };
        if name.as_ref().is_some_and(|name| !is_word(name)) {
            let message = format!(
                "the parameter `import`: an import's name takes 1 to {IMPORT_CHARS_MAX} of letters, digits and . _ -"
            );
            return Err(Failure::invalid("", message));
        }
        if from_line == Some(0) {
            return Err(Failure::invalid("", "the parameter `from_line`: the first line is line 1"));
        }
        let skip = match &name {
            Some(name) => {
                self.make_room_for_import(&retailer, name).await?;
                // Lines that a failed batch left behind must not be passed over.
                self.rulebook.settle(&self.engine).await?;
                self.import_reached(&retailer, name)?
            }
            None => 0,
        };
        // The head of a table is its first line, and comes with every part.
        let taken = if form == Form::Csv { skip.max(1) } else { skip };
        if let Some(from) = from_line.filter(|from| name.is_some() && *from > taken + 1) {
            let message = format!("{skip} lines of this import are taken; go on from line {}, not {from}", skip + 1);
            return Err(Failure::Conflict(message));
        }
        Ok(Import { retailer, name, form, head: None, skip, line: from_line.unwrap_or(1) })
    }

    /// How many lines of a named import are taken, and what was wrong with some of them.
    pub async fn import_lines(&self, who: &Caller, name: &str) -> Result<(u64, Wrong), Failure> {
        let retailer = who.retailer(Scope::ProductsWrite)?;
        self.rulebook.settle(&self.engine).await?;
        Ok((self.import_reached(retailer, name)?, self.import_wrong(retailer, name)?))
    }

    /// What was wrong with the lines that an import passes over.
    pub fn passed_over(&self, import: &Import) -> Result<Wrong, Failure> {
        let name = import.name.as_ref().filter(|_| import.skip > 0);
        name.map_or_else(|| Ok(Wrong::default()), |name| self.import_wrong(&import.retailer, name))
    }

    fn import_wrong(&self, retailer: &RetailerId, name: &str) -> Result<Wrong, Failure> {
        let known = rows::get(&**self.engine.store(), Schema::Document, &wrong_key(retailer, name))?;
        Ok(known.unwrap_or_default())
    }

    fn import_reached(&self, retailer: &RetailerId, name: &str) -> Result<u64, Failure> {
        let known = rows::get(&**self.engine.store(), Schema::Counter, &keys::product_import(retailer, name))?;
        Ok(known.unwrap_or(0))
    }

    /// Reads lines; nothing is taken yet. Takes a few microseconds a line, and waits for nobody.
    pub fn read_lines(&self, import: &mut Import, lines: &[Vec<u8>]) -> Result<Lines, Failure> {
        let mut read =
            Lines { products: Vec::new(), faults: Vec::new(), last: 0, count: 0, skipped: 0, wrong: Wrong::default() };
        for line in lines {
            let line = whole(line);
            // The head is repeated at the begin of every part of a table, and is line 1 of the first.
            if import.form == Form::Csv && import.head.is_none() {
                let text = text_of(line?).map_err(|fault| Failure::invalid("", fault))?;
                import.head = Some(Arc::new(Head::read(text).map_err(|fault| Failure::invalid("", fault))?));
                import.line += u64::from(import.line == 1);
                read.last = import.line - 1;
                continue;
            }
            let number = import.line;
            import.line += 1;
            read.last = number;
            if line.as_ref().is_ok_and(|line| line.iter().all(u8::is_ascii_whitespace)) {
                continue;
            }
            read.count += 1;
            if number <= import.skip {
                read.skipped += 1;
                continue;
            }
            match line.and_then(|line| self.read_line(import, number, line)) {
                Ok(line) => read.products.push(line),
                Err(failure) => {
                    read.wrong.add(number, &failure);
                    read.faults.push((number, failure));
                }
            }
        }
        Ok(read)
    }

    fn read_line(&self, import: &Import, number: u64, line: &[u8]) -> Result<Line, Failure> {
        let line = line.trim_ascii_end();
        let body = match &import.head {
            None => parse(line)?,
            Some(head) => {
                let fault = |fault: String| Failure::invalid("", fault);
                let json = head.product(text_of(line).map_err(fault)?).map_err(fault)?;
                serde_path_to_error::deserialize::<_, ProductBody>(json).map_err(misshapen)?
            }
        };
        let id = body.id.clone().ok_or_else(|| Failure::invalid("/id", "a line names its product by `id`"))?;
        let (kept, retailer) = (self.rulebook.catalog(), &import.retailer);
        let before = kept.latest(retailer, &id);
        let written = Written::new(id, retailer, body, import.head.clone())?;
        let (known, before) = before.map_or((None, None), |(product, number)| (Some(product), Some(number)));
        let product = written.clone().onto(known.as_ref())?;
        Ok(Line { number, written, product, before })
    }

    /// Takes what was read, together with how far the import came: both are on disk or neither. A product that
    /// somebody else changed since is looked at again. How many products changed by it, and what is wrong by now.
    pub async fn take_lines(&self, import: &Import, lines: Lines) -> Result<Taken, Failure> {
        let Lines { products, last, wrong, .. } = lines;
        let reached = import
            .name
            .as_ref()
            .filter(|_| last > import.skip)
            .map(|name| rows::put(Schema::Counter, keys::product_import(&import.retailer, name), &last));
        let retailer = &import.retailer;
        let of = retailer.clone();
        let wanted = move |kept: &Kept| {
            let mut faults = Vec::new();
            let mut wanted = Vec::with_capacity(products.len());
            let mut unknown = BTreeSet::new();
            for Line { number, written, product, before } in products {
                let id = written.id().clone();
                let is = kept.number(&of, &id);
                if is.is_none() {
                    unknown.insert(id.clone());
                }
                let product = match is == before {
                    true => Ok(product),
                    false => written.onto(kept.latest(&of, &id).map(|(product, _)| product).as_ref()),
                };
                match product {
                    Ok(product) => wanted.push((id, Some(product))),
                    Err(failure) => faults.push((number, failure)),
                }
            }
            check_room(kept, &of, unknown.len())?;
            Ok((wanted, faults))
        };
        let mut more: Vec<Write> = reached.into_iter().collect();
        if let Some(name) = import.name.as_ref().filter(|_| !more.is_empty()) {
            more.push(super::import_names::touched(retailer, name, self.now()));
        }
        if let Some(name) = import.name.as_ref().filter(|_| wrong.lines > 0) {
            let wrong = self.import_wrong(retailer, name)?.and(&wrong);
            more.push(rows::put(Schema::Document, wrong_key(retailer, name), &wrong));
        }
        let (changed, faults) = self.rulebook.put_products(&self.engine, retailer, more, wanted).await?;
        Ok(Taken { changed, faults })
    }
}

/// A line without its end, where it is not too long: one that is may be cut, and is not looked at.
fn whole(line: &[u8]) -> Result<&[u8], Failure> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > LINE_BYTES_MAX {
        let message = format!("a line has at most {LINE_BYTES_MAX} bytes");
        return Err(Refusal::new(Code::PayloadTooLarge, message).into());
    }
    Ok(line)
}

fn text_of(line: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(line).map_err(|_| "the line is not UTF-8".to_owned())?;
    Ok(text.trim_end_matches(['\r', '\n']).trim_start_matches('\u{feff}'))
}

/// Nearly every line is right: where one is not, it is read again more slowly to say where.
fn parse(line: &[u8]) -> Result<ProductBody, Failure> {
    if let Ok(body) = serde_json::from_slice(line) {
        return Ok(body);
    }
    serde_path_to_error::deserialize(parse_json(line)?).map_err(misshapen)
}

/// A line as JSON, whatever it says.
pub(super) fn parse_json(line: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(line).map_err(|error| Failure::invalid("", in_plain_words(&error.to_string())))
}

/// What is wrong with the shape of JSON, and where.
pub(super) fn misshapen(error: serde_path_to_error::Error<serde_json::Error>) -> Failure {
    use serde_path_to_error::Segment;
    let part = |segment: &Segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { variant } => format!("/{variant}"),
        Segment::Unknown => String::new(),
    };
    let pointer: String = error.path().iter().map(part).collect();
    Failure::invalid(&pointer, in_plain_words(&error.into_inner().to_string()).chars().take(300).collect::<String>())
}
