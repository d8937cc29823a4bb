//! The agent's own journal under another policy: what it would have raised, beside what the policy in force raises.
//!
//! The journal does not say what the engine knew before its first input, so both policies begin with an engine that knows
//! nothing: what differs comes from the policy alone. Both engines get the same inputs, one by one, and go on to the instant
//! up to which the agent itself had judged.

mod compare;

pub use compare::{Counts, Difference, Pair, Verdict, compare, counts};

use crate::pump::{self, Retold};
use crate::store::{Input, Journal};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use vigil_core::alert::{Alert, AlertId};
use vigil_core::command::{Command, Order};
use vigil_core::engine::{Commit, Engine};
use vigil_core::id::SiteId;
use vigil_core::site::Site;
use vigil_core::time::{Span, Timestamp};

/// Why there is nothing to compare.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTested {
    /// The new site file is of another site.
    #[error("it is of site {found}, and the journal is of {here}")]
    OtherSite {
        /// The site of the journal.
        here: SiteId,
        /// The site of the new file.
        found: SiteId,
    },
    /// Nothing has come in yet.
    #[error("the journal of {0} is empty: nothing has come in yet")]
    Empty(SiteId),
    /// There is something, and none of it can be read.
    #[error("none of the journal of {0} can be read")]
    Unreadable(SiteId),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Backtest {
    /// Over what.
    pub range: Range,
    /// Every alert of both, in the order in which they were detected.
    pub pairs: Vec<Pair>,
}

/// What was replayed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The first input.
    pub from: Timestamp,
    /// How far everything due was judged.
    pub until: Timestamp,
    /// How many inputs.
    pub inputs: usize,
    /// Places at which inputs are missing, because what held them could not be read.
    pub gaps: usize,
    /// When the agent was down.
    pub blind: Vec<Blind>,
}

/// Some time in which the agent was down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Blind {
    /// From here.
    pub from: Timestamp,
    /// Until here.
    pub until: Timestamp,
}

impl Range {
    /// For how long the agent was down.
    pub fn blind_for(&self) -> Span {
        let spans = self.blind.iter().map(|blind| blind.until.since(blind.from));
        Span::from_millis(spans.map(Span::millis).sum())
    }
}

/// Replays `journal` under the policy in force and under that of `new`.
pub fn backtest(journal: &Journal, new: Arc<Site>) -> Result<Backtest, NotTested> {
    let here = &journal.opening.site;
    if here.id != new.id {
        return Err(NotTested::OtherSite { here: here.id.clone(), found: new.id.clone() });
    }
    let (mut retold, mut range) = survey(journal);
    let mut runs: Option<[Run; 2]> = None;
    let inputs = journal.blocks().flatten().flat_map(|(_, inputs)| inputs);
    for (number, input) in inputs.enumerate() {
        let input = retold.corrected(number, input);
        let began = input.received_at();
        let sites = || [Arc::new(here.clone()), Arc::clone(&new)];
        let [in_force, other] = runs.get_or_insert_with(|| sites().map(|site| Run::new(site, began)));
        if number == 0 {
            range.from = began;
        }
        range.blind.extend(blind(&input));
        in_force.give(input.clone());
        other.give(input);
    }
    let Some(runs) = runs else {
        let none = if range.gaps > 0 { NotTested::Unreadable } else { NotTested::Empty };
        return Err(none(here.id.clone()));
    };
    let [in_force, new] = runs.map(|run| run.end(journal.opening.judged_until));
    range.until = in_force.1.max(new.1);
    Ok(Backtest { range, pairs: compare(in_force.0, new.0) })
}

/// What has to be known before the first input is replayed: what was told again, and what is missing.
fn survey(journal: &Journal) -> (Retold, Range) {
    let (mut retold, mut range) = (Retold::default(), Range::default());
    let mut next = None;
    for block in journal.blocks() {
        let Some((first, inputs)) = block else {
            range.gaps += 1;
            next = None;
            continue;
        };
        range.gaps += usize::from(next.is_some_and(|next| next != first));
        next = Some(first + inputs.len() as u64);
        for input in inputs {
            retold.note(range.inputs, &input);
            range.inputs += 1;
        }
    }
    (retold, range)
}

fn blind(input: &Input) -> Option<Blind> {
    match *input {
        Input::Down { from, until } if from < until => Some(Blind { from, until }),
        Input::Down { .. }
        | Input::Observation(..)
        | Input::Unset { .. }
        | Input::Clock { .. }
        | Input::Command(..) => None,
    }
}

/// One policy under way.
struct Run {
    engine: Engine,
    /// Every alert as it was revised last.
    alerts: BTreeMap<AlertId, Alert>,
}

impl Run {
    fn new(site: Arc<Site>, began: Timestamp) -> Self {
        Self { engine: Engine::new(site, began), alerts: BTreeMap::new() }
    }

    fn give(&mut self, input: Input) {
        if let Input::Down { until, .. } = input
            && self.engine.is_ahead_of(until)
        {
            // A clock that stood in the future: the agent began anew here as well.
            self.engine.set_back(until);
        }
        let commit = match input {
            Input::Command(command, answer) => {
                let command = Box::new(self.with_own_alert(*command));
                pump::give(&mut self.engine, Input::Command(command, answer))
            }
            other @ (Input::Observation(..)
            | Input::Down { .. }
            | Input::Unset { .. }
            | Input::Clock { .. }) => pump::give(&mut self.engine, other),
        };
        self.take(commit);
    }

    /// The command with the alert as this policy left it, if the engine has forgotten it: that of the agent's store is none
    /// of this run's, which may never have raised it.
    fn with_own_alert(&self, command: Command) -> Command {
        let recalled = match &command.order {
            Order::AlertStatus(step) if self.engine.book().get(step.alert).is_none() => {
                self.alerts.get(&step.alert).cloned().map(Box::new)
            }
            Order::AlertStatus(_)
            | Order::UpsertTask(_)
            | Order::CancelTask(_)
            | Order::CheckWelfare(_)
            | Order::RefreshBundle => None,
        };
        Command { recalled, ..command }
    }

    fn take(&mut self, commit: Commit) {
        self.alerts.extend(commit.effects.alerts.into_iter().map(|alert| (alert.id, alert)));
    }

    /// Goes on to `until`, unless it is past that already; what was raised, and how far everything due was judged.
    fn end(mut self, until: Timestamp) -> (BTreeMap<AlertId, Alert>, Timestamp) {
        let commit = self.engine.on_deadline(until);
        self.take(commit);
        (self.alerts, self.engine.now())
    }
}
