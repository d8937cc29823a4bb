//! What everything shares: the true time, what is wrong at the moment, and the box as long as it lives.

use super::books::Books;
use super::plan::{BoxClock, Death, Plan, Point, Stream, Stretch, Trouble};
use super::road::Noc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use vigil_agent::clock::{Clockwork, Machine, Reading, Signs};
use vigil_agent::pump::PumpHandle;
use vigil_agent::simulate::Chance;
use vigil_agent::sources::Intake;
use vigil_agent::store::{Marks, Medium};
use vigil_core::time::{Span, Timestamp};
use vigil_core::view::View;

/// A box takes so long from its power to its agent.
const BOOT: Span = Span::from_secs(20);

/// The way into a box that lives.
#[derive(Debug, Clone)]
pub struct Door {
    /// For messages.
    pub intake: Intake,
    /// For questions.
    pub handle: PumpHandle,
}

/// How the engine stood when a life ended, and the marks that go with it.
#[derive(Debug)]
pub struct Stood {
    /// Of the store.
    pub marks: Marks,
    /// Of the engine.
    pub view: View,
}

/// Everything outside the box, and its case.
#[derive(Debug)]
pub struct World {
    /// What goes wrong.
    pub plan: Plan,
    /// The receiver.
    pub noc: Mutex<Noc>,
    /// True from the end of all faults on.
    pub calm: watch::Sender<bool>,
    /// True when the agent is to stop.
    pub stop: watch::Sender<bool>,
    /// Rung when the life in hand ends.
    pub dies: Notify,
    began: Instant,
    books: Mutex<Books>,
    fate: Mutex<Fate>,
    door: watch::Sender<Option<Door>>,
    clocks: Mutex<Clocks>,
    disk: Mutex<Chance>,
}

/// How the life in hand will end.
#[derive(Debug, Default)]
struct Fate {
    armed: Option<Death>,
    ending: Option<Death>,
    stood: Option<Stood>,
}

#[derive(Debug, Default)]
struct Clocks {
    boots: usize,
    booted_at: Timestamp,
    /// How far the wall clock is ahead of the truth.
    ahead: Span,
    sign: Option<i64>,
    synchronised_at: Option<Timestamp>,
    /// Steps before this one are over.
    stepped: usize,
}

/// A lock that a panic left is as good as any: the panic ends the run.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// The world of a plan; its time begins now.
    pub fn new(plan: Plan, noc: Noc) -> Self {
        Self {
            books: Mutex::new(Books::open(&plan.scripts)),
            disk: Mutex::new(Chance::of(plan.seed, Stream::Disk as usize)),
            noc: Mutex::new(noc),
            calm: watch::channel(false).0,
            stop: watch::channel(false).0,
            dies: Notify::new(),
            began: Instant::now(),
            fate: Mutex::default(),
            door: watch::channel(None).0,
            clocks: Mutex::default(),
            plan,
        }
    }

    /// The true time.
    pub fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.plan.began + Span::from_millis(passed)
    }

    /// Waits for an instant of the true time.
    pub async fn until(&self, at: Timestamp) {
        tokio::time::sleep(at.since(self.now()).to_std()).await;
    }

    /// The oracle's lists.
    pub fn books(&self) -> MutexGuard<'_, Books> {
        locked(&self.books)
    }

    /// Writes a line of what happens.
    pub fn note(&self, what: impl Into<String>) {
        let now = self.now();
        self.books().note(now, what);
    }

    /// Whether nothing goes wrong any more.
    pub fn is_calm(&self) -> bool {
        *self.calm.borrow()
    }

    /// The way into the box, if it lives.
    pub fn door(&self) -> Option<Door> {
        self.door.borrow().clone()
    }

    /// Opens it or shuts it.
    pub fn set_door(&self, door: Option<Door>) {
        self.door.send_replace(door);
    }

    /// The end of the stretch in which this handset has no connection, if it has none.
    pub fn cut_until(&self, handset: usize) -> Option<Timestamp> {
        let cuts = self.plan.cuts.get(handset).into_iter().flatten();
        self.last_end(cuts.chain(&self.plan.site_down))
    }

    /// Whether nobody on site can be told anything.
    pub fn site_is_down(&self) -> bool {
        self.last_end(self.plan.site_down.iter()).is_some()
    }

    fn last_end<'a>(&self, stretches: impl Iterator<Item = &'a Stretch>) -> Option<Timestamp> {
        let now = self.now();
        let covering = stretches.filter(|stretch| stretch.covers(now) && !self.is_calm());
        covering.map(|stretch| stretch.until).max()
    }

    /// What is wrong with the way to the NOC.
    pub fn trouble(&self) -> Option<Trouble> {
        let now = self.now();
        let of_now = self.plan.troubles.iter().rev().find(|(stretch, _)| stretch.covers(now));
        of_now.map(|(_, trouble)| *trouble).filter(|_| !self.is_calm())
    }

    /// How long the next write takes.
    pub fn disk_delay(&self) -> Duration {
        let now = self.now();
        let slow = self.plan.slow.iter().find(|(stretch, _)| stretch.covers(now) && !self.is_calm());
        slow.map_or(Duration::ZERO, |(_, most)| most.mul_f64(locked(&self.disk).share()))
    }

    /// The life in hand is to end at this point.
    pub fn arm(&self, death: Death) {
        locked(&self.fate).armed = Some(death);
    }

    /// What was armed, if it was not hit.
    pub fn disarm(&self) -> Option<Death> {
        locked(&self.fate).armed.take()
    }

    /// Whether a life ends here and now.
    pub fn is_hit(&self, point: Point) -> bool {
        let hit = locked(&self.fate).armed.take_if(|death| death.point == point);
        hit.map(|death| self.end(death, None)).is_some()
    }

    /// Ends the life in hand.
    pub fn end(&self, death: Death, stood: Option<Stood>) {
        let now = self.now();
        {
            let mut books = self.books();
            books.note(
                now,
                format!(
                    "dies: {:?}, {} s, reboots {}",
                    death.point,
                    death.down.millis() / 1_000,
                    death.reboots
                ),
            );
            books.counts.deaths += 1;
            books.interruptions.push(now);
        }
        let mut fate = locked(&self.fate);
        fate.ending = Some(death);
        fate.stood = stood;
        if !matches!(death.point, Point::Unwritten | Point::Written) {
            // A disk that fails is noticed by whoever writes.
            self.dies.notify_one();
        }
    }

    /// How the life ended that is over.
    pub fn ended(&self) -> Option<Death> {
        locked(&self.fate).ending.take()
    }

    /// How the engine stood then, if somebody looked.
    pub fn stood(&self) -> Option<Stood> {
        locked(&self.fate).stood.take()
    }

    /// Power comes back; what the wall clock shows depends on what the box has.
    pub fn boots(&self, went_down: Timestamp) {
        let now = self.now();
        let plan = &self.plan.clock;
        let mut clocks = locked(&self.clocks);
        let turn = clocks.boots;
        let right = plan.kept || self.is_calm();
        let ahead = match (right, plan.has_rtc, turn % 2) {
            (true, ..) => Span::ZERO,
            (false, true, _) => taken(&plan.drift, turn).unwrap_or(Span::ZERO),
            // It begins in 1970,
            (false, false, 0) => Span::from_millis(BOOT.millis() - now.millis()),
            // or where a file says that it was.
            (false, false, _) => went_down.since(now),
        };
        let synchronised = taken(&plan.synchronised, turn).flatten();
        *clocks = Clocks {
            boots: turn + 1,
            booted_at: now - BOOT,
            ahead,
            sign: right.then_some(now.millis()),
            synchronised_at: synchronised.filter(|_| !right).map(|after| now + after),
            stepped: plan.steps.iter().filter(|(at, _)| *at <= now).count().max(clocks.stepped),
        };
    }

    /// The wall clock is right from now on.
    pub fn sets_the_clock(&self) {
        let now = self.now();
        let mut clocks = locked(&self.clocks);
        (clocks.ahead, clocks.sign) = (Span::ZERO, Some(now.millis()));
        (clocks.synchronised_at, clocks.stepped) = (None, usize::MAX);
    }

    /// What has happened to the wall clock since it was last looked at.
    fn clocks(&self) -> MutexGuard<'_, Clocks> {
        let now = self.now();
        let mut clocks = locked(&self.clocks);
        let BoxClock { steps, .. } = &self.plan.clock;
        while let Some((_, by)) = steps.get(clocks.stepped).filter(|(at, _)| *at <= now) {
            clocks.ahead = Span::from_millis(clocks.ahead.millis() + by.millis());
            clocks.stepped += 1;
        }
        if clocks.synchronised_at.is_some_and(|at| at <= now) {
            (clocks.ahead, clocks.synchronised_at) = (Span::ZERO, None);
            clocks.sign = Some(now.millis());
        }
        clocks
    }
}

fn taken<T: Copy>(all: &[T], turn: usize) -> Option<T> {
    all.get(turn % all.len().max(1)).copied()
}

/// The box's clocks and its disk.
#[derive(Debug, Clone)]
pub struct Case(pub Arc<World>);

impl Clockwork for Case {
    fn machine(&self) -> Machine {
        let boot = Some(format!("boot-{}", self.0.clocks().boots));
        Machine { boot, has_rtc: self.0.plan.clock.has_rtc }
    }

    fn reading(&self) -> Reading {
        let now = self.0.now();
        let clocks = self.0.clocks();
        let boot_ms = now.since(clocks.booted_at).millis();
        Reading { boot_ms, awake_ms: boot_ms, wall_ms: (now + clocks.ahead).millis() }
    }

    fn signs(&self) -> Signs {
        [self.0.clocks().sign, None]
    }
}

impl Medium for Case {
    fn before(&self) -> std::io::Result<()> {
        if self.0.is_hit(Point::Unwritten) { Err(std::io::Error::other("the power failed")) } else { Ok(()) }
    }

    fn after(&self) -> std::io::Result<()> {
        if self.0.is_hit(Point::Written) { Err(std::io::Error::other("the power failed")) } else { Ok(()) }
    }
}
