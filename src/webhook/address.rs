//! Where a webhook may lead: from a URL to a place, and from a name's addresses to one that may be
//! spoken to. A tenant must not reach through the gateway what only the gateway can reach.
//!
//! A name is looked up, each of its addresses is checked, and the connection goes to the address
//! that was checked: a name that answers otherwise a moment later gains nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Characters of a URL.
pub const URL_CHARS_MAX: usize = 2_048;
/// The ports of webhooks: other ports lead to other services.
pub const PORTS: [u16; 2] = [443, 8443];
/// Names that lead to no public place, by their last part.
const PRIVATE_ENDINGS: [&str; 11] =
    ["localhost", "local", "internal", "intranet", "lan", "home", "corp", "private", "localdomain", "arpa", "onion"];

/// How far webhooks may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Public places over https.
    #[default]
    Public,
    /// The same, and this machine's loopback by http or https on any port: for tests and the demo.
    LoopbackToo,
}

/// A URL that may be spoken to, as far as it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The name or address, as written.
    pub host: String,
    /// The address, where it is one.
    pub ip: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Path and query.
    pub target: String,
}

impl Place {
    /// As a `Host` header has it.
    pub fn authority(&self) -> String {
        let host = match self.ip {
            Some(IpAddr::V6(ip)) => format!("[{ip}]"),
            Some(IpAddr::V4(_)) | None => self.host.clone(),
        };
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

/// Why a URL or an address is not spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreachable {
    /// It is no URL.
    NotAUrl(String),
    /// It is too long.
    TooLong,
    /// It has a character that URLs do not have: a space, a backslash, a letter beyond ASCII.
    Character,
    /// Another scheme than https.
    Scheme,
    /// A name and password before the host.
    UserInfo,
    /// A `#` and what follows: it would never be sent.
    Fragment,
    /// Another port than 443 and 8443.
    Port(u16),
    /// A host that is written otherwise than it is read.
    Disguised,
    /// A name without a dot, or with an ending that no public name has.
    PrivateName,
    /// An address that is not public.
    Address(IpAddr, &'static str),
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreachable::NotAUrl(why) => write!(f, "this is no URL: {why}"),
            Unreachable::TooLong => write!(f, "a webhook's URL has at most {URL_CHARS_MAX} characters"),
            Unreachable::Character => {
                f.write_str("a URL has no spaces, backslashes, quotes or letters beyond ASCII; write them percent-encoded, and the host as `xn--…`")
            }
            Unreachable::Scheme => f.write_str("webhooks speak https only; write `https://…`"),
            Unreachable::UserInfo => {
                f.write_str("leave the name and password out of the URL; the signature says who sends")
            }
            Unreachable::Fragment => f.write_str("leave out `#` and what follows it; it is never sent"),
            Unreachable::Port(port) => write!(f, "port {port} is not one of webhooks; use 443 or 8443"),
            Unreachable::Disguised => {
                f.write_str("write the host plainly: a name in lower-case ASCII, or an address in its usual form")
            }
            Unreachable::PrivateName => {
                f.write_str("the host is no public name; write its full name, such as `hooks.shop.example`")
            }
            Unreachable::Address(ip, why) => write!(f, "{ip} is {why}; a webhook goes to a public address"),
        }
    }
}

/// Reads a URL and checks all that it shows.
pub fn read(text: &str, reach: Reach) -> Result<Place, Unreachable> {
    if text.len() > URL_CHARS_MAX {
        return Err(Unreachable::TooLong);
    }
    // Parsers drop tabs and line ends and read `\` as `/`; others do not, and disagree about the host.
    if !text.bytes().all(|c| c.is_ascii_graphic()) || text.contains(['\\', '"', '<', '>', '^', '`', '{', '|', '}']) {
        return Err(Unreachable::Character);
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(|| Unreachable::NotAUrl("it has no `://`".to_owned()))?;
    let tls = scheme.eq_ignore_ascii_case("https");
    if !tls && !scheme.eq_ignore_ascii_case("http") {
        return Err(Unreachable::Scheme);
    }
    if rest.contains('#') {
        return Err(Unreachable::Fragment);
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(Unreachable::UserInfo);
    }
    let url = Url::parse(text).map_err(|error| Unreachable::NotAUrl(error.to_string()))?;
    let host = url.host().ok_or_else(|| Unreachable::NotAUrl("it has no host".to_owned()))?;
    let (name, ip) = match host {
        Host::Domain(name) => (name.to_owned(), None),
        Host::Ipv4(ip) => (ip.to_string(), Some(IpAddr::V4(ip))),
        Host::Ipv6(ip) => (ip.to_string(), Some(IpAddr::V6(ip))),
    };
    let written = authority.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let written = written.unwrap_or_else(|| authority.split(':').next().unwrap_or_default());
    let port = url.port_or_known_default().unwrap_or_default();
    let place = Place { host: name, ip, port, tls, target: target_of(&url) };
    if reach == Reach::LoopbackToo && is_this_machine(&place) {
        return Ok(place);
    }
    // First what the address is: who writes 0x7f.1 learns why it is refused.
    if let Some(ip) = ip {
        check(ip, reach)?;
    }
    if !written.eq_ignore_ascii_case(&place.host) {
        return Err(Unreachable::Disguised);
    }
    if ip.is_none() && is_private_name(&place.host) {
        return Err(Unreachable::PrivateName);
    }
    if !tls {
        return Err(Unreachable::Scheme);
    }
    if !PORTS.contains(&port) {
        return Err(Unreachable::Port(port));
    }
    Ok(place)
}

fn target_of(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

fn is_this_machine(place: &Place) -> bool {
    place.host == "localhost" || place.ip.is_some_and(|ip| ip.is_loopback())
}

fn is_private_name(name: &str) -> bool {
    let labels: Vec<&str> = name.split('.').collect();
    let last = labels.last().copied().unwrap_or_default();
    labels.len() < 2 || labels.iter().any(|label| label.is_empty()) || PRIVATE_ENDINGS.contains(&last)
}

/// Whether an address may be spoken to.
pub fn check(ip: IpAddr, reach: Reach) -> Result<(), Unreachable> {
    if reach == Reach::LoopbackToo && ip.is_loopback() {
        return Ok(());
    }
    let why = match ip {
        IpAddr::V4(ip) => not_public_v4(ip),
        IpAddr::V6(ip) => not_public_v6(ip),
    };
    why.map_or(Ok(()), |why| Err(Unreachable::Address(ip, why)))
}

/// Why an address is none of the public internet. The registry of special-purpose addresses, with
/// what clouds keep for themselves.
fn not_public_v4(ip: Ipv4Addr) -> Option<&'static str> {
    Some(match ip.octets() {
        [0, ..] => "of \"this network\"",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "private",
        [100, 64..=127, ..] => "behind a provider's address translation",
        [127, ..] => "this machine",
        [168, 63, 129, 16] => "a cloud's own service",
        [169, 254, ..] => "link-local, where clouds keep their metadata",
        [192, 0, 0, _] | [192, 88, 99, _] => "kept for protocols",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "for documentation",
        [198, 18..=19, ..] => "for measurements",
        [224..=239, ..] => "multicast",
        [240..=255, ..] => "reserved",
        _ => return None,
    })
}

fn not_public_v6(ip: Ipv6Addr) -> Option<&'static str> {
    Some(match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => "this machine",
        [0, 0, 0, 0, 0, 0, 0, 0] => "unspecified",
        [0, 0, 0, 0, 0, 0xffff, ..] => "an IPv4 address in disguise",
        [0, 0, 0, 0, 0, 0, ..] => "an IPv4 address in disguise",
        [0x64, 0xff9b, ..] => "an IPv4 address behind NAT64",
        [0xfc00..=0xfdff, ..] => "private",
        [0xfe80..=0xfebf, ..] => "link-local",
        [0xfec0..=0xfeff, ..] => "site-local",
        [0xff00..=0xffff, ..] => "multicast",
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => "for documentation",
        [0x2001, 0..=0x1ff, ..] => "kept for protocols",
        [0x2002, ..] => "an IPv4 address behind 6to4",
        [0x2000..=0x3fff, ..] => return None,
        _ => "reserved",
    })
}

#[cfg(test)]
#[path = "hostile.rs"]
mod hostile;
