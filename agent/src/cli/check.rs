//! `vigil check`: every problem of the configuration at once, without starting, and then what can be said of the machine.

mod machine;
mod online;
mod validity;
mod wear;

use super::Failure;
use crate::bundles::{self, InUse, Kept, Unfit};
use crate::setup::UplinkSetup;
use machine::Finding;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigil_config::{AgentConfig, Environment, Problems};
use vigil_core::site::Site;

/// `vigil check`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The agent's configuration; agent.toml, unless only --noc is given
    #[arg(long)]
    config: Option<PathBuf>,
    /// The configuration of a receiver
    #[arg(long)]
    noc: Option<PathBuf>,
    /// Try also whether the broker outside and the operations centre can be reached; if one cannot, that is a failure
    #[arg(long)]
    online: bool,
}

/// Said of a store whose keys lie open beside it.
const BARE: &str =
    "[store] credential is not set: whoever takes the disk can read the positions that are kept on it";

/// Said of a receiver that takes nothing but alerts.
const ALERTS_ONLY: &str = "[uplink] format is \"alertmanager\": tours, daily reports and the gateway's health go nowhere, and \
                           there are no commands";

/// Judges the configuration of a receiver alone.
#[cfg(feature = "noc")]
pub fn receiver(config: &Path) -> Result<(), Failure> {
    run(&Args { config: None, noc: Some(config.to_owned()), online: false })
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let env = Environment::of_process();
    let agent = match (&args.config, &args.noc) {
        (None, Some(_)) => None,
        (config, _) => Some(config.as_deref().unwrap_or(Path::new("agent.toml"))),
    };
    let agent = agent.map(|file| vigil_config::check(file, &env)).transpose();
    let noc = args.noc.as_deref().map(|file| vigil_config::check_noc(file, &env)).transpose();
    let (agent, noc) = both(agent, noc)?;
    // First: a gateway's build hands all of it over.
    let noc = noc
        .map(|(config, doubts)| Ok::<_, Failure>((super::noc::judge(&config, &env)?, doubts)))
        .transpose()?;
    let (mut told, mut found, mut beyond) = (Vec::new(), Vec::new(), 0);
    if let Some(checked) = agent {
        let site = Arc::new(checked.site);
        let setup = crate::setup::setup(&checked.agent, Arc::clone(&site), &env).map_err(again)?;
        crate::store::fits(&setup.data_dir.join("db"), &setup.masters)
            .map_err(|why| Failure::invalid(&why, super::mend_keys(&why)))?;
        let (guards, devices, tours) = (site.guards.len(), site.devices.len(), site.tours.len());
        told.push(format!("{} with {guards} guards, {devices} devices, {tours} tours", site.name));
        told.extend(bundle(&checked.agent, &site)?);
        let bare = setup.masters.is_none().then(|| BARE.to_owned());
        let alerts_only =
            matches!(setup.uplink, Some(UplinkSetup::Alertmanager(_))).then(|| ALERTS_ONLY.to_owned());
        note(checked.doubts.iter().map(ToString::to_string).chain(bare).chain(alerts_only))?;
        found = machine::findings(&checked.agent);
        if args.online {
            let reached = super::runtime()?.block_on(online::findings(&checked.agent, setup.uplink));
            beyond = reached.iter().filter(|finding| matches!(finding, Finding::Amiss(_))).count();
            found.extend(reached);
        }
    }
    if let Some((receiver, doubts)) = noc {
        note(doubts.iter().map(ToString::to_string))?;
        told.push(receiver);
    }
    let mut out = std::io::stdout().lock();
    told.iter().try_for_each(|line| writeln!(out, "ok: {line}"))?;
    drop(out);
    found.iter().try_for_each(tell)?;
    match beyond {
        0 => Ok(()),
        _ => Err(Failure::failed(
            "not everything outside can be reached",
            "Each note above says what to look at.",
        )),
    }
}

/// The bundle that takes the place of the site file, if one does: it is judged as a start would judge it.
fn bundle(agent: &AgentConfig, site: &Site) -> Result<Option<String>, Failure> {
    let trusted = crate::setup::bundle_keys(agent).map_err(again)?;
    let agent = Arc::new(agent.clone());
    let kept = bundles::kept(&agent, &trusted, Some(site)).map_err(|Unfit { version, why, problems }| {
        let version = version.map(|version| format!(" {version}")).unwrap_or_default();
        let what = format!("the bundle{version} that takes the place of the site file: {why}\n{}", problems.join("\n"));
        let mend = "The site file would be used; mend [uplink] bundle_keys, or publish a bundle with a higher version.";
        Failure::invalid(what.trim_end(), mend)
    })?;
    let Some(Kept { in_use: InUse { version, made_at, by, .. }, on_trial, site, .. }) = kept else {
        return Ok(None);
    };
    vigil_config::check_together(&agent, &site)?;
    let trial = if on_trial { ", on trial" } else { "" };
    let (guards, devices, tours) = (site.guards.len(), site.devices.len(), site.tours.len());
    let said = format!(
        "bundle {version} of {made_at} by {by}{trial} takes its place: {guards} guards, {devices} devices, {tours} tours"
    );
    Ok(Some(said))
}

/// A line about the machine: what is well where results go, and what is not where mistakes do.
fn tell(finding: &Finding) -> std::io::Result<()> {
    match finding {
        Finding::Well(what) => writeln!(std::io::stdout(), "ok: {what}"),
        Finding::Amiss(what) => note([what]),
    }
}

/// What is allowed and looks like a mistake.
fn note<D: std::fmt::Display>(doubts: impl IntoIterator<Item = D>) -> std::io::Result<()> {
    doubts.into_iter().try_for_each(|doubt| writeln!(std::io::stderr(), "note: {doubt}"))
}

fn again(why: impl std::fmt::Display) -> Failure {
    Failure::invalid(why, "Mend it and run `vigil check` again.")
}

/// Both, or the problems of both at once.
fn both<A, B>(one: Result<A, Problems>, other: Result<B, Problems>) -> Result<(A, B), Problems> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(problems), Ok(_)) | (Ok(_), Err(problems)) => Err(problems),
        (Err(one), Err(other)) => Err(one.and(other)),
    }
}
