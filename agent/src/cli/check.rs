//! `vigil check`: every problem of the configuration at once, without starting.

use super::Failure;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use vigil_config::Environment;

/// `vigil check`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The agent's configuration
    #[arg(long, default_value = "agent.toml")]
    config: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let env = Environment::of_process();
    let checked = vigil_config::check(&args.config, &env)?;
    let site = Arc::new(checked.site);
    crate::setup::setup(&checked.agent, Arc::clone(&site), &env)
        .map_err(|why| Failure::invalid(why, "Mend it and run `vigil check` again."))?;
    let (guards, devices, tours) = (site.guards.len(), site.devices.len(), site.tours.len());
    let name = &site.name;
    let line = format!("ok: {name} with {guards} guards, {devices} devices, {tours} tours");
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
