//! `vigil tours`: the log of tours of the running agent.

use super::table::{WallClock, plain, table, text, width, words};
use super::{Failure, ask::Whom};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use vigil_core::id::TourId;
use vigil_core::rules::compliance::Compliance;
use vigil_core::time::{Span, Timestamp};

/// `vigil tours`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    whom: Whom,
    /// Only runs that were due since this instant, like 2026-03-10T20:00:00Z, or in so long a time, like 12h or 7d
    #[arg(long, default_value = "24h", value_parser = since)]
    since: Since,
    /// Only runs of this tour
    #[arg(long, value_name = "ID")]
    tour: Option<TourId>,
    /// Only runs of these classes, like not_started,guard_absent
    #[arg(long, value_name = "CLASSES", value_delimiter = ',', value_parser = compliance)]
    compliance: Vec<Compliance>,
    /// At most so many, newest first
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
    /// Print comma-separated values for a spreadsheet, one line a run
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// Tours that are named where one is not known: a line or two.
const MOST_NAMED: usize = 20;

/// From when on; how long ago is counted by the agent's clock.
#[derive(Debug, Clone, Copy)]
enum Since {
    Instant(Timestamp),
    Ago(Span),
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(ago) = Span::parse(text) {
        return Ok(Since::Ago(ago));
    }
    let instant = Timestamp::parse(text).map(Since::Instant);
    instant.map_err(|_| "an instant like 2026-03-10T20:00:00Z, or how long ago, like 12h or 7d".to_owned())
}

fn compliance(text: &str) -> Result<Compliance, String> {
    let name = text.to_uppercase().replace('-', "_");
    Compliance::named(&name).ok_or_else(|| {
        let known = Compliance::ALL.map(|c| c.name().to_lowercase());
        format!("one of {} is expected", known.join(", "))
    })
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let (_, runs): (_, Vec<Value>) = args.whom.ask(&path(args))?;
    let mut out = std::io::stdout().lock();
    if args.whom.json {
        return Ok(runs.iter().try_for_each(|run| writeln!(out, "{run}"))?);
    }
    if args.csv {
        return Ok(write!(out, "{}", spreadsheet(&runs))?);
    }
    if runs.is_empty() {
        let whose = args.tour.as_ref().map(|tour| args.unheard(tour)).transpose()?.flatten();
        let whose = whose.unwrap_or_default();
        return Ok(writeln!(
            out,
            "no run is logged that was due then{whose}; `vigil status` shows those under way"
        )?);
    }
    let (_, status): (_, Value) = args.whom.ask("/api/status")?;
    let shown = listed(&runs, WallClock::of(&status), width());
    let more = if runs.len() == usize::from(args.limit) { "; there may be more: --limit" } else { "" };
    Ok(write!(out, "{shown}\n  {}{more}\n", summed_up(&runs))?)
}

impl Args {
    /// What to say of a tour that no run was ever of.
    fn unheard(&self, tour: &TourId) -> Result<Option<String>, Failure> {
        let (_, all): (_, Vec<Value>) = self.whom.ask("/api/runs?limit=10000")?;
        let (_, status): (_, Value) = self.whom.ask("/api/status")?;
        let under_way = status.pointer("/view/runs").and_then(Value::as_array).into_iter().flatten();
        let known: BTreeSet<String> = all.iter().chain(under_way).map(|run| plain(run, "/tour")).collect();
        if known.contains(tour.as_str()) {
            return Ok(None);
        }
        let known: Vec<&str> = known.iter().take(MOST_NAMED).map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Ok(Some(format!(", and none was ever of a tour {tour} (there were runs of: {known})")))
    }
}

fn path(args: &Args) -> String {
    let since = match args.since {
        Since::Instant(at) => at.to_string(),
        Since::Ago(ago) => format!("{}s", ago.millis() / 1_000),
    };
    let tour = args.tour.iter().map(|tour| format!("&tour={tour}")).collect::<String>();
    let classes: Vec<&str> = args.compliance.iter().map(|c| c.name()).collect();
    let classes =
        if classes.is_empty() { String::new() } else { format!("&compliance={}", classes.join(",")) };
    format!("/api/runs?since={since}&limit={}{tour}{classes}", args.limit)
}

fn listed(runs: &[Value], clock: WallClock, width: u16) -> String {
    let mut shown = table(&["due", "tour", "guard", "compliance", "scanned", "begun", "remarks"], width);
    for run in runs {
        shown.add_row([
            clock.at(run, "/scheduled_at"),
            plain(run, "/name"),
            plain(run, "/guard"),
            words(run, "/compliance"),
            format!("{} %", plain(run, "/coverage")),
            clock.at(run, "/started_at"),
            remarks(run),
        ]);
    }
    text(&shown)
}

/// What there is to say beside the class.
fn remarks(run: &Value) -> String {
    let is = |key: &str, wanted: bool| run.get(key) == Some(&Value::Bool(wanted));
    let number = |key: &str| run.get(key).and_then(Value::as_i64).unwrap_or(0);
    let places =
        |key: &str, what: &str| Some(list(run, key)).filter(|l| !l.is_empty()).map(|l| format!("{what} {l}"));
    let begun = run.get("started_at").is_some_and(Value::is_string);
    let all = [
        (number("overdue_by") > 0).then(|| format!("{} min late", number("overdue_by"))),
        places("missing", "missing").filter(|_| begun),
        places("out_of_order", "out of order"),
        places("too_short", "too short at"),
        is("observed", false).then(|| "cannot be known: no instrument was heard".to_owned()),
        (number("blind_permille") > 0)
            .then(|| format!("agent down {} % of it", (number("blind_permille") + 9) / 10)),
        is("mandatory", false).then(|| "not mandatory".to_owned()),
    ];
    all.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// `9 runs: 7 compliant, 2 not started`
fn summed_up(runs: &[Value]) -> String {
    let mut counts: BTreeMap<usize, (String, usize)> = BTreeMap::new();
    for run in runs {
        let name = plain(run, "/compliance");
        let rank = Compliance::ALL.iter().position(|c| c.name() == name).unwrap_or(0);
        counts.entry(rank).or_insert_with(|| (words(run, "/compliance"), 0)).1 += 1;
    }
    // The best first.
    let parts: Vec<String> = counts.values().rev().map(|(name, n)| format!("{n} {name}")).collect();
    let noun = if runs.len() == 1 { "run" } else { "runs" };
    format!("{} {noun}: {}", runs.len(), parts.join(", "))
}

/// Ids have no spaces: a list of them is one cell.
fn list(run: &Value, key: &str) -> String {
    let ids = run.get(key).and_then(Value::as_array).into_iter().flatten();
    ids.filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
}

const COLUMNS: [&str; 21] = [
    "scheduled_at",
    "tour",
    "name",
    "mandatory",
    "guard",
    "walked_by",
    "status",
    "compliance",
    "coverage",
    "start_by",
    "close_by",
    "started_at",
    "last_scan_at",
    "overdue_by",
    "scanned",
    "missing",
    "out_of_order",
    "too_short",
    "observed",
    "blind_permille",
    "revision",
];

/// RFC 4180, with a header; instants in UTC, lists with a space between.
fn spreadsheet(runs: &[Value]) -> String {
    let cell = |run: &Value, key: &str| match run.get(key) {
        Some(Value::Array(_)) => list(run, key),
        Some(Value::Null) | None => String::new(),
        Some(Value::String(text)) => quoted(text),
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Object(_))) => quoted(&other.to_string()),
    };
    let line = |run: &Value| COLUMNS.map(|key| cell(run, key)).join(",");
    let lines = [COLUMNS.join(",")].into_iter().chain(runs.iter().map(line));
    lines.map(|line| format!("{line}\r\n")).collect()
}

/// A name may hold anything.
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn asked(arguments: &[&str]) -> Result<String, String> {
        let line = Line::try_parse_from([&["tours"], arguments].concat());
        line.map(|line| path(&line.args)).map_err(|e| e.to_string())
    }

    fn runs() -> Vec<Value> {
        vec![
            json!({
                "scheduled_at": "2026-03-10T16:30:00.000Z", "tour": "round", "name": "The \"long\" round, outside",
                "mandatory": true, "guard": "G-7", "walked_by": ["G-7", "G-8"], "status": "INCOMPLETE",
                "compliance": "PARTIAL_COMPLETION", "coverage": 66, "start_by": "2026-03-10T17:00:00.000Z",
                "close_by": "2026-03-10T17:40:00.000Z", "started_at": "2026-03-10T17:11:00.000Z",
                "last_scan_at": "2026-03-10T17:30:00.000Z", "overdue_by": 11, "scanned": ["cp-1", "cp-0"],
                "missing": ["cp-2"], "out_of_order": ["cp-0"], "too_short": ["cp-1"], "observed": false,
                "blind_permille": 121, "revision": 2,
            }),
            json!({
                "scheduled_at": "2026-03-10T15:30:00.000Z", "tour": "gate", "name": "Gate", "mandatory": false,
                "guard": null, "walked_by": [], "status": "MISSED", "compliance": "NOT_STARTED", "coverage": 0,
                "start_by": "2026-03-10T16:00:00.000Z", "close_by": "2026-03-10T16:10:00.000Z", "started_at": null,
                "last_scan_at": null, "overdue_by": 0, "scanned": [], "missing": ["cp-0"], "out_of_order": [],
                "too_short": [], "observed": true, "blind_permille": 0, "revision": 1,
            }),
        ]
    }

    #[test]
    fn the_question_says_what_is_wanted() {
        assert_eq!(asked(&[]).unwrap(), "/api/runs?since=86400s&limit=100");
        let all =
            asked(&["--since", "2026-03-10T20:00:00+05:30", "--tour", "round", "--limit", "7"]).unwrap();
        assert_eq!(all, "/api/runs?since=2026-03-10T14:30:00.000Z&limit=7&tour=round");
        let missed = asked(&["--compliance", "not_started,GUARD-ABSENT"]).unwrap();
        assert!(missed.ends_with("&compliance=NOT_STARTED,GUARD_ABSENT"), "{missed}");
        for (wrong, why) in [
            (["--since", "yesterday"], "an instant like 2026-03-10T20:00:00Z"),
            (["--compliance", "late"], "one of guard_absent, not_started"),
            (["--tour", "a b"], "1 to 64 characters"),
            (["--limit", "0"], "1..=10000"),
        ] {
            let told = asked(&wrong).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }

    #[test]
    fn a_table_fits_a_hundred_columns_and_says_why() {
        let clock = WallClock::of(&json!({"timezone": "Asia/Kolkata", "now": "2026-03-10T21:00:00.000Z"}));
        let shown = listed(&runs(), clock, 100);
        assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
        let words: Vec<&str> = shown.split_whitespace().collect();
        for part in ["22:00", "22:41", "66", "partial", "late;", "cp-2;", "instrument", "mandatory"] {
            assert!(words.contains(&part), "{part}:\n{shown}");
        }
        let expected = "11 min late; missing cp-2; out of order cp-0; too short at cp-1; cannot be known: no instrument was \
                        heard; agent down 13 % of it";
        assert_eq!(runs().iter().map(remarks).collect::<Vec<_>>(), [expected, "not mandatory"]);
        assert_eq!(summed_up(&runs()), "2 runs: 1 partial completion, 1 not started");
    }

    #[test]
    fn a_spreadsheet_reads_every_cell() {
        let lines: Vec<String> = spreadsheet(&runs()).split_terminator("\r\n").map(str::to_owned).collect();
        assert_eq!(lines[0].split(',').count(), COLUMNS.len());
        assert_eq!(
            lines[1],
            "2026-03-10T16:30:00.000Z,round,\"The \"\"long\"\" round, outside\",true,G-7,G-7 G-8,INCOMPLETE,\
             PARTIAL_COMPLETION,66,2026-03-10T17:00:00.000Z,2026-03-10T17:40:00.000Z,2026-03-10T17:11:00.000Z,\
             2026-03-10T17:30:00.000Z,11,cp-1 cp-0,cp-2,cp-0,cp-1,false,121,2"
        );
        assert_eq!(
            lines[2],
            "2026-03-10T15:30:00.000Z,gate,Gate,false,,,MISSED,NOT_STARTED,0,2026-03-10T16:00:00.000Z,\
             2026-03-10T16:10:00.000Z,,,0,,cp-0,,,true,0,1"
        );
    }
}
