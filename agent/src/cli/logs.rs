//! Logs: for people on a terminal, JSON lines under systemd and in files. Never a position, a token or a biometric.
//!
//! A line for the journal begins with its priority, so that `journalctl -p err` finds it, and has no instant of its own: the
//! journal puts one before every line.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// What the journal calls an error (`sd-daemon(3)`).
const ERROR: &str = "<3>";

/// Sets up logging to standard error; `VIGIL_LOG` chooses the level, like `debug` or `vigil_agent=trace`.
pub fn set_up(default_level: &str) {
    let filter = EnvFilter::try_from_env("VIGIL_LOG").unwrap_or_else(|_| EnvFilter::new(default_level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    // Logging that was set up before, as in a test, stays.
    let _kept = if io::stderr().is_terminal() {
        builder.with_writer(io::stderr).with_target(false).compact().try_init()
    } else if is_journal(&io::stderr()) {
        builder.with_writer(Journal).json().flatten_event(true).without_time().try_init()
    } else {
        builder.with_writer(io::stderr).json().flatten_event(true).try_init()
    };
}

/// Says on standard error why a command failed; to the journal, each line as an error.
pub fn complain(failure: impl Display) -> io::Result<()> {
    let text = failure.to_string();
    let mark = if is_journal(&io::stderr()) { ERROR } else { "" };
    let lines: Vec<u8> = text.lines().flat_map(|line| format!("{mark}{line}\n").into_bytes()).collect();
    io::stderr().write_all(&lines)
}

/// Whether what is written here goes to the journal: it names its own end of the stream in `$JOURNAL_STREAM`.
fn is_journal(stream: &impl AsFd) -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some_and(|named| is_named(stream, &named))
}

fn is_named(stream: &impl AsFd, named: &OsStr) -> bool {
    let Ok(found) = rustix::fs::fstat(stream) else { return false };
    named == OsStr::new(&format!("{}:{}", found.st_dev, found.st_ino))
}

const fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => ERROR,
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}

/// Standard error, whose other end is the journal.
struct Journal;

impl<'a> MakeWriter<'a> for Journal {
    type Writer = Prefixed<io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        Prefixed { prefix: priority(Level::INFO), to: io::stderr() }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Self::Writer {
        Prefixed { prefix: priority(*event.level()), to: io::stderr() }
    }
}

/// Writes a prefix before each line that it is given.
struct Prefixed<W> {
    prefix: &'static str,
    to: W,
}

impl<W: Write> Write for Prefixed<W> {
    /// One event is one call, and has to be one write: lines of other threads would come between.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.to.write_all(&[self.prefix.as_bytes(), line].concat())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_known_by_its_own_end() {
        let (_end, stream) = io::pipe().unwrap();
        let (_other, another) = io::pipe().unwrap();
        let found = rustix::fs::fstat(&stream).unwrap();
        let named = format!("{}:{}", found.st_dev, found.st_ino);
        assert!(is_named(&stream, OsStr::new(&named)));
        assert!(!is_named(&another, OsStr::new(&named)) && !is_named(&stream, OsStr::new("")));
    }

    #[test]
    fn each_line_begins_with_its_priority() {
        let mut written = Vec::new();
        for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
            let mut line = Prefixed { prefix: priority(level), to: &mut written };
            line.write_all(b"{}\n").unwrap();
        }
        assert_eq!(String::from_utf8(written).unwrap(), "<3>{}\n<4>{}\n<6>{}\n<7>{}\n<7>{}\n");
    }
}
