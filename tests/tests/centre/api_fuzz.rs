//! A stranger reads the document of the API and asks whatever follows from it, and what should not: no request may break the
//! receiver, and every answer has to be one that the document describes. The stranger is schemathesis.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use vigil_cloud_sync::wire::Producer;
use vigil_cloud_sync::{Event, EventKind, Origin, Token, Uplink, UplinkConfig, Verdict, Way};
use vigil_core::id::{GatewayId, SiteId, TenantId};
use vigil_core::time::Timestamp;
use vigil_tests::house::{Noc, new_database, python, vigil};

const GATEWAYS: [&str; 2] = ["gw-1", "gw-2"];

/// How many requests of each kind are made of one operation: all of it is to be over in a minute and a half. For a longer look, by
/// hand: `VIGIL_FUZZ_EXAMPLES=500 VIGIL_FUZZ_SEED=7`.
const EXAMPLES: &str = "8";

/// What the document gives as examples, what lies at the edges of what it allows and beyond, and what chance brings. Whole sequences
/// would need links from one answer to the next request, which it has none of.
const EVERYTHING: [&str; 2] = ["--phases", "examples,coverage,fuzzing"];

/// What is there, by the names of the parts of a path.
const THERE: [(&str, &str); 4] =
    [("tenant", "acme"), ("site", "plant-7"), ("gateway", "gw-1"), ("id", "a-1")];

/// What every answer is held against. A wrong request has to be refused, too.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
    response_schema_conformance,negative_data_rejection";

fn event(number: u64, kind: EventKind, data: String) -> Event {
    let id = format!("{}-{number}", kind.name());
    let (subject, time) = ("guard:G-1".to_owned(), Timestamp::from_millis(1_773_180_300_000));
    Event { producer: Producer(7), sequence: number, id, kind, subject, time, critical: false, data }
}

/// Something of every kind.
fn events() -> Vec<Event> {
    let alert = |n: u64| {
        let data = format!(
            r#"{{"id":"a-{n}","revision":1,"site":"plant-7","rule":"inactivity","severity":"CRITICAL","status":"DETECTED","subject":"guard:G-{n}","guard":"G-{n}","detected_at":"2026-03-10T22:05:00.000Z","updated_at":"2026-03-10T22:05:00.000Z","cleared_at":null,"escalated":false,"summary":"x","evidence":{{}},"verification":{{"method":"NONE"}},"history":[{{"at":"2026-03-10T22:05:00.000Z","by":"agent","status":"DETECTED","note":null}}]}}"#
        );
        event(n, EventKind::Alert, data)
    };
    let tour = r#"{"tour":"T-1","revision":1,"mandatory":true,"scheduled_at":"2026-03-10T21:00:00.000Z","status":"COMPLETED","compliance":"COMPLIANT","coverage":100}"#;
    let health = r#"{"site_name":"Plant 7","timezone":"Asia/Kolkata","reports_every_secs":30}"#;
    vec![
        alert(1),
        alert(2),
        alert(3),
        event(4, EventKind::Tour, tour.to_owned()),
        event(5, EventKind::Report, r#"{"date":"2026-03-10","revision":1,"complete":true,"total":{},"guards":{},"devices":{},"blind":[],"muted":{}}"#.to_owned()),
        event(6, EventKind::Health, health.to_owned()),
    ]
}

fn origin() -> Origin {
    let (tenant, site) = (TenantId::new("acme").unwrap(), SiteId::new("plant-7").unwrap());
    Origin { tenant, site, gateway: GatewayId::new("gw-1").unwrap() }
}

fn furnish(noc: &Noc) {
    let way = noc.uplink("gw-1");
    let mut config = UplinkConfig::new(&way.url, origin(), Token::new(&way.token));
    config.ca_pem = Some(std::fs::read(&way.ca).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let told = runtime.block_on(async { Uplink::new(config).unwrap().deliver(&events()).await });
    assert!(matches!(&told, Verdict::Stored(answer) if answer.accepted == 6), "{told:?}");
}

/// Where `tests/run` puts it: beside the Python that has paho-mqtt.
fn schemathesis() -> PathBuf {
    python().with_file_name("schemathesis")
}

/// One run against one listener: what is asked there, as whoever has that token.
fn ask(folder: &Path, (at, token): (&str, &str), more: &[&str]) -> Output {
    let given = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let tool = schemathesis();
    let ran = Command::new(&tool)
        .current_dir(folder)
        .arg("--config-file")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/schemathesis.toml"))
        .args(["run", "openapi.json", "--url", at, "--checks", CHECKS, "--continue-on-failure", "--no-color"])
        .args(["--request-timeout", "20", "--warnings", "off"])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args([
            "--max-examples",
            &given("VIGIL_FUZZ_EXAMPLES", EXAMPLES),
            "--seed",
            &given("VIGIL_FUZZ_SEED", "1"),
        ])
        .args(more)
        .output();
    ran.unwrap_or_else(|why| {
        panic!(
            "{} cannot be run ({why}): install python3-venv and let tests/run make target/venv, or set VIGIL_PYTHON to a \
             Python that has schemathesis beside it",
            tool.display()
        )
    })
}

fn holds(ran: &Output, whose: &str) {
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{whose}: {told}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(
        told.contains("No issues found") && !told.contains("Tested: 0"),
        "{whose}: it has asked nothing: {told}"
    );
}

/// The document, in which a gateway knows who it is: by chance nobody would ever guess that.
fn document() -> Value {
    let mut document: Value = serde_json::from_str(&vigil(&["noc", "openapi"]).out).unwrap();
    document["components"]["schemas"]["CloudEvent"]["properties"]["source"] =
        json!({"const": origin().source()});
    // And where to find something: what is tried in each place before anything is made up.
    for methods in document["paths"].as_object_mut().unwrap().values_mut() {
        for operation in methods.as_object_mut().unwrap().values_mut() {
            for parameter in
                operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten()
            {
                let there =
                    THERE.iter().find(|(name, _)| parameter["in"] == "path" && parameter["name"] == *name);
                if let Some((_, value)) = there {
                    parameter["example"] = json!(value);
                }
            }
        }
    }
    document
}

fn nobody_is_surprised(database: Option<&str>) {
    let noc = Noc::signing(&GATEWAYS, database);
    furnish(&noc);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("openapi.json"), document().to_string()).unwrap();
    let page = format!("http://{}", noc.page());
    // A stream has no end to wait for; that it says what it should is tested with its own words.
    let operators = ["--include-tag", "operators", "--exclude-path", "/api/stream"];
    let admin = noc.token_of("fuzz-admin", "admin");
    holds(&ask(folder.path(), (&page, &admin), &[operators.as_slice(), &EVERYTHING].concat()), "an admin");
    let viewer = noc.token_of("fuzz-viewer", "viewer");
    // Most of it is refused for the same reason.
    let viewers = [operators.as_slice(), &["--phases", "examples,coverage"]].concat();
    holds(&ask(folder.path(), (&page, &viewer), &viewers), "a viewer");
    let way = noc.uplink("gw-1");
    let (at, trusts) = (way.url.trim_end_matches("/v1"), ["--tls-verify", way.ca.to_str().unwrap()]);
    let asks = ["--include-tag", "gateways", "--exclude-operation-id", "sendEvents"];
    holds(
        &ask(folder.path(), (at, &way.token), &[asks.as_slice(), &trusts, &EVERYTHING].concat()),
        "a gateway that asks",
    );
    // An event that is wrong is refused by itself, in an answer of 200: the others of its batch are stored.
    let sends = ["--include-operation-id", "sendEvents", "--exclude-checks", "negative_data_rejection"];
    holds(
        &ask(folder.path(), (at, &way.token), &[sends.as_slice(), &trusts, &EVERYTHING].concat()),
        "a gateway that sends",
    );
}

#[test]
fn whatever_is_asked_is_answered_as_the_document_says_with_sqlite() {
    nobody_is_surprised(None);
}

#[test]
fn whatever_is_asked_is_answered_as_the_document_says_with_postgresql() {
    nobody_is_surprised(Some(&new_database()));
}
