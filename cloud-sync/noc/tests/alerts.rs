//! Alerts as operators meet them: found, looked at whole, taken a step further, and what becomes of a step.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has to stop")]

mod people;

use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::sync::oneshot;
use vigil_core::id::{GatewayId, SiteId, TenantId};
use vigil_noc::{GatewayAccess, Noc, NocConfig, Role, token_sha256};

const SOURCE: &str = "/tenants/acme/sites/plant-7/gateways/gw-1";

/// Who works at the centre: name, tenant, role.
const PEOPLE: [(&str, Option<&str>, Role); 6] = [
    ("Asha", None, Role::Operator),
    ("Ravi", None, Role::Operator),
    ("Rao", Some("acme"), Role::Operator),
    ("Anu", Some("acme"), Role::Viewer),
    ("Vi", None, Role::Viewer),
    ("Zed", Some("zeta"), Role::Admin),
];

/// A receiver with one gateway, whose part the test plays.
struct Centre {
    events: SocketAddr,
    operator: SocketAddr,
    client: reqwest::Client,
    _stop: oneshot::Sender<()>,
    dir: tempfile::TempDir,
}

impl Centre {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let gateway = GatewayAccess {
            gateway: GatewayId::new("gw-1").unwrap(),
            tenant: TenantId::new("acme").unwrap(),
            site: SiteId::new("plant-7").unwrap(),
            token_sha256: Some(token_sha256("secret")),
            cert_sha256: vec![],
        };
        let noc = Noc::bind(NocConfig::on_loopback(dir.path().join("noc"), vec![gateway])).await.unwrap();
        for person in PEOPLE {
            people::log_in(&noc, person).await;
        }
        let (events, operator) = (noc.events_addr(), noc.operator_addr());
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(noc.serve(async {
            // The end of the test ends it too.
            let _dropped = stopped.await;
        }));
        // The client is built with TLS even where it is not used, so a provider must be there.
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { events, operator, client, _stop: stop, dir }
    }

    /// The gateway sends something; nothing of it may be refused.
    async fn sends(&self, id: &str, kind: &str, subject: &str, data: &Value) {
        let number = id.bytes().fold(1_u64, |n, byte| (n * 31 + u64::from(byte)) % 1_000_000 + 1);
        let event = json!([{
            "specversion": "1.0", "id": id, "source": SOURCE, "type": kind, "subject": subject,
            "time": "2026-03-10T22:05:00Z", "sequence": number, "data": data
        }]);
        let request = self.client.post(format!("http://{}/v1/events", self.events));
        let request = request.header("authorization", "Bearer secret");
        let request = request.header("content-type", "application/cloudevents-batch+json");
        let (status, answer) = answer(request.body(event.to_string())).await;
        assert_eq!((status, &answer["rejected"]), (200, &json!([])), "{answer}");
    }

    async fn raises(&self, alert: &Value) {
        let id = format!("{}.{}", alert["id"].as_str().unwrap(), alert["revision"]);
        self.sends(&id, "vigil.alert", alert["subject"].as_str().unwrap(), alert).await;
    }

    async fn get(&self, who: &str, path: &str) -> (u16, Value) {
        let url = format!("http://{}/api/alerts{path}", self.operator);
        answer(self.client.get(url).header("cookie", people::cookie(who))).await
    }

    async fn case(&self) -> Value {
        let (status, case) = self.get("Asha", "/acme/plant-7/gw-1/a-1").await;
        assert_eq!(status, 200, "{case}");
        case
    }

    async fn step(&self, who: &str, body: &Value) -> (u16, Value) {
        let url = format!("http://{}/api/alerts/acme/plant-7/gw-1/a-1/steps", self.operator);
        let request = self.client.post(url).header("cookie", people::cookie(who));
        let request = request.header("x-csrf-token", people::word(who));
        answer(request.header("content-type", "application/json").body(body.to_string())).await
    }

    /// What the gateway is told.
    async fn told(&self, after: u64) -> Value {
        let url = format!("http://{}/v1/gateways/gw-1/commands?after={after}", self.events);
        let (_, mut orders) = answer(self.client.get(url).header("authorization", "Bearer secret")).await;
        orders["commands"].take()
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
}

/// An alert of G-7 with these statuses after DETECTED, each by somebody.
fn alert(id: &str, steps: &[(&str, &str)]) -> Value {
    let line = |by: &str, status: &str, second: usize| json!({"at": format!("2026-03-10T22:05:{second:02}.000Z"), "by": by, "status": status, "note": null});
    let first = line("agent", "DETECTED", 0);
    let history: Vec<Value> = std::iter::once(first)
        .chain(steps.iter().enumerate().map(|(n, (by, status))| line(by, status, n + 1)))
        .collect();
    let status = steps.last().map_or("DETECTED", |(_, status)| status);
    json!({
        "id": id, "revision": steps.len() + 1, "site": "plant-7", "rule": "sos", "severity": "CRITICAL",
        "status": status, "subject": "guard:G-7", "guard": "G-7", "detected_at": "2026-03-10T22:05:00.000Z",
        "updated_at": format!("2026-03-10T22:05:{:02}.000Z", steps.len()), "cleared_at": null, "escalated": false,
        "summary": "Asha Rao calls for help", "evidence": {}, "verification": {"method": "NONE"}, "history": history
    })
}

fn to(status: &str, seen: &str) -> Value {
    json!({"status": status, "method": "CALL", "response": "on the roof", "note": null, "seen": seen})
}

fn states(case: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let lines = case["history"].as_array().unwrap().iter();
    lines.map(|line| (text(&line["status"]), text(&line["state"]))).collect()
}

fn pairs<const N: usize>(expected: [(&str, &str); N]) -> Vec<(String, String)> {
    expected.map(|(status, state)| (status.to_owned(), state.to_owned())).to_vec()
}

#[tokio::test]
async fn a_step_is_shown_on_its_way_then_at_the_gateway() {
    let centre = Centre::start().await;
    centre.raises(&alert("a-1", &[])).await;
    let case = centre.case().await;
    assert_eq!((&case["status"], &case["seen"]), (&json!("DETECTED"), &json!("1.0")));
    assert_eq!(case["legal"], json!(["VERIFYING", "CONFIRMED", "RESOLVED", "FALSE_POSITIVE"]));

    let (status, case) = centre.step("Ravi", &to("VERIFYING", "1.0")).await;
    assert_eq!(status, 201, "{case}");
    assert_eq!((&case["status"], &case["seen"]), (&json!("VERIFYING"), &json!("1.1")));
    assert_eq!(states(&case), pairs([("DETECTED", "-"), ("VERIFYING", "on_its_way")]));
    assert_eq!(case["legal"], json!(["CONFIRMED", "RESOLVED", "FALSE_POSITIVE"]));
    let told = centre.told(0).await;
    let expected = json!({"alert": "a-1", "status": "VERIFYING", "method": "CALL", "response": "on the roof",
                          "by": "Ravi", "note": null});
    assert_eq!((&told[0]["type"], &told[0]["data"]), (&json!("alert.status"), &expected), "{told}");
    let (_, listed) = centre.get("Ravi", "").await;
    assert_eq!(listed["alerts"][0]["status"], "VERIFYING", "{listed}");
    assert_eq!(listed["alerts"][0]["alert"]["status"], "DETECTED", "what the gateway says stays as it came");

    centre.raises(&alert("a-1", &[("Ravi", "VERIFYING")])).await;
    let case = centre.case().await;
    assert_eq!(states(&case), pairs([("DETECTED", "-"), ("VERIFYING", "at_gateway")]));
    assert_eq!(case["history"][1]["response"], "on the roof", "what the history leaves out is known here");
    assert_eq!(case["seen"], "2.1");
}

#[tokio::test]
async fn who_comes_second_is_told_who_was_first_and_nothing_is_kept() {
    let centre = Centre::start().await;
    centre.raises(&alert("a-1", &[])).await;
    assert_eq!(centre.step("Ravi", &to("CONFIRMED", "1.0")).await.0, 201);
    let (status, refused) = centre.step("Asha", &to("FALSE_POSITIVE", "1.0")).await;
    let why = refused["error"].as_str().unwrap();
    assert!(status == 409 && why.starts_with("Ravi set it to CONFIRMED at "), "{refused}");
    assert!(why.ends_with(", after you opened it; look again"), "{why}");
    assert_eq!((&refused["since"]["by"], &refused["since"]["status"]), (&json!("Ravi"), &json!("CONFIRMED")));
    let (status, refused) = centre.step("Asha", &to("FALSE_POSITIVE", "1.1")).await;
    assert_eq!(status, 409);
    assert_eq!(refused["error"], "an alert that is CONFIRMED cannot become FALSE_POSITIVE");
    assert_eq!(centre.told(0).await.as_array().unwrap().len(), 1);

    centre.raises(&alert("a-2", &[])).await;
    centre.raises(&alert("a-1", &[("on site", "VERIFYING")])).await;
    let (_, refused) = centre.step("Asha", &to("RESOLVED", "1.1")).await;
    assert!(refused["error"].as_str().unwrap().contains("set it to "), "{refused}");
}

#[tokio::test]
async fn a_step_that_the_gateway_refuses_stays_with_its_reason() {
    let centre = Centre::start().await;
    centre.raises(&alert("a-1", &[])).await;
    centre.step("Ravi", &to("FALSE_POSITIVE", "1.0")).await;
    let command = centre.told(0).await[0]["id"].as_str().unwrap().to_owned();
    centre.raises(&alert("a-1", &[("Meena", "CONFIRMED")])).await;
    let case = centre.case().await;
    assert_eq!(case["status"], "CONFIRMED", "what is on its way cannot follow any more");
    let reason = "an alert that is CONFIRMED cannot become FALSE_POSITIVE: that is final";
    let refusal =
        json!({"command": command, "type": "alert.status", "subject": "alert:a-1", "reason": reason});
    centre.sends(&format!("refused.{command}"), "vigil.health", "alert:a-1", &refusal).await;
    let case = centre.case().await;
    let expected = [("DETECTED", "-"), ("CONFIRMED", "-"), ("FALSE_POSITIVE", "refused")];
    assert_eq!(states(&case), pairs(expected));
    assert_eq!(case["history"][2]["refused"], reason);
    assert_eq!((&case["status"], &case["legal"]), (&json!("CONFIRMED"), &json!([])));
}

#[tokio::test]
async fn only_an_operator_of_that_tenant_takes_a_step() {
    let centre = Centre::start().await;
    centre.raises(&alert("a-1", &[])).await;
    let step = to("VERIFYING", "1.0");
    assert_eq!(centre.step("Vi", &step).await.0, 403);
    assert_eq!(centre.step("Zed", &step).await.0, 404);
    assert_eq!(centre.get("Zed", "/acme/plant-7/gw-1/a-1").await.0, 404);
    assert_eq!(centre.get("Zed", "").await.1["alerts"], json!([]));
    assert_eq!(centre.get("Anu", "").await.1["alerts"].as_array().unwrap().len(), 1);
    assert_eq!(centre.get("Asha", "/acme/plant-7/gw-1/a-9").await.0, 404);
    assert_eq!(centre.told(0).await, json!([]));
    for (body, part) in [
        (json!({"status": "VERIFYING"}), "missing field `seen`"),
        (json!({"status": "SUNG", "seen": "1.0"}), "unknown variant"),
        (json!({"status": "VERIFYING", "seen": "1.0", "note": "x".repeat(1_001)}), "note: at most 1000"),
        (json!({"status": "VERIFYING", "seen": "1.0", "response": "a\u{1b}[2J"}), "response: at most 200"),
        (json!({"status": "DETECTED", "seen": "1.0"}), "cannot become DETECTED"),
    ] {
        let (status, refused) = centre.step("Ravi", &body).await;
        let why = refused["error"].as_str().unwrap_or_default();
        assert!((status == 400 || status == 409) && why.contains(part), "{body}: {status} {refused}");
    }
    assert_eq!(centre.step("Rao", &step).await.0, 201);
}

#[tokio::test]
async fn alerts_are_found_by_what_stands_in_the_address() {
    let centre = Centre::start().await;
    for id in ["a-1", "a-2", "a-3"] {
        centre.raises(&alert(id, &[])).await;
    }
    let (_, page) = centre.get("Asha", "?limit=2").await;
    let next = page["next"].as_str().unwrap();
    let (_, rest) = centre.get("Asha", &format!("?limit=2&after={next}")).await;
    let ids = |page: &Value| -> Vec<Value> {
        page["alerts"].as_array().unwrap().iter().map(|row| row["alert"]["id"].clone()).collect()
    };
    assert_eq!((ids(&page), ids(&rest)), (vec![json!("a-3"), json!("a-2")], vec![json!("a-1")]));
    assert_eq!(rest["next"], Value::Null);
    for (query, count) in [
        ("?q=a-2", 1),
        ("?q=calls+rao", 3),
        ("?q=nothing", 0),
        ("?severity=CRITICAL&status=&open=true", 3),
        ("?tenant=acme&site=plant-7&guard=G-7", 3),
        ("?rule=inactivity", 0),
        ("?from=2026-03-10T22:05:00Z&to=2026-03-10T22:06:00Z", 3),
        ("?to=2026-03-10T22:05:00Z", 0),
    ] {
        let (status, page) = centre.get("Asha", query).await;
        assert_eq!((status, ids(&page).len()), (200, count), "{query}: {page}");
    }
    for query in ["?limit=0", "?from=yesterday", "?open=maybe", "?after=behind"] {
        assert_eq!(centre.get("Asha", query).await.0, 400, "{query}");
    }
}

#[tokio::test]
async fn a_step_that_is_kept_is_told_so_even_if_its_alert_cannot_be_read() {
    let centre = Centre::start().await;
    centre.raises(&alert("a-1", &[])).await;
    let seen = centre.case().await["seen"].take();
    let ledger = rusqlite::Connection::open(centre.dir.path().join("noc/noc.db")).unwrap();
    ledger.execute_batch("ALTER TABLE site_files RENAME TO aside").unwrap();
    let (status, answer) = centre.step("Asha", &json!({"status": "VERIFYING", "seen": seen})).await;
    assert_eq!((status, answer), (201, json!({"taken": "VERIFYING"})));
    assert_eq!(centre.get("Asha", "/acme/plant-7/gw-1/a-1").await.0, 503);
    ledger.execute_batch("ALTER TABLE aside RENAME TO site_files").unwrap();
    let case = centre.case().await;
    assert_eq!((&case["status"], case["steps"].as_array().unwrap().len()), (&json!("VERIFYING"), 1));
}

#[tokio::test]
async fn an_alert_with_a_strange_history_is_shown_and_taken_further() {
    let centre = Centre::start().await;
    let mut strange = alert("a-1", &[]);
    strange["history"] = json!([
        {"at": "2026-03-10T22:05:00Z", "by": "agent", "status": "DETECTED", "note": 5},
        {"at": "2026-03-10T22:05:00Z", "status": "DETECTED"},
    ]);
    centre.raises(&strange).await;
    let case = centre.case().await;
    assert_eq!(case["history"].as_array().unwrap().len(), 2);
    let (status, _) = centre.step("Asha", &json!({"status": "VERIFYING", "seen": case["seen"]})).await;
    assert_eq!(status, 201);
}
