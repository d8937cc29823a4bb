//! Power cuts: a run is recorded, and from the recording what a disk may hold after a cut at any point of it.

use super::below;
use super::disk::Disk;
use super::look::{Sight, sent};
use super::trace::record;
use std::fmt;
use std::path::Path;
use vigil_agent::simulate::Chance;

/// How often the store is opened, worked with and left without being closed.
const LIVES: u64 = 3;

/// How much to do.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Names the images: the same seed cuts at the same points of the same recording.
    pub seed: u64,
    /// How many images.
    pub images: usize,
    /// How many commits in each life.
    pub commits: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Images that were looked at.
    pub images: usize,
    /// Commits that were acknowledged at the cuts, together.
    pub acknowledged: u64,
    /// Images that hold a commit whose acknowledgement was still to come.
    pub ahead: usize,
    /// What went wrong, by image.
    pub faults: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { images, acknowledged, ahead, faults } = self;
        write!(
            f,
            "{images} images, {acknowledged} acknowledged commits in them, {ahead} with one more than was acknowledged: {} at fault",
            faults.len()
        )?;
        faults.iter().take(20).try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// Records the lives of a store that `program` works with, and looks at what power cuts leave of it.
pub fn cuts(program: &Path, plan: Plan) -> Result<Outcome, String> {
    let problem = |e: std::io::Error| e.to_string();
    let place = tempfile::tempdir().map_err(problem)?;
    // By its real name, as the kernel is told it.
    let place = place.path().canonicalize().map_err(problem).map(|path| (path, place))?;
    let root = place.0.join("data");
    std::fs::create_dir(&root).map_err(problem)?;
    let mut outcome = Outcome::default();
    for life in 0..LIVES {
        let mut disk = Disk::before(&root)?;
        let (from, to) = (life * plan.commits + 1, (life + 1) * plan.commits);
        let (db, numbers) = (root.join("db"), [from.to_string(), to.to_string()]);
        let db = db.to_str().ok_or("a folder whose name is no text")?;
        let arguments = ["commit", db, "--from", &numbers[0], "--to", &numbers[1]];
        disk.live(&record(program, &arguments, &place.0.join("recording"))?)?;
        if disk.acknowledged(usize::MAX) != Some(to) {
            return Err(format!("life {life} acknowledged {:?} of {to}", disk.acknowledged(usize::MAX)));
        }
        let share = plan.images / usize::try_from(LIVES).unwrap_or(1);
        for image in 0..share.max(1) {
            let name = usize::try_from(life).unwrap_or(0) * share + image;
            let mut chance = Chance::of(plan.seed, name);
            let cut = below(&mut chance, disk.lines() + 1);
            let into = tempfile::tempdir().map_err(problem)?;
            disk.image(cut, &mut chance, &root, into.path()).map_err(problem)?;
            let acknowledged = disk.acknowledged(cut).unwrap_or(from - 1);
            let seen = sent(program, &into.path().join("db"), acknowledged);
            outcome.judge(&format!("image {name} of life {life}, cut at line {cut}"), acknowledged, seen);
        }
    }
    Ok(outcome)
}

impl Outcome {
    fn judge(&mut self, image: &str, acknowledged: u64, seen: Result<Sight, String>) {
        self.images += 1;
        self.acknowledged += acknowledged;
        let fault = match seen {
            Err(why) => Some(why),
            Ok(sight) if sight.set_aside.is_some() => Some("the database was set aside".to_owned()),
            Ok(sight) if sight.commits < acknowledged => {
                Some(format!("back at commit {}, without {:?}", sight.commits, sight.missing))
            }
            Ok(sight) if sight.told > 0 => Some(format!("{} losses are told of", sight.told)),
            Ok(sight) if !sight.exact || sight.commits > acknowledged + 1 => {
                Some(format!("not what {} commits leave", sight.commits))
            }
            Ok(sight) => {
                self.ahead += usize::from(sight.commits > acknowledged);
                None
            }
        };
        self.faults.extend(fault.map(|fault| format!("{image}, {acknowledged} acknowledged: {fault}")));
    }
}
