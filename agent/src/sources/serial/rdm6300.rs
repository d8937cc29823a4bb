//! Frames of the RDM6300 and its kin: 125 kHz readers of EM4100 cards that send what they see, again and again.
//!
//! ```text
//!  STX  1 0 0 0 8 6 F 4 4 4  2 6  ETX      02, ten digits of the card, two of the checksum, 03
//!       └ version ┘└ number     └ XOR of the five bytes before
//! ```

use super::speech::{Heard, Said};
use vigil_core::id::Tag;

const STX: u8 = 0x02;
const ETX: u8 = 0x03;
/// The digits of the card.
const CARD: usize = 10;
/// With those of the checksum.
const DIGITS: usize = CARD + 2;

/// Reads frames out of whatever comes.
#[derive(Debug, Default)]
pub struct Rdm6300 {
    /// The digits since the last STX; none outside of a frame.
    digits: Option<Vec<u8>>,
}

impl Rdm6300 {
    /// Takes what came.
    pub fn on_bytes(&mut self, bytes: &[u8]) -> Heard {
        let mut heard = Heard::default();
        for byte in bytes {
            self.on_byte(*byte, &mut heard);
        }
        heard
    }

    fn on_byte(&mut self, byte: u8, heard: &mut Heard) {
        match (self.digits.take(), byte) {
            (broken, STX) => {
                heard.skipped += broken.map_or(0, |digits| span(&digits));
                self.digits = Some(Vec::with_capacity(DIGITS));
            }
            (None, _) => heard.skipped += 1,
            (Some(digits), ETX) => match card(&digits) {
                Some(tag) => heard.said.push(Said::Tag(tag)),
                None => heard.skipped += span(&digits) + 1,
            },
            (Some(mut digits), digit) if digit.is_ascii_hexdigit() && digits.len() < DIGITS => {
                digits.push(digit);
                self.digits = Some(digits);
            }
            (Some(digits), _) => heard.skipped += span(&digits) + 1,
        }
    }
}

/// How many bytes an unfinished frame has taken: its STX and its digits.
fn span(digits: &[u8]) -> u64 {
    digits.len() as u64 + 1
}

/// The card, with its version byte, if the frame is whole and its checksum right.
fn card(digits: &[u8]) -> Option<Tag> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.len() == DIGITS)?;
    let bytes = (0..DIGITS).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok());
    let sum = bytes.collect::<Option<Vec<u8>>>()?.into_iter().fold(0, |sum, byte| sum ^ byte);
    (sum == 0).then(|| Tag::new(text.get(..CARD)?).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example that a user of the reader took apart: the fob says 0008844356, which is 0086F444.
    const FOB: &[u8] = b"\x02100086F44426\x03";

    fn frame(card: [u8; 5]) -> Vec<u8> {
        let sum = card.iter().fold(0, |sum, byte| sum ^ byte);
        let digits: String = card.iter().chain([&sum]).map(|byte| format!("{byte:02X}")).collect();
        [&[STX], digits.as_bytes(), &[ETX]].concat()
    }

    /// The card that is spelled so, in its normal form.
    fn name(card: &str) -> String {
        Tag::new(card).unwrap().to_string()
    }

    fn read(parts: &[&[u8]]) -> (Vec<String>, u64) {
        let mut reader = Rdm6300::default();
        let (mut tags, mut skipped) = (vec![], 0);
        for part in parts {
            let heard = reader.on_bytes(part);
            skipped += heard.skipped;
            tags.extend(heard.said.into_iter().filter_map(|said| match said {
                Said::Tag(tag) => Some(tag.to_string()),
                Said::Fix(_) => None,
            }));
        }
        (tags, skipped)
    }

    #[test]
    fn a_frame_is_a_card_with_its_version_byte() {
        assert_eq!(read(&[FOB]), (vec![name("100086F444")], 0));
        assert_eq!(frame([0x10, 0x00, 0x86, 0xF4, 0x44]), FOB);
    }

    #[test]
    fn two_frames_in_one_read_and_one_byte_at_a_time_are_the_same() {
        let two = [FOB, &frame([1, 2, 3, 4, 5])].concat();
        let cards = vec![name("100086F444"), name("0102030405")];
        assert_eq!(read(&[&two]), (cards.clone(), 0));
        let bytes: Vec<&[u8]> = two.chunks(1).collect();
        assert_eq!(read(&bytes), (cards, 0));
    }

    #[test]
    fn what_is_no_frame_is_skipped_and_the_next_one_is_read() {
        for (noise, skipped) in [
            (&b"\x02100086F44427\x03"[..], 14), // a wrong checksum
            (b"\x02100086", 7),                 // a half frame
            (b"\x02100086F4442", 12),           // one that lost a byte
            (b"\x02100086F444266\x03", 15),     // one that has too many
            (b"\x02\x03", 2),
            (b"\x02XYZ", 4),
            (b"100086F44426\x03", 13), // one whose start was missed
            (&[0xFF; 5_000], 5_000),
        ] {
            let both = [noise, FOB].concat();
            assert_eq!(read(&[&both]), (vec![name("100086F444")], skipped), "{noise:?}");
        }
    }

    proptest! {
        #[test]
        fn every_byte_is_read_skipped_or_waited_for(
            parts in prop::collection::vec(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..20),
                prop::collection::vec(prop_oneof![Just(STX), Just(ETX), Just(b'A'), Just(b'0')], 0..20),
                any::<[u8; 5]>().prop_map(frame),
            ], 0..20),
        ) {
            let mut reader = Rdm6300::default();
            let (mut frames, mut skipped) = (0, 0);
            for part in &parts {
                let heard = reader.on_bytes(part);
                frames += heard.said.len();
                skipped += heard.skipped;
            }
            let waited = reader.digits.as_deref().map_or(0, span);
            let total: usize = parts.iter().map(Vec::len).sum();
            prop_assert_eq!(total as u64, frames as u64 * 14 + skipped + waited);
            prop_assert!(waited <= 13);
        }

        #[test]
        fn a_whole_frame_is_read_behind_any_noise(
            noise in prop::collection::vec(any::<u8>(), 0..40), card in any::<[u8; 5]>(), cut in 0_usize..14,
        ) {
            let line = [noise, frame(card)].concat();
            let (before, behind) = line.split_at(line.len() - cut);
            let expected: String = card.iter().map(|byte| format!("{byte:02X}")).collect();
            let (cards, _) = read(&[before, behind]);
            prop_assert_eq!(cards.last(), Some(&name(&expected)));
        }
    }
}
