//! `vigil man`: the manual pages, from the same words as `--help`.

use super::{Cli, Failure};
use clap::CommandFactory;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The command whose page it is, such as `alerts resolve`; without one, that of vigil itself
    #[arg(conflicts_with = "out")]
    command: Vec<String>,
    /// Write the pages of all commands into this folder, a file each
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    if let Some(folder) = &args.out {
        return clap_mangen::generate_to(Cli::command(), folder).map_err(|error| {
            Failure::failed(
                format!("cannot write the pages to {}: {error}", folder.display()),
                "Name a folder that is there and that you may write to.",
            )
        });
    }
    let mut page = Cli::command();
    // Only a command that was built knows its full name, `vigil-alerts-resolve`.
    page.build();
    for word in &args.command {
        page = page.find_subcommand(word).cloned().ok_or_else(|| {
            Failure::invalid(
                format!("there is no command `{}`", args.command.join(" ")),
                "`vigil --help` lists the commands.",
            )
        })?;
    }
    Ok(clap_mangen::Man::new(page).render(&mut std::io::stdout())?)
}
