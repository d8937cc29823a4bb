//! What a gateway's build cannot do itself: it hands over to the program of the package with the receiver, if that is installed.

use super::{Failure, NOC_PROGRAM};
use std::ffi::OsString;
use std::io::{Error, ErrorKind};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// In place of `vigil noc` and `vigil demo`: their words are read by the program that knows them.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<OsString>,
}

pub mod demo {
    pub use super::Args;
    use crate::cli::Failure;

    pub fn run(args: &Args) -> Result<(), Failure> {
        super::hand_over("demo", &args.words)
    }
}

pub mod noc {
    pub use super::Args;
    use crate::cli::Failure;
    use vigil_config::{Environment, NocConfig};

    pub fn run(args: &Args) -> Result<(), Failure> {
        super::hand_over("noc", &args.words)
    }

    /// In place of looking at the ledger: `vigil check` as a whole.
    pub fn judge(_config: &NocConfig, _env: &Environment) -> Result<String, Failure> {
        let words: Vec<_> = std::env::args_os().skip(2).collect();
        super::hand_over("check", &words)
    }
}

/// Becomes the other program. It comes back only to say why that could not be.
fn hand_over<T>(command: &str, words: &[OsString]) -> Result<T, Failure> {
    let why = match program() {
        Ok(program) => Command::new(program).arg0("vigil").arg(command).args(words).exec(),
        Err(why) => why,
    };
    if why.kind() == ErrorKind::NotFound {
        return Err(Failure::invalid(
            format!(
                "`vigil {command}` is in {NOC_PROGRAM}, which is not installed: this vigil is built for gateways"
            ),
            format!(
                "Install the package {NOC_PROGRAM}, or build the whole from the sources, as README.md says."
            ),
        ));
    }
    Err(Failure::failed(
        format!("cannot start {NOC_PROGRAM}: {why}"),
        format!("Install the package {NOC_PROGRAM} anew."),
    ))
}

/// Beside this one, else where the shell would find it; never this one, which would hand over to itself for ever.
fn program() -> Result<PathBuf, Error> {
    let own = std::env::current_exe()?;
    let beside = own.with_file_name(NOC_PROGRAM);
    if beside == own {
        return Err(ErrorKind::NotFound.into());
    }
    Ok(if beside.is_file() { beside } else { NOC_PROGRAM.into() })
}
