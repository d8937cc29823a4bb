//! Labelled traces of real phones: the estimator against the published parity file, and against the labels.
//!
//! The label is in the name of a file, `*_still_*` or `*_walk_*`; it comes from the phone's accelerometer.

use super::interval::{Figure, share};
use std::collections::BTreeMap;
use std::path::Path;
use vigil_core::evidence::SignalState;
use vigil_core::movement::{MAX_ACCURACY_M, Movement, displacement, summed_m, walked};
use vigil_core::policy::Inactivity;
use vigil_core::time::{Span, Timestamp};
use vigil_core::windows::TrailFix;

/// Fixes in order of time.
pub type Trace = Vec<(Timestamp, TrailFix)>;

/// The largest error that can still prove stillness on the site of the parity file (R = 105 m).
pub const ACCURACY_BOUND_M: f64 = 45.0;

/// What the parity check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parity {
    /// How many windows it looked at.
    pub windows: usize,
    /// Those that differ, with what was found.
    pub different: Vec<String>,
}

/// One traced phone with its label.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// Its file.
    pub file: String,
    /// Whether its carrier walked.
    pub walks: bool,
    /// Its fixes, usable or not.
    pub trace: Trace,
}

/// Windows by label and verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Of phones that lay still: moving, still, unknown.
    pub still: [u64; 3],
    /// Of phones whose carrier walked: the same.
    pub walk: [u64; 3],
    /// How many of each the summed rule calls moving: still, walk.
    pub summed_moving: [u64; 2],
}

impl Confusion {
    /// The share of windows with that label that came to each verdict.
    pub fn shares(&self, walks: bool) -> [Option<Figure>; 3] {
        let row = if walks { self.walk } else { self.still };
        row.map(|n| share(n, row.iter().sum()))
    }

    /// The share of windows with that label that the summed rule calls moving.
    pub fn summed(&self, walks: bool) -> Option<Figure> {
        let row = if walks { self.walk } else { self.still };
        share(self.summed_moving[usize::from(walks)], row.iter().sum())
    }
}

/// Judges the windows of `expected_movement.csv`.
pub fn parity(dir: &Path) -> Result<Parity, String> {
    let expected = read(&dir.join("expected_movement.csv"))?;
    let mut traces: BTreeMap<String, Trace> = BTreeMap::new();
    let mut parity = Parity::default();
    for (number, line) in expected.lines().enumerate().skip(1) {
        let case = Case::parse(line)
            .ok_or_else(|| format!("expected_movement.csv:{}: not a case: {line}", number + 1))?;
        if !traces.contains_key(&case.file) {
            traces.insert(case.file.clone(), trace(&dir.join(&case.file), case.default_accuracy_m)?);
        }
        let found = traces.get(&case.file).map(|t| case.judge(t));
        parity.windows += 1;
        let alike =
            |f: &Movement| letter(f.state) == case.state && (f.moving_secs - case.moving_secs).abs() <= 1;
        if !found.as_ref().is_some_and(alike) {
            parity.different.push(format!("{line}: found {found:?}"));
        }
    }
    Ok(parity)
}

/// Every labelled trace of a folder, in order of name.
pub fn labelled(dir: &Path, default_accuracy_m: f32) -> Result<Vec<Labelled>, String> {
    let entries = std::fs::read_dir(dir).map_err(|e| format!("cannot list {}: {e}.", dir.display()))?;
    let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|n| n.contains("_still_") || n.contains("_walk_")).collect();
    names.sort();
    if names.is_empty() {
        return Err(format!("{} holds no trace named *_still_* or *_walk_*.", dir.display()));
    }
    let read = |file: String| {
        let trace = trace(&dir.join(&file), default_accuracy_m)?;
        Ok(Labelled { walks: file.contains("_walk_"), file, trace })
    };
    names.into_iter().map(read).collect()
}

/// Judges every window of that length, five minutes apart, against the labels.
pub fn confusion(traces: &[Labelled], window: Span, sample: Span) -> Confusion {
    let mut confusion = Confusion::default();
    for labelled in traces {
        for from in window_starts(&labelled.trace, window) {
            let fixes = sampled(&labelled.trace, from, from + window, sample);
            let (state, naive) = judged(&fixes, from, from + window);
            let row = if labelled.walks { &mut confusion.walk } else { &mut confusion.still };
            let place = match state {
                SignalState::Active => 0,
                SignalState::Inactive => 1,
                SignalState::Unobserved => 2,
            };
            row[place] += 1;
            confusion.summed_moving[usize::from(labelled.walks)] += u64::from(naive);
        }
    }
    confusion
}

/// The movement signal as the rules have it (step 7 included), and whether the summed rule says moving.
pub fn judged(fixes: &[(Timestamp, TrailFix)], from: Timestamp, to: Timestamp) -> (SignalState, bool) {
    let robust = displacement(fixes, from, to, Some(ACCURACY_BOUND_M)).state;
    let state = if walked(fixes) { SignalState::Active } else { robust };
    (state, summed_m(fixes) >= Inactivity::default().min_movement_m)
}

fn window_starts(trace: &Trace, window: Span) -> Vec<Timestamp> {
    let (Some((first, _)), Some((last, _))) = (trace.first(), trace.last()) else { return vec![] };
    let mut all = vec![];
    let mut from = *first;
    while from + window <= *last {
        all.push(from);
        from = from + Span::from_mins(5);
    }
    all
}

/// The usable fixes of a window, as a phone would have sent them that samples so often.
pub fn sampled(trace: &Trace, from: Timestamp, to: Timestamp, sample: Span) -> Trace {
    let mut kept: Trace = Vec::new();
    let enough = Span::from_millis(sample.millis() * 95 / 100);
    for (at, fix) in trace.iter().filter(|(at, _)| from <= *at && *at < to) {
        if kept.last().is_none_or(|(last, _)| at.since(*last) >= enough) {
            kept.push((*at, *fix));
        }
    }
    // The phone sampled first; what is unusable falls out afterwards.
    kept.retain(|(_, f)| f.accuracy_m > 0.0 && f.accuracy_m <= MAX_ACCURACY_M);
    kept
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
        let kept = sampled(trace, self.from, self.to, self.sample);
        displacement(&kept, self.from, self.to, Some(ACCURACY_BOUND_M))
    }
}

const fn letter(state: SignalState) -> &'static str {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    /// A phone that hops between two places 8 m apart, and one that is carried along a road.
    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mut expected =
            "file,window_start_epoch_s,window_min,sample_s,default_acc_m,state,moving_s\n".to_owned();
        for (name, step, state) in [("a_still_1.csv", 0.0, "S"), ("a_walk_1.csv", 0.000_3, "M")] {
            let mut text = "t_epoch_s,lat,lon,acc_m,speed_mps\n".to_owned();
            for n in 0..45 {
                let (hop, way) = (f64::from(n % 2) * 0.000_07, f64::from(n) * step);
                writeln!(text, "{},{},{},20,0.00", 1_466_015_340 + 60 * n, 37.8 + hop, way).unwrap();
            }
            std::fs::write(dir.path().join(name), text).unwrap();
            let secs = if state == "S" { 0 } else { 1_680 };
            writeln!(expected, "{name},1466015340,30,60,15,{state},{secs}").unwrap();
        }
        std::fs::write(dir.path().join("expected_movement.csv"), expected).unwrap();
        dir
    }

    #[test]
    fn labels_and_parity_are_read_from_the_folder() {
        let dir = folder();
        let traces = labelled(dir.path(), 15.0).unwrap();
        assert_eq!(traces.iter().map(|t| t.walks).collect::<Vec<_>>(), [false, true]);
        let found = confusion(&traces, Span::from_mins(20), Span::from_secs(60));
        assert_eq!((found.still, found.walk), ([0, 5, 0], [5, 0, 0]));
        assert_eq!(found.summed_moving, [5, 5], "the summed rule calls both moving");
        let parity = parity(dir.path()).unwrap();
        assert_eq!(parity.windows, 2);
        assert!(!parity.different.iter().any(|line| line.contains("still")), "{parity:?}");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(parity(dir.path()).unwrap_err().contains("expected_movement.csv"));
        assert!(labelled(dir.path(), 15.0).unwrap_err().contains("no trace"));
        std::fs::write(dir.path().join("a_still_1.csv"), "head\n1,2\n").unwrap();
        assert!(labelled(dir.path(), 15.0).unwrap_err().contains("a_still_1.csv:2"));
    }
}
