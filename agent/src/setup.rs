//! From the configuration to what the daemon is made of: every file and credential is read here, before anything
//! is opened.

use crate::bundles::Bundles;
use crate::sources::{broker, mqtt};
use crate::store::{BadMaster, Masters};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use vigil_cloud_sync::bundle::{BadKey, PublicKey, Trusted};
use vigil_cloud_sync::{Origin, Token, UplinkConfig};
use vigil_config::{
    AgentConfig, BundleKey, ClientCertificate, Credential, CredentialError, Embedded, Environment,
    EventFormat, External, Mode, SerialLine, Uplink,
};
use vigil_core::id::GatewayId;
use vigil_core::site::Site;
use vigil_core::time::Span;

/// What the daemon is made of.
pub struct Setup {
    /// Which gateway this is.
    pub gateway: GatewayId,
    /// The site.
    pub site: Arc<Site>,
    /// Where the store is.
    pub data_dir: PathBuf,
    /// How messages come in.
    pub source: SourceSetup,
    /// What hangs on the serial lines.
    pub serial: Vec<SerialLine>,
    /// The way to a receiver, if there is one.
    pub uplink: Option<UplinkSetup>,
    /// How often the gateway says that it lives.
    pub heartbeat: Duration,
    /// Where the page listens.
    pub http_listen: std::net::SocketAddr,
    /// How long raw observations are kept.
    pub retention: Span,
    /// How large the store may become.
    pub max_bytes: u64,
    /// What the keys of the store are locked with.
    pub masters: Masters,
    /// How site bundles are taken, if they are.
    pub bundles: Option<Bundles>,
}

/// How messages come in.
pub enum SourceSetup {
    /// Through the broker inside.
    Embedded(Box<broker::BrokerConfig>),
    /// From a broker outside.
    External(mqtt::ExternalConfig),
}

/// The way to a receiver, and what that understands.
pub enum UplinkSetup {
    /// An operations centre.
    Centre(UplinkConfig),
    /// An Alertmanager.
    Alertmanager(UplinkConfig),
}

/// Something that the configuration names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A credential cannot be used.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// A credential that is a password or a token has to be text.
    #[error("the credential {0} is not UTF-8 text")]
    NotText(String),
    /// A credential is no master key.
    #[error("the credential {0} is no master key of the store: {1}")]
    Master(String, BadMaster),
    /// A public key of bundles is none.
    #[error("[uplink] bundle_keys, {0}: {1}")]
    BundleKey(String, BadKey),
    /// A certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] mqtt::tls::TlsError),
    /// The password file is wrong.
    #[error(transparent)]
    Passwords(#[from] broker::PasswordError),
}

/// Reads everything that `config` names.
pub fn setup(config: &AgentConfig, site: Arc<Site>, env: &Environment) -> Result<Setup, SetupError> {
    let source = match config.mqtt() {
        Mode::Embedded(embedded) => SourceSetup::Embedded(Box::new(self::embedded(config, embedded, env)?)),
        Mode::External(external) => SourceSetup::External(self::external(config, external, &site, env)?),
    };
    let uplink = config.uplink().map(|uplink| self::uplink(config, uplink, &site, env)).transpose()?;
    let heartbeat = config.uplink().map_or(Span::from_secs(30), Uplink::heartbeat).to_std();
    Ok(Setup {
        gateway: config.gateway().clone(),
        data_dir: config.data_dir().to_owned(),
        source,
        serial: config.serial().to_vec(),
        uplink,
        heartbeat,
        http_listen: config.http_listen(),
        retention: config.store().retention(),
        max_bytes: config.store().max_bytes(),
        masters: masters(config, env)?,
        bundles: None,
        site,
    })
}

/// What the keys of the store are locked with.
pub fn masters(config: &AgentConfig, env: &Environment) -> Result<Masters, SetupError> {
    let Some(name) = config.store().credential() else { return Ok(Masters::default()) };
    let secret = vigil_config::credential(name, config.base(), env)?;
    Masters::read(secret.expose()).map_err(|why| SetupError::Master(name.as_str().to_owned(), why))
}

/// Whose site bundles are taken.
pub fn bundle_keys(config: &AgentConfig) -> Result<Trusted, SetupError> {
    let keys = config.uplink().map(Uplink::bundle_keys).unwrap_or_default().iter();
    let read = |key: &BundleKey| {
        let (text, place) = match key {
            BundleKey::Written(text) => (text.clone().into_bytes(), text.clone()),
            BundleKey::File(path) => (read(path)?, path.display().to_string()),
        };
        PublicKey::read(&text).map_err(|why| SetupError::BundleKey(place, why))
    };
    keys.map(read).collect::<Result<_, _>>().map(Trusted::new)
}

fn read(path: &Path) -> Result<Vec<u8>, SetupError> {
    fs::read(path).map_err(|source| SetupError::File { path: path.to_owned(), source })
}

fn secret(config: &AgentConfig, name: &Credential, env: &Environment) -> Result<String, SetupError> {
    let secret = vigil_config::credential(name, config.base(), env)?;
    let text = secret.expose_text().ok_or_else(|| SetupError::NotText(name.as_str().to_owned()))?;
    Ok(text.to_owned())
}

fn embedded(
    config: &AgentConfig,
    embedded: &Embedded,
    env: &Environment,
) -> Result<broker::BrokerConfig, SetupError> {
    // The broker reads it again when it starts; a wrong line is to be found by `vigil check` as well.
    embedded.password_file().map(broker::Passwords::read).transpose()?;
    let files = |tls: &vigil_config::TlsListener| broker::TlsFiles {
        cert: tls.cert().to_owned(),
        key: vigil_config::secret_file(tls.key(), config.base(), env),
        client_ca: tls.client_ca().map(Path::to_owned),
    };
    Ok(broker::BrokerConfig {
        listen: embedded.listen(),
        tls: embedded.tls().map(|tls| (tls.listen(), files(tls))),
        password_file: embedded.password_file().map(Path::to_owned),
        allow_anonymous: embedded.allow_anonymous(),
        limits: broker::Limits::default(),
    })
}

fn external(
    config: &AgentConfig,
    external: &External,
    site: &Site,
    env: &Environment,
) -> Result<mqtt::ExternalConfig, SetupError> {
    let ca = external.ca_file().map(read).transpose()?;
    let identity = external.client_certificate().map(|shown| identity(config, shown, env)).transpose()?;
    let pair = identity.as_ref().map(|(cert, key)| (cert.as_slice(), key.as_slice()));
    let tls = external.url().is_secure().then(|| mqtt::tls::client(ca.as_deref(), pair)).transpose()?;
    Ok(mqtt::ExternalConfig {
        host: external.url().host().to_owned(),
        port: external.url().port(),
        tls,
        username: external.username().map(str::to_owned),
        password: external.credential().map(|name| secret(config, name, env)).transpose()?,
        client_id: config.gateway().clone(),
        site: site.id.clone(),
    })
}

fn identity(
    config: &AgentConfig,
    certificate: &ClientCertificate,
    env: &Environment,
) -> Result<(Vec<u8>, Vec<u8>), SetupError> {
    let key = vigil_config::secret_file(certificate.key(), config.base(), env);
    Ok((read(certificate.cert())?, read(&key)?))
}

fn uplink(
    config: &AgentConfig,
    uplink: &Uplink,
    site: &Site,
    env: &Environment,
) -> Result<UplinkSetup, SetupError> {
    let origin =
        Origin { tenant: site.tenant.clone(), site: site.id.clone(), gateway: config.gateway().clone() };
    let token = uplink.credential().map(|name| secret(config, name, env)).transpose()?;
    let token = token.map(|token| Token::new(&token));
    let mut ready = UplinkConfig::new(&uplink.url().to_string(), origin, token);
    ready.ca_pem = uplink.ca_file().map(read).transpose()?;
    ready.client_identity_pem = uplink
        .client_certificate()
        .map(|shown| identity(config, shown, env))
        .transpose()?
        .map(|(cert, key)| [cert, b"\n".to_vec(), key].concat());
    Ok(match uplink.format() {
        EventFormat::CloudEvents => UplinkSetup::Centre(ready),
        EventFormat::Alertmanager => UplinkSetup::Alertmanager(ready),
    })
}
