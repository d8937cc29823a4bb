//! What the box itself says of its clocks. Whatever cannot be read is not known, and nothing depends on it.

use super::keeping::{Machine, Reading, Signs};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::{SystemTime, UNIX_EPOCH};

/// Touched when the wall clock is synchronised: by systemd-timesyncd, and by whatever else keeps it.
const SIGNS: [&str; 2] = ["/run/systemd/timesync/synchronized", "/run/vigil/clock-synchronized"];

/// The kernel's name for this boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Every clock that goes on without power.
const RTCS: &str = "/sys/class/rtc";

pub(super) fn machine() -> Machine {
    let boot = std::fs::read_to_string(BOOT_ID).ok().map(|id| id.trim().to_owned());
    let has_rtc = std::fs::read_dir(RTCS).is_ok_and(|mut clocks| clocks.next().is_some());
    Machine { boot: boot.filter(|id| !id.is_empty()), has_rtc }
}

pub(super) fn reading() -> Reading {
    Reading {
        boot_ms: millis(clock_gettime(ClockId::Boottime)),
        awake_ms: millis(clock_gettime(ClockId::Monotonic)),
        wall_ms: wall_ms(SystemTime::now()),
    }
}

pub(super) fn signs() -> Signs {
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
    fn the_kernel_answers() {
        let (first, second) = (reading(), reading());
        assert!(first.boot_ms > 0 && second.boot_ms >= first.boot_ms);
        assert!(first.boot_ms >= first.awake_ms, "boot time counts the sleep as well");
    }
}
