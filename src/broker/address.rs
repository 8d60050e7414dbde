//! Where a broker is, as people write it: `mqtt://host:1883`, `mqtts://host:8883`.

use std::fmt;
use std::str::FromStr;

/// The port of plain MQTT.
const PORT_PLAIN: u16 = 1883;
/// The port of MQTT over TLS.
const PORT_TLS: u16 = 8883;

/// A broker's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether to speak TLS.
    pub tls: bool,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let shown: String = text.chars().take(80).collect();
        let bad = |why: &str| format!("is `{shown}`: {why}; write mqtt://host:1883 or mqtts://host:8883");
        let (tls, rest) = match text.split_once("://") {
            Some(("mqtt", rest)) => (false, rest),
            Some(("mqtts", rest)) => (true, rest),
            Some((other, _)) => return Err(bad(&format!("`{other}` is no transport of the broker link"))),
            None => return Err(bad("the transport is missing")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(bad("a broker has no path"));
        }
        if rest.contains('@') {
            return Err(bad("user name and password have keys of their own"));
        }
        let default = if tls { PORT_TLS } else { PORT_PLAIN };
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, after)) => (host, Some(after.strip_prefix(':').ok_or_else(|| bad("the port is no port"))?)),
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(|| bad("the port is no port"))?,
            None => default,
        };
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(bad("the host is missing"));
        }
        Ok(Address { host: host.to_owned(), port, tls })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for (text, shown) in [
            ("mqtt://hub", "mqtt://hub:1883"),
            ("mqtts://hub.example/", "mqtts://hub.example:8883"),
            ("mqtt://127.0.0.1:40000", "mqtt://127.0.0.1:40000"),
            ("mqtts://[::1]:8884", "mqtts://[::1]:8884"),
        ] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()).as_deref(), Ok(shown));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_cure() {
        for text in
            ["hub:1883", "http://hub", "mqtt://", "mqtt://hub:0", "mqtt://u:p@hub", "mqtt://hub/x", "mqtt://[::1]x"]
        {
            let problem = text.parse::<Address>();
            assert!(problem.as_ref().is_err_and(|why| why.contains("mqtt://host:1883")), "{text}: {problem:?}");
        }
    }
}
