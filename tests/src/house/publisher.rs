//! Clients that others wrote: Debian's `mosquitto_pub`, and paho.

use super::{PATIENCE, Process, binary, missing, password, topic};
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// One message of a script.
#[derive(Debug, Clone)]
pub struct Message {
    /// Who says it.
    pub device: String,
    /// On which of its topics.
    pub kind: &'static str,
    /// What.
    pub payload: String,
}

impl Message {
    /// A message of `device`: one object or an array.
    pub fn new(device: &str, kind: &'static str, payload: &Value) -> Self {
        Self { device: device.to_owned(), kind, payload: payload.to_string() }
    }
}

/// A client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publisher {
    /// `mosquitto_pub`
    Mosquitto,
    /// `paho-mqtt` of PyPI.
    Paho,
}

/// A device that stays connected, until it dies.
#[derive(Debug)]
pub struct Held(Process);

impl Held {
    /// Its power goes: no DISCONNECT, so the broker publishes its last will.
    pub fn die(mut self) {
        self.0.kill();
    }
}

impl Publisher {
    /// Publishes `messages` in order with QoS 1, and returns when all are acknowledged.
    pub fn publish(self, at: SocketAddr, messages: &[Message]) {
        let same = |a: &Message, b: &Message| (&a.device, a.kind) == (&b.device, b.kind);
        match self {
            Self::Mosquitto => {
                messages.chunk_by(same).for_each(|some| finish(mosquitto_pub(at, some, false)))
            }
            Self::Paho => finish(paho(at, messages, false)),
        }
    }

    /// A device that says something, with a last will, and stays.
    pub fn hold(self, at: SocketAddr, message: &Message) -> Held {
        let said = std::slice::from_ref(message);
        Held(match self {
            Self::Mosquitto => mosquitto_pub(at, said, true),
            Self::Paho => paho(at, said, true),
        })
    }
}

fn finish(mut process: Process) {
    process.close_stdin();
    let status = process.end(PATIENCE);
    assert!(status.success(), "a publisher failed with {status}: {:?}", process.log());
}

/// `mosquitto_pub` or `mosquitto_sub` for a user of the broker at `at`.
pub fn mosquitto_client(program: &str, at: SocketAddr, user: &str) -> Command {
    let mut command = Command::new(program);
    command.args([
        "-h",
        &at.ip().to_string(),
        "-p",
        &at.port().to_string(),
        "-u",
        user,
        "-P",
        &password(user),
    ]);
    command
}

/// What became of a client of mosquitto's that ends by itself.
pub fn ended(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| missing("a client of mosquitto's", "mosquitto-clients", &e))
}

/// One run of `mosquitto_pub -l`: one device, one topic, a message a line.
fn mosquitto_pub(at: SocketAddr, messages: &[Message], hold: bool) -> Process {
    let first = messages.first().expect("something to say");
    let mut command = mosquitto_client("mosquitto_pub", at, &first.device);
    command.args(["-V", "mqttv311", "-q", "1", "-t", &topic(&first.device, first.kind), "-l"]);
    if hold {
        command.args([
            "--will-topic",
            &topic(&first.device, "status"),
            "--will-payload",
            "offline",
            "--will-qos",
            "1",
        ]);
    }
    let mut process = Process::start("mosquitto_pub", command.stdin(Stdio::piped()), "mosquitto-clients");
    for message in messages {
        writeln!(process.stdin(), "{}", message.payload).expect("mosquitto_pub reads");
    }
    process
}

/// One run of `clients/publish.py`.
fn paho(at: SocketAddr, messages: &[Message], hold: bool) -> Process {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/publish.py");
    let mut command = Command::new(python());
    command.arg(script).args([at.ip().to_string(), at.port().to_string()]);
    if hold {
        command.arg("--hold");
    }
    let needs =
        "python3-venv and let tests/run make target/venv, or set VIGIL_PYTHON to a Python with paho-mqtt";
    let mut process = Process::start("paho", command.stdin(Stdio::piped()), needs);
    for Message { device, kind, payload } in messages {
        let line = json!({"device": device, "password": password(device), "topic": topic(device, kind),
                          "will": topic(device, "status"), "payload": payload});
        writeln!(process.stdin(), "{line}").expect("the script reads");
    }
    process
}

/// The Python that has paho-mqtt.
pub fn python() -> PathBuf {
    let given = std::env::var_os("VIGIL_PYTHON").map(PathBuf::from);
    given.unwrap_or_else(|| binary::target().join("venv/bin/python"))
}

/// Where MQTT.js is.
pub fn node_modules() -> PathBuf {
    binary::target().join("node/node_modules")
}
