//! Through the whole agent: devices publish heartbeats with QoS 1, and a message counts when its PUBACK is back.
//!
//! `cargo bench -p vigil-tests --bench durable`; `VIGIL_BENCH_ROUNDS` and `VIGIL_BENCH_MESSAGES` say how often and how
//! many, `VIGIL_BIN` which binary, `VIGIL_BENCH_DIR` on which file system.

use std::path::{Path, PathBuf};
use vigil_agent::simulate::{Scenario, site_toml};
use vigil_tests::bench::daemon::{Daemon, Mosquitto, vigil};
use vigil_tests::bench::devices::{DEVICES, Load, PAYLOAD_BYTES, Run, payload, publish};
use vigil_tests::bench::figures::{Figure, Table};
use vigil_tests::bench::proc::{Disk, Usage, load, machine};
use vigil_tests::bench::raw::{append, count, overwrite};
use vigil_tests::bench::{Failure, folder, setting};

/// Before it counts: connections, first pages of the store, first snapshot.
const WARM_UP: usize = 2_000;
/// Devices that publish at one time.
const PUBLISHERS: [usize; 4] = [1, 10, 100, 500];
/// Figures are for so many messages.
const PER: f64 = 100_000.0;

fn main() -> Result<(), Failure> {
    println!("{}\n", machine());
    let (rounds, messages) = (setting("VIGIL_BENCH_ROUNDS", 5)?, setting("VIGIL_BENCH_MESSAGES", 40_000)?);
    let bench = Bench { vigil: vigil()?, folder: folder(), messages };
    let mut columns = PUBLISHERS.map(Column::of);
    for round in 0..rounds {
        for column in &mut columns {
            bench.play(column, u32::try_from(round)?)?;
        }
        eprintln!("round {} of {rounds}, load {}", round + 1, load());
    }
    print(&columns);
    Ok(())
}

/// What was measured with so many publishers.
#[derive(Debug, Default)]
struct Column {
    publishers: usize,
    agent: Party,
    written: Figure,
    mosquitto: Party,
    batch: Figure,
    raw: Figure,
    raw_written: Figure,
    over: Figure,
    raw_single: Figure,
}

impl Column {
    fn of(publishers: usize) -> Self {
        Self { publishers, ..Self::default() }
    }
}

/// What was measured of one that acknowledges.
#[derive(Debug, Default)]
struct Party {
    per_second: Figure,
    p50_ms: Figure,
    p99_ms: Figure,
    handed_over: Figure,
    cpu: Figure,
}

impl Party {
    fn push(&mut self, run: Run, used: Usage, messages: f64) {
        self.per_second.push(run.per_second);
        self.p50_ms.push(run.p50_ms);
        self.p99_ms.push(run.p99_ms);
        self.handed_over.push(used.handed_over / messages);
        self.cpu.push(used.cpu_secs * PER / messages);
    }
}

struct Bench {
    vigil: PathBuf,
    folder: PathBuf,
    messages: usize,
}

impl Bench {
    /// One round: the agent, the yardstick with the agent's own batches, mosquitto.
    fn play(&self, column: &mut Column, round: u32) -> Result<(), Failure> {
        let dir = tempfile::tempdir_in(&self.folder)?;
        let batch = self.agent(dir.path(), column, round)?;
        column.batch.push(batch);
        let sample = payload(round, 0, 0)?;
        let raw = append(dir.path(), &sample, self.messages, whole(batch))?;
        column.raw.push(raw.per_second);
        column.raw_written.push(raw.written);
        column.over.push(overwrite(dir.path(), &sample, self.messages, whole(batch))?.per_second);
        column.raw_single.push(append(dir.path(), &sample, 2_000, 1)?.per_second);
        self.mosquitto(dir.path(), column, round)
    }

    /// Gives the mean size of its batches.
    fn agent(&self, folder: &Path, column: &mut Column, round: u32) -> Result<f64, Failure> {
        let daemon = Daemon::start(&self.vigil, folder, &site_toml(&Scenario::sized(DEVICES, 60, 1)))?;
        let load = Load { connections: column.publishers, messages: self.messages, series: round };
        publish(daemon.mqtt, Load { messages: WARM_UP, series: u32::MAX, ..load })?;
        let disk = Disk::under(folder)?;
        let (commits, before) = (daemon.metric("vigil_commits_total")?, daemon.usage()?);
        let written = disk.written()?;
        let run = publish(daemon.mqtt, load)?;
        let used = daemon.usage()?.since(before);
        column.written.push((disk.written()? - written) / count(self.messages));
        // The agent may show a status that is up to 250 ms old.
        std::thread::sleep(std::time::Duration::from_millis(400));
        let commits = daemon.metric("vigil_commits_total")? - commits;
        let stored = daemon.metric("vigil_observations_total{outcome=\"applied\"}")?;
        if stored < count(self.messages + WARM_UP) {
            return Err(format!("acknowledged {}, stored {stored}", self.messages + WARM_UP).into());
        }
        column.agent.push(run, used, count(self.messages));
        daemon.stop()?;
        Ok(count(self.messages) / commits.max(1.0))
    }

    fn mosquitto(&self, folder: &Path, column: &mut Column, round: u32) -> Result<(), Failure> {
        let mosquitto = Mosquitto::start(folder)?;
        let load = Load { connections: column.publishers, messages: self.messages, series: round };
        publish(mosquitto.addr, Load { messages: WARM_UP, series: u32::MAX, ..load })?;
        let before = mosquitto.usage()?;
        let run = publish(mosquitto.addr, load)?;
        column.mosquitto.push(run, mosquitto.usage()?.since(before), count(self.messages));
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a batch is from 1 to 512")]
fn whole(batch: f64) -> usize {
    batch.round().max(1.0) as usize
}

fn print(columns: &[Column]) {
    let publishers: Vec<String> = PUBLISHERS.iter().map(ToString::to_string).collect();
    let head: Vec<&str> =
        std::iter::once("publishers").chain(publishers.iter().map(String::as_str)).collect();
    let mut table = Table::new(&head);
    let mut row = |name: &str, figure: &dyn Fn(&Column) -> String| {
        let cells = columns.iter().map(figure);
        table.row(std::iter::once(name.to_owned()).chain(cells).collect());
    };
    row("agent: acknowledged/s", &|c| c.agent.per_second.to_string());
    row("agent: PUBACK p50, ms", &|c| c.agent.p50_ms.to_string());
    row("agent: PUBACK p99, ms", &|c| c.agent.p99_ms.to_string());
    row("agent: events in a commit", &|c| c.batch.to_string());
    row("agent: bytes on the device an event", &|c| c.written.to_string());
    row("agent: wchar an event", &|c| c.agent.handed_over.to_string());
    row("agent: CPU s per 100,000", &|c| c.agent.cpu.to_string());
    row("raw append + fdatasync, same batches: events/s", &|c| c.raw.to_string());
    row("raw overwrite + fdatasync, same batches: events/s", &|c| c.over.to_string());
    row("raw append: bytes on the device an event", &|c| c.raw_written.to_string());
    row("raw append + fdatasync one by one: events/s", &|c| c.raw_single.to_string());
    row("mosquitto, null subscriber: acknowledged/s", &|c| c.mosquitto.per_second.to_string());
    row("mosquitto: PUBACK p50, ms", &|c| c.mosquitto.p50_ms.to_string());
    row("mosquitto: PUBACK p99, ms", &|c| c.mosquitto.p99_ms.to_string());
    row("mosquitto: CPU s per 100,000", &|c| c.mosquitto.cpu.to_string());
    row("ratio: agent / raw append, events/s", &|c| c.agent.per_second.ratio(&c.raw).to_string());
    row("ratio: agent / raw overwrite, events/s", &|c| c.agent.per_second.ratio(&c.over).to_string());
    row("ratio: agent / raw append one by one, events/s", &|c| {
        c.agent.per_second.ratio(&c.raw_single).to_string()
    });
    row("ratio: agent / raw append, bytes on the device", &|c| c.written.ratio(&c.raw_written).to_string());
    row("ratio: agent / mosquitto, acknowledged/s", &|c| {
        c.agent.per_second.ratio(&c.mosquitto.per_second).to_string()
    });
    row("ratio: agent / mosquitto, CPU", &|c| c.agent.cpu.ratio(&c.mosquitto.cpu).to_string());
    println!("payload {PAYLOAD_BYTES} B, {DEVICES} devices\n\n{table}");
}
