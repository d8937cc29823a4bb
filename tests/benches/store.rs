//! The store alone: what a durable commit of so many heartbeats costs, beside the least that any store has to do.
//!
//! `cargo bench -p vigil-tests --bench store`; `VIGIL_BENCH_ROUNDS` says how often, `VIGIL_BENCH_DIR` on which file system.

use std::path::Path;
use std::time::Instant;
use vigil_agent::store::{Draft, Input, Store};
use vigil_core::engine::{Engine, Outcome};
use vigil_core::time::{Span, Timestamp};
use vigil_tests::bench::devices::payload;
use vigil_tests::bench::figures::{Figure, Table};
use vigil_tests::bench::proc::{Disk, Usage, load, machine};
use vigil_tests::bench::raw::{append, count, overwrite};
use vigil_tests::bench::work::{SNAPSHOT_INPUTS, full_engine, heartbeats, snapshot};
use vigil_tests::bench::{Failure, folder, setting};

/// Commits of a round at most: a disk that turns in a millisecond takes seconds for them.
const COMMITS: usize = 4_000;

fn main() -> Result<(), Failure> {
    println!("{}\n", machine());
    let (rounds, events) = (setting("VIGIL_BENCH_ROUNDS", 5)?, setting("VIGIL_BENCH_MESSAGES", 100_000)?);
    let folder = folder();
    let full = full_engine()?;
    let mut columns: Vec<Column> =
        [1, 10, 100, 500].map(|batch| Column { batch, ..Column::default() }).into();
    for round in 0..rounds {
        for column in &mut columns {
            column.play(&folder, &full, events.min(COMMITS * column.batch))?;
        }
        eprintln!("round {} of {rounds}, load {}", round + 1, load());
    }
    print(&columns);
    Ok(())
}

/// What was measured with commits of this size.
#[derive(Debug, Default)]
struct Column {
    batch: usize,
    store: Figure,
    written: Figure,
    cpu_us: Figure,
    mib: Figure,
    raw: Figure,
    raw_written: Figure,
    over: Figure,
}

impl Column {
    /// One round: the store, then the yardstick, in the same folder.
    fn play(&mut self, folder: &Path, full: &Engine, events: usize) -> Result<(), Failure> {
        let dir = tempfile::tempdir_in(folder)?;
        let mut store = Store::open(&dir.path().join("db"))?;
        let observations = heartbeats(full.site(), 0, events, Span::from_millis(1))?;
        store.commit(snapshot(full)?)?;
        let disk = Disk::under(folder)?;
        let written = disk.written()?;
        let (before, began) = (Usage::of("self")?, Instant::now());
        for (n, batch) in observations.chunks(self.batch).enumerate() {
            let due = n > 0 && (n * self.batch).is_multiple_of(SNAPSHOT_INPUTS);
            let mut draft = if due { snapshot(full)? } else { Draft::default() };
            draft.inputs = batch.iter().map(|o| Input::Observation(o.clone(), Outcome::Applied)).collect();
            draft.judged_until = batch.last().map_or(Timestamp::default(), |o| o.received_at);
            store.commit(draft)?;
        }
        let (secs, used) = (began.elapsed().as_secs_f64(), Usage::of("self")?.since(before));
        let written = disk.written()? - written;
        let events = count(events);
        self.store.push(events / secs);
        self.written.push(written / events);
        self.cpu_us.push(used.cpu_secs * 1e6 / events);
        self.mib.push(count(usize::try_from(store.size())?) / 1_048_576.0);
        let sample = payload(0, 0, 0)?;
        let raw = append(dir.path(), &sample, observations.len(), self.batch)?;
        self.raw.push(raw.per_second);
        self.raw_written.push(raw.written);
        self.over.push(overwrite(dir.path(), &sample, observations.len(), self.batch)?.per_second);
        Ok(())
    }
}

fn print(columns: &[Column]) {
    let sizes: Vec<String> = columns.iter().map(|c| c.batch.to_string()).collect();
    let mut table = Table::new(
        &[&["events in a commit"], &sizes.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat(),
    );
    let mut row = |name: &str, figure: &dyn Fn(&Column) -> String| {
        table.row(std::iter::once(name.to_owned()).chain(columns.iter().map(figure)).collect());
    };
    row("store: events/s", &|c| c.store.to_string());
    row("store: bytes on the device an event", &|c| c.written.to_string());
    row("store: CPU us an event", &|c| c.cpu_us.to_string());
    row("store: MiB on disk at the end", &|c| c.mib.to_string());
    row("raw append + fdatasync: events/s", &|c| c.raw.to_string());
    row("raw append: bytes on the device an event", &|c| c.raw_written.to_string());
    row("raw overwrite + fdatasync: events/s", &|c| c.over.to_string());
    row("ratio: store / raw append, events/s", &|c| c.store.ratio(&c.raw).to_string());
    row("ratio: store / raw overwrite, events/s", &|c| c.store.ratio(&c.over).to_string());
    row("ratio: store / raw append, bytes on the device", &|c| c.written.ratio(&c.raw_written).to_string());
    println!("{table}");
}
