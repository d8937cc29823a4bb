//! Commands in the ledger: numbered for each gateway, given until acknowledged, kept for a while as a record.

use super::{Entry, LedgerError};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use vigil_cloud_sync::commands::{MAX_COMMANDS, MAX_COMMANDS_BYTES};
use vigil_cloud_sync::wire::{REFUSED, WELFARE};
use vigil_core::id::CommandId;
use vigil_core::time::{Span, Timestamp};

/// How many commands may wait for one gateway: what one answer may hold, and half of what a gateway remembers. More than
/// that is no work of people; a script that runs wild is told so, and the gateway that comes back is not buried.
pub const MAX_WAITING: usize = MAX_COMMANDS;

/// How long an acknowledged command is kept: a quarter's disputes can be settled. So long its id is taken.
const KEPT: Span = Span::from_hours(90 * 24);

/// What an answer needs beside its commands, and a command beside its type and data: braces, names, a number, an id.
const FRAME_BYTES: usize = 200;

pub(super) const CREATE: &str = "
CREATE TABLE commands (
    source TEXT NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, data TEXT NOT NULL,
    queued_ms INTEGER NOT NULL, acknowledged_ms INTEGER, refused TEXT,
    PRIMARY KEY (source, seq), UNIQUE (source, id)
) STRICT;
CREATE INDEX commands_by_age ON commands (source, acknowledged_ms);
PRAGMA user_version = 2;
";

/// Since schema 3 a command has what came of it.
pub(super) const ADD_RESULT: &str = "
ALTER TABLE commands ADD COLUMN result TEXT;
PRAGMA user_version = 3;
";

/// What a gateway is to be told.
#[derive(Debug, Clone)]
pub struct NewCommand {
    /// Its name within the gateway: what comes twice is queued once.
    pub id: CommandId,
    /// What it is, like `alert.status`.
    pub kind: String,
    /// The object that goes with it.
    pub data: Box<RawValue>,
}

/// A command on its way to its gateway.
#[derive(Debug, Clone, Serialize)]
pub struct WaitingCommand {
    /// Rises with each command of the gateway.
    pub seq: u64,
    /// Its name.
    pub id: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The object that goes with it.
    pub data: Box<RawValue>,
}

/// Where a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    /// The gateway has not said yet that it is decided.
    Waiting,
    /// It is decided, and nothing was said against it.
    Acknowledged,
    /// It is decided, and cannot be carried out.
    Refused,
}

/// A command and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct CommandRow {
    /// What the gateway is told.
    #[serde(flatten)]
    pub command: WaitingCommand,
    /// Where it stands.
    pub state: CommandState,
    /// When it was given to us.
    pub queued_at: Timestamp,
    /// When the gateway said that it is decided.
    pub acknowledged_at: Option<Timestamp>,
    /// Why the gateway refused it.
    pub refused: Option<String>,
    /// What came of it, where it asks something: the record of a welfare check.
    pub result: Option<Box<RawValue>>,
}

/// What became of a new command.
#[derive(Debug)]
pub enum Queued {
    /// It waits for its gateway.
    New(CommandRow),
    /// It was there before.
    Known(CommandRow),
    /// Its id is that of another command.
    Taken,
    /// Too many wait already.
    Full,
}

pub(super) fn queue(
    tx: &Transaction<'_>,
    source: &str,
    new: &NewCommand,
    now: Timestamp,
) -> Result<Queued, LedgerError> {
    forget(tx, source, now)?;
    if let Some(known) = find(tx, source, new.id.as_str())? {
        let same = known.command.kind == new.kind && known.command.data.get() == new.data.get();
        return Ok(if same { Queued::Known(known) } else { Queued::Taken });
    }
    let (waiting, highest) = tx.query_row(
        "SELECT count(*) FILTER (WHERE acknowledged_ms IS NULL), max(seq) FROM commands WHERE source = ?1",
        [source],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)),
    )?;
    if usize::try_from(waiting).is_ok_and(|waiting| waiting >= MAX_WAITING) {
        return Ok(Queued::Full);
    }
    // By the clock, so that a ledger that was lost or brought back from a copy never gives a number twice; by the last
    // one where the clock was set back.
    let seq = highest.map_or(1, |highest| highest.saturating_add(1)).max(now.millis());
    tx.prepare_cached(
        "INSERT INTO commands (source, seq, id, type, data, queued_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![source, seq, new.id.as_str(), new.kind, new.data.get(), now.millis()])?;
    let row = tx.query_row(&rows_where("source = ?1 AND seq = ?2"), params![source, seq], columns)?;
    Ok(Queued::New(row.try_into()?))
}

/// Acknowledges all up to `after`, and gives what waits behind it, as much as one answer holds.
///
/// A gateway that knows a higher number than was ever given heard it from a ledger that is gone: it has decided nothing
/// of this one, and is given everything.
pub(super) fn fetch(
    tx: &Transaction<'_>,
    source: &str,
    after: u64,
    now: Timestamp,
) -> Result<Vec<WaitingCommand>, LedgerError> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    tx.prepare_cached(
        "UPDATE commands SET acknowledged_ms = ?3 WHERE source = ?1 AND seq <= ?2 AND acknowledged_ms IS NULL
             AND ?2 <= (SELECT max(seq) FROM commands WHERE source = ?1)",
    )?
    .execute(params![source, after, now.millis()])?;
    let waiting = rows(tx, "source = ?1 AND acknowledged_ms IS NULL ORDER BY seq", source, MAX_COMMANDS)?;
    let mut bytes = FRAME_BYTES;
    let fits = |command: &WaitingCommand| {
        bytes += command.kind.len() + command.data.get().len() + FRAME_BYTES;
        bytes <= MAX_COMMANDS_BYTES
    };
    Ok(waiting.into_iter().map(|row| row.command).take_while(fits).collect())
}

/// The latest commands of a gateway, the newest first.
pub(super) fn latest(
    connection: &Connection,
    source: &str,
    limit: u32,
) -> Result<Vec<CommandRow>, LedgerError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    rows(connection, "source = ?1 ORDER BY seq DESC", source, limit)
}

/// Keeps with a command what its gateway says of it: why it was refused, or what came of it.
pub(super) fn note_outcome(tx: &Transaction<'_>, source: &str, entry: &Entry) -> Result<(), LedgerError> {
    if let Some(id) = entry.id.strip_prefix(WELFARE) {
        tx.prepare_cached("UPDATE commands SET result = ?3 WHERE source = ?1 AND id = ?2")?
            .execute(params![source, id, entry.data.get()])?;
    }
    let Some(id) = entry.id.strip_prefix(REFUSED) else { return Ok(()) };
    // A gateway may word its record otherwise; it is among the events as it came.
    let Ok(said) = serde_json::from_str::<Said>(entry.data.get()) else { return Ok(()) };
    tx.prepare_cached("UPDATE commands SET refused = ?3 WHERE source = ?1 AND id = ?2")?.execute(params![
        source,
        id,
        said.reason
    ])?;
    Ok(())
}

/// What of a refusal is kept with its command.
#[derive(Deserialize)]
struct Said {
    reason: String,
}

fn forget(tx: &Transaction<'_>, source: &str, now: Timestamp) -> Result<(), LedgerError> {
    tx.prepare_cached("DELETE FROM commands WHERE source = ?1 AND acknowledged_ms < ?2")?
        .execute(params![source, (now - KEPT).millis()])?;
    Ok(())
}

fn find(tx: &Transaction<'_>, source: &str, id: &str) -> Result<Option<CommandRow>, LedgerError> {
    let found = tx.query_row(&rows_where("source = ?1 AND id = ?2"), [source, id], columns).optional()?;
    found.map(CommandRow::try_from).transpose()
}

fn rows(
    connection: &Connection,
    condition: &str,
    source: &str,
    limit: usize,
) -> Result<Vec<CommandRow>, LedgerError> {
    let mut statement = connection.prepare_cached(&rows_where(&format!("{condition} LIMIT ?2")))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = statement.query_map(params![source, limit], columns)?;
    found.map(|row| row?.try_into()).collect()
}

fn rows_where(condition: &str) -> String {
    format!(
        "SELECT seq, id, type, data, queued_ms, acknowledged_ms, refused, result FROM commands WHERE {condition}"
    )
}

/// The columns of a command, before its data are read.
struct Columns {
    seq: i64,
    id: String,
    kind: String,
    data: String,
    queued_ms: i64,
    acknowledged_ms: Option<i64>,
    refused: Option<String>,
    result: Option<String>,
}

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok(Columns {
        seq: row.get(0)?,
        id: row.get(1)?,
        kind: row.get(2)?,
        data: row.get(3)?,
        queued_ms: row.get(4)?,
        acknowledged_ms: row.get(5)?,
        refused: row.get(6)?,
        result: row.get(7)?,
    })
}

impl TryFrom<Columns> for CommandRow {
    type Error = LedgerError;
    fn try_from(columns: Columns) -> Result<Self, LedgerError> {
        let Columns { seq, id, kind, data, queued_ms, acknowledged_ms, refused, result } = columns;
        let state = match (&refused, acknowledged_ms) {
            (Some(_), _) => CommandState::Refused,
            (None, Some(_)) => CommandState::Acknowledged,
            (None, None) => CommandState::Waiting,
        };
        // Every number that we give is above zero.
        let (seq, data) = (seq.unsigned_abs(), RawValue::from_string(data)?);
        Ok(Self {
            command: WaitingCommand { seq, id, kind, data },
            state,
            queued_at: Timestamp::from_millis(queued_ms),
            acknowledged_at: acknowledged_ms.map(Timestamp::from_millis),
            refused,
            result: result.map(RawValue::from_string).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Ledger, SqliteLedger};
    use proptest::prelude::*;
    use std::path::Path;
    use tempfile::TempDir;
    use vigil_cloud_sync::Origin;
    use vigil_core::id::{GatewayId, SiteId, TenantId};

    const NOW: Timestamp = Timestamp::from_millis(1_773_160_000_000);

    fn origin() -> Origin {
        Origin {
            tenant: TenantId::new("acme").unwrap(),
            site: SiteId::new("plant-7").unwrap(),
            gateway: GatewayId::new("gw-1").unwrap(),
        }
    }

    fn opened(dir: &Path) -> SqliteLedger {
        let mut ledger = SqliteLedger::open(&dir.join("noc.db")).unwrap();
        ledger.enrol(&origin()).unwrap();
        ledger
    }

    fn ledger() -> (TempDir, SqliteLedger) {
        let dir = tempfile::tempdir().unwrap();
        let ledger = opened(dir.path());
        (dir, ledger)
    }

    fn new(id: &str, data: &str) -> NewCommand {
        let data = RawValue::from_string(data.to_owned()).unwrap();
        NewCommand { id: CommandId::new(id).unwrap(), kind: "task.cancel".into(), data }
    }

    fn queued(ledger: &mut SqliteLedger, id: &str, now: Timestamp) -> u64 {
        let Queued::New(row) = ledger.queue(&origin(), &new(id, "{}"), now).unwrap() else {
            panic!("{id} is not new")
        };
        row.command.seq
    }

    #[test]
    fn numbers_rise_whatever_the_clock_does() {
        let (_dir, mut ledger) = ledger();
        let one = queued(&mut ledger, "c-1", NOW);
        let two = queued(&mut ledger, "c-2", NOW);
        let set_back = queued(&mut ledger, "c-3", NOW - Span::from_hours(24));
        assert_eq!((one, two, set_back), (1_773_160_000_000, one + 1, two + 1));
        assert_eq!(queued(&mut ledger, "c-4", Timestamp::from_millis(0)), set_back + 1);
    }

    #[test]
    fn an_answer_is_no_larger_than_a_gateway_reads() {
        let (_dir, mut ledger) = ledger();
        let large = format!(r#"{{"note":"{}"}}"#, "x".repeat(15_000));
        for n in 0..100 {
            ledger.queue(&origin(), &new(&format!("c-{n}"), &large), NOW).unwrap();
        }
        let first = ledger.fetch(&origin(), 0, NOW).unwrap();
        let bytes = serde_json::to_vec(&serde_json::json!({ "commands": first })).unwrap().len();
        assert!(first.len() > 60 && bytes <= MAX_COMMANDS_BYTES, "{} in {bytes} bytes", first.len());
        let rest = ledger.fetch(&origin(), first.last().unwrap().seq, NOW).unwrap();
        assert_eq!(first.len() + rest.len(), 100);
    }

    #[test]
    fn what_is_acknowledged_is_kept_for_a_quarter() {
        let (_dir, mut ledger) = ledger();
        let seq = queued(&mut ledger, "c-1", NOW);
        queued(&mut ledger, "c-2", NOW);
        ledger.fetch(&origin(), seq, NOW).unwrap();
        queued(&mut ledger, "c-3", NOW + KEPT);
        assert_eq!(ledger.commands(&origin(), 10).unwrap().len(), 3);
        queued(&mut ledger, "c-4", NOW + KEPT + Span::from_millis(1));
        let left: Vec<_> =
            ledger.commands(&origin(), 10).unwrap().into_iter().map(|r| r.command.id).collect();
        assert_eq!(left, ["c-4", "c-3", "c-2"], "what waits is not forgotten");
    }

    #[test]
    fn a_ledger_of_an_earlier_schema_is_taken_over() {
        let first = "DROP TABLE commands; PRAGMA user_version = 1;";
        let second = "ALTER TABLE commands DROP COLUMN result; PRAGMA user_version = 2;";
        for (back, kept) in [(first, 1), (second, 2)] {
            let (dir, mut before) = ledger();
            queued(&mut before, "c-1", NOW);
            drop(before);
            let connection = Connection::open(dir.path().join("noc.db")).unwrap();
            connection.execute_batch(back).unwrap();
            drop(connection);
            let mut ledger = opened(dir.path());
            assert_eq!(ledger.gateways().unwrap().len(), 1);
            queued(&mut ledger, "c-2", NOW);
            assert_eq!(ledger.commands(&origin(), 10).unwrap().len(), kept);
        }
    }

    /// What happens to a command queue.
    #[derive(Debug, Clone)]
    enum Act {
        /// An operator gives a command.
        Queue,
        /// The gateway asks, and decides what it is given; or the answer is lost.
        Poll { heard: bool },
        /// The ledger is lost, with its clock so many seconds on.
        Lose(i64),
        /// The gateway's store is lost: it has decided nothing that it knows of.
        Forget,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            4 => Just(Act::Queue),
            4 => any::<bool>().prop_map(|heard| Act::Poll { heard }),
            1 => (0_i64..100).prop_map(Act::Lose),
            1 => Just(Act::Forget),
        ];
        prop::collection::vec(act, 1..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn nothing_is_lost_and_nothing_acknowledged_before_it_is_decided(acts in acts()) {
            let (mut dir, mut ledger) = ledger();
            let (mut now, mut made, mut after) = (NOW, 0, 0);
            let (mut waiting, mut decided): (Vec<String>, Vec<String>) = (vec![], vec![]);
            for act in acts.into_iter().chain([Act::Poll { heard: true }]) {
                now = now + Span::from_millis(1);
                match act {
                    Act::Queue => {
                        made += 1;
                        queued(&mut ledger, &format!("c-{made}"), now);
                        waiting.push(format!("c-{made}"));
                    }
                    Act::Poll { heard } => {
                        let given = ledger.fetch(&origin(), after, now).unwrap();
                        prop_assert!(given.is_sorted_by(|a, b| a.seq < b.seq));
                        for command in given.iter().filter(|_| heard) {
                            after = command.seq;
                            decided.push(command.id.clone());
                        }
                    }
                    Act::Lose(secs) => {
                        now = now + Span::from_secs(secs);
                        (dir, ledger) = self::ledger();
                        // What was lost with it cannot be given.
                        waiting.retain(|id| decided.contains(id));
                    }
                    Act::Forget => after = 0,
                }
            }
            drop(dir);
            decided.sort();
            decided.dedup();
            waiting.sort();
            prop_assert_eq!(decided, waiting);
        }
    }
}
