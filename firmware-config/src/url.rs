//! The address of a server, in parts.

use crate::value::Read;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use toml::de::DeValue;

/// The longest address, as long as common servers take one.
const MAX_URL_BYTES: usize = 2_048;

/// A scheme, its default port, and whether it is TLS.
pub(crate) type Scheme = (&'static str, u16, bool);

/// MQTT, plain and with TLS.
pub(crate) const MQTT: [Scheme; 2] = [("mqtt", 1883, false), ("mqtts", 8883, true)];
/// HTTP, plain and with TLS.
pub(crate) const HTTP: [Scheme; 2] = [("http", 80, false), ("https", 443, true)];

/// The address of a server: scheme, host, port and path, nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    scheme: &'static str,
    secure: bool,
    host: String,
    port: u16,
    path: String,
}

impl Url {
    /// The scheme, like `https`.
    pub const fn scheme(&self) -> &'static str {
        self.scheme
    }
    /// Whether it is TLS.
    pub const fn is_secure(&self) -> bool {
        self.secure
    }
    /// The host name or address, without the brackets of IPv6.
    pub fn host(&self) -> &str {
        &self.host
    }
    /// The port, written or by the scheme.
    pub const fn port(&self) -> u16 {
        self.port
    }
    /// The path without a slash at its end; empty or beginning with a slash.
    pub fn path(&self) -> &str {
        &self.path
    }
    /// Whether the server is this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// This machine: what stands in for an address that cannot be read.
    pub(crate) fn stand_in((scheme, port, secure): Scheme) -> Self {
        Self { scheme, secure, host: "localhost".into(), port, path: String::new() }
    }

    fn parse(text: &str, schemes: &[Scheme]) -> Option<Self> {
        let printable = text.len() <= MAX_URL_BYTES && text.bytes().all(|b| b.is_ascii_graphic());
        let (name, rest) = text.split_once("://").filter(|_| printable)?;
        let (scheme, default_port, secure) = *schemes.iter().find(|(known, ..)| *known == name)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if text.contains(['@', '?', '#']) {
            return None;
        }
        let (host, port) = host_and_port(authority)?;
        let path = path.trim_end_matches('/').to_owned();
        Some(Self { scheme, secure, host, port: port.unwrap_or(default_port), path })
    }
}

fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        let port = if port.is_empty() { None } else { Some(port_of(port.strip_prefix(':')?)?) };
        return Some((host.to_owned(), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port_of(port)?)),
        None => (authority, None),
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    ((1..=253).contains(&host.len()) && host.bytes().all(legal)).then(|| (host.to_ascii_lowercase(), port))
}

fn port_of(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0 && !text.starts_with('+'))
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}://{open}{}{close}:{}{}", self.scheme, self.host, self.port, self.path)
    }
}

/// The address of a broker.
pub(crate) fn broker(value: &DeValue<'_>) -> Read<Url> {
    let url = value.as_str().and_then(|t| Url::parse(t, &MQTT)).filter(|url| url.path.is_empty());
    url.ok_or_else(|| "mqtts://host:port or mqtt://host:port; name and password have their own keys".into())
}

/// The address of a receiver: over TLS, or on this machine.
pub(crate) fn receiver(value: &DeValue<'_>) -> Read<Url> {
    let url = value.as_str().and_then(|t| Url::parse(t, &HTTP));
    let url = url.filter(|url| url.secure || url.is_loopback());
    url.ok_or_else(|| "https://host/path (http:// only to this machine); a token has its own key".into())
}

/// Where a webhook goes, as it is written: a path that ends in a slash is another one, and hooks may have a query.
pub(crate) fn hook(value: &DeValue<'_>) -> Read<String> {
    let is_one = |text: &&str| {
        let plain = text.split_once('?').map_or(*text, |(plain, _)| plain);
        let query = text.get(plain.len()..).unwrap_or_default();
        let fits =
            text.len() <= MAX_URL_BYTES && !text.contains('#') && query.bytes().all(|b| b.is_ascii_graphic());
        fits && Url::parse(plain, &HTTP).is_some_and(|url| url.secure || url.is_loopback())
    };
    value.as_str().filter(is_one).map(str::to_owned).ok_or_else(|| {
        "https://host/path (http:// only to this machine); what it is signed with has its own key".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_apart_and_together() {
        let url = Url::parse("https://noc.example.org/v1/", &HTTP).unwrap();
        assert_eq!((url.host(), url.port(), url.path()), ("noc.example.org", 443, "/v1"));
        assert_eq!(url.to_string(), "https://noc.example.org:443/v1");
        let six = Url::parse("mqtts://[::1]:8884", &MQTT).unwrap();
        assert_eq!((six.host(), six.port(), six.is_loopback()), ("::1", 8884, true));
        assert_eq!(six.to_string(), "mqtts://[::1]:8884");
    }

    #[test]
    fn what_is_no_plain_address_is_refused() {
        let bad = [
            "noc.example.org",
            "ftp://x",
            "https://",
            "https://:1",
            "https://a b",
            "https://x:0",
            "https://x:99999",
            "https://u:p@x",
            "https://x?a",
            "https://x#a",
            "https://[::1",
            "https://[zz]",
            "https://x:+1",
            "https://é",
        ];
        for text in bad {
            assert!(Url::parse(text, &HTTP).is_none(), "{text}");
        }
    }

    #[test]
    fn a_webhook_goes_where_it_is_written() {
        for (text, is_one) in [
            ("https://hooks.example.org/a/?sig=x%2Fy", true),
            ("http://127.0.0.1:9/a", true),
            ("http://hooks.example.org/a", false),
            ("https://u:p@hooks.example.org/a", false),
            ("https://hooks.example.org/a#b", false),
            ("https://hooks.example.org/a?b c", false),
        ] {
            assert_eq!(hook(&DeValue::String(text.into())).is_ok(), is_one, "{text}");
        }
    }

    #[test]
    fn plain_http_goes_no_further_than_this_machine() {
        assert!(receiver(&DeValue::String("http://127.0.0.1:9/v1".into())).is_ok());
        assert!(receiver(&DeValue::String("http://noc.example.org/v1".into())).is_err());
    }
}
