//! The sample shop: files of `config/` turned into the calls that a client would make.
//!
//! The bodies are those of the HTTP API, so that a sample shows nothing that a client cannot do
//! and takes the same checks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hearthway_core::catalog::Products;
use hearthway_core::id::{ModelId, RetailerId};
use hearthway_core::model::{DeviceModel, Product};
use hearthway_core::wire::read_description;
use serde_json::{Map, Value};

use super::tables;

/// Files of one sample directory at most: a wrong path should not load a disk.
pub const FILES_MAX: usize = 256;

/// What is put first, because later ones refer to it: the tables of a catalog file, each with
/// its place in the API and the key that names its tenant.
const TABLES: &[(&str, &str, Owner)] = &[
    ("maker", "makers", Owner::Operator),
    ("retailer", "retailers", Owner::Operator),
    ("model", "models", Owner::Operator),
    ("product", "products", Owner::Retailer),
];

#[derive(Clone, Copy, PartialEq)]
enum Owner {
    Operator,
    Retailer,
}

/// One call of the HTTP API.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The retailer on whose behalf; none means the operator.
    pub retailer: Option<String>,
    /// `PUT` or `POST`.
    pub method: &'static str,
    /// The path, such as `/v1/models/th-200`.
    pub path: String,
    /// The body.
    pub body: Value,
    /// The file it comes from.
    pub from: PathBuf,
}

/// Why the samples cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// A file or directory cannot be read.
    #[error("reading the samples in `{path}`: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file is not TOML.
    #[error("the sample file `{path}` is not TOML: {source}")]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A file has something that is no sample.
    #[error("in the sample file `{path}`: {problem}")]
    Shape {
        /// Which.
        path: PathBuf,
        /// What.
        problem: String,
    },
}

/// The shipped shop, inside the program: the demo needs no file.
const SHIPPED: &[(&str, &str)] = &[
    ("catalog/acme.toml", include_str!("../../config/catalog/acme.toml")),
    ("catalog/brewco.toml", include_str!("../../config/catalog/brewco.toml")),
    ("catalog/shop-a.toml", include_str!("../../config/catalog/shop-a.toml")),
    ("triggers/coffee.toml", include_str!("../../config/triggers/coffee.toml")),
    ("triggers/consumables.toml", include_str!("../../config/triggers/consumables.toml")),
    ("triggers/thermostat.toml", include_str!("../../config/triggers/thermostat.toml")),
];

/// A sample file, read: its path and its tables.
type File = (PathBuf, Map<String, Value>);

/// Reads `catalog/*.toml` and `triggers/*.toml` of a directory, in the order in which the calls
/// must be made: tenants, models, products, then triggers with their publication.
pub fn load(directory: &Path) -> Result<Vec<Call>, SampleError> {
    calls(&read_all(&directory.join("catalog"))?, &read_all(&directory.join("triggers"))?)
}

/// The calls of the shipped shop.
pub fn shipped() -> Result<Vec<Call>, SampleError> {
    let files = |folder: &str| -> Result<Vec<File>, SampleError> {
        let of_folder = SHIPPED.iter().filter(|(path, _)| path.starts_with(folder));
        of_folder.map(|(path, text)| parse(Path::new("config").join(path), text)).collect()
    };
    calls(&files("catalog/")?, &files("triggers/")?)
}

fn calls(catalog: &[File], triggers: &[File]) -> Result<Vec<Call>, SampleError> {
    let mut calls = catalog_calls(catalog)?;
    let is_retailer = |call: &Call| call.path.strip_prefix("/v1/retailers/").map(str::to_owned);
    let retailers: Vec<String> = calls.iter().filter_map(is_retailer).collect();
    for (path, table) in triggers {
        for entry in entries(path, table, "trigger")? {
            // A trigger file names no tenant: the sample triggers are every sample retailer's.
            let id = text(path, "trigger", &entry, "id")?;
            for retailer in &retailers {
                calls.push(put("triggers", &id, Some(retailer.clone()), entry.clone(), path));
                calls.push(Call {
                    retailer: Some(retailer.clone()),
                    method: "POST",
                    path: format!("/v1/triggers/{id}/publish"),
                    body: Value::Object(Map::new()),
                    from: path.clone(),
                });
            }
        }
    }
    Ok(calls)
}

fn catalog_calls(catalog: &[File]) -> Result<Vec<Call>, SampleError> {
    let mut calls = Vec::new();
    for (path, table) in catalog {
        if let Some(unknown) = table.keys().find(|name| TABLES.iter().all(|(known, ..)| known != name)) {
            let problem = format!("`[[{unknown}]]` is none of maker, retailer, model, product");
            return Err(SampleError::Shape { path: path.clone(), problem });
        }
    }
    for (name, collection, owner) in TABLES {
        for (path, table) in catalog {
            for entry in entries(path, table, name)? {
                let (id, body) = split_id(path, name, entry)?;
                let retailer = match owner {
                    Owner::Operator => None,
                    Owner::Retailer => Some(text(path, name, &body, "seller")?),
                };
                calls.push(put(collection, &id, retailer, body, path));
            }
        }
    }
    Ok(calls)
}

/// What triggers can refer to, without a gateway: the models and products of a catalog.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Device models.
    pub models: BTreeMap<ModelId, Arc<DeviceModel>>,
    /// Products by retailer.
    pub products: Products,
    /// Each retailer's language.
    pub retailers: BTreeMap<RetailerId, String>,
}

impl Catalog {
    /// Reads a catalog directory.
    pub fn read(directory: &Path) -> Result<Catalog, SampleError> {
        let mut catalog = Catalog::default();
        for call in catalog_calls(&read_all(directory)?)? {
            catalog.add(&call).map_err(|problem| {
                let problem = format!("`{}`: {problem}", call.path);
                SampleError::Shape { path: call.from.clone(), problem }
            })?;
        }
        Ok(catalog)
    }

    fn add(&mut self, call: &Call) -> Result<(), String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let mut parts = call.path.rsplitn(3, '/');
        let (id, collection) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match (collection, &call.retailer) {
            ("models", _) => {
                let id = ModelId::new(id).map_err(|e| told(&e))?;
                let maker = serde_json::from_value(call.body["maker"].clone()).map_err(|e| told(&e))?;
                let description = read_description(&call.body, Some(id.clone())).map_err(|e| told(&e))?;
                self.models.insert(id, Arc::new(DeviceModel { maker, description }));
            }
            ("products", Some(retailer)) => {
                let retailer = RetailerId::new(retailer).map_err(|e| told(&e))?;
                let mut body = call.body.clone();
                body["id"] = id.into();
                let product: Product = serde_json::from_value(body).map_err(|e| told(&e))?;
                self.products.listed.insert((retailer, product.id.clone()), Arc::new(product));
            }
            ("retailers", _) => {
                let locale = call.body["default_locale"].as_str().unwrap_or("en");
                self.retailers.insert(RetailerId::new(id).map_err(|e| told(&e))?, locale.to_owned());
            }
            _ => {}
        }
        Ok(())
    }
}

fn put(collection: &str, id: &str, retailer: Option<String>, body: Map<String, Value>, from: &Path) -> Call {
    let path = format!("/v1/{collection}/{id}");
    Call { retailer, method: "PUT", path, body: Value::Object(body), from: from.to_owned() }
}

fn read_all(directory: &Path) -> Result<Vec<File>, SampleError> {
    let unreadable = |path: &Path, source| SampleError::Unreadable { path: path.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|e| unreadable(directory, e))? {
        let path = entry.map_err(|e| unreadable(directory, e))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    if paths.len() > FILES_MAX {
        let problem = format!("{} files, more than the {FILES_MAX} of a sample shop", paths.len());
        return Err(SampleError::Shape { path: directory.to_owned(), problem });
    }
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).map_err(|e| unreadable(&path, e))?;
        parse(path, &text)
    };
    paths.into_iter().map(read).collect()
}

fn parse(path: PathBuf, text: &str) -> Result<File, SampleError> {
    match tables::read(text) {
        Ok(tables) => Ok((path, tables)),
        Err(source) => Err(SampleError::Syntax { path, source }),
    }
}

fn entries(path: &Path, table: &Map<String, Value>, name: &str) -> Result<Vec<Map<String, Value>>, SampleError> {
    let shape = || SampleError::Shape { path: path.to_owned(), problem: format!("write `[[{name}]]` for each {name}") };
    match table.get(name) {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_object().cloned().ok_or_else(shape)).collect::<Result<_, _>>()
        }
        Some(_) => Err(shape()),
    }
}

/// The id goes to the path; the rest is the body.
fn split_id(
    path: &Path,
    name: &str,
    mut entry: Map<String, Value>,
) -> Result<(String, Map<String, Value>), SampleError> {
    let id = text(path, name, &entry, "id")?;
    entry.remove("id");
    Ok((id, entry))
}

fn text(path: &Path, name: &str, entry: &Map<String, Value>, key: &str) -> Result<String, SampleError> {
    let problem = || format!("a `[[{name}]]` has no `{key}`");
    let found = entry.get(key).and_then(Value::as_str).map(str::to_owned);
    found.ok_or_else(|| SampleError::Shape { path: path.to_owned(), problem: problem() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shop(catalog: &str, trigger: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (folder, text) in [("catalog", catalog), ("triggers", trigger)] {
            std::fs::create_dir(directory.path().join(folder)).unwrap();
            std::fs::write(directory.path().join(folder).join("a.toml"), text).unwrap();
        }
        directory
    }

    #[test]
    fn the_shipped_shop_becomes_the_bodies_of_the_api() {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        let calls = load(&config).unwrap();
        let body = |path: &str| {
            let call = calls.iter().find(|call| call.path == path).unwrap_or_else(|| panic!("no {path}"));
            (call.retailer.clone(), call.body.clone())
        };
        let (owner, product) = body("/v1/products/flt-20x25");
        assert_eq!(owner.as_deref(), Some("shop-a"));
        assert_eq!(product["price"], serde_json::json!({"minor": 1990, "currency": "EUR"}));
        assert_eq!(product["fits"], serde_json::json!([{"model": "th-200", "slot": "air_filter"}]));
        let (owner, model) = body("/v1/models/th-200");
        assert_eq!(owner, None);
        assert_eq!(model["telemetry"]["temperature"]["unit"], "°C");
        assert_eq!(model["slots"][0]["capacity"], 720);
        assert!(model.get("id").is_none(), "the id is in the path");
    }

    #[test]
    fn a_trigger_comes_after_what_it_refers_to_and_is_published() {
        let directory = shop(
            "[[product]]\nid = \"p\"\nseller = \"s\"\n[[retailer]]\nid = \"s\"\n",
            "[[trigger]]\nid = \"t\"\nvalid = { from = 2026-09-01 }\n",
        );
        let calls = load(directory.path()).unwrap();
        let order: Vec<_> = calls.iter().map(|call| format!("{} {}", call.method, call.path)).collect();
        let expected =
            ["PUT /v1/retailers/s", "PUT /v1/products/p", "PUT /v1/triggers/t", "POST /v1/triggers/t/publish"];
        assert_eq!(order, expected);
        assert_eq!(calls[2].body["valid"]["from"], "2026-09-01", "dates travel as text");
    }

    #[test]
    fn the_program_carries_every_shipped_file() {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        let of = |calls: Vec<Call>| calls.into_iter().map(|call| (call.path, call.body)).collect::<Vec<_>>();
        assert_eq!(of(shipped().unwrap()), of(load(&config).unwrap()), "a file of config/ is not in SHIPPED");
    }

    #[test]
    fn the_shipped_catalog_can_be_referred_to() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/catalog");
        let catalog = Catalog::read(&directory).unwrap();
        assert_eq!((catalog.models.len(), catalog.products.listed.len(), catalog.retailers.len()), (6, 10, 1));
    }

    #[test]
    fn what_is_no_sample_is_refused_by_name() {
        let directory = shop("[[customer]]\nid = \"x\"\n", "");
        assert!(load(directory.path()).unwrap_err().to_string().contains("`[[customer]]`"));
        let directory = shop("[[product]]\nid = \"p\"\n", "");
        assert!(load(directory.path()).unwrap_err().to_string().contains("no `seller`"));
        let directory = shop("[[product]\n", "");
        assert!(load(directory.path()).unwrap_err().to_string().contains("not TOML"));
    }
}
