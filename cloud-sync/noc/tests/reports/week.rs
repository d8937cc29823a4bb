//! Three sites of two tenants for eight days, 2 to 9 March 2026, with numbers that can be added up by hand; and an
//! operations centre at which it is noon in India on the 10th.
//!
//! | a day of | Plant 7 (India) | the yard (India) | the mill (New York) |
//! | --- | --- | --- | --- |
//! | runs | 4 compliant; 3 on the 8th, 2 on the 9th | 1 compliant, 1 with its guard absent | 1 compliant |
//! | tasks | 5 in time; 1 of them late on the 9th | none | 1 just in time, 1 not done |
//! | inactivity | at 02:00; at 22:00 too on the 3rd | none | none |
//! | on duty, observed | 20 h, 18 h | 10 h, 5 h | 10 h, 10 h |
//!
//! Of the yard there is no report of the 5th.

use chrono_tz::Tz;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use vigil_core::alert::{Severity, Status};
use vigil_core::id::{GatewayId, TenantId};
use vigil_core::roster::DueRuns;
use vigil_core::time::{Date, LocalTime, Timestamp};
use vigil_noc::reports::{
    AlertHead, Asked, DayDocument, NoSource, Place, Plan, ReportSource, RunDocument, Site,
};

/// The name of the yard, as somebody might give it who means no good.
pub const YARD: &str = "=Yard <script>alert(1)</script>";

/// Who reads: a person of one tenant, or of the operations centre, who sees all.
#[derive(Clone)]
pub struct Reader(pub Option<TenantId>);

/// The ledger of that week; it notes what it was asked.
#[derive(Clone, Default)]
pub struct Week {
    pub asked: Arc<Mutex<Vec<Asked>>>,
    /// Documents beside those of the week.
    pub more: Vec<DayDocument>,
    pub broken: bool,
}

pub fn now() -> Timestamp {
    Timestamp::parse("2026-03-10T12:00:00+05:30").unwrap()
}

pub fn place(text: &str) -> Place {
    Place::parse(text).unwrap()
}

pub fn date(day: u32) -> Date {
    format!("2026-03-{day:02}").parse().unwrap()
}

pub fn sites() -> Vec<Site> {
    let site = |text, name: &str, timezone| Site { place: place(text), name: name.into(), timezone };
    vec![
        site("acme/plant-7", "Plant 7", Tz::Asia__Kolkata),
        site("acme/yard-2", YARD, Tz::Asia__Kolkata),
        site("bolt/mill-1", "Mill", Tz::America__New_York),
    ]
}

fn gateway(id: &str) -> GatewayId {
    GatewayId::new(id).unwrap()
}

/// At the plant five runs are due today, at the mill one. The plant's second gateway says nothing, and the yard was last
/// heard on the day before.
fn plans() -> Vec<Plan> {
    let plan = |at: &str, id: &str, said: Option<(u32, u64)>| Plan {
        place: place(at),
        gateway: gateway(id),
        runs: said.map(|(day, scheduled)| DueRuns { date: date(day), scheduled }),
    };
    vec![
        plan("acme/plant-7", "gw-1", Some((10, 5))),
        plan("acme/plant-7", "gw-2", None),
        plan("acme/yard-2", "gw-1", Some((9, 40))),
        plan("bolt/mill-1", "gw-1", Some((10, 1))),
    ]
}

pub fn document(at: &str, day: u32, data: &Value) -> DayDocument {
    DayDocument { place: place(at), gateway: gateway("gw-1"), date: date(day), data: data.to_string() }
}

fn runs(compliant: u64, closed: u64) -> Value {
    json!({"closed": closed, "compliant": compliant, "observed": closed, "coverage": 100 * compliant})
}

fn duty(hours: u64, observed: u64) -> Value {
    json!({"on_duty_ms": hours * 3_600_000, "observed_ms": observed * 3_600_000})
}

fn plant(day: u32) -> DayDocument {
    let (sum, late, percents) = match day {
        9 => (3_500, 1, json!({"50": 4, "150": 1})),
        _ => (2_800, 0, json!({"50": 4, "80": 1})),
    };
    let tour = |compliant: u64, breach: u64, partial: u64, missed: u64, coverage: u64| {
        json!({"closed": 4, "compliant": compliant, "sla_breach": breach, "partial_completion": partial,
            "not_started": missed, "missed": missed, "observed": 4, "coverage": coverage})
    };
    let (all, second) = match day {
        8 => (tour(3, 1, 0, 0, 400), runs(1, 2)),
        9 => (tour(2, 0, 1, 1, 250), runs(0, 2)),
        _ => (tour(4, 0, 0, 0, 400), runs(2, 2)),
    };
    let mut by_hour = [0; 24];
    by_hour[2] = 1;
    by_hour[22] = u64::from(day == 3);
    let raised = if day == 3 { 2_u64 } else { 1 };
    let longest = if day == 4 { 60_000 } else { 5_000 };
    let ends = match day {
        2 => json!({"confirmed": 1}),
        3 => json!({"resolved": 1, "false_positive": 1}),
        _ => json!({"resolved": 1}),
    };
    let mut inactive = json!({"raised": raised,
        "detection": {"count": raised, "sum_ms": longest + 5_000 * (raised - 1), "longest_ms": longest},
        "resolution": {"count": raised, "sum_ms": 600_000 * raised, "longest_ms": 600_000}});
    inactive.as_object_mut().unwrap().extend(ends.as_object().unwrap().clone());
    let blind = match day {
        // One interval of an hour, cut at midnight.
        4 => json!([["2026-03-04T18:00:00.000Z", "2026-03-04T18:30:00.000Z"]]),
        5 => json!([["2026-03-04T18:30:00.000Z", "2026-03-04T19:00:00.000Z"]]),
        _ => json!([]),
    };
    let total = json!({
        "tasks": {"due": 5, "completed": 5, "overdue": late, "response": {"count": 5, "sum_permille": sum, "percents": percents}},
        "runs": all, "inactivity": {"by_hour": by_hour, "deep_night": 1}, "alerts": {"inactivity": inactive}, "duty": duty(20, 18)});
    let guards = json!({"G-1": {"runs": runs(2, 2), "duty": duty(10, 10)}, "G-2": {"runs": second, "duty": duty(9, 7)},
        "G-9": {"duty": duty(1, 1)}});
    document(
        "acme/plant-7",
        day,
        &json!({"date": date(day), "total": total, "guards": guards, "blind": blind}),
    )
}

fn yard(day: u32) -> DayDocument {
    let all =
        json!({"closed": 2, "compliant": 1, "guard_absent": 1, "missed": 1, "observed": 1, "coverage": 100});
    let devices = json!({"hs-3": {"outages": 1, "down_ms": 1_200_000}});
    let guards = json!({"G-2": {"runs": runs(1, 1), "duty": duty(10, 5)}});
    document(
        "acme/yard-2",
        day,
        &json!({"total": {"runs": all, "duty": duty(10, 5)}, "guards": guards, "devices": devices}),
    )
}

fn mill(day: u32) -> DayDocument {
    let response = json!({"count": 1, "sum_permille": 1_000, "percents": {"100": 1}});
    let tasks = json!({"due": 2, "completed": 1, "overdue": 1, "response": response});
    // Another person than the G-1 of acme.
    let guards = json!({"G-1": {"runs": runs(1, 1), "duty": duty(10, 10)}});
    document(
        "bolt/mill-1",
        day,
        &json!({"total": {"tasks": tasks, "runs": runs(1, 1), "duty": duty(10, 10)}, "guards": guards}),
    )
}

fn run(at: &Site, day: u32, hour: u16, mandatory: bool, completed: bool) -> (Timestamp, RunDocument) {
    let scheduled_at = LocalTime::hour(hour).on(date(day), at.timezone);
    let (status, compliance) = if completed { ("COMPLETED", "COMPLIANT") } else { ("MISSED", "NOT_STARTED") };
    let data = json!({"tour": "stores", "mandatory": mandatory, "scheduled_at": scheduled_at, "status": status,
        "compliance": compliance, "coverage": if completed { 100 } else { 0 }});
    (scheduled_at, RunDocument { place: at.place.clone(), gateway: gateway("gw-1"), data: data.to_string() })
}

/// One mandatory run at each site and day, at ten in the evening: the yard misses all, the plant the last. Three today.
fn tours() -> Vec<(Timestamp, RunDocument)> {
    let sites = sites();
    let (plant, yard, mill) = (&sites[0], &sites[1], &sites[2]);
    let evening = |day| {
        [run(plant, day, 22, true, day != 9), run(yard, day, 22, true, false), run(mill, day, 22, true, true)]
    };
    let today =
        [run(plant, 10, 1, true, true), run(plant, 10, 2, false, true), run(plant, 10, 3, true, false)];
    (2..10).flat_map(evening).chain(today).collect()
}

fn alert(at: &str, rule: &str, severity: Severity, status: Status, detected_at: &str) -> AlertHead {
    let detected_at = Timestamp::parse(detected_at).unwrap();
    AlertHead {
        place: place(at),
        rule: rule.into(),
        severity,
        status,
        detected_at,
        cleared_at: None,
        closed_at: None,
        guard: None,
        deep_night: None,
    }
}

fn alerts() -> Vec<AlertHead> {
    use Severity::{Critical, High, Low, Medium};
    use Status::{Confirmed, Detected, FalsePositive, Resolved};
    let (plant, yard, mill) = ("acme/plant-7", "acme/yard-2", "bolt/mill-1");
    let old = "2026-01-01T00:00:00Z";
    let cleared =
        AlertHead { cleared_at: Some(now()), ..alert(plant, "task_overdue", Critical, Detected, old) };
    // Its evidence says so; of the others the clock tells.
    let evidence = AlertHead {
        deep_night: Some(true),
        ..alert(plant, "inactivity", High, Resolved, "2026-03-05T02:00:00+05:30")
    };
    vec![
        alert(plant, "task_overdue", Critical, Confirmed, old),
        cleared,
        alert(plant, "task_overdue", High, Detected, old),
        alert(plant, "task_overdue", Critical, FalsePositive, old),
        alert(yard, "task_overdue", Critical, Detected, "2026-03-10T10:00:00+05:30"),
        alert(plant, "tour_missed", High, Resolved, "2026-03-09T22:30:00+05:30"),
        alert(plant, "tour_missed", High, Detected, "2026-03-10T03:30:00+05:30"),
        alert(yard, "tour_missed", High, FalsePositive, "2026-03-08T22:30:00+05:30"),
        alert(mill, "tour_partial", Medium, Resolved, "2026-03-08T23:00:00-04:00"),
        evidence,
        alert(plant, "device_silent", Medium, Resolved, "2026-03-06T04:59:59+05:30"),
        alert(plant, "rule_of_next_year", Low, Detected, "2026-03-07T12:00:00+05:30"),
    ]
}

impl Week {
    fn answer<T>(&self, asked: &Asked, all: Vec<T>) -> Result<Vec<T>, NoSource> {
        self.asked.lock().unwrap().push(asked.clone());
        if self.broken { Err(NoSource("the disk is gone".into())) } else { Ok(all) }
    }
}

impl ReportSource for Week {
    type Reader = Reader;

    async fn sites(&self, reader: &Reader) -> Result<Vec<Site>, NoSource> {
        let sees = |site: &Site| reader.0.as_ref().is_none_or(|tenant| *tenant == site.place.tenant);
        Ok(sites().into_iter().filter(sees).collect())
    }

    async fn days(&self, asked: &Asked) -> Result<Vec<DayDocument>, NoSource> {
        let yards = (2..10).filter(|day| *day != 5).map(yard);
        let all = (2..10).map(plant).chain(yards).chain((2..10).map(mill)).chain(self.more.clone());
        self.answer(asked, all.collect())
    }

    async fn runs(&self, asked: &Asked) -> Result<Vec<RunDocument>, NoSource> {
        let (from, to) = asked.instants();
        let within = |(at, run)| (from..to).contains(&at).then_some(run);
        self.answer(asked, tours().into_iter().filter_map(within).collect())
    }

    async fn plans(&self, asked: &Asked) -> Result<Vec<Plan>, NoSource> {
        self.answer(asked, plans())
    }

    async fn alerts(&self, asked: &Asked) -> Result<Vec<AlertHead>, NoSource> {
        self.answer(asked, alerts())
    }
}
