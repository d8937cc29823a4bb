//! Gateways that come with a certificate instead of a token.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has to stop")]

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use reqwest::Client;
use serde_json::{Value, json};
use std::path::PathBuf;
use tokio::sync::oneshot;
use vigil_cloud_sync::{Heard, Origin, Uplink, UplinkConfig, UplinkError};
use vigil_core::id::{GatewayId, SiteId, TenantId};
use vigil_noc::{GatewayAccess, Noc, NocConfig, TlsFiles, token_sha256};

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, and its SHA-256 in hex.
struct Shown {
    identity: String,
    sha256: String,
}

impl Authority {
    fn found(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn certify(&self, name: &str) -> Shown {
        let key = KeyPair::generate().unwrap();
        let made =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let digest = ring::digest::digest(&ring::digest::SHA256, made.der());
        let sha256 = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
        Shown { identity: format!("{}{}", made.pem(), key.serialize_pem()), sha256 }
    }
}

struct Here {
    base: String,
    authority: String,
    _stop: oneshot::Sender<()>,
    _dir: tempfile::TempDir,
}

fn access(gateway: &str, token: Option<&str>, cert: Option<&Shown>) -> GatewayAccess {
    GatewayAccess {
        gateway: GatewayId::new(gateway).unwrap(),
        tenant: TenantId::new("acme").unwrap(),
        site: SiteId::new("plant-7").unwrap(),
        token_sha256: token.map(token_sha256),
        cert_sha256: cert.map(|cert| cert.sha256.clone()).into_iter().collect(),
    }
}

impl Here {
    async fn open(gateways: Vec<GatewayAccess>, client_ca: &Authority) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| -> PathBuf {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (cert, key) =
            (file("cert.pem", &made.cert.pem()), file("key.pem", &made.signing_key.serialize_pem()));
        let noc = Noc::bind(NocConfig {
            tls: Some(TlsFiles { cert, key }),
            client_ca: Some(file("clients.pem", &client_ca.pem)),
            ..NocConfig::on_loopback(dir.path().join("noc"), gateways)
        });
        let noc = noc.await.unwrap();
        let (port, (stop, stopped)) = (noc.events_addr().port(), oneshot::channel());
        tokio::spawn(noc.serve(async { drop(stopped.await) }));
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let base = format!("https://localhost:{port}/v1");
        Self { base, authority: made.cert.pem(), _stop: stop, _dir: dir }
    }

    fn client(&self, shown: Option<&Shown>) -> Client {
        let authority = reqwest::Certificate::from_pem(self.authority.as_bytes()).unwrap();
        let client = Client::builder().no_proxy().tls_certs_only([authority]);
        let identity = shown.map(|shown| reqwest::Identity::from_pem(shown.identity.as_bytes()).unwrap());
        identity.into_iter().fold(client, reqwest::ClientBuilder::identity).build().unwrap()
    }

    /// What is answered to an event of `gateway`; 0 if there is no exchange.
    async fn sent(&self, shown: Option<&Shown>, token: Option<&str>, gateway: &str) -> (u16, Value) {
        let event = json!([{
            "specversion": "1.0", "id": format!("h-{gateway}"), "type": "vigil.health", "subject": "gateway",
            "source": format!("/tenants/acme/sites/plant-7/gateways/{gateway}"), "sequence": 1,
            "time": "2026-03-10T22:05:00Z", "data": {"queued": 0}
        }]);
        let request = self.client(shown).post(format!("{}/events", self.base)).body(event.to_string());
        let request = request.header("content-type", "application/cloudevents-batch+json");
        let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        let Ok(answer) = request.send().await else { return (0, Value::Null) };
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }
}

#[tokio::test]
async fn a_certificate_is_as_good_as_a_token_and_for_one_gateway() {
    let (ours, theirs) = (Authority::found("ours"), Authority::found("theirs"));
    let (one, stranger, forged) = (ours.certify("gw-1"), ours.certify("gw-9"), theirs.certify("gw-1"));
    let gateways = vec![access("gw-1", None, Some(&one)), access("gw-2", Some("two"), None)];
    let here = Here::open(gateways, &ours).await;
    let (status, answer) = here.sent(Some(&one), None, "gw-1").await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(1)), "{answer}");
    let table = [
        ("the event of another", Some(&one), None, "gw-2", 403),
        ("the token of another", Some(&one), Some("two"), "gw-1", 403),
        ("a wrong token", Some(&one), Some("wrong"), "gw-1", 401),
        ("a certificate of nobody", Some(&stranger), None, "gw-1", 401),
        ("a certificate of nobody, with a token", Some(&stranger), Some("two"), "gw-2", 200),
        ("a certificate of another authority", Some(&forged), None, "gw-1", 0),
        ("no certificate", None, None, "gw-1", 401),
        ("no certificate, with a token", None, Some("two"), "gw-2", 200),
    ];
    for (what, shown, token, gateway, expected) in table {
        let (status, answer) = here.sent(shown, token, gateway).await;
        assert_eq!(status, expected, "{what}: {answer}");
    }
}

#[tokio::test]
async fn commands_are_given_to_the_gateway_of_the_certificate() {
    let ours = Authority::found("ours");
    let one = ours.certify("gw-1");
    let here =
        Here::open(vec![access("gw-1", None, Some(&one)), access("gw-2", Some("two"), None)], &ours).await;
    for (gateway, expected) in [("gw-1", 200), ("gw-2", 403)] {
        let url = format!("{}/gateways/{gateway}/commands", here.base);
        assert_eq!(here.client(Some(&one)).get(url).send().await.unwrap().status().as_u16(), expected);
    }
}

#[tokio::test]
async fn a_gateway_of_ours_needs_no_token_beside_its_certificate() {
    let ours = Authority::found("ours");
    let (one, stranger) = (ours.certify("gw-1"), ours.certify("gw-9"));
    let here = Here::open(vec![access("gw-1", None, Some(&one))], &ours).await;
    let knock = async |shown: Option<&Shown>| {
        let gateway = access("gw-1", None, None);
        let origin = Origin { tenant: gateway.tenant, site: gateway.site, gateway: gateway.gateway };
        let mut config = UplinkConfig::new(&here.base, origin, None);
        config.ca_pem = Some(here.authority.clone().into_bytes());
        config.client_identity_pem = shown.map(|shown| shown.identity.clone().into_bytes());
        Ok::<_, UplinkError>(Uplink::new(config)?.knock().await)
    };
    assert_eq!(knock(Some(&one)).await.unwrap(), Heard::Welcome);
    assert_eq!(knock(Some(&stranger)).await.unwrap(), Heard::Stranger("HTTP 401".to_owned()));
    assert!(matches!(knock(None).await, Err(UplinkError::Nobody)));
}
