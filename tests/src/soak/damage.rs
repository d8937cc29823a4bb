//! Damage: files of a store with bytes flipped, cut short, zeroed, gone, or brought back from an earlier time.

use super::below;
use super::look::{Sight, sent};
use super::work::{Held, SNAPSHOT_EVERY};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use vigil_agent::simulate::Chance;

/// How much to do.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Names the cases: the same seed damages the same store in the same way.
    pub seed: u64,
    /// How many cases.
    pub cases: usize,
    /// How many snapshots of the engine the store has seen; there are some commits between them.
    pub snapshots: u64,
    /// Only this case.
    pub only: Option<usize>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Stores in which everything was there.
    pub whole: usize,
    /// Stores that were set aside, and said so.
    pub set_aside: usize,
    /// Those of them of which nothing could be saved.
    pub nothing_saved: usize,
    /// Stores that had gone back or had lost a key, and said so.
    pub went_back: usize,
    /// The share of the records that were there in stores that had lost some, summed.
    saved: f64,
    /// What went wrong, by case.
    pub faults: Vec<String>,
}

impl fmt::Display for Outcome {
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { whole, set_aside, nothing_saved, went_back, saved, faults } = self;
        let damaged = set_aside + went_back;
        let share = saved / damaged.max(1) as f64 * 100.0;
        write!(
            f,
            "{whole} whole, {set_aside} set aside ({nothing_saved} with nothing saved), {went_back} that went back or lost a key; {share:.0} % of the records are there where some are not: {} at fault",
            faults.len()
        )?;
        faults.iter().take(40).try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// What is done to a file.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Flip,
    Cut,
    CutAtSegment,
    Zero,
    Scramble,
    Delete,
    Earlier,
    Append,
}

const HARMS: [Harm; 8] = [
    Harm::Flip,
    Harm::Cut,
    Harm::CutAtSegment,
    Harm::Zero,
    Harm::Scramble,
    Harm::Delete,
    Harm::Earlier,
    Harm::Append,
];
/// sled writes its file in pieces of this size.
const SEGMENT: usize = 512 * 1024;

/// Damages copies of one store, and has each looked at.
pub fn cases(program: &Path, plan: Plan) -> Result<Outcome, String> {
    let problem = |e: std::io::Error| e.to_string();
    let place = tempfile::tempdir().map_err(problem)?;
    let (data, earlier) = (place.path().join("data"), place.path().join("earlier"));
    fs::create_dir(&data).map_err(problem)?;
    let half = plan.snapshots / 2 * SNAPSHOT_EVERY;
    let commits = plan.snapshots * SNAPSHOT_EVERY;
    committed(program, &data, 1, half)?;
    copy(&data, &earlier).map_err(problem)?;
    committed(program, &data, half + 1, commits)?;
    let all = Held::after(commits).map_err(|e| e.to_string())?.kept().things.len();
    let mut outcome = Outcome::default();
    for case in (0..plan.cases).filter(|case| plan.only.is_none_or(|only| only == *case)) {
        let mut chance = Chance::of(plan.seed, case);
        let into = tempfile::tempdir().map_err(problem)?;
        copy(&data, into.path()).map_err(problem)?;
        let done = harmed(into.path(), &earlier, &mut chance).map_err(problem)?;
        let seen = sent(program, &into.path().join("db"), commits);
        outcome.judge(&format!("case {case}, {done}"), all, seen);
    }
    Ok(outcome)
}

/// A life of the store, ended without closing anything.
fn committed(program: &Path, data: &Path, from: u64, to: u64) -> Result<(), String> {
    let mut command = Command::new(program);
    command.arg("commit").arg(data.join("db")).args(["--from", &from.to_string(), "--to", &to.to_string()]);
    let status = command.stdout(Stdio::null()).status().map_err(|e| e.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("the store could not be made: {status}")) }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place)?;
        } else {
            fs::copy(entry.path(), place)?;
        }
    }
    Ok(())
}

/// Damages one file, and says which and how.
fn harmed(data: &Path, earlier: &Path, chance: &mut Chance) -> std::io::Result<String> {
    let mut files = vec![];
    for folder in [data.to_owned(), data.join("db"), data.join("db.keys")] {
        for entry in fs::read_dir(folder)? {
            files.push(entry?.path());
        }
    }
    files.retain(|path| path.is_file());
    files.sort();
    // Most of what a disk holds is the log, so most damage is there.
    let log = data.join("db/db");
    let path =
        if chance.happens(0.7) { log } else { files.get(below(chance, files.len())).cloned().unwrap_or(log) };
    let harm = HARMS.get(below(chance, HARMS.len())).copied().unwrap_or(Harm::Flip);
    let name = path.strip_prefix(data).unwrap_or(&path).display().to_string();
    let done = harm_file(&path, &earlier_of(&path, data, earlier), harm, chance)?;
    Ok(format!("{name}: {done}"))
}

/// The file as it was in the middle of the store's life; a snapshot has another name then.
fn earlier_of(path: &Path, data: &Path, earlier: &Path) -> PathBuf {
    earlier.join(path.strip_prefix(data).unwrap_or(path))
}

fn harm_file(path: &Path, earlier: &Path, harm: Harm, chance: &mut Chance) -> std::io::Result<String> {
    let mut bytes = fs::read(path)?;
    let size = bytes.len();
    let at = below(chance, size);
    let end = (at + 1 + below(chance, 64 * 1024)).min(size);
    let done = match harm {
        Harm::Flip => {
            let count = 1 + below(chance, 16);
            for _ in 0..count {
                let at = below(chance, size);
                let bit = below(chance, 8);
                bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << bit);
            }
            format!("{count} bits flipped")
        }
        Harm::Cut => {
            bytes.truncate(at);
            format!("cut to {at} of {size}")
        }
        Harm::CutAtSegment => {
            let at = at / SEGMENT * SEGMENT;
            bytes.truncate(at);
            format!("cut to {at} of {size}")
        }
        Harm::Zero => {
            bytes.get_mut(at..end).unwrap_or_default().fill(0);
            format!("zero from {at} to {end} of {size}")
        }
        Harm::Scramble => {
            for byte in bytes.get_mut(at..end).unwrap_or_default() {
                *byte = u8::try_from(below(chance, 256)).unwrap_or(0);
            }
            format!("scrambled from {at} to {end} of {size}")
        }
        Harm::Append => {
            bytes.extend((0..below(chance, 10_000)).map(|_| 0xA5));
            format!("{} bytes longer", bytes.len() - size)
        }
        Harm::Earlier if earlier.exists() => {
            bytes = fs::read(earlier)?;
            "as it was earlier".to_owned()
        }
        Harm::Delete | Harm::Earlier => {
            fs::remove_file(path)?;
            return Ok("gone".to_owned());
        }
    };
    fs::write(path, bytes)?;
    Ok(done)
}

impl Outcome {
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    fn judge(&mut self, case: &str, all: usize, seen: Result<Sight, String>) {
        match seen {
            Err(why) => self.faults.push(format!("{case}: {why}")),
            Ok(sight) => {
                let missing: usize = sight.missing.values().sum();
                let there = 1.0 - missing as f64 / all as f64;
                if sight.set_aside.is_some() && sight.told > 0 {
                    self.set_aside += 1;
                    self.nothing_saved += usize::from(missing == all);
                    self.saved += there;
                } else if missing == 0 {
                    self.whole += 1;
                } else if sight.told > 0 {
                    self.went_back += 1;
                    self.saved += there;
                } else {
                    self.faults.push(format!("{case}: silently lost {:?}", sight.missing));
                }
            }
        }
    }
}
