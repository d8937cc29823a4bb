//! The oracle: every event that was acknowledged and every alert that was raised is an obligation. A simulated gateway
//! lives through days of faults in one thread, without a socket and on a time of its own, all of it drawn from a seed; when the faults end, every
//! obligation has to be met exactly once, word for word, within a bounded time.
//!
//! The pump, the store, the courier, the announcer, the engine and the receiver's admission and ledger are those of the
//! product. The handsets, the way to the NOC, the ears on site, the clock and the disk are not there.

mod books;
mod gateway;
mod handset;
mod judge;
mod plan;
mod road;
mod script;
mod world;

pub use books::Counts;

use handset::Handset;
use plan::Plan;
use road::Noc;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::LocalSet;
use vigil_core::time::Timestamp;
use world::World;

/// Something around the simulation failed.
pub type Unable = Box<dyn std::error::Error>;

/// What became of one seed.
#[derive(Debug)]
pub struct Verdict {
    /// Which.
    pub seed: u64,
    /// What is wrong.
    pub faults: Vec<String>,
    /// The last of what happened.
    pub trace: Vec<String>,
    /// How much was tried.
    pub counts: Counts,
    /// When nothing waited any more, if that was so.
    pub settled_at: Option<Timestamp>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 12;
        writeln!(f, "seed {}: {} faults", self.seed, self.faults.len())?;
        self.faults.iter().take(SHOWN).try_for_each(|fault| writeln!(f, "  FAULT {}", cut(fault)))?;
        self.trace.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        write!(f, "  again: soak oracle --only {}", self.seed)
    }
}

fn cut(text: &str) -> String {
    text.chars().take(600).collect()
}

/// Lives through one seed.
pub fn run(seed: u64, hours: i64) -> Result<Verdict, Unable> {
    let folder = folder()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let plan = Plan::of(seed, hours)?;
    let noc = Noc::open(&plan, &folder.path().join("noc.db"))?;
    LocalSet::new().block_on(&runtime, live(plan, noc, folder.path()))
}

/// What became of many seeds.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many were lived through.
    pub seeds: u64,
    /// Those that are at fault.
    pub faulty: Vec<u64>,
    /// How much was tried in all of them.
    pub counts: Counts,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { acknowledged, resent, revisions, told_again, batches, failed, deaths, compared, buried } =
            self.counts;
        writeln!(f, "{} seeds, {} at fault {:?}", self.seeds, self.faulty.len(), self.faulty)?;
        writeln!(f, "  {acknowledged} words acknowledged, sent again {resent} times")?;
        writeln!(f, "  {revisions} alert revisions, told on site again {told_again} times")?;
        writeln!(
            f,
            "  {batches} batches to the NOC, {failed} met with trouble, {buried} events were buried"
        )?;
        write!(f, "  {deaths} ends of lives, {compared} engines compared")
    }
}

/// How often a long run says how far it is.
const SAID_EVERY: u64 = 50;

/// Lives through these seeds, so many at a time, and tells of each.
pub fn seeds(seeds: Range<u64>, hours: i64, threads: usize, tell: &mut dyn FnMut(&Verdict)) -> Outcome {
    let next = AtomicU64::new(seeds.start);
    let (told, heard) = std::sync::mpsc::channel();
    let mut outcome = Outcome::default();
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let (next, told) = (&next, told.clone());
            scope.spawn(move || {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < seeds.end) {
                    if told.send(run(seed, hours).unwrap_or_else(|why| unable(seed, &why))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(told);
        for verdict in heard {
            outcome.seeds += 1;
            outcome.counts = outcome.counts.and(verdict.counts);
            if !verdict.faults.is_empty() {
                outcome.faulty.push(verdict.seed);
            }
            tell(&verdict);
        }
    });
    outcome.faulty.sort_unstable();
    outcome
}

fn unable(seed: u64, why: &Unable) -> Verdict {
    let faults = vec![format!("it cannot be simulated: {why}")];
    Verdict { seed, faults, trace: vec![], counts: Counts::default(), settled_at: None }
}

/// Says which seeds are at fault, and now and then how many there were: a thousand of them take hours.
pub fn say(lived: &mut u64, verdict: &Verdict) {
    *lived += 1;
    if !verdict.faults.is_empty() {
        println!("{verdict}");
    }
    if lived.is_multiple_of(SAID_EVERY) {
        println!("{lived} seeds were lived through");
    }
}

/// In memory, if there is such a folder: a simulated disk has no use for a slow one.
fn folder() -> std::io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }
}

async fn live(plan: Plan, noc: Noc, folder: &Path) -> Result<Verdict, Unable> {
    let world = Arc::new(World::new(plan, noc));
    let handsets: Vec<_> = (0..world.plan.scripts.len())
        .map(|number| tokio::task::spawn_local(Handset::new(&world, number).lives()))
        .collect();
    let (of_box, at) = (Arc::clone(&world), folder.to_owned());
    let box_ = tokio::task::spawn_local(async move { gateway::lives(of_box, &at).await });
    gateway::fate(Arc::clone(&world)).await;
    world.calm.send_replace(true);
    world.sets_the_clock();
    world.note("calm");
    let settled = gateway::settles(&world).await;
    world.note("stops");
    world.stop.send_replace(true);
    handsets.into_iter().for_each(|handset| handset.abort());
    let mut ended = Ok(Ok(()));
    if settled.is_ok() || box_.is_finished() {
        ended = box_.await;
    } else {
        box_.abort();
    }
    let mut books = std::mem::take(&mut *world.books());
    let settled_at = match settled {
        Ok(at) => Some(at),
        Err(why) => {
            books.fault(why);
            None
        }
    };
    match ended {
        Ok(Ok(())) if settled_at.is_some() => {
            judge::judge(&world.plan, &mut books, &mut world::locked(&world.noc), folder)?;
        }
        Ok(Ok(())) => {}
        Ok(Err(why)) => books.fault(why.to_string()),
        Err(panic) => books.fault(format!("the box panicked: {panic}")),
    }
    Ok(Verdict {
        seed: world.plan.seed,
        faults: books.faults,
        trace: books.trace.into_iter().collect(),
        counts: books.counts,
        settled_at,
    })
}
