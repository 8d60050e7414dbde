//! `hearthway backup`: everything that a gateway keeps, in one file.
//!
//! The file has its name only once it is whole, on disk and read back.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};

use super::{at_rest, bar};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Environment};
use crate::store::backup::{self, Counts, Header, Watched};

/// What to do where a gateway is at work on the directory.
const WHEN_IT_RUNS: &str = "A running gateway is backed up with `--from` and its HTTP address, such as \
    `hearthway backup --from http://127.0.0.1:8080 --out FILE`";
/// Bytes read and written at once.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Writes everything that a gateway keeps into one file, also while it runs.
///
/// The master key is not in it: it stays the same for ever, and is backed up once and apart. Nor are the
/// customers' keys: a backup holds their values sealed, so that whoever is erased is erased from it too.
/// `--customer-keys` copies them after the backup, over the copy of before.
#[derive(Debug, clap::Args)]
pub struct Backup {
    /// The file to write; it must not be there yet.
    #[arg(long, value_name = "FILE", required_unless_present = "verify")]
    pub out: Option<PathBuf>,
    /// A running gateway's HTTP address, such as http://127.0.0.1:8080; its operator's token is
    /// taken from HEARTHWAY_OPERATOR_TOKEN. Without it, the data directory of a stopped one.
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    /// The configuration file that names the data directory; without it, the defaults and the
    /// environment.
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub config: Option<PathBuf>,
    /// Copies the customers' keys of this machine's data directory to this file once the backup is
    /// written, over the copy of before: a restore needs the newest, and an older one brings back whoever
    /// was erased since.
    #[arg(long, value_name = "FILE", conflicts_with = "verify")]
    pub customer_keys: Option<PathBuf>,
    /// Reads a backup from its start to its end and says what it holds, or what is wrong with it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "from", "config"])]
    pub verify: Option<PathBuf>,
}

impl Backup {
    /// Does it.
    pub fn run(self) -> ExitCode {
        let done = match (&self.verify, &self.out) {
            (Some(file), _) => verify(file).with_context(|| format!("the backup `{}`", file.display())),
            (None, Some(out)) => self.write(out).with_context(|| format!("no backup `{}`", out.display())),
            (None, None) => Err(anyhow!("name a file with --out, or with --verify")),
        };
        match done {
            Ok((header, counts)) => {
                super::say(&format!("whole {}\n", words(&header, counts)));
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn write(&self, out: &Path) -> anyhow::Result<(Header, Counts)> {
        if out.exists() {
            bail!("the file is there already; choose another name, nothing is overwritten");
        }
        let part = with_ending(out, ".part");
        let written = self.write_part(&part).and_then(|()| verify(&part)).and_then(|held| {
            fs::rename(&part, out).and_then(|()| sync_parent(out)).context("giving it its name")?;
            Ok(held)
        });
        if written.is_err() {
            let _ = fs::remove_file(&part);
        }
        let written = written?;
        if let Some(copy) = &self.customer_keys {
            self.copy_keys(copy).context("the backup is written, its customers' keys are not copied")?;
        }
        Ok(written)
    }

    /// After the backup, so that every key that it needs is in the copy.
    fn copy_keys(&self, copy: &Path) -> anyhow::Result<()> {
        let keys = Config::load_here(self.config.as_deref())?.data.customer_keys_path();
        let bytes = fs::read(&keys).with_context(|| format!("reading `{}`", keys.display()))?;
        let part = with_ending(copy, ".part");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
        let mut file = file.with_context(|| format!("making `{}`", part.display()))?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).context("bringing it to the disk")?;
        fs::rename(&part, copy).and_then(|()| sync_parent(copy)).context("giving it its name")
    }

    fn write_part(&self, part: &Path) -> anyhow::Result<()> {
        // It holds what people told about their homes: nobody else reads it.
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(part);
        let mut file = file.with_context(|| format!("making `{}`", part.display()))?;
        match &self.from {
            Some(url) => super::on_runtime(fetch(url, &mut file))?,
            None => self.take(&file)?,
        }
        file.sync_all().context("bringing it to the disk")
    }

    /// From a directory that no gateway uses.
    fn take(&self, file: &File) -> anyhow::Result<()> {
        let config = Config::load_here(self.config.as_deref())?;
        let (store, master) = at_rest::open(&config, WHEN_IT_RUNS)?;
        let bar = bar::endless("writing");
        let header = Header::new(master.fingerprint(), SystemClock.now());
        let out = BufWriter::with_capacity(BUFFER_BYTES, file);
        backup::take(&Watched::new(store), &header, out, |counts| bar.set_position(counts.bytes))?;
        bar.finish_and_clear();
        Ok(())
    }
}

/// From a gateway that runs.
async fn fetch(url: &str, file: &mut File) -> anyhow::Result<()> {
    let token = Environment::of_the_process()?.operator_token;
    let token = token
        .context("the operator's token is needed: set HEARTHWAY_OPERATOR_TOKEN, or HEARTHWAY_OPERATOR_TOKEN_FILE")?;
    let url = format!("{}/v1/backup", url.trim_end_matches('/'));
    let request = reqwest::Client::new().get(&url).bearer_auth(token).send().await;
    let mut answer = request.with_context(|| format!("calling {url}"))?;
    if !answer.status().is_success() {
        let status = answer.status();
        let problem: serde_json::Value = answer.json().await.unwrap_or_default();
        bail!("{url} answers {status}: {}", problem["detail"].as_str().unwrap_or("and says no more"));
    }
    let bar = bar::endless("fetching");
    while let Some(chunk) = answer.chunk().await.with_context(|| format!("reading from {url}"))? {
        file.write_all(&chunk).context("writing the backup")?;
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

fn verify(path: &Path) -> anyhow::Result<(Header, Counts)> {
    let (source, bar) = open(path, "reading")?;
    let held = backup::read_all(source)?;
    bar.finish_and_clear();
    Ok(held)
}

/// A file to be read from its start to its end, with a bar that says how far that is.
pub(super) fn open(
    path: &Path,
    doing: &'static str,
) -> anyhow::Result<(impl std::io::Read + use<>, indicatif::ProgressBar)> {
    let file = File::open(path).context("opening it")?;
    let bar = bar::bytes(doing, file.metadata().context("asking for its length")?.len());
    Ok((BufReader::with_capacity(BUFFER_BYTES, bar.wrap_read(file)), bar))
}

fn words(header: &Header, counts: Counts) -> String {
    let Header { gateway, made_at, release } = header;
    let Counts { rows, items, bytes } = counts;
    format!("gateway={gateway} made_at={made_at} release={release} rows={rows} items={items} bytes={bytes}")
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Makes a rename in a directory durable.
pub(super) fn sync_parent(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
