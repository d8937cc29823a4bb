//! What each kind of message is understood as, and why others are refused.

use super::*;
use proptest::prelude::*;
use vigil_core::id::{ClientId, DeviceId, SiteId, Tag, TaskId, TenantId};
use vigil_core::observation::{Attendance, AttendanceAction, Heartbeat, Scan, Sun, TaskState};
use vigil_core::policy::{Policy, PolicyParts};
use vigil_core::site::{DeviceKind, FixMode, Guard, SiteParts};

const TS: &str = "2026-03-10T20:00:00Z";

fn now() -> Timestamp {
    Timestamp::parse("2026-03-10T20:00:01Z").unwrap()
}

fn handset(id: &str, guard: Option<&str>) -> Device {
    Device {
        id: DeviceId::new(id).unwrap(),
        kind: DeviceKind::Handset,
        guard: guard.map(|g| GuardId::new(g).unwrap()),
        checkpoint: None,
        owntracks: None,
        topic: None,
        fixes: FixMode::Periodic,
    }
}

fn site() -> Site {
    Site::new(SiteParts {
        id: SiteId::new("plant-7").unwrap(),
        name: "Plant 7".into(),
        tenant: TenantId::new("acme").unwrap(),
        client: ClientId::new("north").unwrap(),
        timezone: "Asia/Kolkata".parse().unwrap(),
        geofence: None,
        guards: vec![Guard { id: GuardId::new("G-7").unwrap(), name: "Asha".into(), badge: None }],
        devices: vec![handset("hs-7", Some("G-7")), handset("hs-shared", None)],
        checkpoints: vec![],
        tours: vec![],
        shifts: vec![],
        tasks: vec![],
        policy: Policy::new(PolicyParts::default()).unwrap(),
    })
    .unwrap()
}

fn decode(kind: &str, payload: &str) -> Decoded {
    message(&site(), now(), &format!("vigil/v1/plant-7/hs-7/{kind}"), payload.as_bytes())
}

/// What one object with these fields, and a good `ts`, is taken for.
fn taken(kind: &str, fields: &str) -> Kind {
    let comma = if fields.is_empty() { "" } else { "," };
    let decoded = decode(kind, &format!("{{\"ts\":\"{TS}\"{comma}{fields}}}"));
    assert_eq!(decoded.refused, [], "{kind} {fields}");
    assert_eq!(decoded.observations.len(), 1);
    decoded.observations.into_iter().next().unwrap().kind
}

fn refusal(decoded: Decoded) -> (Reason, String) {
    assert_eq!(decoded.observations, []);
    assert_eq!(decoded.refused.len(), 1);
    let refusal = decoded.refused.into_iter().next().unwrap();
    (refusal.reason, refusal.detail)
}

fn refused(kind: &str, fields: &str) -> (Reason, String) {
    refusal(decode(kind, &format!("{{\"ts\":\"{TS}\",{fields}}}")))
}

#[test]
fn every_kind_is_taken_with_every_field() {
    let beat = Heartbeat {
        battery_permille: Some(815),
        charging: Some(true),
        interactions: 3,
        steps: 40,
        man_down: true,
    };
    let fields = r#""battery":0.815,"charging":true,"interactions":3,"steps":40,"man_down":true"#;
    assert_eq!(taken("heartbeat", fields), Kind::Heartbeat(beat));
    let scan = Scan {
        tag: Tag::new("04A1B2C3").unwrap(),
        guard: GuardId::new("G-7").ok(),
        sun: Some(Sun { picc: "AB01".into(), cmac: "94EE".into() }),
    };
    let fields = r#""tag":"04:a1:b2:c3","guard":"G-7","sun":{"picc":"ab01","cmac":"94EE"}"#;
    assert_eq!(taken("scan", fields), Kind::Scan(scan));
    let Kind::Task(task) = taken(
        "task",
        r#""task":"T-1","state":"created","priority":"HIGH","title":"Gate","created_at":"2026-03-10T19:00:00Z","due_at":"2026-03-10T21:00:00+00:00","guard":"G-7""#,
    ) else {
        panic!("no task")
    };
    assert_eq!((task.task, task.state), (TaskId::new("T-1").unwrap(), TaskState::Created));
    assert_eq!(task.due_at.unwrap().since(task.created_at.unwrap()), Span::from_hours(2));
    assert_eq!(taken("activity", r#""event":"unlock""#), Kind::Activity("unlock".into()));
    assert_eq!(taken("sos", r#""note":"help""#), Kind::Sos(Some("help".into())));
}

#[test]
fn a_task_is_due_after_it_was_made() {
    let due = |due: &str| {
        let times = format!(r#""created_at":"2026-03-10T19:00:00Z","due_at":"{due}""#);
        refused("task", &format!(r#""task":"T-1","state":"created",{times}"#))
    };
    let (reason, detail) = due("2026-03-10T19:00:00Z");
    assert_eq!(reason, Reason::OutOfRange);
    assert!(detail.starts_with("due_at: found 2026-03-10T19:00:00.000Z"), "{detail}");
    let fields = r#""task":"T-1","state":"created","due_at":"2026-03-10T19:00:00Z""#;
    let Kind::Task(late) = taken("task", fields) else { panic!("no task") };
    assert_eq!(late.created_at, None, "who does not say when it was made may be late with telling it");
}

#[test]
fn a_location_keeps_what_was_said() {
    let fields =
        r#""lat":-90,"lon":180.0,"accuracy":0,"speed":1.2,"heading":359.5,"provider":"fused","mock":true"#;
    let Kind::Location(fix) = taken("location", fields) else { panic!("no fix") };
    assert_eq!((fix.lat, fix.lon, fix.accuracy_m), (-90.0, 180.0, Some(0.0)));
    assert!(fix.mock && !fix.outdated);
    let Kind::Location(fix) = taken("location", r#""lat":1,"lon":2"#) else { panic!("no fix") };
    assert_eq!((fix.accuracy_m, fix.speed_mps, fix.heading_deg, fix.provider), (None, None, None, None));
}

#[test]
fn what_is_not_said_has_its_default_and_what_is_unknown_is_ignored() {
    assert_eq!(taken("heartbeat", ""), Kind::Heartbeat(Heartbeat::default()));
    assert_eq!(taken("heartbeat", r#""mood":[{"deep":null}]"#), Kind::Heartbeat(Heartbeat::default()));
    assert_eq!(taken("sos", ""), Kind::Sos(None));
}

#[test]
fn a_call_for_help_is_never_refused_for_its_note() {
    let long = format!("\"note\":\"{}\"", "é".repeat(900));
    assert_eq!(taken("sos", &long), Kind::Sos(Some("é".repeat(500))));
    assert_eq!(taken("sos", r#""note":7"#), Kind::Sos(None));
    assert_eq!(taken("sos", r#""note":"at\u001b[2J\ngate""#), Kind::Sos(Some("at [2J gate".into())));
}

#[test]
fn attendance_is_of_the_devices_own_guard_unless_it_says_otherwise() {
    let check_in = |guard: &str| {
        let (action, guard) = (AttendanceAction::CheckIn, GuardId::new(guard).unwrap());
        Kind::Attendance(Attendance { action, guard, biometric_permille: None })
    };
    assert_eq!(taken("attendance", r#""action":"check_in""#), check_in("G-7"));
    assert_eq!(taken("attendance", r#""action":"check_in","guard":"stranger""#), check_in("stranger"));
    let payload = format!(r#"{{"ts":"{TS}","action":"check_in"}}"#);
    let shared = message(&site(), now(), "vigil/v1/plant-7/hs-shared/attendance", payload.as_bytes());
    assert_eq!(refusal(shared).0, Reason::WrongType);
}

#[test]
fn wrong_types_name_the_field_and_what_is_expected() {
    let table = [
        ("heartbeat", r#""battery":"full""#, "battery: found \"full\", expected a number"),
        ("heartbeat", r#""charging":1"#, "charging: found 1, expected true or false"),
        ("heartbeat", r#""interactions":2.5"#, "interactions: found 2.5, expected a whole number"),
        ("heartbeat", r#""steps":[]"#, "steps: found an array, expected a whole number"),
        ("heartbeat", r#""man_down":"yes""#, "man_down: found \"yes\", expected true or false"),
        ("heartbeat", r#""id":5"#, "id: found 5, expected a text"),
        ("location", r#""lon":77.5"#, "lat: found nothing, expected degrees north"),
        ("location", r#""lat":12.9"#, "lon: found nothing, expected degrees east"),
        ("location", r#""lat":"12","lon":1"#, "lat: found \"12\", expected a number"),
        ("location", r#""lat":1,"lon":1,"provider":true"#, "provider: found true, expected a text"),
        ("scan", r#""guard":"G-7""#, "tag: found nothing, expected the hex digits of a tag"),
        ("scan", r#""tag":"04A1","sun":"x""#, "sun: found \"x\", expected an object"),
        (
            "scan",
            r#""tag":"04A1","sun":{"picc":"AA"}"#,
            "cmac: found nothing, expected the hex digits of a rolling code",
        ),
        ("task", r#""state":"created""#, "task: found nothing, expected the id of a task"),
        (
            "task",
            r#""task":"T-1""#,
            "state: found nothing, expected created, started, completed or cancelled",
        ),
        ("attendance", r#""action":{}"#, "action: found an object, expected a text"),
        ("activity", r#""event":null"#, "event: found nothing, expected a text of up to 64 characters"),
    ];
    for (kind, fields, detail) in table {
        assert_eq!(refused(kind, fields), (Reason::WrongType, detail.to_owned()));
    }
}

#[test]
fn values_out_of_range_are_answered_with_the_range() {
    let table = [
        ("heartbeat", r#""battery":1.01"#, "battery: found 1.01, allowed: 0 to 1"),
        ("heartbeat", r#""battery":-0.1"#, "battery: found -0.1, allowed: 0 to 1"),
        ("heartbeat", r#""interactions":-1"#, "interactions: found -1, allowed: 0 to 1000000"),
        ("heartbeat", r#""steps":1000001"#, "steps: found 1000001, allowed: 0 to 1000000"),
        ("heartbeat", r#""id":"""#, "id: found \"\", allowed: 1 to 128 characters"),
        ("location", r#""lat":90.1,"lon":1"#, "lat: found 90.1, allowed: -90 to 90"),
        ("location", r#""lat":1,"lon":-181"#, "lon: found -181, allowed: -180 to 180"),
        ("location", r#""lat":1,"lon":1,"accuracy":-1"#, "accuracy: found -1, allowed: 0 to 20040000"),
        ("location", r#""lat":1,"lon":1,"speed":501"#, "speed: found 501, allowed: 0 to 500"),
        ("location", r#""lat":1,"lon":1,"heading":361"#, "heading: found 361, allowed: 0 to 360"),
        (
            "location",
            r#""lat":1,"lon":1,"provider":"wifi""#,
            "provider: found \"wifi\", allowed: gps, network, fused",
        ),
        (
            "scan",
            r#""tag":"zz""#,
            "tag: found \"zz\", allowed: 2 to 40 hex digits, with : - . or spaces between",
        ),
        (
            "scan",
            r#""tag":"04A1","sun":{"picc":"XY","cmac":"00"}"#,
            "picc: found \"XY\", allowed: hex digits",
        ),
        (
            "task",
            r#""task":"T-1","state":"done""#,
            "state: found \"done\", allowed: created, started, completed, cancelled",
        ),
        (
            "task",
            r#""task":"T-1","state":"created","priority":"URGENT""#,
            "priority: found \"URGENT\", allowed: CRITICAL, HIGH, MEDIUM, LOW",
        ),
        (
            "attendance",
            r#""action":"nap""#,
            "action: found \"nap\", allowed: check_in, check_out, break_start, break_end",
        ),
        ("attendance", r#""action":"check_in","biometric":70"#, "biometric: found 70, allowed: 0 to 1"),
    ];
    for (kind, fields, detail) in table {
        assert_eq!(refused(kind, fields), (Reason::OutOfRange, detail.to_owned()));
    }
    let long = format!("\"event\":\"{}\"", "x".repeat(65));
    assert_eq!(refused("activity", &long).0, Reason::OutOfRange);
    let long = format!("\"task\":\"T-1\",\"state\":\"created\",\"title\":\"{}\"", "x".repeat(201));
    assert_eq!(refused("task", &long).0, Reason::OutOfRange);
    let (reason, detail) = refused("task", r#""task":"a b","state":"created""#);
    assert_eq!((reason, detail.contains("A-Z a-z 0-9")), (Reason::OutOfRange, true));
}

#[test]
fn an_event_without_a_readable_instant_is_refused() {
    for ts in ["", r#""ts":5"#, r#""ts":"2026-03-10T20:00:00""#, r#""ts":"yesterday""#] {
        let (reason, detail) = refusal(decode("heartbeat", &format!("{{{ts}}}")));
        assert_eq!(reason, Reason::WrongType, "{ts}");
        assert!(detail.starts_with("ts: "), "{detail}");
    }
}

#[test]
fn a_day_ahead_is_refused_and_a_moment_less_is_taken() {
    let at = |ts: &str| decode("heartbeat", &format!(r#"{{"ts":"{ts}"}}"#));
    assert_eq!(at("2026-03-11T20:00:00.999Z").observations.len(), 1);
    assert_eq!(refusal(at("2026-03-11T20:00:01Z")).0, Reason::Future);
    let unset = Arrival { at: now(), known: false };
    let payload = br#"{"ts":"2036-02-07T06:28:16Z"}"#;
    let decoded = message(&site(), unset, "vigil/v1/plant-7/hs-7/heartbeat", payload);
    assert_eq!(
        (decoded.observations.len(), decoded.refused),
        (1, vec![]),
        "a clock that is not set is no measure"
    );
}

#[test]
fn a_call_for_help_is_taken_whatever_its_clock_says() {
    for (kind, fields) in [("sos", ""), ("heartbeat", ",\"man_down\":true")] {
        let decoded = decode(kind, &format!("{{\"ts\":\"2036-02-07T06:28:16Z\"{fields}}}"));
        assert_eq!((decoded.observations.len(), decoded.refused), (1, vec![]), "{kind}");
    }
}

#[test]
fn a_status_is_plain_text() {
    for (payload, online) in [("online", true), ("offline", false), ("offline\n", false)] {
        let decoded = decode("status", payload);
        assert_eq!(decoded.observations[0].kind, Kind::Status { online });
        assert_eq!(decoded.observations[0].at, now());
    }
    for bad in ["", "ONLINE", "{\"ts\":1}"] {
        assert_eq!(refusal(decode("status", bad)).0, Reason::WrongType, "{bad}");
    }
}

#[test]
fn what_is_no_event_is_refused_whole() {
    for bad in ["", "{", "online", "{\"ts\":}", "[1,]", "{} {}", "\u{7f}"] {
        assert_eq!(refusal(decode("heartbeat", bad)).0, Reason::NotJson, "{bad}");
    }
    for bad in ["null", "5", "\"x\"", "true"] {
        assert_eq!(refusal(decode("heartbeat", bad)).0, Reason::WrongType, "{bad}");
    }
    let not_utf8 = message(&site(), now(), "vigil/v1/plant-7/hs-7/activity", b"{\"event\":\"\xff\"}");
    assert_eq!(refusal(not_utf8).0, Reason::NotJson);
}

#[test]
fn items_are_refused_one_by_one() {
    let good = format!(r#"{{"ts":"{TS}","event":"call"}}"#);
    let late = r#"{"ts":"2027-01-01T00:00:00Z","event":"call"}"#;
    let decoded = decode("activity", &format!("[{good},7,{late},{{\"ts\":\"{TS}\"}},{good}]"));
    assert_eq!(decoded.observations.len(), 2);
    let refused: Vec<_> = decoded.refused.iter().map(|r| (r.reason, &r.detail[..7])).collect();
    let expected =
        [(Reason::WrongType, "item 1:"), (Reason::Future, "item 2:"), (Reason::WrongType, "item 3:")];
    assert_eq!(refused, expected);
}

#[test]
fn the_bounds_of_a_message_hold_to_the_byte_and_the_item() {
    let item = format!(r#"{{"ts":"{TS}"}}"#);
    let list = |n: usize| format!("[{}]", vec![item.as_str(); n].join(","));
    assert_eq!(decode("heartbeat", &list(500)).observations.len(), 500);
    assert_eq!(refusal(decode("heartbeat", &list(501))).0, Reason::TooLarge);
    let padded = |bytes: usize| format!("{item}{}", " ".repeat(bytes - item.len()));
    assert_eq!(decode("heartbeat", &padded(65_536)).observations.len(), 1);
    assert_eq!(refusal(decode("heartbeat", &padded(65_537))).0, Reason::TooLarge);
    assert_eq!(decode("heartbeat", "[]"), Decoded::default());
}

#[test]
fn topics_are_matched_level_by_level() {
    let payload = format!(r#"{{"ts":"{TS}"}}"#);
    let at = |topic: &str| refusal(message(&site(), now(), topic, payload.as_bytes())).0;
    let unknown = [
        "",
        "vigil/v1/plant-7/hs-7",
        "vigil/v1/plant-7/alerts",
        "vigil/v1/plant-7/hs-7/heartbeat/x",
        "vigil/v1/plant-7/hs-7/prompt",
        "vigil/v1/plant-7/hs-7/Heartbeat",
        "vigil/v1/plant-7/x/../hs-7/heartbeat",
        "vigil/v2/plant-7/hs-7/heartbeat",
        "/vigil/v1/plant-7/hs-7/heartbeat",
    ];
    for topic in unknown {
        assert_eq!(at(topic), Reason::UnknownTopic, "{topic}");
    }
    assert_eq!(at("vigil/v1/plant-8/hs-7/heartbeat"), Reason::NotThisSite);
    for stranger in ["hs-8", "..", "", "+", "hs 7"] {
        assert_eq!(at(&format!("vigil/v1/plant-7/{stranger}/heartbeat")), Reason::UnknownDevice);
    }
    let status = message(&site(), now(), "vigil/v1/plant-7/ghost/status", b"online");
    assert_eq!(refusal(status).0, Reason::UnknownDevice);
}

#[test]
fn faults_of_the_content_come_first_and_a_wrong_address_counts_once() {
    let good = format!(r#"{{"ts":"{TS}"}}"#);
    let future = r#"{"ts":"2027-01-01T00:00:00Z"}"#;
    let payload = format!("[{good},{future},5,{good}]");
    let decoded = message(&site(), now(), "vigil/v1/plant-7/ghost/heartbeat", payload.as_bytes());
    assert_eq!(decoded.observations, []);
    let reasons: Vec<_> = decoded.refused.iter().map(|r| r.reason).collect();
    assert_eq!(reasons, [Reason::WrongType, Reason::UnknownDevice]);
    let bad = message(&site(), now(), "vigil/v1/plant-8/ghost/heartbeat", b"{");
    assert_eq!(refusal(bad).0, Reason::NotJson);
}

#[test]
fn the_senders_id_is_the_identity() {
    let beat =
        |ts: &str| decode("heartbeat", &format!(r#"{{"id":"e-1","ts":"{ts}"}}"#)).observations.remove(0);
    assert_eq!(beat(TS).identity, beat("2026-03-10T19:00:00Z").identity);
}

#[test]
fn a_position_is_read_to_its_last_digit() {
    for lat in [12.971538108274833_f64, 12.970838300045589, 12.972281118097401] {
        let read = decode("location", &format!(r#"{{"ts":"{TS}","lat":{lat:?},"lon":77.59332162291366}}"#));
        let Kind::Location(fix) = &read.observations[0].kind else { panic!("a location") };
        assert_eq!(
            (fix.lat.to_bits(), fix.lon.to_bits()),
            (lat.to_bits(), 77.593_321_622_913_66_f64.to_bits())
        );
    }
}

fn any_kind() -> impl Strategy<Value = String> {
    prop_oneof![proptest::sample::select(KindName::ALL.map(|(name, _)| name.to_owned()).to_vec()), ".{0,12}"]
}

/// JSON that nearly fits: the fields of the contract with anything in them.
fn near_json() -> impl Strategy<Value = String> {
    let fields = "ts|id|lat|lon|battery|steps|tag|sun|task|state|guard|action|event|note|accuracy";
    let names: Vec<String> = fields.split('|').map(str::to_owned).collect();
    let value = prop_oneof![
        Just("null".to_owned()),
        Just(format!("\"{TS}\"")),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("JSON has no NaN", |x| x.is_finite()).prop_map(|x| x.to_string()),
        "[a-z]{0,9}".prop_map(|s| format!("\"{s}\"")),
        Just("{\"picc\":\"00\",\"cmac\":1}".to_owned()),
    ];
    let field = (proptest::sample::select(names), value).prop_map(|(n, v)| format!("\"{n}\":{v}"));
    proptest::collection::vec(field, 0..12).prop_map(|f| format!("{{{}}}", f.join(",")))
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(kind in any_kind(), payload in proptest::collection::vec(any::<u8>(), 0..400)) {
        let topic = format!("vigil/v1/plant-7/hs-7/{kind}");
        let decoded = message(&site(), now(), &topic, &payload);
        prop_assert!(decoded.observations.len() + decoded.refused.len() <= 400);
    }

    #[test]
    fn one_object_is_one_observation_or_one_refusal(kind in any_kind(), payload in near_json()) {
        let decoded = decode(&kind, &payload);
        prop_assert_eq!(decoded.observations.len() + decoded.refused.len(), 1);
        for observation in &decoded.observations {
            prop_assert!(observation.at.since(now()) < FUTURE);
        }
    }

    #[test]
    fn the_same_bytes_give_the_same_result(payload in near_json()) {
        prop_assert_eq!(decode("location", &payload), decode("location", &payload));
    }
}
