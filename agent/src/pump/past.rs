//! The engine out of the store: as it stood, and, if the clock was wrong, as it really stands.

use super::{Draft, Pump, PumpError, absorb};
use crate::clock::{Keeper, Look};
use crate::store::{Input, Past, StoreError};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use vigil_core::engine::{Commit, Engine};
use vigil_core::retelling::{Correction, Retelling};
use vigil_core::rules::compliance::RunRecord;
use vigil_core::site::Site;
use vigil_core::time::{Span, Timestamp};

/// The engine as it stood: the snapshot under its own site, and the inputs behind it. What followed from them was
/// stored with them, so their effects are not stored again.
pub fn rebuild(past: Past, site: &Arc<Site>, judged_until: Timestamp, now: Timestamp) -> Engine {
    let mut engine = remembered(past, site, now);
    drop(engine.on_deadline(judged_until));
    engine
}

/// The same up to the last that is known of it.
pub(super) fn remembered(past: Past, site: &Arc<Site>, now: Timestamp) -> Engine {
    let restored = past.snapshot.and_then(restore);
    let first = past.inputs.first().map(Input::received_at);
    let whole = restored.is_none();
    let mut engine = restored.unwrap_or_else(|| Engine::new(Arc::clone(site), first.unwrap_or(now)));
    // Behind a snapshot no time has been told again: that makes a snapshot of its own.
    let inputs = if whole { retold(past.inputs) } else { past.inputs };
    for input in inputs {
        drop(give(&mut engine, input));
    }
    engine
}

fn restore((site, bytes): (Site, Vec<u8>)) -> Option<Engine> {
    match Engine::restore(Arc::new(site), &bytes) {
        Ok(engine) => Some(engine),
        Err(why) => {
            tracing::warn!(%why, "the engine's snapshot cannot be used; the journal is replayed instead");
            None
        }
    }
}

/// Gives the engine an entry of the journal.
pub fn give(engine: &mut Engine, input: Input) -> Commit {
    match input {
        Input::Observation(observation, _) => engine.on_observation(observation),
        Input::Down { from, until } => engine.on_restart(from, until),
        Input::Unset { at } => engine.on_unset(at),
        Input::Clock { .. } => Commit::default(),
        Input::Command(command, _) => engine.on_command(*command),
    }
}

/// A journal with the instants at which its entries really came, as far as that is known.
pub fn retold(inputs: Vec<Input>) -> Vec<Input> {
    let mut retold = Retold::default();
    inputs.iter().enumerate().for_each(|(n, input)| retold.note(n, input));
    inputs.into_iter().enumerate().map(|(n, input)| retold.corrected(n, input)).collect()
}

/// Which entries of a journal were told again. A journal that is too large for the memory is read twice: once for what
/// is to be noted, once for the entries as they really came.
#[derive(Debug, Default)]
pub struct Retold(Vec<Stretch>);

/// Entries that one correction told again.
#[derive(Debug)]
struct Stretch {
    entries: Range<usize>,
    correction: Correction,
    /// When the entry before the one in hand really came.
    latest: Option<Timestamp>,
}

impl Retold {
    /// Notes what the entry of that number says of those before it.
    pub fn note(&mut self, number: usize, input: &Input) {
        let Input::Clock { inputs, from, by_ms, uncertainty_ms } = *input else { return };
        let [by, uncertainty] = [by_ms, uncertainty_ms].map(Span::from_millis);
        let first = number.saturating_sub(usize::try_from(inputs).unwrap_or(usize::MAX));
        let correction = Correction { from, by, uncertainty };
        self.0.push(Stretch { entries: first..number, correction, latest: None });
    }

    /// The entry of that number as it really came; every entry is to be asked for, in order.
    pub fn corrected(&mut self, number: usize, mut input: Input) -> Input {
        for stretch in &mut self.0 {
            if stretch.entries.contains(&number) {
                let latest = stretch.latest.unwrap_or_else(|| input.received_at());
                input = corrected(input, stretch.correction, latest);
            }
            stretch.latest = Some(input.received_at());
        }
        input
    }
}

/// An entry with the instants at which it really came; never before `latest`.
fn corrected(input: Input, correction: Correction, latest: Timestamp) -> Input {
    let of = |at| correction.of(at).max(latest);
    match input {
        Input::Observation(mut observation, outcome) => {
            observation.received_at = of(observation.received_at);
            Input::Observation(observation, outcome)
        }
        Input::Down { from, until } => Input::Down { from: correction.of(from), until: of(until) },
        // How long it was down is known now.
        Input::Unset { at } => Input::Down { from: latest, until: of(at) },
        Input::Clock { .. } => input,
        Input::Command(mut command, answer) => {
            command.received_at = of(command.received_at);
            Input::Command(command, answer)
        }
    }
}

impl Pump {
    /// Takes up where the engine stood, as far as the time is known, after having been blind for so long; a store that is new
    /// was not.
    pub(super) fn wake(
        &mut self,
        site: Arc<Site>,
        blind: Option<Span>,
        now: Timestamp,
    ) -> Result<(), PumpError> {
        let known = blind.is_some();
        let judged_until = self.store.marks().judged_until;
        let unset = self.keeper.as_ref().is_some_and(Keeper::is_unset);
        let vouched = self.keeper.as_ref().is_none_or(Keeper::is_vouched_for);
        if unset {
            tracing::warn!(provisional = %now, "the clock is not set: what needs the time of day waits for the right one");
        }
        let goes_on = unset && self.keeper.as_ref().is_some_and(Keeper::resumes);
        if self.engine.is_provisional() && !unset {
            // The boot whose clock was never set is over: its instants are the best that will be known of it.
            let from = self.store.marks().clock.as_ref().map_or(judged_until, |k| k.from());
            let uncertainty = now.since(judged_until);
            self.retell(Correction { from, by: Span::ZERO, uncertainty }, judged_until)?;
        }
        let goes_on = goes_on && self.engine.is_provisional();
        if !vouched && !goes_on {
            self.set_out_from_here(Arc::clone(&site), judged_until)?;
        }
        let ahead = known && self.keeper.is_some() && self.engine.is_ahead_of(now);
        let mut draft = Draft { judged_until: now, set_back: ahead && vouched, ..Draft::default() };
        if draft.set_back {
            tracing::warn!(%judged_until, %now, "the store was written by a clock in the future; the engine begins anew");
            self.engine.set_back(now);
        }
        if unset && !goes_on {
            draft.inputs.push(Input::Unset { at: now });
            absorb(&mut draft, self.engine.on_unset(now))?;
        } else if known {
            let from = blind.map_or(judged_until, |blind| now - blind);
            draft.inputs.push(Input::Down { from, until: now });
            absorb(&mut draft, self.engine.on_restart(from, now))?;
        }
        let changed = **self.engine.site() != *site;
        if changed {
            absorb(&mut draft, self.engine.on_site(site, now))?;
        }
        if vouched || changed {
            self.add_snapshot(&mut draft)?;
        } else if !goes_on && let Some(keeper) = &mut self.keeper {
            keeper.mark(now);
        }
        self.commit(draft)
    }

    /// Puts the engine on stable storage as it stands before a time that may have to be told again.
    fn set_out_from_here(&mut self, site: Arc<Site>, judged_until: Timestamp) -> Result<(), PumpError> {
        let mut draft = Draft { judged_until, ..Draft::default() };
        if **self.engine.site() != *site {
            absorb(&mut draft, self.engine.on_site(site, judged_until))?;
        }
        self.add_snapshot(&mut draft)?;
        self.commit(draft)
    }

    /// What a wrong clock made the agent say of a run or of a day is out, and has its number. What is really so is its
    /// next revision, or nothing if it says the same.
    pub(super) fn follow_what_was_told(&mut self, draft: &mut Draft) -> Result<(), StoreError> {
        for mut run in std::mem::take(&mut draft.runs) {
            let same =
                |known: &&RunRecord| (known.scheduled_at, &known.tour) == (run.scheduled_at, &run.tour);
            let told = match draft.runs.iter().rfind(same) {
                Some(known) => Some(known.clone()),
                None => self.store.run(run.scheduled_at, &run.tour)?,
            };
            if let Some(told) = told.filter(|told| told.revision >= run.revision) {
                run.revision = told.revision;
                if run == told {
                    continue;
                }
                run.revision += 1;
            }
            draft.runs.push(run);
        }
        let mut told = BTreeMap::new();
        for report in &mut draft.reports {
            let last = match told.get(&report.date) {
                Some(last) => *last,
                None => {
                    self.store.reports(report.date, report.date)?.last().map_or(0, |known| known.revision)
                }
            };
            report.revision = report.revision.max(last + 1);
            told.insert(report.date, report.revision);
        }
        Ok(())
    }

    /// Looks at the clocks: the box may have slept, and the time may have been wrong.
    pub(super) fn look(&mut self) -> Result<(), PumpError> {
        let Some(Look { slept, correction }) = self.keeper.as_mut().map(Keeper::look) else { return Ok(()) };
        let now = self.clock.now();
        if let Some(asleep) = slept {
            let by = correction.map_or(Span::ZERO, |c| c.by);
            self.was_away(now - by, asleep)?;
        }
        if let Some(correction) = correction {
            let Correction { by, uncertainty, .. } = correction;
            let (by_ms, uncertainty_ms) = (by.millis(), uncertainty.millis());
            tracing::warn!(by_ms, uncertainty_ms, "the clock was wrong; time is told again");
            self.retell(correction, now)?;
        }
        Ok(())
    }

    /// The box slept: what happened meanwhile could not be heard.
    fn was_away(&mut self, until: Timestamp, asleep: Span) -> Result<(), PumpError> {
        let from = (until - asleep).max(self.engine.now()).min(until);
        tracing::warn!(secs = asleep.millis() / 1_000, "the box slept");
        let mut draft = Draft { judged_until: until, ..Draft::default() };
        draft.inputs.push(Input::Down { from, until });
        absorb(&mut draft, self.engine.on_restart(from, until))?;
        self.commit(draft)
    }

    /// Tells everything again that came after the last snapshot, as it really was, and goes on from there.
    fn retell(&mut self, correction: Correction, until: Timestamp) -> Result<(), PumpError> {
        let past = self.store.past()?;
        let new = || Engine::new(Arc::clone(self.engine.site()), correction.from);
        let before = past.snapshot.and_then(restore).unwrap_or_else(new);
        let inputs = past.inputs.len() as u64;
        let mut retelling = Retelling::new(before, &self.engine, correction);
        for input in past.inputs {
            retelling.give(|engine, correction| {
                let latest = engine.now();
                give(engine, corrected(input, correction, latest))
            });
        }
        let (engine, effects) = retelling.end(until);
        tracing::info!(inputs, revisions = effects.alerts.len(), "time was told again");
        self.engine = engine;
        let Correction { from, by, uncertainty } = correction;
        let told = Input::Clock { inputs, from, by_ms: by.millis(), uncertainty_ms: uncertainty.millis() };
        let judged_until = self.engine.now();
        let mut draft = Draft { inputs: vec![told], judged_until, set_back: true, ..Draft::default() };
        absorb(&mut draft, Commit { effects, ..Commit::default() })?;
        self.add_snapshot(&mut draft)?;
        self.commit(draft)
    }
}
