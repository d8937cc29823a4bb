//! A process of its own that looks at a store: what is in it, whether it says what is not, and whether it goes on.

use super::work::{Held, WorkError, draft, has_its_engine, housekeeping};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use vigil_agent::store::Store;

/// Far beyond what opening takes, salvage and a busy machine included.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// The last commit whose marks are there.
    pub commits: u64,
    /// Whether exactly that is there which that commit leaves behind.
    pub exact: bool,
    /// What is not there of what the commits that were made leave behind, by what it is.
    pub missing: BTreeMap<String, usize>,
    /// Where a damaged database was set aside.
    pub set_aside: Option<PathBuf>,
    /// Losses that the store counts, and shows to everybody who asks for its health.
    pub told: u64,
}

/// Looks at the store in `folder`, in which `commits` commits were made; then it must take another one and keep it.
pub fn look(folder: &Path, commits: u64) -> Result<Sight, WorkError> {
    let mut store = Store::open(folder)?;
    let held = Held::in_store(&mut store)?.kept();
    let mut missing = held.missing(&Held::after(commits)?.kept());
    let has_engine = has_its_engine(&mut store, held.commits)?;
    if !has_engine {
        missing.insert("engine".to_owned(), 1);
    }
    let exact = has_engine && held == Held::after(held.commits)?.kept();
    let set_aside = store.damaged().map(Path::to_owned);
    // An event of its own, so that it is looked for by its own name.
    let next = held.commits.max(commits) + 1;
    store.commit(draft(next)?)?;
    housekeeping(&mut store, next)?;
    drop(store);
    let mut store = Store::open(folder)?;
    let kept = Held::in_store(&mut store)?;
    if kept.commits != next || !kept.things.contains(&format!("event e.{next}")) {
        return Err(WorkError::Name(format!("commit {next} is not there: {}", kept.commits)));
    }
    Ok(Sight { commits: held.commits, exact, missing, set_aside, told: store.marks().set_aside })
}

/// Has a process look, and gives what it saw or how it failed.
pub fn sent(program: &Path, folder: &Path, commits: u64) -> Result<Sight, String> {
    let mut command = Command::new(program);
    command.arg("look").arg(folder).args(["--commits", &commits.to_string()]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("{}: {e}", program.display()))?;
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) => break status,
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            None => {
                child.kill().and_then(|()| child.wait()).map_err(|e| e.to_string())?;
                return Err(format!("it hangs: nothing after {PATIENCE:?}"));
            }
        }
    };
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut said).map_err(|e| e.to_string())?;
    }
    serde_json::from_str(&said).map_err(|_| format!("it ended with {status}: {}", said.trim()))
}
