//! `noc.toml`: the receiver at the network operations centre, for `vigil noc`.

use crate::agent::base_of;
use crate::credential::Credential;
use crate::problem::Problems;
use crate::sheet::{Sheet, read_file};
use crate::table::Table;
use crate::value::{ServerCertificate, address, credential, flag, loopback, path_in};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use vigil_core::id::{GatewayId, SiteId, TenantId};

/// The most gateways of one receiver: as many as the longest list of a site, and 1 MiB of file holds them.
const MAX_GATEWAYS: usize = 10_000;

/// `noc.toml`, valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NocConfig {
    file: PathBuf,
    listen: SocketAddr,
    operator_listen: SocketAddr,
    data_dir: PathBuf,
    tls: Option<ServerCertificate>,
    gateways: Vec<Gateway>,
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
    /// Where the operators' pages are served: plain HTTP, to this machine only.
    pub fn operator_listen(&self) -> SocketAddr {
        self.operator_listen
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
}

/// `[[gateways]]`: one box that may send, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    id: GatewayId,
    tenant: TenantId,
    site: SiteId,
    credential: Credential,
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
    pub fn credential(&self) -> &Credential {
        &self.credential
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
    noc.forbid("database", "nothing here: this version stores in SQLite below data_dir");
    let config = NocConfig {
        file: file.into(),
        listen,
        operator_listen: noc.optional("operator_listen", loopback).unwrap_or_else(|| port(8444)),
        data_dir: noc.optional("data_dir", path_in(base)).unwrap_or_else(|| base.join("noc-data")),
        tls: tls(&mut noc, listen, base),
        gateways: gateways(root),
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

fn gateways(root: &mut Table<'_>) -> Vec<Gateway> {
    let read = root.tables("gateways", |table| {
        let (id, tenant, site) = (table.id("id")?, table.id("tenant")?, table.id("site")?);
        let credential = table.required("credential", |v| credential(v).map(Some), None);
        Some((id, tenant, site, credential, table.path_of("id"), table.path_of("credential")))
    });
    if read.is_empty() && !root.has("gateways") {
        root.missing("gateways", "at least one [[gateways]]: nobody else may send");
    }
    if read.len() > MAX_GATEWAYS {
        root.refuse("gateways", format!("at most {MAX_GATEWAYS} gateways"));
    }
    let (mut ids, mut credentials) = (BTreeSet::new(), BTreeSet::new());
    let mut known = Vec::new();
    for (id, tenant, site, credential, id_path, credential_path) in read {
        if !ids.insert(GatewayId::clone(&id)) {
            root.refuse_path(&id_path, "an id that is used once");
        }
        let Some(credential) = credential else { continue };
        // A token must name its gateway: with one for two, either could speak for the other.
        if !credentials.insert(credential.clone()) {
            root.refuse_path(&credential_path, "a credential of its own");
        }
        known.push(Gateway { id, tenant, site, credential });
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
    fn with_tls_it_needs_certificate_and_key_and_the_pages_stay_local() {
        let found = problems(&format!("[noc]\noperator_listen = \"0.0.0.0:8444\"\n{GATEWAY}"));
        let keys: Vec<_> = found.iter().map(|p| p.split(": ").nth(1).unwrap()).collect();
        assert_eq!(keys, ["noc.tls_cert", "noc.tls_key", "noc.operator_listen"]);
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
    fn a_receiver_for_nobody_is_a_mistake_and_so_is_another_database() {
        let found = problems("[noc]\ntls = false\ndatabase = \"postgres://x\"\n");
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
