//! Section 6: was that tour walked in its order, and was every visit long enough? Judged when the run is over: until
//! then a scan that is on its way may put it right.

use crate::alert::{Rule, Severity, Subject};
use crate::book::Finding;
use crate::engine::Engine;
use crate::evidence::{Evidence, SequenceEvidence, ShortVisit};
use crate::id::CheckpointId;
use crate::rules::runs::RunKey;
use crate::rules::tours::Run;
use crate::site::{Site, Tour};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How far the order of a run has been judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Order {
    /// The run goes on, or late evidence has ended it: then `close_by` is awaited.
    #[default]
    Open,
    /// The run is whole: it is judged as soon as what is on its way has arrived.
    Due,
    /// It has been judged; late evidence raises nothing any more.
    Judged,
}

impl Run {
    /// The places in the order of their scans; of one instant, in the order of the tour.
    pub(super) fn walked(&self) -> Vec<CheckpointId> {
        let mut scans: Vec<(Timestamp, usize, &CheckpointId)> = Vec::with_capacity(self.scans.len());
        for (position, place) in self.checkpoints.iter().enumerate() {
            scans.extend(self.scans.get(place).map(|at| (*at, position, place)));
        }
        scans.sort();
        scans.into_iter().map(|(_, _, place)| place.clone()).collect()
    }

    /// The fewest places without which the others were visited in order; of equals, those that were visited later.
    fn out_of_order(&self, walked: &[CheckpointId]) -> Vec<CheckpointId> {
        let position = |place: &CheckpointId| self.checkpoints.iter().position(|c| c == place);
        let positions: Vec<Option<usize>> = walked.iter().map(position).collect();
        misplaced(&positions).into_iter().filter_map(|n| walked.get(n).cloned()).collect()
    }
}

/// The indices that are not in the longest rising row; of rows that are as long, the one that begins first stays.
fn misplaced<T: Ord>(positions: &[T]) -> Vec<usize> {
    // The longest rising row that begins at each index, from the last to the first.
    let mut longest: Vec<usize> = vec![0; positions.len()];
    for (n, position) in positions.iter().enumerate().rev() {
        let later = positions.iter().zip(&longest).skip(n + 1);
        let best = later.filter(|(p, _)| *p > position).map(|(_, row)| *row).max().unwrap_or(0);
        if let Some(row) = longest.get_mut(n) {
            *row = best + 1;
        }
    }
    let mut wanted = longest.iter().max().copied().unwrap_or(0);
    let mut out = Vec::new();
    // The first with the row that is wanted continues what was taken: a smaller one before it would begin a longer row.
    for (n, row) in longest.iter().enumerate() {
        if *row == wanted {
            wanted -= 1;
        } else {
            out.push(n);
        }
    }
    out
}

impl Engine {
    /// How a run was walked, as far as its tour cares.
    pub(super) fn sequence_of(&self, key: &RunKey, run: &Run) -> SequenceEvidence {
        let tour = self.site.tour(&key.1);
        let walked = run.walked();
        let ordered = tour.is_some_and(|t| t.ordered);
        SequenceEvidence {
            scheduled_at: run.scheduled_at,
            out_of_order: if ordered { run.out_of_order(&walked) } else { vec![] },
            too_short: tour.map(|t| self.short_visits(t, run, &walked)).unwrap_or_default(),
            scanned: walked,
            min_dwell_secs: tour.and_then(|t| t.min_dwell).map(|d| d.millis() / 1_000),
        }
    }

    fn short_visits(&self, tour: &Tour, run: &Run, walked: &[CheckpointId]) -> Vec<ShortVisit> {
        let Some(min_dwell) = tour.min_dwell else { return vec![] };
        let stays = self.state.runs.stays(run);
        let short = walked.iter().filter_map(|place| stays.get(place).map(|stay| (place, *stay)));
        let short = short.filter(|(_, stay)| *stay < min_dwell);
        short.map(|(c, stay)| ShortVisit { checkpoint: c.clone(), secs: stay.millis() / 1_000 }).collect()
    }

    /// A run that is whole is judged when what is on its way has arrived, unless late evidence made it so.
    pub(super) fn note_completion(&mut self, key: &RunKey) {
        let (now, settle) = (self.state.now, self.settle());
        let Some(run) = self.state.runs.get_mut(key) else { return };
        let live = run.is_whole() && now.since(run.closed_at()) <= settle;
        if live && run.docket.order == Order::Open {
            run.docket.order = Order::Due;
        }
    }

    /// What changed a run has arrived: its order is judged, or what was said of it is looked at again.
    pub(super) fn review_sequence(&mut self, key: &RunKey) {
        let Some(run) = self.state.runs.get_mut(key) else { return };
        match run.docket.order {
            Order::Due if run.is_whole() => {
                let completed_at = run.closed_at();
                self.judge_sequence(key, completed_at);
            }
            Order::Due => run.docket.order = Order::Open,
            Order::Judged => self.correct_sequence(key),
            Order::Open => {}
        }
    }

    /// The run is over.
    pub(super) fn judge_sequence(&mut self, key: &RunKey, at: Timestamp) {
        let Some(run) = self.state.runs.get_mut(key) else { return };
        run.docket.order = Order::Judged;
        let (watched, opens_at) = (run.watched, run.opens_at);
        let site = std::sync::Arc::clone(&self.site);
        let Some(tour) = self.answerable(&site, key, opens_at, at).filter(|_| watched) else { return };
        let Some(run) = self.state.runs.get(key) else { return };
        let evidence = self.sequence_of(key, run);
        if evidence.is_faultless() {
            return;
        }
        let finding = Finding {
            rule: Rule::TourSequence,
            severity: Severity::Low,
            subject: Subject::Run(key.1.clone(), key.0),
            guard: run.guard.clone(),
            detected_at: at,
            summary: summary(&site, tour, &evidence),
            evidence: Evidence::Sequence(Box::new(evidence)),
        };
        let raised = self.raise(finding, at);
        if let Some(run) = self.state.runs.get_mut(key) {
            run.docket.misordered_at = raised.map(|_| at);
        }
    }

    /// Late evidence withdraws the alert, or changes what it says.
    fn correct_sequence(&mut self, key: &RunKey) {
        let Some(run) = self.state.runs.get(key) else { return };
        let Some(at) = run.docket.misordered_at else { return };
        let evidence = self.sequence_of(key, run);
        let subject = Subject::Run(key.1.clone(), key.0);
        let (alert, now) = (self.alert_id(Rule::TourSequence, &subject, at), self.state.now);
        if evidence.is_faultless() {
            return self.withdraw(alert, now);
        }
        let site = std::sync::Arc::clone(&self.site);
        let Some(tour) = site.tour(&key.1) else { return };
        let text = summary(&site, tour, &evidence);
        let evidence = Evidence::Sequence(Box::new(evidence));
        self.revise(alert, now, |a| {
            let differs = !a.status.is_final() && a.evidence != evidence;
            if differs {
                (a.summary, a.evidence) = (text, evidence);
            }
            differs
        });
    }
}

fn summary(site: &Site, tour: &Tour, e: &SequenceEvidence) -> String {
    let clock = e.scheduled_at.local_clock(site.timezone);
    let mut faults = Vec::new();
    if !e.out_of_order.is_empty() {
        let places: Vec<&str> = e.out_of_order.iter().map(CheckpointId::as_str).collect();
        faults.push(format!("out of order {}", places.join(", ")));
    }
    if !e.too_short.is_empty() {
        let visits = e.too_short.iter().map(|v| format!("{} ({} s)", v.checkpoint, v.secs));
        let least = e.min_dwell_secs.unwrap_or_default();
        faults.push(format!("shorter than {least} s {}", visits.collect::<Vec<_>>().join(", ")));
    }
    format!("{} of {clock} was not walked as it should be: {}", tour.name, faults.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_fewest_are_out_of_order() {
        let table: [(&[u8], &[usize]); 8] = [
            (&[], &[]),
            (&[3], &[]),
            (&[0, 1, 3, 5], &[]),
            (&[1, 0], &[1]),
            (&[5, 0, 1, 2], &[0]),
            (&[0, 2, 1, 3], &[2]),
            (&[1, 2, 3, 0], &[3]),
            (&[3, 2, 1, 0], &[1, 2, 3]),
        ];
        for (positions, expected) in table {
            assert_eq!(misplaced(positions), expected, "{positions:?}");
        }
    }

    proptest! {
        #[test]
        fn what_stays_rises_and_no_smaller_set_would_do(positions in Just((0..7).collect::<Vec<u8>>()).prop_shuffle()) {
            let out = misplaced(&positions);
            let kept = |mask: u32| -> Vec<u8> {
                (0..).zip(&positions).filter(|(n, _)| mask & (1_u32 << *n) == 0).map(|(_, p)| *p).collect()
            };
            let rises = |mask: u32| kept(mask).windows(2).all(|w| w[0] < w[1]);
            prop_assert!(rises(out.iter().fold(0, |mask, n| mask | 1 << n)));
            let fewest = (0_u32..128).filter(|mask| rises(*mask)).map(u32::count_ones).min();
            prop_assert_eq!(fewest, u32::try_from(out.len()).ok());
        }
    }
}
