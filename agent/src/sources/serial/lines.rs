//! Readers that write one tag a line, in whatever spelling and with whatever line end.

use super::speech::{Heard, Said};
use vigil_core::id::Tag;

/// The longest line: twenty bytes in hex with a separator between any two of them are 59 characters.
const LONGEST: usize = 64;
/// The shortest number that names a card, in hex digits: the 24 bits of Wiegand-26. Less is an echo or noise.
const SHORTEST: usize = 6;
/// How the number of an EM4100 card is printed on it: ten decimal digits.
const PRINTED: usize = 10;

/// Reads lines out of whatever comes.
#[derive(Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
    /// This line is too long already: the rest of it is skipped.
    overlong: bool,
}

impl Lines {
    /// Takes what came.
    pub fn on_bytes(&mut self, bytes: &[u8]) -> Heard {
        let mut heard = Heard::default();
        for byte in bytes {
            match byte {
                // CR, LF, both, NUL; and readers that frame their line with STX and ETX are read as well.
                0x00..=0x08 | 0x0A..=0x1F => self.on_end(&mut heard),
                _ if self.overlong => heard.skipped += 1,
                _ if self.line.len() == LONGEST => {
                    heard.skipped += self.line.len() as u64 + 1;
                    self.line.clear();
                    self.overlong = true;
                }
                byte => self.line.push(*byte),
            }
        }
        heard
    }

    fn on_end(&mut self, heard: &mut Heard) {
        let line = std::mem::take(&mut self.line);
        self.overlong = false;
        let text = line.trim_ascii();
        match tag(text) {
            Some(tag) => heard.said.push(Said::Tag(tag)),
            None => heard.skipped += text.len() as u64,
        }
    }
}

/// The tag that a line names: decimal as it is printed on cards, else hex in any spelling.
fn tag(line: &[u8]) -> Option<Tag> {
    let text = std::str::from_utf8(line).ok()?;
    let number = printed(text).or_else(|| facility(text));
    let tag = number.map_or_else(|| Tag::new(text).ok(), |number| Some(Tag::of_number(number.into())));
    tag.filter(|tag| tag.as_str().len() >= SHORTEST)
}

/// `0008844356`: the low 32 bits of an EM4100 card in decimal.
fn printed(text: &str) -> Option<u32> {
    let decimal = text.len() == PRINTED && text.bytes().all(|b| b.is_ascii_digit());
    decimal.then(|| text.parse().ok()).flatten()
}

/// `134,62532`: facility and number of a Wiegand-26 card, 8 and 16 bits.
fn facility(text: &str) -> Option<u32> {
    let (facility, number) = text.split_once(',')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let both = digits(facility) && digits(number);
    let (facility, number) = (facility.parse::<u8>().ok()?, number.parse::<u16>().ok()?);
    both.then(|| u32::from(facility) << 16 | u32::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8]) -> (Vec<String>, u64) {
        let heard = Lines::default().on_bytes(text);
        let tags = heard.said.into_iter().filter_map(|said| match said {
            Said::Tag(tag) => Some(tag.to_string()),
            Said::Fix(_) => None,
        });
        (tags.collect(), heard.skipped)
    }

    #[test]
    fn any_line_end_ends_a_line() {
        for line in ["04A1B2C3\r\n", "04A1B2C3\n", "04A1B2C3\r", "\x0204A1B2C3\x03", "  04:a1:b2:c3 \r\n\r\n"]
        {
            assert_eq!(read(line.as_bytes()), (vec!["04A1B2C3".to_owned()], 0), "{line:?}");
        }
        assert_eq!(read(b"04A1B2C3"), (vec![], 0), "the line goes on");
        assert_eq!(read(b"04A1B2C3\n0102030405060708090A\n").0, ["04A1B2C3", "0102030405060708090A"]);
    }

    #[test]
    fn ten_decimal_digits_are_the_number_on_the_card() {
        assert_eq!(read(b"0008844356\n").0, [Tag::of_number(8_844_356).as_str()], "as in the site file");
        assert_eq!(read(b"0008844356\n").0, ["86F444"]);
        assert_eq!(read(b"134,62532\n").0, ["86F444"], "the same card, as facility and number");
        assert_eq!(read(b"4294967295\n").0, ["FFFFFFFF"]);
        assert_eq!(
            read(b"4294967296\n").0,
            [Tag::new("4294967296").unwrap().as_str()],
            "no number of 32 bits: hex"
        );
        assert_eq!(read(b"12345678\n").0, ["12345678"], "eight digits are four bytes in hex");
        assert_eq!(read(b"256,1\n300,99999\n+1,2\n1,+2\n"), (vec![], 5 + 9 + 4 + 4));
    }

    #[test]
    fn what_is_no_tag_is_skipped_and_the_next_line_is_read() {
        let overlong = [&[b'A'; 5_000][..], b"\n04A1B2C3\n"].concat();
        assert_eq!(read(&overlong), (vec!["04A1B2C3".to_owned()], 5_000));
        assert_eq!(read(b"READY\r\n04\r\n\xFF\xFE\r\n04A1B2C3\r\n"), (vec!["04A1B2C3".to_owned()], 9));
    }

    proptest! {
        #[test]
        fn the_cut_between_two_reads_changes_nothing(
            line in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'4'), Just(b'A')], 0..300),
            cut in 0_usize..300,
        ) {
            let whole = Lines::default().on_bytes(&line);
            let (before, behind) = line.split_at(cut.min(line.len()));
            let mut reader = Lines::default();
            let (first, second) = (reader.on_bytes(before), reader.on_bytes(behind));
            prop_assert_eq!(whole.said, [first.said, second.said].concat());
            prop_assert_eq!(whole.skipped, first.skipped + second.skipped);
            prop_assert!(reader.line.len() <= LONGEST);
        }

        #[test]
        fn a_line_is_read_behind_any_noise(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            let line = [&noise[..], b"\r\n04A1B2C3\r\n"].concat();
            let heard = Lines::default().on_bytes(&line);
            prop_assert_eq!(heard.said.last(), Some(&Said::Tag(Tag::new("04A1B2C3").unwrap())));
        }
    }
}
