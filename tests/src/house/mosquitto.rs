//! Debian's mosquitto, as a site that has it would run it.

use super::process::missing;
use super::{Authority, Process, eventually, password};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// A broker with passwords and persistence.
#[derive(Debug)]
pub struct Mosquitto {
    address: SocketAddr,
    process: Process,
    folder: TempDir,
}

/// Where the configuration that a site is given has things, and where a test has them.
#[derive(Debug)]
pub struct Shipped {
    /// The broker that runs it.
    pub broker: Mosquitto,
    /// Its listener with TLS.
    pub tls: SocketAddr,
    /// The authority of its certificate.
    pub ca: PathBuf,
}

impl Mosquitto {
    /// Starts one that knows `users`.
    pub fn start<S: AsRef<str>>(users: &[S]) -> Self {
        Self::with(users, |folder, at| {
            format!(
                "user root\nlistener {} 127.0.0.1\nallow_anonymous false\npassword_file {}\npersistence true\n\
                 persistence_location {}/\nmax_inflight_messages 200\nmax_queued_messages 0\n",
                at.port(),
                passwords(folder).display(),
                folder.display()
            )
        })
    }

    /// Starts one with the files of `systemd/mosquitto`, beside what Debian's own file says.
    pub fn shipped<S: AsRef<str>>(users: &[S]) -> Shipped {
        let (tls, mut ca) = (free(), PathBuf::new());
        let broker = Self::with(users, |folder, at| {
            let papers = Authority::found(folder);
            let acl = folder.join("vigil.acl");
            std::fs::write(&acl, systemd("vigil.acl")).expect("a folder of the test");
            let ours = [
                ("listener 1883 127.0.0.1", format!("listener {} 127.0.0.1", at.port())),
                ("listener 8883", format!("listener {} 127.0.0.1", tls.port())),
                ("/etc/mosquitto/ca_certificates/site-ca.pem", papers.ca.display().to_string()),
                ("/etc/mosquitto/certs/broker.pem", papers.cert.display().to_string()),
                ("/etc/mosquitto/certs/broker.key", papers.key.display().to_string()),
                (
                    "password_file /etc/mosquitto/vigil.passwd",
                    format!("password_file {}", passwords(folder).display()),
                ),
                ("/etc/mosquitto/vigil.acl\n", format!("{}\n", acl.display())),
            ];
            ca = papers.ca;
            let debian = format!("user root\npersistence true\npersistence_location {}/\n", folder.display());
            ours.iter().fold(debian + &systemd("vigil.conf"), |config, (there, here)| {
                assert!(config.contains(there), "{there} is in the configuration");
                config.replace(there, here)
            })
        });
        Shipped { broker, tls, ca }
    }

    fn with<S: AsRef<str>>(users: &[S], config: impl FnOnce(&Path, SocketAddr) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = passwords(folder.path());
        let lines: Vec<String> =
            users.iter().map(|u| format!("{}:{}\n", u.as_ref(), password(u.as_ref()))).collect();
        std::fs::write(&file, lines.concat()).expect("a folder of the test");
        let hashed = Command::new("mosquitto_passwd").arg("-U").arg(&file).status();
        let hashed = hashed.unwrap_or_else(|e| missing("mosquitto_passwd", "mosquitto", &e));
        assert!(hashed.success(), "mosquitto_passwd hashes the passwords");
        let address = free();
        std::fs::write(configuration(folder.path()), config(folder.path(), address))
            .expect("a folder of the test");
        let process = run(folder.path(), address);
        Self { address, process, folder }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its power goes and comes back.
    pub fn dies_and_lives_again(&mut self) {
        self.process.kill();
        self.process = run(self.folder.path(), self.address);
    }

    /// What it has said.
    pub fn log(&self) -> Vec<String> {
        self.process.log()
    }
}

fn run(folder: &Path, address: SocketAddr) -> Process {
    let path_to_daemons = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("mosquitto");
    command.arg("-c").arg(configuration(folder)).env("PATH", path_to_daemons);
    let process = Process::start("mosquitto", &mut command, "mosquitto");
    let listens = || TcpStream::connect(address).map(drop).map_err(|e| format!("{e}: {:?}", process.log()));
    eventually("mosquitto listens", Duration::from_secs(20), listens);
    process
}

/// mosquitto cannot pick a free port itself.
pub(super) fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port")
}

fn configuration(folder: &Path) -> PathBuf {
    folder.join("mosquitto.conf")
}

fn passwords(folder: &Path) -> PathBuf {
    folder.join("passwords")
}

/// A file that a site with mosquitto is given.
fn systemd(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/mosquitto").join(name);
    std::fs::read_to_string(&path).expect("the file is in the tree")
}
