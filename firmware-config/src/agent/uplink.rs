//! `[uplink]`: where alerts, tours and reports go.

use crate::credential::Credential;
use crate::table::Table;
use crate::url::{HTTP, Url, receiver};
use crate::value::{ClientCertificate, credential, one_of, path_in, span_within};
use std::path::{Path, PathBuf};
use vigil_core::time::Span;

/// What the receiver understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventFormat {
    /// CloudEvents 1.0, in batches.
    CloudEvents,
    /// Alertmanager API v2.
    Alertmanager,
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
}

pub(crate) fn read(mut table: Table<'_>, base: &Path) -> Uplink {
    const FORMATS: [(&str, EventFormat); 2] =
        [("cloudevents", EventFormat::CloudEvents), ("alertmanager", EventFormat::Alertmanager)];
    // Below 5 s a heartbeat is load, above an hour nobody misses it in time.
    let heartbeat = span_within(Span::from_secs(5), Span::from_hours(1));
    let [_, tls] = HTTP;
    let uplink = Uplink {
        url: table.required("url", receiver, Url::stand_in(tls)),
        format: table.optional("format", one_of(&FORMATS)).unwrap_or(EventFormat::CloudEvents),
        credential: table.optional("credential", credential),
        ca_file: table.optional("ca_file", path_in(base)),
        client_certificate: ClientCertificate::read(&mut table, base),
        heartbeat: table.optional("heartbeat", heartbeat).unwrap_or(Span::from_secs(30)),
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
