//! Frames between a host and a PN532 (NXP UM0701-02, section 6.2.1): written, and found in whatever comes.
//!
//! ```text
//!  00  00 FF  LEN LCS  TFI PD0 … PDn  DCS  00     LEN + LCS = 0, TFI + … + PDn + DCS = 0 (mod 256)
//!  00  00 FF  FF FF LENm LENl LCS  TFI …          extended, for what is longer than 255
//!  00  00 FF  00 FF  00                           ACK
//!  00  00 FF  FF 00  00                           NACK
//!  00  00 FF  01 FF  7F  81  00                   the chip did not understand
//! ```

/// Of a frame from the host, and of one from the chip.
const TO_CHIP: u8 = 0xD4;
const FROM_CHIP: u8 = 0xD5;
const SYNTAX_ERROR: u8 = 0x7F;
const START: [u8; 2] = [0x00, 0xFF];
/// The most that the chip sends in one frame (section 6.2.1.2): 264 bytes and the TFI.
const MOST: usize = 265;

/// That the last frame came over; in the middle of a command it also ends it.
pub const ACK: [u8; 6] = [0x00, 0x00, 0xFF, 0x00, 0xFF, 0x00];
/// That it did not, and is to be sent again.
pub const NACK: [u8; 6] = [0x00, 0x00, 0xFF, 0xFF, 0x00, 0x00];

/// A command as a frame. None of ours is longer than a few bytes.
pub fn command(data: &[u8]) -> Vec<u8> {
    information(TO_CHIP, data)
}

fn information(sender: u8, data: &[u8]) -> Vec<u8> {
    let length = u8::try_from(data.len() + 1).unwrap_or(u8::MAX);
    let sum = data.iter().fold(sender, |sum, byte| sum.wrapping_add(*byte));
    let head = [0x00, START[0], START[1], length, length.wrapping_neg(), sender];
    [&head[..], data, &[sum.wrapping_neg(), 0x00]].concat()
}

/// Something that the chip sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// It has the command.
    Ack,
    /// It has not. The manual knows no such frame from the chip; it costs nothing to understand it.
    Nack,
    /// It has it and does not understand it.
    SyntaxError,
    /// It answers: code and data.
    Answer(Vec<u8>),
    /// Something that began like a frame and did not come over whole.
    Broken,
}

/// What a buffer begins with.
enum Head {
    /// Too short to say.
    Open,
    /// Of no frame.
    None,
    Short(Frame),
    /// So many bytes of head, then so many of data.
    Long(usize, usize),
}

/// Finds frames in whatever comes.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: Vec<u8>,
}

impl Frames {
    /// Takes what came: the frames that are whole now, and how many bytes belonged to none.
    pub fn on_bytes(&mut self, bytes: &[u8]) -> (Vec<Frame>, u64) {
        self.buffer.extend_from_slice(bytes);
        let (mut frames, mut skipped) = (vec![], 0);
        while let Some(frame) = self.next(&mut skipped) {
            frames.push(frame);
        }
        (frames, skipped)
    }

    /// Forgets a frame that has begun: what comes now belongs to another. Says how much that was.
    pub fn reset(&mut self) -> u64 {
        let left = std::mem::take(&mut self.buffer);
        noise(&left)
    }

    fn next(&mut self, skipped: &mut u64) -> Option<Frame> {
        loop {
            self.seek(skipped);
            match head(&self.buffer) {
                Head::Open => return None,
                Head::None => *skipped += self.take(START.len()),
                Head::Short(frame) => {
                    self.take(4);
                    return Some(frame);
                }
                Head::Long(head, data) => {
                    let whole = self.buffer.get(head..=head + data)?;
                    let (right, said) = (sum(whole) == 0, whole.get(..data).unwrap_or_default().to_vec());
                    if !right {
                        // What is inside may be a frame of its own, whose predecessor lost its end.
                        *skipped += self.take(START.len());
                        return Some(Frame::Broken);
                    }
                    let taken = self.take(head + data + 1);
                    match said.split_first() {
                        Some((&FROM_CHIP, answer)) => return Some(Frame::Answer(answer.to_vec())),
                        Some((&SYNTAX_ERROR, [])) => return Some(Frame::SyntaxError),
                        // Our own words, come back on a line that echoes.
                        Some(_) | None => *skipped += taken,
                    }
                }
            }
        }
    }

    /// Drops what lies before the next start of a frame.
    fn seek(&mut self, skipped: &mut u64) {
        let start = self.buffer.windows(START.len()).position(|pair| pair == START);
        let open = usize::from(self.buffer.last() == Some(&START[0]));
        let before = start.unwrap_or(self.buffer.len() - open);
        *skipped += noise(self.buffer.get(..before).unwrap_or_default());
        self.take(before);
    }

    fn take(&mut self, n: usize) -> u64 {
        self.buffer.drain(..n.min(self.buffer.len())).len() as u64
    }
}

/// Zeros are what frames begin and end with, any number of them.
fn noise(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte != 0).count() as u64
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// What a buffer says that begins with a start code.
fn head(buffer: &[u8]) -> Head {
    match buffer.get(START.len()..).unwrap_or_default() {
        [0x00, 0xFF, ..] => Head::Short(Frame::Ack),
        [0xFF, 0x00, ..] => Head::Short(Frame::Nack),
        [0xFF, 0xFF, high, low, check, ..] if sum(&[*high, *low, *check]) == 0 => {
            long(7, usize::from(u16::from_be_bytes([*high, *low])))
        }
        [0xFF, 0xFF, _, _, _, ..] => Head::None,
        [0xFF, 0xFF, ..] | [] | [_] => Head::Open,
        [length, check, ..] if sum(&[*length, *check]) == 0 => long(4, usize::from(*length)),
        [_, _, ..] => Head::None,
    }
}

const fn long(head: usize, data: usize) -> Head {
    if data == 0 || data > MOST { Head::None } else { Head::Long(head, data) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An answer as the chip sends it.
    pub(in super::super) fn answer(data: &[u8]) -> Vec<u8> {
        information(FROM_CHIP, data)
    }

    fn found(bytes: &[u8]) -> (Vec<Frame>, u64) {
        Frames::default().on_bytes(bytes)
    }

    #[test]
    fn frames_are_those_of_the_manual() {
        // GetFirmwareVersion and its answer, as application notes print them.
        assert_eq!(command(&[0x02]), [0x00, 0x00, 0xFF, 0x02, 0xFE, 0xD4, 0x02, 0x2A, 0x00]);
        let version = [0x00, 0x00, 0xFF, 0x06, 0xFA, 0xD5, 0x03, 0x32, 0x01, 0x06, 0x07, 0xE8, 0x00];
        assert_eq!(found(&version), (vec![Frame::Answer(vec![0x03, 0x32, 0x01, 0x06, 0x07])], 0));
        assert_eq!(found(&ACK), (vec![Frame::Ack], 0));
        assert_eq!(found(&NACK), (vec![Frame::Nack], 0));
        assert_eq!(found(&[0x00, 0x00, 0xFF, 0x01, 0xFF, 0x7F, 0x81, 0x00]), (vec![Frame::SyntaxError], 0));
    }

    #[test]
    fn an_extended_frame_is_read() {
        let data: Vec<u8> = (0..=255).collect();
        let sum = data.iter().fold(FROM_CHIP, |sum: u8, byte| sum.wrapping_add(*byte));
        let head = [0x00, 0x00, 0xFF, 0xFF, 0xFF, 0x01, 0x01, 0xFE, FROM_CHIP];
        let frame = [&head[..], &data, &[sum.wrapping_neg(), 0x00]].concat();
        assert_eq!(found(&frame), (vec![Frame::Answer(data)], 0));
    }

    #[test]
    fn two_frames_in_one_read_and_one_byte_at_a_time_are_the_same() {
        let both = [&ACK[..], &answer(&[0x15])].concat();
        let expected = vec![Frame::Ack, Frame::Answer(vec![0x15])];
        assert_eq!(found(&both).0, expected);
        let mut frames = Frames::default();
        let one_by_one: Vec<Frame> = both.iter().flat_map(|byte| frames.on_bytes(&[*byte]).0).collect();
        assert_eq!(one_by_one, expected);
    }

    #[test]
    fn what_is_broken_is_named_and_the_next_frame_is_read() {
        let good = answer(&[0x15]);
        let mut wrong = answer(&[0x4B, 0x00]);
        wrong[6] ^= 1;
        let cut = &answer(&[0x4B, 0x01, 0x01, 0x00, 0x04])[..8];
        let extended = [0x00, 0x00, 0xFF, 0xFF, 0xFF, 0x01, 0x01, 0xFD, FROM_CHIP];
        for (noise, broken) in [
            (&wrong[..], true),
            (cut, true),
            (&[0x55; 5_000], false),
            (&[0x00, 0xFF, 0x05, 0x05], false),
            (&extended, false),
        ] {
            // Behind a frame that was cut, as many bytes are waited for as it should have had: none of them is lost.
            let (frames, skipped) = found(&[noise, &good, &good].concat());
            assert_eq!(frames.contains(&Frame::Broken), broken, "{noise:?}");
            let whole = frames.iter().filter(|frame| **frame == Frame::Answer(vec![0x15])).count();
            assert!(whole == 2 && skipped > 0, "{noise:?}: {frames:?}");
        }
    }

    #[test]
    fn our_own_echo_is_no_answer() {
        let (frames, skipped) = found(&[command(&[0x4A, 0x02, 0x00]), ACK.to_vec()].concat());
        assert_eq!((frames, skipped), (vec![Frame::Ack], 9));
    }

    proptest! {
        #[test]
        fn any_bytes_are_borne_and_little_is_kept(
            parts in prop::collection::vec(prop::collection::vec(
                prop_oneof![any::<u8>(), Just(0x00), Just(0xFF), Just(0xD5)], 0..600), 0..8),
        ) {
            let mut frames = Frames::default();
            for part in &parts {
                frames.on_bytes(part);
                prop_assert!(frames.buffer.len() <= 7 + MOST);
            }
        }

        #[test]
        fn every_answer_is_found_wherever_it_is_cut(data in prop::collection::vec(any::<u8>(), 0..250), cut in 0_usize..260) {
            let frame = answer(&data);
            let (before, behind) = frame.split_at(cut.min(frame.len()));
            let mut frames = Frames::default();
            let found = [frames.on_bytes(before).0, frames.on_bytes(behind).0].concat();
            prop_assert_eq!(found, vec![Frame::Answer(data)]);
        }
    }
}
