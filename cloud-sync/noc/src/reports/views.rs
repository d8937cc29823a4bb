//! The pages: what stands where. The words and the shape are in `templates/`; names are escaped there, because they come
//! from gateways.

use super::chart::{Chart, Point};
use super::facts::Site;
use super::glance::{Glance, Today};
use super::question::Question;
use super::report::{First, Line, Of, Report};
use super::rows::{Count, PlaceRow, RuleRow, Table, Tile, classes, fates, rules, tiles, tone};
use super::summary::Sums;
use super::words::{length, number, percent};
use super::{asked::Asked, edge::ends};
use askama::Template;
use std::collections::BTreeMap;
use vigil_core::report::edge::{mean, share};
use vigil_core::time::Date;

/// How many sites can be chosen by a click; of more, their names are typed.
const CLICKED: usize = 200;

/// How many rows a table of a page has: a browser shows some hundreds at once, the CSV has them all.
const ROWS: usize = 200;

/// How many devices are named.
const DEVICES: usize = 50;

/// Which sites and days a page is of, and what else may be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    from: Date,
    to: Date,
    sites: Vec<Offer>,
    /// What was typed, if there are too many sites to click on.
    typed: Option<String>,
    /// Of which sites, in words.
    whose: String,
    /// The chosen sites as the tail of an address.
    tail: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Offer {
    value: String,
    name: String,
    chosen: bool,
}

impl Choice {
    /// What was asked, of all that could be.
    pub fn of(question: &Question, all: &[Site], asked: &Asked) -> Self {
        let named: Vec<String> = question.named().iter().map(ToString::to_string).collect();
        let offer = |site: &Site| Offer {
            value: site.place.to_string(),
            name: site.name.clone(),
            chosen: question.names(&site.place),
        };
        let few = all.len() <= CLICKED;
        let whose = match asked.sites.values().collect::<Vec<_>>().as_slice() {
            [] => "no sites".into(),
            [one] => one.name.clone(),
            some if some.len() == all.len() => format!("all {} sites", some.len()),
            some => format!("{} of {} sites", some.len(), all.len()),
        };
        // An id has only letters that an address may have.
        let tail = named.iter().map(|place| format!("&site={place}")).collect();
        Self {
            from: asked.from,
            to: asked.to,
            sites: if few { all.iter().map(offer).collect() } else { vec![] },
            typed: (!few).then(|| named.join(" ")),
            whose,
            tail,
        }
    }
}

/// How much of what was asked for has come.
fn basis(report: &Report) -> (String, bool) {
    let (came, expected) = (report.total.documents, report.expected());
    let all = usize::try_from(came).is_ok_and(|came| came >= expected);
    let unreadable = match report.unreadable {
        0 => String::new(),
        n => format!("; {n} stored documents cannot be read, see the log"),
    };
    (format!("{came} of {expected} daily reports have come{unreadable}"), all && report.unreadable == 0)
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    menu: &'a str,
    why: &'a str,
}

/// Why there is no page.
pub fn error(menu: &str, why: &str) -> askama::Result<String> {
    ErrorPage { menu, why }.render()
}

#[derive(Template)]
#[template(path = "report.html")]
struct ReportPage<'a> {
    menu: &'a str,
    choice: &'a Choice,
    basis: String,
    whole: bool,
    tiles: Vec<Tile>,
    charts: Vec<Chart>,
    classes: Vec<Count>,
    fates: Vec<Count>,
    rules: Vec<RuleRow>,
    tables: Vec<Table>,
    devices: Vec<DeviceRow>,
}

struct DeviceRow {
    device: String,
    site: String,
    outages: u64,
    down: String,
    clock_wrong: u64,
}

fn devices(report: &Report) -> Vec<DeviceRow> {
    let row = |(site, device, failures): &(Site, _, vigil_core::report::Failures)| DeviceRow {
        device: format!("{device}"),
        site: site.name.clone(),
        outages: failures.outages,
        down: length(failures.down_ms),
        clock_wrong: failures.clock_wrong,
    };
    report.devices.iter().take(DEVICES).map(row).collect()
}

/// Any range of days of any set of sites.
pub fn report(menu: &str, choice: &Choice, report: &Report) -> askama::Result<String> {
    let (basis, whole) = basis(report);
    ReportPage {
        menu,
        choice,
        basis,
        whole,
        tiles: tiles(&report.total),
        charts: vec![
            compliance(&report.days),
            late(&report.days),
            by_hour(&report.total),
            inactive(&report.days),
        ],
        classes: classes(&report.total),
        fates: fates(&report.total),
        rules: rules(&report.total),
        tables: vec![Table::sites(report, ROWS), Table::guards(report, ROWS), Table::days(report)],
        devices: devices(report),
    }
    .render()
}

#[derive(Template)]
#[template(path = "daily.html")]
struct DailyPage<'a> {
    menu: &'a str,
    choice: &'a Choice,
    basis: String,
    whole: bool,
    tiles: Vec<Tile>,
    classes: Vec<Count>,
    rules: Vec<RuleRow>,
    tables: Vec<Table>,
    devices: Vec<DeviceRow>,
}

/// One day, for paper. Of one site it has the guards; of many it has the sites, because a guard is one site's concern.
pub fn daily(menu: &str, choice: &Choice, report: &Report) -> askama::Result<String> {
    let (basis, whole) = basis(report);
    let mut tables = vec![Table::sites(report, usize::MAX)];
    if report.sites.len() == 1 {
        tables.push(Table::guards(report, usize::MAX));
    }
    DailyPage {
        menu,
        choice,
        basis,
        whole,
        tiles: tiles(&report.total),
        classes: classes(&report.total),
        rules: rules(&report.total),
        tables,
        devices: devices(report),
    }
    .render()
}

#[derive(Template)]
#[template(path = "ranking.html")]
struct RankingPage<'a> {
    menu: &'a str,
    choice: &'a Choice,
    basis: String,
    whole: bool,
    of: Of,
    first: First,
    rows: Vec<PlaceRow>,
    all: usize,
}

/// Who stands where.
pub fn ranking(
    menu: &str,
    choice: &Choice,
    report: &Report,
    of: Of,
    first: First,
    limit: usize,
) -> askama::Result<String> {
    let (basis, whole) = basis(report);
    let ranking = report.ranking(of, first);
    let rows = ranking.iter().take(limit).map(PlaceRow::of).collect();
    RankingPage { menu, choice, basis, whole, of, first, rows, all: ranking.len() }.render()
}

#[derive(Template)]
#[template(path = "dashboard.html")]
struct DashboardPage<'a> {
    menu: &'a str,
    choice: &'a Choice,
    basis: String,
    whole: bool,
    now: Vec<Tile>,
    week: Vec<Tile>,
    charts: Vec<Chart>,
    best: Vec<PlaceRow>,
    worst: Vec<PlaceRow>,
    from: Date,
    to: Date,
}

/// How it stands now.
pub fn dashboard(menu: &str, choice: &Choice, glance: &Glance, week: &Report) -> askama::Result<String> {
    let (basis, whole) = basis(week);
    let end = |first| ends(week, first).iter().map(PlaceRow::of).collect();
    let trend = counts("Breaches, by day (today is not over)", &glance.breaches, "low");
    let nights = counts("Alerts, by night", &glance.nights, "plain");
    DashboardPage {
        menu,
        choice,
        basis,
        whole,
        now: of_now(glance),
        week: of_week(glance, week),
        charts: vec![trend, nights, compliance(&week.days)],
        best: end(First::Best),
        worst: end(First::Worst),
        from: week.asked.from,
        to: week.asked.to,
    }
    .render()
}

fn of_now(glance: &Glance) -> Vec<Tile> {
    let today = glance.today();
    let breaches = glance.breaches.last_key_value().map_or(0, |(_, n)| *n);
    vec![
        Tile::fault("Critical tasks overdue", glance.overdue_critical, "alerts that stand now".into()),
        Tile::fault(
            "Breaches today",
            breaches,
            format!("{} in seven days", glance.breaches.values().sum::<u64>()),
        ),
        Tile {
            name: "Runs done today",
            value: format!("{} of {}", today.completed, today.due),
            note: runs_note(today),
            // By what is closed: in the morning nothing is done yet, and nothing is wrong.
            tone: tone(share(today.completed, today.closed)),
        },
        Tile::fault(
            "Mandatory runs missed",
            glance.mandatory.missed,
            format!("of {} in seven days with today", glance.mandatory.closed),
        ),
    ]
}

/// What the number of runs rests on. What a gateway that is silent has scheduled is not known, and that is said.
fn runs_note(today: Today) -> String {
    let done = format!("{} of the {} closed", percent(share(today.completed, today.closed)), today.closed);
    match (today.silent, today.gateways) {
        (0, _) => done,
        (silent, all) if silent == all => format!("{done}; what is scheduled is not known"),
        (silent, all) => format!("{done}; {silent} of {all} gateways have not said what is scheduled"),
    }
}

fn of_week(glance: &Glance, week: &Report) -> Vec<Tile> {
    let (tasks, runs, duty) = (&week.total.figures.tasks, &week.total.figures.runs, week.total.figures.duty);
    let coverage = mean(runs.coverage, runs.closed).map(|percent| percent / 100.0);
    let response = format!("mean of {}; p95 {}", tasks.response.count, number(tasks.response.p95_ratio(), 2));
    let on_duty = format!("of {} on duty", length(duty.on_duty_ms));
    let (deep, others) = (glance.deep_night, glance.other_hours);
    let hours = format!(
        "{} an hour of a site; {} in other hours",
        number(deep.an_hour(), 3),
        number(others.an_hour(), 3)
    );
    vec![
        Tile::plain("Response / SLA", number(tasks.response.mean(), 2), response),
        Tile::rate("Mean coverage", coverage, format!("of {} runs", runs.closed)),
        Tile::rate("Monitoring coverage", share(duty.observed_ms, duty.on_duty_ms), on_duty),
        Tile::plain(
            "Alerts per night",
            number(glance.alerts_a_night(week), 1),
            "of one site, 20:00 to 06:00".into(),
        ),
        Tile::plain("Deep night alerts", deep.alerts.to_string(), hours),
    ]
}

fn counts(title: &str, counts: &BTreeMap<Date, u64>, tone: &'static str) -> Chart {
    let point = |(date, n): (&Date, &u64)| point(date.to_string(), Some(*n), n.to_string(), tone);
    Chart::of(title, counts.iter().map(point).collect(), None)
}

fn point(name: String, count: Option<u64>, words: String, tone: &'static str) -> Point {
    let value = count.map(|n| f64::from(u32::try_from(n).unwrap_or(u32::MAX)));
    Point { name, value, words, tone }
}

fn rates(title: &str, days: &[Line<Date>], rate: impl Fn(&Sums) -> (Option<f64>, &'static str)) -> Chart {
    let points = days.iter().map(|line| {
        let (value, tone) = rate(&line.sums);
        Point { name: line.who.to_string(), value, words: percent(value), tone }
    });
    Chart::of(title, points.collect(), Some((1.0, "100 %".into())))
}

fn compliance(days: &[Line<Date>]) -> Chart {
    rates("Tour compliance, by day", days, |sums| {
        let rate = share(sums.figures.runs.compliant, sums.figures.runs.closed);
        (rate, tone(rate))
    })
}

fn late(days: &[Line<Date>]) -> Chart {
    rates("Tasks not done in time, by day", days, |sums| {
        (share(sums.figures.tasks.overdue, sums.figures.tasks.due), "low")
    })
}

fn inactive(days: &[Line<Date>]) -> Chart {
    let points = days.iter().map(|line| {
        let raised = line.sums.figures.inactivity.raised();
        let known = (line.sums.documents > 0).then_some(raised);
        point(line.who.to_string(), known, raised.to_string(), "plain")
    });
    Chart::of("Inactivity alerts, by day", points.collect(), None)
}

/// The hours of the deep night have another colour, and their name says so.
fn by_hour(sums: &Sums) -> Chart {
    let points = sums.figures.inactivity.by_hour.iter().zip(0..).map(|(n, hour)| {
        let tone = if (1..5).contains(&hour) { "deep" } else { "plain" };
        point(format!("{hour:02}:00"), Some(*n), n.to_string(), tone)
    });
    Chart::of("Inactivity alerts, by hour (01:00 to 05:00 is deep night)", points.collect(), None)
}
