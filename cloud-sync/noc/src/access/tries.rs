//! How often somebody may try to log in. Kept in the ledger, so that receivers on one database count together and a restart does
//! not forget. A try counts before it is judged: of a hundred at once, those beyond the free ones wait.

use crate::ledger::{Database, LedgerError, args};
use std::net::IpAddr;
use vigil_core::time::{Span, Timestamp};

/// How many failures a name has free: fingers slip.
const FREE_BY_NAME: i64 = 5;
/// And an address: a control room has one for a dozen people.
const FREE_BY_ADDRESS: i64 = 20;
/// The longest wait: who forgot it asks an admin meanwhile, and who guesses gets four tries an hour.
const LONGEST: Span = Span::from_secs(15 * 60);
/// After so long without another, failures are forgotten.
const FORGOTTEN: Span = Span::from_hours(24);

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subjects {
    address: String,
    name: String,
}

impl Subjects {
    /// A try for `name` from `address`.
    pub fn of(name: &str, address: IpAddr) -> Self {
        let address = match address.to_canonical() {
            IpAddr::V4(address) => format!("address:{address}"),
            // One customer has all of a /64.
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                format!("address:{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        };
        Self { address, name: format!("name:{name}") }
    }
}

/// Counts a try. `Err` is how long to wait before the next one; that one is not counted.
pub fn take(
    tx: &mut dyn Database,
    now: Timestamp,
    subjects: &Subjects,
) -> Result<Result<(), Span>, LedgerError> {
    // Always in this order: two that hold one row each would wait for each other.
    let both = [(&subjects.address, FREE_BY_ADDRESS), (&subjects.name, FREE_BY_NAME)];
    let mut wait = Span::ZERO;
    for (subject, free) in both {
        wait = wait.max(standing(tx, now, subject, free)?);
    }
    if wait > Span::ZERO {
        return Ok(Err(wait));
    }
    for (subject, _) in both {
        tx.execute(
            "UPDATE tries SET failures = failures + 1, last_ms = $2 WHERE subject = $1",
            args![subject, now],
        )?;
    }
    Ok(Ok(()))
}

/// How long that subject has to wait. Its row is there afterwards, and is held.
fn standing(tx: &mut dyn Database, now: Timestamp, subject: &str, free: i64) -> Result<Span, LedgerError> {
    let row = tx.one(
        "INSERT INTO tries (subject, failures, last_ms) VALUES ($1, 0, $2)
         ON CONFLICT (subject) DO UPDATE
             SET failures = CASE WHEN tries.last_ms < $3 THEN 0 ELSE tries.failures END
         RETURNING failures, last_ms",
        args![subject, now, now - FORGOTTEN],
    )?;
    let Some(mut row) = row else { return Ok(Span::ZERO) };
    let (failures, last) = (row.int(0)?, row.instant(1)?);
    // A clock that was set back must not lock anybody out for longer.
    let since = now.since(last).max(Span::ZERO);
    Ok(Span::from_millis(pause(failures - free).millis() - since.millis()).max(Span::ZERO))
}

/// The wait after so many failures beyond the free ones: doubles from a second on.
fn pause(beyond: i64) -> Span {
    match u32::try_from(beyond) {
        Ok(beyond) => Span::from_secs(1_i64.checked_shl(beyond.min(20)).unwrap_or(i64::MAX)).min(LONGEST),
        Err(_) => Span::ZERO,
    }
}

/// It was the right password: the name begins anew. The address does not: one's own account would else give free tries at others.
pub fn succeeded(tx: &mut dyn Database, subjects: &Subjects) -> Result<(), LedgerError> {
    tx.execute("DELETE FROM tries WHERE subject = $1", args![&subjects.name])?;
    let back = "UPDATE tries SET failures = failures - 1 WHERE subject = $1 AND failures > 0";
    tx.execute(back, args![&subjects.address]).map(drop)
}

/// Removes what is past its time.
pub fn forget(tx: &mut dyn Database, now: Timestamp) -> Result<(), LedgerError> {
    tx.execute("DELETE FROM tries WHERE last_ms < $1", args![now - FORGOTTEN]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::houses::House;

    const NOW: Timestamp = Timestamp::from_millis(1_773_160_000_000);

    #[test]
    fn waits_double_up_to_a_quarter_of_an_hour() {
        let secs = |beyond| pause(beyond).millis() / 1_000;
        assert_eq!([-1, 0, 1, 5, 9, 10, 99].map(secs), [0, 1, 2, 32, 512, 900, 900]);
    }

    #[test]
    fn a_name_has_five_tries_and_then_waits_over_a_restart_too() {
        for house in House::both() {
            let mut ledger = house.open();
            let here = Subjects::of("ada", "192.0.2.7".parse().unwrap());
            let at = |ledger: &mut crate::ledger::Ledger, secs: i64, who: &Subjects| {
                ledger.within(|tx| take(tx, NOW + Span::from_secs(secs), who)).unwrap()
            };
            for _ in 0..5 {
                assert_eq!(at(&mut ledger, 0, &here), Ok(()));
            }
            assert_eq!(at(&mut ledger, 0, &here), Err(Span::from_secs(1)));
            drop(ledger);
            let mut ledger = house.open();
            let elsewhere = Subjects::of("ada", "198.51.100.1".parse().unwrap());
            assert_eq!(at(&mut ledger, 0, &elsewhere), Err(Span::from_secs(1)), "from anywhere");
            assert_eq!(at(&mut ledger, 0, &Subjects::of("bob", "192.0.2.7".parse().unwrap())), Ok(()));
            assert_eq!(at(&mut ledger, 1, &here), Ok(()));
            assert_eq!(at(&mut ledger, 1, &here), Err(Span::from_secs(2)));
            ledger.within(|tx| succeeded(tx, &here)).unwrap();
            assert_eq!(at(&mut ledger, 1, &here), Ok(()));
            for _ in 0..4 {
                assert_eq!(at(&mut ledger, 2, &here), Ok(()));
            }
            assert!(at(&mut ledger, 2, &here).is_err());
            assert_eq!(at(&mut ledger, 24 * 3_600 + 3, &here), Ok(()), "a day later it is forgotten");
        }
    }

    #[test]
    fn an_address_has_twenty_whatever_the_names() {
        for house in House::both() {
            let mut ledger = house.open();
            let mut from = |n: usize, address: &str| {
                let who = Subjects::of(&format!("name-{n}"), address.parse().unwrap());
                ledger.within(|tx| take(tx, NOW, &who)).unwrap()
            };
            assert!((0..20).all(|n| from(n, "2001:db8:1:2::1").is_ok()));
            assert_eq!(from(21, "2001:db8:1:2:ffff::9"), Err(Span::from_secs(1)), "a /64 is one customer");
            assert_eq!(from(22, "2001:db8:1:3::1"), Ok(()));
        }
    }
}
