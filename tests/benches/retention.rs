//! Years of load: what the store holds on disk, day after day, while what is past 72 hours goes.
//!
//! `cargo bench -p vigil-tests --bench retention`; `VIGIL_BENCH_EVENTS` says how many events, `VIGIL_BENCH_DIR` on which
//! file system. The clock is that of the events: what the pump does every hour is done every hour of theirs.

use std::time::Instant;
use vigil_agent::store::{Draft, Input, Store};
use vigil_core::engine::Outcome;
use vigil_core::time::Span;
use vigil_tests::bench::figures::{Table, short};
use vigil_tests::bench::proc::{Disk, Memory, machine};
use vigil_tests::bench::raw::count;
use vigil_tests::bench::work::{BEGAN, SNAPSHOT_INPUTS, full_engine, heartbeats, snapshot};
use vigil_tests::bench::{Failure, folder, setting};

/// 200 handsets that speak once a minute come to 288,000 events a day; this is a little less.
const APART: Span = Span::from_millis(300);
/// The size of a commit under load (docs/performance.md).
const BATCH: usize = 100;
const RETENTION: Span = Span::from_hours(72);
const HOUR: Span = Span::from_hours(1);
const DAY: Span = Span::from_hours(24);

fn main() -> Result<(), Failure> {
    println!("{}\n", machine());
    let events = setting("VIGIL_BENCH_EVENTS", 5_000_000)?;
    let folder = folder();
    let dir = tempfile::tempdir_in(&folder)?;
    let full = full_engine()?;
    let mut store = Store::open(&dir.path().join("db"))?;
    let disk = Disk::under(&folder)?;
    let mut table = Table::new(&[
        "day",
        "events",
        "MiB on disk",
        "bytes on the device an event",
        "resident MiB",
        "events/s",
    ]);
    let (mut hour, mut day, mut written) = (BEGAN + HOUR, 1, disk.written()?);
    let (mut began, mut of_day) = (Instant::now(), 0);
    for first in (0..events).step_by(BATCH) {
        let batch = heartbeats(full.site(), first, BATCH, APART)?;
        let now = batch.last().map_or(BEGAN, |o| o.received_at);
        let mut draft =
            if first.is_multiple_of(SNAPSHOT_INPUTS) { snapshot(&full)? } else { Draft::default() };
        draft.inputs = batch.into_iter().map(|o| Input::Observation(o, Outcome::Applied)).collect();
        draft.judged_until = now;
        store.commit(draft)?;
        of_day += BATCH;
        if now >= hour {
            hour = now + HOUR;
            while store.expire(now, RETENTION)? {}
        }
        if now >= BEGAN + Span::from_millis(DAY.millis() * day) {
            let secs = began.elapsed().as_secs_f64();
            let so_far = disk.written()?;
            table.row(vec![
                day.to_string(),
                short(count(first + BATCH)),
                short(count(usize::try_from(store.size())?) / 1_048_576.0),
                short((so_far - written) / count(of_day)),
                short(Memory::of("self")?.resident),
                short(count(of_day) / secs),
            ]);
            (day, written, of_day, began) = (day + 1, so_far, 0, Instant::now());
        }
    }
    println!("{table}");
    Ok(())
}
