//! Arguments -> command -> exit code. Everything else is in the library.

use std::process::ExitCode;
use vigil_agent::cli::{Cli, Failure};

fn main() -> ExitCode {
    let Err(failure) = Cli::heard(std::env::args_os()).run() else { return ExitCode::SUCCESS };
    let code = match failure {
        Failure::Unread => return ExitCode::SUCCESS,
        Failure::Failed { .. } => 1,
        Failure::Invalid { .. } => 2,
    };
    // An error that cannot be printed has nowhere else to go.
    let _unprintable = vigil_agent::cli::complain(&failure);
    ExitCode::from(code)
}
