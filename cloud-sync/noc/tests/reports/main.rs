//! Reports at the operations centre, over HTTP: numbers that were worked out by hand, and pages that give nothing away.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has to stop")]

mod week;

use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Router};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::sync::oneshot;
use vigil_core::id::TenantId;
use vigil_noc::Server;
use vigil_noc::reports::{Desk, pages};
use week::{Reader, Week, YARD, document, now};

const EIGHT_DAYS: &str = "from=2026-03-02&to=2026-03-09";

/// What an operations centre sends with its pages, with forms allowed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

struct Centre {
    address: SocketAddr,
    client: reqwest::Client,
    _stop: oneshot::Sender<()>,
}

impl Centre {
    async fn open(week: Week, reader: Option<Reader>) -> Self {
        Self::at(0, week, reader).await
    }

    async fn at(port: u16, week: Week, reader: Option<Reader>) -> Self {
        let style = |text: &'static str| {
            get(move || async move { ([("content-type", "text/css")], text).into_response() })
        };
        let mut router = routes(week).route("/vigil.css", style(vigil_listen::dress::STYLE)).layer(
            axum::middleware::map_response(|mut response: axum::response::Response| async {
                let policy = axum::http::HeaderValue::from_static(POLICY);
                response.headers_mut().insert("content-security-policy", policy);
                response
            }),
        );
        if let Some(reader) = reader {
            router = router.layer(Extension(reader));
        }
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], port)), None).await.unwrap();
        let (address, (stop, stopped)) = (server.local_addr(), oneshot::channel::<()>());
        tokio::spawn(server.serve(router, async {
            let _gone = stopped.await;
        }));
        // The client is built with TLS even where it is not used, so a provider must be there.
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        Self { address, client: reqwest::Client::builder().no_proxy().build().unwrap(), _stop: stop }
    }

    async fn whole() -> Self {
        Self::open(Week::default(), Some(Reader(None))).await
    }

    async fn ask(&self, path: &str) -> (u16, String) {
        let response = self.client.get(format!("http://{}{path}", self.address)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn json(&self, path: &str) -> Value {
        let (status, text) = self.ask(path).await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }
}

/// The routes of reports as the receiver has them, on a source that is made up.
fn routes(week: Week) -> Router {
    Router::new()
        .route("/dashboard", get(pages::dashboard::<Week>))
        .route("/reports", get(pages::reports::<Week>))
        .route("/reports/daily", get(pages::daily::<Week>))
        .route("/rankings", get(pages::rankings::<Week>))
        .route("/api/dashboard", get(pages::api_dashboard::<Week>))
        .route("/api/reports", get(pages::api_reports::<Week>))
        .route("/api/reports.csv", get(pages::csv_reports::<Week>))
        .route("/api/rankings", get(pages::api_rankings::<Week>))
        .route("/api/rankings.csv", get(pages::csv_rankings::<Week>))
        .with_state(Desk::open(week, now))
}

/// Everything at `paths` of a value.
fn picked(value: &Value, paths: &[&str]) -> Value {
    paths.iter().map(|path| value.pointer(path).cloned().unwrap_or(json!(format!("no {path}")))).collect()
}

#[tokio::test]
async fn the_sums_of_eight_days_are_those_of_a_pencil() {
    let centre = Centre::whole().await;
    let report = centre.json(&format!("/api/reports?{EIGHT_DAYS}")).await;
    assert_eq!(
        picked(&report, &["/sites", "/expected", "/unreadable", "/total/documents"]),
        json!([3, 24, 0, 23])
    );
    let total = &report["total"];
    // 29 of 32 at the plant, 7 of 14 in the yard, 8 of 8 at the mill.
    let runs = [
        "/runs/closed",
        "/runs/compliant",
        "/runs/sla_breach",
        "/runs/partial_completion",
        "/runs/not_started",
    ];
    assert_eq!(picked(total, &runs), json!([54, 44, 1, 1, 1]));
    let rates = [
        "/runs/guard_absent",
        "/runs/missed",
        "/runs/compliance_rate",
        "/runs/missed_rate",
        "/runs/mean_coverage",
    ];
    assert_eq!(picked(total, &rates), json!([7, 8, 0.815, 0.148, 84.259]));
    let tasks =
        ["/tasks/due", "/tasks/completed", "/tasks/overdue", "/tasks/completion_rate", "/tasks/overdue_rate"];
    assert_eq!(picked(total, &tasks), json!([56, 48, 9, 0.857, 0.161]));
    // 32 at 50 %, 7 at 80, 8 at 100, 1 at 150: the 46th of 48 is at 100, and the mean of the days' p95 would not be.
    let response = ["/tasks/response/count", "/tasks/response/mean", "/tasks/response/p95"];
    assert_eq!(picked(total, &response), json!([48, 0.648, 1.0]));
    let inactive =
        ["/inactivity/raised", "/inactivity/deep_night", "/inactivity/by_hour/2", "/inactivity/by_hour/22"];
    assert_eq!(picked(total, &inactive), json!([9, 8, 8, 1]));
    let ends = [
        "/confirmed",
        "/resolved",
        "/false_positive",
        "/false_positive_rate",
        "/detection/mean_ms",
        "/detection/longest_ms",
        "/resolution/mean_ms",
    ];
    let ends_of = picked(&total["alerts"]["inactivity"], &ends);
    assert_eq!(ends_of, json!([1, 7, 1, 0.111, 11_111.111, 60_000, 600_000.0]));
    let rest =
        ["/duty/observed_share", "/blind/intervals", "/blind/ms", "/outages/outages", "/outages/down_ms"];
    assert_eq!(picked(total, &rest), json!([0.835, 1, 3_600_000, 7, 8_400_000]));
    let mandatory = ["/mandatory/closed", "/mandatory/missed", "/mandatory/missed_rate"];
    assert_eq!(picked(total, &mandatory), json!([24, 9, 0.375]));
}

#[tokio::test]
async fn a_day_a_site_and_a_guard_have_their_own() {
    let centre = Centre::whole().await;
    let report = centre.json(&format!("/api/reports?{EIGHT_DAYS}")).await;
    let days = report["days"].as_array().unwrap();
    assert_eq!(days.len(), 8);
    // Of the 5th the yard sent nothing: 4 and 1 runs.
    let day = ["/date", "/documents", "/runs/closed", "/runs/compliance_rate", "/blind/ms"];
    assert_eq!(picked(&days[3], &day), json!(["2026-03-05", 2, 5, 1.0, 1_800_000]));
    assert_eq!(picked(&days[7], &day), json!(["2026-03-09", 3, 7, 0.571, 0]));
    let site = ["/tenant", "/site", "/name", "/timezone", "/runs/compliance_rate", "/mandatory/missed"];
    assert_eq!(picked(&report["by_site"][1], &site), json!(["acme", "yard-2", YARD, "Asia/Kolkata", 0.5, 8]));
    let guards = report["by_guard"].as_array().unwrap();
    let guard = ["/tenant", "/guard", "/sites", "/runs/compliant", "/runs/closed"];
    let of = |n: usize| picked(&guards[n], &guard);
    assert_eq!(of(0), json!(["acme", "G-1", ["plant-7"], 16, 16]));
    assert_eq!(
        of(1),
        json!(["acme", "G-2", ["plant-7", "yard-2"], 20, 23]),
        "one guard of one tenant at two sites"
    );
    assert_eq!(of(3), json!(["bolt", "G-1", ["mill-1"], 8, 8]), "another person of another tenant");
    assert_eq!(
        picked(&report["devices"][0], &["/site", "/device", "/down_ms"]),
        json!(["yard-2", "hs-3", 8_400_000])
    );
}

#[tokio::test]
async fn the_best_come_first_by_rate_and_whoever_had_no_run_has_no_place() {
    let centre = Centre::whole().await;
    let ranking = async |query: &str, name: &str| {
        let answer = centre.json(&format!("/api/rankings?{EIGHT_DAYS}&{query}")).await;
        let rows = answer["ranking"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| json!([row["place"], row["tenant"], row[name], row["compliance_rate"], row["runs"]]))
            .collect::<Value>()
    };
    let (mill, plant) = (json!([1, "bolt", "mill-1", 1.0, 8]), json!([2, "acme", "plant-7", 0.906, 32]));
    let yard = json!([3, "acme", "yard-2", 0.5, 14]);
    assert_eq!(ranking("of=sites", "site").await, json!([mill, plant, yard]));
    assert_eq!(ranking("of=sites&first=worst&limit=2", "site").await, json!([yard, plant]));
    let guards = json!([
        [1, "acme", "G-1", 1.0, 16],
        [1, "bolt", "G-1", 1.0, 8],
        [3, "acme", "G-2", 0.87, 23],
        [null, "acme", "G-9", null, 0]
    ]);
    assert_eq!(ranking("of=guards", "guard").await, guards);
    let answer = centre.json(&format!("/api/rankings?{EIGHT_DAYS}&site=acme/yard-2&of=guards")).await;
    let beside = ["/ranking/0/runs", "/ranking/0/runs_observed_share", "/ranking/0/observed_share", "/all"];
    assert_eq!(picked(&answer, &beside), json!([7, 1.0, 0.5, 1]), "what it rests on stands beside it");
}

#[tokio::test]
async fn the_dashboard_says_how_it_stands_at_noon() {
    let centre = Centre::whole().await;
    let now = centre.json("/api/dashboard").await;
    assert_eq!(
        picked(&now, &["/from", "/to", "/expected", "/documents"]),
        json!(["2026-03-03", "2026-03-09", 21, 20])
    );
    assert_eq!(now["overdue_critical_tasks"], 2, "one was confirmed in January, and is not done yet");
    let counted =
        |name: &str| now[name].as_array().unwrap().iter().map(|day| day["alerts"].clone()).collect::<Value>();
    assert_eq!(picked(&now, &["/breaches/0/date", "/breaches/6/date"]), json!(["2026-03-04", "2026-03-10"]));
    assert_eq!(counted("breaches"), json!([0, 0, 0, 0, 1, 1, 2]), "what was not true is no breach");
    // In New York the night of the 9th is not over yet, so its seven begin a day earlier.
    assert_eq!(picked(&now, &["/nights/0/date", "/nights/7/date"]), json!(["2026-03-02", "2026-03-09"]));
    assert_eq!(counted("nights"), json!([0, 0, 1, 1, 0, 0, 2, 2]));
    assert_eq!(now["alerts_per_night"], 0.286, "6 in 21 nights of sites");
    // One at noon and three in the evening, of 20 hours of 7 days of 3 sites.
    assert_eq!(now["deep_night"], json!({"alerts": 2, "hours": 84, "an_hour": 0.024}));
    assert_eq!(now["other_hours"], json!({"alerts": 4, "hours": 420, "an_hour": 0.01}));
    // Five at the plant and one at the mill; what the yard said was of yesterday.
    let runs = json!({"due": 6, "done_share": 0.333, "closed": 3, "completed": 2, "completed_share": 0.667,
        "gateways": 4, "silent_gateways": 2});
    assert_eq!(now["runs_today"], runs);
    let (_, page) = centre.ask("/dashboard").await;
    let said = "66.7 % of the 3 closed; 2 of 4 gateways have not said what is scheduled";
    assert!(page.contains("<dd>2 of 6</dd>") && page.contains(said), "{page}");
    let (_, page) = centre.ask("/dashboard?site=acme/yard-2").await;
    let said = "– of the 0 closed; what is scheduled is not known";
    assert!(page.contains("<dd>0 of 0</dd>") && page.contains(said), "{page}");
    let (_, page) = centre.ask("/dashboard?site=bolt/mill-1").await;
    assert!(page.contains("<dd>0 of 1</dd>") && page.contains("– of the 0 closed</dd>"), "{page}");
    // Six evenings of three sites, of which the yard misses all and the plant one; and two today, of which one.
    assert_eq!(picked(&now, &["/mandatory/closed", "/mandatory/missed"]), json!([20, 8]));
    // 226 of 270 hours; 42 tasks with 27.3 of the time allowed, of which the 40th took all of it.
    assert_eq!(
        picked(&now, &["/monitoring_coverage", "/mean_response", "/p95_response"]),
        json!([0.837, 0.65, 1.0])
    );
    let ends = ["/top_sites/0/site", "/bottom_sites/0/site"];
    assert_eq!(picked(&now, &ends), json!(["mill-1", "yard-2"]));
}

#[tokio::test]
async fn a_spreadsheet_gets_numbers_and_no_formulas() {
    let centre = Centre::whole().await;
    let (_, days) = centre.ask(&format!("/api/reports.csv?{EIGHT_DAYS}")).await;
    let lines: Vec<&str> = days.lines().collect();
    assert_eq!(lines.len(), 9);
    assert!(lines[0].starts_with("date,documents,runs_closed,runs_compliant,"), "{}", lines[0]);
    assert!(lines[8].starts_with("2026-03-09,3,7,4,0,1,1,1,0.571,2,0.286,6,"), "{}", lines[8]);
    let (_, sites) = centre.ask(&format!("/api/reports.csv?{EIGHT_DAYS}&by=site")).await;
    assert!(sites.contains("\nacme,yard-2,'=Yard <script>alert(1)</script>,7,14,7,"), "{sites}");
    let (_, guards) = centre.ask(&format!("/api/reports.csv?{EIGHT_DAYS}&by=guard")).await;
    assert!(guards.contains("\nacme,G-2,plant-7 yard-2,"), "{guards}");
    let (_, places) = centre.ask(&format!("/api/rankings.csv?{EIGHT_DAYS}&of=guards")).await;
    assert!(places.contains("\n3,acme,G-2,plant-7 yard-2,0.87,23,20,"), "{places}");
    assert!(places.ends_with("\n,acme,G-9,plant-7,,0,0,0,,0,,28800000,28800000,1\n"), "{places}");
}

const PAGES: [&str; 6] = [
    "/dashboard",
    "/reports?from=2026-03-02&to=2026-03-09",
    "/reports/daily",
    "/reports/daily?date=2026-03-09&site=acme%2Fplant-7",
    "/rankings?of=sites",
    "/rankings?of=guards&first=worst",
];

#[tokio::test]
async fn pages_are_whole_and_take_no_orders_from_a_name() {
    let centre = Centre::whole().await;
    for path in PAGES {
        let (status, page) = centre.ask(path).await;
        assert_eq!(status, 200, "{path}: {page}");
        assert!(page.ends_with("</html>") || page.ends_with("</html>\n"), "{path}");
        assert!(!page.contains("<script"), "{path}: a name runs");
        assert!(!page.contains("style="), "{path}: the policy lets no such attribute through");
        if !path.contains("guards") && !path.contains("plant-7") {
            assert!(page.contains("Yard &#60;script&#62;alert(1)&#60;/script&#62;"), "{path}");
        }
    }
    let (_, report) = centre.ask(PAGES[1]).await;
    for number in ["81.5 %", "44 of 54 runs", "0.65", "23 of 24 daily reports have come", "of 24 (37.5 %)"] {
        assert!(report.contains(number), "{number} is missing");
    }
}

#[tokio::test]
async fn a_question_without_sense_is_answered_with_a_mend() {
    let centre = Centre::whole().await;
    let (status, text) = centre.ask("/api/reports?from=monday").await;
    let why = r#"{"error":"from is \"monday\"; a date like 2026-03-10 is expected"}"#;
    assert_eq!((status, text.as_str()), (400, why));
    let (status, page) = centre.ask("/reports?from=%3Cscript%3E").await;
    assert_eq!(status, 400);
    assert!(
        page.contains("from is &#34;&#60;script&#62;&#34;; a date like 2026-03-10 is expected."),
        "{page}"
    );
    assert_eq!(centre.ask("/api/dashboard?from=2026-03-01").await.0, 400);
}

#[tokio::test]
async fn a_reader_sees_the_sites_of_their_tenant_and_asks_of_no_others() {
    let (week, bolt) = (Week::default(), TenantId::new("bolt").unwrap());
    let centre = Centre::open(week.clone(), Some(Reader(Some(bolt)))).await;
    let report = centre.json(&format!("/api/reports?{EIGHT_DAYS}")).await;
    // The ledger of the test answers with everything, whatever it is asked: nothing of it gets through.
    assert_eq!(
        picked(&report, &["/sites", "/total/runs/closed", "/by_site/0/site"]),
        json!([1, 8, "mill-1"])
    );
    centre.json("/api/dashboard").await;
    let (status, text) = centre.ask("/api/reports?site=acme/plant-7").await;
    let why = r#"{"error":"site: there is no acme/plant-7 here; leave it out for all sites"}"#;
    assert_eq!((status, text.as_str()), (400, why));
    for path in PAGES {
        let page = centre.ask(path).await.1;
        assert!(!page.contains("yard-2") && !page.contains("Plant 7"), "{path}");
    }
    let asked = week.asked.lock().unwrap();
    assert!(!asked.is_empty());
    assert!(asked.iter().flat_map(|asked| asked.sites.keys()).all(|place| place.tenant.as_str() == "bolt"));
}

#[tokio::test]
async fn a_stranger_and_a_broken_ledger_get_no_report() {
    let centre = Centre::open(Week::default(), None).await;
    for path in ["/dashboard", "/reports", "/reports/daily", "/rankings", "/api/reports", "/api/rankings.csv"]
    {
        assert_eq!(centre.ask(path).await.0, 401, "{path}");
    }
    let broken = Week { broken: true, ..Week::default() };
    let centre = Centre::open(broken, Some(Reader(None))).await;
    let (status, text) = centre.ask("/api/reports").await;
    let why = r#"{"error":"the ledger cannot be read at the moment; ask again in a while"}"#;
    assert_eq!((status, text.as_str()), (503, why));
}

#[tokio::test]
async fn a_document_that_cannot_be_read_is_counted_and_spoils_nothing() {
    let more = vec![document("acme/yard-2", 5, &json!({"total": {"runs": {"closed": "many"}}}))];
    let centre = Centre::open(Week { more, ..Week::default() }, Some(Reader(None))).await;
    let report = centre.json(&format!("/api/reports?{EIGHT_DAYS}")).await;
    assert_eq!(picked(&report, &["/unreadable", "/total/documents"]), json!([1, 23]));
    let (_, page) = centre.ask(&format!("/reports?{EIGHT_DAYS}")).await;
    assert!(page.contains("1 stored documents cannot be read"), "{page}");
}

/// Serves the week on port 8499 until it is stopped, for whoever wants to look at the pages.
#[tokio::test]
#[ignore = "for the eye: cargo test -p vigil-noc --test reports -- --ignored"]
async fn the_week_can_be_looked_at() {
    let _centre = Centre::at(8_499, Week::default(), Some(Reader(None))).await;
    tokio::signal::ctrl_c().await.unwrap();
}
