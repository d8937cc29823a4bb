//! `vigil run`: the agent in the foreground.

use super::signals::{Early, Stop, on_signal};
use super::{Failure, logs};
use crate::bundles::{self, Chosen};
use crate::clock::Clock;
use crate::pump::PumpError;
use crate::run::{Agent, NotSwitched, RunError, Switch};
use crate::setup::{self, Setup};
use crate::sources::broker::BrokerError;
use crate::store::{DiskError, KeyringError, StoreError};
use crate::systemd::Herald;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind};
use vigil_config::Environment;

/// How long a start may go on that is told to stop: with the drain after it, a stop takes less than five seconds.
const LAST_STEPS: Duration = Duration::from_millis(400);

/// What a box needs that was never set up.
const FIRST_STEPS: &str = "Beside each other belong:\n  agent.toml   where it listens and where its alerts go\n  site.toml    guards, devices, \
     checkpoints, tours, shifts\n  mqtt.passwd  a password for each device, made by mosquitto_passwd\n  credentials/ the token \
     for the operations centre\nCopy the commented examples, make them yours, and run `vigil check --config` on agent.toml: \
     it names all that is missing.";

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
    let early = Early::catch()?;
    let env = Environment::of_process();
    let clock = Clock::wall();
    let (setup, site_file) =
        prepare(&args.config, &env, &clock).map_err(|why| all_that_is_wrong(&args.config, &env, why))?;
    let runtime = super::runtime()?;
    let bundles = setup.bundles.as_ref().map(|bundles| bundles.ledger.clone());
    let ended = runtime.block_on(guard(setup, site_file, early, clock));
    if let Some(bundles) = bundles.filter(|_| ended.as_ref().map_or_else(|(_, blame)| !blame, |()| true)) {
        bundles.stopped();
    }
    let ended = ended.map_err(|(failure, _)| failure);
    // A start that was given up may still be busy with the store; it holds nothing that was acknowledged.
    runtime.shutdown_background();
    ended?;
    tracing::info!("stopped");
    Ok(())
}

fn prepare(file: &Path, env: &Environment, clock: &Clock) -> Result<(Setup, PathBuf), Failure> {
    let amiss =
        |why| Failure::invalid(why, "`vigil check` shows every problem of the configuration at once.");
    let config = Arc::new(vigil_config::load_agent(file)?);
    let trusted = setup::bundle_keys(&config).map_err(amiss)?;
    let Chosen { site, bundles } = bundles::choose(&config, trusted, clock.now())?;
    let site_file = config.site_file().to_owned();
    let setup = setup::setup(&config, site, env).inspect_err(|_| {
        // Nor is a credential that is missing.
        bundles.iter().for_each(|bundles| bundles.ledger.stopped());
    });
    let setup = setup.map_err(amiss)?;
    Ok((Setup { bundles, ..setup }, site_file))
}

/// Everything that is missing or wrong, in the place of what was met first; on a box that was never set up, how that is done.
fn all_that_is_wrong(file: &Path, env: &Environment, first: Failure) -> Failure {
    if matches!(file.try_exists(), Ok(false)) {
        let what = format!("there is no {}: this gateway is not set up yet", file.display());
        return Failure::invalid(what, FIRST_STEPS);
    }
    match vigil_config::check(file, env) {
        Err(problems) => Failure::from(problems),
        Ok(_) => first,
    }
}

/// A failure, and whether a bundle on trial may have a part in it.
type Blamed = (Failure, bool);

/// Starts the agent and runs it until it is told to stop. Signals count from before its first step.
async fn guard(setup: Setup, site_file: PathBuf, early: Early, clock: Clock) -> Result<(), Blamed> {
    let none_of_it = |failure| (failure, false);
    let mut stop = Stop::listen(early).map_err(none_of_it)?;
    let hangup = on_signal(SignalKind::hangup()).map_err(none_of_it)?;
    // On a task of its own: a large journal takes its time, and a stop is heard meanwhile.
    let mut starting = tokio::spawn(Agent::start(setup, clock));
    let mut told = false;
    let started = tokio::select! {
        started = &mut starting => started,
        () = stop.told() => {
            told = true;
            let Ok(started) = tokio::time::timeout(LAST_STEPS, starting).await else { return Ok(()) };
            started
        }
    };
    let started = started.map_err(|why| (not_finished(why), true))?;
    // An address that is taken or a disk that is full is not the work of a site file.
    let mut agent = started.map_err(|why| (not_started(&why), matches!(why, RunError::Pump(_))))?;
    announce(&agent);
    let herald = Herald::default();
    let reading = reload_on_hangup(hangup, agent.switch(), site_file, herald.clone());
    agent.beside("reading of the site file", reading);
    agent.beside("word to the service manager", herald.clone().attend(agent.condition()));
    let shutdown = async {
        if !told {
            stop.told().await;
        }
        tracing::info!("told to stop");
        herald.stopping();
    };
    let mend = "Nothing that was not stored was acknowledged; start it again.";
    agent.run(shutdown).await.map_err(|why| (Failure::failed(why, mend), true))
}

fn not_finished(why: tokio::task::JoinError) -> Failure {
    Failure::failed(format!("the start broke off: {why}"), "That is a defect: report it with the log above.")
}

/// What only another configuration or another credential mends is no failure that goes by: whoever starts the agent anew
/// has to know.
const fn lasts(why: &RunError) -> bool {
    matches!(
        why,
        RunError::Pump(PumpError::OtherSite { .. })
            | RunError::Store(StoreError::Keys(KeyringError::NoMaster(_) | KeyringError::OtherMaster(_)))
            | RunError::Broker(BrokerError::Tls(_) | BrokerError::Passwords(_) | BrokerError::NoPasswords)
            | RunError::Uplink(_)
    )
}

fn not_started(why: &RunError) -> Failure {
    let mend = match why {
        RunError::Broker(BrokerError::Tls(_) | BrokerError::Passwords(_) | BrokerError::NoPasswords) => {
            "Mend what [mqtt] in agent.toml names; `vigil check` shows every problem at once."
        }
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
        RunError::Pump(PumpError::OtherSite { .. }) => {
            "Name another data_dir in agent.toml, or the site file of that site; nothing was touched."
        }
        RunError::Pump(_)
        | RunError::Ended(_)
        | RunError::Stuck
        | RunError::Hopeless
        | RunError::Thread(_) => {
            "Nothing was acknowledged; start it again, and look at the disk and the limits of the system."
        }
    };
    if lasts(why) { Failure::invalid(why, mend) } else { Failure::failed(why, mend) }
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
async fn reload_on_hangup(mut hangup: Signal, switch: Switch, file: PathBuf, herald: Herald) {
    while hangup.recv().await.is_some() {
        herald.reloading();
        reload(&switch, &file).await;
        herald.reloaded();
    }
}

async fn reload(switch: &Switch, file: &Path) {
    if let Err(why) = switch.reload_passwords() {
        tracing::error!(%why, "the password file cannot be used; the old one stays in force");
    }
    if let Some(version) = switch.bundle_in_use() {
        tracing::info!(version, "the site file is not read: a bundle takes its place");
        return;
    }
    match vigil_config::load_site(file) {
        Err(problems) => tracing::error!(%problems, "the site file is invalid; the old one stays in force"),
        Ok(site) => match switch.to_file(Arc::new(site)).await {
            Ok(()) => tracing::info!(file = %file.display(), "the site file was read again"),
            Err(why @ NotSwitched::BundleInUse(_)) => tracing::info!(%why, "the site file was not switched"),
            Err(why @ (NotSwitched::OtherSite { .. } | NotSwitched::Stopping(_))) => {
                tracing::error!(%why, "the site file was not switched");
            }
        },
    }
}
