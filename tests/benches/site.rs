//! A site at its usual pace: each handset says one thing in 30 seconds, for some minutes. What the agent keeps in memory, what
//! it costs the processor, and what it writes to the device, so that the life of an eMMC can be told.
//!
//! `cargo bench -p vigil-tests --bench site`; `VIGIL_BENCH_MINUTES` says how long each site is watched, `VIGIL_BIN` which binary,
//! `VIGIL_BENCH_DIR` on which file system: one of its own, or what others write is counted as well.

use std::path::Path;
use std::time::Duration;
use vigil_agent::simulate::{Scenario, site_toml};
use vigil_tests::bench::daemon::{Daemon, vigil};
use vigil_tests::bench::devices::{Watch, watch};
use vigil_tests::bench::figures::{Table, short};
use vigil_tests::bench::proc::{Disk, machine};
use vigil_tests::bench::raw::count;
use vigil_tests::bench::{Failure, folder, setting};

/// How many handsets a site has; with one alone the agent is idle.
const SITES: [usize; 3] = [1, 50, 500];
/// What is asked of a gateway (docs/performance.md).
const EVERY: Duration = Duration::from_secs(30);
/// The store, the threads and the connections come to rest.
const REST: Duration = Duration::from_secs(5);
/// A cheap 16 GB eMMC takes each of its blocks a thousand times, as `vigil check` reckons too, and moves about as much
/// again as it is told to write.
const EMMC_BYTES: f64 = 16e9 * 1_000.0 / 2.0;

fn main() -> Result<(), Failure> {
    println!("{}\n", machine());
    let minutes = setting("VIGIL_BENCH_MINUTES", 10)?;
    let vigil = vigil()?;
    let mut table = Table::new(&[
        "handsets",
        "events",
        "VmRSS, MiB",
        "VmHWM, MiB",
        "CPU, % of a core",
        "CPU, s for 100,000 events",
        "on the device, bytes an event",
        "MB a day",
        "years of a 16 GB eMMC",
    ]);
    for handsets in SITES {
        table.row(watched(&vigil, handsets, Duration::from_secs(60 * u64::try_from(minutes)?))?);
    }
    println!("{table}");
    Ok(())
}

fn watched(vigil: &Path, handsets: usize, time: Duration) -> Result<Vec<String>, Failure> {
    let dir = tempfile::tempdir_in(folder())?;
    let disk = Disk::under(dir.path())?;
    // Longer than it is watched, so that nobody's shift ends.
    let daemon = Daemon::start(vigil, dir.path(), &site_toml(&Scenario::sized(handsets, 720, 1)))?;
    std::thread::sleep(REST);
    let (before, written) = (daemon.usage()?, disk.written()?);
    let events = watch(daemon.mqtt, Watch { handsets, every: EVERY, time })?;
    let (used, written, memory) =
        (daemon.usage()?.since(before), disk.written()? - written, daemon.memory()?);
    daemon.stop()?;
    let (secs, events) = (time.as_secs_f64(), count(events));
    let a_day = written / secs * 86_400.0;
    Ok([
        count(handsets),
        events,
        memory.resident,
        memory.peak,
        used.cpu_secs / secs * 100.0,
        used.cpu_secs / events * 100_000.0,
        written / events,
        a_day / 1e6,
        EMMC_BYTES / a_day / 365.0,
    ]
    .map(short)
    .to_vec())
}
