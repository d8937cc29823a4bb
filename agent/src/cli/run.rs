//! `vigil run`: the agent in the foreground.

use super::signals::{Stop, on_signal};
use super::{Failure, logs};
use crate::clock::Clock;
use crate::run::{Agent, RunError, Switch};
use crate::setup::{Setup, setup};
use crate::store::{DiskError, StoreError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind};
use vigil_config::Environment;

/// How long a start may go on that is told to stop: with the drain after it, a stop takes less than five seconds.
const LAST_STEPS: Duration = Duration::from_millis(400);

/// `vigil run`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The agent's configuration
    #[arg(long, default_value = "agent.toml")]
    config: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    logs::set_up("info");
    let env = Environment::of_process();
    let config = vigil_config::load_agent(&args.config)?;
    let site = Arc::new(vigil_config::load_site(config.site_file())?);
    vigil_config::check_together(&config, &site)?;
    let site_file = config.site_file().to_owned();
    let setup = setup(&config, site, &env).map_err(|why| {
        Failure::invalid(why, "`vigil check` shows every problem of the configuration at once.")
    })?;
    let runtime = super::runtime()?;
    let ended = runtime.block_on(guard(setup, site_file));
    // A start that was given up may still be busy with the store; it holds nothing that was acknowledged.
    runtime.shutdown_background();
    ended?;
    tracing::info!("stopped");
    Ok(())
}

/// Starts the agent and runs it until it is told to stop. Signals count from before its first step.
async fn guard(setup: Setup, site_file: PathBuf) -> Result<(), Failure> {
    let (mut stop, hangup) = (Stop::listen()?, on_signal(SignalKind::hangup())?);
    // On a task of its own: a large journal takes its time, and a stop is heard meanwhile.
    let mut starting = tokio::spawn(Agent::start(setup, Clock::wall()));
    let mut told = false;
    let started = tokio::select! {
        started = &mut starting => started,
        () = stop.told() => {
            told = true;
            let Ok(started) = tokio::time::timeout(LAST_STEPS, starting).await else { return Ok(()) };
            started
        }
    };
    let mut agent = started.map_err(not_finished)?.map_err(|why| not_started(&why))?;
    announce(&agent);
    agent.beside("reading of the site file", reload_on_hangup(hangup, agent.switch(), site_file));
    let shutdown = async {
        if !told {
            stop.told().await;
        }
        tracing::info!("told to stop");
    };
    agent
        .run(shutdown)
        .await
        .map_err(|why| Failure::failed(why, "Nothing that was not stored was acknowledged; start it again."))
}

fn not_finished(why: tokio::task::JoinError) -> Failure {
    Failure::failed(format!("the start broke off: {why}"), "That is a defect: report it with the log above.")
}

fn not_started(why: &RunError) -> Failure {
    let mend = match why {
        RunError::Broker(_) | RunError::Page(_) => {
            "Is another agent or broker using the address? Choose another in agent.toml."
        }
        RunError::Store(StoreError::Disk(DiskError::InUse(_))) => {
            "Is another agent running on this data_dir? It must be a folder that only this agent writes."
        }
        RunError::Store(StoreError::Keys(why)) => super::mend_keys(why),
        RunError::Store(_) => {
            "data_dir must be a folder that this user may write to, on a disk with room; see [store] in agent.toml."
        }
        RunError::Uplink(_) => "Mend [uplink] in agent.toml; `vigil check` shows every problem at once.",
        RunError::Pump(_)
        | RunError::Ended(_)
        | RunError::Stuck
        | RunError::Hopeless
        | RunError::Thread(_) => {
            "Nothing was acknowledged; start it again, and look at the disk and the limits of the system."
        }
    };
    Failure::failed(why, mend)
}

fn announce(agent: &Agent) {
    let revived = agent.revived();
    let down_secs = revived.down.map(|d| d.millis() / 1_000);
    match agent.mqtt_addr() {
        Some(mqtt) => {
            tracing::info!(%mqtt, page = %format!("http://{}", agent.http_addr()), replayed = revived.replayed, down_secs, "running")
        }
        None => {
            tracing::info!(page = %format!("http://{}", agent.http_addr()), replayed = revived.replayed, down_secs, "running")
        }
    }
}

/// SIGHUP reads the site file and the passwords again; what is invalid changes nothing.
async fn reload_on_hangup(mut hangup: Signal, switch: Switch, file: PathBuf) {
    while hangup.recv().await.is_some() {
        reload(&switch, &file).await;
    }
}

async fn reload(switch: &Switch, file: &Path) {
    if let Err(why) = switch.reload_passwords() {
        tracing::error!(%why, "the password file cannot be used; the old one stays in force");
    }
    match vigil_config::load_site(file) {
        Err(problems) => tracing::error!(%problems, "the site file is invalid; the old one stays in force"),
        Ok(site) => match switch.to(Arc::new(site)).await {
            Ok(()) => tracing::info!(file = %file.display(), "the site file was read again"),
            Err(why) => tracing::error!(%why, "the site file was not switched"),
        },
    }
}
