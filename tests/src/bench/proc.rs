//! What Linux knows of a process and of its disk: `/proc/PID/io`, `stat` and `status`, `/sys/dev/block`.

use super::Failure;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// `/proc/PID/stat` counts in these, on every architecture that Linux runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Bytes that it handed to `write` and its kin (`wchar`), sockets and logs included.
    pub handed_over: f64,
    /// Seconds of processor time, user and system.
    pub cpu_secs: f64,
}

impl Usage {
    /// Of a process that is still there; `self` for this one.
    pub fn of(pid: &str) -> Result<Self, Failure> {
        let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name of the command is in brackets and may hold anything; utime and stime are 12 and 13 behind it.
        let behind = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks =
            |n: usize| behind.split_whitespace().nth(n).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
        Ok(Self { handed_over: field(&io, "wchar")?, cpu_secs: (ticks(11) + ticks(12)) / TICKS_PER_SECOND })
    }

    /// What was used since then.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self { handed_over: self.handed_over - before.handed_over, cpu_secs: self.cpu_secs - before.cpu_secs }
    }
}

/// The device under a folder. What it wrote is the truth about wear: `write_bytes` of a process counts a whole
/// folio, up to 2 MiB, when one byte of it changes. Whatever else writes to the device is counted too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    stat: PathBuf,
}

impl Disk {
    /// Fails where a folder has no device of its own, as on tmpfs.
    pub fn under(folder: &Path) -> Result<Self, Failure> {
        let device = fs::metadata(folder)?.dev();
        let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
        let stat = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"));
        if stat.exists() {
            return Ok(Self { stat });
        }
        Err(format!("{} is on no block device; name another in VIGIL_BENCH_DIR", folder.display()).into())
    }

    /// Bytes written since the machine started.
    pub fn written(&self) -> Result<f64, Failure> {
        let text = fs::read_to_string(&self.stat)?;
        let sectors = text.split_whitespace().nth(6).and_then(|n| n.parse::<f64>().ok());
        // The unit is 512 bytes, whatever the sectors of the device are.
        sectors.map(|n| n * 512.0).ok_or_else(|| "the device does not say what it wrote".into())
    }
}

/// Memory of a process in MiB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Memory {
    /// Resident now.
    pub resident: f64,
    /// The most that ever was resident.
    pub peak: f64,
}

impl Memory {
    /// Of a process that is still there.
    pub fn of(pid: &str) -> Result<Self, Failure> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        Ok(Self { resident: field(&status, "VmRSS")? / 1_024.0, peak: field(&status, "VmHWM")? / 1_024.0 })
    }
}

fn field(text: &str, name: &str) -> Result<f64, Failure> {
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| format!("no {name} in what /proc says").into())
}

/// The machine and what else it is doing, in one line.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown", |(_, m)| m.trim());
    let cores = cpus.lines().filter(|l| l.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} x {model}, Linux {}, load {}", kernel.trim(), load())
}

/// The load average of the last minute: above the number of cores, absolute figures say little.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known() {
        let before = Usage::of("self").unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), vec![7; 100_000]).unwrap();
        let used = Usage::of("self").unwrap().since(before);
        assert!(used.handed_over >= 100_000.0, "{used:?}");
        let memory = Memory::of("self").unwrap();
        assert!(memory.resident > 1.0 && memory.peak >= memory.resident);
        assert!(Usage::of("0").is_err());
    }

    #[test]
    fn only_a_folder_on_a_device_has_a_disk() {
        let refused = Disk::under(Path::new("/proc")).unwrap_err().to_string();
        assert!(refused.contains("VIGIL_BENCH_DIR"), "{refused}");
    }
}
