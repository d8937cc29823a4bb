//! `vigil report`: what the days were like, and who walked what was asked.

use super::table::{plain, table, text, width};
use super::{Failure, ask::Whom};
use serde_json::Value;
use std::io::Write;
use vigil_core::time::Date;

/// `vigil report`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    whom: Whom,
    /// The first day, like 2026-03-10 on the site's calendar [default: yesterday]
    #[arg(long, value_parser = date)]
    from: Option<Date>,
    /// The last day [default: today, as far as it has come]
    #[arg(long, value_parser = date)]
    to: Option<Date>,
    /// Rank the guards by their rate of compliant runs instead
    #[arg(long)]
    guards: bool,
    /// The worst first
    #[arg(long, requires = "guards")]
    worst: bool,
    /// Print comma-separated values for a spreadsheet: a line for each day and guard, and one for the site
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

fn date(text: &str) -> Result<Date, String> {
    text.parse().map_err(|_| format!("{text:?} is no date; one like 2026-03-10 is expected"))
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let (answer, value): (String, Value) = args.whom.ask(&path(args)?)?;
    let shown = match (args.guards, args.csv) {
        _ if args.whom.json => format!("{answer}\n"),
        (true, true) => ranking_csv(&value),
        (true, false) => ranking(&value, width()),
        (false, true) => days_csv(&value),
        (false, false) => report(&value, width()),
    };
    Ok(write!(std::io::stdout().lock(), "{shown}")?)
}

fn path(args: &Args) -> Result<String, Failure> {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from > to
    {
        return Err(Failure::invalid(format!("--from {from} lies after --to {to}"), "Swap them."));
    }
    let asked = [("from", args.from.map(|d| d.to_string())), ("to", args.to.map(|d| d.to_string()))];
    let worst = args.worst.then(|| "worst".to_owned());
    let given = asked.into_iter().chain([("first", worst)]);
    let query: Vec<String> = given.filter_map(|(name, value)| Some(format!("{name}={}", value?))).collect();
    let of = if args.guards { "/api/v1/ranking" } else { "/api/v1/reports" };
    Ok(format!("{of}?{}", query.join("&")))
}

/// Everything, as wide as `width`.
fn report(answer: &Value, width: u16) -> String {
    let reports = list(answer, "/reports");
    if reports.is_empty() {
        return "no report of these days\n".to_owned();
    }
    let mut parts = vec![days(answer, reports, width)];
    parts.extend(alerts(answer, width));
    parts.extend(devices(answer, width));
    parts.extend(muted(answer));
    parts.join("\n")
}

fn days(answer: &Value, reports: &[Value], width: u16) -> String {
    let header = [
        "day",
        "runs",
        "compliant",
        "missed",
        "tasks",
        "done",
        "late",
        "p95",
        "inactive",
        "observed",
        "blind",
    ];
    let mut shown = table(&header, width);
    for report in reports {
        let mark = if is_over(report) { "" } else { "*" };
        shown.add_row(day(&format!("{}{mark}", plain(report, "/date")), report));
    }
    if let Some(sum) = answer.get("sum").filter(|_| reports.len() > 1) {
        shown.add_row(day("all", sum));
    }
    let so_far = if reports.iter().all(is_over) { "" } else { "  * so far\n" };
    format!("{}{so_far}", text(&shown))
}

fn is_over(report: &Value) -> bool {
    report.get("complete") == Some(&Value::Bool(true))
}

fn day(name: &str, counted: &Value) -> [String; 11] {
    let figure = |pointer: &str| plain(counted, &format!("/total{pointer}"));
    let share = |pointer: &str| percent(counted, &format!("/total{pointer}"));
    let p95 = counted.pointer("/total/tasks/response/p95").and_then(Value::as_f64);
    let of_sla = p95.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    [
        name.to_owned(),
        figure("/runs/closed"),
        share("/runs/compliance_rate"),
        share("/runs/missed_rate"),
        figure("/tasks/due"),
        share("/tasks/completion_rate"),
        share("/tasks/overdue_rate"),
        of_sla,
        figure("/inactivity/raised"),
        share("/duty/observed_share"),
        length(counted, "/blind_ms"),
    ]
}

fn alerts(answer: &Value, width: u16) -> Option<String> {
    let alerts = answer.pointer("/sum/total/alerts")?.as_object().filter(|alerts| !alerts.is_empty())?;
    let header = [
        "alerts",
        "raised",
        "open",
        "confirmed",
        "resolved",
        "false",
        "false rate",
        "raised after",
        "decided after",
    ];
    let mut shown = table(&header, width);
    for (rule, sums) in alerts {
        let count = |name: &str| sums.get(name).and_then(Value::as_u64).unwrap_or(0);
        shown.add_row([
            rule.replace('_', " "),
            count("raised").to_string(),
            (count("detected") + count("verifying")).to_string(),
            count("confirmed").to_string(),
            count("resolved").to_string(),
            count("false_positive").to_string(),
            percent(sums, "/false_positive_rate"),
            after(sums, "/detection"),
            after(sums, "/resolution"),
        ]);
    }
    Some(text(&shown))
}

/// How long it took on the mean, if it was ever done.
fn after(sums: &Value, pointer: &str) -> String {
    match sums.pointer(&format!("{pointer}/count")).and_then(Value::as_u64) {
        None | Some(0) => "-".to_owned(),
        Some(_) if sums.pointer(&format!("{pointer}/sum_ms")) == Some(&Value::from(0)) => {
            "at once".to_owned()
        }
        Some(_) => length(sums, &format!("{pointer}/mean_ms")),
    }
}

fn devices(answer: &Value, width: u16) -> Option<String> {
    let devices = answer.pointer("/sum/devices")?.as_object().filter(|devices| !devices.is_empty())?;
    let mut shown = table(&["device", "times silent", "for", "times its clock was wrong", "by up to"], width);
    for (device, failures) in devices {
        shown.add_row([
            device.clone(),
            plain(failures, "/outages"),
            length(failures, "/down_ms"),
            plain(failures, "/clock_wrong"),
            length(failures, "/clock_off_ms"),
        ]);
    }
    Some(text(&shown))
}

fn muted(answer: &Value) -> Option<String> {
    let muted = answer.pointer("/sum/muted")?.as_object().filter(|muted| !muted.is_empty())?;
    let each: Vec<String> = muted.iter().map(|(rule, n)| format!("{} {n}", rule.replace('_', " "))).collect();
    Some(format!(" muted by maintenance: {}\n", each.join(", ")))
}

fn ranking(answer: &Value, width: u16) -> String {
    let header =
        ["place", "guard", "compliant", "runs", "missed", "runs observed", "time on duty", "time observed"];
    let mut shown = table(&header, width);
    for standing in list(answer, "/ranking") {
        shown.add_row([
            plain(standing, "/place"),
            plain(standing, "/guard"),
            percent(standing, "/compliance_rate"),
            plain(standing, "/runs"),
            percent(standing, "/missed_rate"),
            plain(standing, "/runs_observed"),
            length(standing, "/on_duty_ms"),
            percent(standing, "/observed_share"),
        ]);
    }
    let [from, to] = ["/from", "/to"].map(|end| plain(answer, end));
    if list(answer, "/ranking").is_empty() {
        return format!("no guard was on duty or had a run from {from} to {to}\n");
    }
    format!(" {from} to {to}\n{}", text(&shown))
}

fn list<'a>(answer: &'a Value, pointer: &str) -> &'a [Value] {
    answer.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A share as a person reads it; `-` of nothing.
fn percent(value: &Value, pointer: &str) -> String {
    let Some(share) = value.pointer(pointer).and_then(Value::as_f64) else { return "-".to_owned() };
    // To a tenth, so that 99.9 % is not everything.
    let tenths = format!("{:.1}", share * 100.0);
    format!("{} %", tenths.trim_end_matches(".0"))
}

/// A length in the unit that fits it; `-` if there was none.
fn length(value: &Value, pointer: &str) -> String {
    let secs = value.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0) / 1_000.0;
    match secs {
        s if s <= 0.0 => "-".to_owned(),
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5_400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3_600.0),
    }
}

/// A column of the day's lines: its name, where its figure is, and what it is if that block is left out.
type Column = (&'static str, &'static str, &'static str);

const COLUMNS: [Column; 31] = [
    ("tasks_due", "/tasks/due", "0"),
    ("tasks_completed", "/tasks/completed", "0"),
    ("tasks_overdue", "/tasks/overdue", "0"),
    ("tasks_cancelled", "/tasks/cancelled", "0"),
    ("completion_rate", "/tasks/completion_rate", ""),
    ("overdue_rate", "/tasks/overdue_rate", ""),
    ("response_mean", "/tasks/response/mean", ""),
    ("response_p95", "/tasks/response/p95", ""),
    ("runs", "/runs/closed", "0"),
    ("compliant", "/runs/compliant", "0"),
    ("sla_breach", "/runs/sla_breach", "0"),
    ("partial_completion", "/runs/partial_completion", "0"),
    ("not_started", "/runs/not_started", "0"),
    ("guard_absent", "/runs/guard_absent", "0"),
    ("missed", "/runs/missed", "0"),
    ("runs_observed", "/runs/observed", "0"),
    ("compliance_rate", "/runs/compliance_rate", ""),
    ("missed_rate", "/runs/missed_rate", ""),
    ("mean_coverage", "/runs/mean_coverage", ""),
    ("inactivity", "/inactivity/raised", "0"),
    ("inactivity_deep_night", "/inactivity/deep_night", "0"),
    ("inactivity_confirmed", "/alerts/inactivity/confirmed", "0"),
    ("inactivity_resolved", "/alerts/inactivity/resolved", "0"),
    ("inactivity_false_positive", "/alerts/inactivity/false_positive", "0"),
    ("inactivity_false_positive_rate", "/inactivity/false_positive_rate", ""),
    ("inactivity_detection_mean_ms", "/alerts/inactivity/detection/mean_ms", ""),
    ("inactivity_resolution_mean_ms", "/alerts/inactivity/resolution/mean_ms", ""),
    ("on_duty_ms", "/duty/on_duty_ms", "0"),
    ("observed_ms", "/duty/observed_ms", "0"),
    ("observed_share", "/duty/observed_share", ""),
    ("blind_ms", "/blind_ms", ""),
];

/// A line for the site, with an empty guard, and one for each guard. Ids and numbers need no quotes.
fn days_csv(answer: &Value) -> String {
    let names: Vec<&str> = COLUMNS.iter().map(|(name, _, _)| *name).collect();
    let mut lines = vec![format!("date,complete,guard,{}", names.join(","))];
    for report in list(answer, "/reports") {
        let [date, complete] = ["/date", "/complete"].map(|key| plain(report, key));
        let whole = report.get("total").cloned().unwrap_or_default();
        let guards = report.get("guards").and_then(Value::as_object);
        let each = guards.into_iter().flatten().map(|(guard, figures)| (guard.as_str(), figures));
        for (guard, figures) in [("", &whole)].into_iter().chain(each) {
            let of_site =
                |pointer: &str| report.get(pointer.trim_start_matches('/')).filter(|_| guard.is_empty());
            let cell = |(_, pointer, absent): &Column| {
                let found = figures.pointer(pointer).or_else(|| of_site(pointer));
                found.filter(|v| !v.is_null()).map_or_else(|| (*absent).to_owned(), Value::to_string)
            };
            let cells: Vec<String> = COLUMNS.iter().map(cell).collect();
            lines.push(format!("{date},{complete},{guard},{}", cells.join(",")));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn ranking_csv(answer: &Value) -> String {
    let names = [
        "place",
        "guard",
        "compliance_rate",
        "runs",
        "compliant",
        "missed",
        "missed_rate",
        "runs_observed",
        "on_duty_ms",
        "observed_ms",
        "observed_share",
    ];
    let mut lines = vec![names.join(",")];
    for standing in list(answer, "/ranking") {
        let cell = |name: &&str| match standing.get(*name) {
            Some(Value::Null) | None => String::new(),
            Some(_) => plain(standing, &format!("/{name}")),
        };
        lines.push(names.iter().map(cell).collect::<Vec<_>>().join(","));
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The example of the contract, as the agent answers it.
    fn answer() -> Value {
        let page = include_str!("../../../docs/noc-contract.md");
        let block = page.split("### Report").nth(1).and_then(|rest| rest.split("```").nth(1)).unwrap();
        let day: Value = serde_json::from_str(block.trim_start_matches("json")).unwrap();
        let mut today = day.clone();
        (today["date"], today["complete"]) = (json!("2026-03-11"), json!(false));
        let mut sum = day.clone();
        sum["muted"] = json!({"tour_missed": 2, "sos": 1});
        json!({"from": "2026-03-10", "to": "2026-03-11", "reports": [day, today], "sum": sum})
    }

    fn words_of(shown: &str) -> Vec<String> {
        shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn days_stand_above_their_sum_and_fit_a_hundred_columns() {
        let shown = report(&answer(), 100);
        assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
        let lines = words_of(&shown);
        for expected in [
            "2026-03-10 3 33.3 % 66.7 % 2 100 % 50 % 1.50 0 80.3 % -",
            "2026-03-11* 3 33.3 % 66.7 % 2 100 % 50 % 1.50 0 80.3 % -",
            "all 3 33.3 % 66.7 % 2 100 % 50 % 1.50 0 80.3 % -",
            "* so far",
            "task overdue 1 0 0 1 0 0 % 5 s 15 min",
            "hs-8 1 48 min 0 -",
            "muted by maintenance: sos 1, tour missed 2",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected}:\n{shown}");
        }
    }

    #[test]
    fn one_day_has_no_sum_and_none_has_no_table() {
        let mut one = answer();
        one["reports"].as_array_mut().unwrap().truncate(1);
        assert!(!words_of(&report(&one, 100)).iter().any(|line| line.starts_with("all")));
        let none = json!({"from": "2026-03-10", "to": "2026-03-11", "reports": [], "sum": {}});
        assert_eq!(report(&none, 100), "no report of these days\n");
    }

    #[test]
    fn a_spreadsheet_has_a_line_for_each_day_and_guard() {
        let lines: Vec<String> = days_csv(&answer()).lines().map(str::to_owned).collect();
        let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        let header = cells(&lines[0]);
        assert!(lines.iter().all(|line| cells(line).len() == header.len()), "{lines:#?}");
        let heads: Vec<String> = lines[1..].iter().map(|line| cells(line)[..3].join(" ")).collect();
        let days = ["2026-03-10 true", "2026-03-11 false"];
        let expected: Vec<String> =
            days.iter().flat_map(|day| ["", "G-7", "G-8"].map(|guard| format!("{day} {guard}"))).collect();
        assert_eq!(heads, expected);
        let value = |line: usize, name: &str| {
            cells(&lines[line])[header.iter().position(|h| h == name).unwrap()].clone()
        };
        assert_eq!([value(1, "runs"), value(2, "runs"), value(3, "runs")], ["3", "2", "1"]);
        assert_eq!(
            [value(2, "tasks_due"), value(3, "tasks_due")],
            ["2", "0"],
            "a block that is left out is nothing"
        );
        assert_eq!([value(2, "completion_rate"), value(3, "completion_rate")], ["1.0", ""]);
        assert_eq!([value(1, "blind_ms"), value(2, "blind_ms")], ["0", ""], "it is the site that is blind");
    }

    #[test]
    fn a_ranking_names_its_range_and_leaves_out_what_is_not_there() {
        let answer = json!({"from": "2026-03-10", "to": "2026-03-11", "ranking": [
            {"place": 1, "guard": "G-7", "compliance_rate": 0.5, "runs": 2, "compliant": 1, "missed": 1, "missed_rate": 0.5,
             "runs_observed": 1, "on_duty_ms": 10_800_000, "observed_ms": 10_140_001, "observed_share": 0.939},
            {"place": null, "guard": "G-8", "compliance_rate": null, "runs": 0, "compliant": 0, "missed": 0,
             "missed_rate": null, "runs_observed": 0, "on_duty_ms": 0, "observed_ms": 0, "observed_share": null},
        ]});
        let lines = words_of(&ranking(&answer, 100));
        assert_eq!(lines[0], "2026-03-10 to 2026-03-11");
        assert_eq!(lines[3..], ["1 G-7 50 % 2 50 % 1 3.0 h 93.9 %", "- G-8 - 0 - 0 - -"]);
        let csv: Vec<String> = ranking_csv(&answer).lines().map(str::to_owned).collect();
        assert_eq!(csv[1..], ["1,G-7,0.5,2,1,1,0.5,1,10800000,10140001,0.939", ",G-8,,0,0,0,,0,0,0,"]);
    }

    #[test]
    fn lengths_are_told_in_the_unit_that_fits() {
        let told = |ms: f64| length(&json!({ "ms": ms }), "/ms");
        assert_eq!(
            [0.0, 5_000.0, 89_000.0, 90_000.0, 3_600_000.0, 5_400_000.0].map(told),
            ["-", "5 s", "89 s", "2 min", "60 min", "1.5 h"]
        );
    }
}
