//! Records on disk: a version byte, a postcard body, a CRC. A shipped struct never changes; a new version is added.

use serde::{Serialize, de::DeserializeOwned};

/// The first version of every kind of record; most are still written so.
pub const VERSION: u8 = 1;
/// The version of a journal block that names the one before it.
pub const CHAINED: u8 = 2;
/// The version of a record that is sealed: another one is in it.
pub const SEALED: u8 = 3;
/// The version of a record that is sealed, and was packed before that.
pub const PACKED: u8 = 4;
/// The newest version that this agent knows, of any kind of record.
pub const NEWEST: u8 = PACKED;

/// Why a record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Shorter than a version and a checksum.
    #[error("it is too short")]
    Short,
    /// The checksum is wrong.
    #[error("its checksum is wrong")]
    Checksum,
    /// It was written by a newer agent.
    #[error("its version {0} is unknown")]
    Version(u8),
    /// It is sealed, and does not open: its key is not there.
    #[error("its key is gone")]
    Locked,
    /// The body does not decode, or has more bytes than it needs.
    #[error("its body does not decode")]
    Body,
}

/// A value that cannot be encoded: a defect of the agent, never of its input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a record does not encode: {0}")]
pub struct Unwritable(String);

impl Unwritable {
    /// The same defect in an object for the edges.
    pub fn json(problem: &serde_json::Error) -> Self {
        Self(problem.to_string())
    }
}

/// Encodes a record of the first version.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Unwritable> {
    encode_as(VERSION, value)
}

/// Encodes a record of a version.
pub fn encode_as<T: Serialize>(version: u8, value: &T) -> Result<Vec<u8>, Unwritable> {
    let start = vec![version];
    let mut bytes = postcard::to_extend(value, start).map_err(|e| Unwritable(e.to_string()))?;
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

/// Decodes a record of the first version.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    decode_as(VERSION, bytes)
}

/// Decodes a record of a version.
pub fn decode_as<T: DeserializeOwned>(expected: u8, bytes: &[u8]) -> Result<T, Unreadable> {
    let (content, checksum) = bytes.split_last_chunk::<4>().ok_or(Unreadable::Short)?;
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return Err(Unreadable::Checksum);
    }
    let (version, body) = content.split_first().ok_or(Unreadable::Short)?;
    match *version {
        SEALED | PACKED => return Err(Unreadable::Locked),
        version if version != expected => return Err(Unreadable::Version(version)),
        _ => {}
    }
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(Unreadable::Body),
    }
}

/// The version of a whole record that only a newer agent knows.
pub fn newer_version(bytes: &[u8]) -> Option<u8> {
    let (content, checksum) = bytes.split_last_chunk::<4>()?;
    let version = *content.first().filter(|version| **version > NEWEST)?;
    (crc32fast::hash(content) == u32::from_le_bytes(*checksum)).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_of_tomorrow_is_told_apart_from_a_broken_one() {
        let mut bytes = encode(&7_u32).unwrap();
        bytes[0] = 2;
        assert_eq!(decode::<u32>(&bytes), Err(Unreadable::Checksum));
        let content = bytes.len() - 4;
        let checksum = crc32fast::hash(&bytes[..content]).to_le_bytes();
        bytes[content..].copy_from_slice(&checksum);
        assert_eq!(decode::<u32>(&bytes), Err(Unreadable::Version(2)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in any::<(u64, String, Option<i64>)>()) {
            prop_assert_eq!(decode(&encode(&value).unwrap()), Ok(value));
        }

        #[test]
        fn one_flipped_bit_is_noticed(value in any::<(u64, String)>(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let mut bytes = encode(&value).unwrap();
            let i = at.index(bytes.len());
            bytes[i] ^= 1_u8 << bit;
            prop_assert!(decode::<(u64, String)>(&bytes).is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<(u64, String)>(&bytes).is_ok();
        }
    }
}
