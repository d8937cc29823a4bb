//! Whose messages wait for the store: one share for each user, whatever number of connections it has.

use super::acl::User;
use crate::sources::Share;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The shares of those who are connected.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<BTreeMap<User, Share>>);

impl Shares {
    /// That of a user who connects. Whoever has no name has one of his own for each connection.
    pub(super) fn of(&self, user: &User) -> Share {
        if *user == User::Anonymous {
            return Share::default();
        }
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What waits holds its share as well.
        shares.retain(|known, share| known == user || share.is_in_use());
        shares.entry(user.clone()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_one_share_and_it_goes_with_the_last_connection() {
        let shares = Shares::default();
        let user = |name: &str| User::Named(name.into());
        let (one, again) = (shares.of(&user("a")), shares.of(&user("a")));
        assert!(one.is_same(&again) && !one.is_same(&shares.of(&user("b"))));
        assert!(!shares.of(&User::Anonymous).is_same(&shares.of(&User::Anonymous)));
        drop((one, again));
        let _third = shares.of(&user("c"));
        assert_eq!(shares.0.lock().unwrap().len(), 1);
    }
}
