//! Which bundle is in use, which was before it, and how a new one proves itself. Pure: what is written down, and what follows
//! from what happens to the agent.
//!
//! ```text
//!  take(8) ─► on trial ──healthy for so long──► in use, 7 kept beside it
//!                │  ▲
//!                │  └─ started again, once after an end without a word, as often as after one that was ordered
//!                └─ unhealthy, or a second end without a word ─► 7 again; 8 is never tried again
//! ```

use serde::{Deserialize, Serialize};
use std::time::Duration;
use vigil_core::time::Timestamp;

/// So many ends without a word end a trial. One may be a power cut, of which no bundle knows.
const ENDS: u32 = 2;

/// What the agent knows of bundles across its starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The highest version that was ever taken. It never falls, so that none comes back.
    pub highest: u64,
    /// The version in use; without one, the site file is.
    pub in_use: Option<u64>,
    /// What is put back if that one fails; without one, the site file.
    pub before: Option<u64>,
    /// How the one in use stands, while it proves itself.
    pub trial: Option<Trial>,
    /// The last one that was rolled back.
    pub fallen: Option<Fallen>,
}

/// A bundle that proves itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// How often the agent ended without a word.
    pub ends: u32,
    /// Whether it runs; an agent that is told to stop says so before it ends.
    pub running: bool,
}

/// A bundle that was rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallen {
    /// Which.
    pub version: u64,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub why: String,
    /// Whether the operations centre was told, or will be: the word of it is stored.
    pub told: bool,
}

/// Why a version is not taken, whatever is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// It was tried.
    #[error(
        "version {version} was rolled back at {at} ({why}) and is never tried again; publish a higher one"
    )]
    Fallen {
        /// Which.
        version: u64,
        /// When.
        at: Timestamp,
        /// Why.
        why: String,
    },
    /// It is not above what was taken.
    #[error(
        "version {version} is not above {highest}, the highest that was taken here; publish a higher one"
    )]
    Old {
        /// What came.
        version: u64,
        /// What was taken.
        highest: u64,
    },
}

impl Record {
    /// Whether a version may be taken.
    pub fn admits(&self, version: u64) -> Result<(), Stale> {
        if let Some(Fallen { at, why, .. }) = self.fallen.as_ref().filter(|fallen| fallen.version == version)
        {
            return Err(Stale::Fallen { version, at: *at, why: why.clone() });
        }
        if version <= self.highest {
            return Err(Stale::Old { version, highest: self.highest });
        }
        Ok(())
    }

    /// A new one is in use from now on, and proves itself. One that had not done so leaves no trace: what was before it is
    /// what is put back.
    pub fn take(&mut self, version: u64) {
        if self.trial.is_none() {
            self.before = self.in_use;
        }
        self.highest = self.highest.max(version);
        self.in_use = Some(version);
        self.trial = Some(Trial { ends: 0, running: true });
    }

    /// The agent starts: the one in use may be rolled back for that.
    pub fn on_start(&mut self, at: Timestamp) {
        let Some(trial) = &mut self.trial else { return };
        trial.ends += u32::from(trial.running);
        trial.running = true;
        if trial.ends >= ENDS {
            self.fall(at, format!("the agent ended {ENDS} times without having been told to, before the bundle had proved itself"));
        }
    }

    /// The agent was told to stop, or could not start for a reason that no bundle has a part in.
    pub fn on_stop(&mut self) {
        if let Some(trial) = &mut self.trial {
            trial.running = false;
        }
    }

    /// The one in use has proved itself.
    pub fn prove(&mut self) {
        self.trial = None;
    }

    /// What was before is put back.
    pub fn fall(&mut self, at: Timestamp, why: String) {
        let Some(version) = self.in_use.take() else { return };
        self.in_use = self.before.take();
        self.trial = None;
        self.fallen = Some(Fallen { version, at, why, told: false });
    }

    /// Every version whose file is needed.
    pub fn needed(&self) -> impl Iterator<Item = u64> {
        self.in_use.into_iter().chain(self.before)
    }
}

/// What is to be done with a bundle on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// Look again.
    Waits,
    /// It has proved itself.
    Proved,
    /// It is rolled back.
    Fails(String),
}

/// The ruling on a bundle with which the agent has run for so long, of so long that it has to. `ill` is what is wrong with the
/// agent now.
pub fn rule(run_for: Duration, probation: Duration, ill: Option<String>) -> Ruling {
    match ill {
        Some(why) => Ruling::Fails(why),
        None if run_for >= probation => Ruling::Proved,
        None => Ruling::Waits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: Timestamp = Timestamp::from_millis(1_000);

    fn after(steps: impl FnOnce(&mut Record)) -> Record {
        let mut record = Record { highest: 7, in_use: Some(7), ..Record::default() };
        steps(&mut record);
        record
    }

    #[test]
    fn a_bundle_proves_itself_and_the_one_before_is_kept() {
        let record = after(|record| {
            record.take(8);
            record.prove();
        });
        assert_eq!((record.in_use, record.before, record.trial, record.highest), (Some(8), Some(7), None, 8));
        let next = after(|record| {
            record.take(8);
            record.prove();
            record.take(9);
        });
        assert_eq!((next.in_use, next.before), (Some(9), Some(8)));
    }

    #[test]
    fn the_second_end_without_a_word_puts_back_what_was_before() {
        let mut record = after(|record| record.take(8));
        record.on_start(AT);
        assert_eq!(record.in_use, Some(8), "one may be a power cut");
        record.on_start(AT);
        assert_eq!((record.in_use, record.before, record.trial), (Some(7), None, None));
        assert_eq!(record.fallen.as_ref().map(|f| (f.version, f.told)), Some((8, false)));
        assert!(matches!(record.admits(8), Err(Stale::Fallen { version: 8, .. })));
        assert!(record.admits(9).is_ok());
        let fallen = record.clone();
        record.on_start(AT);
        assert_eq!(record, fallen, "and that is the end of it");
    }

    #[test]
    fn an_end_that_was_ordered_is_none_of_the_bundle() {
        let mut record = after(|record| record.take(8));
        for _ in 0..9 {
            record.on_stop();
            record.on_start(AT);
            assert_eq!(record.in_use, Some(8));
        }
        assert_eq!(record.trial, Some(Trial { ends: 0, running: true }));
    }

    #[test]
    fn without_one_before_the_site_file_is_put_back() {
        let mut record = Record::default();
        record.take(1);
        record.fall(AT, "ill".into());
        assert_eq!((record.in_use, record.highest), (None, 1));
        record.fall(AT, "ill again".into());
        assert_eq!(
            record.fallen.map(|fallen| fallen.why),
            Some("ill".into()),
            "there is nothing to roll back"
        );
    }

    #[test]
    fn one_that_had_not_proved_itself_is_never_put_back() {
        let record = after(|record| {
            record.take(8);
            record.take(9);
            record.fall(AT, "ill".into());
        });
        assert_eq!(record.in_use, Some(7));
        assert!(record.admits(8).is_err() && record.admits(9).is_err() && record.admits(10).is_ok());
    }

    #[test]
    fn the_five_minutes_are_counted_and_any_illness_ends_them() {
        let (probation, second) = (Duration::from_secs(300), Duration::from_secs(1));
        assert_eq!(rule(probation - second, probation, None), Ruling::Waits);
        assert_eq!(rule(probation, probation, None), Ruling::Proved);
        for run_for in [Duration::ZERO, probation] {
            assert_eq!(rule(run_for, probation, Some("ill".into())), Ruling::Fails("ill".into()));
        }
    }

    proptest! {
        /// Whatever happens in whatever order: no version comes back, and what is put back was in use before.
        #[test]
        fn no_version_is_taken_twice(steps in prop::collection::vec((0..5_u8, 1..12_u64), 0..60)) {
            let mut record = Record::default();
            let (mut taken, mut proved) = (vec![], vec![]);
            for (step, version) in steps {
                match step {
                    0 if record.admits(version).is_ok() => {
                        prop_assert!(taken.iter().all(|old| version > *old));
                        taken.push(version);
                        record.take(version);
                    }
                    1 => record.on_start(AT),
                    2 => record.on_stop(),
                    3 => {
                        record.prove();
                        proved.extend(record.in_use);
                    }
                    _ => record.fall(AT, "ill".into()),
                }
                prop_assert_eq!(record.highest, taken.last().copied().unwrap_or(0));
                prop_assert!(record.in_use.is_none_or(|v| record.trial.is_some() || proved.contains(&v)));
                prop_assert!(record.before.is_none_or(|v| proved.contains(&v) && Some(v) < record.in_use));
            }
        }
    }
}
