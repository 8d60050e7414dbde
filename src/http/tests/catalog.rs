//! Products one by one and by the thousand.

use serde_json::{Value, json};

use super::{House, house, product};

fn with(change: impl Fn(&mut Value)) -> Value {
    let mut product = product();
    change(&mut product);
    product
}

fn window(from: &str, until: Option<&str>, minor: i64) -> Value {
    json!({"from": from, "until": until, "price": {"minor": minor, "currency": "EUR"}})
}

#[tokio::test]
async fn what_is_wrong_with_a_product_is_told_with_its_place_and_nothing_of_it_is_taken() {
    let house = house().await;
    let wrong: &[(&str, &str, Value)] = &[
        ("/gtin", "after `400638133393` it is 1, not 2", with(|p| p["gtin"] = "4006381333932".into())),
        ("/price/currency", "no currency of ISO 4217", with(|p| p["price"]["currency"] = "ZZZ".into())),
        ("/price/minor", "above zero", with(|p| p["price"]["minor"] = (-5).into())),
        ("/delivery/minor", "nothing or more", with(|p| p["delivery"]["minor"] = (-1).into())),
        ("/variant_of", "not its own", with(|p| p["variant_of"] = "flt-1".into())),
        ("/category/never_auto", "invalid type", with(|p| p["category"] = json!({"id": "x", "never_auto": 3}))),
        (
            "/prices/1/from",
            "price windows 0 and 1 overlap: 0 ends at 2026-12-10T00:00:00Z, and 1 begins at 2026-12-09T00:00:00Z",
            with(|p| {
                p["prices"] = json!([
                    window("2026-12-01T00:00:00Z", Some("2026-12-10T00:00:00Z"), 1500),
                    window("2026-12-09T00:00:00Z", None, 1600)
                ]);
            }),
        ),
        (
            "/prices/0/until",
            "must be later than `from`",
            with(|p| {
                p["prices"] = json!([window("2026-12-01T00:00:00Z", Some("2026-12-01T00:00:00Z"), 1500)]);
            }),
        ),
        ("/prices/0/from", "RFC 3339", with(|p| p["prices"] = json!([window("tomorrow", None, 1500)]))),
        (
            "/promotions/0",
            "one of them",
            with(|p| {
                p["promotions"] = json!([{"from": "2026-12-01T00:00:00Z", "until": null}]);
            }),
        ),
        (
            "/promotions/0/percent",
            "less than 100",
            with(|p| {
                p["promotions"] = json!([{"from": "2026-12-01T00:00:00Z", "percent": 100}]);
            }),
        ),
        (
            "/promotions/0/amount/minor",
            "below every price",
            with(|p| {
                p["promotions"] =
                    json!([{"from": "2026-12-01T00:00:00Z", "amount": {"minor": 1990, "currency": "EUR"}}]);
            }),
        ),
        ("/colour", "unknown field", with(|p| p["colour"] = "red".into())),
    ];
    for (pointer, part, body) in wrong {
        let told = house.call("PUT", "/v1/products/flt-1", &house.shop, body.clone()).await;
        assert_eq!((told.status, told.code()), (422, "payload.invalid"), "{pointer}: {}", told.text);
        assert_eq!(told.json["pointer"], *pointer, "{}", told.text);
        assert!(told.json["detail"].as_str().unwrap().contains(part), "{pointer}: {}", told.text);
    }
    assert_eq!(house.get("/v1/products/flt-1", &house.shop).await.status, 404);
}

#[tokio::test]
async fn a_product_is_read_back_as_it_was_written_and_may_be_written_back() {
    let house = house().await;
    let body = with(|p| {
        p["gtin"] = "4006381333931".into();
        p["variant_of"] = "flt".into();
        p["attributes"] = json!({"size": "20×25"});
        p["category"] = json!({"id": "filter", "never_auto": true, "age_limited": false, "shared_ok": true});
        p["prices"] = json!([window("2026-12-01T00:00:00Z", None, 1500)]);
        p["promotions"] = json!([{"from": "2026-12-01T00:00:00Z", "until": null, "percent": 12.5}]);
        p["successor"] = "flt-2".into();
    });
    house.ok("PUT", "/v1/products/flt-1", &house.shop, body.clone()).await;
    let read = house.get("/v1/products/flt-1", &house.shop).await;
    for (key, value) in body.as_object().unwrap() {
        assert_eq!(read.json[key], *value, "{key}");
    }
    let tag = read.header("etag").to_owned();
    let mut again = read.json.clone();
    again.as_object_mut().unwrap().remove("product");
    let headers = [("If-Match", tag.as_str())];
    let put = house.send("PUT", "/v1/products/flt-1", &house.shop, &headers, Some(again.to_string())).await;
    assert_eq!((put.status, put.header("etag")), (200, tag.as_str()), "{}", put.text);
    let stale = house.send("DELETE", "/v1/products/flt-1", &house.shop, &[("If-Match", "\"old\"")], None).await;
    assert_eq!(stale.status, 412, "{}", stale.text);
    assert_eq!(house.send("DELETE", "/v1/products/flt-1", &house.shop, &headers, None).await.status, 204);
    assert_eq!(house.send("DELETE", "/v1/products/flt-1", &house.shop, &[], None).await.status, 404);
}

fn line(n: usize, minor: i64) -> String {
    let mut line = product();
    line["id"] = format!("p-{n:05}").into();
    line["price"]["minor"] = minor.into();
    line.to_string()
}

async fn import(house: &House, query: &str, kind: &str, body: String) -> Vec<Value> {
    let path = format!("/v1/products:import{query}");
    let told = house.send("POST", &path, &house.shop, &[("content-type", kind)], Some(body)).await;
    assert_eq!(told.status, 200, "{}", told.text);
    told.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn count(house: &House) -> usize {
    house.get("/v1/products:export", &house.shop).await.text.lines().count()
}

const LINES: &str = "application/x-ndjson";

#[tokio::test]
async fn a_line_that_is_wrong_is_told_by_its_number_and_the_others_stand() {
    let house = house().await;
    let mut lines: Vec<String> = (1..=3_000).map(|n| line(n, 1990)).collect();
    lines[1_499] = r#"{"id":"p-01500","name":{"en":"#.into();
    lines[1_999] = line(2_000, -1);
    lines[2_499] = r#"{"id":"p-02500","name":{"en":"x"},"price":{"minor":1,"currency":"EUR"},"colour":1}"#.into();
    let told = import(&house, "", LINES, lines.join("\n")).await;
    let faults: Vec<(u64, &str, &str)> = told[..3]
        .iter()
        .map(|of| {
            (
                of["line"].as_u64().unwrap(),
                of["error"]["code"].as_str().unwrap(),
                of["error"]["pointer"].as_str().unwrap(),
            )
        })
        .collect();
    let code = "payload.invalid";
    assert_eq!(faults, [(1_500, code, ""), (2_000, code, "/price/minor"), (2_500, code, "/colour")]);
    let summary = json!({"lines": 3000, "products": 2997, "changed": 2997, "unchanged": 0, "skipped": 0, "faults": 3, "complete": true});
    assert_eq!(told[3]["summary"], summary);
    assert_eq!(count(&house).await, 2_997);
    lines[1_499] = line(1_500, 1990);
    let told = import(&house, "", LINES, lines[..1_600].join("\n")).await;
    assert_eq!(told[0]["summary"]["changed"], 1, "what is so already is not written again: {told:?}");
    // There is room for 3 500 here: 2 998 are known, and take none.
    let more: Vec<String> = (2_900..=3_600).map(|n| line(n, 1_990)).collect();
    let told = import(&house, "", LINES, more[..601].join("\n")).await;
    assert_eq!(told[0]["summary"]["complete"], true, "{told:?}");
    let told = import(&house, "", LINES, more[601..].join("\n")).await;
    assert_eq!((&told[0]["error"]["code"], &told[1]["summary"]["complete"]), (&json!("conflict"), &json!(false)));
    let page = house.get("/v1/products?limit=2&cursor=p-02996", &house.shop).await;
    let ids: Vec<_> = page.json["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect();
    assert_eq!(ids, ["p-02997", "p-02998"]);
    let fitting = house.get("/v1/products?fits=th-200:air_filter&limit=3", &house.shop).await;
    assert_eq!(fitting.json["next"], "p-00003", "{}", fitting.text);
}

#[tokio::test]
async fn a_named_import_goes_on_where_it_ended() {
    let house = house().await;
    let lines: Vec<String> = (1..=50).map(|n| line(n, 1990)).collect();
    import(&house, "?import=night-7", LINES, lines[..30].join("\n")).await;
    let reached = house.get("/v1/products:import/night-7", &house.shop).await;
    assert_eq!(reached.json, json!({"import": "night-7", "lines": 30}));
    let all = import(&house, "?import=night-7", LINES, lines.join("\n")).await;
    assert_eq!((&all[0]["summary"]["skipped"], &all[0]["summary"]["products"]), (&json!(30), &json!(20)));
    let path = "/v1/products:import?import=other&from_line=41";
    let gap = house.send("POST", path, &house.shop, &[], Some(lines[40..].join("\n"))).await;
    assert!(gap.status == 409 && gap.text.contains("go on from line 1, not 41"), "{}", gap.text);
    import(&house, "?import=other", LINES, lines[..40].join("\n")).await;
    let rest = import(&house, "?import=other&from_line=41", LINES, format!("{}\nbroken", lines[40..].join("\n"))).await;
    assert_eq!((&rest[0]["line"], &rest[1]["summary"]["lines"]), (&json!(51), &json!(51)), "{rest:?}");
    assert_eq!(count(&house).await, 50);
    let other = house.get("/v1/products:import/night-7", &house.other_shop).await;
    assert_eq!(other.json["lines"], 0, "an import is its shop's");
    for (query, detail) in [("?from_line=0", "line 1"), ("?import=a%20b", "letters, digits")] {
        let path = format!("/v1/products:import{query}");
        let told = house.send("POST", &path, &house.shop, &[], Some(String::new())).await;
        assert!(told.status == 422 && told.text.contains(detail), "{}", told.text);
    }
}

#[tokio::test]
async fn a_table_comes_in_and_goes_out_and_leaves_what_it_has_no_column_for() {
    let house = house().await;
    let body = with(|p| p["prices"] = json!([window("2026-12-01T00:00:00Z", None, 1500)]));
    house.ok("PUT", "/v1/products/flt-1", &house.shop, body).await;
    let table = "id,name:fr,name:en,price,currency,fits\n\
        flt-1,\"Filtre, grand\",Filter,21.90,EUR,th-200:air_filter\n\
        flt-2,Filtre,Filter,1.999,EUR,\n\
        flt-3,Filtre,Filter,5.00,EUR,\n";
    let told = import(&house, "", "text/csv", table.into()).await;
    assert_eq!(told[0]["line"], 3, "{told:?}");
    assert_eq!(told[1]["summary"]["products"], 2);
    let read = house.get("/v1/products/flt-1", &house.shop).await.json;
    assert_eq!((&read["price"]["minor"], &read["prices"][0]["price"]["minor"]), (&json!(2190), &json!(1500)));
    let out = house.get("/v1/products:export?format=csv", &house.shop).await;
    assert!(
        out.text.contains("flt-1,,21.90,EUR,0.00,true,shop-a,14,th-200:air_filter,,,,,Filter,\"Filtre, grand\"\n"),
        "{}",
        out.text
    );
    let again = import(&house, "", "text/csv", out.text).await;
    assert_eq!(again[0]["summary"]["changed"], 0, "{again:?}");
    let bad = import(&house, "", "text/csv", "id,price\nx,1\n".into()).await;
    assert_eq!(bad[0]["error"]["message"], "the column `currency` is missing", "{bad:?}");
    assert_eq!(bad[1]["summary"]["complete"], false);
}

#[tokio::test]
async fn a_table_that_goes_out_and_in_again_loses_nothing_of_a_product_that_has_everything() {
    let house = house().await;
    let whole = with(|p| {
        p["gtin"] = json!("4006381333931");
        p["lead_days"] = json!({"p10": 1, "p50": 2, "p90": 4});
        p["margin"] = json!({"minor": 400, "currency": "EUR"});
        p["variant_of"] = json!("wine");
        p["successor"] = json!("wine-b");
        p["attributes"] = json!({"size": "75 cl", "made in": "Alsace, \"ici\""});
        p["category"] = json!({"id": "wine", "never_auto": true, "age_limited": true, "shared_ok": false});
        p["prices"] = json!([window("2026-12-01T00:00:00Z", None, 1500)]);
        p["promotions"] = json!([{"from": "2026-11-27T00:00:00Z", "until": null, "percent": 12.5}]);
    });
    house.ok("PUT", "/v1/products/wine-a", &house.shop, whole).await;
    let seller = json!({"price": {"minor": 1500, "currency": "EUR"}});
    house.ok("PUT", "/v1/products/wine-a/sellers/s-1/offer", &house.shop, seller).await;
    // Its language stands on no product of the export's first page.
    let many: Vec<String> = (1..=600).map(|n| line(n, 1990)).collect();
    import(&house, "", LINES, many.join("\n")).await;
    let late = with(|p| p["name"] = json!({"pt-BR": "Vinho", "en": "Wine"}));
    house.ok("PUT", "/v1/products/z-1", &house.shop, late).await;
    let before: Vec<Value> = lines_of(&house).await;
    let out = house.get("/v1/products:export?format=csv", &house.shop).await.text;
    assert!(out.lines().next().unwrap().contains("name:pt-BR"), "{out:.300}");
    let again = import(&house, "", "text/csv", out.clone()).await;
    assert_eq!(again[0]["summary"]["changed"], 0, "{again:?}");
    assert_eq!(lines_of(&house).await, before);
    // Who changes a price in it changes that price alone.
    import(&house, "", "text/csv", out.replace("19.90,EUR", "21.90,EUR")).await;
    let after = lines_of(&house).await;
    for (mut before, after) in before.into_iter().zip(after) {
        before["price"]["minor"] = json!(2190);
        assert_eq!(before, after);
    }
    import(&house, "", "text/csv", "id,price,currency\nwine-a,9.90,EUR\n".into()).await;
    let read = house.get("/v1/products/wine-a", &house.shop).await.json;
    assert_eq!((&read["name"]["fr"], &read["fits"][0]["slot"]), (&json!("Filtre 20×25"), &json!("air_filter")));
    assert_eq!((&read["category"]["age_limited"], &read["gtin"]), (&json!(true), &json!("4006381333931")));
    import(&house, "", "text/csv", "id,price,currency,category,attribute:size\nwine-a,9.90,EUR,spirits,\n".into())
        .await;
    let read = house.get("/v1/products/wine-a", &house.shop).await.json;
    assert_eq!((&read["category"]["id"], &read["category"]["never_auto"]), (&json!("spirits"), &json!(true)));
    assert_eq!(read["attributes"], json!({"made in": "Alsace, \"ici\""}), "an empty cell says that there is none");
}

async fn lines_of(house: &House) -> Vec<Value> {
    let text = house.get("/v1/products:export", &house.shop).await.text;
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_line_that_is_too_long_is_told_as_such_and_not_read_in_part() {
    let house = house().await;
    // Cut at the bound it would be a whole product with spaces behind it.
    let padded = format!("{}{}x", line(1, 1990), " ".repeat(64 * 1024));
    let lines = [padded, line(2, 1990), format!("{}{}", line(3, 1990), " ".repeat(1_000))];
    let told = import(&house, "", LINES, lines.join("\r\n")).await;
    assert_eq!((&told[0]["line"], &told[0]["error"]["code"]), (&json!(1), &json!("payload.too_large")), "{told:?}");
    assert_eq!((&told[1]["summary"]["products"], &told[1]["summary"]["faults"]), (&json!(2), &json!(1)));
}

#[tokio::test]
async fn two_who_change_different_parts_of_a_product_at_once_both_have_their_will() {
    let house = house().await;
    house.ok("PUT", "/v1/products/flt-1", &house.shop, product()).await;
    for round in 1..=10 {
        let offer = json!({"price": {"minor": 1000 + round, "currency": "EUR"}, "stock": 3});
        let seller = house.ok("PUT", "/v1/products/flt-1/sellers/s-1/offer", &house.shop, offer);
        let own =
            house.ok("PUT", "/v1/products/flt-1", &house.shop, with(|p| p["price"]["minor"] = json!(2000 + round)));
        let table = format!("id,price,currency,attribute:round\nflt-1,{},EUR,{round}\n", 20.0 + round as f64 / 100.0);
        let (_, _) = tokio::join!(seller, own);
        let (_, _) = tokio::join!(
            house.send("DELETE", "/v1/products/flt-1/sellers/s-2/offer", &house.shop, &[], None),
            import(&house, "", "text/csv", table)
        );
        let read = house.get("/v1/products/flt-1", &house.shop).await.json;
        let is = (&read["price"]["minor"], &read["sellers"][0]["price"]["minor"], &read["attributes"]["round"]);
        assert_eq!(is, (&json!(2000 + round), &json!(1000 + round), &json!(round.to_string())), "round {round}");
    }
}

#[tokio::test]
async fn a_product_keeps_the_currency_of_its_sellers() {
    let house = house().await;
    house.ok("PUT", "/v1/products/flt-1", &house.shop, product()).await;
    let offer = json!({"price": {"minor": 1500, "currency": "EUR"}});
    house.ok("PUT", "/v1/products/flt-1/sellers/s-1/offer", &house.shop, offer).await;
    let in_francs = with(|p| {
        p["price"]["currency"] = json!("CHF");
        p["delivery"]["currency"] = json!("CHF");
    });
    let told = house.call("PUT", "/v1/products/flt-1", &house.shop, in_francs.clone()).await;
    assert_eq!((told.status, &told.json["pointer"]), (422, &json!("/price/currency")), "{}", told.text);
    assert!(told.text.contains("s-1 (EUR)"), "{}", told.text);
    house.send("DELETE", "/v1/products/flt-1/sellers/s-1/offer", &house.shop, &[], None).await;
    house.ok("PUT", "/v1/products/flt-1", &house.shop, in_francs).await;
}
