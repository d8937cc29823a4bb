//! `vigil status`: what the running agent sees.

use super::table::{WallClock, plain, rows, table, text, width, words};
use super::{Failure, ask::Whom};
use serde_json::Value;
use std::io::Write;

/// A wall clock that is off by more is worth a word.
const ODD_MS: i64 = 10_000;
/// More are in `vigil alerts` and on the page.
const RUNS_SHOWN: usize = 20;

/// `vigil status`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    whom: Whom,
    /// Show the inputs that were refused, newest first
    #[arg(long)]
    refused: bool,
    /// Show the tags that were read and belong to nobody, with what to do about each, the latest first
    #[arg(long, conflicts_with = "refused")]
    unknown_tags: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let path = match (args.refused, args.unknown_tags) {
        (true, _) => "/api/refused",
        (_, true) => "/api/unknown-tags",
        (false, false) => "/api/status",
    };
    let (answer, value): (String, Value) = args.whom.ask(path)?;
    let clock = || args.whom.ask("/api/status").map(|(_, status): (_, Value)| WallClock::of(&status));
    let shown = if args.whom.json {
        format!("{answer}\n")
    } else if args.refused {
        refused(&value, clock()?, width())
    } else if args.unknown_tags {
        unknown_tags(&value, clock()?, width())
    } else {
        status(&value, width())
    };
    Ok(write!(std::io::stdout().lock(), "{shown}")?)
}

fn entries<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn refused(list: &Value, clock: WallClock, width: u16) -> String {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    if list.is_empty() {
        return "nothing was refused\n".to_owned();
    }
    let mut shown = table(&["received", "reason", "topic", "what is wrong", "begins with"], width);
    for r in list {
        let at = clock.at(r, "/received_at");
        shown.add_row([at, words(r, "/reason"), plain(r, "/topic"), plain(r, "/detail"), plain(r, "/head")]);
    }
    text(&shown)
}

fn unknown_tags(list: &Value, clock: WallClock, width: u16) -> String {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    if list.is_empty() {
        return "no tag was read that belongs to nobody\n".to_owned();
    }
    let mut shown = table(&["last read", "tag", "by", "times", "what it is"], width);
    for tag in list {
        let at = clock.at(tag, "/last_at");
        shown.add_row([
            at,
            plain(tag, "/tag"),
            plain(tag, "/device"),
            plain(tag, "/count"),
            plain(tag, "/what"),
        ]);
    }
    text(&shown)
}

/// What operators should mend about foreign devices; nothing if all are in order.
fn advice(s: &Value, width: u16) -> Option<String> {
    let list = entries(s, "advice");
    let mut shown = table(&["device", "what to mend"], width);
    for advice in list {
        shown.add_row([plain(advice, "/device"), plain(advice, "/mend")]);
    }
    (!list.is_empty()).then(|| text(&shown))
}

/// Everything, as wide as `width`.
fn status(s: &Value, width: u16) -> String {
    let clock = WallClock::of(s);
    let mut tables = vec![guards(s, clock, width), runs(s, clock, width), devices(s, clock, width)];
    tables.extend(serial(s, clock, width));
    tables.extend(floods(s, clock, width));
    tables.extend(advice(s, width));
    format!("{}\n{}", summary(s, clock, width), tables.join("\n"))
}

fn summary(s: &Value, clock: WallClock, width: u16) -> String {
    let counted =
        |what: &str| s.pointer(&format!("/alert_counts/{what}")).and_then(Value::as_u64).unwrap_or(0);
    let alerts = match (counted("open"), counted("critical")) {
        (0, _) => "none open".to_owned(),
        (n, c) => format!("{n} open, {c} of them CRITICAL; `vigil alerts --open` lists them"),
    };
    let connected = s.pointer("/source/connected") == Some(&Value::Bool(true));
    let coming = if connected { "coming in" } else { "cut off" };
    let provisional = s.get("provisional") == Some(&Value::Bool(true));
    let guess = if provisional { ", a guess" } else { "" };
    let mut shown = rows(width);
    for (name, what) in [
        ("site time", format!("{} {}{guess}", clock.at(s, "/now"), clock.zone)),
        ("clock", clock_words(s)),
        ("alerts", alerts),
        (
            "messages",
            format!("{coming}, {} broker at {}", plain(s, "/source/mode"), plain(s, "/source/address")),
        ),
        (receiver(s), uplink(s, clock)),
        ("commands", commands(s, clock)),
        ("bundle", super::bundle::standing(s, clock)),
        ("waiting", waiting(s)),
        ("store", store(s, clock)),
        ("stored", counts(s, "outcomes")),
        ("refused", counts(s, "refused")),
    ] {
        shown.add_row([name, &what]);
    }
    let [site, gateway, version] = ["/name", "/gateway", "/version"].map(|key| plain(s, key));
    format!("  {site} · gateway {gateway} · Vigil {version}\n{}", text(&shown))
}

/// How the store is: in order, or what is wrong with it and what to do.
fn store(s: &Value, clock: WallClock) -> String {
    if let Some(secs) = s.get("stuck_secs").and_then(Value::as_u64) {
        return format!("STUCK: the disk has not answered for {secs} s");
    }
    if let Some(outage) = s.get("outage").filter(|outage| !outage.is_null()) {
        let [why, mend, again] = ["/why", "/mend", "/again_secs"].map(|key| plain(outage, key));
        let since = clock.at(outage, "/since");
        return format!("OUT OF ORDER since {since}: {why}; {mend}; the agent tries again every {again} s");
    }
    let mib = s.get("store_bytes").and_then(Value::as_u64).unwrap_or(0).div_ceil(1 << 20);
    match s.get("dropped_inputs").and_then(Value::as_u64).unwrap_or(0) {
        0 => format!("in order, {mib} MiB"),
        n => format!("in order, {mib} MiB; {n} inputs went before their time for want of room"),
    }
}

/// What the time is worth, and what is odd about it.
fn clock_words(s: &Value) -> String {
    let ms = |key: &str| s.pointer(&format!("/clock/{key}")).and_then(Value::as_i64);
    let off = ms("uncertainty_ms").map_or_else(String::new, |ms| format!(", good to {}", length(ms)));
    let state = match plain(s, "/clock/state").as_str() {
        "unset" => "NOT SET: tours, absences, night hours and reports wait".to_owned(),
        "unverified" => "plausible, but nobody vouches for it".to_owned(),
        "ntp" => format!("kept by NTP{off}"),
        "noc" => format!("told by the NOC{off}"),
        other => other.to_owned(),
    };
    let differs = ms("noc_differs_ms").map(|ms| format!("the NOC's is {} {}", length(ms), side(ms)));
    let wall = ms("wall_ahead_ms").filter(|ms| ms.abs() > ODD_MS);
    let wall = wall.map(|ms| format!("the box's wall clock is {} {}", length(ms), side(ms)));
    let last = ms("last_correction_ms").map(|ms| format!("it was corrected by {}", length(ms)));
    [Some(state), wall, differs, last].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

const fn side(ahead_ms: i64) -> &'static str {
    if ahead_ms > 0 { "ahead" } else { "behind" }
}

/// As long as a person needs it: seconds up to two minutes, then minutes, hours and days.
fn length(ms: i64) -> String {
    let secs = ms.unsigned_abs().div_ceil(1_000);
    match secs {
        0..120 => format!("{secs} s"),
        120..7_200 => format!("{} min", secs / 60),
        7_200..172_800 => format!("{} h", secs / 3_600),
        _ => format!("{} days", secs / 86_400),
    }
}

/// Whether the receiver is one that takes nothing but alerts.
fn alerts_only(s: &Value) -> bool {
    s.get("receiver").and_then(Value::as_str) == Some("alertmanager")
}

/// What people call it.
fn receiver(s: &Value) -> &'static str {
    if alerts_only(s) { "Alertmanager" } else { "NOC" }
}

fn uplink(s: &Value, clock: WallClock) -> String {
    let lost = s.pointer("/link/lost") == Some(&Value::Bool(true));
    let heard = clock.at(s, "/link/heard_at");
    let lost = if lost { format!("LOST, last heard at {heard}; ") } else { String::new() };
    lost + &way(s, "uplink", clock, |uplink, last| {
        let delivered = plain(uplink, "/delivered");
        if alerts_only(s) {
            let kept = plain(uplink, "/kept_here");
            return format!(
                "reached, last at {last}; {delivered} alerts delivered; {kept} tours and reports went nowhere and are \
                 on this box only"
            );
        }
        format!("reached, last at {last}; {delivered} events delivered")
    })
}

fn commands(s: &Value, clock: WallClock) -> String {
    if alerts_only(s) {
        return "none: an Alertmanager gives none; steps are taken on this box".to_owned();
    }
    way(s, "commands", clock, |commands, last| {
        let (decided, refused) = (plain(commands, "/decided"), plain(commands, "/refused"));
        format!("listening, last heard at {last}; {decided} decided, {refused} of them refused")
    })
}

/// A way to the operations centre: how it is, or what is wrong with it.
fn way(s: &Value, name: &str, clock: WallClock, well: impl Fn(&Value, &str) -> String) -> String {
    let Some(way) = s.get(name).filter(|way| !way.is_null()) else { return "not configured".to_owned() };
    let failed = || {
        let next = clock.at(way, "/next_attempt_at");
        format!("{} failed in a row, next try {next}: {}", plain(way, "/attempts"), plain(way, "/last_error"))
    };
    match way.get("reachable") {
        _ if way.get("unauthorized") == Some(&Value::Bool(true)) => {
            format!("credential refused; {}", failed())
        }
        Some(Value::Bool(true)) => well(way, &clock.at(way, "/last_success_at")),
        Some(Value::Bool(false)) => format!("not reached; {}", failed()),
        _ => "not tried yet".to_owned(),
    }
}

fn waiting(s: &Value) -> String {
    let depth = |lane: &str| s.pointer(&format!("/outbox/{lane}")).and_then(Value::as_u64).unwrap_or(0);
    let lanes = ["critical", "alerts", "tours", "reports", "health"];
    let filled: Vec<String> =
        lanes.iter().filter(|l| depth(l) > 0).map(|l| format!("{l} {}", depth(l))).collect();
    let waiting = if filled.is_empty() { "nothing".to_owned() } else { filled.join(", ") };
    match depth("dead") {
        0 => waiting,
        dead => format!("{waiting}; {dead} rejected by the {}", receiver(s)),
    }
}

fn counts(s: &Value, key: &str) -> String {
    let counts = s.get(key).and_then(Value::as_object);
    let counts = counts.into_iter().flatten();
    let texts: Vec<String> = counts.map(|(name, n)| format!("{} {n}", name.replace('_', " "))).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

fn guards(s: &Value, clock: WallClock, width: u16) -> String {
    let header = ["guard", "is", "phone", "movement", "tasks", "tours", "inactivity", "last sign of life"];
    let mut shown = table(&header, width);
    for g in entries(s, "guards") {
        let signal = |name: &str| signal(g, name);
        let sign = match clock.at(g, "/last_activity_at").as_str() {
            "-" => "-".to_owned(),
            at => format!("{at} {}", plain(g, "/last_activity")),
        };
        let inactive = g.get("alert").is_some_and(Value::is_string);
        let is = if inactive { "INACTIVE".to_owned() } else { words(g, "/presence") };
        let [phone, movement, tasks, tours] = ["phone", "movement", "tasks", "tours"].map(signal);
        shown.add_row([plain(g, "/name"), is, phone, movement, tasks, tours, score(g), sign]);
    }
    text(&shown)
}

fn signal(guard: &Value, name: &str) -> String {
    match plain(guard, &format!("/window/signals/{name}/state")).as_str() {
        "ACTIVE" => "active".to_owned(),
        "INACTIVE" => "NONE".to_owned(),
        "UNOBSERVED" => "unknown".to_owned(),
        other => other.to_lowercase(),
    }
}

/// The score as a share, as people speak of it.
fn score(guard: &Value) -> String {
    let score = guard.pointer("/window/score").and_then(Value::as_u64);
    score.map_or_else(|| "-".to_owned(), |s| format!("{}.{:02}", s / 1000, s % 1000 / 10))
}

fn runs(s: &Value, clock: WallClock, width: u16) -> String {
    let runs = entries(s, "runs");
    if runs.is_empty() {
        return "no tour is under way, and none was in the last hours\n".to_owned();
    }
    let mut shown = table(&["tour", "due", "start by", "scanned", "guard", "state"], width);
    for r in runs.iter().take(RUNS_SHOWN) {
        let (due, start_by) = (clock.at(r, "/scheduled_at"), clock.at(r, "/start_by"));
        let scanned = format!("{} %", plain(r, "/coverage"));
        let over = r.get("compliance").is_some_and(Value::is_string);
        let state = words(r, if over { "/compliance" } else { "/status" });
        shown.add_row([plain(r, "/name"), due, start_by, scanned, plain(r, "/guard"), state]);
    }
    text(&shown)
}

fn devices(s: &Value, clock: WallClock, width: u16) -> String {
    let mut shown = table(&["device", "kind", "guard", "last heard", "battery", "state"], width);
    for d in entries(s, "devices") {
        let battery = d.get("battery_permille").and_then(Value::as_u64);
        shown.add_row([
            plain(d, "/id"),
            words(d, "/kind"),
            plain(d, "/guard"),
            clock.at(d, "/last_received_at"),
            battery.map_or_else(|| "-".to_owned(), |b| format!("{} %", b / 10)),
            device_state(d),
        ]);
    }
    text(&shown)
}

/// Devices that talk without end; nothing if none does.
fn floods(s: &Value, clock: WallClock, width: u16) -> Option<String> {
    let list = entries(s, "floods");
    let header = ["talks without end", "heartbeats merged", "positions thinned", "last thinned"];
    let mut shown = table(&header, width);
    for flood in list {
        let [device, heartbeats, positions] =
            ["/device", "/heartbeats", "/positions"].map(|key| plain(flood, key));
        shown.add_row([device, heartbeats, positions, clock.at(flood, "/last_at")]);
    }
    (!list.is_empty()).then(|| text(&shown))
}

/// The serial lines, if there are any.
fn serial(s: &Value, clock: WallClock, width: u16) -> Option<String> {
    let lines = entries(s, "serial");
    let mut shown = table(&["line", "port", "speaks", "read", "last read", "state"], width);
    for line in lines {
        let [device, port, protocol, read] =
            ["/device", "/port", "/protocol", "/read"].map(|key| plain(line, key));
        shown.add_row([device, port, protocol, read, clock.at(line, "/last_read_at"), line_state(line)]);
    }
    (!lines.is_empty()).then(|| text(&shown))
}

fn line_state(line: &Value) -> String {
    let count = |key: &str| line.get(key).and_then(Value::as_u64).unwrap_or(0);
    let state = match line.get("up") {
        Some(Value::Bool(true)) => "up".to_owned(),
        _ if line.get("last_error").is_some_and(Value::is_string) => {
            format!("DOWN: {}", plain(line, "/last_error"))
        }
        _ => "not opened yet".to_owned(),
    };
    let more = [("waiting", "waiting for the store"), ("lost", "LOST"), ("skipped_bytes", "bytes of noise")];
    let more =
        more.iter().filter(|(key, _)| count(key) > 0).map(|(key, words)| format!("{} {words}", count(key)));
    [state].into_iter().chain(more).collect::<Vec<_>>().join("; ")
}

fn device_state(device: &Value) -> String {
    let is = |key: &str| device.get(key) == Some(&Value::Bool(true));
    let heard =
        match (is("silent"), is("offline"), device.get("last_received_at").is_some_and(Value::is_string)) {
            (true, _, _) => "SILENT",
            (_, true, _) => "OFFLINE",
            (_, _, true) => "heard",
            _ => "not heard yet",
        };
    match device.get("clock_behind_secs").and_then(Value::as_i64) {
        Some(secs) => {
            let way = if secs > 0 { "behind" } else { "ahead" };
            format!("{heard}, clock {} min {way}", secs.unsigned_abs().div_ceil(60))
        }
        None => heard.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn night() -> Value {
        let signal = |state: &str| json!({"state": state, "count": 1, "weight": 500});
        let signals = json!({"phone": signal("INACTIVE"), "movement": signal("ACTIVE"),
                             "tasks": signal("UNOBSERVED"), "tours": signal("UNOBSERVED")});
        json!({
            "name": "Plant 7", "gateway": "gw-1", "version": "1.0.0", "timezone": "Asia/Kolkata",
            "now": "2026-03-10T21:00:00.000Z",
            "guards": [
                {"name": "Asha", "presence": "on_duty", "alert": "a-1", "window": {"score": 1000, "signals": signals},
                 "last_activity": "phone", "last_activity_at": "2026-03-10T15:45:00.000Z"},
                {"name": "Ravi", "presence": "off_duty", "alert": null, "window": null,
                 "last_activity": null, "last_activity_at": null},
            ],
            "runs": [{"name": "A perimeter with a name that is as long as names of perimeters ever become, and longer",
                      "scheduled_at": "2026-03-10T15:45:00.000Z", "start_by": "2026-03-10T16:15:00.000Z",
                      "status": "IN_PROGRESS", "guard": "G-1", "coverage": 50}],
            "devices": [{"id": "hs-1", "kind": "handset", "guard": "G-1", "battery_permille": 795, "silent": true,
                         "offline": true, "last_received_at": "2026-03-10T15:54:00.000Z"},
                        {"id": "hs-2", "kind": "handset", "guard": "G-2", "battery_permille": null, "silent": false,
                         "offline": false, "last_received_at": "2026-03-10T15:54:00.000Z", "clock_behind_secs": -601}],
            "alert_counts": {"all": 3, "open": 1, "critical": 1},
            "clock": {"state": "noc", "uncertainty_ms": 1_200, "wall_ahead_ms": -400_000_000_000_i64,
                      "noc_differs_ms": null, "corrections": 1, "last_correction_ms": 7_300_000},
            "source": {"mode": "embedded", "address": "127.0.0.1:1883", "connected": true},
            "link": {"lost": true, "heard_at": "2026-03-10T20:59:00.000Z"},
            "uplink": {"reachable": false, "attempts": 3, "last_error": "connection refused ".repeat(9), "unauthorized": false,
                       "next_attempt_at": "2026-03-10T21:05:00.000Z"},
            "commands": {"reachable": true, "last_success_at": "2026-03-10T21:00:00.000Z", "decided": 3, "refused": 1},
            "outbox": {"critical": 1, "alerts": 0, "tours": 0, "reports": 0, "health": 1, "dead": 2},
            "outcomes": {"applied": 12}, "refused": {},
            "floods": [{"device": "hs-2", "heartbeats": 51, "positions": 730, "last_at": "2026-03-10T20:54:00.000Z"}],
            "serial": [{"device": "gate", "port": "/dev/serial/by-id/usb-1a86_USB_Serial-if00-port0", "protocol": "rdm6300", "up": true,
                        "read": 7, "last_read_at": "2026-03-10T15:54:00.000Z", "skipped_bytes": 3, "waiting": 0, "lost": 0,
                        "last_error": "an old one"},
                       {"device": "van", "port": "/dev/ttyUSB1", "protocol": "nmea", "up": false, "read": 0,
                        "last_read_at": null, "skipped_bytes": 0, "waiting": 2, "lost": 1, "last_error": "it was unplugged"}],
        })
    }

    #[test]
    fn a_night_fits_a_hundred_columns_in_the_site_s_time() {
        let shown = status(&night(), 100);
        assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
        let joined = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "site time 02:30 Asia/Kolkata",
            "clock told by the NOC, good to 2 s; the box's wall clock is 4629 days behind; it was corrected by 2 h",
            "1 open, 1 of them CRITICAL",
            "LOST, last heard at 02:29; not reached; 3 failed in a row, next try 02:35: connection refused",
            "commands listening, last heard at 02:30; 3 decided, 1 of them refused",
            "waiting critical 1, health 1; 2 rejected by the NOC",
            "hs-2 51 730 02:24",
            "stored applied 12 refused none",
            "Asha INACTIVE NONE active unknown unknown 1.00 21:15 phone",
            "Ravi off duty - - - - - -",
            "21:15 21:45 50 % G-1 in progress",
            "hs-1 handset G-1 21:24 79 % SILENT",
            "hs-2 handset G-2 21:24 - heard, clock 11 min ahead",
            "rdm6300 7 21:24 up; 3",
            "van /dev/ttyUSB1 nmea 0 - DOWN: it was unplugged; 2 waiting for the store; 1 LOST",
        ] {
            assert!(joined.contains(part), "{part}:\n{shown}");
        }
    }

    #[test]
    fn nobody_believes_that_an_alertmanager_has_more_than_alerts() {
        let mut s = night();
        s["receiver"] = json!("alertmanager");
        s["uplink"] = json!({"reachable": true, "last_success_at": "2026-03-10T21:00:00.000Z", "delivered": 7,
                             "kept_here": 12, "unauthorized": false});
        s["commands"] = Value::Null;
        let shown = status(&s, 100);
        let joined = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "7 alerts delivered; 12 tours and reports went nowhere",
            "commands none: an Alertmanager gives none",
        ] {
            assert!(joined.contains(part), "{part}:\n{shown}");
        }
        assert!(!joined.contains("NOC LOST") && joined.contains("Alertmanager LOST"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
    }

    #[test]
    fn what_is_to_be_mended_stands_below_the_devices() {
        let mut s = night();
        assert!(!status(&s, 100).contains("what to mend"));
        s["advice"] = json!([{"device": "hs-1", "about": "mode", "mend": "set it to move mode ".repeat(9)}]);
        let shown = status(&s, 100);
        assert!(shown.contains("what to mend") && shown.contains("move mode"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
    }

    #[test]
    fn unknown_tags_are_listed_in_the_site_s_time() {
        let clock = WallClock::of(&night());
        assert_eq!(unknown_tags(&json!([]), clock, 100), "no tag was read that belongs to nobody\n");
        let tag = json!({"tag": "04A1B2C3", "device": "hs-1", "what": "no checkpoint's tag ".repeat(9), "count": 3,
                         "first_at": "2026-03-10T19:00:00.000Z", "last_at": "2026-03-10T20:00:00.000Z"});
        let shown = unknown_tags(&json!([tag]), clock, 100);
        assert!(shown.contains("01:30") && shown.contains("04A1B2C3"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
    }

    #[test]
    fn what_was_refused_is_listed_in_the_site_s_time() {
        let clock = WallClock::of(&night());
        assert_eq!(refused(&json!([]), clock, 100), "nothing was refused\n");
        let input = json!({"received_at": "2026-03-10T20:00:00.000Z", "reason": "not_json", "topic": "vigil/v1/p/d/k",
                           "detail": "expected a value ".repeat(9), "head": "x".repeat(200)});
        let shown = refused(&json!([input]), clock, 100);
        assert!(shown.contains("01:30") && shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
    }
}
