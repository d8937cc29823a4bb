//! What time it is, as far as that can be known. Pure: readings and signs go in, and whether time is to be told again
//! comes out.

use serde::{Deserialize, Serialize};
use vigil_core::retelling::Correction;
use vigil_core::time::{Span, Timestamp};

/// Nobody has run this agent before 2025: a clock that shows less was never set.
const EARLIEST: Timestamp = Timestamp::from_millis(1_735_689_600_000);
/// And no box lasts for a century: what shows more is a broken battery's random bits.
const LATEST: Timestamp = Timestamp::from_millis(4_891_363_200_000);
/// A difference that is followed without telling anything again: a third of what a device may be off.
const SMALL_MS: i64 = 10_000;
/// How long a box without a real-time clock waits for a better one, counted from its boot: the network, NTP and the
/// operations centre are there within that, or not at all.
const WAIT_MS: i64 = 600_000;
/// A clock that was taken from the disk shows about the last instant that the box lived through. It is written at
/// least hourly by fake-hwclock and each minute by systemd-timesyncd, and never after the box went down.
const CARRIED_OVER: Span = Span::from_mins(10);
/// How far off NTP leaves a clock, at most: it steps what is larger than a fraction of a second.
const NTP_UNCERTAINTY_MS: i64 = 1_000;
/// What a crystal gains or loses, in milliseconds for each ten seconds: 100 ppm.
const DRIFT_PER_MS: i64 = 10_000;
/// So many answers in a row have to contradict a clock that the operations centre itself has set.
const CONTRADICTIONS: u8 = 3;
/// A box that slept for less was not away: this is what the sources wait for a word as well.
const SLEPT_MS: i64 = 60_000;

/// One look at the clocks of the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Milliseconds since the box booted, its sleep included.
    pub boot_ms: i64,
    /// The same without its sleep.
    pub awake_ms: i64,
    /// What the wall clock shows.
    pub wall_ms: i64,
}

impl Reading {
    /// What is to be added to boot time to have the wall clock.
    const fn wall_offset_ms(self) -> i64 {
        self.wall_ms - self.boot_ms
    }
}

/// The files that say that the wall clock is synchronised: when each was last touched.
pub type Signs = [Option<i64>; 2];

/// What the box is, from its boot to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// The kernel's name for this boot, if it tells.
    pub boot: Option<String>,
    /// Whether it has a clock that goes on without power.
    pub has_rtc: bool,
}

/// How far the time can be trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// It cannot be right: time is provisional.
    Unset,
    /// It is plausible, and nobody vouches for it.
    #[default]
    Unverified,
    /// NTP keeps the wall clock.
    Ntp,
    /// The operations centre has told it.
    Noc,
}

impl Trust {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Unset, Self::Unverified, Self::Ntp, Self::Noc];

    /// The name on every edge.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Unverified => "unverified",
            Self::Ntp => "ntp",
            Self::Noc => "noc",
        }
    }
}

/// What is known of the time: kept in the store, so that an agent that is started again in the same boot goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeping {
    boot: Option<String>,
    trust: Trust,
    /// What is to be added to boot time.
    offset_ms: i64,
    /// How far that was off when it was learnt, and when that was.
    uncertainty_ms: i64,
    learnt_ms: i64,
    /// The wall clock when it was last looked at, as an offset from boot time.
    wall_offset_ms: i64,
    signs: Signs,
    /// The last instant before this boot: no plausible clock shows less.
    last_known: Timestamp,
    /// Until when, in boot time, a clock that looks as if it were from the disk is not believed.
    wait_until_ms: Option<i64>,
    /// From where on time would be told again.
    from: Timestamp,
    /// How many answers of the operations centre in a row contradicted.
    contradictions: u8,
    /// What the operations centre says against NTP, in milliseconds; 0 if nothing.
    noc_differs_ms: i64,
}

const fn plausible(at: Timestamp) -> bool {
    EARLIEST.millis() <= at.millis() && at.millis() <= LATEST.millis()
}

impl Keeping {
    /// The state of things at a start. `before` is what the store knows; `last_known` the last instant in it, if it is not
    /// new.
    pub fn begin(
        machine: &Machine,
        reading: Reading,
        signs: Signs,
        before: Option<&Self>,
        last_known: Option<Timestamp>,
    ) -> Self {
        let same_boot = |k: &&Self| machine.boot.is_some() && k.boot == machine.boot;
        match before.filter(same_boot) {
            Some(before) => before.clone(),
            None => Self::first(machine, reading, signs, last_known),
        }
    }

    fn first(machine: &Machine, reading: Reading, signs: Signs, last_known: Option<Timestamp>) -> Self {
        let wall = Timestamp::from_millis(reading.wall_ms);
        let known = last_known.unwrap_or_default();
        let lags = reading.wall_ms + SMALL_MS < known.millis();
        let vouched = signs.iter().any(Option::is_some);
        let just_booted = reading.boot_ms < WAIT_MS && !machine.has_rtc;
        let from_disk = last_known
            .is_some_and(|known| reading.wall_offset_ms() <= (known + CARRIED_OVER).millis() && just_booted);
        let (trust, wait) = match (plausible(wall), vouched) {
            (true, true) => (Trust::Ntp, false),
            (true, false) if lags => (Trust::Unset, false),
            (true, false) if from_disk => (Trust::Unset, true),
            (true, false) => (Trust::Unverified, false),
            (false, _) => (Trust::Unset, false),
        };
        let shown = match trust {
            Trust::Unset if !plausible(wall) => known.max(EARLIEST),
            Trust::Unset | Trust::Unverified => wall.max(known),
            Trust::Ntp | Trust::Noc => wall,
        };
        Self {
            boot: machine.boot.clone(),
            trust,
            offset_ms: shown.millis() - reading.boot_ms,
            uncertainty_ms: if trust == Trust::Ntp { NTP_UNCERTAINTY_MS } else { 0 },
            learnt_ms: reading.boot_ms,
            wall_offset_ms: reading.wall_offset_ms(),
            signs,
            last_known: known,
            wait_until_ms: wait.then_some(WAIT_MS),
            from: shown,
            ..Self::default()
        }
    }

    /// What is to be added to boot time.
    pub const fn offset_ms(&self) -> i64 {
        self.offset_ms
    }

    /// How far the time can be trusted.
    pub const fn trust(&self) -> Trust {
        self.trust
    }

    /// How far the time may be off, if anybody vouched for it: what was learnt, and the drift since.
    pub fn uncertainty(&self, boot_ms: i64) -> Option<Span> {
        let drift = (boot_ms - self.learnt_ms).max(0) / DRIFT_PER_MS;
        let vouched = matches!(self.trust, Trust::Ntp | Trust::Noc);
        vouched.then(|| Span::from_millis(self.uncertainty_ms + drift))
    }

    /// How far the wall clock is ahead of the agent's.
    pub const fn wall_ahead(&self, reading: Reading) -> Span {
        Span::from_millis(reading.wall_offset_ms() - self.offset_ms)
    }

    /// What the operations centre says against NTP.
    pub const fn noc_differs(&self) -> Option<Span> {
        if self.noc_differs_ms == 0 { None } else { Some(Span::from_millis(self.noc_differs_ms)) }
    }

    /// From where on time would be told again.
    pub const fn from(&self) -> Timestamp {
        self.from
    }

    /// From here on time would be told again: the engine as it stands is on stable storage.
    pub fn mark(&mut self, from: Timestamp) {
        self.from = from;
    }

    /// Looks at the wall clock; whether time is to be told again.
    pub fn on_look(&mut self, reading: Reading, signs: Signs) -> Option<Correction> {
        let wall = Timestamp::from_millis(reading.wall_ms);
        let stepped = reading.wall_offset_ms() != self.wall_offset_ms;
        self.wall_offset_ms = reading.wall_offset_ms();
        let vouched = signs != self.signs && signs.iter().any(Option::is_some);
        if vouched && plausible(wall) {
            self.signs = signs;
            return self.learn(reading, reading.wall_offset_ms(), Trust::Ntp, NTP_UNCERTAINTY_MS);
        }
        let waited = self.wait_until_ms.is_some_and(|until| reading.boot_ms >= until);
        let lags = wall.millis() + SMALL_MS < self.last_known.millis();
        let follows = match self.trust {
            Trust::Unset => waited || (self.is_far(reading) && stepped && !lags),
            Trust::Unverified => stepped,
            Trust::Ntp | Trust::Noc => false,
        };
        if follows && plausible(wall) {
            return self.learn(reading, reading.wall_offset_ms(), Trust::Unverified, 0);
        }
        None
    }

    fn is_far(&self, reading: Reading) -> bool {
        self.wall_ahead(reading).millis().abs() > SMALL_MS
    }

    /// The operations centre says that boot time and `offset_ms` are the time; whether time is to be told again.
    pub fn on_noc(&mut self, reading: Reading, offset_ms: i64, uncertainty_ms: i64) -> Option<Correction> {
        if !plausible(Timestamp::from_millis(reading.boot_ms + offset_ms)) {
            return None;
        }
        let by = offset_ms - self.offset_ms;
        let differs = by.abs() > uncertainty_ms + SMALL_MS;
        match self.trust {
            Trust::Ntp => {
                self.noc_differs_ms = if differs { by } else { 0 };
                return None;
            }
            Trust::Noc if differs => {
                self.contradictions += 1;
                if self.contradictions < CONTRADICTIONS {
                    return None;
                }
            }
            // A coarser word than the one that counts says nothing new.
            Trust::Noc if self.uncertainty(reading.boot_ms).is_some_and(|u| u.millis() <= uncertainty_ms) => {
                self.contradictions = 0;
                return None;
            }
            Trust::Noc | Trust::Unset | Trust::Unverified => {}
        }
        // Within its own uncertainty it confirms the clock and does not move it.
        let confirms = self.trust != Trust::Unset && by.abs() <= uncertainty_ms;
        let offset_ms = if confirms { self.offset_ms } else { offset_ms };
        self.learn(reading, offset_ms, Trust::Noc, uncertainty_ms)
    }

    fn learn(
        &mut self,
        reading: Reading,
        offset_ms: i64,
        trust: Trust,
        uncertainty_ms: i64,
    ) -> Option<Correction> {
        let by = Span::from_millis(offset_ms - self.offset_ms);
        let again = self.trust == Trust::Unset || by.millis().abs() > SMALL_MS;
        (self.offset_ms, self.trust) = (offset_ms, trust);
        (self.uncertainty_ms, self.learnt_ms) = (uncertainty_ms, reading.boot_ms);
        (self.wait_until_ms, self.contradictions, self.noc_differs_ms) = (None, 0, 0);
        let uncertainty = Span::from_millis(uncertainty_ms);
        again.then_some(Correction { from: self.from, by, uncertainty })
    }
}

/// How long the box slept between two looks, if it did.
pub fn slept(before: Reading, now: Reading) -> Option<Span> {
    let asleep = (now.boot_ms - before.boot_ms) - (now.awake_ms - before.awake_ms);
    (asleep > SLEPT_MS).then(|| Span::from_millis(asleep))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    /// A time at which the box knew what time it was.
    const NIGHT: i64 = 1_773_100_000_000;

    fn machine() -> Machine {
        Machine { boot: Some("b-1".into()), has_rtc: false }
    }

    /// So many seconds after the boot, when the wall clock shows `wall_ms`.
    fn look(secs: i64, wall_ms: i64) -> Reading {
        Reading { boot_ms: secs * 1_000, awake_ms: secs * 1_000, wall_ms }
    }

    fn begin(wall_ms: i64, last_known: Option<i64>) -> Keeping {
        let last_known = last_known.map(Timestamp::from_millis);
        Keeping::begin(&machine(), look(30, wall_ms), [None; 2], None, last_known)
    }

    fn shown(k: &Keeping, secs: i64) -> i64 {
        secs * 1_000 + k.offset_ms()
    }

    #[test]
    fn what_a_clock_is_worth_at_a_start() {
        let minute = 60_000;
        let with_rtc = Machine { has_rtc: true, ..machine() };
        for (wall, last_known, machine, expected, at) in [
            (30_000, None, machine(), Trust::Unset, EARLIEST.millis()),
            (30_000, Some(NIGHT), machine(), Trust::Unset, NIGHT),
            (LATEST.millis() + 1, Some(NIGHT), with_rtc.clone(), Trust::Unset, NIGHT),
            (NIGHT, None, machine(), Trust::Unverified, NIGHT),
            (NIGHT + 2 * HOUR, Some(NIGHT), machine(), Trust::Unverified, NIGHT + 2 * HOUR),
            (NIGHT + 5 * minute, Some(NIGHT), machine(), Trust::Unset, NIGHT + 5 * minute),
            (NIGHT + 5 * minute, Some(NIGHT), with_rtc.clone(), Trust::Unverified, NIGHT + 5 * minute),
            (NIGHT - 9_000, Some(NIGHT), with_rtc.clone(), Trust::Unverified, NIGHT),
            (NIGHT - 10_001, Some(NIGHT), with_rtc, Trust::Unset, NIGHT),
        ] {
            let known = last_known.map(Timestamp::from_millis);
            let k = Keeping::begin(&machine, look(30, wall), [None; 2], None, known);
            assert_eq!((k.trust(), shown(&k, 30)), (expected, at), "{wall} after {last_known:?}");
        }
    }

    #[test]
    fn a_sign_is_believed_even_below_the_last_known_instant() {
        let known = Some(Timestamp::from_millis(NIGHT + 1_000 * HOUR));
        let k = Keeping::begin(&machine(), look(30, NIGHT), [Some(1), None], None, known);
        assert_eq!((k.trust(), shown(&k, 30)), (Trust::Ntp, NIGHT));
        let k = Keeping::begin(&machine(), look(30, 5), [Some(1), None], None, None);
        assert_eq!(k.trust(), Trust::Unset, "but not in 1970");
    }

    #[test]
    fn time_goes_on_through_sleep_and_a_step_of_a_kept_clock_does_not_move_it() {
        let mut k = Keeping::begin(&machine(), look(30, NIGHT), [Some(1), None], None, None);
        for step in [HOUR, -HOUR, 56 * 8_766 * HOUR] {
            assert_eq!(k.on_look(look(60, NIGHT + 30_000 + step), [Some(1), None]), None);
            assert_eq!(shown(&k, 60), NIGHT + 30_000);
            assert_eq!(k.wall_ahead(look(60, NIGHT + 30_000 + step)).millis(), step);
        }
        // Boot time counts the sleep, so the time is right when the box wakes.
        assert_eq!(shown(&k, 60 + 7_200), NIGHT + 30_000 + 2 * HOUR);
        let before = Reading { boot_ms: 0, awake_ms: 0, wall_ms: 0 };
        let awake = |boot_ms, awake_ms| slept(before, Reading { boot_ms, awake_ms, wall_ms: 0 });
        assert_eq!(awake(2 * HOUR, 5_000), Some(Span::from_millis(2 * HOUR - 5_000)));
        assert_eq!(awake(2 * HOUR, 2 * HOUR - 60_000), None);
    }

    #[test]
    fn ntp_moves_it_when_it_vouches_again() {
        let mut k = Keeping::begin(&machine(), look(30, NIGHT), [Some(1), None], None, None);
        let later = |step| look(60, NIGHT + 30_000 + step);
        assert_eq!(k.on_look(later(10_000), [Some(2), None]), None, "a small one is followed");
        assert_eq!(shown(&k, 60), NIGHT + 40_000);
        let correction = k.on_look(later(-HOUR), [Some(3), None]).unwrap();
        assert_eq!(correction.by.millis(), -HOUR - 10_000);
        assert_eq!(correction.from.millis(), NIGHT);
        assert_eq!(shown(&k, 60), NIGHT + 30_000 - HOUR);
    }

    #[test]
    fn an_unset_clock_learns_the_time_from_whoever_knows_it() {
        let real = NIGHT + 5 * HOUR;
        let at = |secs: i64| look(secs, real + (secs - 30) * 1_000);
        let mut ntp = begin(30_000, Some(NIGHT));
        assert_eq!(ntp.on_look(look(40, 40_000), [None; 2]), None, "it goes on as it was");
        let correction = ntp.on_look(at(60), [None, Some(9)]).unwrap();
        assert_eq!((correction.from.millis(), correction.by.millis()), (NIGHT, 5 * HOUR));
        assert_eq!((ntp.trust(), shown(&ntp, 60)), (Trust::Ntp, real + 30_000));
        let mut by_hand = begin(30_000, Some(NIGHT));
        assert_eq!(by_hand.on_look(at(60), [None; 2]).unwrap().by.millis(), 5 * HOUR);
        assert_eq!(by_hand.trust(), Trust::Unverified);
        let mut wrong_hand = begin(30_000, Some(NIGHT));
        assert_eq!(wrong_hand.on_look(look(60, NIGHT - HOUR), [None; 2]), None, "it cannot be so early");
        let mut noc = begin(30_000, Some(NIGHT));
        let correction = noc.on_noc(look(60, 60_000), real - 30_000, 1_200).unwrap();
        assert_eq!((correction.by.millis(), correction.uncertainty.millis()), (5 * HOUR, 1_200));
        assert_eq!((noc.trust(), shown(&noc, 60)), (Trust::Noc, real + 30_000));
    }

    #[test]
    fn a_clock_from_the_disk_is_believed_after_ten_minutes() {
        let mut k = begin(NIGHT + 60_000, Some(NIGHT));
        let at = |secs: i64| look(secs, NIGHT + 60_000 + (secs - 30) * 1_000);
        assert_eq!(k.on_look(at(599), [None; 2]), None);
        assert_eq!(k.trust(), Trust::Unset);
        assert_eq!(k.on_look(at(600), [None; 2]).unwrap().by, Span::ZERO, "what waited is judged");
        assert_eq!(k.trust(), Trust::Unverified);
    }

    #[test]
    fn an_unverified_clock_follows_the_hand_that_sets_it() {
        let mut k = begin(NIGHT, None);
        assert_eq!(k.on_look(look(60, NIGHT + 31_000), [None; 2]), None);
        assert_eq!(shown(&k, 60), NIGHT + 31_000, "a second");
        assert_eq!(k.on_look(look(60, NIGHT + 30_000 - HOUR), [None; 2]).unwrap().by.millis(), -HOUR - 1_000);
        assert_eq!(k.on_look(look(60, 0), [None; 2]), None, "but not into 1970");
    }

    #[test]
    fn the_operations_centre_confirms_corrects_and_does_not_argue_with_ntp() {
        let at = look(60, NIGHT + 30_000);
        let truth = NIGHT - 30_000;
        let mut k = begin(NIGHT, None);
        assert_eq!(k.on_noc(at, truth + 900, 1_100), None);
        assert_eq!((k.trust(), shown(&k, 60)), (Trust::Noc, NIGHT + 30_000), "confirmed, not moved");
        for n in 1..=3 {
            let corrected = k.on_noc(at, truth + HOUR, 1_100);
            assert_eq!(corrected.map(|c| c.by.millis()), (n == 3).then_some(HOUR), "answer {n}");
        }
        let mut k = Keeping::begin(&machine(), look(30, NIGHT), [Some(1), None], None, None);
        assert_eq!(k.on_noc(at, truth + HOUR, 1_100), None);
        assert_eq!((k.trust(), k.noc_differs().map(Span::millis)), (Trust::Ntp, Some(HOUR)));
        assert_eq!(k.on_noc(at, truth, 1_100), None);
        assert_eq!(k.noc_differs(), None);
        let mut k = begin(30_000, Some(NIGHT));
        assert_eq!(k.on_noc(at, -NIGHT, 1_100), None, "nor does it send anybody to 1970");
    }

    #[test]
    fn an_agent_that_is_started_again_goes_on_where_it_stood() {
        let mut k = begin(30_000, Some(NIGHT));
        k.on_noc(look(60, 60_000), NIGHT, 1_200).unwrap();
        let again = Keeping::begin(
            &machine(),
            look(90, 90_000),
            [None; 2],
            Some(&k),
            Some(Timestamp::from_millis(NIGHT)),
        );
        assert_eq!(again, k);
        let other = Machine { boot: Some("b-2".into()), has_rtc: false };
        let rebooted = Keeping::begin(
            &other,
            look(30, 30_000),
            [None; 2],
            Some(&k),
            Some(Timestamp::from_millis(NIGHT)),
        );
        assert_eq!(rebooted.trust(), Trust::Unset);
    }

    #[test]
    fn what_was_learnt_grows_stale() {
        let mut k = begin(30_000, Some(NIGHT));
        assert_eq!(k.uncertainty(60_000), None);
        k.on_noc(look(60, 60_000), NIGHT, 1_200).unwrap();
        // 72 h at 100 ppm are 26 s.
        let after = k.uncertainty(60_000 + 72 * HOUR).unwrap();
        assert_eq!(after.millis(), 1_200 + 25_920);
    }
}
