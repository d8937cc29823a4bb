//! The study as JSON for a program: the same figures as the table, in shares and not in percent.

use super::interval::Figure;
use super::scenario::Target;
use super::sweep::Point;
use super::tally::{Row, Tally};
use super::traces::Confusion;
use super::verdict::Promptness;
use serde_json::{Value, json};

/// The rows, the sweep and the totals of a run.
pub fn study(rows: &[Row], points: &[Point], nights: usize, seed: u64) -> Value {
    let all = super::table::everything(rows);
    let [critical, high, medium, low] = all.overdue.map(|p| promptness(&p));
    json!({
        "nights": nights,
        "seed": seed,
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
        "sweep": points.iter().map(point).collect::<Vec<_>>(),
        "tours_missed": promptness(&all.missed),
        "tasks_overdue": { "CRITICAL": critical, "HIGH": high, "MEDIUM": medium, "LOW": low },
    })
}

/// Verdicts against labels.
pub fn confusion(cases: &[(i64, i64, Confusion)]) -> Value {
    let case = |(window, sample, found): &(i64, i64, Confusion)| {
        let label = |row: [u64; 3], summed: u64| json!({ "active": row[0], "inactive": row[1], "unobserved": row[2], "summed_moving": summed });
        json!({
            "window_min": window,
            "sample_s": sample,
            "still": label(found.still, found.summed_moving[0]),
            "walk": label(found.walk, found.summed_moving[1]),
        })
    };
    cases.iter().map(case).collect()
}

fn row(row: &Row) -> Value {
    let target = row.scenario.target.map(|t| match t {
        Target::Found(least) => json!({ "found_at_least": least }),
        Target::AlertsEachNight(below) => json!({ "false_alerts_each_night_below": below }),
        Target::NightsWith(below) => json!({ "nights_with_false_alert_below": below }),
    });
    let reached = row.scenario.target.and_then(|t| row.ours.reaches(t)).map(|(_, reached)| reached);
    json!({
        "key": row.scenario.key,
        "title": row.scenario.title,
        "target": target,
        "reached": reached,
        "ours": tally(&row.ours),
        "classic": tally(&row.classic),
    })
}

fn tally(t: &Tally) -> Value {
    let sleepers = (t.sleepers > 0).then(|| {
        json!({
            "count": t.sleepers,
            "found": t.found,
            "detection": figure(t.detection()),
            "minutes_median": figure(t.delay(0.5)),
            "minutes_p90": figure(t.delay(0.9)),
            "any_word": figure(t.any_word()),
        })
    });
    json!({
        "nights": t.nights,
        "duty_hours": t.duty_hours,
        "sleepers": sleepers,
        "false_alerts": t.false_alerts,
        "withdrawn": t.withdrawn,
        "false_alerts_each_night": figure(t.alerts_each_night()),
        "nights_with_false_alert": figure(t.nights_with_alert()),
    })
}

fn point(p: &Point) -> Value {
    json!({
        "rule": format!("{:?}", p.family).to_lowercase(),
        "threshold": f64::from(p.threshold) / 1_000.0,
        "deep": figure(Some(p.deep)),
        "regular": figure(Some(p.regular)),
        "nights_with_false_alert": figure(Some(p.nights_with)),
        "post_nights_with_false_alert": figure(Some(p.post)),
    })
}

fn promptness(p: &Promptness) -> Value {
    json!({ "were": p.were, "told": p.told, "within_settle_and_a_second": p.in_time, "slowest_ms": p.slowest_ms })
}

fn figure(figure: Option<Figure>) -> Option<Value> {
    figure.map(|f| json!({ "value": f.value, "low": f.low, "high": f.high }))
}
