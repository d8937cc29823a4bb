//! The tables, and how those of an earlier version become them. One text for both databases; where they differ, both are
//! written here.

use super::sql::{Database, Engine, args, within};
use super::{LedgerError, keep};
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use vigil_core::time::Timestamp;

/// The schema that this program writes.
pub const SCHEMA: i64 = 8;

/// The first that PostgreSQL may have, and that both share.
const SHARED: i64 = 4;

/// What makes each schema from the one before, from [`SHARED`] on: for both, and for PostgreSQL beside it.
const STEPS: [(&str, &str); 5] = [
    (include_str!("schema/4.sql"), include_str!("schema/4.postgres.sql")),
    (include_str!("schema/5.sql"), include_str!("schema/5.postgres.sql")),
    (include_str!("schema/6.sql"), include_str!("schema/6.postgres.sql")),
    (include_str!("schema/7.sql"), ""),
    (include_str!("schema/8.sql"), ""),
];

/// What SQLite needs beside it, by the schema.
const FOR_SQLITE: [(i64, &str); 1] = [(5, include_str!("schema/5.sqlite.sql"))];

/// SQLite's tables up to schema 3, out of the way of the new ones.
const SET_ASIDE: &str = "
DROP INDEX events_by_time; DROP INDEX events_by_age; DROP INDEX alerts_by_urgency; DROP INDEX IF EXISTS commands_by_age;
ALTER TABLE events RENAME TO old_events; ALTER TABLE gateways RENAME TO old_gateways;
ALTER TABLE alerts RENAME TO old_alerts;
";
/// Schema 1 had no commands, schema 2 none with a result.
const COMMANDS_OF_1: &str = "CREATE TABLE old_commands (
    source TEXT, seq INTEGER, id TEXT, type TEXT, data TEXT, queued_ms INTEGER, acknowledged_ms INTEGER, refused TEXT, result TEXT
);";
const COMMANDS_OF_2: &str =
    "ALTER TABLE commands ADD COLUMN result TEXT; ALTER TABLE commands RENAME TO old_commands;";
const COMMANDS_OF_3: &str = "ALTER TABLE commands RENAME TO old_commands;";

/// Any number: whoever changes the tables of a PostgreSQL holds it, so that of several receivers that start one does so.
const LOCK: i64 = 0x0076_6967_696c;

/// How many months ahead there are tables for events: a receiver that runs makes the next one each day.
const MONTHS_AHEAD: u32 = 2;

/// Brings the tables up to this program's schema. Says whether they are new.
pub fn migrate(database: &mut dyn Database) -> Result<bool, LedgerError> {
    within(database, |tx| {
        let found = version(tx)?;
        match found {
            SCHEMA => return Ok(false),
            0 => climb(tx, SHARED)?,
            1 => take_over(tx, COMMANDS_OF_1)?,
            2 => take_over(tx, COMMANDS_OF_2)?,
            3 => take_over(tx, COMMANDS_OF_3)?,
            earlier if earlier < SCHEMA => climb(tx, earlier + 1)?,
            found => return Err(LedgerError::Newer { found, known: SCHEMA }),
        }
        note_version(tx)?;
        Ok(found == 0)
    })
}

/// Makes the tables of today from those of a file up to schema 3.
fn take_over(tx: &mut dyn Database, commands: &str) -> Result<(), LedgerError> {
    tx.batch(SET_ASIDE)?;
    tx.batch(commands)?;
    climb(tx, SHARED)?;
    tx.batch(include_str!("schema/4.from_3.sql"))?;
    keep::retell(tx)
}

/// Which schema the tables have; 0 if there are none.
pub fn version(database: &mut dyn Database) -> Result<i64, LedgerError> {
    let asked = match database.engine() {
        Engine::Sqlite => database.one("PRAGMA user_version", &[])?,
        Engine::Postgres => {
            database.query("SELECT pg_advisory_xact_lock($1)::text", args![LOCK])?;
            let known = database.one("SELECT to_regclass('vigil_schema') IS NOT NULL", &[])?;
            if !known.map(|mut row| row.flag(0)).transpose()?.unwrap_or(false) {
                return Ok(0);
            }
            database.one("SELECT version FROM vigil_schema", &[])?
        }
    };
    asked.map_or(Ok(0), |mut row| row.int(0))
}

fn note_version(database: &mut dyn Database) -> Result<(), LedgerError> {
    match database.engine() {
        Engine::Sqlite => database.batch(&format!("PRAGMA user_version = {SCHEMA}")),
        Engine::Postgres => database.batch(&format!(
            "CREATE TABLE IF NOT EXISTS vigil_schema (version BIGINT NOT NULL); DELETE FROM vigil_schema;
             INSERT INTO vigil_schema VALUES ({SCHEMA});"
        )),
    }
}

fn climb(database: &mut dyn Database, from: i64) -> Result<(), LedgerError> {
    for (schema, (both, postgres)) in (SHARED..).zip(STEPS).filter(|(schema, _)| *schema >= from) {
        match database.engine() {
            Engine::Sqlite => {
                database.batch(&spelt(both, &SQLITE))?;
                let beside = FOR_SQLITE.iter().filter(|(of, _)| *of == schema);
                beside.into_iter().try_for_each(|(_, text)| database.batch(text))?;
            }
            Engine::Postgres => {
                database.batch(&spelt(both, &POSTGRES))?;
                database.batch(postgres)?;
            }
        }
    }
    Ok(())
}

/// What stands in a text for what the two databases call otherwise, and what each calls it.
type Words = [(&'static str, &'static str); 5];
const SQLITE: Words = [
    ("{int}", "INTEGER"),
    ("{counted}", "INTEGER PRIMARY KEY AUTOINCREMENT"),
    ("{strict}", " STRICT"),
    ("{and_time}", ""),
    ("{by_time}", ""),
];
const POSTGRES: Words = [
    ("{int}", "BIGINT"),
    ("{counted}", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    ("{strict}", ""),
    ("{and_time}", ", time_ms"),
    ("{by_time}", " PARTITION BY RANGE (time_ms)"),
];

fn spelt(text: &str, words: &Words) -> String {
    words.iter().fold(text.to_owned(), |text, (word, meant)| text.replace(word, meant))
}

/// Makes the tables for the events of this month and the next ones, where events are cut by months. What has none goes
/// to the table of the rest, so one that cannot be made loses nothing.
pub fn cut_by_months(database: &mut dyn Database, now: Timestamp) -> Result<(), LedgerError> {
    if database.engine() == Engine::Sqlite {
        return Ok(());
    }
    let Some(today) = DateTime::<Utc>::from_timestamp_millis(now.millis()) else { return Ok(()) };
    let Some(mut first) = today.date_naive().with_day(1) else { return Ok(()) };
    for _ in 0..=MONTHS_AHEAD {
        let Some(next) = first.checked_add_months(chrono::Months::new(1)) else { return Ok(()) };
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS events_{} PARTITION OF events FOR VALUES FROM ({}) TO ({})",
            first.format("%Y_%m"),
            millis(first),
            millis(next)
        );
        let made = within(database, |tx| {
            tx.query("SELECT pg_advisory_xact_lock($1)::text", args![LOCK])?;
            tx.batch(&sql)
        });
        match made {
            Err(error) if super::sql::is_taken(&error) => {
                tracing::warn!(%error, month = %first, "events of that month stay in the table of the rest");
            }
            other => other?,
        }
        first = next;
    }
    Ok(())
}

fn millis(day: NaiveDate) -> i64 {
    day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis()
}
