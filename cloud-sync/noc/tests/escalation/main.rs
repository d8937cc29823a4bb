//! Alerts that nobody takes on, from the gateway that sends them to the webhook and the mailbox of who is told: with servers that fail,
//! that are slow, that ask to wait; with steps that come in time; and with a receiver that is killed in the midst.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has to stop")]

mod outside;
#[path = "../people/mod.rs"]
mod people;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use outside::{Answer, Came, Hook, PATIENCE, Post};
use ring::hmac;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use vigil_cloud_sync::Pace;
use vigil_core::id::{GatewayId, SiteId, TenantId};
use vigil_core::time::{Span, Timestamp};
use vigil_noc::escalation::due::Step;
use vigil_noc::escalation::message::test;
use vigil_noc::escalation::{
    Contact, Escalation, HookSecret, Outcome, Patience, PostOffice, Security, Way, Ways,
};
use vigil_noc::{GatewayAccess, Noc, NocConfig, NocError, Role, token_sha256};

const SECRET: [u8; 32] = [7; 32];

/// Who works at the centre: name, tenant, role.
const PEOPLE: [(&str, Option<&str>, Role); 3] = [
    ("Asha", None, Role::Supervisor),
    ("Rao", Some("acme"), Role::Supervisor),
    ("Zed", Some("zeta"), Role::Supervisor),
];

fn hooked(name: &str, url: String) -> Contact {
    let secret = HookSecret::read(&format!("whsec_{}", STANDARD.encode(SECRET))).unwrap();
    Contact { name: name.to_owned(), tenant: None, way: Way::Hook { url, secret } }
}

fn mailed(name: &str, address: &str) -> Contact {
    Contact { name: name.to_owned(), tenant: None, way: Way::Mail { address: address.to_owned() } }
}

fn step(after: i64, to: &[&str]) -> Step {
    Step {
        tenant: None,
        site: None,
        severities: vec!["CRITICAL".to_owned()],
        rules: vec![],
        after: Span::from_millis(after),
        to: to.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// With waits that a test can wait for.
fn escalation(contacts: Vec<Contact>, steps: Vec<Step>) -> Escalation {
    let ms = Duration::from_millis;
    let patience = Patience {
        try_for: ms(500),
        lease: ms(1_500),
        pace: Pace::new(ms(20), ms(60), ms(60)),
        ..Patience::default()
    };
    Escalation { contacts, steps, post: None, authorities: vec![], patience }
}

struct Centre {
    noc: (std::net::SocketAddr, std::net::SocketAddr),
    client: reqwest::Client,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), NocError>>,
}

impl Centre {
    async fn start(dir: &Path, escalation: &Escalation) -> Self {
        let gateways = ["acme", "zeta"].map(|tenant| GatewayAccess {
            gateway: GatewayId::new(&format!("gw-{tenant}")).unwrap(),
            tenant: TenantId::new(tenant).unwrap(),
            site: SiteId::new("plant-7").unwrap(),
            token_sha256: Some(token_sha256(tenant)),
            cert_sha256: vec![],
        });
        // The clients are built with TLS even where it is not used, so a provider must be there.
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let is_new = !dir.join("noc").exists();
        let config = NocConfig::on_loopback(dir.join("noc"), gateways.into());
        let noc = Noc::bind(NocConfig { escalation: Some(escalation.clone()), ..config }).await.unwrap();
        // After a restart they are in still.
        for person in PEOPLE.into_iter().filter(|_| is_new) {
            people::log_in(&noc, person).await;
        }
        let addresses = (noc.events_addr(), noc.operator_addr());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(noc.serve(async {
            // The end of the test ends it too.
            let _dropped = stopped.await;
        }));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { noc: addresses, client, stop, serving }
    }

    /// As if the machine had lost its power.
    async fn die(self) {
        self.serving.abort();
        assert!(self.serving.await.unwrap_err().is_cancelled());
    }

    /// The gateway of that tenant raises alerts of G-7, all in one delivery.
    async fn raises(&self, tenant: &str, ids: &[&str]) {
        let event = |id: &&str| {
            let number = id.bytes().fold(1_u64, |n, byte| (n * 31 + u64::from(byte)) % 1_000_000 + 1);
            json!({
                "specversion": "1.0", "id": format!("{id}.1"), "source": format!("/tenants/{tenant}/sites/plant-7/gateways/gw-{tenant}"),
                "type": "vigil.alert", "subject": "guard:G-7", "time": "2026-03-10T22:05:00Z", "sequence": number,
                "data": {"id": id, "revision": 1, "site": "plant-7", "rule": "sos", "severity": "CRITICAL", "status": "DETECTED",
                    "subject": "guard:G-7", "guard": format!("G-{id}"), "detected_at": "2026-03-10T22:05:00.000Z",
                    "updated_at": "2026-03-10T22:05:00.000Z", "cleared_at": null, "escalated": false,
                    "summary": format!("Asha Rao calls for help ({id})"), "evidence": {"lat": 12.9716, "lon": 77.5946},
                    "verification": {"method": "NONE"},
                    "history": [{"at": "2026-03-10T22:05:00.000Z", "by": "agent", "status": "DETECTED", "note": null}]}
            })
        };
        let events: Vec<Value> = ids.iter().map(event).collect();
        let request = self.client.post(format!("http://{}/v1/events", self.noc.0)).bearer_auth(tenant);
        let request = request.header("content-type", "application/cloudevents-batch+json");
        let response = request.body(json!(events).to_string()).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
    }

    async fn takes_on(&self, id: &str) {
        let url = format!("http://{}/api/alerts/acme/plant-7/gw-acme/{id}/steps", self.noc.1);
        let request = self.client.post(url).header("cookie", people::cookie("Asha"));
        let request =
            request.header("x-csrf-token", people::word("Asha")).header("content-type", "application/json");
        let step = json!({"status": "VERIFYING", "method": "CALL", "seen": "1.0"});
        let response = request.body(step.to_string()).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 201);
    }

    async fn get(&self, who: &str, path: &str) -> Value {
        let request = self.client.get(format!("http://{}{path}", self.noc.1));
        let response = request.header("cookie", people::cookie(who)).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    }

    /// What was told of an alert to `contact`, when it has come to that state.
    async fn told(&self, alert: &str, contact: &str, state: &str) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let case = self.get("Asha", &format!("/api/alerts/acme/plant-7/gw-acme/{alert}")).await;
            let mut told = case["told"].as_array().unwrap().iter();
            let of_contact = told.find(|notice| notice["contact"] == contact && notice["state"] == state);
            if let Some(notice) = of_contact {
                return notice.clone();
            }
            assert!(Instant::now() < until, "{contact} is not {state}: {case}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What Standard Webhooks asks of who gets one.
fn is_signed(came: &Came) -> bool {
    let signed = format!("{}.{}.{}", came.header("webhook-id"), came.header("webhook-timestamp"), came.body);
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &SECRET), signed.as_bytes());
    came.header("webhook-signature") == format!("v1,{}", STANDARD.encode(mac))
}

fn results(notice: &Value) -> Vec<(String, Option<u64>)> {
    let log = notice["log"].as_array().unwrap().iter();
    log.map(|line| (line["result"].as_str().unwrap().to_owned(), line["status"].as_u64())).collect()
}

#[tokio::test]
async fn a_hook_that_fails_hangs_and_asks_to_wait_gets_it_once_it_takes_it() {
    let dir = tempfile::tempdir().unwrap();
    let answers = [Answer::Status(500, "oh no"), Answer::Hang, Answer::Wait(1)];
    let mut hook = Hook::open(answers).await;
    let plan = escalation(vec![hooked("duty", hook.url())], vec![step(0, &["duty"])]);
    let centre = Centre::start(dir.path(), &plan).await;
    centre.raises("acme", &["a-1"]).await;
    let mut came = vec![];
    for _ in 0..4 {
        came.push(hook.next().await);
    }
    for one in &came {
        assert!(is_signed(one), "{one:?}");
        assert_eq!((one.header("webhook-id"), &one.body), (came[0].header("webhook-id"), &came[0].body));
        assert_eq!((one.path.as_str(), one.header("content-type")), ("/vigil/", "application/json"));
    }
    assert!(came[3].at - came[2].at >= Duration::from_secs(1), "it was asked to wait");
    let notice = centre.told("a-1", "duty", "told").await;
    let expected = [("failed", Some(500)), ("failed", None), ("failed", Some(429)), ("taken", Some(204))];
    assert_eq!(results(&notice), expected.map(|(result, status)| (result.to_owned(), status)));
    assert_eq!((&notice["tries"], &notice["log"][0]["said"]), (&json!(4), &json!("oh no")));
    let body: Value = serde_json::from_str(&came[0].body).unwrap();
    let alert = &body["data"]["alerts"][0];
    assert_eq!(
        (&body["type"], &alert["rule"], &alert["gateway"]),
        (&json!("alert.escalated"), &json!("sos"), &json!("gw-acme"))
    );
    assert_eq!(alert["link"], "/alerts/acme/plant-7/gw-acme/a-1");
    assert!(!came[0].body.contains("12.97"), "no position leaves the centre");
    assert!(!hook.has_more());
    let page = centre.client.get(format!("http://{}/escalations?state=told", centre.noc.1));
    let page = page.header("cookie", people::cookie("Asha")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("Asha Rao calls for help (a-1)") && page.contains("duty"), "{page}");
}

#[tokio::test]
async fn what_is_refused_is_not_tried_again_and_nothing_is_sent_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = Hook::open([]).await;
    let mut gone = Hook::open([Answer::Status(410, "we have moved out")]).await;
    let mut moved = Hook::open([Answer::Elsewhere(other.url()), Answer::Status(400, "what is this?")]).await;
    let contacts = vec![hooked("gone", gone.url()), hooked("moved", moved.url())];
    let plan = escalation(contacts, vec![step(0, &["gone", "moved"])]);
    let centre = Centre::start(dir.path(), &plan).await;
    centre.raises("acme", &["a-1"]).await;
    let notice = centre.told("a-1", "gone", "refused").await;
    assert_eq!((&notice["why"], &notice["next_at"]), (&json!("we have moved out"), &Value::Null));
    let notice = centre.told("a-1", "moved", "refused").await;
    let expected = [("failed".to_owned(), Some(307)), ("refused".to_owned(), Some(400))];
    assert_eq!((results(&notice), &notice["why"]), (expected.to_vec(), &json!("what is this?")));
    gone.next().await;
    moved.next().await;
    moved.next().await;
    assert!(!gone.has_more() && !moved.has_more() && !other.has_more());
    // Of the next alert both are told again: a refusal is of one message.
    centre.raises("acme", &["a-2"]).await;
    assert_eq!(
        (gone.next().await.alerts(), moved.next().await.alerts()),
        (vec!["a-2".to_owned()], vec!["a-2".to_owned()])
    );
}

#[tokio::test]
async fn who_takes_an_alert_on_in_time_wakes_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (Hook::open([]).await, Hook::open([]).await);
    let contacts = vec![hooked("duty", first.url()), hooked("boss", second.url())];
    let plan = escalation(contacts, vec![step(1_500, &["duty"]), step(3_500, &["boss"])]);
    let centre = Centre::start(dir.path(), &plan).await;
    centre.raises("acme", &["a-1"]).await;
    centre.takes_on("a-1").await;
    // This one comes later and is due later: when it is told, the other's time is over.
    centre.raises("acme", &["a-2"]).await;
    assert_eq!(first.next().await.alerts(), ["a-2"]);
    // It is taken on between two rungs; a third alert shows that the second rung has been.
    centre.takes_on("a-2").await;
    centre.raises("acme", &["a-3"]).await;
    assert_eq!(first.next().await.alerts(), ["a-3"]);
    assert_eq!(second.next().await.alerts(), ["a-3"]);
    assert!(!first.has_more() && !second.has_more());
    let case = centre.get("Asha", "/api/alerts/acme/plant-7/gw-acme/a-1").await;
    assert_eq!(case["told"], json!([]));
}

#[tokio::test]
async fn a_receiver_that_is_killed_loses_nothing_and_tells_once_more_under_the_same_name() {
    let dir = tempfile::tempdir().unwrap();
    let (mut hook, mut boss) = (Hook::open([Answer::Hang]).await, Hook::open([]).await);
    let contacts = vec![hooked("duty", hook.url()), hooked("boss", boss.url())];
    let plan = escalation(contacts, vec![step(0, &["duty"]), step(2_000, &["boss"])]);
    let centre = Centre::start(dir.path(), &plan).await;
    centre.raises("acme", &["a-1"]).await;
    let before = hook.next().await;
    // The first step is in the midst of being told, and the second is not due yet.
    centre.die().await;
    let centre = Centre::start(dir.path(), &plan).await;
    let after = hook.next().await;
    assert_eq!((after.header("webhook-id"), &after.body), (before.header("webhook-id"), &before.body));
    let notice = centre.told("a-1", "duty", "told").await;
    assert_eq!(notice["tries"], 2);
    assert_eq!(boss.next().await.alerts(), ["a-1"], "what was due later is told by the next receiver");
    centre.told("a-1", "boss", "told").await;
    centre.die().await;
    let centre = Centre::start(dir.path(), &plan).await;
    centre.raises("acme", &["a-2"]).await;
    assert_eq!(hook.next().await.alerts(), ["a-2"], "what was told is not told again");
    assert!(!hook.has_more());
}

#[tokio::test]
async fn a_slow_contact_holds_up_nobody_and_no_stop() {
    let dir = tempfile::tempdir().unwrap();
    let mut slow = Hook::open(std::iter::repeat_n(Answer::Hang, 50)).await;
    let mut quick = Hook::open([]).await;
    let contacts = vec![hooked("slow", slow.url()), hooked("quick", quick.url())];
    let mut plan = escalation(contacts, vec![step(0, &["slow", "quick"])]);
    plan.patience.try_for = 10 * PATIENCE;
    plan.patience.lease = 20 * PATIENCE;
    let centre = Centre::start(dir.path(), &plan).await;
    let ids: Vec<String> = (0..40).map(|n| format!("a-{n}")).collect();
    centre.raises("acme", &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    slow.next().await;
    for _ in &ids {
        quick.next().await;
    }
    assert!(!slow.has_more(), "one at a time");
    centre.stop.send(()).unwrap();
    let ended = tokio::time::timeout(PATIENCE, centre.serving).await.expect("it stops");
    ended.unwrap().unwrap();
}

#[tokio::test]
async fn alerts_of_another_tenant_are_told_to_nobody_and_shown_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let mut hook = Hook::open([]).await;
    let tenant = TenantId::new("acme").ok();
    let duty = Contact { tenant: tenant.clone(), ..hooked("duty", hook.url()) };
    let plan = escalation(vec![duty], vec![Step { tenant, ..step(0, &["duty"]) }, step(0, &["duty"])]);
    let centre = Centre::start(dir.path(), &plan).await;
    centre.raises("zeta", &["z-1"]).await;
    centre.raises("acme", &["a-1"]).await;
    assert_eq!(hook.next().await.alerts(), ["a-1"]);
    centre.told("a-1", "duty", "told").await;
    for (who, seen) in [("Asha", 1), ("Rao", 1), ("Zed", 0)] {
        let listed = centre.get(who, "/api/escalations").await;
        assert_eq!(listed["escalations"].as_array().unwrap().len(), seen, "{who}: {listed}");
    }
    assert!(!hook.has_more());
    // One that was in the ledger when the contact was given to another tenant.
    let (ways, at) = (Ways::open(&plan).unwrap(), Timestamp::from_millis(0));
    let body = test(at).written();
    let refused = ways.tell("duty", Some("zeta"), ("esc_1", at, &body), at).await;
    assert!(
        matches!(&refused, Outcome::Refused { said, .. } if said.contains("may not hear of zeta")),
        "{refused:?}"
    );
    assert!(!hook.has_more());
}

fn office(post: &Post, security: Security) -> PostOffice {
    PostOffice {
        host: "localhost".to_owned(),
        port: post.at.port(),
        security,
        login: None,
        from: "noc@guard.example".to_owned(),
        ca_pem: None,
    }
}

#[tokio::test]
async fn a_mail_is_sent_again_until_it_is_taken_and_not_if_it_is_refused_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let mut post =
        Post::open(["451 4.3.0 come back", "250 2.0.0 taken", "554 5.7.1 no such mailbox"], None).await;
    let contacts = vec![mailed("duty", "duty@guard.example")];
    let mut plan = escalation(contacts, vec![step(0, &["duty"])]);
    plan.post = Some(office(&post, Security::None));
    let centre = Centre::start(dir.path(), &plan).await;
    centre.raises("acme", &["a-1"]).await;
    let (first, second) = (post.next().await, post.next().await);
    assert_eq!(
        (first.to.as_str(), first.header("To")),
        ("RCPT TO:<duty@guard.example>", "duty@guard.example")
    );
    assert_eq!(first.text, second.text, "all of it is the same, its Message-ID and its date too");
    assert!(first.header("Message-ID").ends_with("@guard.example>"), "{}", first.text);
    assert_eq!(first.header("Auto-Submitted"), "auto-generated");
    assert!(first.text.contains("CRITICAL sos: Asha Rao calls for help (a-1)"), "{}", first.text);
    let notice = centre.told("a-1", "duty", "told").await;
    assert_eq!(results(&notice), [("failed".to_owned(), Some(451)), ("taken".to_owned(), Some(250))]);
    centre.raises("acme", &["a-2"]).await;
    let notice = centre.told("a-2", "duty", "refused").await;
    assert!(notice["why"].as_str().unwrap().contains("no such mailbox"), "{notice}");
}

#[tokio::test]
async fn a_mail_goes_over_tls_with_a_password_and_to_nobody_who_is_not_known() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![made.cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap(),
        )
        .unwrap();
    let mut post = Post::open([], Some(Arc::new(tls))).await;
    let mut plan = escalation(vec![mailed("duty", "duty@guard.example")], vec![]);
    let with = |ca: Option<&str>| PostOffice {
        login: Some(("noc".to_owned(), "sesame".to_owned())),
        ca_pem: ca.map(|pem| pem.as_bytes().to_vec()),
        ..office(&post, Security::Tls)
    };
    let (known, stranger) = (with(Some(&made.cert.pem())), with(Some(&other_authority())));
    plan.patience.try_for = PATIENCE;
    plan.post = Some(stranger);
    let now = Timestamp::from_millis(1_773_160_000_000);
    let outcome = plan.try_out("duty", now).await.unwrap();
    assert!(matches!(&outcome, Outcome::Later { status: None, .. }), "{outcome:?}");
    plan.post = Some(known);
    let outcome = plan.try_out("duty", now).await.unwrap();
    assert_eq!(outcome, Outcome::Taken { status: Some(250) });
    let letter = post.next().await;
    assert_eq!(letter.login, Some(format!("AUTH PLAIN {}", STANDARD.encode("\0noc\0sesame"))));
    assert!(letter.text.contains("This is a test: nothing has happened"), "{}", letter.text);
    assert!(plan.try_out("nobody", now).await.is_err());
}

fn other_authority() -> String {
    rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem()
}

#[tokio::test]
async fn what_cannot_be_set_up_ends_the_start_and_says_whose_it_is() {
    let dir = tempfile::tempdir().unwrap();
    for (plan, said) in [
        (escalation(vec![mailed("duty", "duty@guard.example")], vec![]), "duty is reached by mail"),
        (escalation(vec![], vec![step(0, &["boss"])]), "there is no contact boss"),
        (escalation(vec![hooked("duty", "https://x/".to_owned())], vec![]), "install ca-certificates"),
        (escalation(vec![mailed("duty", "not an address")], vec![]), "the mail address of duty is none"),
    ] {
        let config = NocConfig::on_loopback(dir.path().join("noc"), vec![]);
        let why = Noc::bind(NocConfig { escalation: Some(plan), ..config }).await.err().unwrap();
        assert!(matches!(why, NocError::Escalation(_)) && why.to_string().contains(said), "{why}");
    }
}
