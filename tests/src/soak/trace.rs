//! What a run asked of the kernel, as `strace -f -xx` wrote it down.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The longest write that is written down whole; sled zeroes segments of 512 KiB at once.
const LONGEST_WRITE: &str = "1000000";
/// Everything that changes a file or a folder, and everything that makes such a change last.
const CALLS: &str =
    "trace=openat,close,pwrite64,write,ftruncate,fsync,fdatasync,sync_file_range,rename,unlink,mkdir";

/// One call. Its effect may be there from `start` on, and is there from `end` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The line of the recording at which it began.
    pub start: usize,
    /// The line at which it came back, if it did.
    pub end: Option<usize>,
    /// Which.
    pub name: String,
    /// Its arguments.
    pub arguments: Vec<Argument>,
    /// What it answered; of one that never came back what it was asked for.
    pub answer: Option<i64>,
}

/// One argument of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A string or a buffer.
    Bytes(Vec<u8>),
    /// Anything else, as it was written.
    Word(String),
}

impl Call {
    /// The argument as bytes.
    pub fn bytes(&self, at: usize) -> Result<&[u8], String> {
        match self.arguments.get(at) {
            Some(Argument::Bytes(bytes)) => Ok(bytes),
            Some(Argument::Word(_)) | None => Err(format!("argument {at} of {} is no buffer", self.name)),
        }
    }

    /// The argument as a path.
    pub fn path(&self, at: usize) -> Result<PathBuf, String> {
        let text = String::from_utf8(self.bytes(at)?.to_vec()).map_err(|e| e.to_string())?;
        Ok(PathBuf::from(text))
    }

    /// The argument as a word.
    pub fn word(&self, at: usize) -> &str {
        match self.arguments.get(at) {
            Some(Argument::Word(word)) => word,
            Some(Argument::Bytes(_)) | None => "",
        }
    }

    /// The argument as a number.
    pub fn number(&self, at: usize) -> Result<i64, String> {
        self.word(at).parse().map_err(|_| format!("argument {at} of {} is no number", self.name))
    }
}

/// Runs a command to its end and gives what it asked of the kernel, in the order in which it began to.
pub fn record(program: &Path, arguments: &[&str], into: &Path) -> Result<Vec<Call>, String> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-xx", "-s", LONGEST_WRITE, "-e", "signal=none", "-e", CALLS, "-o"]);
    let status = strace.arg(into).arg(program).args(arguments).stdout(Stdio::null()).status();
    let status = status.map_err(|e| format!("strace: {e} (apt-get install strace)"))?;
    if !status.success() {
        return Err(format!("the run that was to be recorded ended with {status}"));
    }
    calls(&std::fs::read_to_string(into).map_err(|e| format!("{}: {e}", into.display()))?)
}

/// The calls of a recording.
fn calls(recording: &str) -> Result<Vec<Call>, String> {
    let (mut found, mut open) = (BTreeMap::new(), BTreeMap::new());
    for (at, line) in recording.lines().enumerate() {
        let (process, said) = line.split_once(' ').ok_or_else(|| format!("line {at}: no process"))?;
        let said = said.trim_start();
        if said.starts_with("+++") || said.starts_with("---") {
            continue;
        }
        if let Some(begun) = said.strip_suffix("<unfinished ...>") {
            open.insert(process, (at, begun.trim_end().to_owned()));
        } else if said.starts_with("<... ") {
            let rest = said.split_once(" resumed>").map(|(_, rest)| rest);
            let ((start, begun), rest) =
                open.remove(process).zip(rest).ok_or_else(|| format!("line {at}: nothing was begun"))?;
            found.insert(start, call(&format!("{begun}{rest}"), start, Some(at))?);
        } else {
            found.insert(at, call(said, at, Some(at))?);
        }
    }
    for (start, begun) in open.into_values() {
        found.insert(start, call(&format!("{begun})"), start, None)?);
    }
    Ok(found.into_values().collect())
}

/// `name(argument, …) = answer`.
fn call(text: &str, start: usize, end: Option<usize>) -> Result<Call, String> {
    let odd = || format!("line {start}: not a call: {:.80}", text);
    let (name, mut rest) = text.split_once('(').ok_or_else(odd)?;
    let mut arguments = vec![];
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix(')') {
            let answer =
                after.trim_start().strip_prefix("= ").and_then(|a| a.split(' ').next()?.parse().ok());
            return Ok(Call { start, end, name: name.to_owned(), arguments, answer });
        }
        if let Some(quoted) = rest.strip_prefix('"') {
            let (bytes, after) = quoted.split_once('"').ok_or_else(odd)?;
            if after.starts_with("...") {
                return Err(format!("line {start}: a buffer was cut"));
            }
            arguments.push(Argument::Bytes(unescaped(bytes).ok_or_else(odd)?));
            rest = after;
        } else {
            let length = rest.find([',', ')']).ok_or_else(odd)?;
            let (word, after) = rest.split_at(length);
            arguments.push(Argument::Word(word.to_owned()));
            rest = after;
        }
    }
}

/// `\x61\x62` as bytes.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    text.as_bytes().chunks(4).map(byte).collect()
}

fn byte(escaped: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(escaped.strip_prefix(b"\\x")?).ok()?;
    u8::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_another_thread_cuts_in_two_is_one_call() {
        let text = concat!(
            "7 openat(AT_FDCWD, \"\\x2f\\x61\", O_RDWR|O_CREAT|O_CLOEXEC, 0666) = 3\n",
            "7 pwrite64(3, \"\\x01\\x02\", 2, 512 <unfinished ...>\n",
            "8 fdatasync(3)                     = 0\n",
            "7 <... pwrite64 resumed>)           = 2\n",
            "8 fsync(3 <unfinished ...>\n",
            "7 +++ exited with 0 +++\n",
        );
        let calls = calls(text).unwrap();
        let names: Vec<_> = calls.iter().map(|c| (c.name.as_str(), c.start, c.end, c.answer)).collect();
        assert_eq!(
            names,
            [
                ("openat", 0, Some(0), Some(3)),
                ("pwrite64", 1, Some(3), Some(2)),
                ("fdatasync", 2, Some(2), Some(0)),
                ("fsync", 4, None, None),
            ]
        );
        assert_eq!(calls[0].path(1).unwrap(), Path::new("/a"));
        assert_eq!((calls[1].bytes(1).unwrap(), calls[1].number(3).unwrap()), (&[1, 2][..], 512));
    }

    #[test]
    fn a_buffer_that_was_cut_is_no_recording() {
        assert!(calls("7 write(1, \"\\x61\"..., 5) = 5\n").unwrap_err().contains("cut"));
    }
}
