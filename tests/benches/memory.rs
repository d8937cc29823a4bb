//! Resident memory of the release binary, idle and with 200 guards, and how long a start takes on a long journal.
//!
//! `cargo bench -p vigil-tests --bench memory`; `VIGIL_BENCH_ROUNDS` says how often, `VIGIL_BIN` which binary.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};
use vigil_agent::simulate::{Scenario, site_toml};
use vigil_core::time::{Span, Timestamp};
use vigil_tests::bench::daemon::{Daemon, vigil};
use vigil_tests::bench::devices::{DEVICES, Load, publish};
use vigil_tests::bench::figures::{Figure, Table, short};
use vigil_tests::bench::proc::machine;
use vigil_tests::bench::raw::count;
use vigil_tests::bench::{Failure, setting};

/// The allocator and the store come to rest.
const REST: Duration = Duration::from_secs(3);
/// How much of the night is published.
const NIGHT_MINUTES: u32 = 180;

fn main() -> Result<(), Failure> {
    println!("{}\n", machine());
    let rounds = setting("VIGIL_BENCH_ROUNDS", 3)?;
    let vigil = vigil()?;
    memory(&vigil, rounds)?;
    starts(&vigil, rounds)
}

fn memory(vigil: &Path, rounds: usize) -> Result<(), Failure> {
    let [mut idle, mut night, mut peak, mut again] = std::array::from_fn(|_| Figure::default());
    for _ in 0..rounds {
        idle.push(idle_mib(vigil)?);
        let (resident, most, restarted) = night_mib(vigil)?;
        night.push(resident);
        peak.push(most);
        again.push(restarted);
    }
    let mut table = Table::new(&["", "MiB"]);
    for (name, figure) in [
        ("idle, six guards, fresh store: VmRSS", &idle),
        ("200 guards, three hours of the night published at once: VmRSS", &night),
        ("the same: VmHWM", &peak),
        ("the same, started again: VmRSS", &again),
    ] {
        table.row(vec![name.to_owned(), figure.to_string()]);
    }
    println!("{table}");
    Ok(())
}

fn idle_mib(vigil: &Path) -> Result<f64, Failure> {
    let dir = tempfile::tempdir()?;
    let daemon = Daemon::start(vigil, dir.path(), &site_toml(&Scenario::quiet_night()))?;
    std::thread::sleep(REST);
    let resident = daemon.memory()?.resident;
    daemon.stop()?;
    Ok(resident)
}

/// Resident and peak with the night taken in, and resident after a restart.
fn night_mib(vigil: &Path) -> Result<(f64, f64, f64), Failure> {
    let dir = tempfile::tempdir()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
    let start = Timestamp::from_millis(i64::try_from(now)?) - Span::from_mins(i64::from(NIGHT_MINUTES));
    let toml = site_toml(&Scenario::sized(DEVICES, NIGHT_MINUTES, 1).starting(start));
    let daemon = Daemon::start(vigil, dir.path(), &toml)?;
    let published = Command::new(vigil)
        .args(["simulate", "--night", "sized", "--speed", "0", "--guards", &DEVICES.to_string()])
        .args(["--minutes", &NIGHT_MINUTES.to_string(), "--start", &start.to_string()])
        .args(["--broker", &daemon.mqtt.to_string()])
        .stdout(Stdio::null())
        .status()?;
    if !published.success() {
        return Err("the night was not acknowledged whole".into());
    }
    std::thread::sleep(REST);
    let memory = daemon.memory()?;
    daemon.stop()?;
    let daemon = Daemon::start(vigil, dir.path(), &toml)?;
    std::thread::sleep(REST);
    let restarted = daemon.memory()?.resident;
    daemon.stop()?;
    Ok((memory.resident, memory.peak, restarted))
}

/// After a kill the inputs behind the last snapshot are replayed; after a stop there are none.
fn starts(vigil: &Path, rounds: usize) -> Result<(), Failure> {
    let head = [
        "inputs in the journal",
        "store, MiB",
        "start after a kill, ms",
        "start after a stop, ms",
        "VmRSS after the start, MiB",
    ];
    let mut table = Table::new(&head);
    for inputs in [0, 10_000, 200_000] {
        let (dir, daemon, toml) = grown(vigil, inputs)?;
        let mib = daemon.metric("vigil_store_bytes")? / 1_048_576.0;
        let [mut killed, mut stopped, mut resident]: [Figure; 3] = std::array::from_fn(|_| Figure::default());
        daemon.kill();
        for _ in 0..rounds {
            // A copy that was killed in the same place, each time.
            let copy = tempfile::tempdir()?;
            Command::new("cp").arg("-r").arg(dir.path().join("data")).arg(copy.path()).status()?;
            let daemon = Daemon::start(vigil, copy.path(), &toml)?;
            killed.push(daemon.took.as_secs_f64() * 1_000.0);
            daemon.stop()?;
            let daemon = Daemon::start(vigil, copy.path(), &toml)?;
            stopped.push(daemon.took.as_secs_f64() * 1_000.0);
            resident.push(daemon.memory()?.resident);
            daemon.stop()?;
        }
        let figures = [killed, stopped, resident].map(|f| f.to_string());
        table.row([vec![short(count(inputs)), short(mib)], figures.to_vec()].concat());
    }
    println!("{table}");
    Ok(())
}

fn grown(vigil: &Path, inputs: usize) -> Result<(tempfile::TempDir, Daemon, String), Failure> {
    let dir = tempfile::tempdir()?;
    let toml = site_toml(&Scenario::sized(DEVICES, 60, 1));
    let daemon = Daemon::start(vigil, dir.path(), &toml)?;
    if inputs > 0 {
        publish(daemon.mqtt, Load { connections: 10, messages: inputs, series: 1 })?;
    }
    Ok((dir, daemon, toml))
}
