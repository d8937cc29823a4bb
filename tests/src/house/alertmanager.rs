//! Debian's Alertmanager, and who is paged by it.

use super::mosquitto::free;
use super::{Agent, PATIENCE, Plant, Process, Source, eventually, fetch, json};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::TempDir;

/// A receiver with a page for every alert by itself.
#[derive(Debug)]
pub struct Alertmanager {
    address: SocketAddr,
    process: Process,
    pages: Pages,
    folder: TempDir,
}

impl Alertmanager {
    /// Starts one that forgets in five seconds what has no end of its own, below the path `/pager`.
    pub fn start() -> Self {
        let (folder, pages) = (tempfile::tempdir().expect("a folder"), Pages::begin());
        let config = format!(
            "global: {{ resolve_timeout: 5s }}\n\
             route: {{ receiver: pages, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h }}\n\
             receivers:\n  - name: pages\n    webhook_configs: [{{ url: 'http://{}/' }}]\n",
            pages.address
        );
        std::fs::write(folder.path().join("alertmanager.yml"), config).expect("a folder of the test");
        let address = free();
        let process = run(&folder, address);
        Self { address, process, pages, folder }
    }

    /// What stands there, by the agent's ids of it; what has two labels counts twice.
    pub fn alerts(&self) -> Vec<Value> {
        json(self.address, "/pager/api/v2/alerts").as_array().cloned().expect("a list of alerts")
    }

    /// Who is paged.
    pub const fn pages(&self) -> &Pages {
        &self.pages
    }

    /// Its base address.
    pub fn url(&self) -> String {
        format!("http://{}/pager", self.address)
    }

    /// SIGTERM, and it writes what it has paged.
    pub fn stop(&mut self) {
        self.process.signal("TERM");
        self.process.end(PATIENCE);
    }

    /// Starts it again: it has forgotten what stands.
    pub fn start_again(&mut self) {
        self.process = run(&self.folder, self.address);
    }

    /// An agent that sends its alerts here, with a heartbeat of five seconds.
    pub fn agent(&self, plant: &Plant) -> Agent {
        let folder = Agent::files("gw-1", plant, Source::Embedded, None);
        let file = folder.path().join("agent.toml");
        let mut config = std::fs::read_to_string(&file).expect("a file of the test");
        let url = self.url();
        write!(config, "[uplink]\nurl = \"{url}\"\nformat = \"alertmanager\"\nheartbeat = \"5s\"\n")
            .expect("a text grows");
        std::fs::write(&file, config).expect("a folder of the test");
        Agent::of(folder, None)
    }
}

fn run(folder: &TempDir, address: SocketAddr) -> Process {
    let mut command = Command::new("prometheus-alertmanager");
    command
        .arg(format!("--web.listen-address={address}"))
        .arg("--web.route-prefix=/pager")
        .arg("--cluster.listen-address=")
        .arg(format!("--storage.path={}", folder.path().join("data").display()))
        .arg(format!("--config.file={}", folder.path().join("alertmanager.yml").display()));
    let process = Process::start("Alertmanager", &mut command, "prometheus-alertmanager");
    eventually("Alertmanager is ready", PATIENCE, || match fetch(address, "/pager/-/ready") {
        Ok((200, _)) => Ok(()),
        other => Err(format!("{other:?}: {}", process.log().join("\n"))),
    });
    process
}

/// Whoever is paged: a webhook that writes down what it is told.
#[derive(Debug)]
pub struct Pages {
    address: SocketAddr,
    told: Arc<Mutex<Vec<(String, String)>>>,
}

impl Pages {
    fn begin() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let told = Arc::<Mutex<Vec<_>>>::default();
        let own = Arc::clone(&told);
        // It ends with the test.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Some(body) = take(stream) {
                    own.lock().unwrap_or_else(PoisonError::into_inner).extend(listed(&body));
                }
            }
        });
        Self { address, told }
    }

    /// How often somebody was paged with this status of each alert, by its id.
    pub fn times(&self, status: &str) -> BTreeMap<String, usize> {
        let mut times = BTreeMap::new();
        for (id, told) in self.told.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if told == status {
                *times.entry(id.clone()).or_default() += 1;
            }
        }
        times
    }
}

fn listed(page: &Value) -> Vec<(String, String)> {
    let text = |alert: &Value, at: &str| alert.pointer(at).and_then(Value::as_str).unwrap_or("?").to_owned();
    let alerts = page["alerts"].as_array().cloned().unwrap_or_default();
    alerts.iter().map(|alert| (text(alert, "/labels/alert_id"), text(alert, "/status"))).collect()
}

/// One request, answered; a connection that breaks off tells nothing.
fn take(stream: TcpStream) -> Option<Value> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_lowercase();
        if let Some(found) = line.strip_prefix("content-length:") {
            length = found.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    reader.into_inner().write_all(answer).ok()?;
    serde_json::from_slice(&body).ok()
}
