//! A process with its log, killed when it is dropped.

use super::{PATIENCE, eventually};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How much of a log is shown when a test fails.
const SHOWN_LINES: usize = 60;

/// A running process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts `command` and follows its standard error. `package` is where Debian has the tool.
    pub fn start(name: &str, command: &mut Command, package: &str) -> Self {
        let spawned = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|e| missing(name, package, &e));
        let log = Arc::default();
        let stderr = child.stderr.take().expect("standard error is piped");
        let reader = Some(follow(stderr, Arc::clone(&log)));
        Self { name: name.to_owned(), child, log, reader }
    }

    /// What it has said so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first JSON line of its log with this message.
    pub fn said(&mut self, message: &str) -> Value {
        self.said_times(message, 1)
    }

    /// The `n`-th JSON line of its log with this message.
    pub fn said_times(&mut self, message: &str, n: usize) -> Value {
        let what = format!("{} says {message:?}", self.name);
        eventually(&what, PATIENCE, || {
            let lines = self.log();
            let said = |line: &String| event(line).filter(|event| event["message"] == message);
            let ended = self.child.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "{what}: it ended with {ended:?}:\n{}", lines.join("\n"));
            lines.iter().filter_map(said).nth(n - 1).ok_or_else(|| tail(&lines))
        })
    }

    /// Its number; it is the same one as long as it runs.
    pub fn id(&mut self) -> u32 {
        let ended = self.child.try_wait().expect("a child can be asked");
        assert!(ended.is_none(), "{} has ended with {ended:?}:\n{}", self.name, tail(&self.log()));
        self.child.id()
    }

    /// `kill -9`, as a power cut would look to the process.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child ends");
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(
            sent.expect("kill is part of every system").success(),
            "{name} was not sent to {}",
            self.name
        );
    }

    /// A signal that is ready to be sent: a process that kills takes longer to start than an agent to go on.
    pub fn aim(&self, signal: &str) -> Trigger {
        let shot = format!("read -r _; kill -s {signal} {}", self.child.id());
        let spawned = Command::new("sh").args(["-c", &shot]).stdin(Stdio::piped()).spawn();
        Trigger(spawned.expect("sh is part of every system"))
    }

    /// How it ends, if it does within `within`.
    pub fn end(&mut self, within: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let status = eventually(&what, within, || {
            self.child.try_wait().expect("a child can be asked").ok_or_else(|| tail(&self.log()))
        });
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the log is read to its end");
        }
        status
    }

    /// Its standard input, if that is piped.
    pub fn stdin(&mut self) -> &mut std::process::ChildStdin {
        self.child.stdin.as_mut().expect("standard input is piped")
    }

    /// Closes its standard input.
    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the log of {}:\n{}", self.name, tail(&self.log()));
        }
        // One that has ended already needs no killing.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A signal that is ready to be sent.
#[derive(Debug)]
pub struct Trigger(Child);

impl Trigger {
    /// Sends it now.
    pub fn pull(mut self) {
        drop(self.0.stdin.take().map(|mut stdin| stdin.write_all(b"\n")));
        self.0.wait().expect("sh ends");
    }
}

/// Fails the test with what is to be installed.
#[expect(clippy::panic, reason = "this is code of tests: a tool that is not there has to fail them")]
pub fn missing(name: &str, package: &str, why: &std::io::Error) -> ! {
    panic!("{name} cannot be run ({why}); this test needs it: install {package}")
}

/// What a line of a log says; before one for the journal stands its priority, like `<6>`.
fn event(line: &str) -> Option<Value> {
    let bare = line.strip_prefix('<').and_then(|rest| rest.split_once('>')).map_or(line, |(_, bare)| bare);
    serde_json::from_str(bare).ok()
}

fn follow(stderr: impl Read + Send + 'static, log: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    })
}

fn tail(lines: &[String]) -> String {
    let from = lines.len().saturating_sub(SHOWN_LINES);
    lines.get(from..).unwrap_or_default().join("\n")
}
