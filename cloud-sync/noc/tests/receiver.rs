//! The receiver as gateways and operators meet it: over real connections, stopped and started again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has to stop")]

mod program;

use flate2::{Compression, write::GzEncoder};
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vigil_cloud_sync::{Event, EventKind, Origin, Token, Uplink, UplinkConfig, Verdict, Way};
use vigil_core::id::{GatewayId, SiteId, TenantId};
use vigil_core::time::Timestamp;
use vigil_noc::{GatewayAccess, Noc, NocConfig, TlsFiles, token_sha256};

const SOURCE: &str = "/tenants/acme/sites/plant-7/gateways/gw-1";

struct Running {
    events: SocketAddr,
    operator: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), vigil_noc::NocError>>,
    client: reqwest::Client,
}

fn access(gateway: &str, token: &str) -> GatewayAccess {
    GatewayAccess {
        gateway: GatewayId::new(gateway).unwrap(),
        tenant: TenantId::new("acme").unwrap(),
        site: SiteId::new("plant-7").unwrap(),
        token_sha256: Some(token_sha256(token)),
        cert_sha256: vec![],
    }
}

fn config(dir: &Path, tls: Option<TlsFiles>) -> NocConfig {
    let gateways = vec![access("gw-1", "secret"), access("gw-2", "other")];
    NocConfig { tls, ..NocConfig::on_loopback(dir.join("noc"), gateways) }
}

impl Running {
    async fn start(dir: &Path, tls: Option<TlsFiles>) -> Self {
        let noc = Noc::bind(config(dir, tls)).await.unwrap();
        program::let_in(&noc).await;
        let (events, operator) = (noc.events_addr(), noc.operator_addr());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(noc.serve(async {
            stopped.await.unwrap();
        }));
        // The client is built with TLS even where it is not used, so a provider must be there.
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { events, operator, stop, serving, client }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(5), self.serving).await.unwrap().unwrap().unwrap();
    }

    async fn post(&self, headers: HeaderMap, body: Vec<u8>) -> (u16, Value) {
        let url = format!("http://{}/v1/events", self.events);
        let response = self.client.post(url).headers(headers).body(body).send().await.unwrap();
        assert!(response.headers().contains_key("date"));
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
    }

    async fn send(&self, events: &[Value]) -> Value {
        let (status, answer) = self.post(headers("secret"), gzip(&serde_json::to_vec(events).unwrap())).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    fn asked(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("http://{}{path}", self.operator)).bearer_auth(program::TOKEN)
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.asked(path).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    }

    async fn gateway(&self) -> Value {
        self.get("/api/gateways").await["gateways"][0].clone()
    }

    async fn revisions(&self) -> Vec<(String, u64)> {
        let alerts = self.get("/api/alerts").await["alerts"].as_array().unwrap().clone();
        let shown = |row: &Value| {
            (row["alert"]["id"].as_str().unwrap().to_owned(), row["alert"]["revision"].as_u64().unwrap())
        };
        alerts.iter().map(shown).collect()
    }
}

fn headers(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    headers.insert(
        "content-type",
        HeaderValue::from_static("application/cloudevents-batch+json; charset=utf-8"),
    );
    headers.insert("content-encoding", HeaderValue::from_static("gzip"));
    headers
}

fn with(mut headers: HeaderMap, name: &'static str, value: &'static str) -> HeaderMap {
    headers.insert(name, HeaderValue::from_static(value));
    headers
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(vec![], Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn alert(sequence: u64, id: &str, revision: u64, severity: &str) -> Value {
    json!({
        "specversion": "1.0", "id": format!("{id}.{revision}"), "source": SOURCE, "type": "vigil.alert",
        "subject": "guard:G-7", "time": "2026-03-10T22:05:00Z", "sequence": sequence,
        "data": {"id": id, "revision": revision, "severity": severity, "status": "DETECTED", "rule": "inactivity",
                 "detected_at": "2026-03-10T22:05:00Z", "cleared_at": null, "summary": "no sign of life"}
    })
}

#[tokio::test]
async fn a_batch_counts_once_and_a_restart_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let noc = Running::start(dir.path(), None).await;
    let batch = [alert(1, "a", 1, "HIGH"), alert(2, "b", 1, "CRITICAL")];
    assert_eq!(noc.send(&batch).await, json!({"accepted": 2, "duplicates": 0, "rejected": []}));
    assert_eq!(noc.send(&batch).await, json!({"accepted": 0, "duplicates": 2, "rejected": []}));
    noc.stop().await;

    let noc = Running::start(dir.path(), None).await;
    assert_eq!(noc.revisions().await, [("b".to_owned(), 1), ("a".to_owned(), 1)]);
    assert_eq!(noc.send(&batch).await["duplicates"], 2);
    let gateway = noc.gateway().await;
    assert_eq!((&gateway["highest_sequence"], &gateway["lost"]), (&json!(2), &json!(false)));
    noc.stop().await;
}

#[tokio::test]
async fn a_gap_is_shown_until_it_is_filled_and_revisions_come_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    let noc = Running::start(dir.path(), None).await;
    noc.send(&[alert(4, "a", 3, "CRITICAL"), alert(1, "a", 1, "HIGH")]).await;
    assert_eq!(noc.gateway().await["holes"], json!([{"first": 2, "last": 3}]));
    noc.send(&[alert(2, "a", 2, "HIGH"), alert(3, "b", 1, "LOW")]).await;
    let gateway = noc.gateway().await;
    assert_eq!((&gateway["missing"], &gateway["holes"]), (&json!(0), &json!([])));
    assert_eq!(noc.revisions().await, [("a".to_owned(), 3), ("b".to_owned(), 1)]);
}

#[tokio::test]
async fn a_token_speaks_for_its_own_gateway_only() {
    let dir = tempfile::tempdir().unwrap();
    let noc = Running::start(dir.path(), None).await;
    let batch = gzip(&serde_json::to_vec(&[alert(1, "a", 1, "HIGH")]).unwrap());
    for token in ["wrong", "", "SECRET"] {
        let (status, answer) = noc.post(headers(token), batch.clone()).await;
        assert!(status == 401 && answer["error"].is_string(), "{token}: {status}");
    }
    let mut nobody = headers("secret");
    nobody.remove("authorization");
    assert_eq!(noc.post(nobody, batch.clone()).await.0, 401);

    // One item of another is enough: nothing of the batch is stored, nor of its own.
    let mut own = alert(1, "b", 1, "HIGH");
    own["source"] = json!(SOURCE.replace("gw-1", "gw-2"));
    let mixed = gzip(&serde_json::to_vec(&[own, alert(1, "a", 1, "HIGH")]).unwrap());
    for batch in [batch, mixed] {
        let (status, answer) = noc.post(headers("other"), batch).await;
        let why = answer["error"].as_str().unwrap_or_default();
        assert!(status == 403 && why.contains("gateways/gw-2"), "{status}: {answer}");
    }
    assert!(noc.revisions().await.is_empty());
}

#[tokio::test]
async fn what_is_no_batch_is_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let noc = Running::start(dir.path(), None).await;
    let one = serde_json::to_vec(&[alert(1, "a", 1, "HIGH")]).unwrap();
    let many = serde_json::to_vec(&vec![alert(1, "a", 1, "HIGH"); 501]).unwrap();
    let plain = with(headers("secret"), "content-encoding", "identity");
    let json = with(headers("secret"), "content-type", "application/json");
    let brotli = with(headers("secret"), "content-encoding", "br");
    let cases = [
        (plain.clone(), one.clone(), 200),
        (json, gzip(&one), 415),
        (brotli, one.clone(), 415),
        (headers("secret"), one, 400),
        (headers("secret"), gzip(b"[]"), 400),
        (headers("secret"), gzip(b"{}"), 400),
        (headers("secret"), gzip(&many), 413),
        (headers("secret"), gzip(&vec![b' '; 32 * 1024 * 1024]), 413),
        (plain, vec![b' '; 3 * 1024 * 1024], 413),
    ];
    for (number, (headers, body, expected)) in cases.into_iter().enumerate() {
        let (status, answer) = noc.post(headers, body).await;
        assert_eq!(status, expected, "case {number}: {answer}");
        assert!(status == 200 || answer["error"].is_string(), "case {number}: {answer}");
    }
}

#[tokio::test]
async fn the_stream_tells_of_alerts_and_gateways_and_ends_with_the_receiver() {
    let dir = tempfile::tempdir().unwrap();
    let noc = Running::start(dir.path(), None).await;
    let mut stream = noc.asked("/api/stream").send().await.unwrap();
    let mut heard = String::new();
    while !heard.contains("event: hello") {
        heard.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
    }
    noc.send(&[alert(1, "a", 1, "CRITICAL")]).await;
    noc.send(&[alert(1, "a", 1, "CRITICAL")]).await;
    while heard.matches("event: gateway").count() < 2 {
        let chunk = tokio::time::timeout(Duration::from_secs(5), stream.chunk()).await.unwrap();
        heard.push_str(std::str::from_utf8(&chunk.unwrap().unwrap()).unwrap());
    }
    assert_eq!(heard.matches("event: alert").count(), 1, "a duplicate is no news: {heard}");
    assert!(heard.contains(r#""gateway":"gw-1""#) && heard.contains("no sign of life"), "{heard}");
    noc.stop().await;
    assert!(stream.chunk().await.unwrap().is_none(), "the stream ended properly");
}

#[tokio::test]
async fn the_page_runs_nothing_that_is_not_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let noc = Running::start(dir.path(), None).await;
    for path in ["/", "/noc.js", "/noc.css", "/vigil.js", "/vigil.css", "/desk.css", "/icon.svg", "/login"] {
        let response = noc.asked(path).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let text = String::from_utf8(response.bytes().await.unwrap().to_vec()).unwrap();
        assert!(
            !text.contains("innerHTML") && !text.contains("style=") && !text.contains("<script>"),
            "{path}"
        );
    }
    assert_eq!(noc.get("/healthz").await, json!({"status": "ok"}));
    let bad = noc.asked("/api/alerts?limit=0").send().await.unwrap();
    assert_eq!(bad.status().as_u16(), 400);
}

#[tokio::test]
async fn every_described_path_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let noc = Running::start(dir.path(), None).await;
    let document = noc.get("/openapi.json").await;
    for path in document["paths"].as_object().unwrap().keys() {
        let addr = if path.starts_with("/v1/") { noc.events } else { noc.operator };
        let response = noc.client.get(format!("http://{addr}{path}")).send().await.unwrap();
        // An alert that is not there is another answer than a path that is not; a stream has no end to wait for.
        if response.status().as_u16() == 404 {
            let said = response.text().await.unwrap();
            assert!(said.contains("there is no such alert"), "{path}: {said}");
        }
    }
}

#[tokio::test]
async fn an_uplink_delivers_over_tls_to_the_authority_it_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let noc = Running::start(dir.path(), Some(TlsFiles { cert, key })).await;

    let origin = Origin {
        tenant: TenantId::new("acme").unwrap(),
        site: SiteId::new("plant-7").unwrap(),
        gateway: GatewayId::new("gw-1").unwrap(),
    };
    let url = format!("https://localhost:{}/v1", noc.events.port());
    let mut config = UplinkConfig::new(&url, origin, Token::new("secret"));
    config.ca_pem = Some(made.cert.pem().into_bytes());
    let health = Event {
        producer: vigil_cloud_sync::wire::Producer(1),
        sequence: 1,
        id: "h-1".into(),
        kind: EventKind::Health,
        subject: "gateway:gw-1".into(),
        time: Timestamp::parse("2026-03-10T22:05:00Z").unwrap(),
        critical: false,
        data: r#"{"queued":0}"#.into(),
    };
    let verdict = Uplink::new(config.clone()).unwrap().deliver(std::slice::from_ref(&health)).await;
    assert!(matches!(&verdict, Verdict::Stored(answer) if answer.accepted == 1), "{verdict:?}");
    assert_eq!(noc.gateway().await["health"], json!({"queued": 0}));

    config.ca_pem =
        Some(rcgen::generate_simple_self_signed(vec!["x".to_owned()]).unwrap().cert.pem().into_bytes());
    let verdict = Uplink::new(config).unwrap().deliver(&[health]).await;
    assert!(matches!(&verdict, Verdict::Retry { why, .. } if why.contains("certificate")), "{verdict:?}");
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_before_anything_listens() {
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = config(dir.path(), None);
    wrong.gateways[0].token_sha256 = Some("secret".into());
    let error = Noc::bind(wrong).await.err().unwrap().to_string();
    assert!(error.contains("gw-1") && error.contains("64 hex digits"), "{error}");
    let missing = TlsFiles { cert: "no-such.pem".into(), key: "no-such.key".into() };
    let error = Noc::bind(config(dir.path(), Some(missing))).await.err().unwrap().to_string();
    assert!(error.starts_with("no-such.pem: "), "{error}");
    assert!(!dir.path().join("noc").exists());
}

#[tokio::test]
async fn a_receiver_that_stores_nothing_says_so_on_both_sides_until_it_stores_again() {
    let dir = tempfile::tempdir().unwrap();
    let noc = Noc::bind(config(dir.path(), None)).await.unwrap();
    let (sides, clerk) = ([noc.events_addr(), noc.operator_addr()], noc.clerk());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(noc.serve(async {
        stopped.await.unwrap();
    }));
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let healthy = async || {
        let mut said = vec![];
        for side in sides {
            let answer = client.get(format!("http://{side}/healthz")).send().await.unwrap();
            let status = answer.status().as_u16();
            said.push((status, serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap()));
        }
        assert_eq!(said[0], said[1]);
        said.remove(0)
    };
    let full = async |on: &'static str| {
        let pragma = move |ledger: &mut vigil_noc::ledger::Ledger| {
            ledger.database().batch(&format!("PRAGMA query_only = {on}"))
        };
        clerk.ask(pragma).await.unwrap();
    };
    let send = async || {
        let url = format!("http://{}/v1/events", sides[0]);
        let body = gzip(&serde_json::to_vec(&[alert(1, "a", 1, "HIGH")]).unwrap());
        client.post(url).headers(headers("secret")).body(body).send().await.unwrap().status().as_u16()
    };
    assert_eq!(healthy().await, (200, json!({"status": "ok"})));
    full("on").await;
    assert_eq!(send().await, 503);
    assert_eq!(healthy().await, (503, json!({"error": "nothing can be stored"})));
    full("off").await;
    assert_eq!(send().await, 200);
    assert_eq!(healthy().await.0, 200);
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}
