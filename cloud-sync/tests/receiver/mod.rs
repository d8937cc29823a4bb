//! A receiver on a real port that follows a script, one play for each request, and then takes everything.

use flate2::read::GzDecoder;
use serde_json::Value;
use std::collections::{BTreeSet, VecDeque};
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to one request.
#[derive(Debug, Clone)]
pub enum Play {
    /// This status with these headers, and nothing stored.
    Status(u16, &'static str),
    /// Reads the request and cuts the connection.
    Cut,
    /// Stores the events, then cuts the connection within the answer.
    StoreThenCut,
    /// Stores the events, then sends the answer too slowly.
    StoreThenStall,
    /// Answers 200 with more than anyone should read.
    Flood,
    /// Answers 200 with a page that is no JSON.
    Page,
}

/// What the receiver refuses by itself.
#[derive(Debug, Clone, Default)]
pub struct Taste {
    /// Ids that are rejected item by item.
    pub rejects: BTreeSet<String>,
    /// Ids that make it refuse the whole batch with 400.
    pub poison: BTreeSet<String>,
    /// More events than that are 413.
    pub max_events: Option<usize>,
}

/// The receiver and what it saw.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    script: Arc<Mutex<VecDeque<Play>>>,
    taste: Taste,
    /// Ids in the order in which they were first stored.
    pub stored: Arc<Mutex<Vec<String>>>,
    /// Unpacked bodies.
    pub bodies: Arc<Mutex<Vec<String>>>,
    /// When each request came.
    pub times: Arc<Mutex<Vec<tokio::time::Instant>>>,
}

impl Receiver {
    pub async fn start(script: impl IntoIterator<Item = Play>, taste: Taste) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), script, taste).await
    }

    pub async fn start_at(addr: SocketAddr, script: impl IntoIterator<Item = Play>, taste: Taste) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(script.into_iter().collect()));
        let receiver = Self {
            url,
            script,
            taste,
            stored: Arc::default(),
            bodies: Arc::default(),
            times: Arc::default(),
        };
        let own = receiver.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let own = own.clone();
                tokio::spawn(async move { own.serve(stream).await });
            }
        });
        receiver
    }

    pub fn stored(&self) -> Vec<String> {
        self.stored.lock().unwrap().clone()
    }

    pub fn requests(&self) -> usize {
        self.bodies.lock().unwrap().len()
    }

    async fn serve(&self, mut stream: TcpStream) {
        while let Some(body) = read_request(&mut stream).await {
            self.times.lock().unwrap().push(tokio::time::Instant::now());
            self.bodies.lock().unwrap().push(body.clone());
            let events: Vec<Value> = serde_json::from_str(&body).unwrap();
            let ids: Vec<String> = events.iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect();
            let play = self.script.lock().unwrap().pop_front();
            let answer = match play {
                None => self.take(&ids),
                Some(Play::Status(status, headers)) => reply(status, headers, "{}"),
                Some(Play::Cut) => return,
                Some(Play::StoreThenCut) => {
                    let whole = self.take(&ids);
                    let half = &whole.as_bytes()[..whole.len() - 5];
                    stream.write_all(half).await.unwrap();
                    return;
                }
                Some(Play::StoreThenStall) => {
                    let whole = self.take(&ids);
                    let half = &whole.as_bytes()[..whole.len() - 5];
                    stream.write_all(half).await.unwrap();
                    tokio::time::sleep(Duration::from_secs(20)).await;
                    return;
                }
                Some(Play::Flood) => reply(200, "", &"x".repeat(1_000_000)),
                Some(Play::Page) => reply(200, "", "<html>please log in</html>"),
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn take(&self, ids: &[String]) -> String {
        if self.taste.max_events.is_some_and(|max| ids.len() > max) {
            return reply(413, "", "{}");
        }
        if ids.iter().any(|id| self.taste.poison.contains(id)) {
            return reply(400, "", r#"{"error":"poison"}"#);
        }
        let mut stored = self.stored.lock().unwrap();
        let (mut accepted, mut duplicates, mut rejected) = (0, 0, vec![]);
        for id in ids {
            if self.taste.rejects.contains(id) {
                rejected.push(serde_json::json!({"id": id, "reason": "not to my taste"}));
            } else if stored.contains(id) {
                duplicates += 1;
            } else {
                stored.push(id.clone());
                accepted += 1;
            }
        }
        let answer =
            serde_json::json!({"accepted": accepted, "duplicates": duplicates, "rejected": rejected});
        reply(200, "", &answer.to_string())
    }
}

fn reply(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("post /v1/events http/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: bearer secret\r\n"), "{head}");
    assert!(head.contains("content-type: application/cloudevents-batch+json\r\n"), "{head}");
    assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    let mut text = String::new();
    GzDecoder::new(body.as_slice()).read_to_string(&mut text).unwrap();
    Some(text)
}
