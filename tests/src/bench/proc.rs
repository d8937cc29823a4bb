//! What Linux knows of a process: `/proc/PID/io`, `stat` and `status`.

use super::Failure;
use std::fs;

/// `/proc/PID/stat` counts in these, on every architecture that Linux runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Bytes of pages that it made the kernel write to storage (`write_bytes`): whole pages, however little changed.
    pub written: f64,
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
        Ok(Self {
            written: field(&io, "write_bytes")?,
            handed_over: field(&io, "wchar")?,
            cpu_secs: (ticks(11) + ticks(12)) / TICKS_PER_SECOND,
        })
    }

    /// What was used since then.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            written: self.written - before.written,
            handed_over: self.handed_over - before.handed_over,
            cpu_secs: self.cpu_secs - before.cpu_secs,
        }
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
}
