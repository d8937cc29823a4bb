//! A PN532 on its high-speed UART: woken, configured, and asked again and again what lies on it (NXP UM0701-02).
//!
//! ```text
//!  wake up, SAMConfiguration ─► RFConfiguration: retries ─► InListPassiveTarget ─► field off ─► rest ─┐
//!        ▲                                                        ▲                                   │
//!        └── a command failed three times                         └───────────────────────────────────┘
//! ```
//!
//! Each command is acknowledged and then answered. A command without an acknowledgement is sent again; an answer that came
//! without one counts all the same; an answer that is broken is asked for again with a NACK. The field goes off after
//! each look, so that tags forget that they were seen and answer the next one.

pub mod frame;

use super::speech::{Heard, Mute, Said};
use frame::{ACK, Frame, Frames, NACK, command};
use std::time::Duration;
use vigil_core::id::Tag;

/// The chip acknowledges within milliseconds; a USB adapter hands over what it has every 16 ms, a busy box later.
const ACK_WITHIN: Duration = Duration::from_millis(200);
/// The slowest answer is that of a look with two cards that take their time: a tenth of a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Between two looks: a card is held to a reader for half a second at least.
const REST: Duration = Duration::from_millis(200);
/// How often one command is sent. A line that garbles three in a row is no line.
const TRIES: u8 = 3;
/// How often the chip is woken anew before it counts as mute: once for a chip that lost its power, and once more.
const WAKES: u8 = 3;

/// The edges of two bytes wake the chip, and its oscillator needs the time of the zeros (libnfc sends the same).
const WAKE_UP: [u8; 16] = [0x55, 0x55, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Normal mode: no security module behind the chip. Timeout and interrupt pin are of other modes.
const SAM_CONFIGURATION: [u8; 4] = [0x14, 0x01, 0x00, 0x00];
/// By default the chip waits for ever for a card, and cannot be told apart from one that is dead: one retry.
const FEW_RETRIES: [u8; 5] = [0x32, 0x05, 0xFF, 0x01, 0x01];
/// Up to two cards, which is the most that it can, of type A at 106 kbit/s.
const LIST_TARGETS: [u8; 3] = [0x4A, 0x02, 0x00];
const FIELD_OFF: [u8; 3] = [0x32, 0x01, 0x00];

/// In SEL_RES: the card speaks ISO 14443-4, and its ATS follows its UID.
const HAS_ATS: u8 = 0x20;
/// A UID of four bytes that begins so is made up by a phone at every look (ISO 14443-3): it names nothing.
const RANDOM: u8 = 0x08;

/// The command that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Wake,
    Retries,
    List,
    FieldOff,
}

impl Step {
    const fn command(self) -> &'static [u8] {
        match self {
            Self::Wake => &SAM_CONFIGURATION,
            Self::Retries => &FEW_RETRIES,
            Self::List => &LIST_TARGETS,
            Self::FieldOff => &FIELD_OFF,
        }
    }

    /// What the answer to it begins with: its code and one.
    fn answer(self) -> Option<u8> {
        self.command().first().map(|code| code + 1)
    }

    fn bytes(self) -> Vec<u8> {
        let wake_up: &[u8] = if self == Self::Wake { &WAKE_UP } else { &[] };
        [wake_up, &command(self.command())].concat()
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    Ack,
    Answer,
    /// The next look.
    Rest,
}

/// One conversation with the chip.
#[derive(Debug)]
pub struct Pn532 {
    frames: Frames,
    step: Step,
    wait: Wait,
    /// Until when it is waited.
    due: Duration,
    /// How often this command was sent, or its answer asked for again.
    tries: u8,
    /// How often the chip was woken since it last told what lies on it.
    wakes: u8,
}

impl Pn532 {
    /// Wakes the chip.
    pub fn open(now: Duration) -> (Self, Heard) {
        let mut chip = Self {
            frames: Frames::default(),
            step: Step::Wake,
            wait: Wait::Ack,
            due: now,
            tries: 0,
            wakes: 1,
        };
        let mut heard = Heard::default();
        chip.send(Step::Wake, now, &mut heard);
        (chip, heard)
    }

    /// Takes what came.
    pub fn on_bytes(&mut self, bytes: &[u8], now: Duration) -> Heard {
        let (frames, skipped) = self.frames.on_bytes(bytes);
        let mut heard = Heard { skipped, ..Heard::default() };
        for frame in frames {
            self.on_frame(frame, now, &mut heard);
        }
        heard
    }

    /// When [`Pn532::on_deadline`] has to be called.
    pub const fn next_deadline(&self) -> Duration {
        self.due
    }

    /// Time has passed.
    pub fn on_deadline(&mut self, now: Duration) -> Result<Heard, Mute> {
        let mut heard = Heard::default();
        if now < self.due {
            return Ok(heard);
        }
        match self.wait {
            Wait::Rest => self.send(Step::List, now, &mut heard),
            Wait::Ack | Wait::Answer if self.wakes >= WAKES && self.tries >= TRIES => return Err(Mute::Chip),
            Wait::Ack | Wait::Answer => self.again(now, &mut heard),
        }
        Ok(heard)
    }

    fn on_frame(&mut self, frame: Frame, now: Duration, heard: &mut Heard) {
        match (frame, self.wait) {
            (Frame::Ack, Wait::Ack) => (self.wait, self.due) = (Wait::Answer, now + ANSWER_WITHIN),
            (Frame::Answer(data), Wait::Ack | Wait::Answer) => match data.split_first() {
                Some((code, data)) if Some(*code) == self.step.answer() => self.on_answer(data, now, heard),
                // The late answer to a command that was given up.
                Some(_) | None => {}
            },
            (Frame::Broken, Wait::Answer) if self.tries < TRIES => {
                self.tries += 1;
                self.due = now + ANSWER_WITHIN;
                heard.answer.extend(NACK);
            }
            // It is at the end of its tries only when the time is over: then the chip is woken.
            (Frame::Nack | Frame::SyntaxError, Wait::Ack | Wait::Answer) if self.tries < TRIES => {
                self.again(now, heard);
            }
            (Frame::Nack | Frame::SyntaxError | Frame::Broken | Frame::Ack | Frame::Answer(_), _) => {}
        }
    }

    fn on_answer(&mut self, data: &[u8], now: Duration, heard: &mut Heard) {
        heard.proved = true;
        self.tries = 0;
        match self.step {
            Step::Wake => self.send(Step::Retries, now, heard),
            Step::Retries => self.send(Step::List, now, heard),
            Step::List => {
                self.wakes = 0;
                match targets(data) {
                    Some(tags) => heard.said.extend(tags.into_iter().map(Said::Tag)),
                    None => heard.skipped += data.len() as u64,
                }
                self.send(Step::FieldOff, now, heard);
            }
            Step::FieldOff => (self.wait, self.due) = (Wait::Rest, now + REST),
        }
    }

    /// Begins a command.
    fn send(&mut self, step: Step, now: Duration, heard: &mut Heard) {
        (self.step, self.wait, self.due, self.tries) = (step, Wait::Ack, now + ACK_WITHIN, 1);
        heard.answer.extend(step.bytes());
    }

    /// Sends the command again; after too many times the chip is woken anew.
    fn again(&mut self, now: Duration, heard: &mut Heard) {
        heard.skipped += self.frames.reset();
        if self.tries >= TRIES {
            self.wakes += 1;
            self.send(Step::Wake, now, heard);
            return;
        }
        // An ACK of the host ends what the chip may be at.
        heard.answer.extend(ACK);
        let tries = self.tries + 1;
        self.send(self.step, now, heard);
        self.tries = tries;
    }
}

/// The tags of an answer to InListPassiveTarget (section 7.3.5); nothing if it is not put together as it should be.
fn targets(data: &[u8]) -> Option<Vec<Tag>> {
    let (count, mut rest) = data.split_first()?;
    let mut tags = vec![];
    for _ in 0..*count {
        let (uid, behind) = target(rest)?;
        rest = behind;
        if uid.len() != 4 || uid.first() != Some(&RANDOM) {
            tags.push(Tag::new(&uid.iter().map(|byte| format!("{byte:02X}")).collect::<String>()).ok()?);
        }
    }
    Some(tags)
}

/// One target: number, SENS_RES, SEL_RES, the UID with its length, and perhaps an ATS with its own.
fn target(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let [_number, _, _, select, length, rest @ ..] = data else { return None };
    let (uid, rest) = rest.split_at_checked(usize::from(*length))?;
    let ats = match rest.first() {
        Some(length) if select & HAS_ATS != 0 => usize::from(*length),
        Some(_) | None => 0,
    };
    matches!(uid.len(), 4 | 7 | 10).then_some((uid, rest.get(ats..)?))
}

#[cfg(test)]
mod tests;
