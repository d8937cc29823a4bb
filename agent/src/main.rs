//! Arguments -> command -> exit code. Everything else is in the library.

use clap::Parser;
use std::process::ExitCode;
use vigil_agent::cli::{Cli, Failure};

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // An error that cannot be printed has nowhere else to go.
            let _unprintable = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{failure}\n"));
            match failure {
                Failure::Failed { .. } => ExitCode::from(1),
                Failure::Invalid { .. } => ExitCode::from(2),
            }
        }
    }
}
