//! What must be so of every night full of scans, in whatever order they come.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use vigil_core::alert::{Alert, AlertId, Rule};
use vigil_core::engine::{Commit, Engine, Record};
use vigil_core::observation::{Attendance, AttendanceAction, Kind, Observation};
use vigil_core::rules::compliance::RunRecord;
use vigil_core::site::{Site, TourType};
use vigil_core::time::{Span, Timestamp};
use vigil_tests::night::{Night, at, id, mins, plant_7, secs, tour, with_policy};

/// A tap of a guard on a checkpoint: who, where, and at which millisecond after 20:40.
type Tap = (u8, u8, i64);

/// Three tours that share checkpoints and overlap: an ordered one of nobody, a hasty one of G-7, and one for which
/// half is enough.
fn site() -> Arc<Site> {
    let mut parts = plant_7();
    let starts = ["21:00", "21:20", "22:00"];
    let mut ordered = tour("ordered", &starts, mins(15));
    (ordered.ordered, ordered.checkpoints) = (true, vec![id("cp-0"), id("cp-1"), id("cp-2")]);
    let mut own = tour("own", &starts, mins(20));
    (own.guard, own.min_dwell) = (Some(id("G-7")), Some(secs(40)));
    own.checkpoints = vec![id("cp-1"), id("cp-3"), id("cp-4"), id("cp-5")];
    let mut gate = tour("gate", &["21:10"], mins(10));
    (gate.kind, gate.checkpoints) = (TourType::Critical, vec![id("cp-0"), id("cp-5")]);
    parts.tours = vec![ordered, own, gate];
    with_policy(&mut parts, |p| p.tours.grace = mins(10));
    Arc::new(Site::new(parts).unwrap())
}

fn taps() -> impl Strategy<Value = Vec<Tap>> {
    // Whole seconds now and then, so that scans coincide; the runs lie between 20:45 and 22:30.
    let when = prop_oneof![0..120_i64 * 60_000, (0..120_i64).prop_map(|m| m * 60_000)];
    prop::collection::vec((7_u8..9, 0_u8..6, when), 0..40)
}

fn scan((guard, place, after): Tap, received_at: Timestamp) -> Observation {
    let at = at("20:40") + Span::from_millis(after);
    let event = format!("{guard}{place}{after}");
    let kind = Night::tag_of(&format!("cp-{place}"));
    Observation::new(id(&format!("hs-{guard}")), at, received_at.max(at), Some(&event), kind)
}

/// The taps, each received so many milliseconds after it was made.
fn told(taps: &[Tap], delays: &[i64]) -> Vec<Observation> {
    let delays = delays.iter().copied().chain(std::iter::repeat(0));
    let received = |(tap, delay): (&Tap, i64)| {
        scan(*tap, at("20:40") + Span::from_millis(tap.2) + Span::from_millis(delay))
    };
    let mut all: Vec<Observation> = taps.iter().zip(delays).map(received).collect();
    all.sort_by_key(|o| o.received_at);
    all
}

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    alerts: BTreeMap<AlertId, Alert>,
    runs: BTreeMap<(String, Timestamp), RunRecord>,
}

impl Outcome {
    fn take(&mut self, commit: Commit) {
        for alert in commit.effects.alerts {
            self.alerts.insert(alert.id, alert);
        }
        for record in commit.effects.records {
            if let Record::Run(run) = record {
                self.runs.insert((run.tour.to_string(), run.scheduled_at), *run);
            }
        }
    }

    /// What an alert says, but not in how many steps it came to say it.
    fn verdicts(&self) -> Vec<Alert> {
        let tours = [Rule::TourMissed, Rule::TourPartial, Rule::TourAtRisk, Rule::TourSequence];
        let of_tours = self.alerts.values().filter(|a| tours.contains(&a.rule)).cloned();
        let plain = |a: Alert| Alert { revision: 0, updated_at: a.detected_at, history: vec![], ..a };
        of_tours.map(plain).collect()
    }

    /// What the log says of the scans, and not of how they were heard.
    fn log(&self) -> Vec<RunRecord> {
        let plain = |r: RunRecord| RunRecord { revision: 0, observed: false, ..r };
        self.runs.values().cloned().map(plain).collect()
    }
}

fn begun() -> Engine {
    let mut engine = Engine::new(site(), at("19:55"));
    for guard in ["G-7", "G-8"] {
        let attendance =
            Attendance { action: AttendanceAction::CheckIn, guard: id(guard), biometric_permille: None };
        let device = Night::handset(guard);
        let kind = Kind::Attendance(attendance);
        engine.on_observation(Observation::new(id(&device), at("20:00"), at("20:00"), None, kind));
    }
    engine
}

fn play(observations: &[Observation], mut between: impl FnMut(Engine) -> Engine) -> (Engine, Outcome) {
    let (mut engine, mut outcome) = (begun(), Outcome::default());
    for observation in observations {
        outcome.take(engine.on_observation(observation.clone()));
        engine = between(engine);
    }
    outcome.take(engine.on_deadline(at("23:00")));
    (engine, outcome)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arrival_inside_settle_changes_nothing(
        taps in taps(), delays in prop::collection::vec(0_i64..5_000, 40), others in prop::collection::vec(0_i64..5_000, 40),
    ) {
        let (_, a) = play(&told(&taps, &delays), |engine| engine);
        let (_, b) = play(&told(&taps, &others), |engine| engine);
        prop_assert_eq!(a.verdicts(), b.verdicts());
        prop_assert_eq!(&a.runs, &b.runs, "the log to the revision");
    }

    /// What was told late brings the log to where it would be had it been told at once, and raises nothing.
    #[test]
    fn late_scans_correct_the_log_and_raise_nothing(
        live in taps(), late in taps(), mut order in prop::collection::vec(any::<u64>(), 40),
    ) {
        let (mut engine, mut outcome) = play(&told(&live, &[]), |engine| engine);
        let known: Vec<AlertId> = outcome.alerts.keys().copied().collect();
        let mut backlog: Vec<(u64, Tap)> = late.iter().map(|tap| (order.pop().unwrap_or(0), *tap)).collect();
        backlog.sort_unstable();
        for (_, tap) in backlog {
            outcome.take(engine.on_observation(scan(tap, at("23:00"))));
        }
        outcome.take(engine.on_deadline(at("23:00") + secs(5)));
        let raised: Vec<_> = outcome.alerts.keys().filter(|id| !known.contains(id)).collect();
        prop_assert_eq!(raised, Vec::<&AlertId>::new());
        let all: Vec<Tap> = live.into_iter().chain(late).collect();
        let (_, at_once) = play(&told(&all, &[]), |engine| engine);
        prop_assert_eq!(outcome.log(), at_once.log());
    }

    /// Sequences and warnings are withdrawn by what all of a backlog says, in whatever order it is told.
    #[test]
    fn the_order_of_a_backlog_does_not_matter(live in taps(), late in taps(), seed in any::<u64>()) {
        let play_late = |late: &[Tap]| {
            let (mut engine, mut outcome) = play(&told(&live, &[]), |engine| engine);
            for tap in late {
                outcome.take(engine.on_observation(scan(*tap, at("23:00"))));
            }
            // Whether somebody could have heard of a run is looked at again within the hour.
            outcome.take(engine.on_deadline(at("00:10")));
            let settled = [Rule::TourAtRisk, Rule::TourSequence];
            let alerts: Vec<Alert> = outcome.alerts.into_values().filter(|a| settled.contains(&a.rule)).collect();
            let plain = |r: RunRecord| RunRecord { revision: 0, ..r };
            let log: Vec<RunRecord> = outcome.runs.into_values().map(plain).collect();
            (alerts, log)
        };
        let mut shuffled = late.clone();
        shuffled.sort_by_key(|(g, p, t)| (t.unsigned_abs() ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(*g * 8 + *p));
        prop_assert_eq!(play_late(&late), play_late(&shuffled));
    }

    #[test]
    fn a_restart_after_every_scan_changes_nothing(taps in taps(), delays in prop::collection::vec(0_i64..9_000, 40)) {
        let observations = told(&taps, &delays);
        let (_, straight) = play(&observations, |engine| engine);
        let (_, restarted) = play(&observations, |engine| {
            let snapshot = engine.snapshot().unwrap();
            Engine::restore(Arc::clone(engine.site()), &snapshot).unwrap()
        });
        prop_assert_eq!(straight, restarted);
    }

    #[test]
    fn there_is_one_alert_of_a_kind_for_a_run(taps in taps(), delays in prop::collection::vec(0_i64..600_000, 40)) {
        let (_, outcome) = play(&told(&taps, &delays), |engine| engine);
        let mut seen = BTreeMap::new();
        for alert in outcome.verdicts() {
            prop_assert_eq!(seen.insert((alert.rule, alert.subject.clone()), alert.id), None);
        }
        let closed = outcome.runs.len();
        prop_assert_eq!(closed, 7, "every run is in the log");
    }
}

/// Two scans come the other way round: the second goes to another run after all, and the alert of the run that had it
/// for a while stands.
#[test]
fn a_scan_that_goes_to_another_run_after_all_clears_nothing() {
    let stands = |scans: [(&str, &str, &str, &str); 2]| {
        let mut night = Night::on_plant_7(|parts| {
            let mut own = tour("own", &["21:00"], mins(15));
            (own.guard, own.checkpoints) = (Some(id("G-7")), vec![id("cp-0"), id("cp-1")]);
            let mut shared = tour("shared", &["21:00"], mins(20));
            shared.checkpoints = vec![id("cp-1"), id("cp-2"), id("cp-3")];
            parts.tours = vec![own, shared];
        });
        night.check_in(at("20:00"), "G-7");
        night.check_in(at("20:00:10"), "G-8");
        for (when, heard, guard, place) in scans {
            night.scan_late(at(when), at(heard), guard, place);
        }
        night.until(at("23:00"));
        let missed = night.alerts_of(Rule::TourMissed);
        let own = missed.iter().find(|a| a.subject.to_string().starts_with("run:own")).unwrap();
        let scanned = night.runs().iter().rev().find(|r| r.tour.as_str() == "own").unwrap().scanned.len();
        (own.cleared_at, own.escalated, scanned)
    };
    let (first, second) = (("21:31:05", "21:31:10", "G-8", "cp-2"), ("21:31:06", "21:31:10", "G-7", "cp-1"));
    assert_eq!(stands([first, second]), (None, true, 0));
    assert_eq!(stands([second, first]), (None, true, 0));
    // It is told when somebody should have answered long ago.
    let late = ("21:31:05", "21:50", "G-8", "cp-2");
    assert_eq!(stands([second, late]), (None, true, 0));
}

/// The storm of which a missed tour was one is over when a scan turns out to be another run's: nobody tells of that tour
/// any more but its own alert.
#[test]
fn a_tour_that_stands_as_missed_again_after_its_storm_is_told_by_itself() {
    let mut night = Night::on_plant_7(|parts| {
        let mut own = tour("own", &["21:00"], mins(15));
        (own.guard, own.checkpoints) = (Some(id("G-7")), vec![id("cp-0"), id("cp-1")]);
        let mut shared = tour("shared", &["21:00"], mins(20));
        shared.checkpoints = vec![id("cp-1"), id("cp-2"), id("cp-3")];
        let others = (0..24).map(|n| {
            let mut other = tour(&format!("f-{n:02}"), &["21:00"], mins(20));
            other.checkpoints = vec![id("cp-5")];
            other
        });
        parts.tours = others.chain([own, shared]).collect();
    });
    night.check_in(at("20:00"), "G-7");
    night.check_in(at("20:00:10"), "G-8");
    night.scan_late(at("21:31:06"), at("21:31:10"), "G-7", "cp-1");
    for n in 0..24 {
        night.scan(at("21:33") + secs(5 * n), "G-8", "cp-5");
    }
    night.scan(at("21:40"), "G-8", "cp-3");
    let own = |night: &Night| {
        let missed = night.alerts_of(Rule::TourMissed);
        missed.iter().find(|a| a.subject.to_string().starts_with("run:own")).map(|a| a.cleared_at)
    };
    let storms = night.alerts_of(Rule::Storm);
    let storm = storms.iter().find(|a| a.subject.to_string() == "rule:tour_missed").unwrap();
    assert!(storm.cleared_at.is_some(), "all of them were begun after all");
    assert_eq!(own(&night), None, "the storm told of it");
    night.scan_late(at("21:31:05"), at("21:50"), "G-8", "cp-2");
    assert_eq!(own(&night), Some(None), "it stands, and is told");
}
