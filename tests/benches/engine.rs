//! The pure half alone: observations a second, what an evaluation costs, and how large the state gets.
//!
//! `cargo bench -p vigil-tests --bench engine`; `VIGIL_BENCH_ROUNDS` says how often,
//! `VIGIL_BENCH_HOURS` how much of a shift. `-- throughput evaluations sizes year` says which tables: all unless named.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use vigil_agent::simulate::{Night, Scenario, site_toml};
use vigil_agent::sources::decode;
use vigil_core::engine::Engine;
use vigil_core::observation::Observation;
use vigil_core::site::Site;
use vigil_core::time::{Span, Timestamp};
use vigil_tests::bench::figures::{Figure, Table, short};
use vigil_tests::bench::proc::machine;
use vigil_tests::bench::raw::count;
use vigil_tests::bench::{Failure, setting};

/// A shift: everyone checks in at its start and out at its end.
const SHIFT_HOURS: u32 = 8;
/// Observations for one timing: some 100 ms and more.
const ENOUGH: usize = 100_000;
/// A message of a handset on a busy Wi-Fi is up to so much later than one that was sent at the same time.
const JITTER_MS: i64 = 3_000;

/// What can be asked for.
const TABLES: [&str; 4] = ["throughput", "evaluations", "sizes", "year"];

fn main() -> Result<(), Failure> {
    println!("{}\n", machine());
    let rounds = setting("VIGIL_BENCH_ROUNDS", 5)?;
    let hours = u32::try_from(setting("VIGIL_BENCH_HOURS", 8)?)?;
    // Cargo adds `--bench`.
    let named: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if let Some(unknown) = named.iter().find(|n| !TABLES.contains(&n.as_str())) {
        return Err(format!("there is no table {unknown}; there are {}", TABLES.join(", ")).into());
    }
    for table in TABLES.into_iter().filter(|t| named.is_empty() || named.iter().any(|n| n == t)) {
        match table {
            "throughput" => throughput(rounds, hours)?,
            "evaluations" => evaluations(rounds)?,
            "sizes" => sizes()?,
            _ => a_year(rounds)?,
        }
    }
    Ok(())
}

/// A site that is guarded around the clock, and its messages.
struct Guarded {
    site: Arc<Site>,
    scenario: Scenario,
}

impl Guarded {
    fn by(guards: usize) -> Result<Self, Failure> {
        let day_and_night = Scenario::sized(guards, 24 * 60, 1);
        let text = site_toml(&day_and_night);
        let site = vigil_config::parse_site(std::path::Path::new("site.toml"), text.as_bytes())
            .map_err(|p| p.to_string())?;
        Ok(Self { site: Arc::new(site), scenario: day_and_night })
    }

    fn engine(&self) -> Engine {
        Engine::new(Arc::clone(&self.site), self.scenario.starts_at)
    }

    /// Shift after shift; each message half a second under way, up to `jitter_ms` longer by turns.
    fn observations(&self, hours: u32, jitter_ms: i64) -> Vec<Observation> {
        let shifts = (0..hours.div_ceil(SHIFT_HOURS)).flat_map(|n| self.shift(n));
        let end = self.scenario.starts_at + Span::from_hours(i64::from(hours));
        let mut all: Vec<Observation> = Vec::new();
        for (n, message) in (0_i64..).zip(shifts.take_while(|m| m.at < end)) {
            let under_way = 500 + n * 7_919 % (jitter_ms + 1);
            let received_at = message.at + Span::from_millis(under_way);
            all.extend(
                decode::message(&self.site, received_at, &message.topic, message.payload.as_bytes())
                    .observations,
            );
        }
        all.sort_by_key(|o| o.received_at);
        all
    }

    fn shift(&self, n: u32) -> Night {
        let starts_at = self.scenario.starts_at + Span::from_hours(i64::from(n * SHIFT_HOURS));
        let shift = Scenario { seed: u64::from(n), ..self.scenario.clone() }.starting(starts_at);
        Night::of(&Scenario { ends_at: starts_at + Span::from_hours(i64::from(SHIFT_HOURS)), ..shift })
    }
}

/// Everything that follows is in it: deadlines, evaluations, alerts.
fn seconds_of(engine: &mut Engine, observations: Vec<Observation>) -> f64 {
    let began = Instant::now();
    for observation in observations {
        black_box(engine.on_observation(observation));
    }
    began.elapsed().as_secs_f64()
}

fn throughput(rounds: usize, hours: u32) -> Result<(), Failure> {
    let mut table = Table::new(&[
        "guards",
        "hours",
        "observations",
        "decoded/s",
        "engine, in order/s",
        "engine, jittered/s",
    ]);
    for guards in [1, 20, 200, 1_000] {
        let guarded = Guarded::by(guards)?;
        let (orderly, jittered) = (guarded.observations(hours, 0), guarded.observations(hours, JITTER_MS));
        let repeats = ENOUGH.div_ceil(orderly.len());
        let (mut decoded, mut in_order, mut with_jitter) =
            (Figure::default(), Figure::default(), Figure::default());
        for _ in 0..rounds {
            decoded.push(decoding(&guarded, ENOUGH));
            for (figure, all) in [(&mut in_order, &orderly), (&mut with_jitter, &jittered)] {
                let secs: f64 = (0..repeats).map(|_| seconds_of(&mut guarded.engine(), all.clone())).sum();
                figure.push(count(all.len() * repeats) / secs);
            }
        }
        let (guards, hours) = (guards.to_string(), hours.to_string());
        table.row(vec![
            guards,
            hours,
            short(count(orderly.len())),
            decoded.to_string(),
            in_order.to_string(),
            with_jitter.to_string(),
        ]);
    }
    println!("{table}");
    Ok(())
}

fn decoding(guarded: &Guarded, messages: usize) -> f64 {
    let night: Vec<_> = guarded.shift(0).take(messages).collect();
    let began = Instant::now();
    for m in &night {
        black_box(decode::message(&guarded.site, m.at, &m.topic, m.payload.as_bytes()));
    }
    count(night.len()) / began.elapsed().as_secs_f64()
}

/// Two cycles pass with everyone on duty, full windows, and nothing else to judge.
fn evaluations(rounds: usize) -> Result<(), Failure> {
    let mut table = Table::new(&[
        "guards",
        "hours before",
        "one evaluation of one guard, us",
        "one view of the site, us",
    ]);
    for (guards, hours) in [(1, 4), (20, 4), (200, 4), (200, 70), (1_000, 4)] {
        let guarded = Guarded::by(guards)?;
        let mut engine = guarded.engine();
        seconds_of(&mut engine, guarded.observations(hours, 0));
        let from = engine.now();
        let (mut evaluation, mut view) = (Figure::default(), Figure::default());
        for _ in 0..rounds {
            evaluation.push(one_evaluation(&engine, from, guards));
            let began = Instant::now();
            black_box(engine.view(from));
            view.push(began.elapsed().as_secs_f64() * 1e6);
        }
        table.row(vec![guards.to_string(), hours.to_string(), evaluation.to_string(), view.to_string()]);
    }
    println!("{table}");
    Ok(())
}

fn one_evaluation(engine: &Engine, from: Timestamp, guards: usize) -> f64 {
    let mut copies: VecDeque<Engine> =
        (0..1_000_usize.div_ceil(guards).min(50)).map(|_| engine.clone()).collect();
    let cycles = 2;
    let until = from + Span::from_millis(cycles * engine.site().policy.inactivity.cycle.millis());
    let began = Instant::now();
    for copy in &mut copies {
        black_box(copy.on_deadline(until));
    }
    let judged = copies.len() * guards * usize::try_from(cycles).unwrap_or(1);
    began.elapsed().as_secs_f64() * 1e6 / count(judged)
}

/// The state is bounded by what late evidence may still change (72 h), and not by the length of the history.
fn sizes() -> Result<(), Failure> {
    let mut table = Table::new(&["guards", "after hours", "observations", "snapshot, KiB", "a guard, KiB"]);
    for (guards, marks) in [(20, &[1, 10, 72, 144][..]), (200, &[1, 10, 72, 144]), (1_000, &[1, 10])] {
        let guarded = Guarded::by(guards)?;
        let mut engine = guarded.engine();
        let (mut hour, mut observations) = (0, 0);
        for &until in marks {
            // Hour by hour: the bench itself is not to need the memory of a week.
            while hour < until {
                let batch = hour_of(&guarded, hour);
                observations += batch.len();
                seconds_of(&mut engine, batch);
                hour += 1;
            }
            let kib = count(engine.snapshot()?.len()) / 1_024.0;
            let cells = [kib, kib / count(guards)].map(short);
            table.row(
                [vec![guards.to_string(), hour.to_string(), short(count(observations))], cells.to_vec()]
                    .concat(),
            );
        }
    }
    println!("{table}");
    Ok(())
}

/// One guard around the clock for a year: nothing may cost more at its end than at its beginning.
fn a_year(rounds: usize) -> Result<(), Failure> {
    let head =
        ["day", "observations", "engine on that day, observations/s", "one evaluation, us", "snapshot, KiB"];
    let mut table = Table::new(&head);
    let guarded = Guarded::by(1)?;
    let mut engine = guarded.engine();
    let mut observations = 0;
    for day in 1..=365 {
        let batches: Vec<_> = (24 * (day - 1)..24 * day).map(|hour| hour_of(&guarded, hour)).collect();
        let of_day: usize = batches.iter().map(Vec::len).sum();
        observations += of_day;
        let secs_of_day: f64 = batches.into_iter().map(|batch| seconds_of(&mut engine, batch)).sum();
        if [1, 2, 7, 30, 180, 365].contains(&day) {
            let from = engine.now();
            let mut evaluation = Figure::default();
            (0..rounds).for_each(|_| evaluation.push(one_evaluation(&engine, from, 1)));
            let kib = short(count(engine.snapshot()?.len()) / 1_024.0);
            let rate = short(count(of_day) / secs_of_day);
            table.row(vec![day.to_string(), short(count(observations)), rate, evaluation.to_string(), kib]);
        }
    }
    println!("{table}");
    Ok(())
}

fn hour_of(guarded: &Guarded, hour: u32) -> Vec<Observation> {
    let from = guarded.scenario.starts_at + Span::from_hours(i64::from(hour));
    let to = from + Span::from_hours(1);
    let messages = guarded.shift(hour / SHIFT_HOURS).skip_while(|m| m.at < from).take_while(|m| m.at < to);
    let decoded = messages
        .flat_map(|m| decode::message(&guarded.site, m.at, &m.topic, m.payload.as_bytes()).observations);
    decoded.collect()
}
