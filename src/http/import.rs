//! A stream of products in, what became of its lines out; and all of them out again.
//!
//! Lines are taken some hundred at a time, each batch in one commit, while the body arrives: the next
//! batch is read while the one before is being written. Answers never hold the reading up, so a
//! client may send everything before it reads.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body as RawBody, Bytes, HttpBody};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, body::Body};
use hearthway_core::id::RetailerId;
use hearthway_core::rules::RuleSet;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Shared;
use super::error::{ApiError, ApiResult, HttpCode};
use super::lines::streamed;
use super::request::{Params, Who};
use super::steady::STALL_MAX;
use crate::app::Failure;
use crate::app::catalog::csv;
use crate::app::catalog::form::{Form, product_json};
use crate::app::catalog::import::{Import, LINE_BYTES_MAX, Taken};
use crate::app::tokens::Scope;
use crate::observe::limits::{Limit, hit};

/// Lines of one import: all products that a retailer may have, several times over.
const LINES_MAX: u64 = 10_000_000;
/// Bytes of the end of a line.
const LINE_END_BYTES_MAX: usize = 2;
/// Lines taken in one commit: some packs of products, written in a few milliseconds.
const BATCH_LINES_MAX: usize = 1_000;
/// Bytes of them, so that long lines make a batch as well.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Faults that are told line by line; more are counted.
const FAULTS_TOLD_MAX: usize = 10_000;
/// Lines between two words on how far it is.
const PROGRESS_LINES: u64 = 50_000;
/// Lines of an export on their way to a slow reader.
const EXPORT_PAGES_WAITING_MAX: usize = 4;
/// Products of one page of an export.
const EXPORT_PAGE: usize = 500;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportParams {
    import: Option<String>,
    from_line: Option<u64>,
}

pub(super) async fn import_products(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<ImportParams>,
    headers: HeaderMap,
    body: RawBody,
) -> ApiResult {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let form = if kind.trim_start().starts_with("text/csv") { Form::Csv } else { Form::Json };
    let import = shared.app.begin_import(&who, form, params.import, params.from_line).await?;
    let room = FAULTS_TOLD_MAX + usize::try_from(LINES_MAX / PROGRESS_LINES).unwrap_or(FAULTS_TOLD_MAX) + 2;
    let (out, told) = mpsc::channel(room);
    let stream = Stream { shared, import, out, told: Told::default(), writing: None };
    tokio::spawn(stream.run(body));
    Ok(streamed(told, "application/x-ndjson"))
}

pub(super) async fn get_import(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Path(import): Path<String>,
) -> ApiResult {
    let (lines, wrong) = shared.app.import_lines(&who, &import).await?;
    let mut told = json!({"import": import, "lines": lines});
    if wrong.lines > 0 {
        told["faults"] = wrong.lines.into();
        told["wrong"] = wrong.first.iter().map(wrong_line).collect();
    }
    Ok(Json(told).into_response())
}

/// A wrong line, as it is told when it comes.
fn wrong_line((line, pointer, message): &(u64, String, String)) -> Value {
    json!({"line": line, "error": {"code": "payload.invalid", "message": message, "pointer": pointer}})
}

#[derive(Default)]
struct Told {
    lines: u64,
    products: usize,
    skipped: usize,
    faults: usize,
    changed: usize,
    reached: u64,
    progress: u64,
}

/// A batch on its way to the disk: what it changed, and its last line.
type Writing = JoinHandle<(Result<Taken, Failure>, u64)>;

struct Stream {
    shared: Arc<Shared>,
    import: Import,
    out: mpsc::Sender<Bytes>,
    told: Told,
    writing: Option<Writing>,
}

impl Stream {
    async fn run(mut self, body: RawBody) {
        let mut ended = self.read(body).await;
        if let Err(error) = self.written().await {
            ended = ended.and(Err(error));
        }
        if let Err(error) = &ended {
            let mut line = error.to_line();
            line["line"] = (self.told.lines + 1).into();
            self.say(&line);
        }
        // What was wrong with lines that were passed over is told again, or it would look as if all were taken.
        let before = self.shared.app.passed_over(&self.import).map_or(0, |wrong| wrong.lines);
        let before = before.saturating_sub(self.told.faults as u64);
        let Told { products, skipped, faults, changed, reached, .. } = self.told;
        let mut summary = json!({"summary": {
            "lines": reached, "products": products, "changed": changed, "unchanged": products - changed.min(products),
            "skipped": skipped, "faults": faults, "complete": ended.is_ok(),
        }});
        if before > 0 {
            summary["summary"]["faults_before"] = before.into();
        }
        self.say(&summary);
    }

    async fn read(&mut self, mut body: RawBody) -> Result<(), ApiError> {
        let (mut line, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
        loop {
            let frame = timeout(STALL_MAX, poll_fn(|cx| Pin::new(&mut body).poll_frame(cx))).await;
            let Ok(frame) = frame else {
                hit(Limit::HttpStalled);
                let why = format!("nothing more of the body came for {} s", STALL_MAX.as_secs());
                self.take(std::mem::take(&mut batch)).await?;
                return Err(ApiError::new(HttpCode::Timeout, why));
            };
            let Some(frame) = frame else { break };
            let Ok(frame) = frame else {
                // What came whole is taken; the line that broke off is not.
                self.take(std::mem::take(&mut batch)).await?;
                return Err(ApiError::invalid("", "the body ended before its length"));
            };
            let Ok(data) = frame.into_data() else { continue };
            for part in data.split_inclusive(|byte| *byte == b'\n') {
                // What is longer is told by its length; none of it is kept beyond that.
                let room = (LINE_BYTES_MAX + LINE_END_BYTES_MAX + 1).saturating_sub(line.len());
                line.extend_from_slice(&part[..part.len().min(room)]);
                if part.ends_with(b"\n") {
                    bytes += line.len();
                    batch.push(std::mem::take(&mut line));
                }
                if batch.len() >= BATCH_LINES_MAX || bytes >= BATCH_BYTES_MAX {
                    bytes = 0;
                    self.take(std::mem::take(&mut batch)).await?;
                }
            }
        }
        // The last line may have no end; behind an end there is no line.
        if !line.is_empty() {
            batch.push(line);
        }
        self.take(batch).await
    }

    /// Reads a batch while the one before is written, and has it written.
    async fn take(&mut self, batch: Vec<Vec<u8>>) -> Result<(), ApiError> {
        if self.told.lines + batch.len() as u64 > LINES_MAX {
            let why = format!("an import has at most {LINES_MAX} lines; send the rest by itself");
            return Err(ApiError::too_large(why));
        }
        let (app, mut import) = (Arc::clone(&self.shared.app), self.import.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let read = app.read_lines(&mut import, &batch);
            (read, import)
        });
        let (read, import) = reading.await.map_err(|_| ApiError::new(HttpCode::Timeout, "the gateway is stopping"))?;
        let mut read = read?;
        self.import = import;
        self.told.lines = read.last.max(self.told.lines);
        self.told.products += read.count - read.faults.len() - read.skipped;
        self.told.skipped += read.skipped;
        self.tell(std::mem::take(&mut read.faults));
        self.written().await?;
        let (app, import, last) = (Arc::clone(&self.shared.app), self.import.clone(), read.last);
        self.writing = Some(tokio::spawn(async move { (app.take_lines(&import, read).await, last) }));
        Ok(())
    }

    /// Waits until the batch before is on disk.
    async fn written(&mut self) -> Result<(), ApiError> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        let (changed, last) = writing.await.map_err(|_| ApiError::new(HttpCode::Timeout, "the gateway is stopping"))?;
        let Taken { changed, faults } = changed?;
        self.told.changed += changed;
        self.told.products -= faults.len();
        self.tell(faults);
        self.told.reached = self.told.reached.max(last);
        if self.told.reached >= self.told.progress + PROGRESS_LINES {
            self.told.progress = self.told.reached;
            self.say(&json!({"progress": {"lines": self.told.reached}}));
        }
        Ok(())
    }

    fn tell(&mut self, faults: Vec<(u64, Failure)>) {
        for (line, failure) in faults {
            self.told.faults += 1;
            if self.told.faults <= FAULTS_TOLD_MAX {
                let mut told = ApiError::from(failure).to_line();
                told["line"] = line.into();
                self.say(&told);
            }
        }
    }

    fn say(&self, line: &Value) {
        // There is room for all that may be said; who does not read misses it.
        let _ = self.out.try_send(Bytes::from(format!("{line}\n")));
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportParams {
    format: Option<String>,
}

pub(super) async fn export_products(
    State(shared): State<Arc<Shared>>,
    Who(who): Who,
    Params(params): Params<ExportParams>,
) -> ApiResult {
    let retailer = who.retailer(Scope::ProductsRead)?.clone();
    let form = match params.format.as_deref().unwrap_or("jsonl") {
        "jsonl" => Form::Json,
        "csv" => Form::Csv,
        _ => return Err(ApiError::bad_query("format", "is one of jsonl, csv")),
    };
    let (out, pages) = mpsc::channel(EXPORT_PAGES_WAITING_MAX);
    tokio::task::spawn_blocking(move || export(&shared, &retailer, form, &out));
    let response: Response<Body> =
        streamed(pages, if form == Form::Csv { "text/csv; charset=utf-8" } else { "application/x-ndjson" });
    Ok(response)
}

/// All products as of one version of the rules, whatever is written meanwhile.
fn export(shared: &Shared, retailer: &RetailerId, form: Form, out: &mpsc::Sender<Bytes>) {
    let rules = shared.app.rules();
    let mut after = None;
    // A table says in its first line what its columns are: all products are looked at twice.
    let wide = (form == Form::Csv).then(|| columns_of(&rules, retailer));
    let mut page = wide.as_ref().map(csv::head_line).unwrap_or_default();
    loop {
        let ids = rules.products.ids(retailer, after.as_ref(), EXPORT_PAGE);
        let products: Vec<_> = ids.iter().filter_map(|id| rules.product(retailer, id)).collect();
        for product in &products {
            match &wide {
                Some(wide) => page.push_str(&csv::line_of(product, wide)),
                None => page.push_str(&format!("{}\n", product_json(product))),
            }
        }
        if out.blocking_send(Bytes::from(std::mem::take(&mut page))).is_err() || ids.len() < EXPORT_PAGE {
            return;
        }
        after = ids.last().cloned();
    }
}

/// The columns that a table of all products needs.
fn columns_of(rules: &RuleSet, retailer: &RetailerId) -> csv::Wide {
    let (mut wide, mut after) = (csv::Wide::default(), None);
    loop {
        let ids = rules.products.ids(retailer, after.as_ref(), EXPORT_PAGE);
        ids.iter().filter_map(|id| rules.product(retailer, id)).for_each(|product| wide.add(&product));
        if ids.len() < EXPORT_PAGE {
            return wide;
        }
        after = ids.last().cloned();
    }
}
