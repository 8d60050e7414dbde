//! `hearthway products`: a whole catalogue into a running gateway, and out of it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use hearthway_core::id::{base32, derive_bytes};
use serde_json::Value;

use super::bar;
use super::gateway_client::GatewayClient;

/// Lines of one part: taken in about a second, so that a broken connection costs no more.
const PART_LINES_MAX: u64 = 20_000;
/// Bytes of one part.
const PART_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How often a part is sent before the import gives up; it can go on later.
const TRIES_MAX: u32 = 6;
/// How long between two tries.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Wrong lines that are shown; more are counted.
const FAULTS_SHOWN_MAX: usize = 100;

/// Works on a retailer's products.
#[derive(Debug, clap::Subcommand)]
pub enum Products {
    /// Takes products of a file: JSON Lines, or a table (`.csv`).
    Import(Import),
    /// Writes all products out.
    Export(Export),
}

/// Takes products of a file, and goes on where it was broken off.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  export HEARTHWAY_TOKEN=...                       # the retailer's
  hearthway products import catalogue.jsonl
  zcat catalogue.csv.gz | hearthway products import --csv -

A line that is wrong is told with its number, and the others are taken. The same command goes on where a
broken one ended. Exit codes: 0 all lines are taken, 1 some are wrong or it could not end.")]
pub struct Import {
    /// The file; `-` reads standard input.
    pub file: PathBuf,
    /// It is a table; a name that ends with `.csv` says so too.
    #[arg(long)]
    pub csv: bool,
    /// By which name the import can go on; made of the file's name, size and age where not said.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Takes all lines again, also those that were taken.
    #[arg(long, conflicts_with = "name")]
    pub again: bool,
    /// The running gateway's HTTP address; the retailer's token is taken from HEARTHWAY_TOKEN.
    #[arg(long, value_name = "URL", env = "HEARTHWAY_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
}

/// Writes all products of the retailer to standard output or a file.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// As a table, which a file whose name ends with `.csv` is too; price windows, promotions and sellers have no column.
    #[arg(long)]
    pub csv: bool,
    /// Into this file.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The running gateway's HTTP address; the retailer's token is taken from HEARTHWAY_TOKEN.
    #[arg(long, value_name = "URL", env = "HEARTHWAY_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
}

impl Products {
    pub(super) fn run(self) -> ExitCode {
        let done = match self {
            Products::Import(import) => super::on_runtime(import.run()),
            Products::Export(export) => super::on_runtime(export.run()).map(|()| true),
        };
        match done {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

/// What became of all parts.
#[derive(Default)]
struct Total {
    products: u64,
    changed: u64,
    faults: u64,
    shown: usize,
}

impl Import {
    async fn run(self) -> anyhow::Result<bool> {
        let gateway = GatewayClient::new(&self.url)?;
        let is_table = self.csv || self.file.extension().is_some_and(|extension| extension == "csv");
        let name = self.import_name()?;
        let known = match &name {
            Some(name) => gateway.call("GET", &format!("/v1/products:import/{name}"), None).await?,
            None => Value::Null,
        };
        let taken = known["lines"].as_u64().unwrap_or(0);
        let wrong_before = known["faults"].as_u64().unwrap_or(0);
        let (mut file, bytes) = self.open()?;
        let progress = if bytes > 0 { bar::bytes("importing", bytes) } else { bar::endless("importing") };
        let head = if is_table { read_line(&mut file)? } else { Vec::new() };
        let mut line = u64::from(is_table);
        while line < taken {
            let passed = read_line(&mut file)?;
            if passed.is_empty() {
                break;
            }
            progress.inc(passed.len() as u64);
            line += 1;
        }
        if line > u64::from(is_table) {
            super::say(&format!("going on behind line {line}\n"));
        }
        let mut total = Total::default();
        loop {
            let (mut part, mut lines) = (head.clone(), 0);
            while lines < PART_LINES_MAX && part.len() < PART_BYTES_MAX {
                let next = read_line(&mut file)?;
                if next.is_empty() {
                    break;
                }
                lines += 1;
                part.extend_from_slice(&next);
            }
            if lines == 0 {
                break;
            }
            let bytes = part.len() as u64;
            let named = name.as_ref().map(|name| format!("&import={name}")).unwrap_or_default();
            let path = format!("/v1/products:import?from_line={}{named}", line + 1);
            let told =
                send(&gateway, &path, is_table, part).await.with_context(|| match line > u64::from(is_table) {
                    true => format!("lines up to {line} are taken; the same command goes on behind them"),
                    false => "nothing is taken yet; mend the file and give the same command again".to_owned(),
                })?;
            progress.suspend(|| total.add(&told));
            progress.inc(bytes);
            line += lines;
        }
        progress.finish_and_clear();
        let Total { products, changed, faults, .. } = total;
        super::say(&format!("{products} products taken, {changed} of them changed; {faults} lines wrong\n"));
        if wrong_before > 0 {
            known["wrong"].as_array().into_iter().flatten().for_each(|line| eprintln!("{}", shown(line)));
            super::say(&format!(
                "{wrong_before} lines were wrong when they came, and are not taken: mend the file, or take all lines again by `--again`\n"
            ));
        }
        Ok(faults + wrong_before == 0)
    }

    fn is_stdin(&self) -> bool {
        self.file == Path::new("-")
    }

    fn open(&self) -> anyhow::Result<(Box<dyn BufRead>, u64)> {
        if self.is_stdin() {
            return Ok((Box::new(BufReader::new(std::io::stdin())), 0));
        }
        let named = || format!("reading `{}`", self.file.display());
        let file = File::open(&self.file).with_context(named)?;
        let bytes = file.metadata().with_context(named)?.len();
        Ok((Box::new(BufReader::with_capacity(1 << 20, file)), bytes))
    }

    /// The same file has the same name, so that the same command goes on.
    fn import_name(&self) -> anyhow::Result<Option<String>> {
        if self.again || self.name.is_some() || self.is_stdin() {
            return Ok(self.name.clone());
        }
        let known = std::fs::metadata(&self.file).with_context(|| format!("reading `{}`", self.file.display()))?;
        let age = known.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let age = age.map_or(0, |age| age.as_millis()).to_be_bytes();
        let path = self.file.to_string_lossy();
        let hash = derive_bytes("import", &[path.as_bytes(), &known.len().to_be_bytes(), &age]);
        Ok(Some(format!("file-{}", base32(&hash[..10]))))
    }
}

/// A line with its end; nothing at the end of the file.
fn read_line(file: &mut dyn BufRead) -> anyhow::Result<Vec<u8>> {
    let mut line = Vec::new();
    file.read_until(b'\n', &mut line).context("reading the file")?;
    Ok(line)
}

/// Sends a part until it is taken.
async fn send(gateway: &GatewayClient, path: &str, is_table: bool, part: Vec<u8>) -> anyhow::Result<Vec<Value>> {
    let kind = if is_table { "text/csv" } else { "application/x-ndjson" };
    let mut tries = 0;
    loop {
        tries += 1;
        let error = match gateway.send_lines(path, kind, part.clone()).await {
            Ok(told) if told.last().is_some_and(|last| last["summary"]["complete"] == true) => return Ok(told),
            Ok(told) => match told.iter().rev().find(|line| !line["error"].is_null()) {
                // What the gateway does not want will not be wanted the next time.
                Some(line)
                    if line["error"]["code"] != "internal.retry" && line["error"]["code"] != "request.timeout" =>
                {
                    bail!("{}", shown(line));
                }
                Some(line) => anyhow::anyhow!("{}", shown(line)),
                None => anyhow::anyhow!("the answer broke off"),
            },
            Err(error) => error,
        };
        if tries == TRIES_MAX {
            return Err(error);
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

fn shown(line: &Value) -> String {
    let text = |name: &str| line["error"][name].as_str().unwrap_or_default().to_owned();
    let pointer = text("pointer");
    let at = if pointer.is_empty() { String::new() } else { format!(" at {pointer}") };
    format!("line {}{at}: {}: {}", line["line"], text("code"), text("message"))
}

impl Total {
    fn add(&mut self, told: &[Value]) {
        for line in told.iter().filter(|line| !line["error"].is_null()) {
            self.shown += 1;
            if self.shown <= FAULTS_SHOWN_MAX {
                eprintln!("{}", shown(line));
            }
        }
        let summary = told.last().map(|last| &last["summary"]);
        let count = |name: &str| summary.and_then(|summary| summary[name].as_u64()).unwrap_or(0);
        self.products += count("products");
        self.changed += count("changed");
        self.faults += count("faults");
    }
}

impl Export {
    async fn run(self) -> anyhow::Result<()> {
        let gateway = GatewayClient::new(&self.url)?;
        let is_table = self.csv || self.out.as_ref().is_some_and(|out| out.extension().is_some_and(|end| end == "csv"));
        let format = if is_table { "csv" } else { "jsonl" };
        let mut out: Box<dyn Write> = match &self.out {
            Some(path) => Box::new(File::create(path).with_context(|| format!("writing `{}`", path.display()))?),
            None => Box::new(std::io::stdout().lock()),
        };
        let progress = bar::endless("exporting");
        gateway
            .read_bytes(&format!("/v1/products:export?format={format}"), |piece| {
                progress.inc(piece.len() as u64);
                out.write_all(piece)
            })
            .await?;
        progress.finish_and_clear();
        out.flush().context("writing the products")
    }
}
