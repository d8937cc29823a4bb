//! Holds the rules against the truth: `evaluate` alone runs the detection study, `--traces DIR` adds labelled phones.
//!
//! Exit code 1: the parity file differs, or something could not be read or written. A missed target is a result, not
//! a failure.

use clap::Parser;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vigil_core::time::Span;
use vigil_tests::study::ground::Rule;
use vigil_tests::study::plots::{self, Pictures};
use vigil_tests::study::run::nights;
use vigil_tests::study::scenario::SCENARIOS;
use vigil_tests::study::sweep::{Point, sweep};
use vigil_tests::study::tally::{Row, Tally};
use vigil_tests::study::traces::{Confusion, Labelled, confusion, labelled, parity};
use vigil_tests::study::{explain, record, table};

/// Window lengths in minutes and sampling in seconds that the traces are judged at.
const CASES: [(i64, i64); 4] = [(20, 10), (20, 60), (20, 300), (30, 60)];
/// A phone of the traces that gives no accuracy.
const DEFAULT_ACCURACY_M: f32 = 15.0;

/// Movement states on labelled traces, and a detection study on simulated nights with known truth.
#[derive(Debug, Parser)]
#[command(name = "evaluate")]
struct Arguments {
    /// A folder with expected_movement.csv and the traces *_still_*.csv and *_walk_*.csv beside it.
    #[arg(long, value_name = "DIR")]
    traces: Option<PathBuf>,
    /// How many nights of each row; 0 leaves the study out.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    nights: u32,
    /// How many of these nights are tried under every threshold; 0 leaves the sweep out. One fifth unless told.
    #[arg(long, value_name = "N")]
    sweep: Option<u32>,
    /// Names the nights: the same seed gives the same study.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Writes the pictures into this folder.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Only tells of every night of this row in which our rule was wrong, and why: a key of the JSON record.
    #[arg(long, value_name = "KEY")]
    explain: Option<String>,
    /// Prints JSON instead of tables.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match evaluate(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(problem) => {
            eprintln!("{problem}\nSee `evaluate --help` for what each folder holds.");
            ExitCode::from(1)
        }
    }
}

/// Everything that was asked for; false if the parity file differs.
fn evaluate(arguments: &Arguments) -> Result<bool, String> {
    if let Some(key) = &arguments.explain {
        return explained(key, arguments);
    }
    let mut record = json!({});
    let (mut alike, mut cases) = (true, vec![]);
    if let Some(dir) = &arguments.traces {
        let traces = labelled(dir, DEFAULT_ACCURACY_M)?;
        alike = told_parity(dir, arguments.json, &mut record)?;
        cases = judged(&traces);
        record["movement"] = record::confusion(&cases);
        if !arguments.json {
            println!("{}\n{}", table::confusion(&cases), table::calibration(&traces, arguments.seed));
        }
    }
    let (rows, points) = studied(arguments);
    if !rows.is_empty() {
        let count = usize::try_from(arguments.nights).unwrap_or(usize::MAX);
        record["study"] = record::study(&rows, &points, count, arguments.seed);
        if !arguments.json {
            println!("Detection study: {} nights a row, seed {}\n", arguments.nights, arguments.seed);
            println!("{}", table::study(&rows));
        }
    }
    if !points.is_empty() && !arguments.json {
        println!("{}", table::sweep(&points));
    }
    if arguments.json {
        println!("{record:#}");
    }
    if let Some(folder) = &arguments.plots {
        let pictures = Pictures { rows: &rows, sweep: &points, confusion: &cases };
        for name in plots::draw(&pictures, folder)? {
            eprintln!("drawn: {}", folder.join(name).display());
        }
    }
    Ok(alike)
}

fn explained(key: &str, arguments: &Arguments) -> Result<bool, String> {
    let row = SCENARIOS.iter().position(|s| s.key == key);
    let keys = || SCENARIOS.map(|s| s.key).join(", ");
    let row = row.ok_or_else(|| format!("there is no row {key}; there are {}.", keys()))?;
    let nights = usize::try_from(arguments.nights).unwrap_or(usize::MAX);
    print!("{}", explain::wrong(&SCENARIOS[row], row, nights, arguments.seed));
    Ok(true)
}

fn told_parity(dir: &Path, quiet: bool, record: &mut Value) -> Result<bool, String> {
    let parity = parity(dir)?;
    let different = parity.different.len();
    record["parity"] = json!({ "windows": parity.windows, "different": different });
    if !quiet {
        parity.different.iter().for_each(|line| println!("{line}"));
        match different {
            0 => println!("movement parity: {} windows, all alike\n", parity.windows),
            _ => println!("movement parity: {different} of {} windows differ\n", parity.windows),
        }
    }
    Ok(different == 0)
}

fn judged(traces: &[Labelled]) -> Vec<(i64, i64, Confusion)> {
    let case = |(window, sample)| {
        (window, sample, confusion(traces, Span::from_mins(window), Span::from_secs(sample)))
    };
    CASES.into_iter().map(case).collect()
}

fn studied(arguments: &Arguments) -> (Vec<Row>, Vec<Point>) {
    let count = usize::try_from(arguments.nights).unwrap_or(usize::MAX);
    if count == 0 {
        return (vec![], vec![]);
    }
    let rules = [Rule::Ours, Rule::Classic];
    let mut rows = vec![];
    for (n, scenario) in SCENARIOS.iter().enumerate() {
        eprintln!("{:2} of {}: {}", n + 1, SCENARIOS.len(), scenario.title);
        let verdicts = nights(scenario, n, count, arguments.seed, &rules);
        let tally = |rule: usize| verdicts.get(rule).map(|v| Tally::of(v)).unwrap_or_default();
        rows.push(Row { scenario: *scenario, ours: tally(0), classic: tally(1) });
    }
    let swept = arguments.sweep.map_or(count / 5, |n| usize::try_from(n).unwrap_or(count)).min(count);
    let points = if swept == 0 {
        vec![]
    } else {
        eprintln!("thresholds, {swept} nights a row");
        sweep(swept, arguments.seed)
    };
    (rows, points)
}
