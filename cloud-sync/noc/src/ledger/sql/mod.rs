//! The little of SQL that SQLite and PostgreSQL share. Statements are written once, with `$1` for what goes in, and run on
//! both; what one of them has by itself stands in its own file.

mod news;
mod postgres;
mod sqlite;

pub use news::{Heard, Listener, News, Teller, way};
pub use postgres::{Address, Postgres, PostgresError, is_taken};
pub use sqlite::Sqlite;

use super::LedgerError;
use serde_json::value::RawValue;
use vigil_core::time::Timestamp;

/// How many rows one statement carries at most: 50 columns of them stay below the 32,766 values of a statement in SQLite.
pub const MANY: usize = 100;
/// What is left over goes in tens, and then singly: so there are three texts for a database to prepare, not a hundred.
const SOME: usize = 10;

/// What goes into a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg<'a> {
    /// Nothing.
    Null,
    /// A number, an instant in milliseconds, or 0 and 1 for no and yes.
    Int(i64),
    /// A text.
    Text(&'a str),
}

impl From<i64> for Arg<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u32> for Arg<'_> {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<bool> for Arg<'_> {
    fn from(flag: bool) -> Self {
        Self::Int(flag.into())
    }
}

impl From<Timestamp> for Arg<'_> {
    fn from(at: Timestamp) -> Self {
        Self::Int(at.millis())
    }
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Arg<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a, T> From<Option<T>> for Arg<'a>
where
    T: Into<Arg<'a>>,
{
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The arguments of a statement, each as what it is.
#[macro_export]
#[doc(hidden)]
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::ledger::Arg::from($value)),*] };
}
pub use crate::args;

/// What comes out of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A number.
    Int(i64),
    /// A text.
    Text(String),
}

/// One row of an answer. Columns are taken by their number, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(pub(super) Vec<Cell>);

impl Row {
    fn take(&mut self, column: usize) -> Result<Cell, LedgerError> {
        let cell = self.0.get_mut(column).ok_or(LedgerError::Column(column))?;
        Ok(std::mem::replace(cell, Cell::Null))
    }

    /// A number that is there.
    pub fn int(&mut self, column: usize) -> Result<i64, LedgerError> {
        self.maybe_int(column)?.ok_or(LedgerError::Column(column))
    }

    /// A number, if there is one.
    pub fn maybe_int(&mut self, column: usize) -> Result<Option<i64>, LedgerError> {
        match self.take(column)? {
            Cell::Int(number) => Ok(Some(number)),
            Cell::Null => Ok(None),
            Cell::Text(_) => Err(LedgerError::Column(column)),
        }
    }

    /// A text that is there.
    pub fn text(&mut self, column: usize) -> Result<String, LedgerError> {
        self.maybe_text(column)?.ok_or(LedgerError::Column(column))
    }

    /// A text, if there is one.
    pub fn maybe_text(&mut self, column: usize) -> Result<Option<String>, LedgerError> {
        match self.take(column)? {
            Cell::Text(text) => Ok(Some(text)),
            Cell::Null => Ok(None),
            Cell::Int(_) => Err(LedgerError::Column(column)),
        }
    }

    /// Yes or no.
    pub fn flag(&mut self, column: usize) -> Result<bool, LedgerError> {
        Ok(self.int(column)? != 0)
    }

    /// An instant that is there.
    pub fn instant(&mut self, column: usize) -> Result<Timestamp, LedgerError> {
        Ok(Timestamp::from_millis(self.int(column)?))
    }

    /// An instant, if there is one.
    pub fn maybe_instant(&mut self, column: usize) -> Result<Option<Timestamp>, LedgerError> {
        Ok(self.maybe_int(column)?.map(Timestamp::from_millis))
    }

    /// A JSON object that is there.
    pub fn json(&mut self, column: usize) -> Result<Box<RawValue>, LedgerError> {
        Ok(RawValue::from_string(self.text(column)?)?)
    }

    /// A JSON object, if there is one.
    pub fn maybe_json(&mut self, column: usize) -> Result<Option<Box<RawValue>>, LedgerError> {
        Ok(self.maybe_text(column)?.map(RawValue::from_string).transpose()?)
    }
}

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// One file of one receiver.
    Sqlite,
    /// A server that several receivers share.
    Postgres,
}

/// A connection to a database. It blocks.
pub trait Database: Send {
    /// Which of the two it is.
    fn engine(&self) -> Engine;

    /// Runs one statement, and says how many rows it changed.
    fn execute(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<u64, LedgerError>;

    /// Runs one statement, and gives its rows.
    fn query(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, LedgerError>;

    /// Runs several statements without arguments.
    fn batch(&mut self, sql: &str) -> Result<(), LedgerError>;

    /// Begins a transaction that writes; a connection that was lost is made anew.
    fn begin(&mut self) -> Result<(), LedgerError>;

    /// Ends it; what was written is on stable storage.
    fn commit(&mut self) -> Result<(), LedgerError>;

    /// Ends it as if it had not been; a connection that is lost has done so.
    fn roll_back(&mut self);

    /// Tells every receiver on this database, this one included, when the transaction is committed.
    fn tell(&mut self, news: &News) -> Result<(), LedgerError>;

    /// Runs one statement that gives at most one row.
    fn one(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Option<Row>, LedgerError> {
        Ok(self.query(sql, args)?.into_iter().next())
    }
}

/// Runs `work` in one transaction: all of it is kept, or nothing.
pub fn within<T>(
    database: &mut dyn Database,
    work: impl FnOnce(&mut dyn Database) -> Result<T, LedgerError>,
) -> Result<T, LedgerError> {
    database.begin()?;
    let done = work(database).and_then(|made| database.commit().map(|()| made));
    if done.is_err() {
        database.roll_back();
    }
    done
}

/// Runs `work` apart within a transaction: if it fails, all else of the transaction stands. The outer error is that of the database.
pub fn apart<T>(
    tx: &mut dyn Database,
    work: impl FnOnce(&mut dyn Database) -> Result<T, LedgerError>,
) -> Result<Result<T, LedgerError>, LedgerError> {
    tx.batch("SAVEPOINT apart")?;
    let done = work(tx);
    tx.batch(if done.is_ok() { "RELEASE apart" } else { "ROLLBACK TO apart; RELEASE apart" })?;
    Ok(done)
}

/// `{head} VALUES (...), (...) {tail}` for all `rows`, in as few statements as there may be; gives what they return.
pub fn insert(
    database: &mut dyn Database,
    head: &str,
    tail: &str,
    rows: &[Vec<Arg<'_>>],
) -> Result<Vec<Row>, LedgerError> {
    let mut returned = vec![];
    let mut left = rows;
    while let Some(first) = left.first() {
        let count = [MANY, SOME, 1].into_iter().find(|count| *count <= left.len()).unwrap_or(1);
        let (now, later) = left.split_at(count);
        let sql = format!("{head} VALUES {} {tail}", places(count, first.len()));
        returned.extend(database.query(&sql, &now.concat())?);
        left = later;
    }
    Ok(returned)
}

/// How many places a statement has for so many values: there are two texts for a database to prepare, not a hundred.
pub const fn roomy(count: usize) -> usize {
    if count <= SOME { SOME } else { MANY }
}

/// `{head} (...) {tail}` with all `names` in the brackets, after the `fixed` arguments; gives what is returned.
pub fn among<'a>(
    database: &mut dyn Database,
    head: &str,
    tail: &str,
    fixed: &[Arg<'a>],
    names: &[&'a str],
) -> Result<Vec<Row>, LedgerError> {
    let mut returned = vec![];
    for some in names.chunks(MANY) {
        let count = roomy(some.len());
        let marks: Vec<String> = (1..=count).map(|n| format!("${}", fixed.len() + n)).collect();
        let named = some.iter().chain(some.last().into_iter().cycle()).take(count);
        let args: Vec<Arg<'_>> = fixed.iter().copied().chain(named.map(|name| Arg::Text(name))).collect();
        returned.extend(database.query(&format!("{head} ({}) {tail}", marks.join(", ")), &args)?);
    }
    Ok(returned)
}

/// `($1, $2), ($3, $4)` for two rows of two columns.
fn places(rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let names: Vec<String> = (1..=columns).map(|column| format!("${}", row * columns + column)).collect();
        format!("({})", names.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Sqlite {
        let mut database = Sqlite::in_memory().unwrap();
        database.batch("CREATE TABLE t (n INTEGER PRIMARY KEY, word TEXT) STRICT").unwrap();
        database
    }

    fn count(database: &mut Sqlite) -> i64 {
        database.one("SELECT count(*) FROM t", &[]).unwrap().unwrap().int(0).unwrap()
    }

    #[test]
    fn rows_go_in_by_hundreds_by_tens_and_singly() {
        for many in [0, 1, 9, 10, 123, 200] {
            let mut database = database();
            let rows: Vec<Vec<Arg<'_>>> = (0..many).map(|n| vec![Arg::Int(n), Arg::Text("x")]).collect();
            let returned = insert(&mut database, "INSERT INTO t (n, word)", "RETURNING n", &rows).unwrap();
            let numbers: Vec<i64> = returned.into_iter().map(|mut row| row.int(0).unwrap()).collect();
            assert_eq!(numbers, (0..many).collect::<Vec<_>>());
            assert_eq!(count(&mut database), many);
        }
        assert_eq!(places(2, 2), "($1, $2), ($3, $4)");
    }

    #[test]
    fn what_fails_in_a_transaction_leaves_nothing_behind() {
        let mut database = database();
        let failed = within(&mut database, |tx| {
            tx.execute("INSERT INTO t (n) VALUES ($1)", args![1_i64])?;
            tx.execute("INSERT INTO t (n) VALUES ($1)", args![1_i64])
        });
        assert!(failed.is_err());
        assert_eq!(count(&mut database), 0);
        within(&mut database, |tx| tx.execute("INSERT INTO t (n) VALUES ($1)", args![1_i64])).unwrap();
        assert_eq!(count(&mut database), 1);
    }

    #[test]
    fn a_column_of_another_kind_is_said_and_no_panic() {
        let mut database = database();
        database.execute("INSERT INTO t (n, word) VALUES ($1, $2)", args![1_i64, "one"]).unwrap();
        let mut row = database.one("SELECT n, word FROM t", &[]).unwrap().unwrap();
        assert!(matches!(row.text(0), Err(LedgerError::Column(0))));
        assert!(matches!(row.int(7), Err(LedgerError::Column(7))));
        assert_eq!(row.text(1).unwrap(), "one");
    }
}
