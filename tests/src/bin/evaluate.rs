//! Holds the movement estimator against labelled traces: `evaluate --traces DIR`.
//!
//! `DIR/expected_movement.csv` names, for windows of the traces beside it, the state and the moving seconds that
//! the rules give; every difference is printed, and one is enough to exit with 1.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vigil_core::evidence::SignalState;
use vigil_core::movement::{Movement, displacement};
use vigil_core::time::{Span, Timestamp};
use vigil_core::windows::TrailFix;

type Trace = Vec<(Timestamp, TrailFix)>;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (Some(flag), Some(dir), None) = (args.next(), args.next(), args.next()) else { return usage() };
    if flag != "--traces" {
        return usage();
    }
    match parity(&PathBuf::from(dir)) {
        Ok((windows, 0)) => {
            println!("movement parity: {windows} windows, all alike");
            ExitCode::SUCCESS
        }
        Ok((windows, different)) => {
            println!("movement parity: {different} of {windows} windows differ");
            ExitCode::from(1)
        }
        Err(problem) => {
            eprintln!("{problem}\nGive the folder that holds expected_movement.csv and its traces.");
            ExitCode::from(1)
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: evaluate --traces DIR\nDIR holds expected_movement.csv and the traces that it names.");
    ExitCode::from(2)
}

fn parity(dir: &Path) -> Result<(usize, usize), String> {
    let expected = read(&dir.join("expected_movement.csv"))?;
    let mut traces: BTreeMap<String, Trace> = BTreeMap::new();
    let (mut windows, mut different) = (0, 0);
    for (number, line) in expected.lines().enumerate().skip(1) {
        let case = Case::parse(line)
            .ok_or_else(|| format!("expected_movement.csv:{}: not a case: {line}", number + 1))?;
        if !traces.contains_key(&case.file) {
            traces.insert(case.file.clone(), trace(&dir.join(&case.file), case.default_accuracy_m)?);
        }
        let found = traces.get(&case.file).map(|t| case.judge(t));
        windows += 1;
        if found
            .as_ref()
            .is_none_or(|f| letter(f.state) != case.state || (f.moving_secs - case.moving_secs).abs() > 1)
        {
            different += 1;
            println!("{line}: found {found:?}");
        }
    }
    Ok((windows, different))
}

struct Case {
    file: String,
    from: Timestamp,
    to: Timestamp,
    sample: Span,
    default_accuracy_m: f32,
    state: String,
    moving_secs: i64,
}

impl Case {
    fn parse(line: &str) -> Option<Self> {
        let f: Vec<&str> = line.split(',').collect();
        let from = Timestamp::from_millis(seconds_to_ms(f.get(1)?)?);
        Some(Self {
            file: (*f.first()?).to_owned(),
            from,
            to: from + Span::from_mins(f.get(2)?.parse().ok()?),
            sample: Span::from_secs(f.get(3)?.parse().ok()?),
            default_accuracy_m: f.get(4)?.parse().ok()?,
            state: (*f.get(5)?).to_owned(),
            moving_secs: f.get(6)?.trim().parse().ok()?,
        })
    }

    fn judge(&self, trace: &Trace) -> Movement {
        let mut kept: Trace = Vec::new();
        let enough = Span::from_millis(self.sample.millis() * 95 / 100);
        let inside = trace.iter().filter(|(at, _)| self.from <= *at && *at < self.to);
        for (at, fix) in inside {
            if kept.last().is_none_or(|(last, _)| at.since(*last) >= enough) {
                kept.push((*at, *fix));
            }
        }
        // The phone sampled first; what is unusable falls out afterwards.
        kept.retain(|(_, f)| f.accuracy_m > 0.0 && f.accuracy_m <= 200.0);
        displacement(&kept, self.from, self.to, Some(45.0))
    }
}

fn letter(state: SignalState) -> &'static str {
    match state {
        SignalState::Active => "M",
        SignalState::Inactive => "S",
        SignalState::Unobserved => "U",
    }
}

fn trace(path: &Path, default_accuracy_m: f32) -> Result<Trace, String> {
    let text = read(path)?;
    let mut fixes = Trace::new();
    for (number, line) in text.lines().enumerate().skip(1) {
        let problem = || format!("{}:{}: not a fix: {line}", path.display(), number + 1);
        let (at, fix) = fix(line, default_accuracy_m).ok_or_else(problem)?;
        fixes.push((at, fix));
    }
    fixes.sort_by_key(|(at, _)| *at);
    Ok(fixes)
}

fn fix(line: &str, default_accuracy_m: f32) -> Option<(Timestamp, TrailFix)> {
    let f: Vec<&str> = line.split(',').collect();
    let accuracy_m = match f.get(3)?.trim() {
        "" => default_accuracy_m,
        text => text.parse().ok()?,
    };
    let speed_mps = f.get(4).and_then(|s| s.trim().parse().ok());
    let fix = TrailFix { lat: f.get(1)?.parse().ok()?, lon: f.get(2)?.parse().ok()?, accuracy_m, speed_mps };
    Some((Timestamp::from_millis(seconds_to_ms(f.first()?)?), fix))
}

#[expect(clippy::cast_possible_truncation, reason = "epoch milliseconds fit")]
fn seconds_to_ms(text: &str) -> Option<i64> {
    let seconds: f64 = text.trim().parse().ok()?;
    Some((seconds * 1_000.0).round() as i64)
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}.", path.display()))
}
