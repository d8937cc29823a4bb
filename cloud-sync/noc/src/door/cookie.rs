//! The cookie of a session: no script reads it, no other page sends it, and where there is TLS it goes over nothing else.

use crate::access::sessions;
use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

/// Over TLS the browser itself holds it to one host and to TLS, by its name.
const OVER_TLS: &str = "__Host-vigil";
const IN_CLEAR: &str = "vigil";

const fn name(over_tls: bool) -> &'static str {
    if over_tls { OVER_TLS } else { IN_CLEAR }
}

/// What a request brings.
pub fn of(headers: &HeaderMap, over_tls: bool) -> Option<&str> {
    let sent = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = sent.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name(over_tls)).map(|(_, value)| value)
}

/// Gives one to a browser.
pub fn set(secret: &str, over_tls: bool) -> Option<HeaderValue> {
    header(secret, sessions::LIFE.millis() / 1_000, over_tls)
}

/// Takes it away.
pub fn cleared(over_tls: bool) -> Option<HeaderValue> {
    header("", 0, over_tls)
}

fn header(value: &str, secs: i64, over_tls: bool) -> Option<HeaderValue> {
    let secure = if over_tls { "; Secure" } else { "" };
    let text =
        format!("{}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={secs}{secure}", name(over_tls));
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_comes_back_as_it_was_given_and_not_across_tls() {
        let given = set("abc", true).unwrap();
        let text = given.to_str().unwrap();
        assert_eq!(text, "__Host-vigil=abc; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200; Secure");
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static("a=b; __Host-vigil=abc; vigil=plain"));
        assert_eq!((of(&headers, true), of(&headers, false)), (Some("abc"), Some("plain")));
        assert!(!set("abc", false).unwrap().to_str().unwrap().contains("Secure"));
        assert!(cleared(true).unwrap().to_str().unwrap().contains("Max-Age=0"));
    }
}
