//! Every route, asked by those who may not: nobody, a viewer, somebody of another tenant, a page that does not know the word. A
//! route that is not in the table here fails the test.

use super::*;
use crate::access::audit::{Actor, Deed, audit};
use crate::access::people::NewPerson;
use crate::access::tokens::NewToken;
use crate::access::{secret, sessions};
use crate::escalation::due::Step;
use crate::escalation::{Contact, Way};
use crate::ledger::{Clerk, Delivery, Entry};
use crate::openapi::judge::{self, Judge};
use crate::sites::tests::{file, given, press};
use crate::sites::{Press, store};
use crate::{GatewayAccess, Noc, NocConfig, clock, token_sha256};
use reqwest::{Client, Response, redirect};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::LazyLock;
use tokio::sync::oneshot;
use vigil_cloud_sync::{EventKind, Origin};
use vigil_core::id::{GatewayId, OperatorId, SiteId, TenantId};
use vigil_core::time::Span;

/// In every thing of the tenant `acme` that there is.
const MARK: &str = "acme-only";

/// What somebody of another tenant gets.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Foreign {
    /// As if it were not there.
    Missing,
    /// An answer in which nothing of `acme` is, though staff sees it there.
    Without,
    /// It is refused, and by what it says nothing of `acme`.
    Refused,
    /// There is nothing of anybody in it.
    Neutral,
}

use Foreign::{Missing, Neutral, Refused, Without};

/// A route by the words of the table, how it is asked of things of `acme`, and what a stranger to `acme` gets.
const EXAMPLES: &[(&str, &str, &str, &str, Foreign)] = &[
    ("GET", "/noc.css", "/noc.css", "", Neutral),
    ("GET", "/noc.js", "/noc.js", "", Neutral),
    ("GET", "/desk.css", "/desk.css", "", Neutral),
    ("GET", "/vigil.css", "/vigil.css", "", Neutral),
    ("GET", "/vigil.js", "/vigil.js", "", Neutral),
    ("GET", "/icon.svg", "/icon.svg", "", Neutral),
    ("GET", "/openapi.json", "/openapi.json", "", Neutral),
    ("GET", "/healthz", "/healthz", "", Neutral),
    ("GET", "/login", "/login", "", Neutral),
    ("POST", "/login", "/login", "name=nobody&password=wrong", Neutral),
    ("GET", "/api/me", "/api/me", "", Neutral),
    ("GET", "/account", "/account", "", Neutral),
    ("GET", "/password", "/password", "", Neutral),
    ("POST", "/password", "/password", "old=a&new=b&again=c", Neutral),
    ("POST", "/logout", "/logout", "", Neutral),
    ("POST", "/sessions/end", "/sessions/end", "session=none", Neutral),
    ("GET", "/", "/", "", Neutral),
    ("GET", "/api/gateways", "/api/gateways", "", Without),
    ("GET", "/api/alerts", "/api/alerts", "", Without),
    ("GET", "/api/alerts/{tenant}/{site}/{gateway}/{id}", ALERT, "", Missing),
    ("POST", "/api/alerts/{tenant}/{site}/{gateway}/{id}/steps", STEPS, "STEP", Missing),
    (
        "GET",
        "/alerts/{tenant}/{site}/{gateway}/{id}",
        "/alerts/acme/plant-7/acme-only-gw/acme-only-alert",
        "",
        Neutral,
    ),
    ("GET", "/me.js", "/me.js", "", Neutral),
    ("GET", "/alert.js", "/alert.js", "", Neutral),
    ("GET", "/pictures.js", "/pictures.js", "", Neutral),
    ("GET", "/filters.js", "/filters.js", "", Neutral),
    ("GET", "/tasks", "/tasks", "", Neutral),
    ("GET", "/tasks.js", "/tasks.js", "", Neutral),
    ("GET", "/api/tours", "/api/tours", "", Without),
    ("GET", "/api/days", "/api/days", "", Without),
    ("GET", "/reports.css", "/reports.css", "", Neutral),
    ("GET", "/dashboard", "/dashboard", "", Without),
    ("GET", "/reports", "/reports", "", Without),
    ("GET", "/reports/daily", "/reports/daily", "", Without),
    ("GET", "/rankings", "/rankings", "", Without),
    ("GET", "/api/dashboard", "/api/dashboard?site=acme/plant-7", "", Refused),
    ("GET", "/api/reports", "/api/reports?site=acme/plant-7", "", Refused),
    ("GET", "/api/reports.csv", "/api/reports.csv?site=acme/plant-7", "", Refused),
    ("GET", "/api/rankings", "/api/rankings?site=acme/plant-7", "", Refused),
    ("GET", "/api/rankings.csv", "/api/rankings.csv?site=acme/plant-7", "", Refused),
    ("GET", "/sites.js", "/sites.js", "", Neutral),
    ("GET", "/sites", "/sites", "", Neutral),
    ("GET", "/api/sites", "/api/sites", "", Without),
    ("GET", "/api/sites/{tenant}/{site}/files", "/api/sites/acme/acme-only/files", "", Missing),
    ("POST", "/api/sites/{tenant}/{site}/files", "/api/sites/acme/acme-only/files?after=1", "SITE", Missing),
    ("GET", "/api/sites/{tenant}/{site}/files/{version}", "/api/sites/acme/acme-only/files/1", "", Missing),
    ("POST", "/api/sites/{tenant}/{site}/check", "/api/sites/acme/acme-only/check", "SITE", Missing),
    ("GET", "/desk.js", "/desk.js", "", Neutral),
    ("GET", "/policies.js", "/policies.js", "", Neutral),
    ("GET", "/policies", "/policies", "", Neutral),
    ("GET", "/api/policies", "/api/policies", "", Without),
    ("GET", "/api/policies/{tenant}", "/api/policies/acme", "", Missing),
    ("POST", "/api/policies/{tenant}", "/api/policies/acme?after=1", "POLICY", Missing),
    ("GET", "/api/policies/{tenant}/{client}", "/api/policies/acme/acme-only", "", Missing),
    ("POST", "/api/policies/{tenant}/{client}", "/api/policies/acme/acme-only?after=1", "POLICY", Missing),
    ("GET", "/api/stream", "/api/stream", "", Neutral),
    ("GET", "/api/gateways/{gateway}/commands", "/api/gateways/acme-only-gw/commands", "", Missing),
    ("POST", "/api/gateways/{gateway}/commands", "/api/gateways/acme-only-gw/commands", "JSON", Missing),
    ("GET", "/escalations", "/escalations", "", Without),
    ("GET", "/api/escalations", "/api/escalations?state=waiting", "", Without),
    ("GET", "/people", "/people", "", Without),
    ("POST", "/people", "/people", "name=new-one&role=viewer&tenant=acme", Refused),
    ("POST", "/people/{name}/role", "/people/acme-only-ada/role", "role=viewer", Missing),
    ("POST", "/people/{name}/state", "/people/acme-only-ada/state", "state=disabled", Missing),
    ("POST", "/people/{name}/password", "/people/acme-only-ada/password", "", Missing),
    ("GET", "/tokens", "/tokens", "", Without),
    ("POST", "/tokens", "/tokens", "name=new-one&role=viewer&tenant=acme", Refused),
    ("POST", "/tokens/{name}/revoke", "/tokens/acme-only-token/revoke", "", Missing),
    ("GET", "/audit", "/audit", "", Without),
    ("GET", "/audit.csv", "/audit.csv", "", Without),
];

/// An alert of `acme`, and the steps of it.
const ALERT: &str = "/api/alerts/acme/plant-7/acme-only-gw/acme-only-alert";
const STEPS: &str = "/api/alerts/acme/plant-7/acme-only-gw/acme-only-alert/steps";
const STEP: &str = r#"{"status":"VERIFYING","method":"CALL","seen":"1.0"}"#;

/// A policy, and the site file that it bounds, of the reader that the tests have.
const POLICY: &str = r#"{"most":9}"#;

fn site_file() -> String {
    file("acme-only", "acme-only", 1)
}

struct Here {
    at: SocketAddr,
    client: Client,
    clerk: Clerk,
    _stop: oneshot::Sender<()>,
    _dir: tempfile::TempDir,
}

fn origin(tenant: &str) -> Origin {
    Origin {
        tenant: TenantId::new(tenant).unwrap(),
        site: SiteId::new("plant-7").unwrap(),
        gateway: GatewayId::new(&format!("{tenant}-only-gw")).unwrap(),
    }
}

fn delivery(tenant: &str) -> Delivery {
    let event = |n: u64, kind, data: Value| {
        let alert = (kind == EventKind::Alert).then(|| serde_json::from_value(data.clone()).unwrap());
        let data = serde_json::value::to_raw_value(&data).unwrap();
        let id = format!("{tenant}-only-{n}");
        let (subject, time) = (format!("{tenant}-only"), clock::wall());
        Entry { producer: None, sequence: n, id, kind, subject, time, data, alert }
    };
    let alert = json!({"id": format!("{tenant}-only-alert"), "revision": 1, "severity": "HIGH", "status": "DETECTED",
        "detected_at": "2026-03-10T22:05:00Z"});
    let entries = vec![
        event(1, EventKind::Alert, alert),
        event(2, EventKind::Tour, json!({})),
        event(3, EventKind::Report, json!({})),
        event(
            4,
            EventKind::Health,
            json!({"site_name": format!("{tenant}-only site"), "timezone": "Asia/Kolkata"}),
        ),
    ];
    Delivery { origin: origin(tenant), received_at: clock::wall(), entries }
}

/// Everybody is told of everything at once; the tests' receiver tells nobody, so that it stays in the ledger.
fn escalation() -> (Vec<Step>, Vec<Contact>) {
    let step = Step {
        tenant: None,
        site: None,
        severities: vec!["HIGH".to_owned()],
        rules: vec![],
        after: Span::ZERO,
        to: vec!["duty".to_owned()],
    };
    let way = Way::Mail { address: "duty@guard.example".to_owned() };
    (vec![step], vec![Contact { name: "duty".to_owned(), tenant: None, way }])
}

/// Whoever has that name; the cookie is the name.
fn person(name: &str, tenant: Option<&str>, role: Role) -> NewPerson {
    let tenant = tenant.map(|tenant| TenantId::new(tenant).unwrap());
    let hash = "no hash".to_owned();
    NewPerson { name: OperatorId::new(name).unwrap(), tenant, role, hash, must_change: false }
}

impl Here {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let gateways = ["acme", "zeta"].map(|tenant| {
            let Origin { tenant, site, gateway } = origin(tenant);
            let token = Some(token_sha256(tenant.as_str()));
            GatewayAccess { gateway, tenant, site, token_sha256: token, cert_sha256: vec![] }
        });
        let press = press();
        let config = NocConfig::on_loopback(dir.path().to_owned(), gateways.into());
        let noc = Noc::bind(NocConfig { press: Some(press.clone()), ..config }).await.unwrap();
        let (at, clerk, (stop, stopped)) = (noc.operator_addr(), noc.clerk(), oneshot::channel());
        tokio::spawn(noc.serve(async { drop(stopped.await) }));
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().redirect(redirect::Policy::none()).build().unwrap();
        let here = Self { at, client, clerk, _stop: stop, _dir: dir };
        here.furnish(press).await;
        here
    }

    async fn furnish(&self, press: Press) {
        let people = [
            person("staff", None, Role::Admin),
            person("viewer", None, Role::Viewer),
            person("zeta-admin", Some("zeta"), Role::Admin),
            person("acme-only-ada", Some("acme"), Role::Admin),
        ];
        let token = NewToken {
            name: OperatorId::new("acme-only-token").unwrap(),
            tenant: Some(TenantId::new("acme").unwrap()),
            role: Role::Viewer,
            digest: secret::digest("acme token"),
        };
        let furnished = self.clerk.ask(move |ledger| {
            for tenant in ["acme", "zeta"] {
                ledger.record(&delivery(tenant))?;
            }
            let (steps, contacts) = escalation();
            ledger.look_for_due(&steps, &contacts, clock::wall())?;
            let (actor, now) = (Actor::console(), clock::wall());
            ledger.within(|tx| {
                for new in &people {
                    crate::access::people::add(tx, &actor, now, new)?;
                    let digest = secret::digest(new.name.as_str());
                    sessions::begin(tx, now, new.name.as_str(), &digest, ("192.0.2.1", "test"))?;
                }
                crate::access::tokens::add(tx, &actor, now, &token)
            })?;
            let (acme, site) = (TenantId::new("acme").unwrap(), SiteId::new("acme-only").unwrap());
            let given = given("ada", 0);
            for client in ["", "acme-only"] {
                store::give_policy(ledger.database(), &press, (&acme, client), POLICY, &given).unwrap();
            }
            store::give_site(ledger.database(), &press, (&acme, &site), &site_file(), &given).unwrap();
            Ok(())
        });
        furnished.await.unwrap();
    }

    /// Asks as whoever has that cookie, with what is to be changed about the request.
    async fn ask(
        &self,
        (method, uri, body): (&str, &str, &str),
        who: Option<&str>,
        word: Option<&str>,
        origin: Option<&str>,
    ) -> Response {
        let url = format!("http://{}{uri}", self.at);
        let mut request = if method == "GET" { self.client.get(url) } else { self.client.post(url) };
        if let Some(who) = who {
            request = request.header("cookie", format!("vigil={who}"));
        }
        for (name, value) in [("x-csrf-token", word), ("origin", origin)] {
            request = value.into_iter().fold(request, |request, value| request.header(name, value));
        }
        if method == "POST" {
            let command = json!({"type": "task.cancel", "data": {"task": "T-1"}}).to_string();
            let (kind, body) = match body {
                "JSON" => ("application/json", command),
                "STEP" => ("application/json", STEP.to_owned()),
                "SITE" => ("text/plain", site_file()),
                "POLICY" => ("text/plain", POLICY.to_owned()),
                form => ("application/x-www-form-urlencoded", form.to_owned()),
            };
            request = request.header("content-type", kind).body(body);
        }
        judged(method, uri, request.send().await.unwrap()).await
    }
}

/// Every answer is held against the document, whatever a test asks for; then it is handed on.
async fn judged(method: &str, uri: &str, answer: Response) -> Response {
    static JUDGE: LazyLock<Judge> = LazyLock::new(|| Judge::of(openapi::document()));
    let (status, headers) = (answer.status(), answer.headers().clone());
    let header = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    // A stream has no end.
    let is_stream = header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
    let (handed_on, body) = if is_stream {
        (answer, None)
    } else {
        let body = answer.bytes().await.unwrap();
        let mut again = axum::http::Response::new(body.clone());
        (*again.status_mut(), *again.headers_mut()) = (status, headers.clone());
        (Response::from(again), Some(body))
    };
    let (method, path) = (method.to_lowercase(), uri.split('?').next().unwrap());
    let answer = judge::Answer {
        method: &method,
        path,
        status: status.as_u16(),
        header: &header,
        body: body.as_deref(),
    };
    assert_eq!(JUDGE.fault(&answer), None, "the document says otherwise");
    handed_on
}

/// Each route with how it is asked.
fn asked() -> impl Iterator<Item = (&'static Route, (&'static str, &'static str, &'static str), Foreign)> {
    EXAMPLES.iter().map(|(method, path, uri, body, foreign)| {
        let route = ROUTES.iter().find(|route| route.method.as_str() == *method && route.path == *path);
        let route = route.unwrap_or_else(|| panic!("{method} {path} is no route"));
        (route, (*method, *uri, *body), *foreign)
    })
}

#[test]
fn every_route_is_in_the_table_here() {
    let known: BTreeSet<_> = EXAMPLES.iter().map(|(method, path, ..)| (*method, *path)).collect();
    let all: BTreeSet<_> = ROUTES.iter().map(|route| (route.method.as_str(), route.path)).collect();
    assert_eq!(known, all, "a route without an example is a route that nobody has tried to break");
    assert_eq!((EXAMPLES.len(), ROUTES.len()), (known.len(), all.len()), "none is there twice");
}

#[tokio::test]
async fn without_a_session_there_is_the_log_in_and_nothing_else() {
    let here = Here::open().await;
    for who in [None, Some("made-up")] {
        for (route, request, _) in asked() {
            let answer = here.ask(request, who, Some("x"), None).await;
            let (status, path) = (answer.status().as_u16(), request.1);
            let to = answer.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
            match route.needs {
                Needs::Nobody => assert!(to.is_none() && status != 500, "{path}: {status}"),
                Needs::Oneself | Needs::Role(_) if path.starts_with("/api/") => {
                    assert_eq!(status, 401, "{path}")
                }
                Needs::Oneself | Needs::Role(_) => {
                    assert!(status == 303 && to.unwrap().starts_with("/login?next=/"), "{path}: {status}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_viewer_looks_and_does_nothing() {
    let here = Here::open().await;
    for (route, request, _) in
        asked().filter(|(_, (method, uri, _), _)| (*method, *uri) != ("POST", "/logout"))
    {
        let answer = here.ask(request, Some("viewer"), Some(&secret::word_of("viewer")), None).await;
        let refused = matches!(route.needs, Needs::Role(role) if role > Role::Viewer);
        assert_eq!(answer.status().as_u16() == 403, refused, "{request:?}: {}", answer.status());
        if refused {
            let Needs::Role(role) = route.needs else { continue };
            let told = answer.text().await.unwrap();
            assert!(told.contains(&format!("the role {role} is needed")), "{request:?}: {told}");
        }
    }
}

#[tokio::test]
async fn a_page_that_does_not_know_the_word_changes_nothing() {
    let here = Here::open().await;
    let word = secret::word_of("staff");
    let of_another = secret::word_of("viewer");
    let changes = || asked().filter(|(_, (method, ..), _)| *method == "POST");
    for (route, request, _) in changes().filter(|(route, ..)| route.needs != Needs::Nobody) {
        for wrong in [None, Some(""), Some(of_another.as_str())] {
            let answer = here.ask(request, Some("staff"), wrong, None).await;
            assert_eq!(answer.status().as_u16(), 403, "{request:?} {wrong:?}");
            assert!(answer.text().await.unwrap().contains("the word of the session"), "{}", route.path);
        }
    }
    for (_, request, _) in changes() {
        let answer = here.ask(request, Some("staff"), Some(&word), Some("https://evil.example")).await;
        assert_eq!(answer.status().as_u16(), 403, "{request:?} of another origin");
    }
    let logged = here.clerk.ask(|ledger| {
        let all = crate::access::audit::Sought { who: Some("staff".to_owned()), ..Default::default() };
        crate::access::audit::list(ledger.database(), &crate::access::Scope::whole(), &all, 10)
    });
    assert_eq!(logged.await.unwrap().len(), 0, "and the log has nothing of it");
}

#[tokio::test]
async fn the_word_may_stand_in_a_form() {
    let here = Here::open().await;
    let word = secret::word_of("staff");
    let body = format!("csrf={word}&session=none");
    let answer = here.ask(("POST", "/sessions/end", &body), Some("staff"), None, None).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (303, &"/account".parse().unwrap())
    );
}

#[tokio::test]
async fn somebody_of_another_tenant_finds_nothing_of_ours() {
    let here = Here::open().await;
    let words = ["staff", "zeta-admin"].map(|who| (who, secret::word_of(who)));
    for (route, request, foreign) in asked() {
        if matches!(request.1, "/logout" | "/api/stream") {
            continue;
        }
        let mut answers = vec![];
        for (who, word) in words.iter().rev() {
            let answer = here.ask(request, Some(who), Some(word), None).await;
            answers.push((answer.status().as_u16(), answer.text().await.unwrap()));
        }
        let ((status, told), (of_staff, seen)) = (answers[0].clone(), answers[1].clone());
        assert!(!told.contains(MARK) || foreign == Missing, "{}: {told}", route.path);
        match foreign {
            Missing => assert_eq!((status, of_staff < 400), (404, true), "{}: {told} / {seen}", route.path),
            Without => assert!(status == 200 && seen.contains(MARK), "{}: {seen}", route.path),
            Refused => assert_eq!((status, of_staff), (400, 200), "{}: {told} / {seen}", route.path),
            Neutral => assert_ne!(status, 404, "{}", route.path),
        }
    }
    // And of one's own there is as much as there should be.
    let own = here.ask(("GET", "/api/alerts", ""), Some("zeta-admin"), None, None).await;
    assert!(own.text().await.unwrap().contains("zeta-only-alert"));
}

#[tokio::test]
async fn a_stream_tells_of_ones_own_tenant_only_and_ends_with_the_session() {
    let here = Here::open().await;
    let mut stream = here.ask(("GET", "/api/stream", ""), Some("zeta-admin"), None, None).await;
    let more = |n: u64, tenant: &str| {
        let mut more = delivery(tenant);
        more.entries.truncate(1);
        let entry = &mut more.entries[0];
        (entry.sequence, entry.id) = (10 + n, format!("{tenant}-only-{n}-more"));
        if let Some(alert) = &mut entry.alert {
            alert.revision = 9;
        }
        more
    };
    let (first, second) = (more(1, "acme"), more(2, "zeta"));
    let hello = stream.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&hello).contains("event: hello"), "{hello:?}");
    here.clerk.ask(move |ledger| ledger.record(&first)).await.unwrap();
    here.clerk.ask(move |ledger| ledger.record(&second)).await.unwrap();
    let mut heard = String::new();
    while !heard.contains("event: gateway") {
        heard += &String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap());
    }
    assert!(heard.contains("zeta-only-alert") && !heard.contains(MARK), "{heard}");
    here.clerk.ask(|ledger| ledger.within(|tx| sessions::end_all(tx, "zeta-admin"))).await.unwrap();
    let ended = async { while stream.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(std::time::Duration::from_secs(30), ended).await.expect("the stream ends");
}

#[tokio::test]
async fn what_is_done_is_written_down_with_it() {
    let here = Here::open().await;
    let word = secret::word_of("staff");
    let json = ("POST", "/api/gateways/acme-only-gw/commands", "JSON");
    assert_eq!(here.ask(json, Some("staff"), Some(&word), None).await.status().as_u16(), 201);
    let lock = ("POST", "/people/acme-only-ada/state", "state=disabled");
    assert_eq!(here.ask(lock, Some("staff"), Some(&word), None).await.status().as_u16(), 200);
    let gone = here.ask(("GET", "/api/me", ""), Some("acme-only-ada"), None, None).await;
    assert_eq!(gone.status().as_u16(), 401, "who is locked out is out at once");
    let csv = here.ask(("GET", "/audit.csv?who=staff", ""), Some("staff"), None, None).await;
    let csv = csv.text().await.unwrap();
    assert!(csv.contains("staff,127.0.0.1,person.disable,acme-only-ada,acme,{}"), "{csv}");
    assert!(csv.contains("command.queue,acme/plant-7/acme-only-gw,acme,"), "{csv}");
    let altered = here.clerk.ask(|ledger| {
        ledger.within(|tx| {
            audit(
                tx,
                &Actor::console(),
                clock::wall(),
                &Deed { tenant: None, action: "test", object: "", detail: json!({}) },
            )
        })?;
        ledger.database().execute("DELETE FROM audit", &[])
    });
    assert!(altered.await.unwrap_err().to_string().contains("append only"));
}

#[tokio::test]
async fn a_route_without_a_rule_is_not_served() {
    let here = Here::open().await;
    let (_, stopping) = tokio::sync::watch::channel(false);
    let room = crate::console::Room {
        clerk: here.clerk.clone(),
        feed: crate::feed::Feed::default(),
        now: clock::wall,
        stopping,
        tls: false,
        listed: [].into(),
        proxies: door::Proxies::default(),
        press: None,
    };
    let console = crate::console::Console::open(room);
    let routes = Router::new()
        .route("/forgotten", get(|| async { "seen" }))
        .route("/login", axum::routing::put(|| async { "seen" }));
    let server = crate::Server::bind("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
    let at = server.local_addr();
    tokio::spawn(server.serve(behind_the_door(routes, &console), std::future::pending()));
    let answer = here
        .client
        .get(format!("http://{at}/forgotten"))
        .header("cookie", "vigil=staff")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 404);
    let answer = here.client.put(format!("http://{at}/login")).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 405);
}
