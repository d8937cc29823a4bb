//! A real mosquitto for tests: without one they fail, because what they prove is how the two get along.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than a broker takes to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A mosquitto on a free port, with its files in a folder of its own.
pub(crate) struct Mosquitto {
    process: Child,
    folder: TempDir,
    pub(crate) port: u16,
}

impl Mosquitto {
    pub(crate) fn start(extra: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), free_port(), extra)
    }

    pub(crate) fn start_in(folder: TempDir, port: u16, extra: &str) -> Self {
        let mut config = format!("user root\nlistener {port} 127.0.0.1\n{extra}\n");
        writeln!(config, "persistence_location {}/", folder.path().display()).unwrap();
        let path = folder.path().join("mosquitto.conf");
        std::fs::write(&path, config).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new("/usr/sbin/mosquitto")
            .arg("-c")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("mosquitto is needed for this test: install the package mosquitto");
        let broker = Self { process, folder, port };
        broker.wait_until_it_listens();
        broker
    }

    fn wait_until_it_listens(&self) {
        let (address, began) = (SocketAddr::from(([127, 0, 0, 1], self.port)), Instant::now());
        while TcpStream::connect(address).is_err() {
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "mosquitto does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it and starts it again on the same port, with or without what it had stored.
    pub(crate) fn restart(mut self, extra: &str) -> Self {
        self.stop();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        Self::start_in(folder, self.port, extra)
    }

    pub(crate) fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
