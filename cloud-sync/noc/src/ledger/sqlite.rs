//! The ledger in one SQLite file: WAL with full synchronisation, so that an answer is a promise.

use super::commands::{self, CommandRow, NewCommand, Queued, WaitingCommand};
use super::{AlertRow, Delivery, Entry, GatewayRow, Ledger, LedgerError, Receipt, RecordRow};
use crate::sequence::Producers;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction, params};
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vigil_cloud_sync::wire::{BUNDLE, REFUSED, WELFARE};
use vigil_cloud_sync::{EventKind, Origin};
use vigil_core::time::{Span, Timestamp};

/// The schema that this program writes.
const SCHEMA: i64 = 3;

/// How long health records are kept: one every 30 s, so a thousand gateways make 2.9 million a day. The
/// latest stays with its gateway; two days let a gateway resend after an outage and still be recognised.
const HEALTH_KEPT: Span = Span::from_hours(48);

/// How long to wait for a reader of the file, like a backup.
const BUSY: Duration = Duration::from_secs(5);

const CREATE: &str = "
CREATE TABLE events (
    source TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, sequence TEXT NOT NULL, subject TEXT NOT NULL,
    time_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (source, id)
) STRICT;
CREATE INDEX events_by_time ON events (kind, time_ms);
CREATE INDEX events_by_age ON events (source, kind, received_ms);
CREATE TABLE gateways (
    source TEXT NOT NULL PRIMARY KEY, tenant TEXT NOT NULL, site TEXT NOT NULL, gateway TEXT NOT NULL,
    heard_ms INTEGER, sequences TEXT NOT NULL, health TEXT, health_ms INTEGER NOT NULL DEFAULT -1
) STRICT;
CREATE TABLE alerts (
    source TEXT NOT NULL, id TEXT NOT NULL, revision INTEGER NOT NULL, urgent INTEGER NOT NULL,
    detected_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (source, id)
) STRICT;
CREATE INDEX alerts_by_urgency ON alerts (urgent, detected_ms);
PRAGMA user_version = 1;
";

/// A ledger in a SQLite file.
pub struct SqliteLedger {
    connection: Connection,
    path: PathBuf,
}

impl SqliteLedger {
    /// Opens the file, or makes it.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let opened = Connection::open(path);
        let connection = opened.map_err(|source| LedgerError::Closes { path: path.to_owned(), source })?;
        let mut ledger = Self { connection, path: path.to_owned() };
        ledger.set_up().map_err(|why| why.of_file(path))?;
        Ok(ledger)
    }

    fn set_up(&mut self) -> Result<(), LedgerError> {
        self.connection.busy_timeout(BUSY)?;
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        migrate(&mut self.connection, &self.path)?;
        is_whole(&self.connection, &self.path)
    }

    /// Whether the file is sound, as far as SQLite can tell without comparing every index. Nothing is changed, and a
    /// receiver may have it open.
    pub fn check(path: &Path) -> Result<(), LedgerError> {
        let opened = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
        let connection = opened.map_err(|source| LedgerError::Closes { path: path.to_owned(), source })?;
        let found = || -> rusqlite::Result<String> {
            connection.busy_timeout(BUSY)?;
            // One finding is enough: what it is for a person comes of many more.
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        };
        match found() {
            Ok(found) if found == "ok" => {}
            Ok(found) => return Err(LedgerError::Unsound { path: path.to_owned(), found }),
            Err(why) => return Err(LedgerError::from(why).of_file(path)),
        }
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        // One of an earlier version gets what it does not have at the next start.
        if version == SCHEMA { is_whole(&connection, path) } else { Ok(()) }
    }

    fn keep(&mut self, delivery: &Delivery) -> Result<Receipt, LedgerError> {
        let source = delivery.origin.source();
        let tx = self.connection.transaction()?;
        list(&tx, &delivery.origin)?;
        let (mut accepted, mut alerts, mut reused, mut altered) = (0, vec![], vec![], vec![]);
        let mut sequences = sequences(&tx, &source)?;
        for entry in &delivery.entries {
            let taken = is_taken(&sequences, entry);
            sequences.note(entry.producer.as_deref(), entry.sequence);
            if !insert_event(&tx, &source, delivery.received_at, entry)? {
                if says_something_else(&tx, &source, entry)? {
                    altered.push(entry.id.clone());
                }
                continue;
            }
            accepted += 1;
            if taken {
                sequences.note_reused();
                reused.push(entry.sequence);
            }
            if raise_alert(&tx, &source, delivery.received_at, entry)? {
                alerts.push(alert_row(delivery, entry));
            }
            note_health(&tx, &source, entry)?;
            commands::note_outcome(&tx, &source, entry)?;
        }
        note_sequences(&tx, &source, delivery.received_at, &sequences)?;
        forget_old_health(&tx, &source, delivery.received_at)?;
        let gateway = tx.query_row(&gateways_where("source = ?1"), [&source], gateway_columns)?;
        tx.commit()?;
        let duplicates = delivery.entries.len() - accepted;
        Ok(Receipt { accepted, duplicates, reused, altered, alerts, gateway: gateway.try_into()? })
    }
}

/// Whether every table and every index is there. Without one of them each delivery would fail, and nothing say why.
fn is_whole(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    let new = Connection::open_in_memory()?;
    create(&new)?;
    let there = objects(connection)?;
    let missing = objects(&new)?.into_iter().rev().find(|object| !there.contains(object));
    missing.map_or(Ok(()), |(kind, name)| {
        Err(LedgerError::Unsound { path: path.to_owned(), found: format!("the {kind} {name} is missing") })
    })
}

fn objects(connection: &Connection) -> rusqlite::Result<BTreeSet<(String, String)>> {
    let mut statement = connection.prepare("SELECT type, name FROM sqlite_schema")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    [CREATE, commands::CREATE, commands::ADD_RESULT]
        .iter()
        .try_for_each(|batch| connection.execute_batch(batch))
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), LedgerError> {
    let tx = connection.transaction()?;
    match tx.query_row("PRAGMA user_version", [], |row| row.get(0))? {
        0 => {
            tracing::info!(
                path = %path.display(),
                "a new ledger is begun: if there was one here, stop and put it back, because what its gateways have sent is not sent again"
            );
            create(&tx)?;
        }
        1 => {
            tx.execute_batch(commands::CREATE)?;
            tx.execute_batch(commands::ADD_RESULT)?;
        }
        2 => tx.execute_batch(commands::ADD_RESULT)?,
        SCHEMA => {}
        found => return Err(LedgerError::Newer { found, known: SCHEMA }),
    }
    Ok(tx.commit()?)
}

impl Ledger for SqliteLedger {
    fn enrol(&mut self, origin: &Origin) -> Result<(), LedgerError> {
        list(&self.connection, origin)
    }

    fn record(&mut self, delivery: &Delivery) -> Result<Receipt, LedgerError> {
        self.keep(delivery).map_err(|why| why.of_file(&self.path))
    }

    fn gateways(&mut self) -> Result<Vec<GatewayRow>, LedgerError> {
        let mut statement = self.connection.prepare_cached(&gateways_where("TRUE ORDER BY source"))?;
        let rows = statement.query_map([], gateway_columns)?;
        rows.map(|row| row?.try_into()).collect()
    }

    fn alerts(&mut self, limit: u32) -> Result<Vec<AlertRow>, LedgerError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT tenant, site, gateway, received_ms, data FROM alerts JOIN gateways USING (source)
             ORDER BY urgent DESC, detected_ms DESC, id LIMIT ?1",
        )?;
        let rows = statement.query_map([limit], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get::<_, String>(4)?))
        })?;
        let stored = |row| {
            let (tenant, site, gateway, received_ms, data) = row?;
            let (received_at, alert) = (Timestamp::from_millis(received_ms), RawValue::from_string(data)?);
            Ok(AlertRow { tenant, site, gateway, received_at, alert })
        };
        rows.map(stored).collect()
    }

    fn records(&mut self, kind: EventKind, limit: u32) -> Result<Vec<RecordRow>, LedgerError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT source, id, subject, time_ms, data FROM events WHERE kind = ?1
             ORDER BY time_ms DESC, source, id LIMIT ?2",
        )?;
        let rows = statement.query_map(params![kind.name(), limit], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get::<_, String>(4)?))
        })?;
        let stored = |row| {
            let (source, id, subject, time_ms, data) = row?;
            let (time, data) = (Timestamp::from_millis(time_ms), RawValue::from_string(data)?);
            Ok(RecordRow { source, id, subject, time, data })
        };
        rows.map(stored).collect()
    }

    fn queue(&mut self, origin: &Origin, new: &NewCommand, now: Timestamp) -> Result<Queued, LedgerError> {
        let tx = self.connection.transaction()?;
        let queued = commands::queue(&tx, &origin.source(), new, now)?;
        tx.commit()?;
        Ok(queued)
    }

    fn fetch(
        &mut self,
        origin: &Origin,
        after: u64,
        now: Timestamp,
    ) -> Result<Vec<WaitingCommand>, LedgerError> {
        let tx = self.connection.transaction()?;
        let waiting = commands::fetch(&tx, &origin.source(), after, now)?;
        tx.commit()?;
        Ok(waiting)
    }

    fn commands(&mut self, origin: &Origin, limit: u32) -> Result<Vec<CommandRow>, LedgerError> {
        commands::latest(&self.connection, &origin.source(), limit)
    }
}

/// Lists the gateway, if it is not listed yet.
fn list(connection: &Connection, origin: &Origin) -> Result<(), LedgerError> {
    connection.execute(
        "INSERT INTO gateways (source, tenant, site, gateway, sequences) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (source) DO NOTHING",
        params![
            origin.source(),
            origin.tenant.as_str(),
            origin.site.as_str(),
            origin.gateway.as_str(),
            serde_json::to_string(&Producers::default())?
        ],
    )?;
    Ok(())
}

/// Whether the event was new.
fn insert_event(
    tx: &Transaction<'_>,
    source: &str,
    received_at: Timestamp,
    entry: &Entry,
) -> Result<bool, LedgerError> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO events (source, id, kind, sequence, subject, time_ms, received_ms, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (source, id) DO NOTHING",
    )?;
    let inserted = statement.execute(params![
        source,
        entry.id,
        entry.kind.name(),
        // As text: SQLite's integers are signed, and a number of the wire may be any u64.
        entry.sequence.to_string(),
        entry.subject,
        entry.time.millis(),
        received_at.millis(),
        entry.data.get(),
    ])?;
    Ok(inserted == 1)
}

/// Whether an event of that name came before with other words.
fn says_something_else(tx: &Transaction<'_>, source: &str, entry: &Entry) -> Result<bool, LedgerError> {
    let mut statement = tx.prepare_cached("SELECT data <> ?3 FROM events WHERE source = ?1 AND id = ?2")?;
    Ok(statement.query_row(params![source, entry.id, entry.data.get()], |row| row.get(0))?)
}

/// Whether the entry is the latest revision of its alert.
fn raise_alert(
    tx: &Transaction<'_>,
    source: &str,
    received_at: Timestamp,
    entry: &Entry,
) -> Result<bool, LedgerError> {
    let Some(head) = &entry.alert else { return Ok(false) };
    let mut statement = tx.prepare_cached(
        "INSERT INTO alerts (source, id, revision, urgent, detected_ms, received_ms, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (source, id) DO UPDATE SET revision = excluded.revision, urgent = excluded.urgent,
             detected_ms = excluded.detected_ms, received_ms = excluded.received_ms, data = excluded.data
         WHERE excluded.revision > alerts.revision",
    )?;
    let changed = statement.execute(params![
        source,
        head.id,
        head.revision,
        head.is_urgent(),
        head.detected_at.millis(),
        received_at.millis(),
        entry.data.get(),
    ])?;
    Ok(changed == 1)
}

/// Keeps the latest health record with its gateway; what became of a command or a bundle says nothing of its health.
fn note_health(tx: &Transaction<'_>, source: &str, entry: &Entry) -> Result<(), LedgerError> {
    let of_something_else = [REFUSED, WELFARE, BUNDLE].iter().any(|prefix| entry.id.starts_with(prefix));
    if entry.kind == EventKind::Health && !of_something_else {
        tx.prepare_cached(
            "UPDATE gateways SET health = ?2, health_ms = ?3 WHERE source = ?1 AND health_ms <= ?3",
        )?
        .execute(params![source, entry.data.get(), entry.time.millis()])?;
    }
    Ok(())
}

/// Whether its producer had given its number before. A health record takes the place of one that still waits, under its
/// number, so that its number says nothing.
fn is_taken(sequences: &Producers, entry: &Entry) -> bool {
    let producer = entry.producer.as_deref().filter(|_| entry.kind != EventKind::Health);
    producer.is_some_and(|producer| sequences.has(producer, entry.sequence))
}

fn sequences(tx: &Transaction<'_>, source: &str) -> Result<Producers, LedgerError> {
    let stored: Option<String> = tx
        .query_row("SELECT sequences FROM gateways WHERE source = ?1", [source], |row| row.get(0))
        .optional()?;
    match stored {
        Some(text) => Ok(serde_json::from_str(&text)?),
        None => Ok(Producers::default()),
    }
}

fn note_sequences(
    tx: &Transaction<'_>,
    source: &str,
    received_at: Timestamp,
    sequences: &Producers,
) -> Result<(), LedgerError> {
    tx.execute(
        "UPDATE gateways SET sequences = ?2, heard_ms = ?3 WHERE source = ?1",
        params![source, serde_json::to_string(sequences)?, received_at.millis()],
    )?;
    Ok(())
}

fn forget_old_health(tx: &Transaction<'_>, source: &str, now: Timestamp) -> Result<(), LedgerError> {
    tx.prepare_cached("DELETE FROM events WHERE source = ?1 AND kind = ?2 AND received_ms < ?3")?
        .execute(params![source, EventKind::Health.name(), (now - HEALTH_KEPT).millis()])?;
    Ok(())
}

fn alert_row(delivery: &Delivery, entry: &Entry) -> AlertRow {
    AlertRow {
        tenant: delivery.origin.tenant.to_string(),
        site: delivery.origin.site.to_string(),
        gateway: delivery.origin.gateway.to_string(),
        received_at: delivery.received_at,
        alert: entry.data.clone(),
    }
}

fn gateways_where(condition: &str) -> String {
    format!("SELECT tenant, site, gateway, heard_ms, sequences, health FROM gateways WHERE {condition}")
}

/// The columns of a gateway, before their texts are read.
struct GatewayColumns {
    tenant: String,
    site: String,
    gateway: String,
    heard_ms: Option<i64>,
    sequences: String,
    health: Option<String>,
}

fn gateway_columns(row: &Row<'_>) -> rusqlite::Result<GatewayColumns> {
    Ok(GatewayColumns {
        tenant: row.get(0)?,
        site: row.get(1)?,
        gateway: row.get(2)?,
        heard_ms: row.get(3)?,
        sequences: row.get(4)?,
        health: row.get(5)?,
    })
}

impl TryFrom<GatewayColumns> for GatewayRow {
    type Error = LedgerError;
    fn try_from(columns: GatewayColumns) -> Result<Self, LedgerError> {
        let sequences: Producers = serde_json::from_str(&columns.sequences)?;
        Ok(Self {
            tenant: columns.tenant,
            site: columns.site,
            gateway: columns.gateway,
            last_heard_at: columns.heard_ms.map(Timestamp::from_millis),
            highest_sequence: sequences.highest(),
            missing: sequences.missing(),
            holes: sequences.holes(),
            reused: sequences.reused(),
            health: columns.health.map(RawValue::from_string).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::AlertHead;
    use tempfile::TempDir;
    use vigil_core::id::{GatewayId, SiteId, TenantId};

    fn origin(gateway: &str) -> Origin {
        Origin {
            tenant: TenantId::new("acme").unwrap(),
            site: SiteId::new("plant-7").unwrap(),
            gateway: GatewayId::new(gateway).unwrap(),
        }
    }

    fn entry(sequence: u64, id: &str, kind: EventKind, data: &str) -> Entry {
        let data = RawValue::from_string(data.to_owned()).unwrap();
        let alert = (kind == EventKind::Alert).then(|| serde_json::from_str(data.get()).unwrap());
        let time = Timestamp::from_millis(1_773_160_000_000 + i64::try_from(sequence).unwrap());
        Entry {
            producer: None,
            sequence,
            id: id.to_owned(),
            kind,
            subject: "guard:G-7".to_owned(),
            time,
            data,
            alert,
        }
    }

    fn alert(sequence: u64, id: &str, revision: u32, severity: &str, more: &str) -> Entry {
        let data = format!(
            r#"{{"id":"{id}","revision":{revision},"severity":"{severity}","status":"DETECTED",
               "detected_at":"2026-03-10T22:0{sequence}:00Z"{more}}}"#
        );
        entry(sequence, &format!("{id}.{revision}"), EventKind::Alert, &data)
    }

    fn delivery(entries: Vec<Entry>) -> Delivery {
        Delivery { origin: origin("gw-1"), received_at: Timestamp::from_millis(1_773_160_000_000), entries }
    }

    fn ledger() -> (TempDir, SqliteLedger) {
        let dir = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(&dir.path().join("noc.db")).unwrap();
        (dir, ledger)
    }

    fn shown(ledger: &mut SqliteLedger) -> Vec<(String, u32)> {
        let heads = ledger.alerts(100).unwrap().into_iter();
        heads
            .map(|row| serde_json::from_str::<AlertHead>(row.alert.get()).unwrap())
            .map(|h| (h.id, h.revision))
            .collect()
    }

    #[test]
    fn the_same_event_counts_once() {
        let (_dir, mut ledger) = ledger();
        let batch = delivery(vec![alert(1, "a", 1, "HIGH", ""), alert(2, "b", 1, "LOW", "")]);
        let first = ledger.record(&batch).unwrap();
        assert_eq!((first.accepted, first.duplicates, first.alerts.len()), (2, 0, 2));
        let again = ledger.record(&batch).unwrap();
        assert_eq!((again.accepted, again.duplicates, again.alerts.len()), (0, 2, 0));
        let other = Delivery { origin: origin("gw-2"), ..batch };
        assert_eq!(ledger.record(&other).unwrap().accepted, 2, "another gateway's ids are its own");
    }

    #[test]
    fn the_same_name_with_other_words_is_told_and_the_first_ones_stand() {
        let (_dir, mut ledger) = ledger();
        ledger.record(&delivery(vec![alert(1, "a", 1, "CRITICAL", "")])).unwrap();
        let other = ledger.record(&delivery(vec![alert(1, "a", 1, "LOW", "")])).unwrap();
        assert_eq!((other.accepted, other.duplicates, other.altered), (0, 1, vec!["a.1".to_owned()]));
        let same = ledger.record(&delivery(vec![alert(1, "a", 1, "CRITICAL", "")])).unwrap();
        assert_eq!((same.duplicates, same.altered), (1, vec![]));
    }

    #[test]
    fn an_older_revision_never_replaces_a_newer_one() {
        let (_dir, mut ledger) = ledger();
        ledger.record(&delivery(vec![alert(3, "a", 3, "HIGH", "")])).unwrap();
        let late = ledger.record(&delivery(vec![alert(2, "a", 2, "HIGH", "")])).unwrap();
        assert_eq!((late.accepted, late.alerts.len()), (1, 0));
        assert_eq!(shown(&mut ledger), [("a".to_owned(), 3)]);
    }

    #[test]
    fn open_critical_alerts_are_on_top_newest_first() {
        let (_dir, mut ledger) = ledger();
        let over = r#","cleared_at":"2026-03-10T23:00:00Z""#;
        let batch = vec![
            alert(1, "old-critical", 1, "CRITICAL", ""),
            alert(2, "critical", 1, "CRITICAL", ""),
            alert(3, "cleared", 1, "CRITICAL", over),
            alert(4, "low", 1, "LOW", ""),
        ];
        ledger.record(&delivery(batch)).unwrap();
        let order: Vec<_> = shown(&mut ledger).into_iter().map(|(id, _)| id).collect();
        assert_eq!(order, ["critical", "old-critical", "low", "cleared"]);
    }

    #[test]
    fn a_restart_keeps_everything() {
        let (dir, mut ledger) = ledger();
        let health = entry(5, "h5", EventKind::Health, r#"{"queued":3}"#);
        let tour = entry(4, "t4", EventKind::Tour, r#"{"tour":"north"}"#);
        ledger.record(&delivery(vec![alert(1, "a", 1, "HIGH", ""), health, tour])).unwrap();
        drop(ledger);
        let mut ledger = SqliteLedger::open(&dir.path().join("noc.db")).unwrap();
        assert_eq!(shown(&mut ledger), [("a".to_owned(), 1)]);
        let gateway = &ledger.gateways().unwrap()[0];
        assert_eq!((gateway.missing, gateway.highest_sequence), (2, Some(5)));
        assert_eq!(gateway.health.as_ref().unwrap().get(), r#"{"queued":3}"#);
        assert_eq!(ledger.records(EventKind::Tour, 10).unwrap()[0].data.get(), r#"{"tour":"north"}"#);
    }

    #[test]
    fn old_health_is_forgotten_but_the_latest_stays_with_its_gateway() {
        let (_dir, mut ledger) = ledger();
        ledger.record(&delivery(vec![entry(1, "h1", EventKind::Health, r#"{"n":1}"#)])).unwrap();
        let mut later = delivery(vec![]);
        later.received_at = later.received_at + HEALTH_KEPT + Span::from_secs(1);
        ledger.record(&later).unwrap();
        assert!(ledger.records(EventKind::Health, 10).unwrap().is_empty());
        assert!(ledger.gateways().unwrap()[0].health.is_some());
    }

    #[test]
    fn a_refused_command_is_on_record_and_is_no_health() {
        let (_dir, mut ledger) = ledger();
        let health = entry(1, "health.1", EventKind::Health, r#"{"n":1}"#);
        let refused = entry(2, "refused.c-7", EventKind::Health, r#"{"command":"c-7"}"#);
        let bundle =
            entry(3, "bundle.taken.7.2026-11-28T01:00:00.000Z", EventKind::Health, r#"{"bundle":"taken"}"#);
        ledger.record(&delivery(vec![health, refused, bundle])).unwrap();
        assert_eq!(ledger.gateways().unwrap()[0].health.as_ref().unwrap().get(), r#"{"n":1}"#);
        assert_eq!(ledger.records(EventKind::Health, 10).unwrap().len(), 3);
    }

    #[test]
    fn a_number_that_comes_with_another_event_is_said() {
        let (_dir, mut ledger) = ledger();
        let of = |entry: Entry| Entry { producer: Some("5f0c".to_owned()), ..entry };
        let before: Vec<Entry> = (1..=3).map(|n| of(alert(n, &format!("a{n}"), 1, "HIGH", ""))).collect();
        assert_eq!(ledger.record(&delivery(before.clone())).unwrap().reused, [0; 0]);
        assert_eq!(ledger.record(&delivery(before)).unwrap().reused, [0; 0], "they come again");
        // Its store was put back to an earlier time, and so was everything beside it.
        let after = vec![of(alert(2, "b", 1, "HIGH", "")), of(entry(3, "health.9", EventKind::Health, "{}"))];
        let receipt = ledger.record(&delivery(after)).unwrap();
        assert_eq!((receipt.accepted, &receipt.reused[..], receipt.gateway.reused), (2, &[2][..], 1));
        let of_another = Entry { producer: Some("90b3".to_owned()), ..alert(3, "c", 1, "HIGH", "") };
        assert_eq!(ledger.record(&delivery(vec![of_another])).unwrap().reused, [0; 0]);
        assert_eq!(ledger.gateways().unwrap()[0].reused, 1);
    }

    #[test]
    fn a_damaged_ledger_is_named_with_what_sqlite_says() {
        let (dir, mut ledger) = ledger();
        let path = dir.path().join("noc.db");
        let batch = |n: u64| (n..n + 100).map(|n| alert(n % 10, &format!("a{n}"), 1, "HIGH", "")).collect();
        (0..5).for_each(|n| drop(ledger.record(&delivery(batch(n * 100))).unwrap()));
        drop(ledger);
        SqliteLedger::check(&path).unwrap();
        let mut torn = std::fs::read(&path).unwrap();
        let middle = torn.len() / 2;
        torn[4_096..middle].fill(0x5A);
        std::fs::write(&path, torn).unwrap();
        let unsound = SqliteLedger::check(&path).unwrap_err();
        let said = format!("the ledger {} is damaged: ", path.display());
        assert!(unsound.to_string().starts_with(&said), "{unsound}");
        std::fs::write(&path, b"this was a ledger, once upon a time, and is none".repeat(100)).unwrap();
        for why in [SqliteLedger::open(&path).err().unwrap(), SqliteLedger::check(&path).unwrap_err()] {
            assert!(matches!(why, LedgerError::Damaged { .. }), "{why}");
            assert!(why.to_string().contains("file is not a database"), "{why}");
        }
        assert!(SqliteLedger::check(&dir.path().join("none")).is_err(), "and none is made");
        assert!(!dir.path().join("none").exists());
    }

    #[test]
    fn a_ledger_without_one_of_its_tables_is_named_by_a_check_and_at_a_start() {
        for (drop_it, missing) in [
            ("DROP TABLE events", "the table events is missing"),
            ("DROP INDEX alerts_by_urgency", "the index alerts_by_urgency is missing"),
        ] {
            let (dir, ledger) = ledger();
            ledger.connection.execute_batch(drop_it).unwrap();
            drop(ledger);
            let path = dir.path().join("noc.db");
            for why in [SqliteLedger::open(&path).err().unwrap(), SqliteLedger::check(&path).unwrap_err()] {
                let said = format!("the ledger {} is damaged: {missing}", path.display());
                assert_eq!(why.to_string(), said);
            }
        }
    }

    #[test]
    fn a_ledger_of_a_later_version_is_left_alone() {
        let (dir, ledger) = ledger();
        ledger.connection.pragma_update(None, "user_version", 9).unwrap();
        drop(ledger);
        let error = SqliteLedger::open(&dir.path().join("noc.db")).err().unwrap();
        assert!(matches!(error, LedgerError::Newer { found: 9, known: 3 }), "{error}");
    }
}
