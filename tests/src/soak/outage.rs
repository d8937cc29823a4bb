//! Three days without the operations centre, and its return: a whole site of guards on a running agent, whose clock runs
//! fast, with nobody at the other end of the uplink; then somebody is there.
//!
//! The agent is a process of its own, so that its memory is its own. The guards are ours, and so is the receiver.

use crate::bench::proc::Memory;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use vigil_agent::clock::Clock;
use vigil_agent::run::Agent;
use vigil_agent::setup::{Setup, SourceSetup, UplinkSetup};
use vigil_agent::simulate::{Behaviour, Counts, Message, Night, Pace, Scenario, Target, publish};
use vigil_agent::sources::broker;
use vigil_agent::store::Masters;
use vigil_cloud_sync::{Origin, Token, UplinkConfig};
use vigil_core::id::{GatewayId, OperatorId};
use vigil_core::time::{Span, Timestamp};
use vigil_noc::access::audit::Actor;
use vigil_noc::access::tokens::{self, NewToken};
use vigil_noc::ledger::Ledger;
use vigil_noc::{GatewayAccess, Noc, NocConfig, Role, Scope, token_sha256};

/// Everyone checks in at the start of a shift and out at its end.
const SHIFT_HOURS: u32 = 8;
/// How long the guards go on after the receiver is there again: what is CRITICAL has to pass the present, too.
const AFTERWARDS_HOURS: u32 = 2;
/// `[store] max_size`, as it is unless set.
const MAX_BYTES: u64 = 1024 * 1024 * 1024;
/// A CRITICAL event is there so soon after the receiver.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
/// All of it is there so soon: a thousand events a second, and as much again.
const WHOLE_WITHIN: Duration = Duration::from_secs(120);
/// Memory after three days, against that after one. What late evidence may change is kept for 72 h, so a part of it grows
/// until then.
const GROWTH: f64 = 1.5;
/// Longer than anything here takes unless it never comes.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(50);
/// What glibc's allocator is told on a gateway (decision 0034): snapshots of some megabytes leave holes otherwise.
const MALLOC: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_TRIM_THRESHOLD_", "262144")];
/// With which the soak looks at the receiver.
const PROGRAM: &str = "token-of-the-soak";
const TOKEN: &str = "token-of-a-loopback-gateway";
/// More alerts than any plan here raises.
const ALL: u32 = 1_000_000;

/// What is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// How many are on duty, each with a handset and a tour every hour.
    pub guards: usize,
    /// How long nobody is at the other end.
    pub hours: u32,
    /// How fast time passes.
    pub speed: u32,
    /// Names the nights.
    pub seed: u64,
}

/// What happened.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Messages of the guards.
    pub counts: Counts,
    /// Events that waited when the receiver came back, and how many of them were CRITICAL.
    pub waited: (u64, u64),
    /// Resident MiB by the hour of the night.
    pub memory: Vec<(u32, f64)>,
    /// The most bytes that the data folder ever held.
    pub disk: u64,
    /// From the receiver's return until it had a CRITICAL alert.
    pub first: Duration,
    /// Until it had everything.
    pub whole: Duration,
    /// How many alerts it had then.
    pub alerts: usize,
    /// What should not have been.
    pub faults: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counts, waited, memory, disk, first, whole, alerts, faults } = self;
        writeln!(f, "{} messages published, {} acknowledged", counts.published, counts.acked)?;
        writeln!(f, "{} events waited, {} of them CRITICAL", waited.0, waited.1)?;
        let resident = memory.iter().map(|(hour, mib)| format!("{mib:.1} MiB after {hour} h"));
        writeln!(f, "resident: {}", resident.collect::<Vec<_>>().join(", "))?;
        writeln!(f, "data folder: at most {:.1} MiB", mib(*disk))?;
        let secs = |d: &Duration| d.as_secs_f64();
        writeln!(f, "first CRITICAL after {:.1} s, all after {:.1} s", secs(first), secs(whole))?;
        write!(f, "{alerts} alerts at the receiver, {} faults", faults.len())?;
        faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

/// Whatever stops it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a gateway process says when it listens.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    mqtt: SocketAddr,
    page: SocketAddr,
    /// What its clock shows.
    now: Timestamp,
}

/// The site, with people who fall still, call for help, and leave tours out.
fn shift(plan: Plan, n: u32) -> Scenario {
    let minutes = 60 * (plan.hours + AFTERWARDS_HOURS);
    let site = Scenario::sized(plan.guards, minutes.max(24 * 60), plan.seed);
    let starts_at = site.starts_at + Span::from_hours(i64::from(n * SHIFT_HOURS));
    let ends_at = starts_at + Span::from_hours(i64::from(SHIFT_HOURS));
    let mut shift = Scenario { seed: plan.seed + u64::from(n), ends_at, ..site.starting(starts_at) };
    for (i, guard) in (n as usize..).zip(&mut shift.guards) {
        let minutes = |n: usize| Span::from_mins(i64::try_from(n).unwrap_or(0));
        match i % 20 {
            3 => guard.behaviours.push(Behaviour::FallsStill { at: minutes(60 + i % 120) }),
            7 => guard.behaviours.push(Behaviour::SendsSos { at: minutes(30 + i % 400) }),
            11 => guard.behaviours.push(Behaviour::MissesTour { run: i % 6 }),
            15 => {
                let (at, back) = (minutes(90), Some(minutes(200)));
                guard.behaviours.push(Behaviour::HandsetDies { at, back });
            }
            _ => {}
        }
    }
    shift
}

fn nights(plan: Plan) -> impl Iterator<Item = Message> + Send {
    let shifts = (plan.hours + AFTERWARDS_HOURS).div_ceil(SHIFT_HOURS);
    let end = shift(plan, 0).starts_at + Span::from_hours(i64::from(plan.hours + AFTERWARDS_HOURS));
    (0..shifts).flat_map(move |n| Night::of(&shift(plan, n))).take_while(move |m| m.at < end)
}

fn origin(plan: Plan) -> Result<Origin, Failure> {
    let site = shift(plan, 0).site().map_err(|p| p.to_string())?;
    Ok(Origin { tenant: site.tenant.clone(), site: site.id.clone(), gateway: GatewayId::new("gw-1")? })
}

/// The gateway: runs in `folder` until its standard input ends.
pub fn gateway(plan: Plan, folder: &Path, noc: SocketAddr) -> Result<(), Failure> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let scenario = shift(plan, 0);
        let site = Arc::new(scenario.site().map_err(|p| p.to_string())?);
        let origin = origin(plan)?;
        let setup = Setup {
            gateway: origin.gateway.clone(),
            site,
            data_dir: folder.to_owned(),
            source: SourceSetup::Embedded(Box::new(broker::BrokerConfig {
                listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                tls: None,
                password_file: None,
                allow_anonymous: true,
                limits: broker::Limits::default(),
            })),
            serial: vec![],
            uplink: Some(UplinkSetup::Centre(UplinkConfig::new(
                &format!("http://{noc}/v1"),
                origin,
                Token::new(TOKEN),
            ))),
            heartbeat: Duration::from_secs(30),
            http_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            retention: Span::from_hours(72),
            max_bytes: MAX_BYTES,
            masters: Masters::default(),
            bundles: None,
        };
        let clock = Clock::scaled(scenario.starts_at - Span::from_mins(1), plan.speed);
        let agent = Agent::start(setup, clock.clone()).await?;
        let mqtt = agent.mqtt_addr().ok_or("the broker has no address")?;
        let ready = Ready { mqtt, page: agent.http_addr(), now: clock.now() };
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&ready)?)?;
        let (told, end) = oneshot::channel();
        std::thread::spawn(move || {
            // Whatever ends it, nobody is there any longer.
            let _ended = std::io::stdin().lock().read_line(&mut String::new());
            told.send(())
        });
        agent.run(async { drop(end.await) }).await?;
        Ok(())
    })
}

/// What waits at the gateway, signs of life aside.
struct Outbox {
    waiting: u64,
    critical: u64,
    /// The highest number that an event has.
    highest: u64,
}

/// A gateway as a process, ended when it is dropped.
struct Gateway {
    child: Child,
    ready: Ready,
}

impl Gateway {
    fn start(program: &Path, plan: Plan, folder: &Path, noc: SocketAddr) -> Result<Self, Failure> {
        let mut child = Command::new(program)
            .arg("gateway")
            .arg(folder)
            .args(["--noc", &noc.to_string(), "--guards", &plan.guards.to_string()])
            .args(["--hours", &plan.hours.to_string(), "--speed", &plan.speed.to_string()])
            .args(["--seed", &plan.seed.to_string()])
            .envs(MALLOC)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        Ok(Self { ready: serde_json::from_str(&line)?, child })
    }

    /// The JSON at a path of its page.
    async fn asked(&self, path: &str) -> Result<Value, Failure> {
        ask(self.ready.page, path).await
    }

    /// What waits for the NOC.
    async fn outbox(&self) -> Result<Outbox, Failure> {
        let status = self.asked("/api/status").await?;
        let of = |name: &str| status["outbox"][name].as_u64().ok_or_else(|| format!("no {name}: {status}"));
        let critical = of("critical")?;
        let waiting = critical + of("alerts")? + of("tours")? + of("reports")?;
        Ok(Outbox { waiting, critical, highest: of("highest_sequence")? })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // One that has ended already needs no killing.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

async fn ask(at: SocketAddr, path: &str) -> Result<Value, Failure> {
    ask_as(at, path, None).await
}

/// What operators see at the receiver.
async fn seen(at: SocketAddr, path: &str) -> Result<Value, Failure> {
    ask_as(at, path, Some(PROGRAM)).await
}

async fn ask_as(at: SocketAddr, path: &str, token: Option<&'static str>) -> Result<Value, Failure> {
    let path = path.to_owned();
    let asked = tokio::task::spawn_blocking(move || crate::house::fetch_as(at, &path, token));
    let (status, body) = asked.await??;
    if status == 200 { Ok(serde_json::from_str(&body)?) } else { Err(format!("{status}: {body}").into()) }
}

/// All of it; `program` is the one that has the subcommand `gateway`.
pub fn outage(program: &Path, plan: Plan) -> Result<Outcome, Failure> {
    let folder = tempfile::tempdir()?;
    tokio::runtime::Runtime::new()?.block_on(lived(program, plan, folder.path()))
}

async fn lived(program: &Path, plan: Plan, folder: &Path) -> Result<Outcome, Failure> {
    // A port that is free now, and at which nobody listens for three days.
    let noc = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let data = folder.join("gateway");
    let gateway = Gateway::start(program, plan, &data, noc)?;
    let clock = Clock::scaled(gateway.ready.now, plan.speed);
    let target = Target {
        host: gateway.ready.mqtt.ip().to_string(),
        port: gateway.ready.mqtt.port(),
        tls: None,
        password: Arc::new(|_| None),
    };
    let pace = Pace::Clocked(clock.clone());
    let guards = tokio::spawn(async move { publish(nights(plan), &target, &pace).await });
    let mut outcome = Outcome::default();
    let began = shift(plan, 0).starts_at;
    for hour in 1..=plan.hours {
        tokio::time::sleep(clock.until(began + Span::from_hours(i64::from(hour)))).await;
        outcome.memory.push((hour, Memory::of(&gateway.child.id().to_string())?.resident));
        outcome.disk = outcome.disk.max(weight(&data)?);
    }
    let then = gateway.outbox().await?;
    outcome.waited = (then.waiting, then.critical);
    let (stop, stopped) = oneshot::channel::<()>();
    let noc = Noc::bind(receiver(plan, folder, noc)?).await?;
    let page = noc.operator_addr();
    let program = NewToken {
        name: OperatorId::new("soak")?,
        tenant: None,
        role: Role::Viewer,
        digest: token_sha256(PROGRAM),
    };
    let now = Clock::wall().now();
    let clerk = noc.clerk();
    clerk.ask(move |ledger| ledger.within(|tx| tokens::add(tx, &Actor::console(), now, &program))).await?;
    let serving = tokio::spawn(noc.serve(async { drop(stopped.await) }));
    let returned = Instant::now();
    eventually("a CRITICAL alert", async || Ok(critical(&seen(page, "/api/alerts?limit=1").await?))).await?;
    outcome.first = returned.elapsed();
    eventually("all that waited", async || Ok(has_all(&seen(page, "/api/gateways").await?, then.highest)))
        .await?;
    outcome.whole = returned.elapsed();
    outcome.counts = guards.await?;
    outcome.disk = outcome.disk.max(weight(&data)?);
    // Time goes on, and so do alerts: those of now are to be there when all events of now are.
    let until_now = alerts(&gateway.asked("/api/alerts").await?)?;
    let highest = gateway.outbox().await?.highest;
    eventually("all until now", async || Ok(has_all(&seen(page, "/api/gateways").await?, highest))).await?;
    // Dropping the sender says it as well.
    let _told = stop.send(());
    serving.await??;
    let at_last = alerts(&gateway.asked("/api/alerts").await?)?;
    compare(&until_now, &at_last, folder, &mut outcome)?;
    judge(&mut outcome);
    Ok(outcome)
}

fn receiver(plan: Plan, folder: &Path, events: SocketAddr) -> Result<NocConfig, Failure> {
    let Origin { tenant, site, gateway } = origin(plan)?;
    let access =
        GatewayAccess { gateway, tenant, site, token_sha256: Some(token_sha256(TOKEN)), cert_sha256: vec![] };
    let data_dir = folder.join("noc");
    Ok(NocConfig { events_listen: events, ..NocConfig::on_loopback(data_dir, vec![access]) })
}

fn critical(answer: &Value) -> bool {
    answer.pointer("/alerts/0/alert/severity").and_then(Value::as_str) == Some("CRITICAL")
}

/// Whether the receiver has every number up to this one.
fn has_all(gateways: &Value, highest: u64) -> bool {
    let row = &gateways["gateways"][0];
    let beyond = |hole: &Value| hole["first"].as_u64().is_some_and(|first| first > highest);
    let whole = row["holes"].as_array().is_some_and(|holes| holes.iter().all(beyond));
    whole && row["highest_sequence"].as_u64().is_some_and(|there| there >= highest)
}

/// Looks until it holds.
async fn eventually(what: &str, mut look: impl AsyncFnMut() -> Result<bool, Failure>) -> Result<(), Failure> {
    let began = Instant::now();
    while !look().await? {
        if began.elapsed() > PATIENCE {
            return Err(format!("{what} does not come in {PATIENCE:?}").into());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Bytes of the files below a folder.
fn weight(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // A file that is gone by now weighs nothing.
        let Ok(meta) = entry.metadata() else { continue };
        bytes += if meta.is_dir() { weight(&entry.path())? } else { meta.len() };
    }
    Ok(bytes)
}

/// Alerts by id.
type Alerts = BTreeMap<String, Value>;

fn alerts(list: &Value) -> Result<Alerts, Failure> {
    let list = list.as_array().ok_or("no list of alerts")?;
    Ok(list
        .iter()
        .map(|alert| (alert["id"].as_str().unwrap_or_default().to_owned(), alert.clone()))
        .collect())
}

/// Every alert that the gateway had until now has to be at the receiver, as it was or later; and nothing that it never had.
fn compare(
    until_now: &Alerts,
    at_last: &Alerts,
    folder: &Path,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let rows = Ledger::in_file(&folder.join("noc").join("noc.db"), None)?.alerts(&Scope::whole(), ALL)?;
    outcome.alerts = rows.len();
    let there: Result<Vec<Value>, _> = rows.iter().map(|r| serde_json::from_str(r.alert.get())).collect();
    let there = alerts(&Value::Array(there?))?;
    if there.len() != rows.len() {
        outcome.faults.push("an alert is there twice".to_owned());
    }
    let revision = |alert: &Value| alert["revision"].as_u64();
    for (id, here) in until_now {
        match there.get(id) {
            Some(sent) if sent == here || revision(sent) > revision(here) => {}
            other => outcome.faults.push(format!("{here} is {other:?} there")),
        }
    }
    for (id, sent) in &there {
        match at_last.get(id) {
            Some(here) if sent == here || revision(here) > revision(sent) => {}
            other => outcome.faults.push(format!("{sent} is {other:?} here")),
        }
    }
    Ok(())
}

fn judge(outcome: &mut Outcome) {
    let Outcome { counts, waited, memory, disk, first, whole, .. } = outcome;
    let after_a_third = memory.get(memory.len() / 3).map_or(0.0, |(_, mib)| *mib);
    let at_last = memory.last().map_or(0.0, |(_, mib)| *mib);
    let table = [
        (counts.acked == counts.published, format!("{counts:?}")),
        (waited.1 > 0, "nothing CRITICAL waited".to_owned()),
        (*first <= FIRST_WITHIN, format!("the first CRITICAL one took {first:?}")),
        (*whole <= WHOLE_WITHIN, format!("all of it took {whole:?}")),
        (*disk <= MAX_BYTES, format!("{disk} bytes on disk")),
        (at_last <= GROWTH * after_a_third, format!("memory from {after_a_third} to {at_last} MiB")),
    ];
    outcome.faults.extend(table.into_iter().filter(|(holds, _)| !holds).map(|(_, what)| what));
}
