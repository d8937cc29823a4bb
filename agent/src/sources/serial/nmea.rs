//! GPS receivers: sentences of NMEA 0183 with their checksum, put together to one fix for each instant.
//!
//! ```text
//!  $GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,…*76    position, kind of fix, HDOP
//!  $GPRMC,092750.000,A,5321.6802,N,00630.3372,W,…*43           void or not, speed, course, date
//!  $GPGST,092750.000,…,3.1,2.4,5.0*hh                          standard deviations in metres
//! ```
//!
//! The sentences of one instant come in any order and belong together by their time; the fix is told when another
//! instant begins. What a field means is left to the crate `nmea`; where a sentence begins and ends, and whether it
//! came over whole, is decided here.

pub mod time;

use super::speech::{Heard, Mute, Said};
use nmea::ParseResult;
use nmea::sentences::rmc::{RmcData, RmcStatusOfFix};
use nmea::sentences::{FaaMode, FixType, GgaData, GstData};
use std::time::Duration;
use time::FixTime;
use vigil_core::observation::{Fix, Provider};

/// The longest sentence: the standard says 82 characters, receivers send up to 102 (gpsd has met one of them).
const LONGEST: usize = nmea::SENTENCE_MAX_LEN;
/// How often a fix is told: movement is judged by the best fix of each minute, and six are enough to choose from. A
/// receiver sends one to ten a second, which would fill the store with nothing new.
const FIX_EVERY: Duration = Duration::from_secs(10);
/// A receiver speaks at least once a second, with satellites or without. One that says nothing valid for so long has the
/// wrong speed, a broken wire, or no power.
pub(super) const MUTE_AFTER: Duration = Duration::from_secs(30);
/// The error of one range, 68 %: gpsd reckons with 15 m, and 3.75 m with corrections, at 95 %, which is twice that.
const RANGE_ERROR_M: f32 = 7.5;
const CORRECTED_RANGE_ERROR_M: f32 = 1.875;
const MPS_PER_KNOT: f32 = 1_852.0 / 3_600.0;
/// The fastest that can be meant, in m/s, as in the messages of devices.
const MAX_SPEED_MPS: f32 = 500.0;

/// A fix, before anybody has said what time it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// Where, and how well that is known.
    pub fix: Fix,
    /// When, by the satellites.
    pub time: FixTime,
    /// When its first sentence came.
    pub came: Duration,
}

/// Reads sentences out of whatever comes.
#[derive(Debug)]
pub struct Nmea {
    /// What came since the last `$`; nothing outside of a sentence.
    sentence: Option<Vec<u8>>,
    epoch: Option<Epoch>,
    next_fix_at: Duration,
    valid_at: Duration,
}

impl Nmea {
    /// Listens from `now` on.
    pub fn open(now: Duration) -> Self {
        Self { sentence: None, epoch: None, next_fix_at: now, valid_at: now }
    }

    /// Takes what came.
    pub fn on_bytes(&mut self, bytes: &[u8], now: Duration) -> Heard {
        let mut heard = Heard::default();
        for byte in bytes {
            self.on_byte(*byte, now, &mut heard);
        }
        heard
    }

    fn on_byte(&mut self, byte: u8, now: Duration, heard: &mut Heard) {
        match (self.sentence.take(), byte) {
            (broken, b'$') => {
                heard.skipped += broken.map_or(0, |sentence| sentence.len() as u64);
                self.sentence = Some(vec![b'$']);
            }
            (None, b'\r' | b'\n') => {}
            (None, _) => heard.skipped += 1,
            (Some(sentence), b'\r' | b'\n') => self.on_sentence(&sentence, now, heard),
            (Some(sentence), _) if sentence.len() == LONGEST => heard.skipped += sentence.len() as u64 + 1,
            (Some(mut sentence), byte) => {
                sentence.push(byte);
                self.sentence = Some(sentence);
            }
        }
    }

    fn on_sentence(&mut self, sentence: &[u8], now: Duration, heard: &mut Heard) {
        let Some(text) = whole(sentence) else {
            heard.skipped += sentence.len() as u64;
            return;
        };
        self.valid_at = now;
        heard.proved = true;
        // Of any talker; what else a receiver says is none of ours.
        let said = match text.get(3..6) {
            Some("GGA" | "RMC" | "GST") => nmea::parse_str(text),
            Some(_) | None => return,
        };
        match said {
            Ok(said) => self.on_said(&said, now, heard),
            Err(_) => heard.skipped += sentence.len() as u64,
        }
    }

    fn on_said(&mut self, said: &ParseResult, now: Duration, heard: &mut Heard) {
        if let ParseResult::GGA(gga) = said {
            self.add(gga.fix_time, now, heard, |epoch| epoch.on_gga(gga));
        } else if let ParseResult::RMC(rmc) = said {
            self.add(rmc.fix_time, now, heard, |epoch| epoch.on_rmc(rmc));
        } else if let ParseResult::GST(gst) = said {
            self.add(gst.time, now, heard, |epoch| epoch.on_gst(gst));
        }
    }

    /// Adds what a sentence says to its instant; one of another instant ends the one before. A receiver that has not found
    /// the time yet knows no place either.
    fn add(
        &mut self,
        at: Option<chrono::NaiveTime>,
        now: Duration,
        heard: &mut Heard,
        say: impl FnOnce(&mut Epoch),
    ) {
        let Some(at) = at.map(time::millis_of_day) else { return };
        if self.epoch.as_ref().is_some_and(|epoch| epoch.time.ms_of_day != at) {
            heard.said.extend(self.settle().map(Said::Fix));
        }
        say(self.epoch.get_or_insert_with(|| Epoch::new(at, now)));
    }

    /// What the instant that is over comes to, if a fix is due.
    fn settle(&mut self) -> Option<Sighting> {
        let epoch = self.epoch.take().filter(|epoch| epoch.came >= self.next_fix_at)?;
        let sighting = epoch.sighting()?;
        self.next_fix_at = sighting.came + FIX_EVERY;
        Some(sighting)
    }

    /// When it has been mute for too long.
    pub fn next_deadline(&self) -> Duration {
        self.valid_at + MUTE_AFTER
    }

    /// Time has passed.
    pub fn on_deadline(&self, now: Duration) -> Result<Heard, Mute> {
        if now < self.next_deadline() { Ok(Heard::default()) } else { Err(Mute::Receiver) }
    }
}

/// The sentence, if its checksum is there and right.
fn whole(sentence: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(sentence.trim_ascii_end()).ok().filter(|text| text.is_ascii())?;
    let (body, sum) = text.strip_prefix('$')?.split_once('*')?;
    let hex = sum.len() == 2 && sum.bytes().all(|b| b.is_ascii_hexdigit());
    let right = u8::from_str_radix(sum, 16).ok()? == body.bytes().fold(0, |sum, byte| sum ^ byte);
    (hex && right).then_some(text)
}

/// What the sentences of one instant say.
#[derive(Debug)]
struct Epoch {
    time: FixTime,
    came: Duration,
    place: Option<(f64, f64)>,
    /// The receiver says of itself that it does not know.
    void: bool,
    corrected: bool,
    /// Dead reckoning: where it would be if it had gone on like that.
    reckoned: bool,
    /// Typed in, or of a simulator.
    made_up: bool,
    hdop: Option<f32>,
    deviation_m: Option<f32>,
    speed_mps: Option<f32>,
    heading_deg: Option<f32>,
}

impl Epoch {
    const fn new(ms_of_day: i64, came: Duration) -> Self {
        Self {
            time: FixTime { date: None, ms_of_day },
            came,
            place: None,
            void: false,
            corrected: false,
            reckoned: false,
            made_up: false,
            hdop: None,
            deviation_m: None,
            speed_mps: None,
            heading_deg: None,
        }
    }

    fn on_gga(&mut self, gga: &GgaData) {
        // With three more digits than RMC in some receivers, so it goes before.
        self.place = gga.latitude.zip(gga.longitude).or(self.place);
        self.hdop = gga.hdop;
        match gga.fix_type.unwrap_or(FixType::Invalid) {
            FixType::Invalid => self.void = true,
            FixType::Gps => {}
            FixType::DGps | FixType::Pps | FixType::Rtk | FixType::FloatRtk => self.corrected = true,
            FixType::Estimated => self.reckoned = true,
            FixType::Manual | FixType::Simulation => self.made_up = true,
        }
    }

    fn on_rmc(&mut self, rmc: &RmcData) {
        self.place = self.place.or_else(|| rmc.lat.zip(rmc.lon));
        self.time.date = rmc.fix_date;
        self.void |= rmc.status_of_fix == RmcStatusOfFix::Invalid;
        match rmc.faa_mode {
            Some(FaaMode::DataNotValid) => self.void = true,
            Some(FaaMode::Estimated) => self.reckoned = true,
            Some(FaaMode::Manual | FaaMode::Simulator) => self.made_up = true,
            Some(
                FaaMode::Autonomous
                | FaaMode::Caution
                | FaaMode::Differential
                | FaaMode::FloatRtk
                | FaaMode::Precise
                | FaaMode::FixedRtk
                | FaaMode::Unsafe,
            )
            | None => {}
        }
        self.speed_mps = rmc.speed_over_ground.map(|knots| knots * MPS_PER_KNOT);
        self.heading_deg = rmc.true_course;
    }

    fn on_gst(&mut self, gst: &GstData) {
        let radius = gst.lat_sd.zip(gst.long_sd).map(|(lat, lon)| lat.hypot(lon));
        self.deviation_m = radius.filter(|radius| radius.is_finite() && *radius > 0.0);
    }

    /// By GST, else by the dilution of precision.
    fn accuracy_m(&self) -> Option<f32> {
        let range_error_m = if self.corrected { CORRECTED_RANGE_ERROR_M } else { RANGE_ERROR_M };
        let diluted = || self.hdop.map(|hdop| hdop * range_error_m);
        self.deviation_m.or_else(diluted).filter(|radius| radius.is_finite() && *radius > 0.0)
    }

    /// A fix, unless the receiver does not know, or says what cannot be.
    fn sighting(self) -> Option<Sighting> {
        let on_earth = |(lat, lon): &(f64, f64)| lat.abs() <= 90.0 && lon.abs() <= 180.0;
        let (lat, lon) = self.place.filter(|_| !self.void).filter(on_earth)?;
        let fix = Fix {
            lat,
            lon,
            accuracy_m: self.accuracy_m(),
            speed_mps: self.speed_mps.filter(|speed| (0.0..=MAX_SPEED_MPS).contains(speed)),
            heading_deg: self.heading_deg.filter(|heading| (0.0..=360.0).contains(heading)),
            provider: Some(Provider::Gps),
            mock: self.made_up,
            outdated: self.reckoned,
        };
        Some(Sighting { fix, time: self.time, came: self.came })
    }
}

#[cfg(test)]
mod tests;
