//! Every hostile URL of `hostile.txt` is refused, and for its own reason; what passes is what a shop
//! would write.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// The word in the list for a reason.
fn word(why: &Unreachable) -> &'static str {
    match why {
        Unreachable::NotAUrl(_) => "url",
        Unreachable::TooLong => "long",
        Unreachable::Character => "character",
        Unreachable::Scheme => "scheme",
        Unreachable::UserInfo => "userinfo",
        Unreachable::Fragment => "fragment",
        Unreachable::Port(_) => "port",
        Unreachable::Disguised => "disguised",
        Unreachable::PrivateName => "private",
        Unreachable::Address(..) => "address",
    }
}

fn hostile() -> Vec<(&'static str, &'static str)> {
    let lines = include_str!("hostile.txt").lines().filter(|line| !line.starts_with("# "));
    lines.map(|line| line.split_once('\t').unwrap()).collect()
}

#[test]
fn every_hostile_url_is_refused_for_its_own_reason() {
    let hostile = hostile();
    assert!(hostile.len() >= 200, "{} URLs", hostile.len());
    let mut wrong = Vec::new();
    for (expected, url) in &hostile {
        match read(url, Reach::Public) {
            Err(why) if word(&why) == *expected && !why.to_string().is_empty() => {}
            other => wrong.push(format!("{url}: expected {expected}, got {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), hostile.len(), wrong.join("\n"));
    let long = format!("https://hooks.shop.example/{}", "x".repeat(URL_CHARS_MAX));
    assert_eq!(read(&long, Reach::Public), Err(Unreachable::TooLong));
    println!("{} hostile URLs refused", hostile.len() + 1);
}

#[test]
fn the_flag_of_tests_opens_loopback_and_nothing_else() {
    for (_, url) in hostile() {
        if let Ok(place) = read(url, Reach::LoopbackToo) {
            assert!(is_this_machine(&place), "{url} leads to {place:?}");
        }
    }
    for url in ["http://127.0.0.1:39999/x", "http://localhost:1/", "https://[::1]:9/", "http://127.0.0.1/"] {
        assert!(read(url, Reach::LoopbackToo).is_ok(), "{url}");
        assert!(read(url, Reach::Public).is_err(), "{url}");
    }
}

#[test]
fn what_a_shop_writes_is_taken_as_it_is_written() {
    for (url, authority, target) in [
        ("https://hooks.shop.example", "hooks.shop.example", "/"),
        ("https://hooks.shop.example/a/b?c=d&e=%20f", "hooks.shop.example", "/a/b?c=d&e=%20f"),
        ("HTTPS://Hooks.Shop.Example:443/", "hooks.shop.example", "/"),
        ("https://hooks.shop.example:8443/x", "hooks.shop.example:8443", "/x"),
        ("https://xn--shp-sna.example/", "xn--shp-sna.example", "/"),
        ("https://8.8.8.8/x", "8.8.8.8", "/x"),
        ("https://[2606:4700::1111]/x", "[2606:4700::1111]", "/x"),
        ("https://10.0.0.1.shop.example/", "10.0.0.1.shop.example", "/"),
    ] {
        let place = read(url, Reach::Public).unwrap_or_else(|why| panic!("{url}: {why}"));
        assert_eq!((place.authority().as_str(), place.target.as_str()), (authority, target));
        assert!(place.tls);
    }
}

#[test]
fn public_addresses_pass_up_to_the_edge_of_each_network() {
    for ip in [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2000::",
        "2001:200::",
        "2001:db7:ffff::1",
        "2001:db9::",
        "2003::",
        "2606:4700::1111",
        "3ffe:ffff::1",
        "3fff:1000::",
    ] {
        assert_eq!(check(ip.parse().unwrap(), Reach::Public), Ok(()), "{ip}");
    }
}

proptest! {
    /// Whatever somebody writes: it is refused, or it is a public place over TLS on a port of webhooks.
    #[test]
    fn no_text_leads_inside(
        text in prop_oneof![
            "\\PC{0,60}",
            "https://[0-9a-fx.:%\\[\\]@\\\\/#?]{1,40}",
            "https?://[a-z0-9.%@:-]{1,30}(:[0-9]{1,6})?/[a-z?#@:]{0,10}",
            (any::<u32>(), any::<u16>()).prop_map(|(ip, port)| format!("https://{ip}:{port}/")),
            any::<[u16; 8]>().prop_map(|ip| format!("https://[{}]/", std::net::Ipv6Addr::from(ip))),
            any::<u32>().prop_map(|ip| format!("https://[::ffff:{}]/", std::net::Ipv4Addr::from(ip))),
        ]
    ) {
        match read(&text, Reach::Public) {
            Ok(place) => {
                prop_assert!(place.tls && PORTS.contains(&place.port), "{text}: {place:?}");
                prop_assert!(place.ip.is_none_or(|ip| check(ip, Reach::Public).is_ok()), "{text}: {place:?}");
                let is_a_number = place.host.split('.').all(|part| part.parse::<u64>().is_ok());
                prop_assert!(place.ip.is_some() || !is_a_number, "{text}: an address that is taken for a name");
                prop_assert!(place.target.starts_with('/') && !place.authority().contains(['@', '/', '#', '?']));
            }
            Err(why) => prop_assert!(!why.to_string().is_empty()),
        }
    }
}
