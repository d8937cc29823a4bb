//! Serial lines: RFID and NFC readers and GPS receivers on a cable. One task a port, which outlives its being unplugged.
//!
//! ```text
//!  port ─► listen ─► Speech (rdm6300 | pn532 | lines | nmea) ─► Fold ─► Tray ─► deliver ─► pump
//!  (opened again with backoff)                                                  (until its receipt comes)
//! ```
//!
//! A cable gives nothing back: there is nobody who would send again. So a reading stays in the [`Tray`] until its
//! receipt says that it is stored, and is handed over again when it could not be. It is one event under one name however
//! often that happens, and its instant is that at which it was read.

mod fold;
pub mod lines;
pub mod nmea;
pub mod pn532;
mod port;
pub mod rdm6300;
pub mod speech;
mod tray;

pub use port::{Fault, look};

use super::decode::{Reason, Refusal};
use super::{Intake, Stopped};
use fold::Fold;
use serde::Serialize;
use speech::{Heard, Said, Speech};
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_serial::SerialStream;
use tray::{Reading, Tray, What};
use vigil_config::{Protocol, SerialLine};
use vigil_core::id::DeviceId;
use vigil_core::observation::{Heartbeat, Kind, Observation, Scan};
use vigil_core::time::{Span, Timestamp};

/// What is read at once: at 921,600 bits a second the bytes of ten milliseconds.
const READ_BYTES: usize = 1_024;
/// The first wait before a port is opened again; it doubles with each.
const RETRY_FROM: Duration = Duration::from_millis(500);
/// The last: opening costs nothing, and whoever plugs the cable in wants to see that it works.
const RETRY_TO: Duration = Duration::from_secs(10);
/// A port that was good for so long failed for a reason of its own: the next attempt starts at the shortest wait.
const HELD: Duration = Duration::from_secs(30);
/// How often a port says that its device lives: twice in the shortest `silent_after` that a policy may have.
const BEAT: Duration = Duration::from_secs(30);
/// How often it is looked whether it is time for that. Not at every byte.
const LOOK: Duration = Duration::from_secs(1);
/// How long a port may take to accept a command of a few bytes; one that does not is stuck.
const WRITE_WITHIN: Duration = Duration::from_secs(2);
/// How often what could not be stored is handed over again: as often as the store tries.
const AGAIN: Duration = Duration::from_secs(5);

/// How a line is, for whoever looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineState {
    /// Which device hangs on it.
    pub device: DeviceId,
    /// The port.
    pub port: PathBuf,
    /// What is spoken.
    pub protocol: &'static str,
    /// Whether the port is open and its device there, as far as that can be told.
    pub up: bool,
    /// How often the port was opened.
    pub opened: u64,
    /// Scans, or fixes, that were taken.
    pub read: u64,
    /// When the last one came.
    pub last_read_at: Option<Timestamp>,
    /// Bytes that belonged to nothing: noise, half frames, wrong checksums.
    pub skipped_bytes: u64,
    /// Readings that wait for the store.
    pub waiting: usize,
    /// Readings that were lost because too many waited.
    pub lost: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
}

impl LineState {
    fn of(line: &SerialLine) -> Self {
        Self {
            device: line.device().clone(),
            port: line.port().to_owned(),
            protocol: line.protocol().name(),
            up: false,
            opened: 0,
            read: 0,
            last_read_at: None,
            skipped_bytes: 0,
            waiting: 0,
            lost: 0,
            last_error: None,
        }
    }
}

/// One serial line.
pub struct Line {
    config: SerialLine,
    intake: Intake,
    tray: Tray,
    state: watch::Sender<LineState>,
}

impl Line {
    /// A line that hands what it reads to `intake`. Its port is opened when it is run.
    pub fn new(config: SerialLine, intake: Intake) -> (Self, watch::Receiver<LineState>) {
        let (state, seen) = watch::channel(LineState::of(&config));
        (Self { config, intake, tray: Tray::default(), state }, seen)
    }

    /// Reads until `shutdown`, or until nothing more is taken. What was read by then is handed over at the end.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Stopped> {
        let ended = tokio::select! {
            () = shutdown => Ok(()),
            ended = self.deliver() => ended,
            () = Listen::new(&self).run() => Ok(()),
        };
        for reading in self.tray.clear() {
            // The pump takes what is queued before it ends; nobody waits for the receipt.
            let _receipt = self.submit(&reading).await?;
        }
        ended
    }

    /// Hands over what waits, one after the other.
    async fn deliver(&self) -> Result<(), Stopped> {
        let mut said = false;
        loop {
            let reading = self.tray.first().await;
            if self.submit(&reading).await?.await.is_ok() {
                said = false;
                self.tray.stored(&reading);
                self.state.send_modify(|state| state.waiting = self.tray.len());
                continue;
            }
            if !std::mem::replace(&mut said, true) {
                tracing::warn!(device = %self.config.device(), "what is read off the line cannot be stored and waits");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn put(&self, at: Instant, what: What) {
        let now = self.intake.clock.now();
        let n = self.state.borrow().read;
        let is_reading = matches!(what, What::Scan(_) | What::Fix(_));
        let word = match what {
            What::Scan(_) | What::Fix(_) => "read",
            What::Alive => "alive",
            What::Gone => "gone",
        };
        let id = format!("serial-{word}-{}-{n}", now.millis());
        let lost = self.tray.put(Reading { at, id, what });
        self.state.send_modify(|state| {
            if is_reading {
                (state.read, state.last_read_at) = (state.read + 1, Some(now));
            }
            state.lost += u64::from(lost);
            state.waiting = self.tray.len();
        });
    }

    /// Hands a reading to the pump.
    async fn submit(&self, reading: &Reading) -> Result<oneshot::Receiver<()>, Stopped> {
        let device = self.config.device();
        let (clock, now) = (&self.intake.clock, self.intake.clock.now());
        if self.intake.site.borrow().device(device.as_str()).is_none() {
            let topic = format!("serial/{device}");
            let detail = "device: it is no more in the site file; add it there, or take its [[serial]] away";
            let refusal = Refusal::new(now, Reason::UnknownDevice, &topic, detail.to_owned(), &[]);
            // That it lives, twice a minute, is nothing to refuse.
            let refused = if reading.what.is_of_port() { vec![] } else { vec![refusal] };
            return self.intake.queue(vec![], refused, None).await;
        }
        // By the clock as it stands now: it may have been set since.
        let age = Span::from_millis(i64::try_from(reading.at.elapsed().as_millis()).unwrap_or(i64::MAX));
        let read_at = now - clock.shown(age);
        let (kind, at) = match &reading.what {
            What::Scan(tag) => (Kind::Scan(Scan { tag: tag.clone(), guard: None, sun: None }), read_at),
            What::Fix(sighting) => {
                let by_satellites = sighting.time.near(read_at).filter(|_| clock.is_set());
                (Kind::Location(sighting.fix.clone()), by_satellites.unwrap_or(read_at))
            }
            What::Alive => (Kind::Heartbeat(Heartbeat::default()), read_at),
            What::Gone => (Kind::Status { online: false }, read_at),
        };
        let said = Observation::new(device.clone(), at, now, Some(&reading.id), kind);
        self.intake.queue(vec![said], vec![], None).await
    }
}

/// Keeps the port open and hears what its device says.
struct Listen<'a> {
    line: &'a Line,
    fold: Fold,
    began: Instant,
    /// The device was said to live, and not to be gone since.
    alive: bool,
    /// The port was said to be gone, and not to live since.
    gone: bool,
    /// It has proved since the last beat that it is there.
    proved: bool,
    beat_at: Instant,
}

impl<'a> Listen<'a> {
    fn new(line: &'a Line) -> Self {
        let began = Instant::now();
        Self { line, fold: Fold::default(), began, alive: false, gone: false, proved: false, beat_at: began }
    }

    async fn run(mut self) {
        let mut failures: u32 = 0;
        loop {
            let opened_at = Instant::now();
            let Err(fault) = self.attend().await;
            let held = self.alive && opened_at.elapsed() >= HELD;
            failures = if held { 1 } else { failures.saturating_add(1) };
            self.on_fault(&fault);
            tokio::time::sleep(wait(failures)).await;
        }
    }

    /// Opens the port and reads until it fails.
    async fn attend(&mut self) -> Result<std::convert::Infallible, Fault> {
        let path = self.line.config.port();
        let mut port = port::open(path, self.line.config.baud()).await?;
        self.line.state.send_modify(|state| state.opened += 1);
        let (mut speech, first) = Speech::open(self.line.config.protocol(), self.began.elapsed());
        let listens_only = matches!(self.line.config.protocol(), Protocol::Rdm6300 | Protocol::Lines);
        self.on_heard(first, &mut port).await?;
        let mut buffer = [0; READ_BYTES];
        loop {
            let look_at = Instant::now() + LOOK;
            let due = speech.next_deadline().map_or(look_at, |due| (self.began + due).min(look_at));
            let heard = tokio::select! {
                read = port.read(&mut buffer) => match read {
                    Ok(0) => return Err(Fault::Gone(path.to_owned())),
                    Ok(n) => speech.on_bytes(buffer.get(..n).unwrap_or_default(), self.began.elapsed()),
                    Err(why) if is_gone(&why) => return Err(Fault::Gone(path.to_owned())),
                    Err(why) => return Err(Fault::Broken(path.to_owned(), why)),
                },
                () = tokio::time::sleep_until(due) => speech.on_deadline(self.began.elapsed())?,
            };
            self.proved |= listens_only;
            self.on_heard(heard, &mut port).await?;
        }
    }

    async fn on_heard(&mut self, heard: Heard, port: &mut SerialStream) -> Result<(), Fault> {
        let Heard { said, answer, skipped, proved } = heard;
        self.proved |= proved;
        if skipped > 0 {
            self.line.state.send_modify(|state| state.skipped_bytes += skipped);
        }
        self.beat();
        for said in said {
            self.on_said(said);
        }
        if !answer.is_empty() {
            write(port, &answer)
                .await
                .map_err(|why| Fault::Broken(self.line.config.port().to_owned(), why))?;
        }
        Ok(())
    }

    fn on_said(&mut self, said: Said) {
        match said {
            Said::Tag(tag) => {
                let now = Instant::now();
                if self.fold.has_come(&tag, now - self.began) {
                    self.line.put(now, What::Scan(tag));
                }
            }
            Said::Fix(sighting) => self.line.put(self.began + sighting.came, What::Fix(sighting)),
        }
    }

    /// Says that the device lives, if it has proved so and it is time.
    fn beat(&mut self) {
        let now = Instant::now();
        if !self.proved || (self.alive && now < self.beat_at) {
            return;
        }
        if !self.alive {
            let (device, port) = (self.line.config.device(), self.line.config.port().display());
            tracing::info!(%device, %port, "the serial line is up");
            self.line.state.send_modify(|state| state.up = true);
        }
        (self.alive, self.gone, self.proved, self.beat_at) = (true, false, false, now + BEAT);
        self.line.put(now, What::Alive);
    }

    fn on_fault(&mut self, fault: &Fault) {
        let text = fault.to_string();
        let news = self.alive || self.line.state.borrow().last_error.as_deref() != Some(&text);
        if news {
            tracing::warn!(device = %self.line.config.device(), error = text, "the serial line is down; trying again");
        }
        self.line.state.send_modify(|state| {
            state.up = false;
            state.last_error = Some(text);
        });
        (self.alive, self.proved) = (false, false);
        if !std::mem::replace(&mut self.gone, true) {
            self.line.put(Instant::now(), What::Gone);
        }
    }
}

/// A terminal whose other end is gone says so.
fn is_gone(why: &std::io::Error) -> bool {
    let raw = why.raw_os_error();
    [rustix::io::Errno::IO, rustix::io::Errno::NXIO, rustix::io::Errno::NODEV]
        .iter()
        .any(|gone| raw == Some(gone.raw_os_error()))
}

async fn write(port: &mut SerialStream, bytes: &[u8]) -> std::io::Result<()> {
    let written = tokio::time::timeout(WRITE_WITHIN, port.write_all(bytes)).await;
    written.unwrap_or_else(|_| Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "it takes no bytes")))
}

/// How long to wait after that many failures in a row.
fn wait(failures: u32) -> Duration {
    RETRY_FROM.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(RETRY_TO)
}

#[cfg(test)]
mod tests;
