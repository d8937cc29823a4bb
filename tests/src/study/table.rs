//! The study as text for a person.

use super::calibration::{Habit, of_model, of_traces, two_hours_at_rest};
use super::figures::{Columns, for_a_hundred, minutes, percent};
use super::interval::{float, rate, share};
use super::receiver::Make;
use super::scenario::{Part, Target};
use super::sweep::Point;
use super::tally::{Row, Tally};
use super::traces::{Confusion, Labelled};
use super::verdict::Promptness;
use std::collections::BTreeSet;
use vigil_core::alert::Rule;

/// The accuracy that still proves stillness on the site of the study: (300 - 15) / 2.
const STUDY_BOUND_M: f64 = 142.5;

/// Every part of the table, one below the other.
pub fn study(rows: &[Row]) -> String {
    let parts = [Part::Sleepers, Part::Honest, Part::Breaks, Part::Equipment, Part::Further];
    let sleepers = |part: Part| rows.iter().filter(move |r| r.scenario.part == part && r.ours.sleepers > 0);
    let mut text = "Sleepers found by an inactivity alert while asleep\n\n".to_owned();
    text += &found(sleepers(Part::Sleepers).chain(sleepers(Part::Further)));
    text += "\nMinutes from falling asleep to the alert, of those found\n\n";
    text += &delays(sleepers(Part::Sleepers).chain(sleepers(Part::Further)));
    text += "\nFalse inactivity alerts, of guards who did not sleep without leave\n\n";
    text += &false_alerts(&parts, rows);
    text += "\nTours and tasks, all nights of all rows under our rule\n\n";
    text += &promptness(rows);
    text += "\nEvery alert of our rules in a hundred nights without a sleeper\n\n";
    text += &every_alert(rows);
    text += "\nTargets\n\n";
    text += &targets(rows);
    text
}

fn found<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    let mut columns = Columns::new(&[
        "nights",
        "n",
        "ours",
        "classic",
        "ours: any word",
        "ours, fused phones",
        "ours, satellite phones",
        "ours: alert while awake",
        "already standing",
    ]);
    for row in rows {
        let make = |n: usize| percent(share(row.ours.by_make[n].1, row.ours.by_make[n].0));
        columns.row([
            row.scenario.title.into(),
            row.ours.sleepers.to_string(),
            percent(row.ours.detection()),
            percent(row.classic.detection()),
            percent(row.ours.any_word()),
            make(0),
            make(1),
            percent(row.ours.nights_with_alert()),
            row.ours.already.to_string(),
        ]);
    }
    columns.text()
}

fn delays<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    let mut columns = Columns::new(&[
        "nights",
        "ours: median",
        "ours: p90",
        "classic: median",
        "classic: p90",
        "any word: median",
    ]);
    for row in rows {
        columns.row([
            row.scenario.title.into(),
            minutes(row.ours.delay(0.5)),
            minutes(row.ours.delay(0.9)),
            minutes(row.classic.delay(0.5)),
            minutes(row.classic.delay(0.9)),
            minutes(super::interval::quantile(&row.ours.first_word, 0.5)),
        ]);
    }
    columns.text()
}

fn false_alerts(parts: &[Part], rows: &[Row]) -> String {
    let mut columns = Columns::new(&[
        "nights",
        "n",
        "ours: a hundred nights",
        "ours: nights with one",
        "withdrawn",
        "classic: a hundred nights",
        "classic: nights with one",
    ]);
    let mut line = |title: &str, ours: &Tally, classic: &Tally| {
        columns.row([
            title.into(),
            ours.nights.to_string(),
            for_a_hundred(ours.alerts_each_night()),
            percent(ours.nights_with_alert()),
            ours.withdrawn.to_string(),
            for_a_hundred(classic.alerts_each_night()),
            percent(classic.nights_with_alert()),
        ]);
    };
    for part in parts {
        let of_part: Vec<&Row> =
            rows.iter().filter(|r| r.scenario.part == *part && r.ours.sleepers == 0).collect();
        of_part.iter().for_each(|r| line(r.scenario.title, &r.ours, &r.classic));
        if matches!(part, Part::Breaks | Part::Equipment) {
            let sum =
                |of: fn(&Row) -> &Tally| of_part.iter().fold(Tally::default(), |sum, r| sum.with(of(r)));
            line(&format!("{}: together", part.title()), &sum(|r| &r.ours), &sum(|r| &r.classic));
        }
    }
    columns.text()
}

/// Every row under our rule, together.
pub fn everything(rows: &[Row]) -> Tally {
    rows.iter().fold(Tally::default(), |sum, r| sum.with(&r.ours))
}

fn promptness(rows: &[Row]) -> String {
    let all = everything(rows);
    let mut columns = Columns::new(&["what", "were", "told", "share", "within settle + 1 s", "slowest, s"]);
    let mut line = |what: &str, p: &Promptness| {
        columns.row([
            what.into(),
            p.were.to_string(),
            p.told.to_string(),
            percent(share(u64::from(p.told), u64::from(p.were))),
            percent(share(u64::from(p.in_time), u64::from(p.were))),
            format!("{:.3}", std::time::Duration::from_millis(p.slowest_ms.unsigned_abs()).as_secs_f64()),
        ]);
    };
    line("tours that were missed", &all.missed);
    for (priority, p) in ["CRITICAL", "HIGH", "MEDIUM", "LOW"].iter().zip(&all.overdue) {
        line(&format!("{priority} tasks that were overdue"), p);
    }
    columns.text()
        + &format!(
            "\nTours begun in time whose alert still stands at the end of the night: {}, and {} that say \"observed\": false\n",
            all.wronged.0, all.wronged.1
        )
}

/// What else a control room hears in these nights.
fn every_alert(rows: &[Row]) -> String {
    let parts = [Part::Honest, Part::Breaks, Part::Equipment];
    let sum = |part: Part| {
        let of_part = rows.iter().filter(|r| r.scenario.part == part);
        of_part.fold(Tally::default(), |sum, r| sum.with(&r.ours))
    };
    let sums = parts.map(sum);
    let rules: BTreeSet<Rule> = sums.iter().flat_map(|s| s.alerts.keys().copied()).collect();
    let mut columns = Columns::new(&["rule", "honest", "breaks", "equipment fails"]);
    for rule in rules {
        let [honest, breaks, equipment] = &sums;
        let figure = |t: &Tally| {
            for_a_hundred(rate(t.alerts.get(&rule).copied().unwrap_or_default(), float(t.nights)))
        };
        columns.row([rule.to_string(), figure(honest), figure(breaks), figure(equipment)]);
    }
    columns.text()
}

fn targets(rows: &[Row]) -> String {
    let mut columns = Columns::new(&["nights", "asked", "ours", "reached", "whole interval", "classic"]);
    for row in rows {
        let Some(target) = row.scenario.target else { continue };
        let (Some((ours, reached)), Some((classic, _))) =
            (row.ours.reaches(target), row.classic.reaches(target))
        else {
            continue;
        };
        let (asked, within): (String, bool) = match target {
            Target::Found(least) => (format!("at least {:.0} % found", 100.0 * least), ours.low >= least),
            Target::AlertsEachNight(below) => {
                (format!("below {:.0} alert in 100 nights", 100.0 * below), ours.high < below)
            }
            Target::NightsWith(below) => {
                (format!("below {:.0} % of nights with one", 100.0 * below), ours.high < below)
            }
        };
        let text = |f| {
            if matches!(target, Target::AlertsEachNight(_)) {
                for_a_hundred(Some(f))
            } else {
                percent(Some(f))
            }
        };
        let yes = |b: bool| if b { "yes" } else { "NO" }.to_owned();
        columns.row([row.scenario.title.into(), asked, text(ours), yes(reached), yes(within), text(classic)]);
    }
    columns.text()
}

/// The sweep of the threshold.
pub fn sweep(points: &[Point]) -> String {
    let mut columns = Columns::new(&[
        "rule",
        "threshold",
        "deep night",
        "regular night",
        "false: nights with tours",
        "false: post, no tours",
    ]);
    for p in points {
        columns.row([
            format!("{:?}", p.family).to_lowercase(),
            format!("0.{:03}", p.threshold).replace("0.1000", "1.000"),
            percent(Some(p.deep)),
            percent(Some(p.regular)),
            percent(Some(p.nights_with)),
            percent(Some(p.post)),
        ]);
    }
    format!("Thresholds: sleepers found, and nights with a false alert\n\n{}", columns.text())
}

/// Verdicts against labels.
pub fn confusion(cases: &[(i64, i64, Confusion)]) -> String {
    let mut columns = Columns::new(&[
        "label",
        "window, min",
        "sampled, s",
        "windows",
        "ACTIVE",
        "INACTIVE",
        "UNOBSERVED",
        "summed: moving",
    ]);
    for (window, sample, found) in cases {
        for (label, walks) in [("still", false), ("walk", true)] {
            let row = if walks { found.walk } else { found.still };
            let [active, inactive, unobserved] = found.shares(walks).map(percent);
            columns.row([
                label.into(),
                window.to_string(),
                sample.to_string(),
                row.iter().sum::<u64>().to_string(),
                active,
                inactive,
                unobserved,
                percent(found.summed(walks)),
            ]);
        }
    }
    let note = "Windows of one phone overlap: the intervals are too narrow by that, and say nothing of other phones.\n";
    format!("Movement against the labels of the traces\n\n{}\n{note}", columns.text())
}

/// The model of phones beside the traces.
pub fn calibration(traces: &[Labelled], seed: u64) -> String {
    const PHONES: usize = 400;
    let mut columns = Columns::new(&[
        "phones",
        "n",
        "usable",
        "repeats",
        "stated p10/50/90, m",
        "off/stated p50/90",
        "summed, m/h",
        "summed: still",
        "20 min: moving/still/unknown, %",
    ]);
    let mut line = |what: &str, habit: Option<Habit>| {
        let Some(h) = habit else { return };
        let [p10, p50, p90] = h.stated_m;
        let [moving, still, unknown] = h.states.map(|s| 100.0 * s);
        columns.row([
            what.into(),
            h.phones.to_string(),
            format!("{:.2}", h.usable),
            format!("{:.2}", h.repeats),
            format!("{p10:.0}/{p50:.0}/{p90:.0}"),
            format!("{:.2}/{:.2}", h.off[0], h.off[1]),
            format!("{:.0}", h.summed_m_an_hour),
            format!("{:.2}", h.summed_still),
            format!("{moving:.0}/{still:.0}/{unknown:.0}"),
        ]);
    };
    line("traces, still", of_traces(traces, false));
    line("model, fused, still", of_model(Make::Fused, false, PHONES, seed));
    line("model, satellite, still", of_model(Make::Satellite, false, PHONES, seed));
    line("traces, walk", of_traces(traces, true));
    line("model, fused, walk", of_model(Make::Fused, true, PHONES, seed));
    line("model, satellite, walk", of_model(Make::Satellite, true, PHONES, seed));
    let mut text = format!("The model of phones beside the traces\n\n{}\n", columns.text());
    for (make, name) in [(Make::Fused, "fused"), (Make::Satellite, "satellite")] {
        let n = two_hours_at_rest(make, PHONES, seed, STUDY_BOUND_M);
        let all = float(n.iter().sum::<u64>());
        let [moving, still, unknown] = n.map(|n| 100.0 * float(n) / all);
        text += &format!(
            "A {name} phone of the model at rest for 120 min, sampled every 60 s: moving {moving:.1} %, still {still:.1} %, unknown {unknown:.1} %\n"
        );
    }
    text
}
