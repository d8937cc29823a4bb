//! The daemon, as systemd would run it.

use super::{
    Mosquitto, PATIENCE, Plant, Process, SmallDisk, binary, eventually, json, missing, now, password,
};
use serde_json::Value;
use std::fmt::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use tempfile::TempDir;
use vigil_agent::sources::broker::password_line;
use vigil_core::time::Timestamp;

/// A screen in the control room: in the password file, and no device.
pub const SCREEN: &str = "control-room";
/// What the wall clock shows when the agent starts, if it is to be wrong.
const WALL_CLOCK: &str = "wall-clock";
/// A script of the shell that runs the agent, which is its arguments.
const LAUNCHER: &str = "launcher.sh";

/// Where an agent gets its messages.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// The broker inside.
    Embedded,
    /// A broker outside.
    External(&'a Mosquitto),
}

/// The way to a receiver.
#[derive(Debug, Clone)]
pub struct Uplink {
    /// Its base address.
    pub url: String,
    /// The authority of its certificate.
    pub ca: PathBuf,
    /// The gateway's token.
    pub token: String,
}

/// An agent with its folder, running or not.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    said: Value,
    /// Where its data are, if that is a disk of its own; unmounted before its folder goes.
    disk: Option<SmallDisk>,
    folder: TempDir,
}

/// Writes a credential that only its owner may read.
pub(super) fn credential(folder: &Path, name: &str, secret: &str) {
    let credentials = folder.join("credentials");
    std::fs::create_dir_all(&credentials).expect("a folder of the test");
    let file = credentials.join(name);
    std::fs::write(&file, secret).expect("a folder of the test");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its owner may");
}

impl Agent {
    /// Writes the files of a gateway and starts it.
    pub fn start(gateway: &str, plant: &Plant, source: Source<'_>, uplink: Option<&Uplink>) -> Self {
        Self::of(Self::files(gateway, plant, source, uplink), None)
    }

    /// A gateway with a broker inside that also lets in [`SCREEN`].
    pub fn with_screen(gateway: &str, plant: &Plant) -> Self {
        let folder = Self::files(gateway, plant, Source::Embedded, None);
        let file = folder.path().join("mqtt.passwd");
        let known = std::fs::read_to_string(&file).expect("a file of the test");
        let screen = password_line(SCREEN, &password(SCREEN)).expect("a name and a password");
        std::fs::write(&file, format!("{known}\n{screen}\n")).expect("a folder of the test");
        Self::of(folder, None)
    }

    /// Starts the agent of a folder, perhaps with its data on a disk that is mounted there.
    pub fn of(folder: TempDir, disk: Option<SmallDisk>) -> Self {
        let (process, said) = run(folder.path());
        Self { process, said, disk, folder }
    }

    /// Starts the agent of a folder through a script of the shell, in which it is `"$@"`.
    pub fn through(script: &str, folder: TempDir) -> Self {
        std::fs::write(folder.path().join(LAUNCHER), script).expect("a folder of the test");
        Self::of(folder, None)
    }

    /// The same on a box whose wall clock shows `wall` when the agent starts, like `1970-01-01 00:01:00`, every time.
    pub fn start_when_the_wall_clock_shows(
        wall: &str,
        gateway: &str,
        plant: &Plant,
        uplink: Option<&Uplink>,
    ) -> Self {
        let folder = Self::files(gateway, plant, Source::Embedded, uplink);
        std::fs::write(folder.path().join(WALL_CLOCK), wall).expect("a folder of the test");
        Self::of(folder, None)
    }

    /// The files of a gateway, ready to be started.
    pub fn files(gateway: &str, plant: &Plant, source: Source<'_>, uplink: Option<&Uplink>) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("a folder of the test")
        };
        write("site.toml", plant.text());
        let mut config = format!("[agent]\ngateway = \"{gateway}\"\n[http]\nlisten = \"127.0.0.1:0\"\n");
        match source {
            Source::Embedded => {
                write("mqtt.passwd", &passwords(&folder.path().join("site.toml")));
                config.push_str("[mqtt]\nlisten = \"127.0.0.1:0\"\npassword_file = \"mqtt.passwd\"\n");
            }
            Source::External(broker) => {
                credential(folder.path(), "mqtt-password", &password(gateway));
                write!(
                    config,
                    "[mqtt]\nmode = \"external\"\nurl = \"mqtt://{}\"\nusername = \"{gateway}\"\ncredential = \"mqtt-password\"\n",
                    broker.address()
                )
                .expect("a text grows");
            }
        }
        if let Some(uplink) = uplink {
            credential(folder.path(), "noc-token", &uplink.token);
            let Uplink { url, ca, .. } = uplink;
            let written = write!(
                config,
                "[uplink]\nurl = \"{url}\"\ncredential = \"noc-token\"\nca_file = \"{}\"\n",
                ca.display()
            );
            written.expect("a text grows");
        }
        write("agent.toml", &config);
        folder
    }

    fn address(&self, name: &str) -> SocketAddr {
        let text = self.said[name].as_str().expect("an address in the log");
        text.trim_start_matches("http://").parse().expect("an address")
    }

    /// Where the embedded broker listens.
    pub fn mqtt(&self) -> SocketAddr {
        self.address("mqtt")
    }

    /// Where the page is.
    pub fn page(&self) -> SocketAddr {
        self.address("page")
    }

    /// The folder with its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The disk of its data.
    pub fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().expect("an agent with a disk of its own")
    }

    /// The folder of its store.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("data").join("db")
    }

    /// What it says of itself now; its page may show a status that is a moment old.
    pub fn status(&self) -> Value {
        let asked_at = now();
        eventually("the agent's status is taken anew", PATIENCE, || {
            let status = json(self.page(), "/api/status");
            let taken_at = status["now"].as_str().and_then(|at| Timestamp::parse(at).ok());
            if taken_at.is_some_and(|at| at >= asked_at) {
                Ok(status)
            } else {
                Err(format!("one of {taken_at:?}"))
            }
        })
    }

    /// What it says of one device.
    pub fn device(&self, id: &str) -> Value {
        let status = self.status();
        let found = status["devices"].as_array().into_iter().flatten().find(|d| d["id"] == id);
        found.cloned().expect("a device of the site")
    }

    /// Its alerts.
    pub fn alerts(&self) -> Vec<Value> {
        json(self.page(), "/api/alerts").as_array().cloned().expect("a list of alerts")
    }

    /// Observations by what became of them.
    pub fn outcomes(&self, name: &str) -> u64 {
        self.status()["outcomes"][name].as_u64().unwrap_or(0)
    }

    /// Starts it again by a script of a shell, which has its command line as arguments.
    pub fn start_through(&mut self, script: &str) {
        std::fs::write(self.folder.path().join(LAUNCHER), script).expect("a folder of the test");
        self.start_again();
    }

    /// Starts it again without waiting until it runs.
    pub fn launch_again(&mut self) {
        self.process = launch(self.folder.path());
    }

    /// The process itself.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, and how it ends.
    pub fn stop(&mut self, within: Duration) -> ExitStatus {
        self.process.signal("TERM");
        self.process.end(within)
    }

    /// Starts it again on the same data.
    pub fn start_again(&mut self) {
        let (process, said) = run(self.folder.path());
        (self.process, self.said) = (process, said);
    }
}

fn launch(folder: &Path) -> Process {
    let mut command = binary::command();
    command.arg("run").arg("--config").arg(folder.join("agent.toml"));
    let launcher = folder.join(LAUNCHER);
    if launcher.exists() {
        command = binary::through(&launcher, &command);
    }
    if let Ok(wall) = std::fs::read_to_string(folder.join(WALL_CLOCK)) {
        let library = faketime();
        command.env("LD_PRELOAD", library).env("FAKETIME", format!("@{wall}"));
        // Boot time and sleep are real, and so are the files of the box.
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
    }
    Process::start("agent", &mut command, "vigil")
}

/// Makes a process believe in another wall clock; Debian keeps it below the name of the architecture.
fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let places = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    let none = || missing("libfaketime", "faketime", &std::io::ErrorKind::NotFound.into());
    places.into_iter().find(|library| library.exists()).unwrap_or_else(none)
}

fn run(folder: &Path) -> (Process, Value) {
    let mut process = launch(folder);
    let said = process.said("running");
    (process, said)
}

/// A line for every device of the site, made as `mosquitto_passwd` makes them.
fn passwords(site: &Path) -> String {
    let site = vigil_config::load_site(site).expect("a valid site");
    let ids = site.devices.iter().map(|d| d.id.to_string());
    let lines =
        ids.map(|id| vigil_agent::sources::broker::password_line(&id, &password(&id)).expect("a user name"));
    lines.collect::<Vec<_>>().join("\n")
}
