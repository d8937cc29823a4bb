//! SQLite: one file, WAL with full synchronisation, so that an answer is a promise.

use super::{Arg, Cell, Database, Engine, Heard, News, Row, Teller};
use crate::ledger::LedgerError;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ToSql};
use std::time::Duration;

/// How long to wait for a reader of the file, like a backup.
const BUSY: Duration = Duration::from_secs(5);

/// How many statements stay prepared: more than there are in this crate.
const PREPARED: usize = 128;

/// A connection to a SQLite file.
pub struct Sqlite {
    connection: Connection,
    teller: Option<Teller>,
    /// Told when the transaction is committed.
    news: Vec<News>,
}

impl Sqlite {
    /// Takes over a connection that was opened; `teller` passes on what changes.
    pub fn new(connection: Connection, teller: Option<Teller>) -> Result<Self, LedgerError> {
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(PREPARED);
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // A transaction's own journal would be a file, and there may be none left to open.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        Ok(Self { connection, teller, news: vec![] })
    }

    /// One that is gone when it is closed.
    pub fn in_memory() -> Result<Self, LedgerError> {
        Ok(Self { connection: Connection::open_in_memory()?, teller: None, news: vec![] })
    }

    /// What SQLite alone has.
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    fn pass_on(&mut self) {
        let news = self.news.drain(..);
        if let Some(teller) = &self.teller {
            news.for_each(|news| teller.tell(Heard::News(news)));
        }
    }

    fn prepared(&self, sql: &str, args: &[Arg<'_>]) -> Result<CachedStatement<'_>, LedgerError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        for (index, arg) in args.iter().enumerate() {
            // A `$1` is a name for SQLite, and has the number of its first place in the text.
            if let Some(place) = statement.parameter_index(&format!("${}", index + 1))? {
                statement.raw_bind_parameter(place, arg)?;
            }
        }
        Ok(statement)
    }
}

impl ToSql for Arg<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl Database for Sqlite {
    fn engine(&self) -> Engine {
        Engine::Sqlite
    }

    fn execute(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<u64, LedgerError> {
        let changed = self.prepared(sql, args)?.raw_execute()?;
        Ok(u64::try_from(changed).unwrap_or(u64::MAX))
    }

    fn query(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, LedgerError> {
        let mut statement = self.prepared(sql, args)?;
        let columns = statement.column_count();
        let mut found = vec![];
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            let cells = (0..columns).map(|column| cell(row.get_ref(column)?, column));
            found.push(Row(cells.collect::<Result<_, _>>()?));
        }
        Ok(found)
    }

    fn batch(&mut self, sql: &str) -> Result<(), LedgerError> {
        Ok(self.connection.execute_batch(sql)?)
    }

    fn begin(&mut self) -> Result<(), LedgerError> {
        // Immediate: one that begins by reading could not write after another has.
        Ok(self.connection.execute_batch("BEGIN IMMEDIATE")?)
    }

    fn commit(&mut self) -> Result<(), LedgerError> {
        self.connection.execute_batch("COMMIT")?;
        self.pass_on();
        Ok(())
    }

    fn roll_back(&mut self) {
        self.news.clear();
        // Some failures have ended the transaction already.
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction of the ledger cannot be taken back");
        }
    }

    fn tell(&mut self, news: &News) -> Result<(), LedgerError> {
        self.news.push(news.clone());
        if self.connection.is_autocommit() {
            self.pass_on();
        }
        Ok(())
    }
}

fn cell(value: ValueRef<'_>, column: usize) -> Result<Cell, LedgerError> {
    match value {
        ValueRef::Null => Ok(Cell::Null),
        ValueRef::Integer(number) => Ok(Cell::Int(number)),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Ok(Cell::Text(text.to_owned())),
            Err(_) => Err(LedgerError::Column(column)),
        },
        ValueRef::Real(_) | ValueRef::Blob(_) => Err(LedgerError::Column(column)),
    }
}
