//! Products as a table: a head that names the columns, and a product on each line (RFC 4180).
//!
//! A cell says what its column is about; an empty one says that there is none of it. A quoted cell ends on its
//! line. What a table has no column for stays as it was: whatever columns it leaves out, and what no column is
//! for, as price windows, promotions, margins, sellers and the flags of a category.

use std::collections::BTreeSet;

use hearthway_core::model::{Category, Product};
use hearthway_core::money::Money;
use serde_json::{Map, Value, json};

/// Columns of a table: languages of names and attributes make the most of them.
const COLUMNS_MAX: usize = 64;

/// What an export writes, beside a `name:` column per language of the first product.
const COLUMNS: [&str; 13] = [
    "id",
    "gtin",
    "price",
    "currency",
    "delivery",
    "tax_incl",
    "seller",
    "withdraw_days",
    "fits",
    "lead_days",
    "variant_of",
    "successor",
    "category",
];

/// The columns of a table, as its first line names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head(Vec<String>);

impl Head {
    /// Reads the first line.
    pub fn read(line: &str) -> Result<Head, String> {
        let columns: Vec<String> = cells(line)?.iter().map(|cell| cell.trim().to_owned()).collect();
        if columns.len() > COLUMNS_MAX {
            return Err(format!("a table has at most {COLUMNS_MAX} columns"));
        }
        let is_known = |column: &str| {
            COLUMNS.contains(&column)
                || column
                    .strip_prefix("name:")
                    .or_else(|| column.strip_prefix("attribute:"))
                    .is_some_and(|of| !of.is_empty())
        };
        if let Some(unknown) = columns.iter().find(|column| !is_known(column)) {
            let shown: String = unknown.chars().take(60).collect();
            let known = COLUMNS.join(", ");
            return Err(format!("there is no column `{shown}`: {known}, `name:en` and the like, `attribute:color`"));
        }
        for (n, column) in columns.iter().enumerate() {
            if columns[..n].contains(column) {
                return Err(format!("the column `{column}` stands twice"));
            }
        }
        for needed in ["id", "price", "currency"] {
            if !columns.iter().any(|column| column == needed) {
                return Err(format!("the column `{needed}` is missing"));
            }
        }
        Ok(Head(columns))
    }

    /// A line as the JSON form of a product.
    pub fn product(&self, line: &str) -> Result<Value, String> {
        let cells = cells(line)?;
        if cells.len() != self.0.len() {
            return Err(format!("the line has {} cells, the head names {} columns", cells.len(), self.0.len()));
        }
        let cell = |name: &str| {
            let at = self.0.iter().position(|column| column == name)?;
            cells.get(at).map(String::as_str).filter(|cell| !cell.is_empty())
        };
        let currency = cell("currency").ok_or("the cell `currency` is empty")?;
        let mut json = Map::new();
        let (mut names, mut attributes) = (Map::new(), Map::new());
        for (column, cell) in self.0.iter().zip(&cells).filter(|(_, cell)| !cell.is_empty()) {
            let wrong = |help: &str| format!("column `{column}`: {help}");
            match column.as_str() {
                "currency" => {}
                "price" | "delivery" => {
                    json.insert(column.clone(), json!(amount(cell, currency).map_err(|error| wrong(&error))?));
                }
                "tax_incl" => {
                    let yes = cell.parse::<bool>().map_err(|_| wrong("write `true` or `false`"))?;
                    json.insert(column.clone(), yes.into());
                }
                "withdraw_days" => {
                    let days = cell.parse::<u32>().map_err(|_| wrong("write a whole number of days"))?;
                    json.insert(column.clone(), days.into());
                }
                "fits" => drop(json.insert(column.clone(), fits(cell).map_err(|help| wrong(&help))?)),
                "lead_days" => drop(json.insert(column.clone(), lead_days(cell).map_err(|help| wrong(&help))?)),
                "category" => drop(json.insert(column.clone(), json!({"id": cell}))),
                _ => match column.split_once(':') {
                    Some(("name", language)) => drop(names.insert(language.to_owned(), cell.as_str().into())),
                    Some((_, attribute)) => drop(attributes.insert(attribute.to_owned(), cell.as_str().into())),
                    None => drop(json.insert(column.clone(), cell.as_str().into())),
                },
            }
        }
        json.insert("name".into(), names.into());
        json.insert("attributes".into(), attributes.into());
        Ok(json.into())
    }

    /// What the table has no column for stays as it was before.
    pub fn keep(&self, product: &mut Product, before: &Product) {
        let has = |column: &str| self.0.iter().any(|known| known == column);
        let has_of = |of: &str, name: &str| {
            self.0.iter().any(|known| known.strip_prefix(of).and_then(|rest| rest.strip_prefix(':')) == Some(name))
        };
        let Product {
            id: _,
            name,
            gtin,
            price: _,
            delivery,
            tax_incl,
            seller,
            withdraw_days,
            fits,
            lead_days,
            margin,
            variant_of,
            attributes,
            category,
            prices,
            promotions,
            successor,
            sellers: _,
            listed: _,
        } = product;
        let unnamed = before.name.iter().filter(|(language, _)| !has_of("name", language));
        name.extend(unnamed.map(|(language, text)| (language.clone(), text.clone())));
        let unsaid = before.attributes.iter().filter(|(attribute, _)| !has_of("attribute", attribute));
        attributes.extend(unsaid.map(|(attribute, value)| (attribute.clone(), value.clone())));
        match (category.as_mut(), &before.category) {
            _ if !has("category") => category.clone_from(&before.category),
            // A word in a cell takes nobody's protection away.
            (Some(category), Some(was)) => *category = Category { id: category.id.clone(), ..was.clone() },
            (None, _) | (_, None) => {}
        }
        fn stays<T: Clone>(is_said: bool, part: &mut T, before: &T) {
            if !is_said {
                part.clone_from(before);
            }
        }
        stays(has("gtin"), gtin, &before.gtin);
        stays(has("delivery"), delivery, &before.delivery);
        stays(has("tax_incl"), tax_incl, &before.tax_incl);
        stays(has("seller"), seller, &before.seller);
        stays(has("withdraw_days"), withdraw_days, &before.withdraw_days);
        stays(has("fits"), fits, &before.fits);
        stays(has("lead_days"), lead_days, &before.lead_days);
        stays(has("variant_of"), variant_of, &before.variant_of);
        stays(has("successor"), successor, &before.successor);
        stays(false, margin, &before.margin);
        stays(false, prices, &before.prices);
        stays(false, promotions, &before.promotions);
    }
}

/// `19.90`, as on a price tag. A number without decimals is taken for none where the currency has some: minor units that
/// slipped into a table would be a price a hundred times too high, and nobody would notice.
fn amount(cell: &str, currency: &str) -> Result<Money, String> {
    let money = Money::parse(&format!("{cell} {currency}"))?;
    if !cell.contains('.') && money.minor != 0 && money.currency.minor_digits() > 0 {
        let cents = Money { minor: cell.parse().unwrap_or_default(), ..money };
        return Err(format!(
            "`{cell}` may mean {money} or {cents}: write the amount with its decimals, as in `{}`",
            shown(money)
        ));
    }
    Ok(money)
}

/// The amount alone.
fn shown(money: Money) -> String {
    money.to_string().split(' ').next().unwrap_or_default().to_owned()
}

/// `th-200:air_filter`, several with spaces between.
fn fits(cell: &str) -> Result<Value, String> {
    let fit = |text: &str| match text.split_once(':') {
        Some((model, slot)) => Ok(json!({"model": model, "slot": slot})),
        None => Err("write slots as `model:slot`, with spaces between".to_owned()),
    };
    cell.split_whitespace().map(fit).collect()
}

/// `1/2/4`: in one of ten, in one of two, in nine of ten deliveries.
fn lead_days(cell: &str) -> Result<Value, String> {
    let days: Result<Vec<u16>, _> = cell.split('/').map(|part| part.trim().parse()).collect();
    match days.as_deref() {
        Ok([p10, p50, p90]) => Ok(json!({"p10": p10, "p50": p50, "p90": p90})),
        Ok(_) | Err(_) => Err("write days as `1/2/4`: p10, p50 and p90".to_owned()),
    }
}

/// The cells of a line.
fn cells(line: &str) -> Result<Vec<String>, String> {
    let (mut found, mut rest) = (Vec::new(), line);
    loop {
        let (cell, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_cell(quoted)?,
            None => match rest.split_once(',') {
                Some((cell, after)) => (cell.to_owned(), Some(after)),
                None => (rest.to_owned(), None),
            },
        };
        found.push(cell);
        match after {
            Some(after) => rest = after,
            None => return Ok(found),
        }
    }
}

/// A cell behind its quote, and what follows its comma.
fn quoted_cell(quoted: &str) -> Result<(String, Option<&str>), String> {
    let (mut cell, mut rest) = (String::new(), quoted);
    loop {
        let (part, after) = rest.split_once('"').ok_or("a quote is not closed on its line")?;
        cell.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                cell.push('"');
                rest = after;
            }
            None if after.is_empty() => return Ok((cell, None)),
            None => {
                let after = after.strip_prefix(',').ok_or("behind a closing quote comes a comma")?;
                return Ok((cell, Some(after)));
            }
        }
    }
}

/// The columns of an export beside the fixed ones: as many languages and attributes as a table has room for. What
/// finds none stays at an import as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wide {
    languages: BTreeSet<String>,
    attributes: BTreeSet<String>,
}

impl Wide {
    /// Takes in what a product needs.
    pub fn add(&mut self, product: &Product) {
        let room = COLUMNS_MAX - COLUMNS.len();
        for language in product.name.keys() {
            if self.languages.len() + self.attributes.len() < room && !self.languages.contains(language) {
                self.languages.insert(language.clone());
            }
        }
        for attribute in product.attributes.keys().filter(|name| is_plain(name)) {
            if self.languages.len() + self.attributes.len() < room && !self.attributes.contains(attribute) {
                self.attributes.insert(attribute.clone());
            }
        }
    }
}

/// Whether a name survives as that of a column.
fn is_plain(name: &str) -> bool {
    name.trim() == name && !name.contains(['\r', '\n'])
}

/// The head of an export.
pub fn head_line(wide: &Wide) -> String {
    let names = wide.languages.iter().map(|language| format!("name:{language}"));
    let attributes = wide.attributes.iter().map(|attribute| quoted(&format!("attribute:{attribute}")));
    let columns: Vec<String> =
        COLUMNS.iter().map(|column| (*column).to_owned()).chain(names).chain(attributes).collect();
    format!("{}\n", columns.join(","))
}

/// A product as a line of an export.
pub fn line_of(product: &Product, wide: &Wide) -> String {
    let fits = product.fits.iter().map(|fit| format!("{}:{}", fit.model, fit.slot)).collect::<Vec<_>>().join(" ");
    let lead_days = product.lead_days.map(|days| format!("{}/{}/{}", days.p10, days.p50, days.p90));
    let id = |id: &Option<hearthway_core::id::ProductId>| id.as_ref().map(ToString::to_string).unwrap_or_default();
    let fixed = [
        product.id.to_string(),
        product.gtin.clone().unwrap_or_default(),
        shown(product.price),
        product.price.currency.to_string(),
        shown(product.delivery),
        product.tax_incl.to_string(),
        product.seller.clone(),
        product.withdraw_days.to_string(),
        fits,
        lead_days.unwrap_or_default(),
        id(&product.variant_of),
        id(&product.successor),
        product.category.as_ref().map(|category| category.id.clone()).unwrap_or_default(),
    ];
    let names = wide.languages.iter().map(|language| product.name.get(language).cloned().unwrap_or_default());
    let attributes = wide.attributes.iter().map(|name| product.attributes.get(name).cloned().unwrap_or_default());
    let cells: Vec<String> = fixed.into_iter().chain(names).chain(attributes).map(|cell| quoted(&cell)).collect();
    format!("{}\n", cells.join(","))
}

/// A cell in quotes where it needs them. A line break would end the line, and becomes a space.
fn quoted(cell: &str) -> String {
    let cell = cell.replace(['\r', '\n'], " ");
    if cell.contains([',', '"']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_line_becomes_a_product_and_says_what_is_wrong() {
        let head = Head::read("id,name:fr,price,currency,fits,lead_days,attribute:color").unwrap();
        let json =
            head.product(r#"f-1,"Filtre ""A"", 20×25",19.90,EUR,th-200:air_filter th-210:air_filter,1/2/4,"#).unwrap();
        assert_eq!(json["name"]["fr"], "Filtre \"A\", 20×25");
        assert_eq!(json["price"], json!({"minor": 1990, "currency": "EUR"}));
        assert_eq!(json["fits"][1]["model"], "th-210");
        assert_eq!((&json["lead_days"]["p90"], &json["attributes"]), (&json!(4), &json!({})));
        for (line, part) in [
            ("f-1,a,19.90", "the line has 3 cells, the head names 7 columns"),
            ("f-1,a,19.999,EUR,,,", "column `price`: `19.999 EUR` has 3 decimals"),
            ("f-1,a,1.00,,,,", "the cell `currency` is empty"),
            ("f-1,\"a,1,EUR,,,", "a quote is not closed"),
            ("f-1,\"a\"b,1.00,EUR,,,", "behind a closing quote comes a comma"),
            ("f-1,a,1.00,EUR,th-200,,", "`model:slot`"),
            ("f-1,a,1990,EUR,,,", "`1990` may mean 1990.00 EUR or 19.90 EUR"),
            ("f-1,a,1.00,EUR,,1/2,", "`1/2/4`"),
            ("f-1,a,1.00,EUR,,1/x/2/4,", "`1/2/4`"),
            ("f-1,a,1.00,EUR,,1/2/4/,", "`1/2/4`"),
        ] {
            let told = head.product(line).unwrap_err();
            assert!(told.contains(part), "{line}: {told}");
        }
        for (head, part) in [
            ("id,price", "the column `currency` is missing"),
            ("id,price,currency,colour", "there is no column `colour`"),
            ("id,price,currency,price", "the column `price` stands twice"),
        ] {
            let told = Head::read(head).unwrap_err();
            assert!(told.contains(part), "{head}: {told}");
        }
    }
}
