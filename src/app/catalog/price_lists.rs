//! Named lists of prices: other prices of many products for some time, set as a whole.
//!
//! A list has no row of its own. What it says of a product stands with the product, so that a price is found in one
//! place, and a list is the prices that bear its name. All that a list changes is one commit and one version of the
//! rules: no decision sees half of it, and a replay reads what the decision read.

use std::collections::{BTreeMap, BTreeSet};

use hearthway_core::id::{PriceListId, ProductId, RetailerId};
use hearthway_core::model::{ListedPrice, PriceWindow, Product};
use hearthway_core::money::Money;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::aside::aside;
use super::super::documents::{Condition, etag};
use super::super::tokens::{Caller, Scope};
use super::super::{App, Failure, ItemProblem, Page, PageQuery};
use super::check::{check, check_size, check_stretch};
use super::form::Instant;
use super::import::{misshapen, parse_json};
use super::kept::Kept;

/// Prices of one list: all that change are one commit, written in a fraction of a second.
pub const ITEMS_MAX: usize = 10_000;
/// Lists of one retailer.
const LISTS_MAX: usize = 200;
/// Bytes of the products that one list changes, which are one commit.
const CHANGED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Problems of one answer.
const PROBLEMS_MAX: usize = 100;

/// A list as clients write it: its items, as JSON or a line each.
#[derive(Debug)]
pub enum ListBody {
    /// As JSON, at `/items/…`.
    Items(Vec<Value>),
    /// A line each.
    Lines(Vec<u8>),
}

/// One price of a list as clients write it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemBody {
    product: ProductId,
    price: Money,
    from: Instant,
    until: Option<Instant>,
}

/// One price of a list, and where it was written.
#[derive(Clone)]
struct Item {
    place: Place,
    product: ProductId,
    window: PriceWindow,
}

/// Where something was written: in an item, or on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Item(usize),
    Line(u64),
}

impl Place {
    fn problem(self, pointer: &str, message: impl Into<String>) -> ItemProblem {
        match self {
            Place::Item(n) => {
                ItemProblem { line: None, pointer: format!("/items/{n}{pointer}"), message: message.into() }
            }
            Place::Line(n) => ItemProblem { line: Some(n), pointer: pointer.to_owned(), message: message.into() },
        }
    }
    fn of(self, failure: &Failure) -> ItemProblem {
        let pointer = match failure {
            Failure::Refused(refusal) => refusal.pointer.clone().unwrap_or_default(),
            _ => String::new(),
        };
        self.problem(&pointer, failure.words())
    }
    /// As one is named to people beside another.
    fn word(self) -> String {
        match self {
            Place::Item(n) => format!("item {n}"),
            Place::Line(n) => format!("line {n}"),
        }
    }
}

/// What came of setting a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListSet {
    /// Its prices.
    pub items: usize,
    /// Products that it names.
    pub products: usize,
    /// Products that have other prices than before.
    pub changed: usize,
    /// Its tag.
    pub etag: String,
}

/// A part of a list, with the tag of all of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ListPage {
    /// Prices.
    pub page: Page<Value>,
    /// How many products all of it names.
    pub products: usize,
    /// The tag of all of it.
    pub etag: String,
}

fn no_list(id: &str) -> Failure {
    Failure::not_found("price list", id.chars().take(80).collect::<String>())
}

fn problems(problems: Vec<ItemProblem>) -> Result<(), Failure> {
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::Items { what: "prices", problems }),
    }
}

/// Reads a list's items; all that is wrong with their form is told.
fn read(body: ListBody) -> Result<Vec<Item>, Failure> {
    let (mut items, mut wrong) = (Vec::new(), Vec::new());
    let mut take = |place: Place, json: Result<Value, Failure>| {
        let body = json.and_then(|json| serde_path_to_error::deserialize::<_, ItemBody>(json).map_err(misshapen));
        match body {
            Ok(ItemBody { product, price, from, until }) => {
                let window = PriceWindow { from: from.0, until: until.map(|until| until.0), price };
                items.push(Item { place, product, window });
            }
            Err(failure) => wrong.push(place.of(&failure)),
        }
    };
    match body {
        ListBody::Items(list) => {
            check_count(list.len())?;
            list.into_iter().enumerate().for_each(|(n, item)| take(Place::Item(n), Ok(item)));
        }
        ListBody::Lines(bytes) => {
            let lines = (1..).zip(bytes.split(|byte| *byte == b'\n'));
            let lines = lines.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace));
            let lines: Vec<(u64, &[u8])> = lines.take(ITEMS_MAX + 1).collect();
            check_count(lines.len())?;
            lines.into_iter().for_each(|(n, line)| take(Place::Line(n), parse_json(line)));
        }
    }
    check_items(&items, &mut wrong);
    wrong.truncate(PROBLEMS_MAX);
    problems(wrong)?;
    Ok(items)
}

fn check_count(items: usize) -> Result<(), Failure> {
    if items == 0 {
        return Err(Failure::invalid("/items", "a list has a price at least; DELETE ends a list"));
    }
    if items > ITEMS_MAX {
        let message = format!("a list has at most {ITEMS_MAX} prices; cut it into several lists");
        return Err(Failure::invalid("/items", message));
    }
    Ok(())
}

/// What is wrong with items by themselves: prices, stretches, two of one product at one instant.
fn check_items(items: &[Item], wrong: &mut Vec<ItemProblem>) {
    let mut of_product: BTreeMap<&ProductId, Vec<&Item>> = BTreeMap::new();
    for item in items {
        let PriceWindow { from, until, price } = item.window;
        if price.minor <= 0 {
            wrong.push(item.place.problem("/price/minor", "a price is above zero"));
        }
        match check_stretch("", from, until) {
            Ok(()) => of_product.entry(&item.product).or_default().push(item),
            Err(failure) => wrong.push(item.place.of(&failure)),
        }
    }
    for (product, mut items) in of_product {
        items.sort_by_key(|item| item.window.from);
        for pair in items.windows(2) {
            let [before, after] = pair else { continue };
            if before.window.until.is_none_or(|until| after.window.from < until) {
                let other = before.place.word();
                let ends =
                    before.window.until.map_or_else(|| "has no end".to_owned(), |until| format!("ends at {until}"));
                let message = format!("it overlaps {other}, another price of `{product}` which {ends}");
                wrong.push(after.place.problem("/from", message));
            }
        }
    }
}

/// The products as they become with a list, none of them wrong; also those that it names no more.
fn wanted(
    kept: &Kept,
    retailer: &RetailerId,
    list: &PriceListId,
    items: &[Item],
) -> Result<Vec<(ProductId, Option<Product>)>, Failure> {
    let mut of_product: BTreeMap<&ProductId, Vec<&Item>> = BTreeMap::new();
    items.iter().for_each(|item| of_product.entry(&item.product).or_default().push(item));
    let named = kept.of_list(retailer, list);
    let ids: BTreeSet<&ProductId> = named.iter().chain(of_product.keys().copied()).collect();
    let (mut found, mut wrong, mut bytes) = (Vec::new(), Vec::new(), 0);
    for id in ids {
        let items = of_product.remove(id).unwrap_or_default();
        let Some((mut product, _)) = kept.latest(retailer, id) else {
            wrong
                .extend(items.iter().map(|item| item.place.problem("/product", format!("there is no product `{id}`"))));
            continue;
        };
        let currency = product.price.currency;
        let others = items.iter().filter(|item| item.window.price.currency != currency);
        let before = wrong.len();
        wrong.extend(others.map(|item| {
            item.place.problem("/price/currency", format!("the price of `{id}` is in {currency}; its lists are too"))
        }));
        if wrong.len() > before {
            continue;
        }
        let (of_list, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut product.listed).into_iter().partition(|listed| listed.list == *list);
        product.listed = others;
        let listed = items.iter().map(|item| ListedPrice { list: list.clone(), window: item.window.clone() });
        product.listed.extend(listed);
        product.listed.sort_by(|a, b| (&a.list, a.window.from).cmp(&(&b.list, b.window.from)));
        // Where prices only go, nothing comes that could be too much: a product that grew since does not keep its list.
        let is_new = |item: &&&Item| !of_list.iter().any(|listed| listed.window == item.window);
        if let Some(new) = items.iter().find(is_new) {
            // What the product is as a whole may contradict a price that is right by itself, such as a promotion above
            // it.
            match check(&product).and_then(|()| check_size(&product)) {
                Ok(size) => bytes += size,
                Err(failure) => {
                    wrong.push(new.place.problem("/price", format!("the product `{id}`: {failure}")));
                }
            }
        }
        found.push((id.clone(), Some(product)));
    }
    wrong.truncate(PROBLEMS_MAX);
    problems(wrong)?;
    if bytes > CHANGED_BYTES_MAX {
        let message = format!(
            "the products of this list have {} MiB, and {} are written at once; cut it into several lists",
            bytes >> 20,
            CHANGED_BYTES_MAX >> 20
        );
        return Err(Failure::invalid("/items", message));
    }
    Ok(found)
}

/// A list's prices, by product and beginning; none where there is no such list.
fn prices(kept: &Kept, retailer: &RetailerId, list: &PriceListId) -> Vec<(ProductId, PriceWindow)> {
    let mut found = Vec::new();
    for id in kept.of_list(retailer, list) {
        let Some((product, _)) = kept.latest(retailer, &id) else { continue };
        let of_list = product.listed.into_iter().filter(|listed| listed.list == *list);
        found.extend(of_list.map(|listed| (id.clone(), listed.window)));
    }
    found
}

fn item_json((product, window): &(ProductId, PriceWindow)) -> Value {
    json!({
        "product": product, "price": window.price, "from": window.from.to_string(),
        "until": window.until.map(|until| until.to_string()),
    })
}

fn tag(prices: &[(ProductId, PriceWindow)]) -> Option<String> {
    let text: Vec<String> = prices.iter().map(|price| item_json(price).to_string()).collect();
    (!text.is_empty()).then(|| etag(&text.join("\n")))
}

/// What is told of a list that is set, but how many products change.
fn summed_up(items: &[Item]) -> ListSet {
    let mut set: Vec<(ProductId, PriceWindow)> =
        items.iter().map(|item| (item.product.clone(), item.window.clone())).collect();
    set.sort_by(|(a, first), (b, second)| (a, first.from).cmp(&(b, second.from)));
    let products = items.iter().map(|item| &item.product).collect::<BTreeSet<_>>().len();
    ListSet { items: items.len(), products, changed: 0, etag: tag(&set).expect("a list has a price at least") }
}

impl App {
    /// Sets a price list of the caller's as a whole, or nothing of it.
    pub async fn put_price_list(
        &self,
        who: &Caller,
        list: &PriceListId,
        body: ListBody,
        condition: &Condition,
    ) -> Result<ListSet, Failure> {
        let retailer = who.retailer(Scope::ProductsWrite)?;
        let (items, set) = aside("reading the price list", move || {
            let items = read(body)?;
            let set = summed_up(&items);
            Ok::<_, Failure>((items, set))
        })
        .await??;
        let (of, list, condition) = (retailer.clone(), list.clone(), condition.clone());
        let write = move |kept: &Kept| {
            condition.check("price list", tag(&prices(kept, &of, &list)).as_deref())?;
            let lists = kept.lists(&of);
            if lists.len() >= LISTS_MAX && !lists.iter().any(|(known, _)| *known == list) {
                return Err(Failure::Conflict(format!(
                    "a retailer has at most {LISTS_MAX} price lists; end one first"
                )));
            }
            wanted(kept, &of, &list, &items).map(|wanted| (wanted, ()))
        };
        let (changed, ()) = self.rulebook.put_products(&self.engine, retailer, Vec::new(), write).await?;
        Ok(ListSet { changed, ..set })
    }

    /// A price list is no more: its prices hold for nothing from the next decision on.
    pub async fn delete_price_list(&self, who: &Caller, list: &str, condition: &Condition) -> Result<(), Failure> {
        let retailer = who.retailer(Scope::ProductsWrite)?;
        let id = PriceListId::new(list).map_err(|_| no_list(list))?;
        let (of, condition) = (retailer.clone(), condition.clone());
        let write = move |kept: &Kept| {
            let known = tag(&prices(kept, &of, &id)).ok_or_else(|| no_list(id.as_str()))?;
            condition.check("price list", Some(&known))?;
            wanted(kept, &of, &id, &[]).map(|wanted| (wanted, ()))
        };
        self.rulebook.put_products(&self.engine, retailer, Vec::new(), write).await?;
        Ok(())
    }

    /// A price list of the caller's, a page of it by product and beginning.
    pub async fn price_list(&self, who: &Caller, list: &str, page: &PageQuery) -> Result<ListPage, Failure> {
        let retailer = who.retailer(Scope::ProductsRead)?;
        let id = PriceListId::new(list).map_err(|_| no_list(list))?;
        let after = page.cursor.as_deref().map(read_cursor).transpose()?;
        // Of one moment: nobody sets it meanwhile.
        let of = (retailer.clone(), id);
        let looked = self.rulebook.while_nobody_changes(move |kept| {
            let prices = prices(kept, &of.0, &of.1);
            let etag = tag(&prices);
            (prices, etag)
        });
        let (prices, etag) = looked.await?;
        let etag = etag.ok_or_else(|| no_list(list))?;
        let products = prices.iter().map(|(product, _)| product).collect::<BTreeSet<_>>().len();
        let is_behind = |(product, window): &&(ProductId, PriceWindow)| {
            after.as_ref().is_none_or(|(after, from)| (product.as_str(), window.from.0) > (after.as_str(), *from))
        };
        let mut found: Vec<_> = prices.iter().filter(is_behind).take(page.limit + 1).collect();
        let more = found.len() > page.limit;
        found.truncate(page.limit);
        let next = found.last().filter(|_| more).map(|(product, window)| format!("{}~{}", product, window.from.0));
        Ok(ListPage { page: Page { items: found.into_iter().map(item_json).collect(), next }, products, etag })
    }

    /// The caller's price lists, by name.
    pub fn price_lists(&self, who: &Caller, page: &PageQuery) -> Result<Page<Value>, Failure> {
        let retailer = who.retailer(Scope::ProductsRead)?;
        let lists = self.rulebook.catalog().lists(retailer);
        let is_behind = |list: &PriceListId| page.cursor.as_deref().is_none_or(|after| list.as_str() > after);
        let mut found: Vec<_> = lists.into_iter().filter(|(list, _)| is_behind(list)).take(page.limit + 1).collect();
        let more = found.len() > page.limit;
        found.truncate(page.limit);
        let next = found.last().filter(|_| more).map(|(list, _)| list.to_string());
        let items = found.into_iter().map(|(list, products)| json!({"list": list, "products": products}));
        Ok(Page { items: items.collect(), next })
    }
}

/// Behind which product and beginning a page begins. A product's name has no `~`.
fn read_cursor(cursor: &str) -> Result<(String, i64), Failure> {
    let bad = || Failure::invalid("", "the parameter `cursor` is not one of ours; take the `next` of a page");
    let (product, from) = cursor.split_once('~').ok_or_else(bad)?;
    Ok((product.to_owned(), from.parse().map_err(|_| bad())?))
}
