//! A receiver with very many gateways at their usual pace: each has its poll for commands open and sends its health every 30
//! seconds, over TLS. How long they take to come in when all of them come at once, as after a restart of the receiver; then how
//! long a delivery takes, how soon a command is where it belongs, and what the receiver needs for it. The row of the fewest is
//! the baseline of the others.
//!
//! `tests/postgres cargo bench -p vigil-tests --bench crowd`; `VIGIL_BENCH_GATEWAYS` says how many the last row has (5,000),
//! `VIGIL_BENCH_SECS` how long they are watched (60), `VIGIL_BIN` which binary. Each gateway opens two files here: `ulimit -n`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use vigil_cloud_sync::commands::WAIT;
use vigil_cloud_sync::wire::Producer;
use vigil_cloud_sync::{Event, EventKind, Uplink, Verdict, Way};
use vigil_tests::bench::figures::{Table, percentile, short};
use vigil_tests::bench::proc::{Memory, Usage, machine};
use vigil_tests::bench::raw::count;
use vigil_tests::bench::{Failure, setting};
use vigil_tests::crowd::{AS_IN_A_SHELL, Crowd, uplink};
use vigil_tests::house::{Noc, new_database, now};

/// How often a gateway says how it is (contract 6).
const HEARTBEAT: Duration = Duration::from_secs(30);
/// All of them must be in by then, or the bench has failed.
const ALL_IN: Duration = Duration::from_secs(600);
/// How many gateways are given a command while all are watched.
const COMMANDED: usize = 100;

fn main() -> Result<(), Failure> {
    println!("{}\n", machine());
    let most = setting("VIGIL_BENCH_GATEWAYS", 5_000)?;
    let time = Duration::from_secs(setting("VIGIL_BENCH_SECS", 60)?.try_into()?);
    let runtime = tokio::runtime::Runtime::new()?;
    let mut table = Table::new(&[
        "database",
        "gateways",
        "all are in after, s",
        "turned away meanwhile",
        "a delivery, ms: median, p99",
        "a command, ms: median, p99",
        "deliveries/s",
        "CPU, % of a core",
        "VmHWM, MiB",
    ]);
    for engine in ["SQLite", "PostgreSQL"] {
        for gateways in [most / 50, most / 5, most] {
            let database = (engine == "PostgreSQL").then(new_database);
            let mut noc = Noc::of_many(gateways, database.as_deref(), AS_IN_A_SHELL);
            let row = runtime.block_on(watched(&mut noc, gateways, time))?;
            table.row([vec![engine.to_owned(), short(count(gateways))], row].concat());
        }
    }
    println!("{table}");
    Ok(())
}

/// What the gateways tell of their deliveries.
#[derive(Debug, Default)]
struct Seen {
    took: Mutex<Vec<f64>>,
    turned_away: AtomicUsize,
}

impl Seen {
    /// What was gathered, in order; the next begins anew.
    fn taken(&self) -> (Vec<f64>, usize) {
        let mut took = std::mem::take(&mut *self.took.lock().unwrap_or_else(PoisonError::into_inner));
        took.sort_by(f64::total_cmp);
        (took, self.turned_away.swap(0, Ordering::AcqRel))
    }
}

async fn watched(noc: &mut Noc, gateways: usize, time: Duration) -> Result<Vec<String>, Failure> {
    let (seen, began, mut beating) = (Arc::new(Seen::default()), Instant::now(), JoinSet::new());
    let crowd = Crowd::comes(noc, gateways);
    for n in 0..gateways {
        let (uplink, seen) = (uplink(noc, n), Arc::clone(&seen));
        let first = HEARTBEAT.mul_f64(count(n) / count(gateways));
        beating.spawn(async move { beat(uplink, n, first, &seen).await });
    }
    crowd.all_in(ALL_IN).await?;
    let all_in = began.elapsed();
    // Until each has sent once, and its first poll that is held is open.
    tokio::time::sleep(HEARTBEAT).await;
    let (_, turned_away) = seen.taken();
    let (pid, watching, mut commands) = (noc.pid(), Instant::now(), vec![]);
    let before = Usage::of(&pid)?;
    let commanded = COMMANDED.min(gateways);
    for n in 0..commanded {
        let (gateway, ordered) = (format!("gw-{}", n * gateways / commanded), Instant::now());
        let guard = serde_json::json!({ "guard": "G-1" });
        let id = tokio::task::block_in_place(|| noc.order(&gateway, "welfare.check", &guard));
        let heard = crowd.hears(&id, WAIT * 2).await?;
        commands.push(heard.duration_since(ordered).as_secs_f64() * 1_000.0);
        tokio::time::sleep((time / u32::try_from(commanded)?).saturating_sub(ordered.elapsed())).await;
    }
    commands.sort_by(f64::total_cmp);
    let (used, watched) = (Usage::of(&pid)?.since(before), watching.elapsed().as_secs_f64());
    let (deliveries, refused) = seen.taken();
    beating.shutdown().await;
    if refused > 0 {
        return Err(format!("{refused} deliveries were turned away at the usual pace").into());
    }
    let both = |times: &[f64]| format!("{}, {}", short(percentile(times, 50)), short(percentile(times, 99)));
    Ok(vec![
        short(all_in.as_secs_f64()),
        short(count(turned_away)),
        both(&deliveries),
        both(&commands),
        short(count(deliveries.len()) / watched),
        short(used.cpu_secs / watched * 100.0),
        short(Memory::of(&pid)?.peak),
    ])
}

/// Says how a gateway is, for ever.
async fn beat(uplink: Uplink, gateway: usize, first: Duration, seen: &Seen) {
    let mut next = tokio::time::Instant::now() + first;
    for sequence in 1.. {
        tokio::time::sleep_until(next).await;
        let began = Instant::now();
        while !matches!(uplink.deliver(&[health(gateway, sequence)]).await, Verdict::Stored(_)) {
            seen.turned_away.fetch_add(1, Ordering::AcqRel);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let delay = began.elapsed().as_secs_f64() * 1_000.0;
        seen.took.lock().unwrap_or_else(PoisonError::into_inner).push(delay);
        next += HEARTBEAT;
    }
}

/// As an agent says it, of 600 bytes.
fn health(gateway: usize, sequence: u64) -> Event {
    let time = now();
    let data = format!(
        r#"{{"at":"{time}","version":"0.1.0","uptime_secs":{sequence},"store_bytes":1048576,"outbox":{{"critical":0,"alerts":0,"tours":0,"reports":0,"health":1,"dead":0,"highest_sequence":{sequence}}},"clock":"noc","link":null,"padding":"{}"}}"#,
        "x".repeat(380)
    );
    Event {
        producer: Producer(7),
        sequence,
        id: format!("health.{gateway}.{sequence}"),
        kind: EventKind::Health,
        subject: "gateway".into(),
        time,
        critical: false,
        data,
    }
}
