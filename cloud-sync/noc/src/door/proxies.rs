//! From where a request comes, if somebody stands in front.

use axum::http::HeaderMap;
use std::net::IpAddr;

/// The reverse proxies that are believed: what `X-Forwarded-For` and `X-Forwarded-Proto` say is anybody's word otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpAddr>);

impl Proxies {
    /// These.
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self(addresses.into_iter().map(|address| address.to_canonical()).collect())
    }

    fn has(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// The last address before those that are believed. What stands before that one the client may have made up.
    pub fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.has(peer) {
            return peer.to_canonical();
        }
        let told = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let told: Vec<&str> = told.flat_map(|value| value.split(',')).map(str::trim).collect();
        let mut nearest = peer;
        for hop in told.into_iter().rev() {
            let Some(address) = address(hop) else { break };
            nearest = address;
            if !self.has(address) {
                break;
            }
        }
        nearest.to_canonical()
    }

    /// Whether the browser came over TLS to the proxy.
    pub fn came_over_tls(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        self.has(peer) && headers.get("x-forwarded-proto").is_some_and(|told| told.as_bytes() == b"https")
    }
}

/// An address, with or without a port.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(hop);
    let with_port = || hop.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_a_proxy_that_is_named_is_believed() {
        let proxies = Proxies::new(["127.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()]);
        let table = [
            ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
            ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
            ("127.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
            ("::ffff:127.0.0.1", "1.1.1.1, 203.0.113.9:4711, 10.0.0.2", "203.0.113.9"),
            ("127.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
            ("127.0.0.1", "1.1.1.1, unknown", "127.0.0.1"),
            ("127.0.0.1", "10.0.0.2", "10.0.0.2"),
        ];
        for (peer, told, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", HeaderValue::from_static(told));
            let found = proxies.origin(peer.parse().unwrap(), &headers);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {told}");
        }
        let mut headers = HeaderMap::new();
        assert!(!proxies.came_over_tls("127.0.0.1".parse().unwrap(), &headers));
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        assert!(proxies.came_over_tls("127.0.0.1".parse().unwrap(), &headers));
        assert!(!proxies.came_over_tls("192.0.2.1".parse().unwrap(), &headers));
    }
}
