//! What is outside: a server of webhooks, and one of mails, that do as they are told.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use vigil_noc::Server;

/// So long is waited for what has to come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How a webhook answers.
#[derive(Debug, Clone)]
pub enum Answer {
    Status(u16, &'static str),
    Wait(u64),
    Elsewhere(String),
    /// Nothing is ever said.
    Hang,
}

/// What came to a webhook.
#[derive(Debug, Clone)]
pub struct Came {
    pub at: Instant,
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Came {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// The ids of the alerts that it names.
    pub fn alerts(&self) -> Vec<String> {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        let alerts = body["data"]["alerts"].as_array().unwrap().iter();
        alerts.map(|alert| alert["id"].as_str().unwrap().to_owned()).collect()
    }
}

#[derive(Clone)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    came: mpsc::UnboundedSender<Came>,
}

/// A server of webhooks: it gives its answers in their order, and then takes everything.
pub struct Hook {
    pub at: SocketAddr,
    came: mpsc::UnboundedReceiver<Came>,
}

impl Hook {
    pub async fn open(answers: impl IntoIterator<Item = Answer>) -> Self {
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
        let at = server.local_addr();
        let (sender, came) = mpsc::unbounded_channel();
        let script = Script { answers: Arc::new(Mutex::new(answers.into_iter().collect())), came: sender };
        let routes = Router::new().fallback(take).with_state(script);
        tokio::spawn(server.serve(routes, std::future::pending()));
        Self { at, came }
    }

    pub fn url(&self) -> String {
        format!("http://{}/vigil/", self.at)
    }

    pub async fn next(&mut self) -> Came {
        tokio::time::timeout(PATIENCE, self.came.recv()).await.expect("a webhook comes").unwrap()
    }

    /// Whether something came that nobody has looked at.
    pub fn has_more(&mut self) -> bool {
        self.came.try_recv().is_ok()
    }
}

async fn take(State(script): State<Script>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let body = String::from_utf8(body.to_vec()).unwrap();
    let answer = script.answers.lock().unwrap().pop_front();
    script.came.send(Came { at: Instant::now(), path: uri.path().to_owned(), headers, body }).unwrap();
    let status = |status: u16| axum::http::StatusCode::from_u16(status).unwrap();
    match answer {
        None => status(204).into_response(),
        Some(Answer::Status(code, said)) => (status(code), said).into_response(),
        Some(Answer::Wait(secs)) => (status(429), [("retry-after", secs.to_string())]).into_response(),
        Some(Answer::Elsewhere(to)) => (status(307), [("location", to)]).into_response(),
        Some(Answer::Hang) => std::future::pending().await,
    }
}

/// A mail as it came.
#[derive(Debug, Clone)]
pub struct Letter {
    pub to: String,
    pub text: String,
    /// What the client said to say who it is.
    pub login: Option<String>,
}

impl Letter {
    pub fn header(&self, name: &str) -> &str {
        let head = self.text.split("\r\n\r\n").next().unwrap();
        let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value).unwrap()
    }
}

/// A server of mails.
pub struct Post {
    pub at: SocketAddr,
    letters: mpsc::UnboundedReceiver<Letter>,
}

impl Post {
    /// One that answers the first letters with these lines when they have come, and takes all others.
    pub async fn open(
        answers: impl IntoIterator<Item = &'static str>,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (sender, letters) = mpsc::unbounded_channel();
        let mut answers: VecDeque<&'static str> = answers.into_iter().collect();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = answers.pop_front().unwrap_or("250 2.0.0 taken");
                let (tls, sender) = (tls.clone(), sender.clone());
                tokio::spawn(async move {
                    match tls {
                        None => speak(stream, answer, sender).await,
                        Some(tls) => match tokio_rustls::TlsAcceptor::from(tls).accept(stream).await {
                            Ok(stream) => speak(stream, answer, sender).await,
                            Err(_stranger) => {}
                        },
                    }
                });
            }
        });
        Self { at, letters }
    }

    pub async fn next(&mut self) -> Letter {
        tokio::time::timeout(PATIENCE, self.letters.recv()).await.expect("a mail comes").unwrap()
    }
}

/// SMTP (RFC 5321), as much of it as a client needs that sends a letter.
async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &'static str,
    sender: mpsc::UnboundedSender<Letter>,
) {
    let mut stream = BufReader::new(stream);
    let (mut to, mut login) = (String::new(), None);
    stream.write_all(b"220 post.example ESMTP\r\n").await.unwrap();
    loop {
        stream.flush().await.unwrap();
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim_end().to_owned();
        let said = match line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "EHLO" => "250-post.example\r\n250 AUTH PLAIN\r\n".to_owned(),
            "AUTH" => {
                login = Some(line);
                "235 2.7.0 welcome\r\n".to_owned()
            }
            "RCPT" => {
                to = line;
                "250 2.1.5 known\r\n".to_owned()
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.unwrap();
                stream.flush().await.unwrap();
                let mut text = String::new();
                while !text.ends_with("\r\n.\r\n") {
                    if stream.read_line(&mut text).await.unwrap() == 0 {
                        return;
                    }
                }
                sender.send(Letter { to: to.clone(), text, login: login.clone() }).unwrap();
                format!("{answer}\r\n")
            }
            "QUIT" => {
                let _gone = stream.write_all(b"221 2.0.0 bye\r\n").await;
                return;
            }
            _ => "250 2.0.0 well\r\n".to_owned(),
        };
        if stream.write_all(said.as_bytes()).await.is_err() {
            return;
        }
    }
}
