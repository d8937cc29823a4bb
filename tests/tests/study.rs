//! The detection study held against nights whose outcome can be told by hand, and against itself.

use vigil_tests::study::clock::{END, HOUR, MINUTE, clock};
use vigil_tests::study::draws::{Stream, chance};
use vigil_tests::study::ground::{Family, Ground, Rule};
use vigil_tests::study::handset::post;
use vigil_tests::study::interval::share;
use vigil_tests::study::plan::{Fault, Habits, Plan, Sleep};
use vigil_tests::study::plots::{self, Pictures};
use vigil_tests::study::receiver::{Jam, Make, Receiver};
use vigil_tests::study::run::{Night, nights};
use vigil_tests::study::scenario::{Part, SCENARIOS, Scenario};
use vigil_tests::study::sweep::Point;
use vigil_tests::study::tally::{Row, Tally};
use vigil_tests::study::traces::Confusion;
use vigil_tests::study::{record, table};

/// A guard who uses the handset every ten minutes, walks every tour and takes the handset along.
fn wakeful() -> Plan {
    Plan {
        ground: Ground::default(),
        duty: (clock(19, 55), clock(6, 0)),
        habits: Habits { uses_every: 10.0 * MINUTE, walks_every: HOUR, takes_it_along: 1.0, skips: 0.0 },
        sleep: Sleep::Never,
        breaks: vec![],
        busy: None,
        faults: vec![],
        tasks: 0.0,
    }
}

/// Asleep at the post from 01:35 to 04:50 without a look at the handset. The tour of 01:00 is over by then.
fn asleep_from_01_35() -> Sleep {
    Sleep::Through { from: clock(1, 35), to: clock(4, 50), glances: f64::INFINITY }
}

fn stream(n: usize) -> impl Fn(Stream) -> vigil_agent::simulate::Chance {
    move |stream| chance(77, 200, n, stream)
}

/// A night with a fused phone, whose wander no rule takes for a walk.
fn lived(n: usize, plan: Plan) -> Night {
    let mut noise = stream(n)(Stream::Receiver);
    let receiver = Receiver::of(Make::Fused, &mut noise, (0.0, END));
    Night::with(receiver, noise, plan, stream(n))
}

fn of(key: &str) -> (usize, &'static Scenario) {
    SCENARIOS.iter().enumerate().find(|(_, s)| s.key == key).expect("a row")
}

#[test]
fn a_sleeper_is_found_when_the_last_tour_has_left_the_window() {
    for n in 0..4 {
        let night = lived(n, wakeful().sleeping(asleep_from_01_35()));
        let verdict = night.watched(Rule::Ours);
        let found = verdict.sleeper.expect("a sleeper");
        // The tour of 01:00 ends by 01:35. The window of two hours that holds none of it ends by 03:35.
        let minutes = found.inactivity_mins.expect("found");
        assert!((80.0..125.0).contains(&minutes), "{minutes}");
        assert!(found.first_word_mins < found.inactivity_mins, "the tour of 02:00 is told at 02:30");
        assert_eq!((verdict.false_alerts, found.already), (0, false));
        // 02:00, 03:00 and 04:00 are slept through.
        assert_eq!((verdict.missed.were, verdict.missed.told, verdict.missed.in_time), (3, 3, 3));
        assert_eq!(verdict.missed.slowest_ms, 5_000);
    }
}

#[test]
fn an_honest_guard_is_told_of_by_nothing() {
    for n in 0..4 {
        let verdict = lived(n, wakeful()).watched(Rule::Ours);
        assert_eq!(verdict.sleeper, None);
        assert_eq!((verdict.false_alerts, verdict.wronged), (0, (0, 0)));
        // One tour in fifty starts later than it may.
        assert!(verdict.missed.were <= 1 && verdict.missed.told == verdict.missed.were);
        assert!((verdict.duty_hours - 10.083_333).abs() < 1e-3);
    }
}

#[test]
fn an_alert_before_the_sleep_finds_no_sleeper() {
    let mut plan = wakeful().sleeping(asleep_from_01_35());
    plan.ground.tours = false;
    // The handset lies on the desk all night.
    plan.habits = Habits { uses_every: 1e9, walks_every: 1e9, ..plan.habits };
    let verdict = lived(0, plan).watched(Rule::Ours);
    let sleeper = verdict.sleeper.expect("a sleeper");
    assert_eq!((sleeper.inactivity_mins, sleeper.already), (None, true));
    assert_eq!(verdict.false_alerts, 1, "raised at 22:00 of a guard who is awake");
}

#[test]
fn a_dead_phone_accuses_nobody_and_the_classic_rule_does() {
    let plan = wakeful().failing(Fault::Off(clock(22, 40), END));
    let night = lived(0, plan);
    let ours = night.watched(Rule::Ours);
    assert_eq!(ours.false_alerts, 0);
    assert!(ours.wronged.1 >= 5, "the tours are walked and cannot be scanned: {:?}", ours.wronged);
    assert_eq!(ours.wronged.0, 0);
    assert!(night.watched(Rule::Classic).false_alerts > 0);
}

#[test]
fn what_was_scanned_out_of_reach_is_withdrawn_when_it_arrives() {
    let night = lived(1, wakeful().failing(Fault::OutOfReach(clock(22, 40), clock(1, 50))));
    let verdict = night.watched(Rule::Ours);
    assert_eq!((verdict.false_alerts, verdict.wronged, verdict.missed.were), (0, (0, 0), 0));
}

#[test]
fn overdue_tasks_are_told_at_once() {
    let mut sum = 0;
    for n in 0..3 {
        let night = lived(n, Plan { tasks: 40.0, ..wakeful() });
        let verdict = night.watched(Rule::Ours);
        let overdue = night.errands.iter().filter(|e| e.is_overdue(END - MINUTE)).count();
        let were: u32 = verdict.overdue.iter().map(|p| p.were).sum();
        assert_eq!(usize::try_from(were).unwrap(), overdue);
        assert!(verdict.overdue.iter().all(|p| p.told == p.were && p.in_time == p.were));
        sum += overdue;
    }
    assert!(sum > 3, "about a tenth of 120 tasks: {sum}");
}

#[test]
fn a_sleeper_without_fixes_is_beyond_the_evidence() {
    let plan = wakeful().sleeping(asleep_from_01_35()).failing(Fault::Jammed(0.0, END, Jam::Silent));
    let found = lived(0, plan).watched(Rule::Ours).sleeper.expect("a sleeper");
    assert_eq!(found.inactivity_mins, None, "phone and tours weigh 450 of the 500 that a verdict needs");
    assert!(found.first_word_mins.is_some());
}

#[test]
fn a_seed_names_a_study() {
    let (row, scenario) = of("sleep_deep");
    let rules = [Rule::Ours, Rule::Classic];
    let many = nights(scenario, row, 3, 5, &rules);
    assert_eq!(many, nights(scenario, row, 3, 5, &rules), "whichever thread lives which night");
    for (n, verdict) in many[0].iter().enumerate() {
        assert_eq!(*verdict, Night::of(scenario, 5, row, n).watched(Rule::Ours));
    }
    assert_ne!(many, nights(scenario, row, 3, 6, &rules));
}

#[test]
fn each_rule_sees_the_same_night() {
    let (row, scenario) = of("honest");
    let night = Night::of(scenario, 5, row, 0);
    let again = Night::of(scenario, 5, row, 0);
    assert_eq!(night.post.observations, again.post.observations);
    let mut noise = stream(0)(Stream::Receiver);
    let receiver = Receiver::of(Make::Satellite, &mut noise, (0.0, END));
    let other = post(&night.plan, &night.life, &[], receiver, &mut stream(0)(Stream::Network), &mut noise);
    assert_ne!(night.post.observations.len(), other.observations.len());
}

/// Far from the targets on purpose: a dozen nights say only whether the study works at all.
#[test]
fn a_small_study_comes_out_as_it_should() {
    let tally = |key: &str, count: usize, rule: Rule| {
        let (row, scenario) = of(key);
        Tally::of(&nights(scenario, row, count, 1, &[rule])[0])
    };
    let deep = tally("sleep_deep", 12, Rule::Ours);
    assert!(deep.found >= 8 && deep.heard_of >= 11, "{deep:?}");
    assert!(tally("honest", 12, Rule::Ours).nights_with <= 1);
    assert!(tally("battery", 8, Rule::Ours).nights_with <= 1);
    assert!(tally("battery", 8, Rule::Classic).nights_with >= 1);
    assert_eq!(deep.missed.told, deep.missed.were);
    assert_eq!(deep.missed.in_time, deep.missed.were);
}

#[test]
fn rows_have_names_of_their_own() {
    for (n, scenario) in SCENARIOS.iter().enumerate() {
        assert!(!SCENARIOS[..n].iter().any(|s| s.key == scenario.key || s.title == scenario.title));
        assert_eq!(scenario.target.is_none(), scenario.part == Part::Further, "{}", scenario.key);
    }
}

#[test]
fn tables_record_and_pictures_tell_the_same() {
    let row = |key: &str| {
        let (n, scenario) = of(key);
        let verdicts = nights(scenario, n, 2, 1, &[Rule::Ours, Rule::Classic]);
        Row { scenario: *scenario, ours: Tally::of(&verdicts[0]), classic: Tally::of(&verdicts[1]) }
    };
    let rows = [row("sleep_deep"), row("honest")];
    let text = table::study(&rows);
    assert!(text.contains(rows[0].scenario.title) && text.contains("at least 95 % found"), "{text}");
    let json = record::study(&rows, &[], 2, 1);
    assert_eq!(json["rows"][0]["key"], "sleep_deep");
    assert_eq!(json["rows"][0]["ours"]["sleepers"]["found"], rows[0].ours.found);
    let half = share(5, 10).unwrap();
    let point = |family, threshold| Point {
        family,
        threshold,
        deep: half,
        regular: half,
        nights_with: half,
        post: half,
    };
    let points = [point(Family::Ours, 800), point(Family::Classic, 800)];
    assert!(table::sweep(&points).contains("0.800"));
    let folder = tempfile::tempdir().unwrap();
    let confusion = [(20, 60, Confusion { still: [1, 8, 1], walk: [3, 0, 0], summed_moving: [6, 3] })];
    assert!(table::confusion(&confusion).contains("60.0 %"));
    let pictures = Pictures { rows: &rows, sweep: &points, confusion: &confusion };
    let drawn = plots::draw(&pictures, &folder.path().join("new")).unwrap();
    assert_eq!(drawn.len(), 4);
    for name in drawn {
        let svg = std::fs::read_to_string(folder.path().join("new").join(&name)).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{name}");
    }
}
