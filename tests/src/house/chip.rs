//! A PN532 at the end of a cable, that is in a mood now and then.

use super::Cable;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const ACK: [u8; 6] = [0x00, 0x00, 0xFF, 0x00, 0xFF, 0x00];
const NACK: [u8; 6] = [0x00, 0x00, 0xFF, 0xFF, 0x00, 0x00];
/// The command that looks for cards.
const LIST_TARGETS: u8 = 0x4A;
/// How often the chip looks whether it was sent something.
const LOOK: Duration = Duration::from_millis(2);

/// How the chip answers one look for cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Not at all.
    Deaf,
    /// Without the acknowledgement.
    AckLost,
    /// With an acknowledgement and no answer.
    AnswerLost,
    /// With an answer that arrives garbled; when it is asked for it again, rightly.
    Garbled,
    /// That it did not understand.
    Refusing,
}

/// What lies on the chip, and what it will do next.
#[derive(Debug, Default)]
struct Table {
    cards: Vec<Vec<u8>>,
    moods: VecDeque<Mood>,
    looks: u64,
}

/// A chip on a thread of its own.
#[derive(Debug)]
pub struct Chip {
    table: Arc<Mutex<Table>>,
    gone: Arc<AtomicBool>,
    thread: Option<JoinHandle<Cable>>,
}

impl Chip {
    /// Plays a chip at the end of a cable that is plugged in.
    pub fn on(cable: Cable) -> Self {
        let (table, gone) = (Arc::<Mutex<Table>>::default(), Arc::<AtomicBool>::default());
        let part = Part { cable, table: Arc::clone(&table), gone: Arc::clone(&gone), last: vec![] };
        Self { table, gone, thread: Some(std::thread::spawn(|| part.play())) }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on these cards lie on it.
    pub fn lay(&self, uids: &[&[u8]]) {
        self.table().cards = uids.iter().map(|uid| uid.to_vec()).collect();
    }

    /// The next looks for cards are answered so.
    pub fn be(&self, moods: &[Mood]) {
        self.table().moods.extend(moods);
    }

    /// Moods that are still to come.
    pub fn moods_left(&self) -> usize {
        self.table().moods.len()
    }

    /// How often it was asked for cards.
    pub fn looks(&self) -> u64 {
        self.table().looks
    }

    /// The chip is gone; the cable that is left.
    pub fn leave(mut self) -> Cable {
        self.gone.store(true, Ordering::Release);
        self.thread.take().expect("it left once").join().expect("the chip did not break")
    }
}

impl Drop for Chip {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Release);
    }
}

/// What the thread has.
struct Part {
    cable: Cable,
    table: Arc<Mutex<Table>>,
    gone: Arc<AtomicBool>,
    /// The last answer, for whoever asks for it again.
    last: Vec<u8>,
}

impl Part {
    fn play(mut self) -> Cable {
        let mut heard = vec![];
        while !self.gone.load(Ordering::Acquire) {
            heard.extend(self.cable.receive());
            while let Some(said) = next(&mut heard) {
                self.answer(said);
            }
            std::thread::sleep(LOOK);
        }
        self.cable
    }

    fn answer(&mut self, said: Said) {
        match said {
            // The host has what it wants, or wants it no more.
            Said::Ack => {}
            Said::Nack => self.cable.send(&self.last.clone()),
            Said::Command(LIST_TARGETS) => self.list(),
            Said::Command(code) => {
                self.last = frame(&[code + 1]);
                self.cable.send(&[&ACK[..], &self.last].concat());
            }
        }
    }

    fn list(&mut self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.looks += 1;
        let (mood, answer) = (table.moods.pop_front(), answer(&table.cards));
        drop(table);
        self.last = frame(&answer);
        let mut garbled = self.last.clone();
        // Behind the head: the length is right and the sum is not.
        garbled.iter_mut().skip(6).take(1).for_each(|byte| *byte ^= 0x10);
        let sent = match mood {
            None => [&ACK[..], &self.last].concat(),
            Some(Mood::Deaf) => vec![],
            Some(Mood::AckLost) => self.last.clone(),
            Some(Mood::AnswerLost) => ACK.to_vec(),
            Some(Mood::Garbled) => [&ACK[..], &garbled].concat(),
            Some(Mood::Refusing) => NACK.to_vec(),
        };
        self.cable.send(&sent);
    }
}

/// What the host says.
enum Said {
    Ack,
    Nack,
    Command(u8),
}

/// The next frame of the host, if it is whole.
fn next(heard: &mut Vec<u8>) -> Option<Said> {
    let start = heard.windows(2).position(|pair| pair == [0x00, 0xFF])?;
    let (said, taken) = match heard.get(start + 2..)? {
        [0x00, 0xFF, ..] => (Said::Ack, 4),
        [0xFF, 0x00, ..] => (Said::Nack, 4),
        [length, _, 0xD4, code, rest @ ..] if rest.len() + 1 >= usize::from(*length) => {
            (Said::Command(*code), 4 + usize::from(*length) + 1)
        }
        _ => return None,
    };
    heard.drain(..(start + taken).min(heard.len()));
    Some(said)
}

/// The data of an answer to InListPassiveTarget; two cards at most, as the chip does it.
fn answer(cards: &[Vec<u8>]) -> Vec<u8> {
    let shown = cards.iter().take(2).zip(1_u8..);
    let card = |(uid, number): (&Vec<u8>, u8)| {
        let length = u8::try_from(uid.len()).expect("a UID is short");
        [&[number, 0x00, 0x04, 0x08, length], uid.as_slice()].concat()
    };
    let cards: Vec<Vec<u8>> = shown.map(card).collect();
    let count = u8::try_from(cards.len()).expect("two at most");
    [&[LIST_TARGETS + 1, count], cards.concat().as_slice()].concat()
}

fn frame(data: &[u8]) -> Vec<u8> {
    let length = u8::try_from(data.len() + 1).expect("an answer is short");
    let sum = data.iter().fold(0xD5_u8, |sum, byte| sum.wrapping_add(*byte));
    let head = [0x00, 0x00, 0xFF, length, length.wrapping_neg(), 0xD5];
    [&head[..], data, &[sum.wrapping_neg(), 0x00]].concat()
}
