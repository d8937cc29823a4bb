//! How the tests come in on the operators' side: as people who have logged in.

use vigil_core::id::{OperatorId, TenantId};
use vigil_core::time::Timestamp;
use vigil_noc::access::audit::Actor;
use vigil_noc::access::people::{self, NewPerson};
use vigil_noc::access::{secret, sessions};
use vigil_noc::{Noc, Role};

/// Makes a person, and a session whose secret is the name.
pub async fn log_in(noc: &Noc, (name, tenant, role): (&str, Option<&str>, Role)) {
    let tenant = tenant.map(|tenant| TenantId::new(tenant).unwrap());
    let (name, hash) = (OperatorId::new(name).unwrap(), "no hash".to_owned());
    let person = NewPerson { name, tenant, role, hash, must_change: false };
    // The receiver's own clock, or the session would have ended long ago.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap());
    let clerk = noc.clerk();
    let logged_in = clerk.ask(move |ledger| {
        ledger.within(|tx| {
            people::add(tx, &Actor::console(), now, &person)?;
            let name = person.name.as_str();
            sessions::begin(tx, now, name, &secret::digest(name), ("127.0.0.1", "test"))
        })
    });
    logged_in.await.unwrap();
}

/// What the browser of that person sends.
pub fn cookie(name: &str) -> String {
    format!("vigil={name}")
}

/// The word of their session, which a page of another site does not know.
pub fn word(name: &str) -> String {
    secret::word_of(name)
}
