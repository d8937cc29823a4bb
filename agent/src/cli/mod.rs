//! The `vigil` command: one file a command.

mod alerts;
mod ask;
mod backtest;
mod bundle;
mod check;
mod config;
#[cfg(feature = "noc")]
mod demo;
#[cfg(not(feature = "noc"))]
mod hand_over;
mod journal;
mod logs;
mod man;
#[cfg(feature = "noc")]
mod noc;
mod outbox;
#[cfg(feature = "noc")]
mod press;
mod replay;
mod report;
mod run;
mod signals;
mod simulate;
mod status;
mod steps;
mod table;
mod tours;
mod verify_journal;

pub use logs::complain;

use crate::store::KeyringError;
use clap::{Parser, Subcommand};
#[cfg(not(feature = "noc"))]
use hand_over::{demo, noc};
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

/// Vigil, the edge agent for guarded sites.
#[derive(Debug, Parser)]
#[command(name = "vigil", version, about, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent in the foreground, until SIGTERM; SIGHUP reads the site file again
    Run(run::Args),
    /// Show the whole chain on loopback: a night of guards, the agent, and the NOC
    Demo(demo::Args),
    /// Run the rules over a recorded night, offline, and print the alerts as NDJSON
    Replay(replay::Args),
    /// Replay the agent's own journal under another policy, and show what would have been raised, side by side
    Backtest(backtest::Args),
    /// Publish a scripted night to a broker, or write it as NDJSON
    Simulate(simulate::Args),
    /// Validate every file, credential and port without starting
    Check(check::Args),
    /// Show which value of a key is in force, who set it, and what it means
    Config(config::Args),
    /// Show what the running agent sees
    Status(status::Args),
    /// Show the alerts of the running agent, or say what came of one
    Alerts(alerts::Args),
    /// Show the daily reports of the running agent, or the ranking of its guards
    Report(report::Args),
    /// Show the log of tours of the running agent
    Tours(tours::Args),
    /// Show what waits for the NOC and what it rejected, or send that again
    Outbox(outbox::Args),
    /// Make keys, sign site bundles, and show what is in one
    Bundle(bundle::Args),
    /// Prove that nothing of the stored journal was altered or removed, and name what was
    VerifyJournal(verify_journal::Args),
    /// Run the receiver of the NOC
    Noc(noc::Args),
    /// Print a completion script for a shell
    Completions {
        /// The shell: bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Print a manual page, in roff, or write those of all commands
    Man(man::Args),
}

/// The program of the package with the receiver.
const NOC_PROGRAM: &str = "vigil-noc";

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// It tried and failed: exit code 1.
    Failed {
        /// What is wrong.
        what: String,
        /// What to do.
        mend: String,
    },
    /// It was used wrongly, or its configuration is invalid: exit code 2.
    Invalid {
        /// What is wrong.
        what: String,
        /// What to do.
        mend: String,
    },
    /// Whoever read the output, like `head`, has had enough: exit code 0, and nothing to say.
    Unread,
}

impl Failure {
    /// A command that tried and failed.
    pub fn failed(what: impl fmt::Display, mend: impl fmt::Display) -> Self {
        Self::Failed { what: what.to_string(), mend: mend.to_string() }
    }

    /// A command that was used wrongly.
    pub fn invalid(what: impl fmt::Display, mend: impl fmt::Display) -> Self {
        Self::Invalid { what: what.to_string(), mend: mend.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { what, mend } | Self::Invalid { what, mend } => write!(f, "vigil: {what}\n{mend}"),
            Self::Unread => f.write_str("vigil: nobody reads the output any more"),
        }
    }
}

impl From<vigil_config::Problems> for Failure {
    fn from(problems: vigil_config::Problems) -> Self {
        Self::invalid(
            problems,
            "Mend the lines above and try again; `vigil check` shows all of them at once.",
        )
    }
}

/// Standard output cannot be written to: its reader has gone away, or the disk behind it is full.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::Unread;
        }
        Self::failed(format!("cannot write the output: {error}"), "Give the output a place to go.")
    }
}

impl Cli {
    /// What was asked. The receiver's own program, `vigil-noc`, is `vigil noc` under a shorter name.
    pub fn heard(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let mut arguments: Vec<_> = arguments.into_iter().collect();
        if arguments.first().is_some_and(|called| Path::new(called).file_name() == Some(NOC_PROGRAM.as_ref()))
        {
            arguments.insert(1, "noc".into());
        }
        Self::parse_from(arguments)
    }

    /// Does what was asked.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Run(args) => run::run(&args),
            Command::Demo(args) => demo::run(&args),
            Command::Replay(args) => replay::run(&args),
            Command::Backtest(args) => backtest::run(&args),
            Command::Simulate(args) => simulate::run(&args),
            Command::Check(args) => check::run(&args),
            Command::Config(args) => config::run(&args),
            Command::Status(args) => status::run(&args),
            Command::Alerts(args) => alerts::run(&args),
            Command::Report(args) => report::run(&args),
            Command::Tours(args) => tours::run(&args),
            Command::Outbox(args) => outbox::run(&args),
            Command::Bundle(args) => bundle::run(&args),
            Command::VerifyJournal(args) => verify_journal::run(&args),
            Command::Noc(args) => noc::run(&args),
            Command::Completions { shell } => completions(shell),
            Command::Man(args) => man::run(&args),
        }
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut <Cli as clap::CommandFactory>::command(), "vigil", &mut script);
    Ok(std::io::Write::write_all(&mut std::io::stdout(), &script)?)
}

/// What to do about the keys of a store.
const fn mend_keys(why: &KeyringError) -> &'static str {
    match why {
        KeyringError::NoMaster(_) => {
            "Name the credential in [store] of agent.toml and put it back in its place: nothing was touched, and without it \
             nothing that is stored can be read."
        }
        KeyringError::OtherMaster(_) => {
            "Put the earlier master key back, or below the new one in the same credential: a line for each, the new one \
             first. Nothing was touched."
        }
        KeyringError::Newer(_) => {
            "Install a newer agent, or give this one a data_dir of its own; nothing was touched."
        }
        KeyringError::Folder { .. } => {
            "The store must belong to the user of the agent, like `chown -R vigil: /var/lib/vigil`; nothing was touched."
        }
    }
}

/// A runtime for a command; two workers are what a gateway's cores carry beside the pump's own thread.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    // Two libraries would otherwise each ask for a provider and find none.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    // A heap of some megabytes takes a dozen more where the kernel rounds it up to pages of 2 MiB, as Debian's does unasked.
    // One that was built without them refuses, and has none.
    let _none_there = rustix::thread::disable_transparent_huge_pages(true);
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|e| {
        Failure::failed(format!("cannot start the runtime: {e}"), "Check the limits on threads and memory.")
    })
}
