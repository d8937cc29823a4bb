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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        run(&Args { command: vec![], out: Some(folder.path().to_owned()) }).unwrap();
        let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(page("vigil.1").contains("vigil\\-run(1)"));
        for command in Cli::command().get_subcommands() {
            assert!(
                page(&format!("vigil-{}.1", command.get_name())).starts_with(".ie"),
                "{}",
                command.get_name()
            );
        }
        assert!(page("vigil-alerts-resolve.1").contains("vigil\\-alerts\\-resolve"));
    }

    #[test]
    fn a_page_of_no_command_is_refused() {
        let asked = Args { command: vec!["alerts".to_owned(), "forget".to_owned()], out: None };
        assert!(
            matches!(run(&asked), Err(Failure::Invalid { what, .. }) if what.contains("`alerts forget`"))
        );
    }
}
