//! `vigil verify-journal`: whether the stored journal is the one that was written, and whole.

use super::journal::journal;
use super::table::WallClock;
use super::{Failure, ask::Whom};
use crate::store::{Digest, Fault, Head, Lost, Proof, Standing};
use serde_json::{Value, json};
use std::io::Write;
use vigil_core::time::Timestamp;

/// `vigil verify-journal`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    whom: Whom,
    /// A head that was kept elsewhere, like 4711:9f86d0…, from a report or a sign of life at the NOC
    #[arg(long, value_name = "INPUTS:HEAD")]
    head: Vec<Kept>,
}

/// A head as text: the number of inputs before it, and 64 hex digits.
#[derive(Debug, Clone, Copy)]
struct Kept(Head);

impl std::str::FromStr for Kept {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let read = |text: &str| {
            let (inputs, digest) = text.split_once(':')?;
            Some(Head { next_input: inputs.parse().ok()?, digest: Digest::parse(digest)? })
        };
        read(text).map(Self).ok_or_else(|| {
            "a number of inputs, a colon and 64 hex digits are expected: `journal.inputs` and `journal.head` of a report"
                .to_owned()
        })
    }
}

/// Runs the command: exit code 1 if anything is wrong.
pub fn run(args: &Args) -> Result<(), Failure> {
    let journal = journal(&args.whom)?;
    let known: Vec<Head> = args.head.iter().map(|kept| kept.0).collect();
    let (proof, standings) = journal.prove(&known);
    let head = journal.opening.head;
    let mut out = std::io::stdout().lock();
    if args.whom.json {
        writeln!(out, "{}", edge(&proof, head, &standings))?;
    } else {
        let clock = WallClock { zone: journal.opening.site.timezone, now: journal.opening.judged_until };
        write!(out, "{}", told(&proof, head, &standings, clock))?;
    }
    if is_whole(&proof, &standings) {
        return Ok(());
    }
    Err(Failure::failed(
        verdict(&proof, &standings),
        "Keep the folder of the store as it is, as evidence, and compare it with what the operations centre has.",
    ))
}

fn is_whole(proof: &Proof, standings: &[(Head, Standing)]) -> bool {
    proof.is_whole() && standings.iter().all(|(_, standing)| !standing.is_bad())
}

/// Whether somebody or something took a part of it away, or it is another one.
fn verdict(proof: &Proof, standings: &[(Head, Standing)]) -> &'static str {
    let missing = |fault: &Fault| matches!(fault, Fault::Missing { .. } | Fault::Locked { .. });
    let locked = |fault: &Fault| matches!(fault, Fault::Locked { .. });
    let another = standings.iter().any(|(_, standing)| *standing == Standing::Wrong);
    if !another && !proof.faults.is_empty() && proof.faults.iter().all(locked) && proof.more_faults == 0 {
        return "a part of the journal cannot be read: its keys are gone before their time";
    }
    if !another && proof.faults.iter().all(missing) && proof.more_faults == 0 {
        return "a part of the journal is gone before its time";
    }
    "the journal is not the one that was written"
}

fn edge(proof: &Proof, head: Head, standings: &[(Head, Standing)]) -> Value {
    let named = |head: &Head| json!({ "inputs": head.next_input, "head": head.digest.to_string() });
    let kept: Vec<Value> = standings
        .iter()
        .map(|(head, standing)| {
            let mut kept = named(head);
            kept["standing"] = json!(standing);
            kept
        })
        .collect();
    json!({ "whole": is_whole(proof, standings), "proof": proof, "head": named(&head), "kept": kept })
}

fn told(proof: &Proof, head: Head, standings: &[(Head, Standing)], clock: WallClock) -> String {
    let at = |instant: Option<Timestamp>| clock.at(&json!({ "at": instant }), "/at");
    let Proof { from, to, blocks, inputs, unchained, faults, more_faults, lost, first_at, last_at } = proof;
    let (first, last) = (at(*first_at), at(*last_at));
    let mut lines = vec![
        format!("inputs {from} to {to}, {first} to {last}: {inputs} in {blocks} blocks"),
        format!("head    {}:{}", head.next_input, head.digest),
    ];
    if *unchained > 0 {
        lines.push(format!(
            "{unchained} blocks were written before the journal was a chain, and prove nothing"
        ));
    }
    lines.extend(faults.iter().map(|fault| format!("FAULT   {fault}")));
    if *more_faults > 0 {
        lines.push(format!("FAULT   and {more_faults} more"));
    }
    lines.extend(lost.iter().map(|Lost { from, to }| {
        format!(
            "LOST    inputs {from} to {} were gone before their time; what is left begins after them",
            to - 1
        )
    }));
    lines.extend(
        standings.iter().map(|(known, standing)| format!("kept    {} {}", known.next_input, said(*standing))),
    );
    if is_whole(proof, standings) {
        let whole = "nothing was altered, removed or added";
        lines.push(match lost.last() {
            None => format!("whole: {whole}"),
            Some(_) => format!("whole since input {from}: {whole}"),
        });
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

const fn said(standing: Standing) -> &'static str {
    match standing {
        Standing::Proved => "proved: the journal comes to it",
        Standing::Wrong => "WRONG: the journal is another one",
        Standing::NotReached => "MISSING: the journal ends before it, and had reached it",
        Standing::Passed => "passed: what it sums up has had its time and is no longer kept",
        Standing::Lost => "MISSING: what it sums up is gone, and its time had not come",
    }
}
