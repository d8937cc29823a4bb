//! `vigil check`: what a configuration leans on outside its files. Credentials, certificates, ports, folders.

use crate::agent::mqtt::{Embedded, External, Mode};
use crate::agent::uplink::BundleKey;
use crate::agent::{AgentConfig, draft as agent_draft};
use crate::credential::{Credential, Environment, credential, secret_file};
use crate::noc::{Escalation, NocConfig, draft as noc_draft};
use crate::problem::{Fault, Problem, Problems};
use crate::sheet::{Sheet, read_file};
use crate::site::draft as site_draft;
use crate::value::ClientCertificate;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use vigil_core::site::Site;

/// A configuration that would start.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The box.
    pub agent: AgentConfig,
    /// The site that it guards.
    pub site: Site,
    /// What is allowed, and looks like a mistake.
    pub doubts: Vec<Problem>,
}

/// Validates `agent.toml`, its site file, and all that they name: credentials, password file, certificates,
/// ports and the data folder. Starts nothing and leaves nothing behind; every problem at once.
pub fn check(agent_toml: &Path, env: &Environment) -> Result<Checked, Problems> {
    let (sheet, agent) = agent_draft(agent_toml, &read_file(agent_toml)?);
    let Some(agent) = agent else {
        Problems::none_in(sheet.into_problems())?;
        return Err(Sheet::nothing_in(agent_toml));
    };
    Surroundings { sheet: &sheet, base: agent.base(), env }.of_agent(&agent);
    let mut elsewhere = Vec::new();
    let mut doubts = sheet.doubts();
    let site = match sheet.is_in_doubt("agent.site") {
        true => None,
        false => site_of(&agent, env, &mut elsewhere, &mut doubts),
    };
    if let Some(site) = site.as_ref().filter(|_| !sheet.is_in_doubt("serial")) {
        elsewhere.extend(serial_problems(&agent, site));
    }
    elsewhere.extend(sheet.into_problems());
    Problems::none_in(elsewhere)?;
    site.map(|site| Checked { agent, site, doubts }).ok_or_else(|| Sheet::nothing_in(agent_toml))
}

/// Validates `noc.toml` and all that it names, and says what is allowed and looks like a mistake; every problem at once.
pub fn check_noc(noc_toml: &Path, env: &Environment) -> Result<(NocConfig, Vec<Problem>), Problems> {
    let (sheet, noc) = noc_draft(noc_toml, &read_file(noc_toml)?);
    if let Some(noc) = &noc {
        Surroundings { sheet: &sheet, base: noc.base(), env }.of_noc(noc);
    }
    let doubts = sheet.doubts();
    Ok((Sheet::approve((sheet, noc))?, doubts))
}

/// Whether the serial lines of the box and the devices of the site fit together.
pub fn check_together(agent: &AgentConfig, site: &Site) -> Result<(), Problems> {
    Problems::none_in(serial_problems(agent, site))
}

fn serial_problems(agent: &AgentConfig, site: &Site) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (i, line) in agent.serial().iter().enumerate() {
        let kind = line.protocol().device_kind();
        let allowed = match site.device(line.device().as_str()) {
            None => format!("the id of a device of site {}", site.id),
            Some(device) if device.kind != kind => {
                format!("a device of kind {kind:?}, which speaks {}", line.protocol().name()).to_lowercase()
            }
            Some(_) => continue,
        };
        let fault = Fault::NotAllowed { found: format!("\"{}\"", line.device()), allowed };
        let key = format!("serial[{i}].device");
        problems.push(Problem { file: agent.file().into(), line: line.line(), key, fault });
    }
    problems
}

fn site_of(
    agent: &AgentConfig,
    env: &Environment,
    problems: &mut Vec<Problem>,
    doubts: &mut Vec<Problem>,
) -> Option<Site> {
    let text = read_file(agent.site_file()).map_err(|problem| problems.push(problem)).ok()?;
    let (sheet, site) = site_draft(agent.site_file(), &text);
    if let Some((site, _)) = &site {
        let around = Surroundings { sheet: &sheet, base: agent.base(), env };
        for (i, checkpoint) in site.checkpoints.iter().enumerate() {
            let name = checkpoint.sun_key.as_deref().and_then(Credential::new);
            around.credential(&format!("checkpoints[{i}].sun_key"), name.as_ref());
        }
        site.doubts().into_iter().for_each(|doubt| sheet.doubt(&doubt.path, doubt.what));
    }
    doubts.extend(sheet.doubts());
    problems.extend(sheet.into_problems());
    site.map(|(site, _)| site)
}

/// Shorter secrets are guessed by trying: 16 characters of an alphabet of 16 are 64 bits.
const SHORTEST_SECRET: usize = 16;

const GUESSED: &str = "this secret can be guessed; make one with: openssl rand -base64 32";

fn is_guessed(secret: &[u8]) -> bool {
    secret.len() < SHORTEST_SECRET || secret.windows(2).all(|pair| matches!(pair, [a, b] if a == b))
}

/// What lies around one file. A key that is in doubt already is not looked at again.
struct Surroundings<'a> {
    sheet: &'a Sheet,
    base: &'a Path,
    env: &'a Environment,
}

impl Surroundings<'_> {
    fn of_agent(&self, agent: &AgentConfig) {
        self.folder("agent.data_dir", agent.data_dir());
        match agent.mqtt() {
            Mode::Embedded(broker) => self.of_embedded(broker),
            Mode::External(broker) => self.of_external(broker),
        }
        if let Some(uplink) = agent.uplink() {
            self.credential("uplink.credential", uplink.credential());
            self.file("uplink.ca_file", uplink.ca_file());
            self.client_certificate("uplink", uplink.client_certificate());
            for (i, key) in uplink.bundle_keys().iter().enumerate() {
                if let BundleKey::File(path) = key {
                    self.file(&format!("uplink.bundle_keys[{i}]"), Some(path));
                }
            }
        }
        self.port("http.listen", agent.http_listen());
        if !agent.http_listen().ip().is_loopback() {
            let what =
                "the page shows names and positions to all who reach this address, and asks for no password";
            self.sheet.doubt("http.listen", what);
        }
        self.credential("store.credential", agent.store().credential());
    }

    fn of_embedded(&self, broker: &Embedded) {
        self.port("mqtt.listen", broker.listen());
        self.file("mqtt.password_file", broker.password_file());
        if let Some(tls) = broker.tls() {
            self.port("mqtt.tls_listen", tls.listen());
            self.file("mqtt.tls_cert", Some(tls.cert()));
            self.secret_file("mqtt.tls_key", Some(tls.key()));
            self.file("mqtt.client_ca", tls.client_ca());
        }
    }

    fn of_external(&self, broker: &External) {
        self.credential("mqtt.credential", broker.credential());
        self.file("mqtt.ca_file", broker.ca_file());
        self.client_certificate("mqtt", broker.client_certificate());
    }

    fn client_certificate(&self, table: &str, shown: Option<&ClientCertificate>) {
        self.file(&format!("{table}.client_cert"), shown.map(ClientCertificate::cert));
        self.secret_file(&format!("{table}.client_key"), shown.map(ClientCertificate::key));
    }

    fn of_noc(&self, noc: &NocConfig) {
        self.port("noc.listen", noc.listen());
        self.port("noc.operator_listen", noc.operator_listen());
        self.folder("noc.data_dir", noc.data_dir());
        self.file("noc.tls_cert", noc.tls().map(|c| c.cert()));
        self.secret_file("noc.tls_key", noc.tls().map(|c| c.key()));
        self.file("noc.operator_tls_cert", noc.operator_tls().map(|c| c.cert()));
        self.secret_file("noc.operator_tls_key", noc.operator_tls().map(|c| c.key()));
        self.file("noc.client_ca", noc.client_ca());
        if let Some(database) = noc.database() {
            self.credential("noc.database_credential", database.credential());
            self.file("noc.database_ca", database.ca_file());
        }
        for (i, gateway) in noc.gateways().iter().enumerate() {
            self.credential(&format!("gateways[{i}].credential"), gateway.credential());
        }
        self.of_escalation(noc.escalation());
    }

    fn of_escalation(&self, escalation: &Escalation) {
        for (i, contact) in escalation.contacts().iter().enumerate() {
            self.credential(&format!("contacts[{i}].credential"), contact.credential());
            let is_told =
                escalation.steps().iter().any(|step| step.to().iter().any(|to| to == contact.name()));
            let name = format!("contacts[{i}].name");
            if !is_told && !self.sheet.is_in_doubt(&name) {
                self.sheet.doubt(&name, "no step of [[escalation]] tells this contact anything");
            }
        }
        if let Some(smtp) = escalation.smtp() {
            self.credential("smtp.credential", smtp.credential());
            self.file("smtp.ca_file", smtp.ca_file());
        }
    }

    fn credential(&self, key: &str, name: Option<&Credential>) {
        let Some(name) = name.filter(|_| !self.sheet.is_in_doubt(key)) else { return };
        match credential(name, self.base, self.env) {
            Ok(secret) if is_guessed(secret.expose()) => self.sheet.doubt(key, GUESSED),
            Ok(_) => {}
            Err(error) => {
                let allowed = format!("a credential that can be read ({error})");
                self.sheet.refuse(key, format!("\"{name}\""), allowed);
            }
        }
    }

    fn secret_file(&self, key: &str, path: Option<&Path>) {
        self.file(key, path.map(|path| secret_file(path, self.base, self.env)).as_deref());
    }

    fn file(&self, key: &str, path: Option<&Path>) {
        let Some(path) = path.filter(|_| !self.sheet.is_in_doubt(key)) else { return };
        if let Err(error) = readable(path) {
            let allowed = format!("a file that this user can read ({error})");
            self.sheet.refuse(key, path.display().to_string(), allowed);
        }
    }

    fn port(&self, key: &str, address: SocketAddr) {
        // Port 0 is whichever is free; there is nothing to try.
        if address.port() == 0 || self.sheet.is_in_doubt(key) {
            return;
        }
        let Err(error) = TcpListener::bind(address) else { return };
        if error.kind() == io::ErrorKind::AddrInUse {
            // The agent that runs here, more often than not: whoever changes its configuration checks it meanwhile.
            self.sheet.doubt(
                key,
                format!("{address} is in use; if not by this agent, stop what uses it (ss -ltnp)"),
            );
        } else {
            let allowed = format!("an address of this machine that may be listened on ({error})");
            self.sheet.refuse(key, address.to_string(), allowed);
        }
    }

    fn folder(&self, key: &str, path: &Path) {
        if self.sheet.is_in_doubt(key) {
            return;
        }
        if let Err(error) = writable(path) {
            let allowed = format!("a folder that this user can make and write to ({error})");
            self.sheet.refuse(key, path.display().to_string(), allowed);
        }
    }
}

fn readable(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    fs::File::open(path).map(drop)
}

/// Whether `path` is a folder to write to, or can become one. Tried with a folder that is removed again,
/// because the folder itself, made by the wrong user, would lock the agent out.
fn writable(path: &Path) -> io::Result<()> {
    let absolute = std::path::absolute(path)?;
    let existing = absolute.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    if !existing.is_dir() {
        let message = format!("{} is no folder", existing.display());
        return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
    }
    let probe: PathBuf = existing.join(format!(".vigil-check-{}", std::process::id()));
    fs::create_dir(&probe)?;
    fs::remove_dir(&probe)
}
