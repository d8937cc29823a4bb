//! `vigil noc`, over TLS.

use super::agent::{Uplink, credential};
use super::{Authority, PATIENCE, Process, binary, json_as, post_as, vigil, vigil_reading};
use serde_json::Value;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;
use vigil_cloud_sync::wire::Answer;
use vigil_cloud_sync::{Event, Origin, Token, UplinkConfig, Verdict, Way};
use vigil_core::id::{GatewayId, SiteId, TenantId};

/// A receiver for some gateways of the plant.
#[derive(Debug)]
pub struct Noc {
    authority: Authority,
    events: SocketAddr,
    operator: SocketAddr,
    /// With which the tests ask what operators see.
    program: String,
    process: Process,
    folder: TempDir,
}

/// A program with its token.
#[derive(Debug, Clone)]
pub struct Asker {
    operator: SocketAddr,
    program: String,
}

impl Asker {
    /// Changes something: the status, and the answer.
    pub fn told(&self, path: &str, body: &Value) -> (u16, String) {
        post_as(self.operator, path, body, Some(&self.program)).expect("the receiver answers")
    }
}

/// Does something with the people or tokens of a receiver; what is printed.
fn managed(folder: &TempDir, command: &[&str], input: &str) -> String {
    let config = folder.path().join("noc.toml");
    let config = config.to_str().expect("a path in UTF-8");
    let ended = vigil_reading(&[&["noc"], command, &["--config", config]].concat(), input);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{command:?}: {}", ended.out);
    ended.out.trim_end().to_owned()
}

fn token(gateway: &str) -> String {
    format!("token-of-{gateway}")
}

impl Noc {
    /// Starts one that knows `gateways`.
    pub fn start(gateways: &[&str]) -> Self {
        let noc = Self::with(gateways, "tests", "");
        noc.lets_in("asha", "admin");
        noc
    }

    /// Starts one that shares a PostgreSQL with others; each has a `program` of its own.
    pub fn sharing(database: &str, program: &str, gateways: &[&str]) -> Self {
        Self::with(gateways, program, &format!("database = \"{database}\"\n"))
    }

    /// Starts one that can sign site files, with a PostgreSQL if one is named.
    pub fn signing(gateways: &[&str], database: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        credential(folder.path(), "noc.key", "");
        let key = folder.path().join("credentials/noc.key");
        std::fs::remove_file(&key).expect("a folder of the test");
        assert_eq!(vigil(&[OsStr::new("bundle"), OsStr::new("keygen"), key.as_os_str()]).code, Some(0));
        let database = database.map(|database| format!("database = \"{database}\"\n")).unwrap_or_default();
        Self::within(folder, gateways, "tests", &format!("bundle_key = \"noc.key\"\n{database}"))
    }

    /// Starts one that knows that many gateways, each at a site of its own; with a PostgreSQL if one is named. It may open as many
    /// files as `ulimit` is told.
    pub fn of_many(gateways: usize, database: Option<&str>, ulimit: &str) -> Self {
        let named: Vec<_> = (0..gateways).map(|n| (format!("gw-{n}"), format!("s-{n}"))).collect();
        let placed: Vec<_> = named.iter().map(|(gateway, site)| (gateway.as_str(), site.as_str())).collect();
        let database = database.map(|database| format!("database = \"{database}\"\n")).unwrap_or_default();
        // All of them come from one address, as behind somebody who spreads them over receivers.
        let more = format!("balancers = [\"127.0.0.1\"]\n{database}");
        let folder = tempfile::tempdir().expect("a folder");
        let script = folder.path().join("as-in-a-shell");
        std::fs::write(&script, format!("ulimit {ulimit}\nexec \"$@\"\n")).expect("a folder of the test");
        Self::placed(folder, &placed, "tests", &more, |noc| binary::through(&script, &noc))
    }

    /// The token of a new program with that role.
    pub fn token_of(&self, name: &str, role: &str) -> String {
        managed(&self.folder, &["token", "add", name, "--role", role], "")
    }

    /// Makes a person, with a password that need not be changed.
    fn lets_in(&self, name: &str, role: &str) {
        let command = ["user", "add", name, "--role", role, "--password-stdin"];
        managed(&self.folder, &command, &format!("the password of {name}\n"));
    }

    /// Starts one with `tables` in its configuration and a secret, a name and a text; with a PostgreSQL if one is named.
    pub fn telling(
        program: &str,
        gateways: &[&str],
        database: Option<&str>,
        tables: &str,
        (name, secret): (&str, &str),
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        credential(folder.path(), name, secret);
        let database = database.map(|database| format!("database = \"{database}\"\n")).unwrap_or_default();
        Self::within(folder, gateways, program, &format!("{database}{tables}"))
    }

    fn with(gateways: &[&str], program: &str, more: &str) -> Self {
        Self::within(tempfile::tempdir().expect("a folder"), gateways, program, more)
    }

    fn within(folder: TempDir, gateways: &[&str], program: &str, more: &str) -> Self {
        let placed: Vec<_> = gateways.iter().map(|gateway| (*gateway, "plant-7")).collect();
        Self::placed(folder, &placed, program, more, |noc| noc)
    }

    fn placed(
        folder: TempDir,
        gateways: &[(&str, &str)],
        program: &str,
        more: &str,
        start: impl FnOnce(Command) -> Command,
    ) -> Self {
        let authority = Authority::found(folder.path());
        let mut config = "[noc]\nlisten = \"127.0.0.1:0\"\noperator_listen = \"127.0.0.1:0\"\n\
                          tls_cert = \"noc.pem\"\ntls_key = \"noc.key\"\n"
            .to_owned()
            + more;
        for (gateway, site) in gateways {
            credential(folder.path(), &format!("{gateway}-token"), &token(gateway));
            let written = write!(
                config,
                "[[gateways]]\nid = \"{gateway}\"\ntenant = \"acme\"\nsite = \"{site}\"\ncredential = \"{gateway}-token\"\n"
            );
            written.expect("a text grows");
        }
        let file = folder.path().join("noc.toml");
        std::fs::write(&file, config).expect("a folder of the test");
        let program = managed(&folder, &["token", "add", program, "--role", "operator"], "");
        let mut command = binary::command();
        command.arg("noc").arg("--config").arg(&file);
        let mut process = Process::start("noc", &mut start(command), "vigil");
        let said = process.said("the receiver listens");
        let address =
            |name: &str| said[name].as_str().and_then(|a| a.parse().ok()).expect("an address in the log");
        let (events, operator) = (address("events"), address("operator"));
        Self { authority, events, operator, program, process, folder }
    }

    /// The way of a gateway whose part somebody else plays.
    pub fn way(&self, site: &str, gateway: &str) -> vigil_cloud_sync::Uplink {
        let Uplink { url, ca, token } = self.uplink(gateway);
        let (tenant, site, gateway) = (TenantId::new("acme"), SiteId::new(site), GatewayId::new(gateway));
        let origin = Origin {
            tenant: tenant.expect("an id"),
            site: site.expect("an id"),
            gateway: gateway.expect("an id"),
        };
        let config = UplinkConfig {
            ca_pem: Some(std::fs::read(ca).expect("the authority is there")),
            whole_timeout: PATIENCE,
            ..UplinkConfig::new(&url, origin, Token::new(&token))
        };
        vigil_cloud_sync::Uplink::new(config).expect("a way")
    }

    /// Takes what a gateway sends, as whose part somebody else plays; all of it has to be new and right.
    pub fn takes(&self, site: &str, gateway: &str, events: &[Event]) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let judged = runtime.block_on(async { self.way(site, gateway).deliver(events).await });
        let all = |answer: &Answer| answer.accepted == events.len() && answer.rejected.is_empty();
        assert!(matches!(&judged, Verdict::Stored(answer) if all(answer)), "of {gateway}: {judged:?}");
    }

    /// The way here for a gateway.
    pub fn uplink(&self, gateway: &str) -> Uplink {
        Uplink {
            url: format!("https://{}/v1", self.events),
            ca: self.authority.ca.clone(),
            token: token(gateway),
        }
    }

    /// The latest revision of every alert that a gateway has sent.
    pub fn alerts(&self, gateway: &str) -> Vec<Value> {
        let all = self.asked("/api/alerts?limit=1000");
        let rows = all["alerts"].as_array().cloned().expect("a list of alerts");
        rows.into_iter().filter(|row| row["gateway"] == gateway).map(|mut row| row["alert"].take()).collect()
    }

    /// Tells a gateway something, as an operator does; the command's id.
    pub fn order(&self, gateway: &str, kind: &str, data: &Value) -> String {
        let body = serde_json::json!({"type": kind, "data": data});
        let path = format!("/api/gateways/{gateway}/commands");
        let (status, row) =
            post_as(self.operator, &path, &body, Some(&self.program)).expect("the receiver answers");
        assert_eq!(status, 201, "{row}");
        let row: Value = serde_json::from_str(&row).expect("the answer is JSON");
        row["id"].as_str().expect("an id").to_owned()
    }

    /// What is known of a command.
    pub fn command(&self, gateway: &str, id: &str) -> Value {
        let all = self.asked(&format!("/api/gateways/{gateway}/commands"));
        let mut rows = all["commands"].as_array().into_iter().flatten();
        rows.find(|row| row["id"] == id).cloned().expect("a command of the gateway")
    }

    /// What a program with the token of the tests is answered.
    pub fn asked(&self, path: &str) -> Value {
        json_as(self.operator, path, Some(&self.program))
    }

    /// Changes something as that program does: the status, and the answer.
    pub fn told(&self, path: &str, body: &Value) -> (u16, String) {
        self.ask().told(path, body)
    }

    /// What that program needs to ask from a thread of its own.
    pub fn ask(&self) -> Asker {
        Asker { operator: self.operator, program: self.program.clone() }
    }

    /// What a new operator is to open to log in: once.
    pub fn way_in_of(&self, name: &str) -> String {
        self.way_in_as(name, "operator")
    }

    /// The same of a new person with that role.
    pub fn way_in_as(&self, name: &str, role: &str) -> String {
        self.lets_in(name, role);
        managed(&self.folder, &["user", "link", name], "")
    }

    /// What is to be opened to log in as an admin: once.
    pub fn way_in(&self) -> String {
        managed(&self.folder, &["user", "link", "asha"], "")
    }

    /// Where operators look.
    pub const fn page(&self) -> SocketAddr {
        self.operator
    }

    /// Its process, as `/proc` spells it.
    pub fn pid(&mut self) -> String {
        self.process.id().to_string()
    }

    /// What it has said so far.
    pub fn log(&self) -> Vec<String> {
        self.process.log()
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Follows what it tells open pages; how many alerts that were so far.
    pub fn follow(&self) -> Arc<AtomicUsize> {
        let told = Arc::new(AtomicUsize::new(0));
        let mut stream = TcpStream::connect(self.operator).expect("the receiver listens");
        let (host, program) = (self.operator, &self.program);
        write!(stream, "GET /api/stream HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {program}\r\n\r\n")
            .expect("the receiver reads");
        let counted = Arc::clone(&told);
        std::thread::spawn(move || {
            // It ends with the receiver.
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if line == "event: alert" {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        told
    }

    /// What is known of a gateway.
    pub fn gateway(&self, gateway: &str) -> Value {
        let all = self.asked("/api/gateways");
        let mut rows = all["gateways"].as_array().into_iter().flatten();
        rows.find(|row| row["gateway"] == gateway).cloned().expect("a gateway of the receiver")
    }
}
