//! How long the flash under the data folder may last: what it says of itself, else what was written to it since the boot.

use super::machine::Finding;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The kernel counts in sectors of this size, whatever the disk has.
const SECTOR_BYTES: u64 = 512;
/// How often a cell of a cheap card may be written: what makers of cards state for three bits in a cell.
const CYCLES: u64 = 1_000;
/// A rate of less than an hour says nothing of a day.
const LEAST_UP_SECS: u64 = 3_600;
/// From here on (in tenths, as eMMC counts) a disk is to be replaced before it fails: 80 percent are used up.
const OLD_TENTHS: u64 = 9;
const DAY_SECS: u64 = 86_400;

/// What can be said of the disk under a folder; nothing of what has no block device, or hides it.
pub(super) fn finding(folder: &Path) -> Option<Finding> {
    let disk = disk_under(folder)?;
    if let Some(used) = life_used(&disk) {
        return Some(of_life(used));
    }
    let up_secs = fs::read_to_string("/proc/uptime").ok()?.split(['.', ' ']).next()?.parse().ok()?;
    let bytes = number(&fs::read_to_string(disk.join("size")).ok()?, 0)?.saturating_mul(SECTOR_BYTES);
    let written = number(&fs::read_to_string(disk.join("stat")).ok()?, 6)?.saturating_mul(SECTOR_BYTES);
    of_rate(bytes, written, up_secs)
}

/// The bytes that a folder takes.
pub(super) fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(there) if there.is_dir() => size_of(&entry.path()),
        Ok(there) => there.blocks().saturating_mul(SECTOR_BYTES),
        // It went while it was looked at.
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// The whole disk, of which the folder's filesystem may be one part.
fn disk_under(folder: &Path) -> Option<PathBuf> {
    let folder = std::path::absolute(folder).ok()?;
    let there = folder.ancestors().find(|path| path.exists())?;
    let device = fs::metadata(there).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let part = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let is_part = part.join("partition").exists();
    if is_part { part.parent().map(Path::to_owned) } else { Some(part) }
}

/// What eMMC says of itself, in tenths, the worse of its two kinds of cells: 1 is less than 10 percent.
fn life_used(disk: &Path) -> Option<u64> {
    let said = fs::read_to_string(disk.join("device/life_time")).ok()?;
    let tenths = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
    said.split_whitespace().filter_map(tenths).max().filter(|used| *used > 0)
}

fn of_life(tenths: u64) -> Finding {
    let percent = tenths.saturating_mul(10).min(100);
    if tenths < OLD_TENTHS {
        Finding::well(format_args!("the flash says that at most {percent} percent of its life are used up"))
    } else {
        Finding::amiss(format_args!(
            "the flash says that {percent} percent of its life are used up; replace it"
        ))
    }
}

fn of_rate(bytes: u64, written: u64, up_secs: u64) -> Option<Finding> {
    if up_secs < LEAST_UP_SECS {
        return None;
    }
    let a_day = (u128::from(written) * u128::from(DAY_SECS) / u128::from(up_secs)).max(1);
    let years = u128::from(bytes) * u128::from(CYCLES) / a_day / 365;
    let gib = |bytes: u128| bytes as f64 / f64::from(1 << 30);
    let rate = format!("{:.1} GiB a day were written to the disk since the boot", gib(a_day));
    Some(if years >= 5 {
        Finding::well(format_args!("{rate}: flash of its size lasts for years"))
    } else {
        let lasts = match years {
            0 => "less than a year".to_owned(),
            1 => "a year".to_owned(),
            _ => format!("{years} years"),
        };
        Finding::amiss(format_args!(
            "{rate}: flash of its size with {CYCLES} cycles lasts {lasts}; see what else writes (iotop), or use a disk \
             that is made for it"
        ))
    })
}

fn number(text: &str, at: usize) -> Option<u64> {
    text.split_whitespace().nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_a_day_says_how_long_a_card_lasts() {
        let gib = 1_u64 << 30;
        assert_eq!(of_rate(16 * gib, gib, LEAST_UP_SECS - 1), None);
        assert!(
            matches!(of_rate(16 * gib, gib, DAY_SECS), Some(Finding::Well(told)) if told.starts_with("1.0 GiB a day"))
        );
        // 16,000 GiB at 10 GiB a day: 1,600 days.
        let Some(Finding::Amiss(told)) = of_rate(16 * gib, 20 * gib, 2 * DAY_SECS) else {
            panic!("it wears out")
        };
        assert!(told.starts_with("10.0 GiB a day") && told.contains("lasts 4 years"), "{told}");
    }

    #[test]
    fn emmc_says_it_itself() {
        let disk = tempfile::tempdir().unwrap();
        assert_eq!(life_used(disk.path()), None);
        fs::create_dir(disk.path().join("device")).unwrap();
        for (said, used) in [("0x01 0x02\n", Some(2)), ("0x0b 0x01\n", Some(11)), ("0x00 0x00\n", None)] {
            fs::write(disk.path().join("device/life_time"), said).unwrap();
            assert_eq!(life_used(disk.path()), used, "{said}");
        }
        assert!(matches!(of_life(8), Finding::Well(_)) && matches!(of_life(9), Finding::Amiss(_)));
    }

    #[test]
    fn a_folder_is_as_large_as_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(size_of(&folder.path().join("absent")), 0);
        fs::create_dir(folder.path().join("db")).unwrap();
        fs::write(folder.path().join("db/file"), vec![1; 100_000]).unwrap();
        assert!(size_of(folder.path()) >= 100_000);
    }
}
