//! The master key: a credential under which the keys of the store are locked, so that the disk alone tells nothing.

use super::seal;
use ring::aead::LessSafeKey;
use ring::error::Unspecified;
use ring::hmac;
use serde::{Deserialize, Serialize};

/// What is shorter can be guessed: 32 characters of base64 are 192 bits.
const FEWEST_CHARACTERS: usize = 32;
/// The number under which secrets are sealed; no key of records has it.
pub(super) const LOCKED: u32 = 0;

/// Tells one master key from another, and nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint([u8; 8]);

/// Why a credential is no master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMaster {
    /// It is not text.
    #[error("it is no text; `openssl rand -base64 32` makes one")]
    NoText,
    /// A line of it is too short.
    #[error(
        "line {0} has fewer than {FEWEST_CHARACTERS} characters and could be guessed; `openssl rand -base64 32` makes one"
    )]
    Short(usize),
    /// The cryptography fails.
    #[error("it cannot be used")]
    Unusable,
}

/// The master key in force and those before it; none at all if the keys of the store are not locked.
#[derive(Debug, Clone, Default)]
pub struct Masters(Vec<(Fingerprint, LessSafeKey)>);

impl Masters {
    /// The first line of a credential is the key in force; further lines are earlier ones, whose files are locked anew.
    pub fn read(credential: &[u8]) -> Result<Self, BadMaster> {
        let text = std::str::from_utf8(credential).map_err(|_| BadMaster::NoText)?;
        let lines = text.lines().map(str::trim).enumerate();
        lines.map(|(n, line)| master(n + 1, line)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is none.
    pub const fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn in_force(&self) -> Option<(Fingerprint, &LessSafeKey)> {
        self.0.first().map(|(fingerprint, key)| (*fingerprint, key))
    }

    pub(super) fn of(&self, wanted: Fingerprint) -> Option<&LessSafeKey> {
        self.0.iter().find(|(fingerprint, _)| *fingerprint == wanted).map(|(_, key)| key)
    }
}

fn master(line: usize, text: &str) -> Result<(Fingerprint, LessSafeKey), BadMaster> {
    if text.len() < FEWEST_CHARACTERS {
        return Err(BadMaster::Short(line));
    }
    let master = hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes());
    let unusable = |_: Unspecified| BadMaster::Unusable;
    let (lock, name) =
        (derived(&master, "vigil store, lock of keys, 1"), derived(&master, "vigil store, name, 1"));
    let mut fingerprint = [0; 8];
    fingerprint.iter_mut().zip(name).for_each(|(to, from)| *to = from);
    Ok((Fingerprint(fingerprint), seal::key(&lock).map_err(unusable)?))
}

/// 32 bytes that follow from the master key and tell nothing of it.
fn derived(master: &hmac::Key, purpose: &str) -> [u8; seal::KEY_BYTES] {
    let mut bytes = [0; seal::KEY_BYTES];
    let tag = hmac::sign(master, purpose.as_bytes());
    bytes.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_in_force_and_the_others_still_open() {
        let (new, old) = ("n".repeat(32), "o".repeat(44));
        let both = Masters::read(format!("{new}\n{old}\n").as_bytes()).unwrap();
        let alone = Masters::read(old.as_bytes()).unwrap();
        let (fingerprint, _) = alone.in_force().unwrap();
        assert!(both.of(fingerprint).is_some());
        assert_ne!(both.in_force().unwrap().0, fingerprint);
        assert!(!format!("{both:?}").contains(&new));
    }

    #[test]
    fn what_can_be_guessed_is_no_master_key() {
        let long = "x".repeat(32);
        let cases: [(&[u8], BadMaster); 3] = [
            (b"secret", BadMaster::Short(1)),
            (&[0xFF; 40], BadMaster::NoText),
            (&[long.as_bytes(), b"\nsecret"].concat(), BadMaster::Short(2)),
        ];
        for (credential, expected) in cases {
            assert_eq!(Masters::read(credential).unwrap_err(), expected);
        }
    }
}
