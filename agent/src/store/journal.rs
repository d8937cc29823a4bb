//! The journal as it is stored, for whoever looks at it from outside: cut into pieces that hold up no commit, and decoded
//! by who wants to know.

use super::chain::{Fault, Head, Lost, Proof, Prover, Standing};
use super::entries::{ChainedBlock, Input};
use super::keys::{self, Kind};
use super::{Store, StoreError, seal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use vigil_core::site::Site;
use vigil_core::time::Timestamp;

/// How much is read before the pump goes back to its work: some milliseconds.
const AT_ONCE_BYTES: usize = 256 * 1024;
/// And how many blocks: those of a quiet site are small.
const AT_ONCE: usize = 2_000;

/// What a journal is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// The site whose policy is in force.
    pub site: Site,
    /// Everything due at or before this instant was judged.
    pub judged_until: Timestamp,
    /// The first number that no input has yet.
    pub next_input: u64,
    /// Where its chain begins: what was before has passed its time.
    pub anchor: Head,
    /// Where its chain ends.
    pub head: Head,
    /// How far it had reached by what lies beside the database.
    pub reached: u64,
    /// Whether a part of that is not there, though it was.
    pub unwitnessed: bool,
    /// What was lost before its chain begins.
    pub lost: Vec<Lost>,
    /// The first inputs of blocks whose key is gone.
    pub locked: BTreeSet<u64>,
}

/// Some blocks of a journal, each with the number of its first input, as they are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    blocks: Vec<(u64, Vec<u8>)>,
}

/// A journal, copied. It stays as it is stored: decoded, it would take five times the memory.
#[derive(Debug)]
pub struct Journal {
    /// What it is worth.
    pub opening: Opening,
    blocks: Vec<(u64, Vec<u8>)>,
}

/// Why the journal of a store cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NoJournal {
    /// There is no store.
    #[error("there is no store at {0}")]
    NoStore(PathBuf),
    /// It belongs to an agent that runs, or ran meanwhile.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// It cannot be copied.
    #[error("cannot copy {from} to {to}: {source}")]
    Copy {
        /// What.
        from: PathBuf,
        /// Where to.
        to: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its database is not there, and was.
    #[error("the store at {folder} is gone: {inputs} inputs had been stored in it")]
    Gone {
        /// Where it was.
        folder: PathBuf,
        /// How many, by what lies beside it.
        inputs: u64,
    },
    /// Neither its database is there, nor what was written beside it.
    #[error("the store at {0} is gone: keys that sealed its records are there, and nothing else of it")]
    Vanished(PathBuf),
    /// The database in it does not open.
    #[error("the store at {0} is damaged")]
    Damaged(PathBuf),
    /// Keys that its records need are not beside it.
    #[error("keys of the store at {0} are not there, or cannot be read")]
    Locked(PathBuf),
    /// Under which site it was written is not known.
    #[error("the store at {0} does not say which policy was in force")]
    NoSite(PathBuf),
    /// The copy cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Blocks of the journal whose first input has the number `from` or a later one, as many as are read at once; none
    /// if there are no more.
    pub fn journal_piece(&self, from: u64) -> Result<Piece, StoreError> {
        let (from, below) = (keys::numbered(Kind::Journal, from), [Kind::Journal as u8 + 1]);
        let (mut piece, mut size) = (Piece::default(), 0);
        for record in self.disk.scan_between(&from, &below).take(AT_ONCE) {
            let (key, block) = record?;
            size += block.len();
            piece.blocks.extend(keys::number_of(&key).map(|first| (first, block)));
            if size >= AT_ONCE_BYTES {
                break;
            }
        }
        Ok(piece)
    }

    /// What the journal is worth, if the store says under which site it was written.
    pub(super) fn opening(&self) -> Result<Option<Opening>, StoreError> {
        self.snapshot()?.map(|(_, (site, _))| self.opening_of(site)).transpose()
    }

    /// What the journal of a site is worth.
    pub fn opening_of(&self, site: Site) -> Result<Opening, StoreError> {
        Ok(Opening {
            site,
            judged_until: self.marks.judged_until,
            next_input: self.marks.next_input,
            anchor: self.anchor()?,
            head: self.head,
            reached: self.reached(),
            unwitnessed: false,
            lost: self.lost()?,
            locked: self.locked_blocks()?,
        })
    }

    /// The blocks of the journal that were set aside because their keys are gone.
    fn locked_blocks(&self) -> Result<BTreeSet<u64>, StoreError> {
        let mut locked = BTreeSet::new();
        for record in self.disk.scan(&keys::set_aside(&Kind::Journal.prefix())) {
            let (key, block) = record?;
            locked.extend(keys::number_of(&key).filter(|_| seal::number_of(&block).is_some()));
        }
        Ok(locked)
    }
}

impl Journal {
    /// One of which nothing is known yet.
    pub const fn new(opening: Opening) -> Self {
        Self { opening, blocks: Vec::new() }
    }

    /// Adds a piece, up to where the journal ended when it was opened; where to go on, if there may be more.
    pub fn add(&mut self, piece: Piece) -> Option<u64> {
        let next = piece.blocks.last().map(|(first, _)| first.saturating_add(1));
        let end = self.opening.next_input;
        self.blocks.extend(piece.blocks.into_iter().filter(|(first, _)| *first < end));
        next.filter(|next| *next < end)
    }

    /// What has passed its time while the journal was read is no part of it.
    pub fn begins_as(&mut self, now: Opening) {
        let anchor = now.anchor;
        if anchor.next_input > self.opening.anchor.next_input {
            (self.opening.anchor, self.opening.lost) = (anchor, now.lost);
            self.blocks.retain(|(first, _)| *first >= anchor.next_input);
        }
    }

    /// What its chain is worth; `known` are heads that somebody has kept elsewhere.
    pub fn prove(&self, known: &[Head]) -> (Proof, Vec<(Head, Standing)>) {
        let Opening { anchor, head, reached, unwitnessed, ref lost, ref locked, .. } = self.opening;
        let mut prover = Prover::from(anchor);
        let mut standings: Vec<(Head, Standing)> =
            known.iter().map(|head| (*head, Standing::of(*head, anchor))).collect();
        for (first, record) in &self.blocks {
            prover.block(*first, record);
            for (known, standing) in &mut standings {
                if prover.has_reached(*known) {
                    *standing = if prover.comes_to(*known) { Standing::Proved } else { Standing::Wrong };
                }
            }
        }
        let mut proof = prover.end(head);
        if reached > head.next_input {
            // What lies beside the database knows of more than the database itself.
            proof.faults.push(Fault::Missing { from: head.next_input, to: reached });
        }
        if unwitnessed {
            proof.faults.push(Fault::Unwitnessed);
        }
        for fault in &mut proof.faults {
            // The hole begins with a block that is there, and that nobody can open.
            if let Fault::Missing { from, to } = *fault
                && locked.contains(&from)
            {
                *fault = Fault::Locked { from, to };
            }
        }
        for (known, standing) in &mut standings {
            let between =
                *standing == Standing::NotReached && known.next_input <= proof.to.max(head.next_input);
            let before = *standing == Standing::Passed && lost.iter().any(|lost| lost.has(*known));
            if between || before {
                *standing = Standing::Lost;
            }
        }
        proof.lost.clone_from(lost);
        (proof, standings)
    }

    /// Its blocks in order: the number of the first input with all that are in it, or nothing for one that cannot be
    /// read.
    pub fn blocks(&self) -> impl Iterator<Item = Option<(u64, Vec<Input>)>> {
        let read = |(first, bytes): &(u64, Vec<u8>)| Some((*first, ChainedBlock::read(bytes).ok()?.inputs));
        self.blocks.iter().map(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Draft;

    fn down(n: u64) -> Input {
        let at = Timestamp::from_millis(i64::try_from(n).unwrap());
        Input::Down { from: at, until: at }
    }

    fn opening(next_input: u64) -> Opening {
        let (anchor, head) = Default::default();
        let toml = "[site]\nid = \"s\"\nname = \"S\"\ntenant = \"t\"\nclient = \"c\"\ntimezone = \"UTC\"\n";
        let site = vigil_config::parse_site(std::path::Path::new("site.toml"), toml.as_bytes()).unwrap();
        let (reached, unwitnessed, lost, locked) = Default::default();
        let judged_until = Timestamp::default();
        Opening { site, judged_until, next_input, anchor, head, reached, unwitnessed, lost, locked }
    }

    #[test]
    fn a_long_journal_is_read_in_pieces_up_to_where_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        let blocks = AT_ONCE as u64 + 10;
        for n in 0..blocks {
            store.commit(Draft { inputs: vec![down(2 * n), down(2 * n + 1)], ..Draft::default() }).unwrap();
        }
        let mut journal = Journal::new(opening(store.marks().next_input));
        store.commit(Draft { inputs: vec![down(9_999)], ..Draft::default() }).unwrap();
        let next = journal.add(store.journal_piece(0).unwrap()).unwrap();
        assert_eq!(journal.add(store.journal_piece(next).unwrap()), None);
        let read: Vec<Input> = journal.blocks().flat_map(|block| block.unwrap().1).collect();
        assert_eq!(read, (0..2 * blocks).map(down).collect::<Vec<_>>());
        assert_eq!(journal.add(store.journal_piece(9_999).unwrap()), None, "there is no more");
    }

    #[test]
    fn a_block_that_cannot_be_read_is_told_and_stays_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        store.commit(Draft { inputs: vec![down(0)], ..Draft::default() }).unwrap();
        let mut writes = crate::store::writes::Writes::default();
        writes.put(keys::numbered(Kind::Journal, 1), b"not a record".to_vec());
        store.disk.commit(writes).unwrap();
        let mut journal = Journal::new(opening(2));
        journal.add(store.journal_piece(0).unwrap());
        assert_eq!(journal.blocks().collect::<Vec<_>>(), [Some((0, vec![down(0)])), None]);
        assert_eq!(store.marks().set_aside, 0, "nothing is changed by who only looks");
    }
}
