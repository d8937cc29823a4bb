//! A plain HTTP client for loopback.

use super::PATIENCE;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// The answer to `GET path`: its status and its body.
pub fn fetch(at: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    fetch_as(at, path, None)
}

/// The same, asked by a program that has a token.
pub fn fetch_as(at: SocketAddr, path: &str, token: Option<&str>) -> std::io::Result<(u16, String)> {
    let who = authorization(token);
    // Of HTTP 1.0 nobody answers a long one in chunks.
    exchange(at, &format!("GET {path} HTTP/1.0\r\nhost: {at}\r\n{who}\r\n"))
}

fn authorization(token: Option<&str>) -> String {
    token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"))
}

/// The answer to `POST path` with a JSON body: its status and its body.
pub fn post(at: SocketAddr, path: &str, body: &Value) -> std::io::Result<(u16, String)> {
    post_as(at, path, body, None)
}

/// The same, asked by a program that has a token.
pub fn post_as(
    at: SocketAddr,
    path: &str,
    body: &Value,
    token: Option<&str>,
) -> std::io::Result<(u16, String)> {
    let (body, who) = (body.to_string(), authorization(token));
    let head = format!("POST {path} HTTP/1.1\r\nhost: {at}\r\n{who}content-type: application/json\r\n");
    exchange(at, &format!("{head}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()))
}

fn exchange(at: SocketAddr, request: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let bad = || std::io::Error::other(format!("no HTTP: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(bad)?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(bad)?;
    Ok((status, body.to_owned()))
}

/// The JSON at `path`; a server that does not answer with success fails the test.
pub fn json(at: SocketAddr, path: &str) -> Value {
    json_as(at, path, None)
}

/// The same, asked by a program that has a token.
pub fn json_as(at: SocketAddr, path: &str, token: Option<&str>) -> Value {
    let (status, body) = fetch_as(at, path, token).expect("the server answers");
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("the answer is JSON")
}
