//! What the box itself says of its clocks. Whatever cannot be read is not known, and nothing depends on it.

use super::Clockwork;
use super::keeping::{Machine, Reading, Signs};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::{SystemTime, UNIX_EPOCH};

/// Touched when the wall clock is synchronised: by systemd-timesyncd, and by whatever else keeps it.
const SIGNS: [&str; 2] = ["/run/systemd/timesync/synchronized", "/run/vigil/clock-synchronized"];

/// The kernel's name for this boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Every clock that goes on without power.
const RTCS: &str = "/sys/class/rtc";

/// The box that this runs on.
#[derive(Debug)]
pub(super) struct Real;

impl Clockwork for Real {
    fn machine(&self) -> Machine {
        machine()
    }
    fn reading(&self) -> Reading {
        reading()
    }
    fn signs(&self) -> Signs {
        signs()
    }
}

fn machine() -> Machine {
    let boot = std::fs::read_to_string(BOOT_ID).ok().map(|id| id.trim().to_owned());
    let has_rtc = std::fs::read_dir(RTCS).is_ok_and(|mut clocks| clocks.next().is_some());
    Machine { boot: boot.filter(|id| !id.is_empty()), has_rtc }
}

fn reading() -> Reading {
    let (boot, awake) = (clock_gettime(ClockId::Boottime), clock_gettime(ClockId::Monotonic));
    let boot_ms = millis(boot);
    let wall_ms = boot_ms.saturating_add(offset_up_ms(nanos(boot), wall_ns(SystemTime::now())));
    Reading { boot_ms, awake_ms: millis(awake), wall_ms }
}

/// What is to be added to boot time to have the wall clock, rounded up: the agent is then up to a millisecond ahead and
/// never behind, so that what a device on this box says is not cut back to the millisecond before it was said.
fn offset_up_ms(boot_ns: i128, wall_ns: i128) -> i64 {
    let up = (wall_ns - boot_ns + 999_999).div_euclid(1_000_000);
    i64::try_from(up).unwrap_or(i64::MAX)
}

fn nanos(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

fn wall_ns(time: SystemTime) -> i128 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| i128::try_from(d.as_nanos()).unwrap_or(i128::MAX / 2))
}

fn signs() -> Signs {
    let touched = |path: &str| std::fs::metadata(path).and_then(|file| file.modified()).ok().map(wall_ms);
    SIGNS.map(touched)
}

fn millis(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000).saturating_add(time.tv_nsec / 1_000_000)
}

pub(super) fn wall_ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn time_before_the_epoch_is_the_epoch() {
        assert_eq!(wall_ms(UNIX_EPOCH - Duration::from_secs(5)), 0);
    }

    #[test]
    fn the_offset_is_rounded_up() {
        assert_eq!(offset_up_ms(0, 5_000_000), 5);
        assert_eq!(offset_up_ms(1, 5_000_002), 6, "a nanosecond more than 5 ms");
        assert_eq!(offset_up_ms(5_000_001, 0), -5, "a box whose clock stands before its boot");
    }

    #[test]
    fn the_kernel_answers() {
        let (first, second) = (reading(), reading());
        assert!(first.boot_ms > 0 && second.boot_ms >= first.boot_ms);
        assert!(first.boot_ms >= first.awake_ms, "boot time counts the sleep as well");
    }
}
