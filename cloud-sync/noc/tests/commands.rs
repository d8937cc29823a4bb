//! Commands as operators and gateways meet them: queued, waited for, given until acknowledged, over a restart.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has to stop")]

mod program;

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vigil_core::id::{GatewayId, SiteId, TenantId};
use vigil_noc::{GatewayAccess, Noc, NocConfig, token_sha256};

/// What moments may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

struct Running {
    events: SocketAddr,
    operator: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), vigil_noc::NocError>>,
    client: reqwest::Client,
}

fn access(gateway: &str, site: &str, token: &str) -> GatewayAccess {
    GatewayAccess {
        gateway: GatewayId::new(gateway).unwrap(),
        tenant: TenantId::new("acme").unwrap(),
        site: SiteId::new(site).unwrap(),
        token_sha256: Some(token_sha256(token)),
        cert_sha256: vec![],
    }
}

impl Running {
    async fn start(dir: &Path) -> Self {
        let gateways = vec![
            access("gw-1", "plant-7", "secret"),
            access("gw-2", "plant-7", "other"),
            access("gw-2", "plant-8", "third"),
        ];
        Self::start_with(dir, gateways).await
    }

    async fn start_with(dir: &Path, gateways: Vec<GatewayAccess>) -> Self {
        let config = NocConfig::on_loopback(dir.join("noc"), gateways);
        let noc = Noc::bind(config).await.unwrap();
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

    async fn queue(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("http://{}/api/gateways/{path}", self.operator);
        let request =
            self.client.post(url).bearer_auth(program::TOKEN).header("content-type", "application/json");
        answer(request.body(body.to_string())).await
    }

    /// Queues a command for gw-1; its number.
    async fn queued(&self, id: &str) -> u64 {
        let (status, row) = self.queue("gw-1/commands", &command(id)).await;
        assert_eq!((status, &row["state"]), (201, &json!("waiting")), "{row}");
        row["seq"].as_u64().unwrap()
    }

    async fn poll(&self, query: &str, token: &str) -> (u16, Value) {
        poll(self.client.clone(), self.events, query.to_owned(), token.to_owned()).await
    }

    /// The ids that gw-1 is given.
    async fn given(&self, after: u64) -> Vec<String> {
        ids(&self.poll(&format!("gw-1/commands?after={after}"), "secret").await.1["commands"])
    }

    async fn listed(&self, query: &str) -> (u16, Value) {
        let url = format!("http://{}/api/gateways/{query}", self.operator);
        answer(self.client.get(url).bearer_auth(program::TOKEN)).await
    }
}

async fn poll(client: reqwest::Client, events: SocketAddr, query: String, token: String) -> (u16, Value) {
    let url = format!("http://{events}/v1/gateways/{query}");
    answer(client.get(url).header("authorization", format!("Bearer {token}"))).await
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
}

fn command(id: &str) -> Value {
    json!({"id": id, "type": "task.cancel", "data": {"task": "T-1"}})
}

fn ids(rows: &Value) -> Vec<String> {
    rows.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_is_queued_is_given_until_it_is_acknowledged_and_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let noc = Running::start(dir.path()).await;
    let (one, two) = (noc.queued("c-1").await, noc.queued("c-2").await);
    assert!(two > one);
    let (status, again) = noc.queue("gw-1/commands", &command("c-1")).await;
    assert_eq!((status, &again["seq"]), (200, &json!(one)), "the same id twice is once");
    let other = json!({"id": "c-1", "type": "task.cancel", "data": {"task": "T-2"}});
    assert_eq!(noc.queue("gw-1/commands", &other).await.0, 409);
    let (_, orders) = noc.poll("gw-1/commands?after=0&wait=0", "secret").await;
    let expected = json!({"seq": one, "id": "c-1", "type": "task.cancel", "data": {"task": "T-1"}});
    assert_eq!(orders["commands"][0], expected);
    assert_eq!(noc.given(0).await, ["c-1", "c-2"]);
    noc.stop().await;

    let noc = Running::start(dir.path()).await;
    assert_eq!(noc.given(one).await, ["c-2"]);
    assert_eq!(noc.given(0).await, ["c-2"], "what is acknowledged is never given again");
    assert!(noc.given(two).await.is_empty());
    assert!(noc.queued("c-3").await > two, "numbers only rise");
    let (_, all) = noc.listed("gw-1/commands").await;
    let states: Vec<_> = all["commands"].as_array().unwrap().iter().map(|row| &row["state"]).collect();
    assert_eq!(ids(&all["commands"]), ["c-3", "c-2", "c-1"]);
    assert_eq!(states, ["waiting", "acknowledged", "acknowledged"]);
    assert_eq!(ids(&noc.listed("gw-1/commands?limit=1").await.1["commands"]), ["c-3"]);
    noc.stop().await;
}

#[tokio::test]
async fn a_poll_waits_and_is_woken_by_a_command_a_newer_poll_and_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let noc = Running::start(dir.path()).await;
    let waits = |noc: &Running| {
        let query = "gw-1/commands?after=0&wait=55".to_owned();
        tokio::spawn(poll(noc.client.clone(), noc.events, query, "secret".to_owned()))
    };
    let began = Instant::now();
    let (_, empty) = noc.poll("gw-1/commands?wait=1", "secret").await;
    assert_eq!(empty, json!({"commands": []}));
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());

    let held = waits(&noc);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!held.is_finished());
    let newer = waits(&noc);
    let (_, older) = tokio::time::timeout(PATIENCE, held).await.unwrap().unwrap();
    assert_eq!(older, json!({"commands": []}), "a line that is dead holds nobody");
    assert!(!newer.is_finished());
    let for_another = json!({"type": "task.cancel", "data": {"task": "T-1"}});
    assert_eq!(noc.queue("gw-2/commands?site=plant-8", &for_another).await.0, 201);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!newer.is_finished(), "that was for another");
    let seq = noc.queued("c-1").await;
    let (_, woken) = tokio::time::timeout(PATIENCE, newer).await.unwrap().unwrap();
    assert_eq!(ids(&woken["commands"]), ["c-1"]);

    let query = format!("gw-1/commands?after={seq}&wait=55");
    let held = tokio::spawn(poll(noc.client.clone(), noc.events, query, "secret".to_owned()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    noc.stop().await;
    let (status, _) = tokio::time::timeout(PATIENCE, held).await.unwrap().unwrap();
    assert_eq!(status, 200, "a stop ends the wait properly");
}

#[tokio::test]
async fn a_token_hears_the_commands_of_its_own_gateway_only() {
    let dir = tempfile::tempdir().unwrap();
    let noc = Running::start(dir.path()).await;
    noc.queued("c-1").await;
    let table = [
        ("gw-1/commands", "secret", 200),
        ("gw-1/commands", "other", 403),
        ("gw-2/commands", "secret", 403),
        ("gw-9/commands", "secret", 403),
        ("gw-1/commands", "wrong", 401),
        ("gw-1/commands?after=-1", "secret", 400),
        ("gw-1/commands?wait=soon", "secret", 400),
        ("gw-1/commands?after=18446744073709551615", "secret", 200),
    ];
    for (query, token, expected) in table {
        let (status, answer) = noc.poll(query, token).await;
        assert_eq!(status, expected, "{query} {token}: {answer}");
        assert!(status == 200 || answer["error"].is_string(), "{query} {token}: {answer}");
    }
    assert_eq!(noc.given(u64::MAX).await, ["c-1"], "a number that was never given acknowledges nothing");
    let (_, third) = noc.poll("gw-2/commands", "third").await;
    assert_eq!(third, json!({"commands": []}));
    let url = format!("http://{}/v1/gateways/gw-1/commands", noc.events);
    assert_eq!(answer(noc.client.post(url)).await.0, 405);
}

#[tokio::test]
async fn a_gateway_that_was_moved_is_told_by_its_id_alone_and_hears_it() {
    let dir = tempfile::tempdir().unwrap();
    Running::start(dir.path()).await.stop().await;
    let noc = Running::start_with(dir.path(), vec![access("gw-1", "plant-9", "secret")]).await;
    let (status, row) = noc.queue("gw-1/commands", &command("c-1")).await;
    assert_eq!(status, 201, "{row}");
    assert_eq!(noc.given(0).await, ["c-1"]);
    // Of two that nobody lists any more somebody has to say which he means.
    let (status, why) = noc.queue("gw-2/commands", &command("c-2")).await;
    assert!(status == 409 && why.to_string().contains("there are 2 gateways gw-2"), "{why}");
    noc.stop().await;
}

#[tokio::test]
async fn a_refusal_comes_back_to_its_command() {
    let dir = tempfile::tempdir().unwrap();
    let noc = Running::start(dir.path()).await;
    let seq = noc.queued("c-7").await;
    let refusal = json!([{
        "specversion": "1.0", "id": "refused.c-7", "source": "/tenants/acme/sites/plant-7/gateways/gw-1",
        "type": "vigil.health", "subject": "task:T-1", "time": "2026-03-10T22:05:00Z", "sequence": 1,
        "data": {"command": "c-7", "type": "task.cancel", "reason": "there is no open task T-1"}
    }]);
    let request = noc.client.post(format!("http://{}/v1/events", noc.events));
    let request = request.header("authorization", "Bearer secret");
    let request = request.header("content-type", "application/cloudevents-batch+json");
    assert_eq!(answer(request.body(refusal.to_string())).await.0, 200);
    assert!(noc.given(seq).await.is_empty());
    let (_, all) = noc.listed("gw-1/commands").await;
    let row = &all["commands"][0];
    assert_eq!((&row["state"], &row["refused"]), (&json!("refused"), &json!("there is no open task T-1")));
    assert!(row["acknowledged_at"].is_string(), "{row}");
}

#[tokio::test]
async fn only_so_many_wait_and_the_next_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let noc = Running::start(dir.path()).await;
    let mut last = 0;
    for n in 0..500 {
        last = noc.queued(&format!("c-{n}")).await;
    }
    let (status, refused) = noc.queue("gw-1/commands", &command("c-500")).await;
    assert!(status == 409 && refused["error"].as_str().unwrap().contains("500 commands wait"), "{refused}");
    assert_eq!(noc.queue("gw-1/commands", &command("c-0")).await.0, 200, "one that waits already is no more");
    assert_eq!(noc.queue("gw-2/commands?site=plant-7", &command("c-500")).await.0, 201, "nor is another's");
    assert_eq!(noc.given(0).await.len(), 500);
    assert!(noc.given(last).await.is_empty());
    assert_eq!(noc.queue("gw-1/commands", &command("c-500")).await.0, 201);
}

#[tokio::test]
async fn what_is_no_command_is_refused_with_a_reason_and_a_stranger_is_turned_away() {
    let dir = tempfile::tempdir().unwrap();
    let noc = Running::start(dir.path()).await;
    let good = command("c-1");
    let table = [
        ("gw-9/commands", good.clone(), 404, "there is no gateway gw-9"),
        ("g%20w/commands", good.clone(), 400, "gateway: 1 to 64"),
        ("gw-2/commands", good.clone(), 409, "there are 2 gateways gw-2"),
        ("gw-1/commands?site=plant-8", good.clone(), 404, "there is no gateway"),
        ("gw-1/commands", json!({"type": "x"}), 400, "missing field `data`"),
        ("gw-1/commands", json!({"type": "x", "data": "no object"}), 400, "an object is expected"),
        ("gw-1/commands", json!({"id": "seq-1", "type": "x", "data": {}}), 400, "the gateway's own"),
    ];
    for (path, body, expected, part) in table {
        let (status, answer) = noc.queue(path, &body).await;
        let why = answer["error"].as_str().unwrap_or_default();
        assert!(status == expected && why.contains(part), "{path} {body}: {status} {answer}");
    }
    let long = json!({"type": "x", "data": {"note": "x".repeat(20_000)}});
    assert_eq!(noc.queue("gw-1/commands", &long).await.0, 413);
    let url = format!("http://{}/api/gateways/gw-1/commands", noc.operator);
    for (name, value, expected) in [
        ("content-type", "text/plain", 415),
        ("origin", "http://evil.example.org", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("authorization", "Bearer made-up", 401),
        ("authorization", "Basic b3BlcmF0b3I6eA==", 401),
    ] {
        let token =
            if name == "authorization" { value.to_owned() } else { format!("Bearer {}", program::TOKEN) };
        let mut request = noc.client.post(&url).header("authorization", token).body(good.to_string());
        if name != "authorization" {
            request = request.header(name, value);
        }
        if name != "content-type" {
            request = request.header("content-type", "application/json");
        }
        assert_eq!(answer(request).await.0, expected, "{name}: {value}");
    }
    let (status, none) = noc.listed("gw-1/commands").await;
    assert_eq!((status, none), (200, json!({"commands": []})), "nothing of it was queued");
    for query in ["gw-1/commands?limit=0", "gw-1/commands?limit=many"] {
        assert_eq!(noc.listed(query).await.0, 400, "{query}");
    }
}
