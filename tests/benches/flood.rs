//! One device that talks without end beside others that call for help: how much later a call is acknowledged, and its alert
//! told on site.
//!
//! `cargo bench -p vigil-tests --bench flood`; `VIGIL_BENCH_ROUNDS` says how often, `VIGIL_BIN` which binary.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use vigil_agent::simulate::{Scenario, site_toml};
use vigil_tests::bench::daemon::{Daemon, vigil};
use vigil_tests::bench::devices::{Talk, talk};
use vigil_tests::bench::figures::{Figure, Table, percentile, short};
use vigil_tests::bench::proc::machine;
use vigil_tests::bench::{Failure, setting};
use vigil_tests::house::{Handset, PATIENCE, message, now, topic};

/// Calls for help in one round of each setting, each of a guard who has not called yet.
const CALLS: usize = 40;
/// Between two calls.
const PAUSE: Duration = Duration::from_millis(25);
/// Until the one who talks has used up what may be said at once.
const SETTLE: Duration = Duration::from_secs(2);
/// How much later the alert may be, at the median.
const MOST_MS: f64 = 100.0;

fn main() -> Result<(), Failure> {
    println!("{}\n", machine());
    let rounds = setting("VIGIL_BENCH_ROUNDS", 5)?;
    let settings = [
        ("nobody", None),
        ("heartbeats and positions", Some(Talk::SignsOfLife)),
        ("phone events", Some(Talk::PhoneEvents)),
    ];
    let mut columns = settings.map(|(name, talk)| Column { name, talk, ..Column::default() });
    let guards = 1 + rounds * columns.len() * CALLS;
    let (vigil, dir) = (vigil()?, tempfile::tempdir()?);
    let daemon = Daemon::start(&vigil, dir.path(), &site_toml(&Scenario::sized(guards, 60, 1)))?;
    let heard = listen(daemon.mqtt)?;
    // The first is the one who talks.
    let mut callers = 2..=guards;
    for _ in 0..rounds {
        for column in &mut columns {
            column.play(daemon.mqtt, &mut callers, &heard)?;
        }
    }
    daemon.stop()?;
    report(&columns)
}

/// What happens beside the calls, and what was measured.
#[derive(Debug, Default)]
struct Column {
    name: &'static str,
    talk: Option<Talk>,
    talked: Figure,
    acknowledged: Delays,
    told: Delays,
}

/// The middle one of every round, and all of them.
#[derive(Debug, Default)]
struct Delays {
    median: Figure,
    all: Vec<f64>,
}

impl Delays {
    fn push(&mut self, mut round: Vec<f64>) {
        round.sort_by(f64::total_cmp);
        self.median.push(percentile(&round, 50));
        self.all.extend(round);
        self.all.sort_by(f64::total_cmp);
    }
}

impl Column {
    fn play(
        &mut self,
        broker: SocketAddr,
        callers: &mut RangeInclusive<usize>,
        heard: &Receiver<(String, Instant)>,
    ) -> Result<(), Failure> {
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let talking = self.talk.map(|what| std::thread::spawn(move || talk(broker, what, &ends)));
        std::thread::sleep(SETTLE);
        let calls: Result<Vec<_>, Failure> =
            callers.take(CALLS).map(|guard| call(broker, &format!("G-{guard}"), heard)).collect();
        over.store(true, Ordering::Release);
        if let Some(talking) = talking {
            self.talked.push(talking.join().map_err(|_| "the one who talks fell silent")??);
        }
        let (acknowledged, told) = calls?.into_iter().unzip();
        self.acknowledged.push(acknowledged);
        self.told.push(told);
        Ok(())
    }
}

/// Everybody who calls for help, and when that was heard on site.
fn listen(broker: SocketAddr) -> Result<Receiver<(String, Instant)>, Failure> {
    let mut screen = Handset::connect(broker, "control-room")?;
    screen.subscribe("vigil/v1/plant-7/alerts")?;
    let (says, heard) = channel();
    std::thread::spawn(move || {
        // It ends with the agent, or when nobody listens any more.
        while let Ok(alert) = screen.hears() {
            let alert: serde_json::Value = serde_json::from_slice(&alert).unwrap_or_default();
            let guard = alert["guard"].as_str().unwrap_or_default().to_owned();
            if alert["rule"] == "sos" && says.send((guard, Instant::now())).is_err() {
                return;
            }
        }
    });
    Ok(heard)
}

/// One call for help: after how many milliseconds it was acknowledged, and told on site.
fn call(broker: SocketAddr, guard: &str, heard: &Receiver<(String, Instant)>) -> Result<(f64, f64), Failure> {
    let device = format!("hs-{guard}");
    let mut handset = Handset::connect(broker, &device)?;
    let sos = message(now(), serde_json::json!({"note": "help"})).to_string();
    std::thread::sleep(PAUSE);
    let called = Instant::now();
    handset.publish(&topic(&device, "sos"), sos.as_bytes())?;
    let acknowledged = called.elapsed();
    loop {
        let (who, at) = heard.recv_timeout(PATIENCE)?;
        if who == guard {
            let ms = |delay: Duration| delay.as_secs_f64() * 1_000.0;
            return Ok((ms(acknowledged), ms(at.saturating_duration_since(called))));
        }
    }
}

fn report(columns: &[Column; 3]) -> Result<(), Failure> {
    let [quiet, ..] = columns;
    let names = columns.iter().map(|column| column.name);
    let mut table = Table::new(&std::iter::once("beside the calls").chain(names).collect::<Vec<_>>());
    let mut row = |name: &str, figure: &dyn Fn(&Column) -> String| {
        table.row(std::iter::once(name.to_owned()).chain(columns.iter().map(figure)).collect());
    };
    row("messages/s of one device", &|c| c.talk.map_or_else(|| "-".to_owned(), |_| c.talked.to_string()));
    for (name, delays) in
        [("PUBACK", (|c| &c.acknowledged) as fn(&Column) -> &Delays), ("alert on site", |c| &c.told)]
    {
        row(&format!("{name}: median, ms"), &|c| delays(c).median.to_string());
        row(&format!("{name}: p99 of all, ms"), &|c| short(percentile(&delays(c).all, 99)));
        row(&format!("{name}: median as a ratio"), &|c| {
            delays(c).median.ratio(&delays(quiet).median).to_string()
        });
        row(&format!("{name}: p99 as a ratio"), &|c| {
            short(percentile(&delays(c).all, 99) / percentile(&delays(quiet).all, 99))
        });
    }
    println!("{table}");
    for column in columns {
        let later = column.told.median.median() - quiet.told.median.median();
        if later > MOST_MS {
            return Err(format!("beside {} the alert is {later:.0} ms later", column.name).into());
        }
    }
    Ok(())
}
