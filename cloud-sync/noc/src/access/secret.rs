//! What nobody can guess: cookies, tokens, passwords that are made here. The ledger holds digests only.

use super::token_sha256;
use ring::rand::{SecureRandom, SystemRandom};

/// How much chance is in a secret: 256 bits cannot be tried.
const BYTES: usize = 32;

/// Signs of a password that is read from a screen or a sheet: none of them looks like another.
const SIGNS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// How many of them: 100 bits, in five groups that can be read aloud.
const GROUPS: usize = 5;
const OF_A_GROUP: usize = 4;

/// The machine gives no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no random number can be had of this machine")]
pub struct NoRandom;

fn random<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(bytes)
}

/// A new one: 64 hex digits.
pub fn made() -> Result<String, NoRandom> {
    Ok(random::<BYTES>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A password for a person who will choose another.
pub fn password() -> Result<String, NoRandom> {
    let sign = |byte: &u8| SIGNS.get(usize::from(*byte) % SIGNS.len()).copied().map_or('a', char::from);
    let signs: Vec<char> = random::<{ GROUPS * OF_A_GROUP }>()?.iter().map(sign).collect();
    let groups: Vec<String> = signs.chunks(OF_A_GROUP).map(|group| group.iter().collect()).collect();
    Ok(groups.join("-"))
}

/// What the ledger holds of a secret.
pub fn digest(secret: &str) -> String {
    token_sha256(secret)
}

/// The word that a page of the session has to say with every change. Made of the cookie, so that nothing is stored, and whoever
/// reads the ledger cannot say it.
pub fn word_of(cookie: &str) -> String {
    digest(&format!("vigil page word {cookie}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_passwords_can_be_read_aloud() {
        let (one, other) = (made().unwrap(), made().unwrap());
        assert!(one != other && one.len() == 64);
        let password = password().unwrap();
        assert_eq!(password.len(), 24, "{password}");
        assert!(password.bytes().all(|b| b == b'-' || SIGNS.contains(&b)), "{password}");
        assert_ne!(word_of(&one), word_of(&other));
        assert_ne!(word_of(&one), digest(&one), "who reads the ledger cannot say the word");
    }
}
