//! Who is let in, and whose session ends for it.

use super::{Key, NoSession, State, User};
use crate::sources::broker::limits::Limits;
use std::cmp::Reverse;
use std::collections::BTreeMap;

impl State {
    /// Whether another session had to end for it.
    pub(super) fn admit(&mut self, key: &Key, limits: &Limits) -> Result<bool, NoSession> {
        if self.closing {
            return Err(NoSession::Closing);
        }
        if self.departing.contains(key) {
            return Err(NoSession::Departing);
        }
        if self.seats.len() < limits.sessions || self.seats.contains_key(key) {
            return Ok(false);
        }
        let oldest = self.makes_room().ok_or(NoSession::Full)?;
        tracing::warn!(client = oldest.client(), user = %oldest.user(), "the oldest idle session makes room");
        self.end_session(&oldest);
        Ok(true)
    }

    /// Of the user who has most sessions the one that idles for longest: whoever comes with ever new client ids drives out
    /// his own, and nobody else's.
    fn makes_room(&self) -> Option<Key> {
        let mut held: BTreeMap<&User, usize> = BTreeMap::new();
        self.seats.keys().for_each(|key| *held.entry(key.user()).or_default() += 1);
        let idle = self.seats.iter().filter_map(|(key, seat)| Some((seat.left_at?, key)));
        let first = idle.min_by_key(|(left_at, key)| (Reverse(held.get(key.user())), *left_at));
        first.map(|(_, key)| key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Arrival;
    use super::super::tests::{HOUR, arrival, attach, exchange};
    use super::*;

    #[test]
    fn the_oldest_idle_session_makes_room_and_connected_ones_never_do() {
        let exchange = exchange(Limits { sessions: 2, ..Limits::default() });
        let a = attach(&exchange, arrival("a", HOUR)).unwrap();
        let _b = attach(&exchange, arrival("b", HOUR)).unwrap();
        assert_eq!(attach(&exchange, arrival("c", HOUR)).unwrap_err(), NoSession::Full);
        drop(a);
        let _c = attach(&exchange, arrival("c", HOUR)).unwrap();
        assert_eq!(attach(&exchange, arrival("a", HOUR)).unwrap_err(), NoSession::Full);
    }

    #[test]
    fn who_comes_with_ever_new_names_drives_out_nobody_else() {
        let exchange = exchange(Limits { sessions: 4, ..Limits::default() });
        drop(attach(&exchange, arrival("screen", HOUR)).unwrap());
        for n in 0..20 {
            let key = Key::new(User::Named("device".into()), format!("c-{n}"));
            drop(attach(&exchange, Arrival { key, ..arrival("device", HOUR) }).unwrap());
        }
        assert!(attach(&exchange, arrival("screen", HOUR)).unwrap().present, "it is still there");
        assert_eq!((exchange.counts().sessions, exchange.counts().ended_for_room), (4, 17));
    }
}
