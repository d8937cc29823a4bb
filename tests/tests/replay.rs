//! `vigil replay`, as a person runs it.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use serde_json::{Map, Value};
use vigil_tests::house::{Ended, vigil, vigil_reading};
use vigil_tests::recording::vector_folder;

/// The rules that the vectors fix, and the fields of them.
const FIXED: [&str; 6] =
    ["inactivity", "task_overdue", "tour_missed", "tour_partial", "device_silent", "guard_absent"];
const FIELDS: [&str; 8] =
    ["id", "rule", "subject", "detected_at", "severity", "status", "cleared_at", "escalated"];

fn text(vector: &str, file: &str) -> String {
    std::fs::read_to_string(vector_folder(vector).join(file)).unwrap()
}

/// The arguments of a replay of `vector` to its end, from `events`.
fn arguments(vector: &str, events: &str, more: &[&str]) -> Vec<String> {
    let about = text(vector, "about.txt");
    let until = about.lines().find_map(|l| l.strip_prefix("until ")).unwrap().trim();
    let site = vector_folder(vector).join("site.toml");
    let all = [&["replay", "--site", site.to_str().unwrap(), "--until", until, events], more].concat();
    all.into_iter().map(str::to_owned).collect()
}

fn replay(vector: &str, more: &[&str]) -> Ended {
    let events = vector_folder(vector).join("events.ndjson");
    vigil(&arguments(vector, events.to_str().unwrap(), more))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn fixed(alerts: Vec<Value>) -> Vec<Value> {
    let is_fixed = |a: &Value| FIXED.contains(&a["rule"].as_str().unwrap());
    let cut = |a: Value| FIELDS.iter().map(|f| ((*f).to_owned(), a[*f].clone())).collect::<Map<_, _>>();
    alerts.into_iter().filter(is_fixed).map(|a| Value::Object(cut(a))).collect()
}

#[test]
fn it_prints_what_the_vectors_expect() {
    for vector in ["sleeper", "dead_phone", "tours"] {
        let ended = replay(vector, &[]);
        assert_eq!(ended.code, Some(0), "{vector}: {}", ended.err);
        assert_eq!(fixed(lines(&ended.out)), lines(&text(vector, "expected.ndjson")), "{vector}");
    }
}

#[test]
fn standard_input_does_as_well_as_a_file() {
    let ended = vigil_reading(&arguments("tours", "-", &[]), &text("tours", "events.ndjson"));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(ended.out, replay("tours", &[]).out);
}

#[test]
fn every_revision_is_printed_as_it_comes() {
    for vector in ["sleeper", "dead_phone", "tours"] {
        let (all, last) = (lines(&replay(vector, &["--revisions"]).out), lines(&replay(vector, &[]).out));
        assert!(all.len() > last.len(), "{vector}: some alert changes");
        for alert in &last {
            let revisions: Vec<&Value> = all.iter().filter(|r| r["id"] == alert["id"]).collect();
            let numbers: Vec<u64> = revisions.iter().map(|r| r["revision"].as_u64().unwrap()).collect();
            assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{vector}: {}", alert["id"]);
            assert_eq!(revisions.last(), Some(&alert), "{vector}: the last revision is the final alert");
        }
    }
}

#[test]
fn the_tour_log_has_every_run() {
    let runs = lines(&replay("tours", &["--tours"]).out);
    let statuses: Vec<&str> = runs.iter().map(|r| r["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["COMPLETED", "COMPLETED", "INCOMPLETE", "MISSED"], "{runs:?}");
}

#[test]
fn the_report_counts_what_the_alerts_and_the_tour_log_tell() {
    for vector in ["sleeper", "dead_phone", "tours", "tasks", "classic"] {
        let ended = replay(vector, &["--report"]);
        assert_eq!(ended.code, Some(0), "{vector}: {}", ended.err);
        let days = lines(&ended.out);
        let dates: Vec<_> =
            days.iter().map(|d| (d["date"].as_str().unwrap(), d["complete"] == true)).collect();
        assert_eq!(
            dates,
            [("2026-03-10", true), ("2026-03-11", false)],
            "{vector}: the night ends on the 11th"
        );
        let sum = |pointer: &str| days.iter().filter_map(|d| d.pointer(pointer)?.as_u64()).sum::<u64>();
        for rule in FIXED {
            let alerts = lines(&replay(vector, &[]).out);
            let told = alerts.iter().filter(|a| a["rule"] == rule).count();
            assert_eq!(sum(&format!("/total/alerts/{rule}/raised")), told as u64, "{vector}: {rule}");
        }
        let runs = lines(&replay(vector, &["--tours"]).out);
        let keys: std::collections::BTreeSet<String> =
            runs.iter().map(|r| format!("{} {}", r["tour"], r["scheduled_at"])).collect();
        assert_eq!(sum("/total/runs/closed"), keys.len() as u64, "{vector}");
    }
}

#[test]
fn a_broken_line_is_told_and_skipped() {
    let whole = text("dead_phone", "events.ndjson");
    let mut broken: Vec<&str> = whole.lines().collect();
    broken.insert(3, "{\"received_at\": \"2026-03-10T");
    broken.insert(9, "[]");
    let ended = vigil_reading(&arguments("dead_phone", "-", &[]), &broken.join("\n"));
    assert_eq!(ended.code, Some(1), "what was skipped is no success: {}", ended.err);
    assert_eq!(
        fixed(lines(&ended.out)),
        lines(&text("dead_phone", "expected.ndjson")),
        "the rest was replayed"
    );
    let skipped: Vec<&str> = ended.err.lines().filter(|l| l.contains("skipped")).collect();
    assert!(
        skipped.len() == 2 && skipped[0].starts_with("line 4: ") && skipped[1].starts_with("line 10: "),
        "{}",
        ended.err
    );
    assert!(ended.err.contains("vigil: 2 lines of the recording were no messages"), "{}", ended.err);
}

#[test]
fn what_the_agent_would_refuse_is_told_and_counts_for_nothing() {
    let line = |topic: &str, payload: &str| {
        format!(
            "{{\"received_at\": \"2026-03-10T23:00:00Z\", \"topic\": \"{topic}\", \"payload\": {payload}}}"
        )
    };
    let at = "\"ts\": \"2026-03-10T23:00:00Z\"";
    let site = vigil_config::load_site(&vector_folder("dead_phone").join("site.toml")).unwrap();
    let events = [
        text("dead_phone", "events.ndjson").trim_end().to_owned(),
        line("vigil/v1/elsewhere/hs-G-7/sos", &format!("{{{at}}}")),
        line(&format!("vigil/v1/{}/nobody/sos", site.id), &format!("{{{at}}}")),
    ];
    let ended = vigil_reading(&arguments("dead_phone", "-", &[]), &events.join("\n"));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(fixed(lines(&ended.out)), lines(&text("dead_phone", "expected.ndjson")));
    for reason in ["refused (not_this_site): ", "refused (unknown_device): "] {
        assert_eq!(ended.err.matches(reason).count(), 1, "{}", ended.err);
    }
    assert!(ended.err.contains("2 messages were refused"), "{}", ended.err);
    let of_elsewhere = vigil_reading(&arguments("dead_phone", "-", &[]), &events[1..].join("\n"));
    assert_eq!(of_elsewhere.code, Some(1), "nothing was judged: {}", of_elsewhere.err);
    assert!(
        of_elsewhere.err.contains("all 2 messages of the recording were refused"),
        "{}",
        of_elsewhere.err
    );
}

#[test]
fn a_byte_order_mark_does_not_cost_the_first_line() {
    let marked = format!("\u{feff}{}", text("dead_phone", "events.ndjson"));
    let ended = vigil_reading(&arguments("dead_phone", "-", &[]), &marked);
    assert_eq!((ended.code, ended.out), (Some(0), replay("dead_phone", &[]).out), "{}", ended.err);
}

#[test]
fn a_night_that_would_begin_at_the_end_of_time_is_refused() {
    let ended = vigil(&["simulate", "--start", "9999-12-31T23:00:00Z", "--out", "-"]);
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains("does not end"), "{}", ended.err);
}

#[test]
fn until_goes_on_from_standard_input_as_from_a_file() {
    let events = text("sleeper", "events.ndjson");
    let without: Vec<String> = arguments("sleeper", "-", &["--revisions"]);
    let at = without.iter().position(|a| a == "--until").unwrap();
    let cut: Vec<&str> = without
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != at && *i != at + 1)
        .map(|(_, a)| a.as_str())
        .collect();
    let (to_the_end, to_the_last_line) = (vigil_reading(&without, &events), vigil_reading(&cut, &events));
    assert_eq!((to_the_end.code, to_the_last_line.code), (Some(0), Some(0)));
    assert!(to_the_end.out.starts_with(&to_the_last_line.out));
    let early = [&cut[..], &["--until", "2020-01-01T00:00:00Z"]].concat();
    let early = vigil_reading(&early, &events);
    assert_eq!((early.code, early.out), (Some(0), to_the_last_line.out));
    assert!(early.err.contains("past --until; all of it was replayed"), "{}", early.err);
    let wrong = vigil_reading(&[&cut[..], &["--until", "tomorrow"]].concat(), "");
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.err.contains("tomorrow") && wrong.err.contains("RFC 3339"), "{}", wrong.err);
}

#[test]
fn a_line_beyond_all_bounds_is_skipped_and_does_not_shift_the_others() {
    let whole = text("dead_phone", "events.ndjson");
    let long = "x".repeat(2_000_000);
    let mut lines_with: Vec<&str> = whole.lines().collect();
    lines_with.insert(2, &long);
    lines_with.insert(5, "[]");
    let ended = vigil_reading(&arguments("dead_phone", "-", &[]), &lines_with.join("\n"));
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert_eq!(fixed(lines(&ended.out)), lines(&text("dead_phone", "expected.ndjson")));
    assert!(
        ended.err.contains("line 3: longer than 640 KiB; skipped\nline 6: not a recorded"),
        "{}",
        ended.err
    );
}

#[test]
fn a_recording_out_of_order_is_told() {
    let events = text("dead_phone", "events.ndjson");
    let mut lines_of: Vec<&str> = events.lines().collect();
    let first = lines_of.remove(0);
    lines_of.insert(7, first);
    let ended = vigil_reading(&arguments("dead_phone", "-", &[]), &lines_of.join("\n"));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(
        ended.err.starts_with("line 8: received before the line above it; taken as received at 2026-"),
        "{}",
        ended.err
    );
}

/// A message of the handset of the first vector, received then.
fn said(received_at: &str) -> String {
    format!(
        "{{\"received_at\":\"{received_at}\",\"topic\":\"vigil/v1/x/y/status\",\"payload\":\"online\"}}\n"
    )
}

#[test]
fn a_year_that_is_wrong_is_named_and_not_worked_through() {
    let site = vector_folder("sleeper").join("site.toml");
    let replay = |events: &str, more: &[&str]| {
        let all = [&["replay", "--site", site.to_str().unwrap(), "-"], more].concat();
        let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
        vigil_reading(&all, events)
    };
    let woke_up = said("1970-01-01T00:00:10Z") + &said("2026-03-10T20:00:00Z");
    let ended = replay(&woke_up, &[]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("line 2: received 20522 days after the line above it"), "{}", ended.err);
    let ended = replay(&said("2026-03-10T20:00:00Z"), &["--until", "2926-03-10T20:00:00Z"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("--until is 328718 days after the last line"), "{}", ended.err);
    // The last instant that can be written is not an end without end.
    let ended = replay(&said("9999-12-31T20:00:00Z"), &["--until", "9999-12-31T23:59:59.999Z"]);
    assert!(ended.err.contains("all 1 messages of the recording were refused"), "{}", ended.err);
    let ended = replay("", &["--until", "2026-03-10T20:00:00Z"]);
    assert!(ended.err.contains("no message in it"), "{}", ended.err);
}
