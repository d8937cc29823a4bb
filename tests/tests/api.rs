//! What the agent answers over HTTP: health, metrics, and the shapes of its local API.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use vigil_core::time::Span;
use vigil_tests::house::{
    Agent, Handset, Noc, Plant, Source, fetch, json as get, message, now, topic, until, vigil,
};
use vigil_tests::openmetrics::{self, Family};

fn plant() -> Plant {
    Plant::default().guards(2).checkpoints(2)
}

/// An agent that has stored a check-in and a heartbeat, raised an alert and refused two inputs.
fn agent(noc: Option<&Noc>) -> Agent {
    let uplink = noc.map(|noc| noc.uplink("gw-1"));
    let agent = Agent::start("gw-1", &plant(), Source::Embedded, uplink.as_ref());
    let mut handset = Handset::connect(agent.mqtt(), "hs-1").expect("a way in");
    let mut say =
        |kind: &str, payload: &[u8]| handset.publish(&topic("hs-1", kind), payload).expect("acknowledged");
    say("attendance", message(now(), json!({"action": "check_in"})).to_string().as_bytes());
    say("heartbeat", message(now(), json!({"battery": 0.5, "interactions": 1})).to_string().as_bytes());
    say("sos", message(now(), json!({"note": "help"})).to_string().as_bytes());
    say("heartbeat", b"not JSON");
    say("heartbeat", message(now() + Span::from_hours(48), json!({})).to_string().as_bytes());
    agent
}

fn metrics(agent: &Agent) -> BTreeMap<String, Family> {
    let (status, text) = fetch(agent.page(), "/metrics").expect("an answer");
    assert_eq!(status, 200, "{text}");
    openmetrics::parse(&text).expect("OpenMetrics")
}

/// The keys of an object, in order.
fn keys(value: &Value) -> Vec<&str> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

#[test]
fn metrics_are_valid_openmetrics_and_count_what_happened() {
    let noc = Noc::start(&["gw-1"]);
    let agent = agent(Some(&noc));
    // A health report may be delivered before it: what counts is that nothing critical waits any more.
    until("the alert is delivered", || {
        let now = metrics(&agent);
        let waiting = now["vigil_outbox_waiting"].samples[r#"lane="critical""#];
        now["vigil_uplink_delivered"].samples[""] >= 1.0 && waiting == 0.0
    });
    let all = metrics(&agent);
    assert!(all.iter().all(|(name, family)| name.starts_with("vigil_") && family.help.ends_with('.')));
    let value = |name: &str, labels: &str| all[name].samples[labels];
    assert_eq!(value("vigil_observations", r#"outcome="applied""#), 3.0);
    assert_eq!(all["vigil_refused_inputs"].samples.values().sum::<f64>(), 2.0);
    assert_eq!(value("vigil_alerts_open", r#"rule="sos",severity="CRITICAL""#), 1.0);
    assert_eq!(value("vigil_guards", r#"presence="on_duty""#), 1.0);
    assert_eq!(value("vigil_outbox_waiting", r#"lane="critical""#), 0.0);
    assert_eq!((value("vigil_source_up", ""), value("vigil_uplink_up", "")), (1.0, 1.0));
    assert!(value("vigil_commits", "") >= 2.0 && value("vigil_store_bytes", "") > 0.0);
    for only_rises in ["commits", "observations", "refused_inputs", "uplink_delivered"] {
        assert_eq!(all[&format!("vigil_{only_rises}")].kind, "counter", "{only_rises}");
    }
}

#[test]
fn health_is_one_word() {
    let agent = agent(None);
    assert_eq!(fetch(agent.page(), "/healthz").unwrap(), (200, "ok\n".to_owned()));
}

#[test]
fn status_has_everything_that_the_page_shows() {
    let agent = agent(None);
    let status = get(agent.page(), "/api/status");
    for key in
        ["gateway", "version", "site", "name", "timezone", "now", "blind_secs", "store_bytes", "commits"]
    {
        assert!(!status[key].is_null(), "{key} is missing in {status}");
    }
    assert_eq!(status["uplink"], Value::Null, "none is configured");
    let lanes = ["alerts", "critical", "dead", "health", "highest_sequence", "reports", "tours"];
    assert_eq!(keys(&status["outbox"]), lanes);
    assert_eq!(keys(&status["source"]), ["address", "connected", "last_error", "mode"]);
    assert_eq!(
        keys(&status["guards"][0]),
        ["alert", "id", "last_activity", "last_activity_at", "name", "on_duty_since", "presence", "window"]
    );
    assert_eq!(
        keys(&status["devices"][0]),
        [
            "battery_permille",
            "clock_behind_secs",
            "guard",
            "id",
            "kind",
            "last_received_at",
            "offline",
            "silent"
        ]
    );
    assert_eq!(status["guards"][0]["presence"], "on_duty", "those on duty come first");
    assert_eq!(status["outcomes"], json!({"applied": 3}));
}

#[test]
fn alerts_are_those_of_the_contract() {
    let agent = agent(None);
    let alerts = agent.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    let mut contract = vec![
        "id",
        "revision",
        "site",
        "rule",
        "severity",
        "status",
        "subject",
        "guard",
        "detected_at",
        "updated_at",
        "cleared_at",
        "escalated",
        "summary",
        "evidence",
        "verification",
        "history",
    ];
    contract.sort_unstable();
    assert_eq!(keys(&alerts[0]), contract);
    assert_eq!(alerts[0]["status"], "DETECTED");
    assert_eq!(get(agent.page(), "/api/status")["alerts"][0], alerts[0]);
}

/// A plant whose two tours end in a few seconds: one was walked, told by a backlog, and nobody came for the other.
fn agent_with_two_runs() -> Agent {
    let ends_in = Span::from_secs(8);
    // A tour lasts at least a minute, and its start is a whole minute.
    let start_by = now() + ends_in - Span::from_mins(1);
    let due = start_by.floor_to(Span::from_mins(1));
    let clock = due.to_string()[11..16].to_owned();
    let tour = |id: &str, guard: &str| {
        format!(
            "[[tours]]\nid = \"{id}\"\nname = \"Tour, {id}\"\nguard = \"{guard}\"\ncheckpoints = [\"cp-1\", \"cp-2\"]\n\
             start = [\"{clock}\"]\nduration = \"1m\"\n"
        )
    };
    let grace = start_by.since(due).millis() / 1_000;
    let policy = format!("[policy]\nsettle = \"1s\"\n[policy.tours]\ngrace = \"{grace}s\"");
    let plant = plant().and(&(tour("north", "G-1") + &tour("south", "G-2") + &policy));
    let agent = Agent::start("gw-1", &plant, Source::Embedded, None);
    let mut handset = Handset::connect(agent.mqtt(), "hs-1").expect("a way in");
    let mut say = |kind: &str, said: Value| {
        handset.publish(&topic("hs-1", kind), said.to_string().as_bytes()).expect("acknowledged")
    };
    say("attendance", message(due - Span::from_mins(1), json!({"action": "check_in"})));
    let scan = |n: i64| message(due - Span::from_secs(n), json!({"tag": format!("04AA000{n}")}));
    say("scan", json!([scan(1), scan(2)]));
    agent
}

#[test]
fn the_log_of_tours_says_what_each_run_amounts_to() {
    let agent = agent_with_two_runs();
    let asked = |query: &str| get(agent.page(), &format!("/api/runs{query}"));
    until("both are logged", || asked("").as_array().is_some_and(|runs| runs.len() == 2));
    let all = asked("?since=1h");
    let of = |runs: &Value| -> Vec<(String, String)> {
        let text = |run: &Value, key: &str| run[key].as_str().unwrap().to_owned();
        runs.as_array().unwrap().iter().map(|r| (text(r, "tour"), text(r, "compliance"))).collect()
    };
    let (north, south) = (("north".into(), "COMPLIANT".into()), ("south".into(), "GUARD_ABSENT".into()));
    assert_eq!(of(&all), [south.clone(), north.clone()], "the newest first, of one instant the last name");
    let mut contract = vec![
        "tour",
        "name",
        "mandatory",
        "scheduled_at",
        "start_by",
        "close_by",
        "revision",
        "status",
        "compliance",
        "guard",
        "walked_by",
        "coverage",
        "started_at",
        "last_scan_at",
        "overdue_by",
        "scanned",
        "scanned_at",
        "missing",
        "out_of_order",
        "too_short",
        "observed",
        "blind_permille",
    ];
    contract.sort_unstable();
    assert_eq!(keys(&all[0]), contract);
    assert_eq!(of(&asked("?tour=north")), std::slice::from_ref(&north));
    assert_eq!(of(&asked("?compliance=NOT_STARTED,GUARD_ABSENT")), std::slice::from_ref(&south));
    assert_eq!(of(&asked("?limit=1")), std::slice::from_ref(&south));
    assert_eq!(of(&asked(&format!("?since={}", now()))), []);
    for (wrong, why) in
        [("limit=no", "a number from 1"), ("since=now", "an instant like"), ("of=G-1", "tour,")]
    {
        let (status, told) = fetch(agent.page(), &format!("/api/runs?{wrong}")).unwrap();
        assert!(status == 400 && told.contains(why), "{wrong}: {status} {told}");
    }
    let status = agent.status();
    let shown: Vec<&Value> = status["runs"].as_array().unwrap().iter().map(|r| &r["compliance"]).collect();
    assert_eq!(shown, ["GUARD_ABSENT", "COMPLIANT"]);
    tours_as_a_person_asks(&agent, &all);
}

fn tours_as_a_person_asks(agent: &Agent, all: &Value) {
    let url = format!("http://{}", agent.page());
    let tours = |more: &[&str]| vigil(&[&["tours", "--url", &url], more].concat());
    let table = tours(&[]);
    assert_eq!(table.code, Some(0), "{}", table.err);
    for part in ["Tour, north", "guard absent", "100 %", "2 runs: 1 compliant, 1 guard absent"] {
        assert!(table.out.contains(part), "{part}:\n{}", table.out);
    }
    let lines = tours(&["--json"]);
    let told: Vec<Value> =
        lines.out.lines().map(|l| serde_json::from_str(l).expect("a JSON object a line")).collect();
    assert_eq!(Value::from(told), *all);
    let csv = tours(&["--csv", "--compliance", "compliant"]);
    let rows: Vec<&str> = csv.out.lines().collect();
    assert_eq!(rows.len(), 2, "{}", csv.out);
    assert!(rows[1].contains(",north,\"Tour, north\",true,G-1,G-1,COMPLETED,COMPLIANT,100,"), "{}", rows[1]);
    let typo = tours(&["--tour", "west"]).out;
    assert!(typo.starts_with("no run is logged"), "{typo}");
    assert!(typo.contains("none was ever of a tour west (there were runs of: "), "{typo}");
    assert_eq!(tours(&["--since", "soon"]).code, Some(2));
}

#[test]
fn lists_are_lists() {
    let agent = agent(None);
    assert_eq!(get(agent.page(), "/api/runs"), json!([]));
    assert_eq!(get(agent.page(), "/api/dead-letters"), json!([]));
    let refused = get(agent.page(), "/api/refused");
    let refused = refused.as_array().unwrap();
    assert_eq!(refused.len(), 2, "{refused:?}");
    for input in refused {
        assert_eq!(keys(input), ["detail", "head", "reason", "received_at", "topic"]);
    }
    assert_eq!(fetch(agent.page(), "/api/nothing").unwrap().0, 404);
}

/// `vigil report` with `more`, asking this agent.
fn report(agent: &Agent, more: &[&str]) -> String {
    let url = format!("http://{}", agent.page());
    let ended = vigil(&[&["report", "--url", url.as_str()], more].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    ended.out
}

#[test]
fn reports_are_those_of_the_contract_and_today_s_is_as_far_as_it_has_come() {
    let agent = agent(None);
    let answer = get(agent.page(), "/api/v1/reports");
    assert_eq!(keys(&answer), ["from", "reports", "sum", "to"]);
    let today = answer["reports"].as_array().and_then(|days| days.last()).unwrap();
    let mut contract =
        vec!["site", "date", "revision", "timezone", "from", "to", "made_at", "complete", "total"];
    contract.extend(["guards", "devices", "blind", "blind_ms", "muted"]);
    contract.sort_unstable();
    assert_eq!(keys(today), contract);
    assert_eq!((&today["date"], &today["complete"]), (&answer["to"], &json!(false)));
    assert_eq!(answer["sum"]["total"]["alerts"]["sos"]["raised"], 1);
    let observed = answer["sum"]["guards"]["G-1"]["duty"]["observed_share"].as_f64();
    assert_eq!(observed, Some(1.0), "heard since the check-in");
    let told: Value = serde_json::from_str(&report(&agent, &["--json"])).unwrap();
    assert_eq!((keys(&told), &told["to"]), (keys(&answer), &answer["to"]));
}

#[test]
fn a_range_that_makes_no_sense_is_refused_with_what_would() {
    let agent = agent(None);
    for (path, why) in [
        ("/api/v1/reports?from=today", "from is \"today\"; a date like 2026-03-10 is expected"),
        ("/api/v1/ranking?first=last", "first is \"last\"; best and worst are allowed"),
        (
            "/api/v1/ranking?from=2026-03-02&to=2026-03-01",
            "from 2026-03-02 lies after to 2026-03-01; swap them",
        ),
    ] {
        let (status, body) = fetch(agent.page(), path).unwrap();
        assert_eq!((status, body), (400, json!({ "error": why }).to_string()), "{path}");
    }
    let nothing = get(agent.page(), "/api/v1/reports?from=2020-01-01&to=2020-01-31");
    assert_eq!((&nothing["reports"], &nothing["sum"]["guards"]), (&json!([]), &json!({})));
}

#[test]
fn vigil_report_shows_tables_and_spreadsheets() {
    let agent = agent(None);
    let shown = report(&agent, &[]);
    assert!(shown.contains("compliant") && shown.contains("sos") && shown.contains("* so far"), "{shown}");
    let ranked = report(&agent, &["--guards", "--worst"]);
    assert!(ranked.contains("G-1") && !ranked.contains("G-2"), "G-2 was not on duty: {ranked}");
    let csv = report(&agent, &["--csv"]);
    assert!(csv.starts_with("date,complete,guard,") && csv.contains(",false,G-1,"), "{csv}");
    let ended = vigil(&["report", "--from", "2026-03-02", "--to", "2026-03-01"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""));
    assert_eq!(ended.err, "vigil: --from 2026-03-02 lies after --to 2026-03-01\nSwap them.\n");
    for wrong in [&["--from", "tomorrow"][..], &["--csv", "--json"], &["--worst"]] {
        assert_eq!(vigil(&[&["report"][..], wrong].concat()).code, Some(2), "{wrong:?}");
    }
}
