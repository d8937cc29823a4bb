//! `noc.toml`: the receiver at the network operations centre, for `vigil noc`.

mod escalation;

pub use escalation::{Contact, ContactWay, Escalation, EscalationStep, Smtp, SmtpSecurity};

use crate::agent::base_of;
use crate::credential::Credential;
use crate::problem::Problems;
use crate::sheet::{Sheet, read_file};
use crate::table::Table;
use crate::value::{Read, ServerCertificate, address, credential, flag, path_in};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use toml::de::DeValue;
use vigil_core::id::{GatewayId, SiteId, TenantId};

/// The most gateways of one receiver: as many as the longest list of a site, and 1 MiB of file holds them.
const MAX_GATEWAYS: usize = 10_000;

/// The most proxies before one receiver: a pair of them, and some that are being replaced.
const MAX_PROXIES: usize = 16;

/// The most certificates of one gateway: the one that it has, and the one that it will have.
const MAX_CERTIFICATES: usize = 2;

/// The longest address of a database: host, user, name and some options.
const MAX_DATABASE: usize = 500;

/// `noc.toml`, valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NocConfig {
    file: PathBuf,
    listen: SocketAddr,
    operator_listen: SocketAddr,
    operator_tls: Option<ServerCertificate>,
    trusted_proxies: Vec<IpAddr>,
    balancers: Vec<IpAddr>,
    data_dir: PathBuf,
    database: Option<Database>,
    bundle_key: Option<Credential>,
    tls: Option<ServerCertificate>,
    client_ca: Option<PathBuf>,
    gateways: Vec<Gateway>,
    escalation: Escalation,
}

/// `[noc] database`: the PostgreSQL that keeps the ledger instead of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    url: String,
    credential: Option<Credential>,
    ca_file: Option<PathBuf>,
}

impl Database {
    /// `postgres://user@host/name`.
    pub fn url(&self) -> &str {
        &self.url
    }
    /// The credential that holds the password.
    pub fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }
    /// The authority that the server's certificate must be of, PEM; else those of the system.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }
}

impl NocConfig {
    /// The file that it was read from.
    pub fn file(&self) -> &Path {
        &self.file
    }
    /// The folder of that file, beside which `credentials/` lies.
    pub fn base(&self) -> &Path {
        base_of(&self.file)
    }
    /// Where gateways send to.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }
    /// Where the operators' pages are served.
    pub fn operator_listen(&self) -> SocketAddr {
        self.operator_listen
    }
    /// What the receiver shows to operators; `None` is plain HTTP, on loopback only.
    pub fn operator_tls(&self) -> Option<&ServerCertificate> {
        self.operator_tls.as_ref()
    }

    /// Who passes the connections of many gateways on.
    pub fn balancers(&self) -> &[IpAddr] {
        &self.balancers
    }

    /// The reverse proxies that are believed about where a request comes from.
    pub fn trusted_proxies(&self) -> &[IpAddr] {
        &self.trusted_proxies
    }
    /// The server that keeps the ledger; `None` is a file below `data_dir`.
    pub fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }
    /// The credential with the private key that signs site bundles; without it no site file can be given.
    pub fn bundle_key(&self) -> Option<&Credential> {
        self.bundle_key.as_ref()
    }
    /// The authority of the certificates with which gateways may come, PEM.
    pub fn client_ca(&self) -> Option<&Path> {
        self.client_ca.as_deref()
    }
    /// Where the database lives.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }
    /// What the receiver shows to gateways; `None` is plain HTTP, on loopback only.
    pub fn tls(&self) -> Option<&ServerCertificate> {
        self.tls.as_ref()
    }
    /// Who may send.
    pub fn gateways(&self) -> &[Gateway] {
        &self.gateways
    }
    /// Who is told of alerts that nobody takes on.
    pub fn escalation(&self) -> &Escalation {
        &self.escalation
    }
}

/// `[[gateways]]`: one box that may send, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    id: GatewayId,
    tenant: TenantId,
    site: SiteId,
    credential: Option<Credential>,
    certificates: Vec<String>,
}

impl Gateway {
    /// Which box.
    pub fn id(&self) -> &GatewayId {
        &self.id
    }
    /// Whose.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }
    /// At which site.
    pub fn site(&self) -> &SiteId {
        &self.site
    }
    /// The credential that holds its bearer token.
    pub fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }
    /// SHA-256 of the certificates with which it may come, in lower-case hex.
    pub fn certificates(&self) -> &[String] {
        &self.certificates
    }
}

/// Reads `noc.toml`; every problem at once.
pub fn load_noc(file: &Path) -> Result<NocConfig, Problems> {
    parse_noc(file, &read_file(file)?)
}

/// Reads the text of a `noc.toml` as if it stood in `file`; every problem at once.
pub fn parse_noc(file: &Path, text: &[u8]) -> Result<NocConfig, Problems> {
    Sheet::approve(draft(file, text))
}

/// The configuration as far as it can be read, with the problems so far.
pub(crate) fn draft(file: &Path, text: &[u8]) -> (Sheet, Option<NocConfig>) {
    Sheet::read(file, text, |_, root| Some(shape(file, root)))
}

fn shape(file: &Path, root: &mut Table<'_>) -> NocConfig {
    let base = base_of(file);
    let port = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut noc = root.table("noc");
    let listen = noc.optional("listen", address).unwrap_or_else(|| port(8443));
    let operator_listen = noc.optional("operator_listen", address).unwrap_or_else(|| port(8444));
    let tls = tls(&mut noc, listen, base);
    let client_ca = noc.optional("client_ca", path_in(base));
    if client_ca.is_some() && tls.is_none() && !noc.is_in_doubt("tls") {
        noc.refuse("client_ca", "nothing here with tls = false");
    }
    let config = NocConfig {
        file: file.into(),
        listen,
        operator_listen,
        operator_tls: operator_tls(&mut noc, operator_listen, base),
        trusted_proxies: before_it(&mut noc, "trusted_proxies"),
        balancers: before_it(&mut noc, "balancers"),
        data_dir: noc.optional("data_dir", path_in(base)).unwrap_or_else(|| base.join("noc-data")),
        database: database(&mut noc, base),
        bundle_key: noc.optional("bundle_key", credential),
        tls,
        gateways: gateways(root, noc.has("client_ca")),
        client_ca,
        escalation: escalation::escalation(root, base),
    };
    if listen == config.operator_listen && listen.port() != 0 {
        noc.refuse("operator_listen", "another address than listen");
    }
    noc.finish();
    config
}

fn tls(noc: &mut Table<'_>, listen: SocketAddr, base: &Path) -> Option<ServerCertificate> {
    let tls = noc.optional("tls", flag).unwrap_or(true);
    if noc.is_in_doubt("tls") {
        noc.overlook(&["tls_cert", "tls_key"]);
        return None;
    }
    if tls {
        let cert = noc.required("tls_cert", path_in(base), PathBuf::new());
        let key = noc.required("tls_key", path_in(base), PathBuf::new());
        return Some(ServerCertificate { cert, key });
    }
    noc.forbid("tls_cert", "nothing here with tls = false");
    noc.forbid("tls_key", "nothing here with tls = false");
    if !listen.ip().is_loopback() {
        noc.refuse("tls", "true, unless listen is an address of this machine only");
    }
    None
}

/// Passwords go over TLS, or not beyond this machine.
fn operator_tls(noc: &mut Table<'_>, listen: SocketAddr, base: &Path) -> Option<ServerCertificate> {
    let (has_cert, has_key) = (noc.has("operator_tls_cert"), noc.has("operator_tls_key"));
    let cert = noc.optional("operator_tls_cert", path_in(base));
    let key = noc.optional("operator_tls_key", path_in(base));
    match (has_cert, has_key) {
        (true, false) => noc.missing("operator_tls_key", "the key of operator_tls_cert"),
        (false, true) => noc.missing("operator_tls_cert", "the certificate of operator_tls_key"),
        (false, false) if !listen.ip().is_loopback() => noc.refuse(
            "operator_listen",
            "an address of this machine only, like \"127.0.0.1:8444\", without operator_tls_cert and operator_tls_key",
        ),
        (true, true) | (false, false) => {}
    }
    Some(ServerCertificate { cert: cert?, key: key? })
}

/// Who stands before the receiver.
fn before_it(noc: &mut Table<'_>, key: &'static str) -> Vec<IpAddr> {
    let ip = |value: &DeValue<'_>| -> Read<IpAddr> {
        let parsed = value.as_str().and_then(|text| text.parse().ok());
        parsed.ok_or_else(|| "an address without a port, like \"127.0.0.1\"".into())
    };
    let proxies = noc.list(key, ip).unwrap_or_default();
    if proxies.len() > MAX_PROXIES {
        noc.refuse(key, format!("at most {MAX_PROXIES} addresses"));
    }
    proxies
}

fn database(noc: &mut Table<'_>, base: &Path) -> Option<Database> {
    let url = noc.optional("database", postgres);
    let database = Database {
        url: url.unwrap_or_default(),
        credential: noc.optional("database_credential", credential),
        ca_file: noc.optional("database_ca", path_in(base)),
    };
    if noc.has("database") {
        return Some(database);
    }
    for key in ["database_credential", "database_ca"].into_iter().filter(|key| noc.has(key)) {
        noc.refuse(key, "nothing here without database");
    }
    None
}

/// Where a PostgreSQL is. A password has its own key, and who reads the file does not read it.
fn postgres(value: &DeValue<'_>) -> Read<String> {
    let fits = |text: &&str| {
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
        let user = rest.and_then(|rest| rest.split_once('@')).map_or("", |(user, _)| user);
        rest.is_some_and(|rest| !rest.is_empty()) && !user.contains(':') && text.len() <= MAX_DATABASE
    };
    value.as_str().filter(fits).map(str::to_owned).ok_or_else(|| {
        "postgres://user@host/database; a password stands in database_credential; without this key the ledger is a file".into()
    })
}

/// The digest of a certificate, as openssl writes it or without colons.
fn fingerprint(value: &DeValue<'_>) -> Read<String> {
    let hex = value.as_str().map(|text| text.replace(':', "").to_ascii_lowercase());
    let is_digest = |hex: &String| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    hex.filter(is_digest).ok_or_else(|| {
        "SHA-256 of a certificate, as says: openssl x509 -noout -fingerprint -sha256 -in CERT".into()
    })
}

fn gateways(root: &mut Table<'_>, with_certificates: bool) -> Vec<Gateway> {
    let read = root.tables("gateways", |table| {
        let (id, tenant, site) = (table.id("id")?, table.id("tenant")?, table.id("site")?);
        let by_certificate = table.has("client_cert_sha256");
        let named = table.optional("credential", credential);
        if !table.has("credential") && !by_certificate {
            table.missing("credential", "the name of a credential with its token, or client_cert_sha256");
        }
        let certificates = table.list("client_cert_sha256", fingerprint).unwrap_or_default();
        if by_certificate && !table.is_in_doubt("client_cert_sha256") {
            if !with_certificates {
                table.refuse("client_cert_sha256", "nothing here without client_ca in [noc]");
            } else if certificates.len() > MAX_CERTIFICATES {
                table.refuse(
                    "client_cert_sha256",
                    format!("at most {MAX_CERTIFICATES}: the one that it has and the next"),
                );
            }
        }
        let paths = ["id", "credential", "client_cert_sha256"].map(|key| table.path_of(key));
        Some((Gateway { id, tenant, site, credential: named, certificates }, paths))
    });
    if read.is_empty() && !root.has("gateways") {
        root.missing("gateways", "at least one [[gateways]]: nobody else may send");
    }
    if read.len() > MAX_GATEWAYS {
        root.refuse("gateways", format!("at most {MAX_GATEWAYS} gateways"));
    }
    let (mut ids, mut credentials, mut fingerprints) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut known = Vec::new();
    for (gateway, [id_path, credential_path, cert_path]) in read {
        if !ids.insert(gateway.id.clone()) {
            root.refuse_path(&id_path, "an id that is used once");
        }
        // A token must name its gateway: with one for two, either could speak for the other.
        if gateway.credential.as_ref().is_some_and(|named| !credentials.insert(named.clone())) {
            root.refuse_path(&credential_path, "a credential of its own");
        }
        if !gateway.certificates.iter().all(|cert| fingerprints.insert(cert.clone())) {
            root.refuse_path(&cert_path, "certificates of its own");
        }
        known.push(gateway);
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: &str =
        "[[gateways]]\nid = \"gw-1\"\ntenant = \"acme\"\nsite = \"plant-7\"\ncredential = \"gw-1-token\"\n";

    fn problems(text: &str) -> Vec<String> {
        let found = parse_noc(Path::new("noc.toml"), text.as_bytes()).unwrap_err();
        found.as_slice().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn plain_http_is_for_loopback() {
        let text = format!("[noc]\ntls = false\n{GATEWAY}");
        let noc = parse_noc(Path::new("/etc/vigil/noc.toml"), text.as_bytes()).unwrap();
        assert_eq!(noc.listen().to_string(), "127.0.0.1:8443");
        assert_eq!(noc.operator_listen().to_string(), "127.0.0.1:8444");
        assert_eq!(noc.data_dir(), Path::new("/etc/vigil/noc-data"));
        assert!(noc.tls().is_none());
        let found = problems(&format!("[noc]\ntls = false\nlisten = \"0.0.0.0:8443\"\n{GATEWAY}"));
        assert_eq!(
            found,
            [
                "noc.toml:2: noc.tls: found false, allowed: true, unless listen is an address of this machine only"
            ]
        );
    }

    #[test]
    fn with_tls_it_needs_certificate_and_key_and_the_pages_do_not_leave_without() {
        let found = problems(&format!("[noc]\noperator_listen = \"0.0.0.0:8444\"\n{GATEWAY}"));
        let keys: Vec<_> = found.iter().map(|p| p.split(": ").nth(1).unwrap()).collect();
        assert_eq!(keys, ["noc.tls_cert", "noc.tls_key", "noc.operator_listen"]);
        assert!(found[2].contains("without operator_tls_cert and operator_tls_key"), "{found:?}");
        let half = problems(&format!("[noc]\ntls = false\noperator_tls_key = \"k\"\n{GATEWAY}"));
        assert!(half.len() == 1 && half[0].contains("noc.operator_tls_cert: found nothing"), "{half:?}");
        let text = format!(
            "[noc]\ntls = false\noperator_listen = \"0.0.0.0:443\"\noperator_tls_cert = \"c\"\noperator_tls_key = \"k\"\n\
             trusted_proxies = [\"10.0.0.2\", \"::1\"]\nbalancers = [\"10.0.0.3\"]\n{GATEWAY}"
        );
        let noc = parse_noc(Path::new("/etc/vigil/noc.toml"), text.as_bytes()).unwrap();
        assert_eq!(noc.operator_tls().unwrap().cert(), Path::new("/etc/vigil/c"));
        assert_eq!(noc.trusted_proxies().len(), 2);
        assert_eq!(noc.balancers(), ["10.0.0.3".parse::<IpAddr>().unwrap()]);
        let wrong = problems(&format!("[noc]\ntls = false\ntrusted_proxies = [\"10.0.0.0/8\"]\n{GATEWAY}"));
        assert!(wrong[0].contains("noc.trusted_proxies[0]: found \"10.0.0.0/8\""), "{wrong:?}");
    }

    #[test]
    fn a_gateway_has_a_token_or_a_certificate() {
        let bare = GATEWAY.replace("credential = \"gw-1-token\"\n", "");
        let none = problems(&format!("[noc]\ntls = false\n{bare}"));
        assert!(none[0].contains("gateways[0].credential: found nothing") && none.len() == 1, "{none:?}");
        let (digest, tls) = ("AB:".repeat(31) + "CD", "tls_cert = \"c\"\ntls_key = \"k\"\n");
        let with = |ca: &str, list: &str| format!("[noc]\n{tls}{ca}{bare}client_cert_sha256 = [{list}]\n");
        let good = with("client_ca = \"ca.pem\"\n", &format!("\"{digest}\""));
        let noc = parse_noc(Path::new("noc.toml"), good.as_bytes()).unwrap();
        assert_eq!(noc.gateways()[0].certificates(), ["ab".repeat(31) + "cd"]);
        assert!(noc.gateways()[0].credential().is_none() && noc.client_ca().is_some());
        let alone = problems(&with("", &format!("\"{digest}\"")));
        assert!(alone[0].contains("nothing here without client_ca"), "{alone:?}");
        let short = problems(&with("client_ca = \"ca.pem\"\n", "\"AB:CD\""));
        assert!(short[0].contains("openssl x509"), "{short:?}");
    }

    #[test]
    fn a_database_is_a_postgresql_and_its_password_stands_elsewhere() {
        let with = |line: &str| format!("[noc]\ntls = false\n{line}\n{GATEWAY}");
        let text = with("database = \"postgres://vigil@db.example.org/vigil\"\ndatabase_credential = \"db\"");
        let noc = parse_noc(Path::new("noc.toml"), text.as_bytes()).unwrap();
        let database = noc.database().unwrap();
        assert_eq!(database.url(), "postgres://vigil@db.example.org/vigil");
        assert_eq!(database.credential().unwrap().as_str(), "db");
        for bad in ["mysql://x/y", "postgres://", "postgres://vigil:secret@db/vigil"] {
            let found = problems(&with(&format!("database = \"{bad}\"")));
            assert!(found[0].contains("database_credential"), "{found:?}");
        }
        assert!(problems(&with("database_ca = \"ca.pem\""))[0].contains("nothing here without database"));
    }

    #[test]
    fn a_token_belongs_to_one_gateway() {
        let found = problems(&format!("[noc]\ntls = false\n{GATEWAY}{GATEWAY}"));
        assert_eq!(
            found,
            [
                "noc.toml:9: gateways[1].id: found \"gw-1\", allowed: an id that is used once",
                "noc.toml:12: gateways[1].credential: found \"gw-1-token\", allowed: a credential of its own",
            ]
        );
    }

    #[test]
    fn a_receiver_for_nobody_is_a_mistake() {
        let found = problems("[noc]\ntls = false\n");
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
