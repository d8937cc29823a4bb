//! The journal is a chain: every block names the digest of the one before it, so that none can be altered, removed or
//! slipped in without the next one saying so. Whoever keeps a head (the operations centre gets one with every report
//! and every sign of life) can prove that a night is whole.
//!
//! Somebody who owns the box can write a whole new chain. It will not end in the heads that were sent.

use super::entries::{ChainedBlock, Input};
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use std::fmt;
use vigil_core::time::Timestamp;

/// More faults than that are counted and not listed: a journal that is wrong from end to end is one fault to a person.
const MAX_FAULTS: usize = 1_000;
/// Input numbers that are left out when it is not known exactly how far they had reached: more than can come between
/// two notes of it, the largest commit included.
pub(super) const INPUTS_LEFT_OUT: u64 = 1 << 20;

/// What a block was, in 32 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of a block: its number and its record, which names the digest of the block before.
    pub fn of(first_input: u64, record: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&first_input.to_be_bytes());
        context.update(record);
        let mut digest = Self::default();
        // SHA-256 has 32 bytes.
        digest.0.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        digest
    }
}

impl Digest {
    /// From 64 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut digest = Self::default();
        if text.len() != 2 * digest.0.len() || !text.chars().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        for (n, byte) in digest.0.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok()?;
        }
        Some(digest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An end of the chain: everything before input `next_input` is summed up in `digest`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number of the next input.
    pub next_input: u64,
    /// The digest of the block before it; zeros where the chain begins.
    pub digest: Digest,
}

/// Inputs that are not in the journal though their time had not come: numbers that were left out, or blocks that were
/// taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The first of them.
    pub from: u64,
    /// The first that is there again.
    pub to: u64,
}

impl Lost {
    /// Whether the last input that a head sums up is one of them.
    pub const fn has(self, head: Head) -> bool {
        self.from < head.next_input && head.next_input <= self.to
    }
}

/// What is wrong with a journal. Numbers are those of inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// The block does not decode.
    Unreadable {
        /// Its first input.
        block: u64,
    },
    /// These inputs are not there.
    Missing {
        /// The first of them.
        from: u64,
        /// The first that is there again.
        to: u64,
    },
    /// These inputs are sealed, and the key of that time is gone before its own.
    Locked {
        /// The first of them.
        from: u64,
        /// The first that can be read again.
        to: u64,
    },
    /// Of what tells from outside how far the journal had reached, a part is not there: it may have gone on.
    Unwitnessed,
    /// A block is not what the next one, or the head of the store, says that it was.
    Altered {
        /// Its first input.
        block: u64,
    },
    /// Two blocks hold the same inputs.
    Overlap {
        /// The second of them.
        block: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { block } => write!(f, "the block of input {block} cannot be read"),
            Self::Missing { from, to } if to - from == 1 => write!(f, "input {from} is missing"),
            Self::Missing { from, to } if to - from >= INPUTS_LEFT_OUT => write!(
                f,
                "inputs {from} to {} are missing; up to {INPUTS_LEFT_OUT} of these numbers may never have been given: so many are left out when a store is found to be lost or an earlier one",
                to - 1
            ),
            Self::Missing { from, to } => write!(f, "inputs {from} to {} are missing", to - 1),
            Self::Locked { from, to } => write!(
                f,
                "inputs {from} to {} cannot be read: the key that they were sealed with is gone, and its time had not come",
                to - 1
            ),
            Self::Unwitnessed => f.write_str(
                "db.reach, or reached among the keys, is gone: nobody can say whether the journal went on after its end",
            ),
            Self::Altered { block } => {
                write!(f, "the block of input {block} is not the one that was written")
            }
            Self::Overlap { block } => {
                write!(f, "the block of input {block} holds inputs that are there before")
            }
        }
    }
}

/// What a journal is worth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// Where it begins: what was before has passed its time.
    pub from: u64,
    /// The number after its last input.
    pub to: u64,
    /// How many blocks there are.
    pub blocks: u64,
    /// How many inputs.
    pub inputs: u64,
    /// How many blocks were written before the journal was a chain.
    pub unchained: u64,
    /// What is wrong, in order.
    pub faults: Vec<Fault>,
    /// What was lost before its time, and would have passed it by now.
    pub lost: Vec<Lost>,
    /// How many further faults there are.
    pub more_faults: u64,
    /// When its first input came.
    pub first_at: Option<Timestamp>,
    /// When its last input came.
    pub last_at: Option<Timestamp>,
}

impl Proof {
    /// Whether nothing is wrong.
    pub const fn is_whole(&self) -> bool {
        self.faults.is_empty() && self.more_faults == 0
    }
}

/// How a head that somebody has kept elsewhere stands to a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The journal comes to it.
    Proved,
    /// The journal is another one.
    Wrong,
    /// The journal ends before it, and was there once.
    NotReached,
    /// What it sums up has passed its time.
    Passed,
    /// What it sums up is not there, and was gone before its time.
    Lost,
}

impl Standing {
    /// Whether it says that the journal is not what it was.
    pub const fn is_bad(self) -> bool {
        match self {
            Self::Wrong | Self::NotReached | Self::Lost => true,
            Self::Proved | Self::Passed => false,
        }
    }

    /// Before any block was looked at.
    pub fn of(head: Head, anchor: Head) -> Self {
        match head.next_input.cmp(&anchor.next_input) {
            std::cmp::Ordering::Less => Self::Passed,
            std::cmp::Ordering::Equal if head.digest == anchor.digest => Self::Proved,
            std::cmp::Ordering::Equal => Self::Wrong,
            std::cmp::Ordering::Greater => Self::NotReached,
        }
    }
}

/// Proves a journal, block by block.
#[derive(Debug)]
pub struct Prover {
    /// What the blocks so far come to; `None` where the chain is torn.
    at: Option<Digest>,
    /// The block that was seen last.
    last: Option<u64>,
    chained: bool,
    proof: Proof,
}

impl Prover {
    /// Begins where the journal does; what was before it has passed its time.
    pub fn from(anchor: Head) -> Self {
        let Head { next_input, digest } = anchor;
        let proof = Proof { from: next_input, to: next_input, ..Proof::default() };
        Self { at: Some(digest), last: None, chained: false, proof }
    }

    /// The next block, in order of its number.
    pub fn block(&mut self, number: u64, record: &[u8]) {
        self.proof.blocks += 1;
        match number.cmp(&self.proof.to) {
            std::cmp::Ordering::Less => self.fault(Fault::Overlap { block: number }),
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => {
                self.fault(Fault::Missing { from: self.proof.to, to: number });
                self.at = None;
            }
        }
        match ChainedBlock::read(record) {
            Ok(ChainedBlock { previous, inputs, .. }) => {
                self.link(previous);
                let count = inputs.len() as u64;
                self.proof.inputs += count;
                self.proof.to = self.proof.to.max(number.saturating_add(count));
                self.proof.first_at = self.proof.first_at.or(inputs.first().map(Input::received_at));
                self.proof.last_at = inputs.last().map(Input::received_at).or(self.proof.last_at);
                self.at = Some(Digest::of(number, record));
            }
            Err(_) => {
                self.fault(Fault::Unreadable { block: number });
                self.proof.to = self.proof.to.max(number);
                self.at = None;
            }
        }
        self.last = Some(number);
    }

    /// Whether the block names the one before it.
    fn link(&mut self, previous: Option<Digest>) {
        match (previous, self.at, self.last) {
            (Some(named), Some(is), Some(block)) if named != is => self.fault(Fault::Altered { block }),
            // The first block, and what was before it has been removed though it had not passed its time.
            (Some(named), Some(is), None) if named != is => {
                self.fault(Fault::Altered { block: self.proof.from });
            }
            (Some(_), _, _) => self.chained = true,
            // Once it is a chain it stays one.
            (None, _, _) if self.chained => self.fault(Fault::Altered { block: self.proof.to }),
            (None, _, _) => self.proof.unchained += 1,
        }
    }

    /// Whether the blocks so far come to `head`: one that was kept somewhere else, or that of the store.
    pub fn comes_to(&self, head: Head) -> bool {
        self.proof.to == head.next_input && self.at.is_none_or(|at| at == head.digest)
    }

    /// Whether the last block is the one in which `head` lies.
    pub fn has_reached(&self, head: Head) -> bool {
        self.last.is_some_and(|first| first < head.next_input) && head.next_input <= self.proof.to
    }

    /// What it is worth, if it should end in `head`.
    pub fn end(mut self, head: Head) -> Proof {
        if head.next_input > self.proof.to {
            self.fault(Fault::Missing { from: self.proof.to, to: head.next_input });
        } else if !self.comes_to(head) {
            self.fault(Fault::Altered { block: self.last.unwrap_or(self.proof.from) });
        }
        self.proof
    }

    fn fault(&mut self, fault: Fault) {
        if self.proof.faults.len() < MAX_FAULTS {
            self.proof.faults.push(fault);
        } else {
            self.proof.more_faults += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::entries::Block;
    use crate::store::records;
    use proptest::prelude::*;
    use vigil_core::time::Timestamp;

    fn inputs(from: u64, count: u64) -> Vec<Input> {
        let at = |n: u64| Timestamp::from_millis(i64::try_from(n).unwrap());
        (from..from + count).map(|n| Input::Down { from: at(n), until: at(n + 1) }).collect()
    }

    /// A journal of blocks with so many inputs each, from input 100 on, and its head.
    fn journal(counts: &[u64]) -> (Vec<(u64, Vec<u8>)>, Head) {
        let mut head = Head { next_input: 100, digest: Digest::default() };
        let mut blocks = Vec::new();
        for count in counts {
            let number = head.next_input;
            let record =
                ChainedBlock::write(head.digest, Timestamp::default(), &inputs(number, *count)).unwrap();
            head = Head { next_input: number + count, digest: Digest::of(number, &record) };
            blocks.push((number, record));
        }
        (blocks, head)
    }

    fn proved(blocks: &[(u64, Vec<u8>)], head: Head) -> Proof {
        let mut prover = Prover::from(Head { next_input: 100, digest: Digest::default() });
        blocks.iter().for_each(|(number, record)| prover.block(*number, record));
        prover.end(head)
    }

    #[test]
    fn a_whole_journal_is_proved() {
        let (blocks, head) = journal(&[3, 1, 5]);
        let proof = proved(&blocks, head);
        assert!(proof.is_whole(), "{proof:?}");
        assert_eq!((proof.from, proof.to, proof.blocks, proof.inputs), (100, 109, 3, 9));
        assert!(proved(&[], Head { next_input: 100, digest: Digest::default() }).is_whole());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let (blocks, head) = journal(&[3, 1, 5, 2]);
        let mut removed = blocks.clone();
        removed.remove(1);
        assert_eq!(proved(&removed, head).faults, [Fault::Missing { from: 103, to: 104 }]);
        assert_eq!(proved(&blocks[..3], head).faults, [Fault::Missing { from: 109, to: 111 }]);
        assert_eq!(proved(&blocks[1..], head).faults, [Fault::Missing { from: 100, to: 103 }]);
        let mut altered = blocks.clone();
        altered[2].1 =
            ChainedBlock::write(Digest::of(103, &blocks[1].1), Timestamp::default(), &inputs(7, 5)).unwrap();
        assert_eq!(proved(&altered, head).faults, [Fault::Altered { block: 104 }]);
        let mut last = blocks.clone();
        last[3].1 =
            ChainedBlock::write(Digest::of(104, &blocks[2].1), Timestamp::default(), &inputs(7, 2)).unwrap();
        assert_eq!(proved(&last, head).faults, [Fault::Altered { block: 109 }]);
        let mut broken = blocks.clone();
        broken[1].1[5] ^= 1;
        assert_eq!(proved(&broken, head).faults[0], Fault::Unreadable { block: 103 });
        let mut doubled = blocks.clone();
        doubled.insert(1, (102, blocks[1].1.clone()));
        assert!(proved(&doubled, head).faults.contains(&Fault::Overlap { block: 102 }));
    }

    #[test]
    fn blocks_of_before_the_chain_are_counted_and_may_not_follow_it() {
        let old =
            records::encode(&Block { received_at: Timestamp::default(), inputs: inputs(100, 2) }).unwrap();
        let new = ChainedBlock::write(Digest::of(100, &old), Timestamp::default(), &inputs(102, 1)).unwrap();
        let head = Head { next_input: 103, digest: Digest::of(102, &new) };
        let proof = proved(&[(100, old.clone()), (102, new.clone())], head);
        assert!(proof.is_whole() && proof.unchained == 1, "{proof:?}");
        let after = Head { next_input: 105, digest: Digest::of(103, &old) };
        assert!(!proved(&[(100, old.clone()), (102, new), (103, old)], after).is_whole());
    }

    #[test]
    fn a_head_that_was_kept_is_proved_or_wrong() {
        let (blocks, head) = journal(&[3, 1, 5]);
        let middle = Head { next_input: 104, digest: Digest::of(103, &blocks[1].1) };
        let stands = |known: Head, blocks: &[(u64, Vec<u8>)]| {
            let anchor = Head { next_input: 100, digest: Digest::default() };
            let (mut prover, mut standing) = (Prover::from(anchor), Standing::of(known, anchor));
            for (number, record) in blocks {
                prover.block(*number, record);
                if prover.has_reached(known) {
                    standing = if prover.comes_to(known) { Standing::Proved } else { Standing::Wrong };
                }
            }
            standing
        };
        assert_eq!((stands(middle, &blocks), stands(head, &blocks)), (Standing::Proved, Standing::Proved));
        assert_eq!(stands(Head { digest: head.digest, ..middle }, &blocks), Standing::Wrong);
        assert_eq!(
            stands(Head { next_input: 105, ..middle }, &blocks),
            Standing::Wrong,
            "in the midst of a block"
        );
        assert_eq!(stands(Head { next_input: 200, ..middle }, &blocks), Standing::NotReached);
        assert_eq!(stands(Head { next_input: 99, ..middle }, &blocks), Standing::Passed);
        let text = head.digest.to_string();
        assert_eq!(Digest::parse(&text), Some(head.digest));
        assert_eq!((Digest::parse(&text[1..]), Digest::parse(&text.replace('a', "g"))), (None, None));
    }

    #[test]
    fn a_fault_says_where() {
        assert_eq!(Fault::Missing { from: 7, to: 8 }.to_string(), "input 7 is missing");
        assert_eq!(Fault::Missing { from: 7, to: 9 }.to_string(), "inputs 7 to 8 are missing");
        let left_out = Fault::Missing { from: 7, to: 9 + INPUTS_LEFT_OUT }.to_string();
        assert!(left_out.starts_with("inputs 7 to 1048584 are missing; up to 1048576 of"), "{left_out}");
    }

    proptest! {
        /// Whatever is done to one block, it is found.
        #[test]
        fn no_block_can_be_altered_removed_or_swapped(
            counts in prop::collection::vec(1_u64..6, 2..12), at in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(),
            bit in 0_u32..8, kind in 0_u8..3,
        ) {
            let (mut blocks, head) = journal(&counts);
            let at = at.index(blocks.len());
            match kind {
                0 => { blocks.remove(at); }
                1 => {
                    let byte = byte.index(blocks[at].1.len());
                    blocks[at].1[byte] ^= 1 << bit;
                }
                _ => {
                    let other = (at + 1) % blocks.len();
                    let (a, b) = (blocks[at].1.clone(), blocks[other].1.clone());
                    (blocks[at].1, blocks[other].1) = (b, a);
                }
            }
            prop_assert!(!proved(&blocks, head).is_whole());
        }
    }
}
