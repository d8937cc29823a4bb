//! What is to happen in one night, and what kind of person is on guard. Figures without a source are assumed: no field
//! data of guards were at hand.

use super::clock::{HOUR, MINUTE, clock};
use super::draws::lognormal;
use super::ground::Ground;
use super::receiver::Jam;
use vigil_agent::simulate::Chance;

/// How often people look at a phone at night in their sleep: about half of the adults asked did so at least once
/// (Deloitte, Global Mobile Consumer Survey 2016, United States; a third in the United Kingdom). One glance in eight
/// hours at that chance is one in 11.5 hours.
pub const GLANCE_EVERY: f64 = 11.5 * HOUR;

/// One night that is to be lived.
#[derive(Debug, Clone)]
pub struct Plan {
    /// On which site.
    pub ground: Ground,
    /// Check-in and check-out.
    pub duty: (f64, f64),
    /// Who is on guard.
    pub habits: Habits,
    /// When the guard sleeps without leave.
    pub sleep: Sleep,
    /// Lawful breaks.
    pub breaks: Vec<Pause>,
    /// Something keeps the guard at the gate, and tours are left out.
    pub busy: Option<(f64, f64)>,
    /// What fails.
    pub faults: Vec<Fault>,
    /// How many tasks come in a night, on average.
    pub tasks: f64,
}

/// The ways of one guard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Habits {
    /// Seconds from one use of the handset to the next, awake at the post.
    pub uses_every: f64,
    /// Seconds from one small walk to the next: the toilet, the kettle, the door.
    pub walks_every: f64,
    /// The share of these walks on which the handset comes along.
    pub takes_it_along: f64,
    /// The share of tours that are left out for no reason.
    pub skips: f64,
}

/// When and how a guard sleeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sleep {
    /// Not at all.
    Never,
    /// From one instant to another; looks at the handset once in `glances` on average.
    Through {
        /// From then on.
        from: f64,
        /// Until then.
        to: f64,
        /// Seconds from one glance at the handset to the next.
        glances: f64,
    },
    /// The same, but one tour in the middle is walked.
    WithOneTour {
        /// From then on.
        from: f64,
        /// Until then.
        to: f64,
    },
    /// Between any two tours of that time, every tour is walked.
    BetweenTours {
        /// From then on.
        from: f64,
        /// Until then.
        to: f64,
    },
}

/// A lawful break.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pause {
    /// Its start.
    pub from: f64,
    /// Its end.
    pub to: f64,
    /// Whether it is declared, else it stands in the roster.
    pub declared: bool,
    /// Whether the guard naps, else the handset is looked at.
    pub naps: bool,
}

/// Something that fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// The handset is off, or its program is: nothing is recorded.
    Off(f64, f64),
    /// The handset is out of reach: it records, and delivers when it is back.
    OutOfReach(f64, f64),
    /// The gateway is off. Handsets deliver when it is back; what readers said is lost.
    Gateway(f64, f64),
    /// The receiver is disturbed.
    Jammed(f64, f64, Jam),
}

impl Habits {
    /// Any guard. Seven in ten carry a phone of their own: adults look at theirs 2 to 5 times an hour by day, and on
    /// guard it is taken to be once or twice, very different from one to the next. Three in ten carry the company's,
    /// which is good for nothing but scans.
    pub fn draw(chance: &mut Chance) -> Self {
        let company = chance.happens(0.3);
        let uses_an_hour = if company { 0.1 } else { lognormal(chance, 1.5, 0.8) };
        Self {
            uses_every: HOUR / uses_an_hour,
            walks_every: HOUR / lognormal(chance, 1.0, 0.5),
            takes_it_along: 0.5,
            skips: 0.03,
        }
    }
}

impl Plan {
    /// A night in which nothing special happens: check-in in the last twelve minutes before 20:00, check-out from 06:00 on, a
    /// reader on every other site, and on one night in twenty something that keeps the guard at the gate.
    pub fn ordinary(chance: &mut Chance) -> Self {
        let duty = (
            clock(20, 0) - chance.between(0.0, 12.0) * MINUTE,
            clock(6, 0) + chance.between(0.0, 5.0) * MINUTE,
        );
        let habits = Habits::draw(chance);
        let reader = chance.happens(0.5);
        let busy = chance.happens(0.05).then(|| {
            let from = chance.between(clock(20, 30), clock(4, 0));
            (from, from + chance.between(1.0, 2.5) * HOUR)
        });
        let ground = Ground { reader, ..Ground::default() };
        Self { ground, duty, habits, sleep: Sleep::Never, breaks: vec![], busy, faults: vec![], tasks: 2.0 }
    }

    /// The same with a guard who sleeps: nobody is kept at the gate in that night.
    #[must_use]
    pub fn sleeping(mut self, sleep: Sleep) -> Self {
        (self.sleep, self.busy) = (sleep, None);
        self
    }

    /// The same with something that fails.
    #[must_use]
    pub fn failing(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }
}
