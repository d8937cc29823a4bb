//! What goes wrong, all of it drawn from the seed before anything happens.

use super::script::{Ground, Script};
use crate::soak::below;
use std::sync::Arc;
use std::time::Duration;
use vigil_agent::simulate::{Chance, Scenario};
use vigil_core::site::Site;
use vigil_core::time::{Span, Timestamp};

/// The way to the NOC is wrong for up to so long, most of the time.
const SHORT_SECS: i64 = 1_200;
/// A receiver that refuses single events buries them: a defect of somebody, and mended within minutes.
const REFUSING_SECS: i64 = 300;
/// The longest time without a NOC.
const LONGEST: Span = Span::from_hours(60);

/// A stretch of time.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// From here on,
    pub from: Timestamp,
    /// and before that.
    pub until: Timestamp,
}

impl Stretch {
    /// Whether it is then.
    pub fn covers(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }
}

/// What the way to the NOC does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody answers, and nothing arrives.
    Unreachable,
    /// Nothing comes back in time; it arrived, or did not.
    TimedOut(bool),
    /// It arrives, and the answer is cut.
    AnswerLost,
    /// A status, and nothing is stored.
    Status(u16),
    /// The same with a wish: so many seconds, as a number or as a date.
    Later(u16, u64, bool),
    /// A success that is none: a portal's page, half an answer, a wrong count. It arrived, or did not.
    Garbage(u8, bool),
    /// More than so many events are too large.
    Narrow(usize),
    /// Each request meets something else.
    Any,
}

/// Where a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// While it waits.
    AtRest,
    /// When something is stored, before the handset hears of it.
    Stored,
    /// The next write never reaches the disk.
    Unwritten,
    /// The next write reaches the disk, and the process does not hear of it.
    Written,
    /// When the NOC has a batch, before that is settled.
    Delivered,
    /// When the site has been told, before that is noted.
    Announced,
}

impl Point {
    const ALL: [Self; 6] =
        [Self::AtRest, Self::Stored, Self::Unwritten, Self::Written, Self::Delivered, Self::Announced];
}

/// One end of a life, and the next beginning.
#[derive(Debug, Clone, Copy)]
pub struct Death {
    /// When, or at the next chance from then on.
    pub at: Timestamp,
    /// Where.
    pub point: Point,
    /// How long it is down.
    pub down: Span,
    /// Whether the box goes down as well.
    pub reboots: bool,
}

/// The box's clock.
#[derive(Debug, Clone)]
pub struct BoxClock {
    /// NTP keeps it from the boot on: then a wrong wall clock is never believed.
    pub kept: bool,
    /// Whether it goes on without power.
    pub has_rtc: bool,
    /// The wall clock is stepped.
    pub steps: Vec<(Timestamp, Span)>,
    /// How long after each boot NTP is there, if it ever is; taken in turn.
    pub synchronised: Vec<Option<Span>>,
    /// How far the clock is off at each boot with a battery; taken in turn.
    pub drift: Vec<Span>,
}

/// A lasting fault of some events, by their ids.
#[derive(Debug, Clone, Copy)]
pub struct Poison {
    /// One id in so many.
    pub one_in: u64,
    /// Whether the whole batch is refused for it, or the event alone.
    pub whole: bool,
}

/// Everything that a seed says.
#[derive(Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// The site file.
    pub site: Arc<Site>,
    /// When it begins.
    pub began: Timestamp,
    /// When all faults end.
    pub calm_at: Timestamp,
    /// What the handsets say.
    pub scripts: Vec<Script>,
    /// When each handset has no connection.
    pub cuts: Vec<Vec<Stretch>>,
    /// When the site's network or its broker is away.
    pub site_down: Vec<Stretch>,
    /// How likely it is that an acknowledgement does not get through.
    pub ack_lost: f64,
    /// The way to the NOC; of two at one time the later one counts.
    pub troubles: Vec<(Stretch, Trouble)>,
    /// When the disk is slow, and how much a write takes at most.
    pub slow: Vec<(Stretch, Duration)>,
    /// The ends of lives.
    pub deaths: Vec<Death>,
    /// The box's clock.
    pub clock: BoxClock,
    /// What the NOC will not take.
    pub poison: Option<Poison>,
}

/// The site of a seed cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Its site file.
    #[error(transparent)]
    Site(#[from] vigil_config::Problems),
    /// A name in it.
    #[error(transparent)]
    Name(#[from] vigil_core::id::InvalidId),
}

/// A number from `from` on and below `to`.
pub fn draw(chance: &mut Chance, from: i64, to: i64) -> i64 {
    let width = usize::try_from(to - from).unwrap_or(1);
    from + i64::try_from(below(chance, width)).unwrap_or_default()
}

/// A span between two numbers of seconds.
pub fn span(chance: &mut Chance, from_secs: i64, to_secs: i64) -> Span {
    Span::from_millis(draw(chance, from_secs * 1_000, to_secs * 1_000))
}

/// Streams of chance that do not disturb each other.
#[derive(Debug, Clone, Copy)]
pub enum Stream {
    /// The site and its size.
    Site,
    /// What goes wrong.
    Faults,
    /// The way to the NOC.
    Road,
    /// The disk.
    Disk,
    /// The handsets, from here on.
    Handsets = 16,
    /// What they say, from here on.
    Scripts = 64,
}

impl Plan {
    /// The plan of a seed, for so many hours of faults.
    pub fn of(seed: u64, hours: i64) -> Result<Self, PlanError> {
        let mut chance = Chance::of(seed, Stream::Site as usize);
        let guards = below(&mut chance, 4) + 3;
        let scenario = Scenario::sized(guards, 540, seed);
        let site = Arc::new(scenario.site()?);
        let (began, length) = (scenario.starts_at - Span::from_mins(10), Span::from_hours(hours));
        let ground = Ground { site: &site, scenario: &scenario, began, length };
        let mut scripts = vec![];
        for number in 0..guards {
            let mut chance = Chance::of(seed, Stream::Scripts as usize + number);
            scripts.extend(Script::of(ground, number, &mut chance)?);
        }
        let mut faults = Faults { chance: Chance::of(seed, Stream::Faults as usize), began, length };
        let cuts = scripts.iter().map(|_| faults.cuts()).collect();
        Ok(Self {
            seed,
            began,
            calm_at: began + length,
            scripts,
            cuts,
            site_down: faults.site_down(),
            ack_lost: faults.chance.between(0.0, 0.02),
            troubles: faults.troubles(),
            slow: faults.slow(),
            deaths: faults.deaths(),
            clock: faults.clock(),
            poison: faults.poison(),
            site,
        })
    }
}

struct Faults {
    chance: Chance,
    began: Timestamp,
    length: Span,
}

impl Faults {
    fn some_time(&mut self) -> Timestamp {
        self.began + span(&mut self.chance, 0, self.length.millis() / 1_000)
    }

    fn stretch(&mut self, from_secs: i64, to_secs: i64) -> Stretch {
        let from = self.some_time();
        Stretch { from, until: from + span(&mut self.chance, from_secs, to_secs) }
    }

    fn times(&mut self, from: i64, to: i64) -> i64 {
        draw(&mut self.chance, from, to)
    }

    fn cuts(&mut self) -> Vec<Stretch> {
        let mut cuts: Vec<_> = (0..self.times(3, 20)).map(|_| self.stretch(5, 900)).collect();
        cuts.extend((0..self.times(0, 3)).map(|_| self.stretch(3_600, 6 * 3_600)));
        cuts
    }

    fn site_down(&mut self) -> Vec<Stretch> {
        (0..self.times(0, 6)).map(|_| self.stretch(10, 3_600)).collect()
    }

    fn troubles(&mut self) -> Vec<(Stretch, Trouble)> {
        let mut troubles = vec![];
        if self.chance.happens(0.5) {
            let longest = LONGEST.millis().min(self.length.millis()) / 1_000;
            let lasting = [Trouble::Unreachable, Trouble::Status(503), Trouble::Status(401), Trouble::Any];
            let trouble = self.one_of(&lasting);
            troubles.push((self.stretch(3_600, longest.max(3_601)), trouble));
        }
        for _ in 0..self.times(6, 24) {
            let trouble = if self.chance.happens(0.3) { Trouble::Any } else { self.trouble() };
            troubles.push((self.stretch(5, longest(trouble)), trouble));
        }
        troubles
    }

    fn one_of(&mut self, troubles: &[Trouble]) -> Trouble {
        troubles.get(below(&mut self.chance, troubles.len())).copied().unwrap_or(Trouble::Any)
    }

    fn trouble(&mut self) -> Trouble {
        one_trouble(&mut self.chance)
    }

    fn slow(&mut self) -> Vec<(Stretch, Duration)> {
        let times = self.times(0, 6);
        (0..times)
            .map(|_| {
                let most = Duration::from_millis(u64::try_from(self.times(50, 40_000)).unwrap_or(50));
                (self.stretch(30, 1_800), most)
            })
            .collect()
    }

    fn deaths(&mut self) -> Vec<Death> {
        let mut deaths: Vec<Death> = (0..self.times(3, 16)).map(|_| self.death()).collect();
        deaths.sort_by_key(|death| death.at);
        deaths
    }

    fn death(&mut self) -> Death {
        let point = Point::ALL.get(below(&mut self.chance, Point::ALL.len())).copied();
        let down = match self.times(0, 10) {
            0 => span(&mut self.chance, 600, 3 * 3_600),
            1 | 2 => span(&mut self.chance, 60, 600),
            _ => span(&mut self.chance, 1, 60),
        };
        Death {
            at: self.some_time(),
            point: point.unwrap_or(Point::AtRest),
            down,
            reboots: self.chance.happens(0.4),
        }
    }

    fn clock(&mut self) -> BoxClock {
        let kept = self.chance.happens(0.5);
        let has_rtc = self.chance.happens(0.5);
        let mut steps: Vec<_> = (0..self.times(0, 5)).map(|_| (self.some_time(), self.step())).collect();
        steps.sort_by_key(|(at, _)| *at);
        let synchronised = (0..16).map(|_| self.synchronised()).collect();
        let drift = (0..16).map(|_| span(&mut self.chance, -120, 120)).collect();
        BoxClock { kept, has_rtc, steps, synchronised, drift }
    }

    fn step(&mut self) -> Span {
        if self.chance.happens(0.5) {
            span(&mut self.chance, -6 * 3_600, 6 * 3_600)
        } else {
            span(&mut self.chance, -60, 60)
        }
    }

    fn synchronised(&mut self) -> Option<Span> {
        self.chance.happens(0.6).then(|| span(&mut self.chance, 5, 4 * 3_600))
    }

    fn poison(&mut self) -> Option<Poison> {
        let (one_in, whole) = (self.times(20, 200), self.chance.happens(0.5));
        let one_in = u64::try_from(one_in).unwrap_or(100);
        self.chance.happens(0.4).then_some(Poison { one_in, whole })
    }
}

/// How long it may last, in seconds.
const fn longest(trouble: Trouble) -> i64 {
    match trouble {
        Trouble::Status(400 | 409 | 413 | 422) | Trouble::Narrow(_) => REFUSING_SECS,
        Trouble::Unreachable
        | Trouble::TimedOut(_)
        | Trouble::AnswerLost
        | Trouble::Status(_)
        | Trouble::Later(..)
        | Trouble::Garbage(..)
        | Trouble::Any => SHORT_SECS,
    }
}

/// Anything but a mixture.
pub fn one_trouble(chance: &mut Chance) -> Trouble {
    let yes = chance.happens(0.5);
    let secs = u64::try_from(draw(chance, 1, 900)).unwrap_or(1);
    match draw(chance, 0, 22) {
        0 => Trouble::Unreachable,
        1 => Trouble::TimedOut(yes),
        2 | 3 => Trouble::AnswerLost,
        4 => Trouble::Status(400),
        5 => Trouble::Status(401),
        6 => Trouble::Status(403),
        7 => Trouble::Status(404),
        8 => Trouble::Status(408),
        9 => Trouble::Status(409),
        10 => Trouble::Status(413),
        11 => Trouble::Status(422),
        12 => Trouble::Later(429, secs, yes),
        13 => Trouble::Status(500),
        14 => Trouble::Status(502),
        15 => Trouble::Later(503, secs, yes),
        16 => Trouble::Status(503),
        17 => Trouble::Status(302),
        18 => Trouble::Narrow(usize::try_from(draw(chance, 1, 20)).unwrap_or(1)),
        _ => Trouble::Garbage(u8::try_from(draw(chance, 0, 4)).unwrap_or_default(), yes),
    }
}
