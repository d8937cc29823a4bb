//! The rows of the study: which nights are simulated, and what is asked of the rule in them.

use super::clock::{END, HOUR, MINUTE, clock};
use super::draws::{exponential, pick};
use super::ground::Ground;
use super::plan::{Fault, GLANCE_EVERY, Habits, Pause, Plan, Sleep};
use super::receiver::Jam;
use vigil_agent::simulate::Chance;

/// One row of the study.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// A word for it in the record.
    pub key: &'static str,
    /// What it is, for a person.
    pub title: &'static str,
    /// To which part of the table it belongs.
    pub part: Part,
    /// What is asked of our rule.
    pub target: Option<Target>,
    /// Draws one of its nights.
    pub plan: fn(&mut Chance) -> Plan,
}

/// The parts of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A guard sleeps without leave.
    Sleepers,
    /// Nobody does, and nothing fails.
    Honest,
    /// Nobody does, and there are breaks.
    Breaks,
    /// Nobody does, and equipment fails.
    Equipment,
    /// What the targets do not ask for, and an honest reader wants to know.
    Further,
}

impl Part {
    /// Its heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Sleepers => "Sleepers",
            Self::Honest => "Honest guards",
            Self::Breaks => "Lawful breaks",
            Self::Equipment => "Equipment fails, the guard is honest",
            Self::Further => "Further rows, without targets",
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// At least this share of sleepers found.
    Found(f64),
    /// Fewer than this many false alerts a guard-night.
    AlertsEachNight(f64),
    /// A smaller share of nights than this with a false alert.
    NightsWith(f64),
}

/// Every row, in the order of the table.
pub const SCENARIOS: [Scenario; 24] = [
    row(
        "sleep_deep",
        "falls asleep in deep night, 01:00-02:30, for 2.5-4 h",
        Part::Sleepers,
        Some(Target::Found(0.95)),
        sleeps_deep,
    ),
    row(
        "sleep_regular",
        "falls asleep 20:15-22:15, awake before 01:00",
        Part::Sleepers,
        Some(Target::Found(0.85)),
        sleeps_regular,
    ),
    row(
        "honest",
        "hourly tours, ordinary nights",
        Part::Honest,
        Some(Target::AlertsEachNight(0.01)),
        Plan::ordinary,
    ),
    row(
        "break_declared",
        "one or two declared breaks of 20-45 min",
        Part::Breaks,
        Some(Target::NightsWith(0.03)),
        declared_breaks,
    ),
    row(
        "break_rostered",
        "two rostered breaks of 30 min",
        Part::Breaks,
        Some(Target::NightsWith(0.03)),
        rostered_breaks,
    ),
    row("battery", "the battery dies", Part::Equipment, Some(Target::NightsWith(0.02)), battery_dies),
    row(
        "killed",
        "the system kills the program, again and again",
        Part::Equipment,
        Some(Target::NightsWith(0.02)),
        program_killed,
    ),
    row(
        "no_coverage",
        "out of coverage, to the end or back without a backlog",
        Part::Equipment,
        Some(Target::NightsWith(0.02)),
        no_coverage,
    ),
    row("jam_silent", "GPS jammed: no fixes", Part::Equipment, Some(Target::NightsWith(0.02)), jammed_silent),
    row(
        "jam_wild",
        "GPS jammed: wildly wrong fixes",
        Part::Equipment,
        Some(Target::NightsWith(0.02)),
        jammed_wild,
    ),
    row(
        "small_site",
        "a site smaller than the error of a fix",
        Part::Equipment,
        Some(Target::NightsWith(0.02)),
        small_site,
    ),
    row(
        "backlog",
        "handset offline for 1-4 h, then delivers all",
        Part::Equipment,
        Some(Target::NightsWith(0.02)),
        backlog,
    ),
    row(
        "gateway",
        "gateway off for 10-120 min, then restarts",
        Part::Equipment,
        Some(Target::NightsWith(0.02)),
        gateway_restarts,
    ),
    row(
        "sleep_one_tour",
        "sleeps 3.5-5 h, wakes for one tour in the middle",
        Part::Further,
        None,
        wakes_for_one_tour,
    ),
    row(
        "sleep_restless",
        "sleeps in deep night, looks at the handset every 2 h",
        Part::Further,
        None,
        restless,
    ),
    row(
        "sleep_no_tours",
        "sleeps in deep night, has no tours of its own",
        Part::Further,
        None,
        sleeps_without_tours,
    ),
    row(
        "sleep_between",
        "naps between tours from 01:00 on, walks them all",
        Part::Further,
        None,
        naps_between_tours,
    ),
    row(
        "sleep_small_site",
        "sleeps in deep night on a small site",
        Part::Further,
        None,
        sleeps_on_small_site,
    ),
    row("sleep_jammed", "sleeps in deep night, GPS gives no fixes", Part::Further, None, sleeps_jammed),
    row(
        "sleep_dead_phone",
        "sleeps in deep night, handset dead",
        Part::Further,
        None,
        sleeps_with_dead_phone,
    ),
    row("careless", "honest, but leaves out three tours in ten", Part::Further, None, careless),
    row("post_only", "honest, sits at a post, has no tours", Part::Further, None, post_only),
    row(
        "post_company",
        "the same, with a company handset hardly ever used",
        Part::Further,
        None,
        post_with_company_phone,
    ),
    row("sleep_short", "sleeps 1-2 h in deep night", Part::Further, None, sleeps_shortly),
];

const fn row(
    key: &'static str,
    title: &'static str,
    part: Part,
    target: Option<Target>,
    plan: fn(&mut Chance) -> Plan,
) -> Scenario {
    Scenario { key, title, part, target, plan }
}

fn sleeps_deep(chance: &mut Chance) -> Plan {
    let from = chance.between(clock(1, 0), clock(2, 30));
    let to = from + chance.between(2.5, 4.0) * HOUR;
    Plan::ordinary(chance).sleeping(Sleep::Through { from, to: to.min(clock(5, 45)), glances: GLANCE_EVERY })
}

/// Asleep and awake again before the deep night, whose factor therefore never helps.
fn sleeps_regular(chance: &mut Chance) -> Plan {
    let from = chance.between(clock(20, 15), clock(22, 15));
    let to = from + chance.between(2.5, 4.0) * HOUR;
    // A tour may push it back a little; it is over in time all the same.
    Plan::ordinary(chance).sleeping(Sleep::Through { from, to: to.min(clock(0, 50)), glances: GLANCE_EVERY })
}

fn sleeps_shortly(chance: &mut Chance) -> Plan {
    let from = chance.between(clock(1, 0), clock(3, 0));
    let to = from + chance.between(1.0, 2.0) * HOUR;
    Plan::ordinary(chance).sleeping(Sleep::Through { from, to, glances: GLANCE_EVERY })
}

fn wakes_for_one_tour(chance: &mut Chance) -> Plan {
    let from = chance.between(clock(23, 30), clock(1, 0));
    let to = from + chance.between(3.5, 5.0) * HOUR;
    Plan::ordinary(chance).sleeping(Sleep::WithOneTour { from, to })
}

fn restless(chance: &mut Chance) -> Plan {
    let mut plan = sleeps_deep(chance);
    if let Sleep::Through { glances, .. } = &mut plan.sleep {
        *glances = 2.0 * HOUR;
    }
    plan
}

fn sleeps_without_tours(chance: &mut Chance) -> Plan {
    let mut plan = sleeps_deep(chance);
    plan.ground.tours = false;
    plan
}

fn naps_between_tours(chance: &mut Chance) -> Plan {
    Plan::ordinary(chance).sleeping(Sleep::BetweenTours { from: clock(1, 0), to: clock(5, 0) })
}

fn sleeps_on_small_site(chance: &mut Chance) -> Plan {
    let mut plan = sleeps_deep(chance);
    plan.ground.radius_m = chance.between(15.0, 25.0);
    plan
}

fn sleeps_jammed(chance: &mut Chance) -> Plan {
    sleeps_deep(chance).failing(Fault::Jammed(0.0, END, Jam::Silent))
}

fn sleeps_with_dead_phone(chance: &mut Chance) -> Plan {
    let dies = chance.between(clock(23, 0), clock(2, 0));
    sleeps_deep(chance).failing(Fault::Off(dies, END))
}

fn declared_breaks(chance: &mut Chance) -> Plan {
    let mut plan = Plan::ordinary(chance);
    let first = chance.between(clock(22, 0), clock(1, 0));
    plan.breaks.push(declared(first, chance));
    if chance.happens(0.5) {
        let second = chance.between(clock(2, 0), clock(4, 30));
        plan.breaks.push(declared(second, chance));
    }
    plan
}

fn declared(from: f64, chance: &mut Chance) -> Pause {
    let to = from + chance.between(20.0, 45.0) * MINUTE;
    Pause { from, to, declared: true, naps: chance.happens(0.5) }
}

/// Rostered breaks are taken when they are due, a few minutes early or late; half of them with a nap.
fn rostered_breaks(chance: &mut Chance) -> Plan {
    let mut plan = Plan::ordinary(chance);
    plan.ground.rostered_breaks = true;
    for (from, to) in [(clock(0, 30), clock(1, 0)), (clock(3, 30), clock(4, 0))] {
        let pause = (from + chance.between(-3.0, 5.0) * MINUTE, to + chance.between(-3.0, 8.0) * MINUTE);
        plan.breaks.push(Pause { from: pause.0, to: pause.1, declared: false, naps: chance.happens(0.5) });
    }
    plan
}

/// In half of the nights it is noticed and charged within two hours on average, in the others the handset stays off.
fn battery_dies(chance: &mut Chance) -> Plan {
    let from = chance.between(clock(20, 30), clock(5, 0));
    let to = if chance.happens(0.5) { from + exponential(chance, 2.0 * HOUR) } else { END };
    Plan::ordinary(chance).failing(Fault::Off(from, to))
}

/// Three times a night on average, each time until somebody touches the handset again: up to two hours.
fn program_killed(chance: &mut Chance) -> Plan {
    let mut plan = Plan::ordinary(chance);
    let mut now = clock(20, 30) + exponential(chance, 1.5 * HOUR);
    loop {
        let to = now + chance.between(5.0, 120.0) * MINUTE;
        plan.faults.push(Fault::Off(now, to));
        now = to + exponential(chance, 2.0 * HOUR);
        if now > clock(5, 0) {
            return plan;
        }
    }
}

/// The handset's program forgets what it could not send, or the handset never comes back.
fn no_coverage(chance: &mut Chance) -> Plan {
    let from = chance.between(clock(20, 30), clock(4, 0));
    let to = if chance.happens(0.3) { END } else { from + chance.between(0.5, 4.0) * HOUR };
    Plan::ordinary(chance).failing(Fault::Off(from, to))
}

fn jammed_silent(chance: &mut Chance) -> Plan {
    let (from, to) = jammed_from_to(chance);
    Plan::ordinary(chance).failing(Fault::Jammed(from, to, Jam::Silent))
}

fn jammed_wild(chance: &mut Chance) -> Plan {
    let (from, to) = jammed_from_to(chance);
    let jam = pick(chance, &[Jam::Scattered, Jam::Adrift, Jam::Elsewhere]);
    Plan::ordinary(chance).failing(Fault::Jammed(from, to, jam))
}

/// For two to eight hours.
fn jammed_from_to(chance: &mut Chance) -> (f64, f64) {
    let from = chance.between(clock(20, 0), clock(3, 0));
    (from, from + chance.between(2.0, 8.0) * HOUR)
}

/// A shop, a kiosk, a substation: 30 to 50 m across, with tours of a minute or two.
fn small_site(chance: &mut Chance) -> Plan {
    let mut plan = Plan::ordinary(chance);
    plan.ground.radius_m = chance.between(15.0, 25.0);
    plan
}

fn backlog(chance: &mut Chance) -> Plan {
    let from = chance.between(clock(20, 30), clock(3, 30));
    let to = from + chance.between(1.0, 4.0) * HOUR;
    Plan::ordinary(chance).failing(Fault::OutOfReach(from, to.min(clock(5, 50))))
}

fn gateway_restarts(chance: &mut Chance) -> Plan {
    let from = chance.between(clock(20, 30), clock(3, 30));
    let to = from + chance.between(10.0, 120.0) * MINUTE;
    Plan::ordinary(chance).failing(Fault::Gateway(from, to))
}

fn careless(chance: &mut Chance) -> Plan {
    let mut plan = Plan::ordinary(chance);
    plan.habits.skips = 0.3;
    plan
}

fn post_only(chance: &mut Chance) -> Plan {
    let mut plan = Plan::ordinary(chance);
    plan.ground = Ground { tours: false, ..plan.ground };
    plan
}

fn post_with_company_phone(chance: &mut Chance) -> Plan {
    let mut plan = post_only(chance);
    plan.habits = Habits { uses_every: 10.0 * HOUR, takes_it_along: 0.2, ..plan.habits };
    plan
}
