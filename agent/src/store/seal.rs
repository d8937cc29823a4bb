//! A record as it lies on disk: sealed under a key that is destroyed when its time is over, so that whatever copies of
//! it are left on the disk tell nothing any more.
//!
//! `version 3 or 4 | number of the key (4) | nonce (12) | the record, encrypted | tag (16) | CRC-32`. The whole is a record of
//! a version that an older agent does not know, and which it leaves untouched; the CRC tells damage from a key that is
//! gone. The place of a record, its key in the database, is sealed with it: moved elsewhere it does not open.
//!
//! Version 4 is packed with LZ4 before it is sealed, because what is sealed cannot be packed any more: the inputs of a block say
//! nearly the same again and again, and every byte less is one that does not wear out the flash.
//!
//! ChaCha20-Poly1305, because the processors of gateways often have no instructions for AES. Nonces are random: a counter
//! would be used twice when a database is brought back from a copy. A key seals less than 2^30 records
//! (`keyring::MOST_RECORDS`), among which two nonces of 96 bits are alike with a chance of 2^-37.

use super::records::{PACKED, SEALED};
use lz4_flex::block;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::rand::SecureRandom;

/// The bytes of a key.
pub(super) const KEY_BYTES: usize = 32;
const HEAD: usize = 1 + size_of::<u32>() + NONCE_LEN;
const TAG: usize = 16;
const CHECKSUM: usize = 4;
/// A shorter record is not packed: there is hardly anything in it twice, and each attempt takes a table of 8 KiB.
const WORTH_PACKING: usize = 400;
/// Nor is a longer one, and nothing that claims to be longer is unpacked: what a damaged or forged record can make us set
/// aside is bounded. The longest that there are, reports of a thousand guards on their way out, are about as long.
const MOST_UNPACKED: usize = 1 << 20;

/// A key, ready to use.
pub(super) fn key(secret: &[u8; KEY_BYTES]) -> Result<LessSafeKey, Unspecified> {
    UnboundKey::new(&CHACHA20_POLY1305, secret).map(LessSafeKey::new)
}

/// Seals a record for its place, under the key of that number.
pub(super) fn seal(
    (number, key): (u32, &LessSafeKey),
    place: &[u8],
    record: &[u8],
    random: &dyn SecureRandom,
) -> Result<Vec<u8>, Unspecified> {
    let mut nonce = [0; NONCE_LEN];
    random.fill(&mut nonce)?;
    let worth = (WORTH_PACKING..=MOST_UNPACKED).contains(&record.len());
    let packed = worth.then(|| block::compress_prepend_size(record));
    let packed = packed.as_deref().filter(|packed| packed.len() < record.len());
    let (version, record) = packed.map_or((SEALED, record), |packed| (PACKED, packed));
    let mut bytes = Vec::with_capacity(HEAD + record.len() + TAG + CHECKSUM);
    bytes.push(version);
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.extend_from_slice(&nonce);
    bytes.extend_from_slice(record);
    let body = bytes.get_mut(HEAD..).ok_or(Unspecified)?;
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(place), body)?;
    bytes.extend_from_slice(tag.as_ref());
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

/// The number of the key under which a whole record is sealed; `None` of one that is not sealed, or damaged.
pub(super) fn number_of(bytes: &[u8]) -> Option<u32> {
    let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>()?;
    let (version, rest) = content.split_first()?;
    let (number, _) = rest.split_first_chunk().filter(|_| [SEALED, PACKED].contains(version))?;
    let whole = content.len() >= HEAD + TAG && crc32fast::hash(content) == u32::from_le_bytes(*checksum);
    whole.then(|| u32::from_be_bytes(*number))
}

/// The record, if this is the key and the place.
pub(super) fn open(key: &LessSafeKey, place: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    let nonce = bytes.get(HEAD - NONCE_LEN..HEAD)?.try_into().ok()?;
    let mut record = bytes.get(HEAD..bytes.len().checked_sub(CHECKSUM)?)?.to_vec();
    let opened =
        key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut record).ok()?;
    let length = opened.len();
    record.truncate(length);
    if bytes.first() == Some(&PACKED) { unpacked(&record) } else { Some(record) }
}

fn unpacked(packed: &[u8]) -> Option<Vec<u8>> {
    let (size, packed) = block::uncompressed_size(packed).ok().filter(|(size, _)| *size <= MOST_UNPACKED)?;
    block::decompress(packed, size).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::records::{Unreadable, decode, encode, newer_version};
    use proptest::prelude::*;
    use ring::rand::SystemRandom;

    fn sealed(record: &[u8]) -> (LessSafeKey, Vec<u8>) {
        let key = key(&[7; KEY_BYTES]).unwrap();
        let bytes = seal((9, &key), b"place", record, &SystemRandom::new()).unwrap();
        (key, bytes)
    }

    #[test]
    fn a_record_that_is_sealed_is_no_record_until_it_is_opened() {
        let record = encode(&"13.0827").unwrap();
        let (key, bytes) = sealed(&record);
        assert!(!bytes.windows(7).any(|part| part == b"13.0827"));
        assert_eq!((number_of(&bytes), number_of(&record)), (Some(9), None));
        assert_eq!(decode::<String>(&bytes), Err(Unreadable::Locked));
        assert_eq!(newer_version(&bytes), None);
        assert_eq!(open(&key, b"place", &bytes).unwrap(), record);
    }

    #[test]
    fn it_opens_in_its_place_and_under_its_key_only() {
        let (key, bytes) = sealed(b"a record");
        assert_eq!(open(&key, b"elsewhere", &bytes), None);
        let other = super::key(&[8; KEY_BYTES]).unwrap();
        assert_eq!(open(&other, b"place", &bytes), None);
    }

    #[test]
    fn a_record_that_says_the_same_again_and_again_is_packed() {
        let record = b"fix 13.08271 80.27072 acc 12 ".repeat(100);
        let (key, bytes) = sealed(&record);
        assert!(bytes.len() < record.len() / 4, "{} of {}", bytes.len(), record.len());
        assert_eq!((bytes[0], number_of(&bytes)), (PACKED, Some(9)));
        assert_eq!(decode::<String>(&bytes), Err(Unreadable::Locked));
        assert_eq!(open(&key, b"place", &bytes), Some(record));
    }

    #[test]
    fn a_record_that_is_too_long_to_be_unpacked_is_not_packed() {
        for (length, version) in [(MOST_UNPACKED, PACKED), (MOST_UNPACKED + 1, SEALED)] {
            let (key, bytes) = sealed(&vec![7; length]);
            assert_eq!(bytes[0], version);
            assert_eq!(open(&key, b"place", &bytes).map(|record| record.len()), Some(length));
        }
    }

    #[test]
    fn what_says_that_it_is_huge_is_not_unpacked() {
        let mut packed = block::compress_prepend_size(&vec![0; MOST_UNPACKED]);
        assert_eq!(unpacked(&packed).map(|record| record.len()), Some(MOST_UNPACKED));
        packed[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(unpacked(&packed), None);
        assert_eq!((unpacked(&[]), unpacked(&[9, 0, 0, 0, 255])), (None, None));
    }

    #[test]
    fn the_same_record_never_looks_the_same() {
        assert_ne!(sealed(b"a record").1, sealed(b"a record").1);
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened(part in prop::collection::vec(any::<u8>(), 0..300), times in 1_usize..20) {
            let record = part.repeat(times);
            let (key, bytes) = sealed(&record);
            prop_assert!(bytes.len() <= HEAD + record.len() + TAG + CHECKSUM);
            prop_assert_eq!(open(&key, b"place", &bytes), Some(record));
        }

        #[test]
        fn one_flipped_bit_is_damage(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let (key, mut bytes) = sealed(b"a record");
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert_eq!(number_of(&bytes), None);
            let content = bytes.len() - CHECKSUM;
            let checksum = crc32fast::hash(&bytes[..content]).to_le_bytes();
            bytes[content..].copy_from_slice(&checksum);
            // The number of the key only says which key it was; everything else is sealed.
            let in_head = (1..=size_of::<u32>()).contains(&at) || at == 0 || at >= content;
            prop_assert!(in_head || open(&key, b"place", &bytes).is_none());
        }

        #[test]
        fn any_bytes_are_opened_or_handed_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (key, _) = sealed(b"");
            prop_assert_eq!(number_of(&bytes).is_some() && open(&key, b"place", &bytes).is_some(), false);
        }
    }
}
