//! A database of its own at the PostgreSQL that `tests/postgres` starts.

use std::sync::atomic::{AtomicU32, Ordering};
use vigil_noc::ledger::{Address, Ledger};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The address of an empty database; it goes with its server.
pub fn new_database() -> String {
    let folder = std::env::var("VIGIL_POSTGRES");
    let folder =
        folder.expect("no PostgreSQL to test with: run this as `tests/postgres cargo test -p vigil-tests`");
    let url = |database: &str| format!("postgres:///{database}?user=postgres&host={folder}");
    let name = format!("noc_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut ledger =
        Ledger::on_server(&address(&url("postgres"))).expect("the server that VIGIL_POSTGRES names");
    ledger.database().batch(&format!("CREATE DATABASE {name}")).expect("a new database");
    url(&name)
}

/// What a receiver makes of such an address.
pub fn address(url: &str) -> Address {
    Address::new(url, None, None, Vec::new).expect("an address without a password")
}
