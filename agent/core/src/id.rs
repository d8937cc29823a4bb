//! Names of things. An id that exists is valid: 1-64 characters of `A-Z a-z 0-9 . _ -`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The longest id, in characters (contract: 64 keeps topics and keys short).
pub const MAX_ID_CHARS: usize = 64;

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not an id: 1 to 64 characters of A-Z a-z 0-9 . _ - are allowed")]
pub struct InvalidId {
    /// The text as it was found, cut to 80 characters.
    pub found: String,
}

/// What an id may be, for documents about interfaces.
#[cfg(feature = "schema")]
const PATTERN: &str = "^[A-Za-z0-9._-]{1,64}$";

fn check(text: &str) -> Result<(), InvalidId> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if (1..=MAX_ID_CHARS).contains(&text.len()) && text.bytes().all(legal) {
        return Ok(());
    }
    Err(InvalidId { found: text.chars().take(80).collect() })
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[cfg_attr(feature = "schema", schemars(with = "String", extend("pattern" = PATTERN)))]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and makes an id of it.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                check(text).map(|()| Self(text.into()))
            }
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(&text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

impl CommandId {
    /// A word with a number, which together are always an id.
    pub fn numbered(word: &'static str, number: u64) -> Self {
        Self(format!("{word}-{number}").into())
    }
}

ids! {
    /// A customer of the guarding company's NOC.
    TenantId,
    /// A client of the tenant: whose site it is.
    ClientId,
    /// A guarded site.
    SiteId,
    /// The box on which the agent runs.
    GatewayId,
    /// A person on guard.
    GuardId,
    /// One command of the operations centre, or of a person on site.
    CommandId,
    /// A handset, a fixed reader, a GPS receiver or a button.
    DeviceId,
    /// A place to visit.
    CheckpointId,
    /// The definition of a patrol.
    TourId,
    /// A rostered interval.
    ShiftId,
    /// A piece of work with a deadline.
    TaskId,
    /// A person at the operations centre, or a program that has a token there.
    OperatorId,
}

/// A card or tag in its normal form: upper-case hex digits in whole bytes, without separators.
///
/// One card is spelled `04A1B2C3`, `04:a1:b2:c3`, `04-A1-B2-C3`, `0x4A1B2C3` or, by its number, 77,705,923 by different
/// readers; all are one tag. An EM4100 card has five bytes of which the first is its version: some readers leave it out,
/// so the other four are its name. No other card has five.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(Arc<str>);

/// A text that names no tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a tag: 2 to 40 hex digits are allowed, in any case, with : - . or spaces between")]
pub struct InvalidTag {
    /// The text as it was found, cut to 80 characters.
    pub found: String,
}

/// Hex digits of an EM4100 card with the byte of its version, and without.
const EM4100_DIGITS: (usize, usize) = (10, 8);
/// Hex digits of what a Wiegand-26 reader passes on: 24 bits beside two of parity.
const WIEGAND_26_DIGITS: usize = 6;

impl Tag {
    /// Reads a tag in any spelling.
    pub fn new(text: &str) -> Result<Self, InvalidTag> {
        let invalid = || InvalidTag { found: text.chars().take(80).collect() };
        let bare = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        let mut digits = String::with_capacity(bare.len().min(40));
        for c in bare.chars() {
            match c {
                ':' | '-' | '.' | ' ' => {}
                c if c.is_ascii_hexdigit() && digits.len() < 40 => digits.push(c.to_ascii_uppercase()),
                _ => return Err(invalid()),
            }
        }
        if digits.len() < 2 {
            return Err(invalid());
        }
        if digits.len() % 2 == 1 {
            // Printed as a number, it lost the zero at its head.
            digits.insert(0, '0');
        }
        let (whole, named) = EM4100_DIGITS;
        if digits.len() == whole {
            digits.drain(..whole - named);
        }
        Ok(Self(digits.into()))
    }

    /// The tag with this number, as Wiegand readers and the print on a card have it: in 24 bits if it fits.
    pub fn of_number(number: u64) -> Self {
        let digits = match number {
            0..=0xFF_FFFF => format!("{number:06X}"),
            // The byte above 32 bits is the version, or a bit of parity.
            _ => format!("{:08X}", number & 0xFFFF_FFFF),
        };
        Self(digits.into())
    }

    /// Whether this is what a reader of 24 bits makes of `whole`, a card of 32.
    pub fn is_cut_of(&self, whole: &Self) -> bool {
        self.0.len() == WIEGAND_26_DIGITS && whole.0.len() == EM4100_DIGITS.1 && whole.0.ends_with(&*self.0)
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Tag {
    type Error = InvalidTag;
    fn try_from(text: String) -> Result<Self, InvalidTag> {
        Self::new(&text)
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> String {
        tag.0.as_ref().to_owned()
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_hold_the_contract() {
        for good in ["G-7", "hs_1.a", &"x".repeat(64)] {
            assert!(GuardId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a/b", "a b", "+", "#", "é", &"x".repeat(65)] {
            assert!(GuardId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_card_has_one_normal_form() {
        let plain = Tag::new("04A1B2C3").unwrap();
        for spelling in ["04:a1:b2:c3", "04-A1-B2-C3", "04 a1 b2 c3", "04a1b2c3"] {
            assert_eq!(Tag::new(spelling).unwrap(), plain);
        }
        for bad in ["", "4", "zz", "04A1B2C3x", &"0".repeat(41)] {
            assert!(Tag::new(bad).is_err(), "{bad}");
        }
        assert_eq!(Tag::of_number(77_705_923), plain);
        for spelling in ["0x4A1B2C3", "4a1b2c3", "1404A1B2C3", "14:04:A1:B2:C3"] {
            assert_eq!(Tag::new(spelling).unwrap(), plain, "{spelling}");
        }
        assert_eq!(Tag::of_number(7_748_328).as_str(), "763AE8");
        assert_eq!(Tag::of_number(1_234).as_str(), "0004D2", "24 bits, whatever they are");
        assert_eq!(Tag::of_number(4_302_741_608), Tag::new("0076A068").unwrap());
        let seven_bytes = Tag::new("04DE5F1EACC040").unwrap();
        assert_eq!(seven_bytes.as_str(), "04DE5F1EACC040");
    }

    #[test]
    fn a_normal_form_stays_as_it_is() {
        for spelling in ["abc", "1404A1B2C3", "0x12", "04:DE:5F:1E:AC:C0:40"] {
            let tag = Tag::new(spelling).unwrap();
            assert_eq!(Tag::new(tag.as_str()).unwrap(), tag, "{spelling}");
        }
    }
}
