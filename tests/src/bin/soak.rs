//! Proves the store against power cuts and damaged files, as long as is asked for. `tests/soak/README.md` has the
//! commands and what came of them.
//!
//! Exit code 1: something was lost, or something could not be done.

use clap::{Parser, Subcommand};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vigil_agent::store::Store;
use vigil_tests::oracle;
use vigil_tests::soak::{damage, look, outage, power, work};

/// The store under what a site does to a disk.
#[derive(Debug, Parser)]
#[command(name = "soak")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Rebuilds what a disk may hold after a power cut at random points of a recorded run, and looks at it.
    PowerCuts {
        /// How many images.
        #[arg(long, default_value_t = 500)]
        images: usize,
        /// Commits in each of three lives.
        #[arg(long, default_value_t = 200)]
        commits: u64,
        /// Names the cuts.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Damages the files of a store in random ways, and looks at what becomes of it.
    Damage {
        /// How many cases.
        #[arg(long, default_value_t = 1_000)]
        cases: usize,
        /// Snapshots of the engine that the store has seen.
        #[arg(long, default_value_t = 10)]
        snapshots: u64,
        /// Names the cases.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Only this case.
        #[arg(long)]
        only: Option<usize>,
    },
    /// Leaves a site without its operations centre, and lets that come back.
    Outage(Length),
    /// The gateway of an outage: runs until its standard input ends.
    Gateway {
        /// Its data folder.
        folder: PathBuf,
        /// Where its operations centre would be.
        #[arg(long)]
        noc: SocketAddr,
        #[command(flatten)]
        length: Length,
    },
    /// Lives through days of random faults, seed after seed, and sees whether every obligation is met.
    Oracle {
        /// How many seeds.
        #[arg(long, default_value_t = 100)]
        seeds: u64,
        /// The first of them.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// How long each has faults.
        #[arg(long, default_value_t = 72)]
        hours: i64,
        /// Only this seed.
        #[arg(long)]
        only: Option<u64>,
        /// How many at a time.
        #[arg(long, default_value_t = 2)]
        threads: usize,
    },
    /// Commits, says `ack N` when commit N is on stable storage, and leaves without closing anything.
    Commit {
        /// The folder of the store.
        folder: PathBuf,
        /// The first commit.
        #[arg(long)]
        from: u64,
        /// The last commit.
        #[arg(long)]
        to: u64,
    },
    /// Looks at a store, and says what it sees.
    Look {
        /// The folder of the store.
        folder: PathBuf,
        /// How many commits were made.
        #[arg(long)]
        commits: u64,
    },
}

/// How large and how long an outage is.
#[derive(Debug, Clone, Copy, clap::Args)]
struct Length {
    /// How many guards are on duty.
    #[arg(long, default_value_t = 200)]
    guards: usize,
    /// For how many hours.
    #[arg(long, default_value_t = 72)]
    hours: u32,
    /// How fast time passes.
    #[arg(long, default_value_t = 480)]
    speed: u32,
    /// Names the nights.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Length {
    const fn plan(self) -> outage::Plan {
        outage::Plan { guards: self.guards, hours: self.hours, speed: self.speed, seed: self.seed }
    }
}

fn main() -> ExitCode {
    match done(&Arguments::parse().task) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(problem) => {
            println!("{problem}");
            ExitCode::from(1)
        }
    }
}

/// Whether nothing was lost.
fn done(task: &Task) -> Result<bool, String> {
    let program = || std::env::current_exe().map_err(|e| e.to_string());
    match task {
        Task::PowerCuts { images, commits, seed } => {
            let plan = power::Plan { seed: *seed, images: *images, commits: *commits };
            let outcome = power::cuts(&program()?, plan)?;
            println!("{outcome}");
            Ok(outcome.faults.is_empty())
        }
        Task::Damage { cases, snapshots, seed, only } => {
            let plan = damage::Plan { seed: *seed, cases: *cases, snapshots: *snapshots, only: *only };
            let outcome = damage::cases(&program()?, plan)?;
            println!("{outcome}");
            Ok(outcome.faults.is_empty())
        }
        Task::Outage(length) => {
            let outcome = outage::outage(&program()?, length.plan()).map_err(|e| e.to_string())?;
            println!("{outcome}");
            Ok(outcome.faults.is_empty())
        }
        Task::Gateway { folder, noc, length } => {
            outage::gateway(length.plan(), folder, *noc).map_err(|e| e.to_string()).map(|()| true)
        }
        Task::Oracle { seeds, from, hours, only, threads } => {
            let seeds = only.map_or(*from..from.saturating_add(*seeds), |only| only..only.saturating_add(1));
            let mut lived = 0;
            let mut tell = |verdict: &oracle::Verdict| oracle::say(&mut lived, verdict);
            let outcome = oracle::seeds(seeds, *hours, *threads, &mut tell);
            println!("{outcome}");
            Ok(outcome.faulty.is_empty())
        }
        Task::Commit { folder, from, to } => commit(folder, *from, *to).map(|()| true),
        Task::Look { folder, commits } => {
            let sight = look::look(folder, *commits).map_err(|e| e.to_string())?;
            println!("{}", serde_json::to_string(&sight).map_err(|e| e.to_string())?);
            Ok(true)
        }
    }
}

fn commit(folder: &Path, from: u64, to: u64) -> Result<(), String> {
    let mut store = Store::open(folder).map_err(|e| e.to_string())?;
    let mut out = std::io::stdout().lock();
    for n in from..=to {
        let draft = work::draft(n).map_err(|e| e.to_string())?;
        store.commit(draft).map_err(|e| e.to_string())?;
        work::housekeeping(&mut store, n).map_err(|e| e.to_string())?;
        writeln!(out, "ack {n}").and_then(|()| out.flush()).map_err(|e| e.to_string())?;
    }
    // The next life finds what a crash would leave: nothing was closed.
    std::process::exit(0)
}
