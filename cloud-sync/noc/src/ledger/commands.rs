//! Commands in the ledger: numbered for each gateway, given until acknowledged, kept for a while as a record.

use super::keep::{Key, held};
use super::sql::{Database, Row, args};
use super::{Entry, LedgerError, look, steps};
use crate::openapi::Passed;
use schemars::JsonSchema;
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
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WaitingCommand {
    /// Rises with each command of the gateway.
    pub seq: u64,
    /// Its name.
    pub id: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The object that goes with it.
    #[schemars(with = "Passed")]
    pub data: Box<RawValue>,
}

/// Where a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, JsonSchema)]
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
    #[schemars(with = "Option<Passed>")]
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

/// Puts a command in line for a gateway, within a transaction of something larger.
pub fn queue_at(
    tx: &mut dyn Database,
    place: &str,
    gateway: &str,
    new: &NewCommand,
    now: Timestamp,
) -> Result<Queued, LedgerError> {
    let origin = look::origin_at(tx, place, gateway)?.ok_or(LedgerError::Column(0))?;
    queue(tx, &Key::of(&origin), new, now)
}

pub(super) fn queue(
    tx: &mut dyn Database,
    key: &Key<'_>,
    new: &NewCommand,
    now: Timestamp,
) -> Result<Queued, LedgerError> {
    // Of two receivers one goes first, so that a number is given once.
    let alone = held(tx.engine());
    tx.query(
        &format!("SELECT gateway FROM gateways WHERE place = $1 AND gateway = $2{alone}"),
        args![&key.place, key.gateway()],
    )?;
    forget(tx, key, now)?;
    if let Some(known) = find(tx, key, new.id.as_str())? {
        let same = known.command.kind == new.kind && known.command.data.get() == new.data.get();
        return Ok(if same { Queued::Known(known) } else { Queued::Taken });
    }
    let (waiting, highest) = counts(tx, key)?;
    if usize::try_from(waiting).is_ok_and(|waiting| waiting >= MAX_WAITING) {
        return Ok(Queued::Full);
    }
    // By the clock, so that a ledger that was lost or brought back from a copy never gives a number twice; by the last
    // one where the clock was set back.
    let seq = highest.map_or(1, |highest| highest.saturating_add(1)).max(now.millis());
    tx.execute(
        "INSERT INTO commands (place, gateway, seq, id, type, data, queued_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        args![&key.place, key.gateway(), seq, new.id.as_str(), &new.kind, new.data.get(), now],
    )?;
    let row = find(tx, key, new.id.as_str())?.ok_or(LedgerError::Column(0))?;
    Ok(Queued::New(row))
}

fn counts(tx: &mut dyn Database, key: &Key<'_>) -> Result<(i64, Option<i64>), LedgerError> {
    let counted = tx.one(
        "SELECT count(*) FILTER (WHERE acknowledged_ms IS NULL), max(seq) FROM commands WHERE place = $1 AND gateway = $2",
        args![&key.place, key.gateway()],
    )?;
    counted.map_or(Ok((0, None)), |mut row| Ok((row.int(0)?, row.maybe_int(1)?)))
}

/// Acknowledges all up to `after`, and gives what waits behind it, as much as one answer holds.
///
/// A gateway that knows a higher number than was ever given heard it from a ledger that is gone: it has decided nothing
/// of this one, and is given everything.
pub(super) fn fetch(
    tx: &mut dyn Database,
    key: &Key<'_>,
    after: u64,
    now: Timestamp,
) -> Result<Vec<WaitingCommand>, LedgerError> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    tx.execute(
        "UPDATE commands SET acknowledged_ms = $4
         WHERE place = $1 AND gateway = $2 AND seq <= $3 AND acknowledged_ms IS NULL
             AND $3 <= (SELECT max(seq) FROM commands WHERE place = $1 AND gateway = $2)",
        args![&key.place, key.gateway(), after, now],
    )?;
    let waiting = rows(tx, "acknowledged_ms IS NULL ORDER BY seq", key, MAX_COMMANDS)?;
    let mut bytes = FRAME_BYTES;
    let fits = |command: &WaitingCommand| {
        bytes += command.kind.len() + command.data.get().len() + FRAME_BYTES;
        bytes <= MAX_COMMANDS_BYTES
    };
    Ok(waiting.into_iter().map(|row| row.command).take_while(fits).collect())
}

/// The latest commands of a gateway, the newest first.
pub(super) fn latest(
    database: &mut dyn Database,
    key: &Key<'_>,
    limit: u32,
) -> Result<Vec<CommandRow>, LedgerError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    rows(database, "TRUE ORDER BY seq DESC", key, limit)
}

/// Keeps with a command what its gateway says of it: why it was refused, or what came of it. Gives the alert of which that
/// was a step.
pub(super) fn note_outcome(
    tx: &mut dyn Database,
    key: &Key<'_>,
    entry: &Entry,
) -> Result<Option<String>, LedgerError> {
    let mut note = |column: &str, id: &str, said: &str| {
        let sql = format!("UPDATE commands SET {column} = $4 WHERE place = $1 AND gateway = $2 AND id = $3");
        tx.execute(&sql, args![&key.place, key.gateway(), id, said]).map(drop)
    };
    if let Some(id) = entry.id.strip_prefix(WELFARE) {
        note("result", id, entry.data.get())?;
    }
    let Some(id) = entry.id.strip_prefix(REFUSED) else { return Ok(None) };
    // A gateway may word its record otherwise; it is among the events as it came.
    let Ok(said) = serde_json::from_str::<Said>(entry.data.get()) else { return Ok(None) };
    note("refused", id, &said.reason)?;
    steps::refuse(tx, key, id, &said.reason)
}

/// What of a refusal is kept with its command.
#[derive(Deserialize)]
struct Said {
    reason: String,
}

fn forget(tx: &mut dyn Database, key: &Key<'_>, now: Timestamp) -> Result<(), LedgerError> {
    tx.execute(
        "DELETE FROM commands WHERE place = $1 AND gateway = $2 AND acknowledged_ms < $3",
        args![&key.place, key.gateway(), now - KEPT],
    )?;
    Ok(())
}

const COMMAND: &str = "SELECT seq, id, type, data, queued_ms, acknowledged_ms, refused, result FROM commands WHERE place = $1 AND gateway = $2";

fn find(tx: &mut dyn Database, key: &Key<'_>, id: &str) -> Result<Option<CommandRow>, LedgerError> {
    let found = tx.one(&format!("{COMMAND} AND id = $3"), args![&key.place, key.gateway(), id])?;
    found.map(command_row).transpose()
}

fn rows(
    database: &mut dyn Database,
    condition: &str,
    key: &Key<'_>,
    limit: usize,
) -> Result<Vec<CommandRow>, LedgerError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql = format!("{COMMAND} AND {condition} LIMIT $3");
    database.query(&sql, args![&key.place, key.gateway(), limit])?.into_iter().map(command_row).collect()
}

fn command_row(mut row: Row) -> Result<CommandRow, LedgerError> {
    let (acknowledged_at, refused) = (row.maybe_instant(5)?, row.maybe_text(6)?);
    let state = match (&refused, acknowledged_at) {
        (Some(_), _) => CommandState::Refused,
        (None, Some(_)) => CommandState::Acknowledged,
        (None, None) => CommandState::Waiting,
    };
    // Every number that we give is above zero.
    let seq = row.int(0)?.unsigned_abs();
    Ok(CommandRow {
        command: WaitingCommand { seq, id: row.text(1)?, kind: row.text(2)?, data: row.json(3)? },
        state,
        queued_at: row.instant(4)?,
        acknowledged_at,
        refused,
        result: row.maybe_json(7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Scope;
    use crate::access::audit::Actor;
    use crate::ledger::Ledger;
    use crate::ledger::houses::House;
    use proptest::prelude::*;
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

    fn opened(house: &House) -> Ledger {
        let mut ledger = house.open();
        ledger.enrol(&origin()).unwrap();
        ledger
    }

    /// The same on both databases.
    fn on_both(test: impl Fn(&mut Ledger)) {
        House::both().iter().for_each(|house| test(&mut opened(house)));
    }

    fn new(id: &str, data: &str) -> NewCommand {
        let data = RawValue::from_string(data.to_owned()).unwrap();
        NewCommand { id: CommandId::new(id).unwrap(), kind: "task.cancel".into(), data }
    }

    fn queued(ledger: &mut Ledger, id: &str, now: Timestamp) -> u64 {
        let Queued::New(row) = ledger.queue(&Actor::console(), &origin(), &new(id, "{}"), now).unwrap()
        else {
            panic!("{id} is not new")
        };
        row.command.seq
    }

    #[test]
    fn numbers_rise_whatever_the_clock_does() {
        on_both(|ledger| {
            let one = queued(ledger, "c-1", NOW);
            let two = queued(ledger, "c-2", NOW);
            let set_back = queued(ledger, "c-3", NOW - Span::from_hours(24));
            assert_eq!((one, two, set_back), (1_773_160_000_000, one + 1, two + 1));
            assert_eq!(queued(ledger, "c-4", Timestamp::from_millis(0)), set_back + 1);
        });
    }

    #[test]
    fn an_answer_is_no_larger_than_a_gateway_reads() {
        on_both(|ledger| {
            let large = format!(r#"{{"note":"{}"}}"#, "x".repeat(15_000));
            for n in 0..100 {
                ledger.queue(&Actor::console(), &origin(), &new(&format!("c-{n}"), &large), NOW).unwrap();
            }
            let first = ledger.fetch(&origin(), 0, NOW).unwrap();
            let bytes = serde_json::to_vec(&serde_json::json!({ "commands": first })).unwrap().len();
            assert!(first.len() > 60 && bytes <= MAX_COMMANDS_BYTES, "{} in {bytes} bytes", first.len());
            let rest = ledger.fetch(&origin(), first.last().unwrap().seq, NOW).unwrap();
            assert_eq!(first.len() + rest.len(), 100);
        });
    }

    #[test]
    fn what_is_acknowledged_is_kept_for_a_quarter() {
        on_both(|ledger| {
            let seq = queued(ledger, "c-1", NOW);
            queued(ledger, "c-2", NOW);
            ledger.fetch(&origin(), seq, NOW).unwrap();
            queued(ledger, "c-3", NOW + KEPT);
            assert_eq!(ledger.commands(&Scope::whole(), &origin(), 10).unwrap().len(), 3);
            queued(ledger, "c-4", NOW + KEPT + Span::from_millis(1));
            let left: Vec<_> = ledger
                .commands(&Scope::whole(), &origin(), 10)
                .unwrap()
                .into_iter()
                .map(|r| r.command.id)
                .collect();
            assert_eq!(left, ["c-4", "c-3", "c-2"], "what waits is not forgotten");
        });
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
            let mut house = House::file();
            let mut ledger = opened(&house);
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
                        house = House::file();
                        ledger = opened(&house);
                        // What was lost with it cannot be given.
                        waiting.retain(|id| decided.contains(id));
                    }
                    Act::Forget => after = 0,
                }
            }
            decided.sort();
            decided.dedup();
            waiting.sort();
            prop_assert_eq!(decided, waiting);
        }
    }
}
