//! `vigil demo`: the whole chain on loopback with real parts, in a night that runs fast.

use super::{Failure, ask, logs};
use crate::clock::Clock;
use crate::run::Agent;
use crate::setup::{Setup, SourceSetup, UplinkSetup};
use crate::simulate::{Night, Pace, Scenario, Target, publish};
use crate::sources::broker;
use crate::store::Masters;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use vigil_cloud_sync::{Origin, Token, UplinkConfig};
use vigil_core::id::{GatewayId, OperatorId};
use vigil_core::site::Site;
use vigil_core::time::Span;
use vigil_noc::access::audit::Actor;
use vigil_noc::access::people::{self, NewPerson};
use vigil_noc::access::tokens::{self, NewToken};
use vigil_noc::access::{password, secret, sessions};
use vigil_noc::{GatewayAccess, Noc, NocConfig, Role, TlsFiles};

/// Where the pages are if nobody else is there; otherwise any free port.
const GATEWAY_PAGE: u16 = 8080;
const NOC_PAGE: u16 = 8444;
/// How often the demo looks at the NOC.
const LOOK: Duration = Duration::from_millis(500);
/// How long the last alerts may take to the NOC after the night.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// `vigil demo`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Night minutes a minute
    #[arg(long, default_value_t = 240, value_parser = clap::value_parser!(u32).range(1..=3600))]
    speed: u32,
    /// End when the night is over, and print what the NOC received
    #[arg(long)]
    once: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    logs::set_up("warn,vigil_agent::sources::mqtt::line=error");
    let folder = tempfile::tempdir().map_err(|e| {
        Failure::failed(format!("cannot make a folder for the demo: {e}"), "Is the disk full?")
    })?;
    super::runtime()?.block_on(show(args, folder.path()))
}

/// Anything that goes wrong in a demo is told in one sentence.
fn broken(why: impl Display) -> Failure {
    Failure::failed(
        format!("the demo cannot go on: {why}"),
        "Try again; `vigil demo --help` shows what can be chosen.",
    )
}

async fn show(args: &Args, folder: &Path) -> Result<(), Failure> {
    let scenario = Scenario::demo();
    let site = Arc::new(scenario.site().map_err(broken)?);
    // The agent stops first: it would miss the operations centre.
    let (stop, stopping) = watch::channel(false);
    let (close, closing) = watch::channel(false);
    let noc = noc(folder, &site).await?;
    let (events, noc_page) = (noc.events_addr(), noc.operator_addr());
    let ways = let_in(&noc).await?;
    let serving = tokio::spawn(noc.serve(crate::run::told_to_stop(closing)));
    let clock = Clock::scaled(scenario.starts_at - Span::from_secs(30), args.speed);
    let agent = agent(folder, &site, events, clock.clone()).await?;
    let mqtt = agent.mqtt_addr().ok_or_else(|| broken("the broker has no address"))?;
    let gateway_page = agent.http_addr();
    let guarding = tokio::spawn(agent.run(crate::run::told_to_stop(stopping)));
    let night = tokio::spawn(walk_the_night(scenario.clone(), mqtt, clock.clone()));
    let mut screen = Screen::new(noc_page, gateway_page, ways);
    let shown = tell(args, &night, &mut screen, &clock, &site).await;
    stop.send_replace(true);
    night.abort();
    guarding.await.map_err(broken)?.map_err(broken)?;
    close.send_replace(true);
    serving.await.map_err(broken)?.map_err(broken)?;
    shown
}

/// Tells the night on the terminal, as long as there is somebody to tell it to.
async fn tell(
    args: &Args,
    night: &tokio::task::JoinHandle<()>,
    screen: &mut Screen,
    clock: &Clock,
    site: &Site,
) -> Result<(), Failure> {
    let (gateway, noc) = (screen.gateway, screen.noc);
    say(&format!("Vigil demo: a night on a guarded site, {} night minutes a minute.\n", args.speed))?;
    say(&format!("  gateway  http://{gateway}   (guards, windows, tours, devices)"))?;
    say(&format!("  NOC      http://{noc}   (gateways, alerts as they arrive)"))?;
    say(&format!("           log in as operator with {}", screen.ways.password))?;
    say(&format!(
        "           or once, within 5 minutes: http://{noc}/login?ticket={}\n",
        screen.ways.ticket
    ))?;
    let watched = async {
        while !night.is_finished() {
            screen.refresh(clock, site).await?;
            tokio::time::sleep(LOOK).await;
        }
        screen.wait_for_last_words(clock, site).await
    };
    tokio::select! {
        watched = watched => watched?,
        _ = tokio::signal::ctrl_c() => {}
    }
    screen.sum_up()?;
    if !args.once && night.is_finished() {
        say("The night is over. The pages stay up until Ctrl-C.")?;
        tokio::signal::ctrl_c().await.map_err(broken)?;
    }
    Ok(())
}

async fn walk_the_night(scenario: Scenario, mqtt: SocketAddr, clock: Clock) {
    let target = Target {
        host: mqtt.ip().to_string(),
        port: mqtt.port(),
        tls: None,
        password: Arc::new(|device| Some(password_of(device))),
    };
    publish(Night::of(&scenario), &target, &Pace::Clocked(clock)).await;
}

/// The demo's broker listens on loopback for half a minute; its passwords are no secret.
fn password_of(device: &str) -> String {
    format!("demo-{device}")
}

/// A private authority, the NOC's certificate under it, and the receiver that shows it.
async fn noc(folder: &Path, site: &Site) -> Result<Noc, Failure> {
    let (cert, key, ca) = (folder.join("noc.pem"), folder.join("noc.key"), folder.join("ca.pem"));
    let authority = certificates().map_err(broken)?;
    std::fs::write(&cert, authority.cert).map_err(broken)?;
    std::fs::write(&key, authority.key).map_err(broken)?;
    std::fs::write(&ca, authority.ca).map_err(broken)?;
    let access = GatewayAccess {
        gateway: gateway()?,
        tenant: site.tenant.clone(),
        site: site.id.clone(),
        token_sha256: Some(vigil_noc::token_sha256(DEMO_TOKEN)),
        cert_sha256: vec![],
    };
    let config = |page| NocConfig {
        operator_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, page)),
        tls: Some(TlsFiles { cert: cert.clone(), key: key.clone() }),
        ..NocConfig::on_loopback(folder.join("noc"), vec![access.clone()])
    };
    match Noc::bind(config(NOC_PAGE)).await {
        Ok(noc) => Ok(noc),
        Err(_port_taken) => Noc::bind(config(0)).await.map_err(broken),
    }
}

/// How people and the demo itself come in at the NOC. New with each demo: others on this machine may reach the page.
struct Ways {
    password: String,
    ticket: String,
    token: String,
}

async fn let_in(noc: &Noc) -> Result<Ways, Failure> {
    let ways = Ways {
        password: secret::password().map_err(broken)?,
        ticket: secret::made().map_err(broken)?,
        token: secret::made().map_err(broken)?,
    };
    let name = |name| OperatorId::new(name).map_err(broken);
    let (hash, role) = (password::hash(&ways.password).map_err(broken)?, Role::Admin);
    let operator = NewPerson { name: name("operator")?, tenant: None, role, hash, must_change: false };
    let digest = secret::digest(&ways.token);
    let program = NewToken { name: name("demo")?, tenant: None, role: Role::Viewer, digest };
    let (ticket, now) = (secret::digest(&ways.ticket), Clock::wall().now());
    let clerk = noc.clerk();
    let furnished = clerk.ask(move |ledger| {
        ledger.within(|tx| {
            people::add(tx, &Actor::console(), now, &operator)?;
            sessions::issue(tx, now, operator.name.as_str(), &ticket)?;
            tokens::add(tx, &Actor::console(), now, &program)
        })
    });
    furnished.await.map_err(broken)?;
    Ok(ways)
}

/// Between two parts of one process on loopback.
const DEMO_TOKEN: &str = "demo-token-of-the-loopback-gateway";

fn gateway() -> Result<GatewayId, Failure> {
    GatewayId::new("gw-demo").map_err(broken)
}

struct Certificates {
    ca: String,
    cert: String,
    key: String,
}

fn certificates() -> Result<Certificates, rcgen::Error> {
    let mut ca = rcgen::CertificateParams::new(Vec::new())?;
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "Vigil demo authority");
    let ca_key = rcgen::KeyPair::generate()?;
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate()?;
    let server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    let cert = server.signed_by(&key, &issuer)?.pem();
    Ok(Certificates { ca: ca_pem, cert, key: key.serialize_pem() })
}

async fn agent(folder: &Path, site: &Arc<Site>, events: SocketAddr, clock: Clock) -> Result<Agent, Failure> {
    let lines: Result<Vec<String>, _> = site
        .devices
        .iter()
        .map(|d| broker::password_line(d.id.as_str(), &password_of(d.id.as_str())))
        .collect();
    let file = folder.join("mqtt.passwd");
    std::fs::write(&file, lines.map_err(broken)?.join("\n")).map_err(broken)?;
    let origin = Origin { tenant: site.tenant.clone(), site: site.id.clone(), gateway: gateway()? };
    let mut uplink = UplinkConfig::new(&format!("https://{events}/v1"), origin, Token::new(DEMO_TOKEN));
    uplink.ca_pem = Some(std::fs::read(folder.join("ca.pem")).map_err(broken)?);
    let setup = |page: u16| Setup {
        gateway: uplink.origin.gateway.clone(),
        site: Arc::clone(site),
        data_dir: folder.join("gateway"),
        source: SourceSetup::Embedded(Box::new(broker::BrokerConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
            password_file: Some(file.clone()),
            allow_anonymous: false,
            limits: broker::Limits::default(),
        })),
        serial: vec![],
        uplink: Some(UplinkSetup::Centre(uplink.clone())),
        heartbeat: Duration::from_secs(5),
        http_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, page)),
        retention: Span::from_hours(72),
        max_bytes: 256 * 1024 * 1024,
        masters: Masters::default(),
        bundles: None,
    };
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, GATEWAY_PAGE)).is_ok();
    Agent::start(setup(if free { GATEWAY_PAGE } else { 0 }), clock).await.map_err(broken)
}

/// What the terminal shows: each alert as the NOC gets it, and one line of progress.
struct Screen {
    ways: Ways,
    noc: SocketAddr,
    gateway: SocketAddr,
    terminal: bool,
    alerts: BTreeMap<String, Value>,
    progress: String,
}

impl Screen {
    fn new(noc: SocketAddr, gateway: SocketAddr, ways: Ways) -> Self {
        let terminal = io::stdout().is_terminal();
        Self { ways, noc, gateway, terminal, alerts: BTreeMap::new(), progress: String::new() }
    }

    async fn refresh(&mut self, clock: &Clock, site: &Site) -> io::Result<()> {
        let received: Value = self.get(self.noc, "/api/alerts?limit=500", Some(&self.ways.token)).await;
        for row in received
            .as_array()
            .or_else(|| received.get("alerts").and_then(Value::as_array))
            .into_iter()
            .flatten()
        {
            if let Some(alert) = row.get("alert") {
                self.on_alert(alert.clone(), site)?;
            }
        }
        let status = self.get(self.gateway, "/api/status", None).await;
        let on_duty = status.get("guards").and_then(Value::as_array).map_or(0, |guards| {
            guards.iter().filter(|g| g.get("presence").and_then(Value::as_str) != Some("off_duty")).count()
        });
        let counted = |key: &str| {
            let object = status.get(key).and_then(Value::as_object);
            object.into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum::<u64>()
        };
        let time = clock.now().local_clock(site.timezone);
        let guards = if on_duty == 1 { "guard" } else { "guards" };
        self.progress = format!(
            "{time} on site · {on_duty} {guards} on duty · {} observations stored · {} alerts at the NOC",
            counted("outcomes"),
            self.alerts.len()
        );
        self.draw_progress()
    }

    async fn get(&self, from: SocketAddr, path: &str, token: Option<&str>) -> Value {
        // A page that does not answer this time is asked again in half a second.
        let text = ask::fetch(&format!("http://{from}{path}"), token).await.unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn on_alert(&mut self, alert: Value, site: &Site) -> io::Result<()> {
        let text = |key: &str| alert.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
        let id = text("id");
        let known = self.alerts.insert(id, alert.clone());
        let changed = |old: &Value| old.get("revision") != alert.get("revision");
        let what = match &known {
            None => "raised ",
            Some(old) if changed(old) => "revised",
            Some(_) => return Ok(()),
        };
        let at =
            vigil_core::time::Timestamp::parse(&text("updated_at")).map(|t| t.local_clock(site.timezone));
        let state = if alert.get("cleared_at").is_some_and(Value::is_string) { " [cleared]" } else { "" };
        let escalated = if alert.get("escalated") == Some(&Value::Bool(true)) { " [escalated]" } else { "" };
        self.clear_line()?;
        say(&format!(
            "  {} {what} {:8} {:15} {}{state}{escalated}",
            at.unwrap_or_else(|_| "--:--".into()),
            text("severity"),
            text("rule"),
            text("summary")
        ))
    }

    async fn wait_for_last_words(&mut self, clock: &Clock, site: &Site) -> io::Result<()> {
        let patience = tokio::time::Instant::now() + LAST_WORDS;
        loop {
            self.refresh(clock, site).await?;
            let status = self.get(self.gateway, "/api/status", None).await;
            let waits =
                |lane: &str| status.pointer(&format!("/outbox/{lane}")).and_then(Value::as_u64) != Some(0);
            let more = ["critical", "alerts", "tours"].into_iter().any(waits);
            if !more || tokio::time::Instant::now() > patience {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// One line that is drawn over on a terminal; in a file it would only be noise.
    fn draw_progress(&self) -> io::Result<()> {
        if !self.terminal {
            return Ok(());
        }
        self.clear_line()?;
        let mut out = io::stdout();
        write!(out, "  {}", self.progress)?;
        out.flush()
    }

    fn clear_line(&self) -> io::Result<()> {
        if self.terminal { write!(io::stdout(), "\r\x1b[2K") } else { Ok(()) }
    }

    fn sum_up(&self) -> io::Result<()> {
        self.clear_line()?;
        say(&format!("\n{}\n", self.progress))?;
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for alert in self.alerts.values() {
            let text = |key: &str| alert.get(key).and_then(Value::as_str).unwrap_or("-");
            *counts.entry((text("rule"), text("severity"))).or_default() += 1;
        }
        say("What the NOC received:")?;
        counts.iter().try_for_each(|((rule, severity), n)| say(&format!("  {n:3} x {rule} ({severity})")))
    }
}

/// A line for the person who watches.
fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}
