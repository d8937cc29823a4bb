//! Where the tests of a ledger keep it: in a file, and at a PostgreSQL.

use super::sql::{Arg, Engine};
use super::{Address, Ledger, Place};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A place for one ledger.
pub struct House {
    /// Which.
    pub place: Place,
    dir: TempDir,
}

impl House {
    /// A SQLite file that is not there yet.
    pub fn file() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { place: Place::File(dir.path().join("noc.db")), dir }
    }

    /// An empty database of the server that `tests/postgres` starts.
    pub fn server() -> Self {
        let Ok(folder) = std::env::var("VIGIL_POSTGRES") else {
            panic!("no PostgreSQL to test with: run this as `tests/postgres cargo test -p vigil-noc`")
        };
        let name = format!("ledger_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let url = |database: &str| format!("postgres:///{database}?user=postgres&host={folder}");
        let mut client = postgres::Client::connect(&url("postgres"), postgres::NoTls).unwrap();
        client.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        let address = Address::new(&url(&name), None, None, Vec::new).unwrap();
        Self { place: Place::Server(Box::new(address)), dir: tempfile::tempdir().unwrap() }
    }

    /// One of each.
    pub fn both() -> [Self; 2] {
        [Self::file(), Self::server()]
    }

    /// The ledger in it, as after a start.
    pub fn open(&self) -> Ledger {
        self.place.open(None).unwrap()
    }

    /// The file, where it is one.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("noc.db")
    }
}

/// How a database finds what is looked for: by which index.
pub fn plan(ledger: &mut Ledger, sql: &str, args: &[Arg<'_>]) -> String {
    let (explain, column) = match ledger.database().engine() {
        Engine::Sqlite => ("EXPLAIN QUERY PLAN", 3),
        Engine::Postgres => ("EXPLAIN (COSTS OFF)", 0),
    };
    let rows = ledger.database().query(&format!("{explain} {sql}"), args).unwrap();
    rows.into_iter().map(|mut row| row.text(column).unwrap()).collect::<Vec<_>>().join("\n")
}
