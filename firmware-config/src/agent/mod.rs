//! `agent.toml`: the box itself. Where it listens, what hangs on its lines, where its alerts go.

pub(crate) mod keys;
pub(crate) mod mqtt;
pub(crate) mod serial;
pub(crate) mod uplink;

use crate::credential::Credential;
use crate::problem::Problems;
use crate::sheet::{Sheet, read_file};
use crate::table::Table;
use crate::value::{address, credential, path_in, size_within, span_within};
use mqtt::Mode;
use serial::SerialLine;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use uplink::Uplink;
use vigil_core::id::GatewayId;
use vigil_core::time::Span;

/// The smallest store: sled keeps segments of its own, and a night of 30 guards has to fit.
const MIN_STORE_BYTES: u64 = 16 << 20;
/// The largest store: beyond 1 TiB it is a typing mistake on a box like this.
const MAX_STORE_BYTES: u64 = 1 << 40;

/// `agent.toml`, valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    file: PathBuf,
    gateway: GatewayId,
    data_dir: PathBuf,
    site_file: PathBuf,
    mqtt: Mode,
    serial: Vec<SerialLine>,
    uplink: Option<Uplink>,
    http_listen: SocketAddr,
    store: Store,
}

impl AgentConfig {
    /// The file that it was read from.
    pub fn file(&self) -> &Path {
        &self.file
    }
    /// The folder of that file, beside which `credentials/` lies.
    pub fn base(&self) -> &Path {
        base_of(&self.file)
    }
    /// The id of this gateway.
    pub fn gateway(&self) -> &GatewayId {
        &self.gateway
    }
    /// Where the store lives.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }
    /// The first site file.
    pub fn site_file(&self) -> &Path {
        &self.site_file
    }
    /// How the devices' messages come in.
    pub fn mqtt(&self) -> &Mode {
        &self.mqtt
    }
    /// What hangs on the serial lines.
    pub fn serial(&self) -> &[SerialLine] {
        &self.serial
    }
    /// Where the alerts go; without it the agent works alone.
    pub fn uplink(&self) -> Option<&Uplink> {
        self.uplink.as_ref()
    }
    /// Where status page, local API and metrics are served.
    pub fn http_listen(&self) -> SocketAddr {
        self.http_listen
    }
    /// What is kept.
    pub fn store(&self) -> &Store {
        &self.store
    }
}

/// `[store]`: what is kept, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    retention: Span,
    max_bytes: u64,
    credential: Option<Credential>,
}

impl Store {
    /// How long raw observations are kept.
    pub const fn retention(&self) -> Span {
        self.retention
    }
    /// How large the store may become, in bytes.
    pub const fn max_bytes(&self) -> u64 {
        self.max_bytes
    }
    /// The credential that holds the master key, under which the keys of the store are locked.
    pub const fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }
}

/// Reads `agent.toml`; every problem at once.
pub fn load_agent(file: &Path) -> Result<AgentConfig, Problems> {
    parse_agent(file, &read_file(file)?)
}

/// Reads the text of an `agent.toml` as if it stood in `file`; every problem at once.
pub fn parse_agent(file: &Path, text: &[u8]) -> Result<AgentConfig, Problems> {
    Sheet::approve(draft(file, text))
}

/// The configuration as far as it can be read, with the problems so far.
pub(crate) fn draft(file: &Path, text: &[u8]) -> (Sheet, Option<AgentConfig>) {
    Sheet::read(file, text, |_, root| shape(file, root))
}

/// The folder of a file; the current one for a bare name.
pub(crate) fn base_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

fn shape(file: &Path, root: &mut Table<'_>) -> Option<AgentConfig> {
    let base = base_of(file);
    let mut agent = root.table("agent");
    let config = AgentConfig {
        file: file.into(),
        gateway: agent.id("gateway")?,
        data_dir: agent.optional("data_dir", path_in(base)).unwrap_or_else(|| base.join("data")),
        site_file: agent.optional("site", path_in(base)).unwrap_or_else(|| base.join("site.toml")),
        mqtt: mqtt::read(root.table("mqtt"), base),
        serial: serial::read(root),
        uplink: root.optional_table("uplink").map(|table| uplink::read(table, base)),
        http_listen: http_listen(root.table("http")),
        store: store(root.table("store")),
    };
    agent.finish();
    Some(config)
}

fn http_listen(mut http: Table<'_>) -> SocketAddr {
    let listen = http.optional("listen", address);
    http.finish();
    listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)))
}

fn store(mut table: Table<'_>) -> Store {
    // An hour holds what the shortest window needs; what is kept for ever has its own 400 days.
    let retention = span_within(Span::from_hours(1), Span::from_hours(400 * 24));
    let store = Store {
        retention: table.optional("retention", retention).unwrap_or(Span::from_hours(72)),
        max_bytes: table
            .optional("max_size", size_within(MIN_STORE_BYTES..=MAX_STORE_BYTES))
            .unwrap_or(256 << 20),
        credential: table.optional("credential", credential),
    };
    table.finish();
    store
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn problems(text: &str) -> Vec<String> {
        let found = parse_agent(Path::new("/etc/vigil/agent.toml"), text.as_bytes()).unwrap_err();
        let lines = found.as_slice().iter().map(ToString::to_string);
        lines.map(|line| line.replace("/etc/vigil/", "")).collect()
    }

    pub(crate) fn agent(text: &str) -> AgentConfig {
        let text = format!("[agent]\ngateway = \"gw-1\"\n{text}");
        parse_agent(Path::new("/etc/vigil/agent.toml"), text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_not_written_has_its_default() {
        let agent = agent("[mqtt]\nallow_anonymous = true");
        assert_eq!(agent.data_dir(), Path::new("/etc/vigil/data"));
        assert_eq!(agent.site_file(), Path::new("/etc/vigil/site.toml"));
        assert_eq!(agent.http_listen().to_string(), "127.0.0.1:8080");
        let store = Store { retention: Span::from_hours(72), max_bytes: 256 << 20, credential: None };
        assert_eq!(*agent.store(), store);
        assert!(agent.uplink().is_none() && agent.serial().is_empty());
    }

    #[test]
    fn five_mistakes_are_five_problems_each_at_its_line() {
        let text = r#"[agent]
gateway = "gw 1"
data_dir = "data"

[mqtt]
lisen = "127.0.0.1:1883"
password_file = "mqtt.passwd"

[[serial]]
device = "gate"
port = "/dev/ttyUSB0"
protocol = "rfid"

[uplink]
url = "http://noc.example.org/v1"
credential = "noc-token"

[store]
max_size = "256MB"
"#;
        assert_eq!(
            problems(text),
            [
                "agent.toml:2: agent.gateway: found \"gw 1\", allowed: an id of 1 to 64 characters of A-Z a-z 0-9 . _ -",
                "agent.toml:6: mqtt.lisen: unknown key; did you mean \"listen\"?",
                "agent.toml:12: serial[0].protocol: found \"rfid\", allowed: \"rdm6300\" or \"pn532\" or \"lines\" or \"nmea\"",
                "agent.toml:15: uplink.url: found \"http://noc.example.org/v1\", allowed: https://host/path (http:// only \
             to this machine); a token has its own key",
                "agent.toml:19: store.max_size: found \"256MB\", allowed: a size in KiB, MiB or GiB from \"16MiB\" to \
             \"1024GiB\"",
            ]
        );
    }
}
