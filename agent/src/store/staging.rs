//! Each part of a draft as writes of one batch.

use super::chain::{Digest, Head};
use super::entries::{Announcement, ChainedBlock, Input, Lane, Marks, StoredEvent};
use super::keys::{self, Kind};
use super::records::encode;
use super::writes::Writes;
use super::{PIECE, StoreError};
use crate::sources::decode::Refusal;
use vigil_core::alert::Alert;
use vigil_core::rules::compliance::RunRecord;
use vigil_core::rules::welfare::Prompt;

/// How many refused inputs are kept (contract 4).
const REFUSED_KEPT: u64 = 1_000;

pub(super) fn events(
    writes: &mut Writes,
    marks: &mut Marks,
    events: &[StoredEvent],
) -> Result<Vec<(u64, Lane)>, StoreError> {
    let mut added = Vec::with_capacity(events.len());
    for event in events {
        // The first sequence is 1, so that a receiver's "highest seen" can start at 0.
        marks.next_sequence = marks.next_sequence.max(1);
        writes.put(keys::outbox(event.kind as u8, marks.next_sequence), encode(event)?);
        added.push((marks.next_sequence, event.kind));
        marks.next_sequence += 1;
    }
    Ok(added)
}

/// How many bytes it takes, and where the chain ends with it.
pub(super) fn journal(
    writes: &mut Writes,
    marks: &mut Marks,
    mut head: Head,
    inputs: &[Input],
) -> Result<(u64, Head), StoreError> {
    for input in inputs {
        if let Input::Observation(_, outcome) = input {
            *marks.outcomes.entry(*outcome).or_default() += 1;
        }
    }
    let bytes = if inputs.is_empty() { 0 } else { block(writes, &mut head, inputs)? };
    marks.next_input = head.next_input;
    Ok((bytes, head))
}

/// One block, or two halves if it is too large.
fn block(writes: &mut Writes, head: &mut Head, inputs: &[Input]) -> Result<u64, StoreError> {
    let received_at = inputs.iter().map(Input::received_at).max().unwrap_or_default();
    let bytes = ChainedBlock::write(head.digest, received_at, inputs)?;
    if bytes.len() > PIECE
        && let Some((first, rest)) =
            inputs.split_at_checked(inputs.len() / 2).filter(|(first, _)| !first.is_empty())
    {
        return Ok(block(writes, head, first)? + block(writes, head, rest)?);
    }
    let (size, number) = (bytes.len() as u64, head.next_input);
    *head = Head { next_input: number + inputs.len() as u64, digest: Digest::of(number, &bytes) };
    writes.put(keys::numbered(Kind::Journal, number), bytes);
    Ok(size)
}

pub(super) fn facts(writes: &mut Writes, alerts: &[Alert], runs: &[RunRecord]) -> Result<(), StoreError> {
    // Later revisions of the same batch overwrite earlier ones: the store keeps the latest.
    for alert in alerts {
        writes.put(keys::alert(alert.id), encode(alert)?);
    }
    for run in runs {
        writes.put(keys::run(run.scheduled_at, run.tour.as_str()), encode(run)?);
    }
    Ok(())
}

pub(super) fn prompts(writes: &mut Writes, marks: &mut Marks, all: &[Prompt]) -> Result<(), StoreError> {
    for prompt in all {
        writes.put(keys::numbered(Kind::Prompt, marks.next_announcement), encode(prompt)?);
        marks.next_announcement += 1;
    }
    Ok(())
}

pub(super) fn announcements(
    writes: &mut Writes,
    marks: &mut Marks,
    all: &[Announcement],
) -> Result<(), StoreError> {
    for announcement in all {
        writes.put(keys::numbered(Kind::Local, marks.next_announcement), encode(announcement)?);
        marks.next_announcement += 1;
    }
    Ok(())
}

pub(super) fn refusals(
    writes: &mut Writes,
    marks: &mut Marks,
    refusals: &[Refusal],
) -> Result<(), StoreError> {
    for refusal in refusals {
        *marks.refused.entry(refusal.reason).or_default() += 1;
        writes.put(keys::numbered(Kind::Refusal, marks.next_refusal), encode(refusal)?);
        if let Some(oldest) = marks.next_refusal.checked_sub(REFUSED_KEPT) {
            writes.remove(keys::numbered(Kind::Refusal, oldest));
        }
        marks.next_refusal += 1;
    }
    Ok(())
}
