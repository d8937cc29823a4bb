//! Who may change something over HTTP. The gateway's page has no login, so there only a program on this machine may; at the NOC
//! people log in (`door`), and a page of somebody else must not act for them.
//!
//! A page of another origin that is open in a browser here must not be able to post, nor one whose name was made to point
//! here.

use axum::http::{HeaderMap, StatusCode, header};
use std::net::IpAddr;

/// Why a request is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    /// It comes from another machine.
    #[error("that is done on this machine only: ask here, or through a proxy here")]
    Elsewhere,
    /// Its `Host` is a name that somebody else may own.
    #[error("the Host header must be an address of this machine or localhost; let a proxy send it so")]
    Host,
    /// A page of somebody else sends it.
    #[error("a page of another origin may not do that")]
    Origin,
    /// It is no JSON, as a form of any page could send it.
    #[error("Content-Type must be application/json")]
    ContentType,
}

impl Stranger {
    /// The status of the answer.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Elsewhere | Self::Host | Self::Origin => StatusCode::FORBIDDEN,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }
}

/// Whether something may be changed: by a program on this machine, and in JSON.
pub fn admit(peer: IpAddr, headers: &HeaderMap) -> Result<(), Stranger> {
    admit_from_here(peer, headers)?;
    is_json(headers)
}

/// Whether a body is called JSON.
pub fn is_json(headers: &HeaderMap) -> Result<(), Stranger> {
    let kind =
        text(headers, &header::CONTENT_TYPE).and_then(|kind| kind.split(';').next()).unwrap_or_default();
    if kind.trim().eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(Stranger::ContentType) }
}

/// Whether a request comes from this machine, and not from a page that only passes through a browser on it.
pub fn admit_from_here(peer: IpAddr, headers: &HeaderMap) -> Result<(), Stranger> {
    if !peer.to_canonical().is_loopback() {
        return Err(Stranger::Elsewhere);
    }
    text(headers, &header::HOST).filter(|host| is_no_name(host)).ok_or(Stranger::Host)?;
    is_from_a_page_here(headers)
}

/// Whether a request that a browser sends comes from a page of this server, by whatever name it is called. What is no browser says
/// neither `Origin` nor `Sec-Fetch-Site`, and passes.
pub fn is_from_a_page_here(headers: &HeaderMap) -> Result<(), Stranger> {
    let host = text(headers, &header::HOST).unwrap_or_default();
    let fetched = headers.get("sec-fetch-site").map(|value| value.as_bytes());
    let foreign = fetched.is_some_and(|site| site != b"same-origin" && site != b"none");
    let same = |origin: &str| {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    };
    let sent_by_another =
        headers.contains_key(header::ORIGIN) && !text(headers, &header::ORIGIN).is_some_and(same);
    if foreign || sent_by_another { Err(Stranger::Origin) } else { Ok(()) }
}

fn text<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether a host is an address, or the one name that always means this machine: any other may be made to.
fn is_no_name(host: &str) -> bool {
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let name = match bracketed {
        Some((address, _port)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _port)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn admitted(peer: &str, more: &[(&'static str, &'static str)]) -> Result<(), Stranger> {
        let usual = [("host", "127.0.0.1:8080"), ("content-type", "application/json")];
        let all = usual.iter().chain(more).filter(|(_, value)| !value.is_empty());
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        if more.iter().any(|(_, value)| value.is_empty()) {
            headers.remove(more[0].0);
        }
        admit(peer.parse().unwrap(), &headers)
    }

    #[test]
    fn only_this_machine_and_its_own_page_change_something() {
        let here = "127.0.0.1";
        type Row = (&'static str, &'static [(&'static str, &'static str)], Result<(), Stranger>);
        let table: [Row; 19] = [
            (here, &[], Ok(())),
            ("::1", &[("host", "[::1]:8080")], Ok(())),
            ("::ffff:127.0.0.1", &[], Ok(())),
            ("10.1.2.3", &[], Err(Stranger::Elsewhere)),
            (here, &[("host", "localhost:8080")], Ok(())),
            (here, &[("host", "LOCALHOST")], Ok(())),
            (here, &[("host", "evil.example.org:8080")], Err(Stranger::Host)),
            (here, &[("host", "127.0.0.1.evil.example.org")], Err(Stranger::Host)),
            (here, &[("host", "")], Err(Stranger::Host)),
            (here, &[("origin", "http://127.0.0.1:8080")], Ok(())),
            (here, &[("origin", "http://127.0.0.1:9090")], Err(Stranger::Origin)),
            (here, &[("origin", "http://evil.example.org")], Err(Stranger::Origin)),
            (here, &[("origin", "null")], Err(Stranger::Origin)),
            (here, &[("sec-fetch-site", "same-origin")], Ok(())),
            (here, &[("sec-fetch-site", "cross-site")], Err(Stranger::Origin)),
            (here, &[("sec-fetch-site", "same-site")], Err(Stranger::Origin)),
            (here, &[("content-type", "application/json; charset=utf-8")], Ok(())),
            (here, &[("content-type", "text/plain")], Err(Stranger::ContentType)),
            (here, &[("content-type", "")], Err(Stranger::ContentType)),
        ];
        for (peer, more, expected) in table {
            assert_eq!(admitted(peer, more), expected, "{peer} {more:?}");
        }
    }
}
