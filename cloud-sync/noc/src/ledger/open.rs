//! Where a ledger is, and how it is opened and looked at.

use super::file::LedgerFile;
use super::last::LastWrite;
use super::schema::{self, SCHEMA};
use super::sql::{Address, Listener, Postgres, Sqlite, Teller, way};
use super::{Ledger, LedgerError, notices};
use crate::access;
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vigil_core::time::Timestamp;

/// How long a check waits for whoever writes.
const BUSY: Duration = Duration::from_secs(5);

/// How many connections to a PostgreSQL one receiver has: as many deliveries as it can pack while the disk of the server
/// writes, and a dozen receivers stay below the hundred that a server allows.
const CONNECTIONS: usize = 8;

/// Where the ledger is.
#[derive(Debug, Clone)]
pub enum Place {
    /// A SQLite file.
    File(PathBuf),
    /// A PostgreSQL.
    Server(Box<Address>),
}

impl Place {
    /// Opens it; `teller` passes on what changes in a file. What changes at a server is heard from it.
    pub fn open(&self, teller: Option<&Teller>) -> Result<Ledger, LedgerError> {
        match self {
            Self::File(path) => Ledger::in_file(path, teller.cloned()),
            Self::Server(address) => Ledger::on_server(address),
        }
    }

    /// How many may work on it at once.
    pub const fn hands(&self) -> usize {
        match self {
            // A file has one writer, and what it reads waits in its memory.
            Self::File(_) => 1,
            Self::Server(_) => CONNECTIONS,
        }
    }

    /// Where what changes comes out, and who tells it for a file.
    pub fn news(&self) -> Result<(Teller, Listener), LedgerError> {
        let (teller, listener) = way();
        if let Self::Server(address) = self {
            let (address, teller) = (address.clone(), teller.clone());
            std::thread::Builder::new().name("news".to_owned()).spawn(move || address.listen(&teller))?;
        }
        Ok((teller, listener))
    }

    /// Whether it is sound, as far as can be told without reading all of it. A file that is not there yet is. Nothing is changed.
    pub fn check(&self) -> Result<(), LedgerError> {
        match self {
            Self::File(path) if path.exists() => check_file(path),
            Self::File(_) => Ok(()),
            Self::Server(address) => {
                let found = schema::version(&mut Postgres::connect(address)?)?;
                if found > SCHEMA { Err(LedgerError::Newer { found, known: SCHEMA }) } else { Ok(()) }
            }
        }
    }
}

impl Ledger {
    /// Opens a SQLite file, or makes it.
    pub fn in_file(path: &Path, teller: Option<Teller>) -> Result<Self, LedgerError> {
        let opened = Connection::open(path);
        let connection = opened.map_err(|source| LedgerError::Closes { path: path.to_owned(), source })?;
        let set_up = || -> Result<Sqlite, LedgerError> {
            let mut database = Sqlite::new(connection, teller)?;
            if schema::migrate(&mut database)? {
                tracing::info!(
                    path = %path.display(),
                    "a new ledger is begun: if there was one here, stop and put it back, because what its gateways have sent is not sent again"
                );
            }
            is_whole(database.connection(), path)?;
            Ok(database)
        };
        let database = set_up().map_err(|why| why.of_file(path))?;
        Ok(Self {
            database: Box::new(database),
            file: Some(LedgerFile::at(path)?),
            last: LastWrite::default(),
        })
    }

    /// Connects to a PostgreSQL, and makes its tables if they are not there.
    pub fn on_server(address: &Address) -> Result<Self, LedgerError> {
        let mut database = Postgres::connect(address)?;
        if schema::migrate(&mut database)? {
            tracing::info!(database = %address, "a new ledger is begun");
        }
        Ok(Self { database: Box::new(database), file: None, last: LastWrite::default() })
    }

    /// What is to be done once a day.
    pub fn keep_up(&mut self, now: Timestamp) -> Result<(), LedgerError> {
        self.within(|tx| {
            access::sessions::forget(tx, now)?;
            access::forget_tries(tx, now)?;
            access::audit::forget(tx, now)?;
            notices::forget(tx, now)
        })?;
        schema::cut_by_months(&mut *self.database, now)
    }
}

/// Whether the file is sound, as far as SQLite can tell without comparing every index. Nothing is changed, and a
/// receiver may have it open.
fn check_file(path: &Path) -> Result<(), LedgerError> {
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
    match version {
        SCHEMA => is_whole(&connection, path),
        // It gets what it does not have at the next start.
        earlier if earlier < SCHEMA => Ok(()),
        found => Err(LedgerError::Newer { found, known: SCHEMA }),
    }
}

/// Whether every table and every index is there. Without one of them each delivery would fail, and nothing say why.
fn is_whole(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    let mut new = Sqlite::in_memory()?;
    schema::migrate(&mut new)?;
    let there = objects(connection)?;
    let missing = objects(new.connection())?.into_iter().rev().find(|object| !there.contains(object));
    missing.map_or(Ok(()), |(kind, name)| {
        Err(LedgerError::Unsound { path: path.to_owned(), found: format!("the {kind} {name} is missing") })
    })
}

fn objects(connection: &Connection) -> rusqlite::Result<BTreeSet<(String, String)>> {
    let mut statement = connection.prepare("SELECT type, name FROM sqlite_schema")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}
