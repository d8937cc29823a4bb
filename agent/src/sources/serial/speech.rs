//! What is spoken on a line: one face for all protocols. Pure: bytes and the time come in, words go out.

use super::lines::Lines;
use super::nmea::{Nmea, Sighting};
use super::pn532::Pn532;
use super::rdm6300::Rdm6300;
use std::time::Duration;
use vigil_config::Protocol;
use vigil_core::id::Tag;

/// Something that a device said.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// A tag is on the reader. Said again as long as it lies there.
    Tag(Tag),
    /// The receiver knows where it is.
    Fix(Sighting),
}

/// What a piece of the line came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Heard {
    /// What was understood, in its order.
    pub said: Vec<Said>,
    /// What is to be written to the port.
    pub answer: Vec<u8>,
    /// Bytes that belonged to nothing: noise, half frames, wrong checksums.
    pub skipped: u64,
    /// The device has proved that it is there and speaks this protocol.
    pub proved: bool,
}

/// A device that should speak says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mute {
    /// No valid sentence comes.
    #[error("no valid NMEA sentence for {} s; look at baud, and at the wire from the receiver's TX", super::nmea::MUTE_AFTER.as_secs())]
    Receiver,
    /// The chip answers no command.
    #[error("the PN532 does not answer; its switches must stand on HSU, and TX and RX be crossed")]
    Chip,
}

/// One protocol, with what was heard of the frame that is coming in.
#[derive(Debug)]
pub enum Speech {
    /// EM4100 readers.
    Rdm6300(Rdm6300),
    /// The chip that has to be asked.
    Pn532(Pn532),
    /// One tag a line.
    Lines(Lines),
    /// Receivers.
    Nmea(Nmea),
}

impl Speech {
    /// On a port that was opened at `now`, and what is to be written first.
    pub fn open(protocol: Protocol, now: Duration) -> (Self, Heard) {
        // A reader that is only listened to says nothing until there is a tag: an open port is all it can show.
        let open = Heard { proved: true, ..Heard::default() };
        match protocol {
            Protocol::Rdm6300 => (Self::Rdm6300(Rdm6300::default()), open),
            Protocol::Lines => (Self::Lines(Lines::default()), open),
            Protocol::Nmea => (Self::Nmea(Nmea::open(now)), Heard::default()),
            Protocol::Pn532 => {
                let (chip, heard) = Pn532::open(now);
                (Self::Pn532(chip), heard)
            }
        }
    }

    /// Takes what came.
    pub fn on_bytes(&mut self, bytes: &[u8], now: Duration) -> Heard {
        match self {
            Self::Rdm6300(reader) => reader.on_bytes(bytes),
            Self::Lines(reader) => reader.on_bytes(bytes),
            Self::Nmea(receiver) => receiver.on_bytes(bytes, now),
            Self::Pn532(chip) => chip.on_bytes(bytes, now),
        }
    }

    /// When [`Speech::on_deadline`] has to be called, whatever comes until then.
    pub fn next_deadline(&self) -> Option<Duration> {
        match self {
            Self::Rdm6300(_) | Self::Lines(_) => None,
            Self::Nmea(receiver) => Some(receiver.next_deadline()),
            Self::Pn532(chip) => Some(chip.next_deadline()),
        }
    }

    /// Time has passed.
    pub fn on_deadline(&mut self, now: Duration) -> Result<Heard, Mute> {
        match self {
            Self::Rdm6300(_) | Self::Lines(_) => Ok(Heard::default()),
            Self::Nmea(receiver) => receiver.on_deadline(now),
            Self::Pn532(chip) => chip.on_deadline(now),
        }
    }
}
