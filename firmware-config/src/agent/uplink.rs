//! `[uplink]`: where alerts, tours and reports go.

use crate::credential::Credential;
use crate::table::Table;
use crate::url::{HTTP, Url, receiver};
use crate::value::{ClientCertificate, Read, credential, one_of, path_in, span_within};
use std::path::{Path, PathBuf};
use toml::de::DeValue;
use vigil_core::time::Span;

/// The most keys of bundles: one for each who signs, and one more while another takes its place.
const MAX_BUNDLE_KEYS: usize = 8;
const BUNDLE_KEYS: &str =
    "a list of 1 to 8 public keys, each as base64 or hex, or the path of a file that holds one";

/// What the receiver understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventFormat {
    /// CloudEvents 1.0, in batches.
    CloudEvents,
    /// Alertmanager API v2.
    Alertmanager,
}

/// A public key by which bundles are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleKey {
    /// The key itself, as base64 or hex.
    Written(String),
    /// The file that holds it.
    File(PathBuf),
}

/// `[uplink]`, valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    url: Url,
    format: EventFormat,
    credential: Option<Credential>,
    ca_file: Option<PathBuf>,
    client_certificate: Option<ClientCertificate>,
    heartbeat: Span,
    bundle_keys: Vec<BundleKey>,
    bundle_probation: Span,
}

impl Uplink {
    /// The receiver.
    pub fn url(&self) -> &Url {
        &self.url
    }
    /// What it understands.
    pub fn format(&self) -> EventFormat {
        self.format
    }
    /// The credential that holds the bearer token.
    pub fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }
    /// The authority that the receiver's certificate must be of, PEM; else those of the system.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }
    /// What the agent shows to the receiver.
    pub fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.client_certificate.as_ref()
    }
    /// How often the agent says that it is well.
    pub fn heartbeat(&self) -> Span {
        self.heartbeat
    }
    /// Whose site bundles are taken; without one, none is.
    pub fn bundle_keys(&self) -> &[BundleKey] {
        &self.bundle_keys
    }
    /// How long the agent has to stay healthy with a new bundle, or it goes back to the one before.
    pub fn bundle_probation(&self) -> Span {
        self.bundle_probation
    }
}

pub(crate) fn read(mut table: Table<'_>, base: &Path) -> Uplink {
    const FORMATS: [(&str, EventFormat); 2] =
        [("cloudevents", EventFormat::CloudEvents), ("alertmanager", EventFormat::Alertmanager)];
    // Below 5 s a heartbeat is load, above an hour nobody misses it in time.
    let heartbeat = span_within(Span::from_secs(5), Span::from_hours(1));
    // Below 5 s next to nothing has been stored with it, and beyond an hour a day's changes would follow on each other's heels.
    let probation = span_within(Span::from_secs(5), Span::from_hours(1));
    let [_, tls] = HTTP;
    let uplink = Uplink {
        url: table.required("url", receiver, Url::stand_in(tls)),
        format: table.optional("format", one_of(&FORMATS)).unwrap_or(EventFormat::CloudEvents),
        credential: table.optional("credential", credential),
        ca_file: table.optional("ca_file", path_in(base)),
        client_certificate: ClientCertificate::read(&mut table, base),
        heartbeat: table.optional("heartbeat", heartbeat).unwrap_or(Span::from_secs(30)),
        bundle_keys: bundle_keys(&mut table, base),
        bundle_probation: table.optional("bundle_probation", probation).unwrap_or(Span::from_mins(5)),
    };
    let proves_itself = table.has("credential") || table.has("client_cert");
    if !proves_itself && !table.is_in_doubt("format") && uplink.format == EventFormat::CloudEvents {
        table.missing(
            "credential",
            "the name of the credential with the token, or client_cert and client_key",
        );
    }
    table.finish();
    uplink
}

fn bundle_keys(table: &mut Table<'_>, base: &Path) -> Vec<BundleKey> {
    // What is no list, or an empty one, is told in the words of the whole key.
    let written = table.optional("bundle_keys", |value: &DeValue<'_>| {
        let fits = value.as_array().is_some_and(|list| (1..=MAX_BUNDLE_KEYS).contains(&list.len()));
        if fits { Ok(()) } else { Err(BUNDLE_KEYS.into()) }
    });
    written.and_then(|()| table.list("bundle_keys", bundle_key(base))).unwrap_or_default()
}

fn bundle_key(base: &Path) -> impl Fn(&DeValue<'_>) -> Read<BundleKey> {
    let path = path_in(base);
    move |value| match value.as_str().map(str::trim).filter(|text| is_key(text)) {
        Some(key) => Ok(BundleKey::Written(key.to_owned())),
        None => path(value).map(BundleKey::File),
    }
}

/// Whether a text is 32 bytes as base64 or as hex, and so hardly the name of a file.
fn is_key(text: &str) -> bool {
    let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    match text.len() {
        44 => text.strip_suffix('=').is_some_and(|bare| bare.bytes().all(base64)),
        64 => text.bytes().all(|b| b.is_ascii_hexdigit()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::tests::{agent, problems};

    const MQTT: &str = "[mqtt]\nallow_anonymous = true\n";

    #[test]
    fn the_rest_of_an_uplink_has_defaults() {
        let agent =
            agent(&format!("{MQTT}[uplink]\nurl = \"https://noc.example.org/v1\"\ncredential = \"t\""));
        let uplink = agent.uplink().unwrap();
        assert_eq!(uplink.heartbeat(), Span::from_secs(30));
        assert_eq!(uplink.format(), EventFormat::CloudEvents);
    }

    #[test]
    fn a_key_of_bundles_is_written_out_or_the_path_of_a_file() {
        let written = "3UDp2sUqgX0a6Sc4eC0cvSX1pc2rY4XFmVQ2xyVqL3c=";
        let text = format!(
            "{MQTT}[uplink]\nurl = \"https://n/v1\"\ncredential = \"t\"\nbundle_keys = [\"{written}\", \"keys/noc.pub\"]\n\
             bundle_probation = \"10s\""
        );
        let agent = agent(&text);
        let uplink = agent.uplink().unwrap();
        let [BundleKey::Written(key), BundleKey::File(path)] = uplink.bundle_keys() else {
            panic!("{:?}", uplink.bundle_keys())
        };
        assert!(key == written && path.ends_with("keys/noc.pub"), "{key} {path:?}");
        assert_eq!(uplink.bundle_probation(), Span::from_secs(10));
    }

    #[test]
    fn what_is_no_list_of_keys_is_refused() {
        let told = |keys: &str| {
            problems(&format!(
                "agent.gateway = \"g\"\n{MQTT}[uplink]\nurl = \"https://n/v1\"\ncredential = \"t\"\nbundle_keys = {keys}\n\
                 bundle_probation = \"1s\""
            ))
        };
        let probation =
            "agent.toml:8: uplink.bundle_probation: found \"1s\", allowed: a duration from \"5s\" to \"1h\"";
        for keys in ["[]", "\"noc.pub\"", "[1, 2, 3, 4, 5, 6, 7, 8, 9]"] {
            let found = told(keys);
            assert!(found[0].starts_with("agent.toml:7: uplink.bundle_keys: found"), "{found:?}");
            assert!(found[0].ends_with(BUNDLE_KEYS) && found[1] == probation, "{found:?}");
        }
        assert!(
            told("[3]")[0].contains("uplink.bundle_keys[0]: found 3, allowed: a path"),
            "{:?}",
            told("[3]")
        );
    }

    #[test]
    fn a_gateway_must_prove_itself() {
        let text =
            format!("agent.gateway = \"g\"\n{MQTT}[uplink]\nurl = \"https://n/v1\"\nclient_key = \"k\"");
        assert_eq!(
            problems(&text),
            [
                "agent.toml:4: uplink.client_cert: found nothing, allowed: the certificate that belongs to client_key",
                "agent.toml:4: uplink.credential: found nothing, allowed: the name of the credential with the token, or \
             client_cert and client_key",
            ]
        );
    }
}
