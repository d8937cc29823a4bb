//! Something on a real port that answers as an Alertmanager does, in several moods.

use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use vigil_core::time::{Span, Timestamp};

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It takes everything.
    Well,
    /// It refuses a post in which this guard is.
    Poisoned(&'static str),
    /// It does not answer a post in which this guard is.
    Stalling(&'static str),
    /// Somebody else answers.
    Page,
}

/// It, and what it heard.
#[derive(Clone)]
pub struct Pager {
    pub url: String,
    mood: Arc<Mutex<Mood>>,
    ahead: Arc<Mutex<Span>>,
    posts: Arc<Mutex<Vec<Vec<Value>>>>,
    refused: Arc<Mutex<usize>>,
    stalled: Arc<Mutex<usize>>,
}

impl Pager {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pager = Self {
            url: format!("http://{}/pager/", listener.local_addr().unwrap()),
            mood: Arc::new(Mutex::new(Mood::Well)),
            ahead: Arc::default(),
            posts: Arc::default(),
            refused: Arc::default(),
            stalled: Arc::default(),
        };
        let own = pager.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let own = own.clone();
                tokio::spawn(async move { own.serve(stream).await });
            }
        });
        pager
    }

    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Its clock is so far ahead from now on.
    pub fn set_clock(&self, ahead: Span) {
        *self.ahead.lock().unwrap() = ahead;
    }

    /// What its clock shows if nobody set it.
    pub fn clock() -> Timestamp {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap())
    }

    /// The posts that it took, in order.
    pub fn posts(&self) -> Vec<Vec<Value>> {
        self.posts.lock().unwrap().clone()
    }

    pub fn refused(&self) -> usize {
        *self.refused.lock().unwrap()
    }

    pub fn stalled(&self) -> usize {
        *self.stalled.lock().unwrap()
    }

    async fn serve(&self, mut stream: TcpStream) {
        while let Some(post) = read_post(&mut stream).await {
            let has = |name: &str| post.iter().any(|posted| posted["labels"]["guard"] == name);
            let mood = *self.mood.lock().unwrap();
            let answer = match mood {
                Mood::Poisoned(name) if has(name) => {
                    *self.refused.lock().unwrap() += 1;
                    self.reply(400, "\"bad label\"")
                }
                Mood::Stalling(name) if has(name) => {
                    *self.stalled.lock().unwrap() += 1;
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    return;
                }
                Mood::Page => self.reply(200, "<html>please log in</html>"),
                Mood::Well | Mood::Poisoned(_) | Mood::Stalling(_) => {
                    self.posts.lock().unwrap().push(post);
                    self.reply(200, "")
                }
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn reply(&self, status: u16, body: &str) -> String {
        let shown = (Self::clock() + *self.ahead.lock().unwrap()).millis();
        let shown = UNIX_EPOCH + Duration::from_millis(u64::try_from(shown).unwrap());
        let date = httpdate::fmt_http_date(shown);
        format!("HTTP/1.1 {status} X\r\ndate: {date}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }
}

async fn read_post(stream: &mut TcpStream) -> Option<Vec<Value>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("post /pager/api/v2/alerts http/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: bearer secret\r\n"), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    assert!(!head.contains("content-encoding"), "an Alertmanager cannot unpack: {head}");
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some(serde_json::from_slice(&body).unwrap())
}
