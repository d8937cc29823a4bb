//! `[mqtt]`: the embedded broker, or the way to an external one.

use crate::credential::Credential;
use crate::table::Table;
use crate::url::{MQTT, Url, broker};
use crate::value::{ClientCertificate, address, credential, flag, one_of, path_in, text};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// How the devices' messages come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// The agent is the broker.
    Embedded(Embedded),
    /// The agent is the client of another broker.
    External(External),
}

/// `mode = "embedded"`: the agent is the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedded {
    listen: SocketAddr,
    tls: Option<TlsListener>,
    password_file: Option<PathBuf>,
    allow_anonymous: bool,
}

impl Embedded {
    /// A broker that any port does for.
    const STAND_IN: Self = Self {
        listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        tls: None,
        password_file: None,
        allow_anonymous: false,
    };

    /// Where it listens without TLS; port 0 picks one.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }
    /// Where it listens with TLS.
    pub fn tls(&self) -> Option<&TlsListener> {
        self.tls.as_ref()
    }
    /// Names and password hashes as `mosquitto_passwd` writes them; absent only if anybody may come.
    pub fn password_file(&self) -> Option<&Path> {
        self.password_file.as_deref()
    }
    /// Whether a client without a name is let in.
    pub fn allow_anonymous(&self) -> bool {
        self.allow_anonymous
    }
}

/// The broker's listener with TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsListener {
    listen: SocketAddr,
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

impl TlsListener {
    /// Where it listens.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }
    /// The certificate chain, PEM.
    pub fn cert(&self) -> &Path {
        &self.cert
    }
    /// The private key, PEM.
    pub fn key(&self) -> &Path {
        &self.key
    }
    /// If set, a client must show a certificate of this authority, PEM.
    pub fn client_ca(&self) -> Option<&Path> {
        self.client_ca.as_deref()
    }
}

/// `mode = "external"`: the way to another broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    url: Url,
    username: Option<String>,
    credential: Option<Credential>,
    ca_file: Option<PathBuf>,
    client_certificate: Option<ClientCertificate>,
}

impl External {
    /// The broker.
    pub fn url(&self) -> &Url {
        &self.url
    }
    /// The name to log in with.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }
    /// The credential that holds the password.
    pub fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }
    /// The authority that the broker's certificate must be of, PEM; else those of the system.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }
    /// What the agent shows to the broker.
    pub fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.client_certificate.as_ref()
    }
}

const TLS_KEYS: [&str; 4] = ["tls_listen", "tls_cert", "tls_key", "client_ca"];
const LISTENER_KEYS: [&str; 3] = ["listen", "password_file", "allow_anonymous"];
const EXTERNAL_KEYS: [&str; 6] = ["url", "username", "credential", "ca_file", "client_cert", "client_key"];

const EXTERNAL: &str = "nothing here with mode = \"external\"";
const EMBEDDED: &str = "nothing here unless mode = \"external\"";

pub(crate) fn read(mut table: Table<'_>, base: &Path) -> Mode {
    let external = table.optional("mode", one_of(&[("embedded", false), ("external", true)]));
    if table.is_in_doubt("mode") {
        // Which keys belong here is not known; whatever is read now is never handed out.
        for keys in [&LISTENER_KEYS[..], &TLS_KEYS, &EXTERNAL_KEYS] {
            table.overlook(keys);
        }
        table.finish();
        return Mode::Embedded(Embedded::STAND_IN);
    }
    let mode = if external == Some(true) {
        forbid(&mut table, &LISTENER_KEYS, EXTERNAL);
        forbid(&mut table, &TLS_KEYS, EXTERNAL);
        Mode::External(read_external(&mut table, base))
    } else {
        forbid(&mut table, &EXTERNAL_KEYS, EMBEDDED);
        Mode::Embedded(read_embedded(&mut table, base))
    };
    table.finish();
    mode
}

fn forbid(table: &mut Table<'_>, keys: &[&'static str], allowed: &str) {
    for key in keys {
        table.forbid(key, allowed);
    }
}

fn read_embedded(table: &mut Table<'_>, base: &Path) -> Embedded {
    let embedded = Embedded {
        listen: table
            .optional("listen", address)
            .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 1883))),
        tls: read_tls(table, base),
        password_file: table.optional("password_file", path_in(base)),
        allow_anonymous: table.optional("allow_anonymous", flag).unwrap_or(false),
    };
    let anybody = embedded.allow_anonymous || table.is_in_doubt("allow_anonymous");
    if !table.has("password_file") && !anybody {
        table.missing("password_file", "a file made by mosquitto_passwd, or allow_anonymous = true");
    }
    embedded
}

fn read_tls(table: &mut Table<'_>, base: &Path) -> Option<TlsListener> {
    if !table.has("tls_listen") {
        forbid(table, &TLS_KEYS, "nothing here without tls_listen");
        return None;
    }
    let listen = table.optional("tls_listen", address);
    let cert = table.required("tls_cert", path_in(base), PathBuf::new());
    let key = table.required("tls_key", path_in(base), PathBuf::new());
    let client_ca = table.optional("client_ca", path_in(base));
    Some(TlsListener { listen: listen?, cert, key, client_ca })
}

fn read_external(table: &mut Table<'_>, base: &Path) -> External {
    let [_, tls] = MQTT;
    let external = External {
        url: table.required("url", broker, Url::stand_in(tls)),
        username: table.optional("username", text),
        credential: table.optional("credential", credential),
        ca_file: table.optional("ca_file", path_in(base)),
        client_certificate: ClientCertificate::read(table, base),
    };
    if table.has("credential") && !table.has("username") {
        table.missing("username", "the name that belongs to the password in credential");
    }
    if !external.url.is_secure() {
        for key in ["ca_file", "client_cert", "client_key"].into_iter().filter(|key| table.has(key)) {
            table.refuse(key, "nothing here without mqtts:// in url");
        }
    }
    external
}

#[cfg(test)]
mod tests {
    use crate::agent::mqtt::Mode;
    use crate::agent::tests::{agent, problems};

    #[test]
    fn without_passwords_anybody_must_be_allowed() {
        assert_eq!(
            problems("[agent]\ngateway = \"g\"\n[mqtt]\n"),
            [
                "agent.toml:3: mqtt.password_file: found nothing, allowed: a file made by mosquitto_passwd, or \
             allow_anonymous = true"
            ]
        );
    }

    #[test]
    fn an_external_broker_has_its_own_keys() {
        let text = "[mqtt]\nmode = \"external\"\nurl = \"mqtts://b.example:8883\"\nusername = \"vigil\"\n\
                    credential = \"mqtt-password\"\nca_file = \"ca.pem\"";
        let Mode::External(external) = agent(text).mqtt().clone() else { panic!("embedded") };
        assert_eq!(external.ca_file(), Some(std::path::Path::new("/etc/vigil/ca.pem")));
        assert_eq!(external.url().port(), 8883);
        assert_eq!(external.credential().map(|c| c.as_str()), Some("mqtt-password"));
    }

    #[test]
    fn the_keys_of_the_other_mode_are_refused() {
        let found = problems(
            "[agent]\ngateway = \"g\"\n[mqtt]\nmode = \"external\"\nlisten = \"[::]:1\"\nallow_anonymous = true",
        );
        assert_eq!(
            found,
            [
                "agent.toml:3: mqtt.url: found nothing, allowed: mqtts://host:port or mqtt://host:port; name and password \
             have their own keys",
                "agent.toml:5: mqtt.listen: found \"[::]:1\", allowed: nothing here with mode = \"external\"",
                "agent.toml:6: mqtt.allow_anonymous: found true, allowed: nothing here with mode = \"external\"",
            ]
        );
    }

    #[test]
    fn what_hangs_on_a_key_in_doubt_is_not_held_against_it() {
        let found = problems("[agent]\ngateway = \"g\"\n[mqtt]\nmode = \"extern\"\nurl = \"mqtts://b\"");
        assert_eq!(
            found,
            ["agent.toml:4: mqtt.mode: found \"extern\", allowed: \"embedded\" or \"external\""]
        );
        let found = problems("[agent]\ngateway = \"g\"\n[mqtt]\nallow_anonymous = \"yes\"");
        assert_eq!(found, ["agent.toml:4: mqtt.allow_anonymous: found \"yes\", allowed: true or false"]);
    }

    #[test]
    fn tls_needs_certificate_and_key() {
        let found = problems(
            "[agent]\ngateway = \"g\"\n[mqtt]\nallow_anonymous = true\ntls_listen = \"0.0.0.0:8883\"\ntls_key = \"k\"",
        );
        assert_eq!(found, ["agent.toml:3: mqtt.tls_cert: found nothing, allowed: a path"]);
        let found = problems("[agent]\ngateway = \"g\"\n[mqtt]\nallow_anonymous = true\ntls_key = \"k\"");
        assert_eq!(
            found,
            ["agent.toml:5: mqtt.tls_key: found \"k\", allowed: nothing here without tls_listen"]
        );
    }
}
