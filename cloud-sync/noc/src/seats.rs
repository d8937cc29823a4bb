//! Who may hold a page open: so many of each person, so many of each tenant, so many of all.

use crate::access::Person;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Of one person, or of one program: a control room hangs a dozen screens on one name.
const OF_A_PERSON: usize = 16;
/// Of one tenant: whoever looks from outside must not leave the centre's own staff without a seat.
const OF_A_TENANT: usize = 48;
/// Of all: each costs a connection of those that one address may have, behind a proxy all of them, and a place among the changes.
const OF_ALL: usize = 96;

/// Whose seats are counted; nobody's are those of all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    All,
    Tenant(String),
    Person(String),
}

/// Every seat there is.
#[derive(Debug, Default, Clone)]
pub struct Seats(Arc<Mutex<BTreeMap<Whose, usize>>>);

/// One of them; given back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    of: Seats,
    held: Vec<Whose>,
}

impl Seats {
    /// One for that person, if there is one left.
    pub fn take(&self, person: &Person) -> Option<Seat> {
        let tenant = person.tenant.as_ref().map(|tenant| (Whose::Tenant(tenant.to_string()), OF_A_TENANT));
        // Two tenants may each have somebody of that name.
        let whole_name = format!("{}/{}", person.tenant.as_ref().map_or("", |t| t.as_str()), person.name);
        let bounds: Vec<_> = [(Whose::All, OF_ALL), (Whose::Person(whole_name), OF_A_PERSON)]
            .into_iter()
            .chain(tenant)
            .collect();
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if bounds.iter().any(|(whose, most)| taken.get(whose).is_some_and(|now| now >= most)) {
            return None;
        }
        for (whose, _) in &bounds {
            *taken.entry(whose.clone()).or_default() += 1;
        }
        let held = bounds.into_iter().map(|(whose, _)| whose).collect();
        Some(Seat { of: self.clone(), held })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        for whose in &self.held {
            if let Some(now) = taken.get_mut(whose) {
                *now = now.saturating_sub(1);
                if *now == 0 {
                    taken.remove(whose);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Role;
    use vigil_core::id::TenantId;

    fn person(name: &str, tenant: Option<&str>) -> Person {
        let tenant = tenant.map(|tenant| TenantId::new(tenant).unwrap());
        Person { name: name.to_owned(), tenant, role: Role::Viewer }
    }

    #[test]
    fn nobody_takes_the_seats_of_others() {
        let seats = Seats::default();
        let (one, staff) = (person("one", Some("acme")), person("one", None));
        let held: Vec<_> = (0..OF_A_PERSON).map(|_| seats.take(&one).unwrap()).collect();
        assert!(seats.take(&one).is_none());
        assert!(seats.take(&staff).is_some(), "another of that name");
        let others: Vec<_> = (OF_A_PERSON..OF_A_TENANT)
            .map(|n| seats.take(&person(&format!("p{n}"), Some("acme"))).unwrap())
            .collect();
        assert!(seats.take(&person("last", Some("acme"))).is_none());
        assert!(seats.take(&person("first", Some("other"))).is_some());
        drop(held);
        assert!(seats.take(&one).is_some());
        drop(others);
        assert!(seats.0.lock().unwrap().is_empty(), "what nobody holds is not remembered");
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let seats = Seats::default();
        let held: Vec<_> =
            (0..OF_ALL).map(|n| seats.take(&person(&format!("p{n}"), None)).unwrap()).collect();
        assert!(seats.take(&person("last", None)).is_none());
        drop(held);
    }
}
