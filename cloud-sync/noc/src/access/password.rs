//! Passwords: how long they are, and how they are kept. Argon2id with what OWASP asks for, so that a stolen ledger costs whoever
//! guesses 19 MiB and some milliseconds a guess.

use super::secret::NoRandom;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The shortest: twelve characters of one's own choice take longer to guess than they are worth.
pub const MIN_CHARS: usize = 12;
/// The longest: a sentence fits, and nobody sends a megabyte to be hashed.
pub const MAX_CHARS: usize = 128;

/// OWASP's first choice: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;

/// How many are hashed at once: two take 38 MiB, and leave the ledger a core.
const HANDS: usize = 2;
/// How many may wait for that: some seconds' work. Those beyond are told to come back.
const WAITING: usize = 32;

/// What nobody's password hashes to: hashed against it takes as long as against a real one.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short or too long.
    #[error("a password has {MIN_CHARS} to {MAX_CHARS} characters; a few words are easy to remember")]
    Length,
    /// No salt.
    #[error(transparent)]
    Random(#[from] NoRandom),
    /// The hash cannot be made: there is no memory for it.
    #[error("the password cannot be hashed: {0}")]
    Hash(String),
    /// Too many log in at once.
    #[error("too many people log in at the moment; try again in some seconds")]
    Busy,
}

fn argon() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None);
    let params = params.map_err(|why| PasswordError::Hash(why.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// What is kept of a password. Takes some milliseconds of a core.
pub fn hash(password: &str) -> Result<String, PasswordError> {
    if !(MIN_CHARS..=MAX_CHARS).contains(&password.chars().count()) {
        return Err(PasswordError::Length);
    }
    let mut salt = [0; SALT_BYTES];
    SystemRandom::new().fill(&mut salt).map_err(|_| NoRandom)?;
    let failed = |why: argon2::password_hash::Error| PasswordError::Hash(why.to_string());
    let salt = SaltString::encode_b64(&salt).map_err(failed)?;
    Ok(argon()?.hash_password(password.as_bytes(), &salt).map_err(failed)?.to_string())
}

/// Whether it is the password of that hash. Takes equally long without one, and is false then.
pub fn fits(password: &str, kept: Option<&str>) -> bool {
    let asked = PasswordHash::new(kept.unwrap_or(NOBODYS));
    let same = |hash: &PasswordHash<'_>| {
        // A long one is not hashed: it cannot be right.
        let password = if password.len() <= 4 * MAX_CHARS { password } else { "" };
        argon().is_ok_and(|argon| argon.verify_password(password.as_bytes(), hash).is_ok())
    };
    asked.is_ok_and(|hash| same(&hash)) && kept.is_some()
}

/// Hashes off the runtime's threads, two at a time.
#[derive(Debug, Clone)]
pub struct Hasher {
    hands: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Default for Hasher {
    fn default() -> Self {
        Self { hands: Arc::new(Semaphore::new(HANDS)), places: Arc::new(Semaphore::new(HANDS + WAITING)) }
    }
}

impl Hasher {
    /// See [`hash`].
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        self.work(move || hash(&password)).await?
    }

    /// See [`fits`].
    pub async fn fits(&self, password: String, kept: Option<String>) -> Result<bool, PasswordError> {
        self.work(move || fits(&password, kept.as_deref())).await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let _place = self.places.try_acquire().map_err(|_| PasswordError::Busy)?;
        let hand = Arc::clone(&self.hands).acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        let done = tokio::task::spawn_blocking(move || {
            let made = work();
            // Held by the work itself: one that nobody waits for any more goes on.
            drop(hand);
            made
        });
        done.await.map_err(|why| PasswordError::Hash(why.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_own_hash_only() {
        let kept = hash("correct horse battery").unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(fits("correct horse battery", Some(&kept)));
        assert!(!fits("correct horse batterz", Some(&kept)));
        assert_ne!(kept, hash("correct horse battery").unwrap(), "each has its own salt");
        assert!(!fits("correct horse battery", None) && !fits("x", Some("no hash")));
    }

    #[test]
    fn the_hash_of_nobody_is_one() {
        PasswordHash::new(NOBODYS).unwrap();
    }

    #[test]
    fn length_is_the_only_rule_and_counts_characters() {
        for (password, fine) in [("x".repeat(11), false), ("ä".repeat(12), true), ("x".repeat(129), false)] {
            assert_eq!(hash(&password).is_ok(), fine, "{password}");
        }
    }

    #[tokio::test]
    async fn more_than_may_wait_are_told_to_come_back() {
        let hasher = Hasher::default();
        let held = Arc::clone(&hasher.hands).acquire_many_owned(2).await.unwrap();
        let waiting: Vec<_> = (0..HANDS + WAITING)
            .map(|_| {
                tokio::spawn({
                    let hasher = hasher.clone();
                    async move { hasher.fits("x".into(), None).await }
                })
            })
            .collect();
        while hasher.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(hasher.fits("x".into(), None).await, Err(PasswordError::Busy));
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
        drop(held);
    }
}
