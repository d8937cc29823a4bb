//! `vigil simulate`: a scripted night, to any broker or to a file.

use super::{Failure, logs};
use crate::clock::Clock;
use crate::simulate::{Night, Pace, Scenario, Target, publish, site_toml, write_ndjson};
use crate::sources::mqtt::tls;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use vigil_core::time::{Span, Timestamp};

/// The most minutes of a sized night; the others are shorter.
const LONGEST_NIGHT: Span = Span::from_mins(2_880);

/// `vigil simulate`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which night: demo (one falls still, a handset dies, a tour is missed), quiet, or sized
    #[arg(long, default_value = "demo", value_parser = ["demo", "quiet", "sized"])]
    night: String,
    /// With `--night sized`: how many guards
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=2000))]
    guards: u16,
    /// With `--night sized`: how many minutes
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=2880))]
    minutes: u32,
    /// What names this night among all others
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// When the night starts (RFC 3339); a live night starts now, a recorded one on 2026-03-10
    #[arg(long, value_parser = start)]
    start: Option<Timestamp>,
    /// Write the night as NDJSON for `vigil replay` to this file; - is standard output
    #[arg(long, conflicts_with = "broker")]
    out: Option<PathBuf>,
    /// Publish to this broker, as host:port
    #[arg(long)]
    broker: Option<String>,
    /// Night minutes a minute; 0 publishes as fast as the broker takes it
    #[arg(long, default_value_t = 1)]
    speed: u32,
    /// The password of every device; their user names are their ids
    #[arg(long, env = "VIGIL_SIMULATE_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Connect with TLS and trust this authority (PEM)
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// Write the site file that goes with the night to this file
    #[arg(long)]
    site_out: Option<PathBuf>,
}

/// When a night may start: it ends up to two days later, and no instant lies behind the year 9999.
fn start(text: &str) -> Result<Timestamp, String> {
    let start = Timestamp::parse(text).map_err(|why| why.to_string())?;
    let last = Timestamp::from_millis(i64::MAX) - LONGEST_NIGHT;
    if start > last { Err(format!("a night that starts after {last} does not end")) } else { Ok(start) }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    logs::set_up("warn");
    let scenario = scenario(args);
    if let Some(path) = &args.site_out {
        fs::write(path, site_toml(&scenario)).map_err(|e| not_written(path, &e))?;
    }
    match (&args.out, &args.broker) {
        (Some(path), _) => record(path, Night::of(&scenario)),
        (None, Some(broker)) => send(args, broker, &scenario),
        (None, None) if args.site_out.is_some() => Ok(()),
        (None, None) => Err(Failure::invalid(
            "there is nowhere to put the night",
            "Give --broker HOST:PORT or --out FILE.",
        )),
    }
}

fn scenario(args: &Args) -> Scenario {
    let scenario = match args.night.as_str() {
        "quiet" => Scenario::quiet_night(),
        "sized" => Scenario::sized(usize::from(args.guards), args.minutes, args.seed),
        _ => Scenario::demo(),
    };
    let live = || args.broker.as_ref().map(|_| Clock::wall().now());
    let start = args.start.or_else(live);
    let scenario = Scenario { seed: args.seed, ..scenario };
    start.map_or(scenario.clone(), |start| scenario.starting(start))
}

fn not_written(path: &std::path::Path, e: &std::io::Error) -> Failure {
    Failure::failed(
        format!("cannot write {}: {e}", path.display()),
        "Give a file in a folder that you may write.",
    )
}

fn record(path: &std::path::Path, night: Night) -> Result<(), Failure> {
    if path.as_os_str() == "-" {
        let mut out = BufWriter::new(std::io::stdout().lock());
        write_ndjson(night, &mut out)?;
        return Ok(out.flush()?);
    }
    let mut out = BufWriter::new(File::create(path).map_err(|e| not_written(path, &e))?);
    write_ndjson(night, &mut out).and_then(|_| out.flush()).map_err(|e| not_written(path, &e))
}

fn send(args: &Args, broker: &str, scenario: &Scenario) -> Result<(), Failure> {
    let target = target(args, broker)?;
    let pace = match args.speed {
        0 => Pace::Unpaced,
        speed => Pace::Clocked(Clock::scaled(scenario.starts_at, speed)),
    };
    let counts = super::runtime()?.block_on(publish(Night::of(scenario), &target, &pace));
    let line = format!("published {}, acknowledged {}", counts.published, counts.acked);
    writeln!(std::io::stdout(), "{line}")?;
    if counts.acked < counts.published {
        return Err(Failure::failed(
            format!("{} messages were not acknowledged", counts.published - counts.acked),
            "Check the broker's address, the users and their passwords.",
        ));
    }
    Ok(())
}

fn target(args: &Args, broker: &str) -> Result<Target, Failure> {
    let wrong = || {
        Failure::invalid(
            format!("{broker:?} is no address of a broker"),
            "Give host:port, like 127.0.0.1:1883.",
        )
    };
    let (host, port) = broker.rsplit_once(':').ok_or_else(wrong)?;
    let tls = match &args.ca_file {
        None => None,
        Some(path) => {
            let pem = fs::read(path).map_err(|e| {
                Failure::failed(format!("cannot read {}: {e}", path.display()), "Give a PEM file.")
            })?;
            Some(
                tls::client(Some(&pem), None)
                    .map_err(|e| Failure::invalid(e, "Give the authority's certificate as PEM."))?,
            )
        }
    };
    let password = args.password.clone();
    Ok(Target {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: port.parse().map_err(|_| wrong())?,
        tls,
        password: Arc::new(move |_| password.clone()),
    })
}
