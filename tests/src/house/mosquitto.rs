//! Debian's mosquitto, as a site that has it would run it.

use super::process::missing;
use super::{Process, eventually, password};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// A broker with passwords and persistence.
#[derive(Debug)]
pub struct Mosquitto {
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Mosquitto {
    /// Starts one that knows `users`.
    pub fn start<S: AsRef<str>>(users: &[S]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("passwords");
        let lines: Vec<String> =
            users.iter().map(|u| format!("{}:{}\n", u.as_ref(), password(u.as_ref()))).collect();
        std::fs::write(&file, lines.concat()).expect("a folder of the test");
        let hashed = Command::new("mosquitto_passwd").arg("-U").arg(&file).status();
        let hashed = hashed.unwrap_or_else(|e| missing("mosquitto_passwd", "mosquitto", &e));
        assert!(hashed.success(), "mosquitto_passwd hashes the passwords");
        // mosquitto cannot pick a free port itself.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let config = format!(
            "user root\nlistener {} 127.0.0.1\nallow_anonymous false\npassword_file {}\npersistence true\n\
             persistence_location {}/\nmax_inflight_messages 200\nmax_queued_messages 0\n",
            free.port(),
            file.display(),
            folder.path().display()
        );
        let path = folder.path().join("mosquitto.conf");
        std::fs::write(&path, config).expect("a folder of the test");
        let process =
            Process::start("mosquitto", Command::new("/usr/sbin/mosquitto").arg("-c").arg(path), "mosquitto");
        let listens = || TcpStream::connect(free).map(drop).map_err(|e| format!("{e}: {:?}", process.log()));
        eventually("mosquitto listens", Duration::from_secs(20), listens);
        Self { address: free, _process: process, _folder: folder }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}
