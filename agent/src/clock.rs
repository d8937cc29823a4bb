//! The only reader of time in the agent.
//!
//! The time is a base and the box's boot time, which goes on through sleep and does not know of steps. What the base is
//! is decided by [`keeping`], and moved by the pump alone: it tells the time again that was told wrongly.

pub mod keeping;
mod machine;

pub use keeping::{Keeping, Machine, Reading, Signs, Trust};

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use serde::Serialize;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;
use vigil_cloud_sync::Timepiece;
use vigil_core::retelling::Correction;
use vigil_core::time::{Span, Timestamp};

/// The agent's clock. Cheap to clone; all clones agree.
#[derive(Debug, Clone)]
pub struct Clock {
    face: Face,
}

#[derive(Debug, Clone)]
enum Face {
    /// That of the box.
    Box(Arc<Dial>),
    /// A simulated night that runs `speed` times as fast as real time.
    Scaled { began: Instant, night: Timestamp, speed: u32 },
}

/// What a box says of its clocks: the one that this runs on, or one that is simulated.
pub trait Clockwork: fmt::Debug + Send + Sync {
    /// What the box is, from its boot to the next.
    fn machine(&self) -> Machine;
    /// One look at its clocks.
    fn reading(&self) -> Reading;
    /// Whether its wall clock is synchronised.
    fn signs(&self) -> Signs;
}

/// What all clones share.
#[derive(Debug)]
struct Dial {
    clockwork: Arc<dyn Clockwork>,
    offset_ms: AtomicI64,
    unset: AtomicBool,
    told: Mutex<Told>,
    heard: Notify,
}

/// What is told of the clock, and to it.
#[derive(Debug, Default)]
struct Told {
    view: ClockView,
    /// What the operations centre says is to be added to boot time, and how far that may be off.
    noc: Option<(i64, i64)>,
}

/// The clock as people see it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ClockView {
    /// `unset`, `unverified`, `ntp`, `noc`, or `simulated`.
    pub state: &'static str,
    /// How far the time may be off, if anybody vouches for it.
    pub uncertainty_ms: Option<i64>,
    /// How far the box's wall clock is ahead of the agent's time.
    pub wall_ahead_ms: i64,
    /// How far the operations centre's clock is ahead of one that NTP keeps, if they contradict each other.
    pub noc_differs_ms: Option<i64>,
    /// How often time was told again since the start.
    pub corrections: u64,
    /// By how much the last time.
    pub last_correction_ms: Option<i64>,
}

impl Dial {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock {
    /// That of the box, as its wall clock stands now; [`Clock::keep`] decides what that is worth.
    pub fn wall() -> Self {
        Self::of(Arc::new(machine::Real))
    }

    /// That of a box with this clockwork.
    pub fn of(clockwork: Arc<dyn Clockwork>) -> Self {
        let reading = clockwork.reading();
        let offset_ms = AtomicI64::new(reading.wall_ms - reading.boot_ms);
        let (unset, told, heard) = Default::default();
        Self { face: Face::Box(Arc::new(Dial { clockwork, offset_ms, unset, told, heard })) }
    }

    /// A clock that shows `night` now and runs `speed` times as fast as real time.
    pub fn scaled(night: Timestamp, speed: u32) -> Self {
        Self { face: Face::Scaled { began: Instant::now(), night, speed: speed.max(1) } }
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        match &self.face {
            Face::Box(dial) => {
                let offset_ms = dial.offset_ms.load(Ordering::Acquire);
                Timestamp::from_millis(dial.clockwork.reading().boot_ms.saturating_add(offset_ms))
            }
            Face::Scaled { began, night, speed } => scaled(*night, began.elapsed(), *speed),
        }
    }

    /// How long to wait, in real time, until the clock shows `at`; zero if it already has.
    pub fn until(&self, at: Timestamp) -> Duration {
        self.real(at.since(self.now()))
    }

    /// How long a span on this clock takes in real time.
    pub fn real(&self, span: Span) -> Duration {
        match self.face {
            Face::Box(_) => span.to_std(),
            Face::Scaled { speed, .. } => span.to_std() / speed,
        }
    }

    /// How far the clock goes on in so much real time.
    pub fn shown(&self, real: Span) -> Span {
        match self.face {
            Face::Box(_) => real,
            Face::Scaled { speed, .. } => Span::from_millis(real.millis().saturating_mul(i64::from(speed))),
        }
    }

    /// Whether what it shows can be compared with the clocks of others.
    pub fn is_set(&self) -> bool {
        match &self.face {
            Face::Box(dial) => !dial.unset.load(Ordering::Acquire),
            Face::Scaled { .. } => true,
        }
    }

    /// Whether the box has a clock that goes on without power.
    pub fn goes_on_without_power(&self) -> bool {
        match &self.face {
            Face::Box(dial) => dial.clockwork.machine().has_rtc,
            Face::Scaled { .. } => false,
        }
    }

    /// The time by which certificates are judged: a simulated night is no time for them.
    pub fn for_certificates(&self) -> Timestamp {
        match &self.face {
            Face::Box(_) => self.now(),
            Face::Scaled { .. } => Timestamp::from_millis(machine::wall_ms(SystemTime::now())),
        }
    }

    /// A stamp that was given out before the clock was set back lies in the future no more.
    pub fn no_later_than_now(&self, stamp: Timestamp) -> Timestamp {
        match &self.face {
            Face::Box(_) => stamp.min(self.now()),
            Face::Scaled { .. } => stamp,
        }
    }

    /// Somebody who can be trusted says that it was `at` when the answer came.
    pub fn on_noc(&self, at: Timestamp, uncertainty: Span) {
        let Face::Box(dial) = &self.face else { return };
        let offset_ms = at.millis() - dial.clockwork.reading().boot_ms;
        dial.told().noc = Some((offset_ms, uncertainty.millis()));
        dial.heard.notify_one();
    }

    /// Resolves when there is a new word of the time.
    pub async fn heard(&self) {
        match &self.face {
            Face::Box(dial) => dial.heard.notified().await,
            Face::Scaled { .. } => std::future::pending().await,
        }
    }

    /// The clock as people see it.
    pub fn view(&self) -> ClockView {
        match &self.face {
            Face::Box(dial) => dial.told().view.clone(),
            Face::Scaled { .. } => ClockView { state: "simulated", ..ClockView::default() },
        }
    }

    /// Begins to keep the time. `before` and `last_known` are what the store knows; a simulated clock needs no keeper.
    pub fn keep(&self, before: Option<&Keeping>, last_known: Option<Timestamp>) -> Option<Keeper> {
        let Face::Box(dial) = &self.face else { return None };
        let reading = dial.clockwork.reading();
        let keeping =
            Keeping::begin(&dial.clockwork.machine(), reading, dial.clockwork.signs(), before, last_known);
        let resumes = before == Some(&keeping);
        let keeper = Keeper { dial: Arc::clone(dial), keeping, resumes, looked: reading };
        keeper.show(reading);
        Some(keeper)
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let ms = u64::try_from(self.for_certificates().millis()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(ms)))
    }
}

impl Timepiece for Clock {
    fn is_set(&self) -> bool {
        self.is_set()
    }

    fn on_noc(&self, at: Timestamp, uncertainty: Span) {
        self.on_noc(at, uncertainty);
    }
}

/// Keeps the time of all clones. There is one, and the pump has it.
#[derive(Debug)]
pub struct Keeper {
    dial: Arc<Dial>,
    keeping: Keeping,
    resumes: bool,
    looked: Reading,
}

/// What a look at the clocks found.
#[derive(Debug, Default, PartialEq)]
pub struct Look {
    /// The box slept for so long.
    pub slept: Option<Span>,
    /// Time is to be told again. The clock shows the right one already.
    pub correction: Option<Correction>,
}

impl Keeper {
    /// What is known of the time.
    pub const fn keeping(&self) -> &Keeping {
        &self.keeping
    }

    /// Whether it is known at all.
    pub fn is_unset(&self) -> bool {
        self.keeping.trust() == Trust::Unset
    }

    /// Whether NTP or the operations centre says that it is right.
    pub fn is_vouched_for(&self) -> bool {
        matches!(self.keeping.trust(), Trust::Ntp | Trust::Noc)
    }

    /// Whether it goes on as it was kept before the agent was started again, in the same boot.
    pub const fn resumes(&self) -> bool {
        self.resumes
    }

    /// From here on time would be told again.
    pub fn mark(&mut self, from: Timestamp) {
        self.keeping.mark(from);
    }

    /// Looks at the clocks, and takes up what was heard.
    pub fn look(&mut self) -> Look {
        let reading = self.dial.clockwork.reading();
        let was = self.keeping.trust();
        let slept = keeping::slept(self.looked, reading);
        self.looked = reading;
        let noc = self.dial.told().noc.take();
        let seen = self.keeping.on_look(reading, self.dial.clockwork.signs());
        let heard = noc.and_then(|(offset_ms, off_by)| self.keeping.on_noc(reading, offset_ms, off_by));
        // Two in one look are as good as one: the first was wrong by what the second says.
        let correction = match (seen, heard) {
            (Some(a), Some(b)) => {
                Some(Correction { by: Span::from_millis(a.by.millis() + b.by.millis()), ..b })
            }
            (one, other) => one.or(other),
        };
        if let Some(Correction { by, .. }) = correction {
            let mut told = self.dial.told();
            told.view.corrections += 1;
            told.view.last_correction_ms = Some(by.millis());
        }
        if was != self.keeping.trust() {
            let (was, now) = (was.name(), self.keeping.trust().name());
            tracing::info!(was, now, "the clock is trusted otherwise");
        }
        self.show(reading);
        Look { slept, correction }
    }

    fn show(&self, reading: Reading) {
        let k = &self.keeping;
        self.dial.unset.store(k.trust() == Trust::Unset, Ordering::Release);
        self.dial.offset_ms.store(k.offset_ms(), Ordering::Release);
        let mut told = self.dial.told();
        told.view.state = k.trust().name();
        told.view.uncertainty_ms = k.uncertainty(reading.boot_ms).map(Span::millis);
        told.view.wall_ahead_ms = k.wall_ahead(reading).millis();
        told.view.noc_differs_ms = k.noc_differs().map(Span::millis);
    }
}

fn scaled(night: Timestamp, elapsed: Duration, speed: u32) -> Timestamp {
    let passed = elapsed.saturating_mul(speed).as_millis();
    Timestamp::from_millis(night.millis().saturating_add(i64::try_from(passed).unwrap_or(i64::MAX)))
}

#[cfg(test)]
impl Clock {
    /// A simulated night in which no time passes, however busy the machine is.
    pub(crate) fn stopped(at: Timestamp) -> Self {
        Self { face: Face::Scaled { began: Instant::now(), night: at, speed: 0 } }
    }
}

/// Clocks that stand where a test puts them.
#[cfg(test)]
#[derive(Debug, Clone)]
pub(crate) struct Staged(Arc<Mutex<(Machine, Reading, Signs)>>);

#[cfg(test)]
impl Clockwork for Staged {
    fn machine(&self) -> Machine {
        self.0.lock().unwrap().0.clone()
    }
    fn reading(&self) -> Reading {
        self.0.lock().unwrap().1
    }
    fn signs(&self) -> Signs {
        self.0.lock().unwrap().2
    }
}

#[cfg(test)]
impl Staged {
    pub(crate) fn new(boot: &str, reading: Reading) -> Self {
        let machine = Machine { boot: Some(boot.to_owned()), has_rtc: false };
        Self(Arc::new(Mutex::new((machine, reading, [None; 2]))))
    }

    /// Moves them.
    pub(crate) fn stage(&self, reading: Reading, signs: Signs) {
        let mut staged = self.0.lock().unwrap();
        (staged.1, staged.2) = (reading, signs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaled_clock_runs_as_fast_as_it_says() {
        let night = Timestamp::from_millis(1_000_000);
        assert_eq!(scaled(night, Duration::from_millis(500), 120).millis(), 1_060_000);
        let patience = Span::from_secs(50);
        assert_eq!(Clock::scaled(night, 120).shown(patience), Span::from_secs(6_000));
        assert_eq!(Clock::wall().shown(patience), patience);
    }

    #[test]
    fn the_clock_of_the_box_is_its_wall_clock_until_somebody_knows_better() {
        let clock = Clock::wall();
        let wall = machine::wall_ms(SystemTime::now());
        assert!((clock.now().millis() - wall).abs() < 1_000);
        assert!(clock.is_set());
    }

    #[test]
    fn what_is_heard_moves_every_clone() {
        let reading = Reading { boot_ms: 10_000, awake_ms: 10_000, wall_ms: 5 };
        let clock = Clock::of(Arc::new(Staged::new("b", reading)));
        let clone = clock.clone();
        let mut keeper = clock.keep(None, None).unwrap();
        assert!(!clone.is_set());
        let truth = Timestamp::from_millis(1_800_000_000_000);
        clone.on_noc(truth, Span::from_secs(1));
        let correction = keeper.look().correction.unwrap();
        assert_eq!((clone.now(), clone.is_set()), (truth, true));
        assert_eq!(correction.from + correction.by, truth);
        assert_eq!((clone.view().state, clone.view().corrections), ("noc", 1));
    }
}
