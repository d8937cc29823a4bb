//! `vigil replay`: the rules over a recorded night, offline and as fast as the machine goes.

use super::Failure;
use crate::sources::decode;
use crate::sources::recall::Recall;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use vigil_core::alert::{Alert, AlertId};
use vigil_core::engine::{Commit, Engine, Record};
use vigil_core::report::DailyReport;
use vigil_core::site::Site;
use vigil_core::time::{Date, Span, Timestamp};

/// A line is at most a payload of 64 KiB with its topic; ten times that is no recording.
const MAX_LINE_BYTES: u64 = 640 * 1024;

/// A recording that is silent for longer has a wrong date in it: every cycle of the time between would be judged.
const LONGEST_SILENCE: Span = Span::from_hours(24 * 366);

/// `vigil replay`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The site file whose rules apply
    #[arg(long)]
    site: PathBuf,
    /// The recording: one {"received_at", "topic", "payload"} a line, in order of received_at; - is standard input
    events: PathBuf,
    /// Print every revision as it comes, instead of the final alerts
    #[arg(long)]
    revisions: bool,
    /// Print the log of closed runs instead of the alerts
    #[arg(long, conflicts_with = "revisions")]
    tours: bool,
    /// Print the report of each day that the recording touches instead of the alerts, the last as far as it goes
    #[arg(long, conflicts_with_all = ["revisions", "tours"])]
    report: bool,
    /// Go on until this instant (RFC 3339) after the last line
    #[arg(long, value_parser = Timestamp::parse)]
    until: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with received_at, topic and payload")]
struct Line<'a> {
    received_at: Timestamp,
    #[serde(borrow)]
    topic: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let site = Arc::new(vigil_config::load_site(&args.site)?);
    let out = BufWriter::new(std::io::stdout().lock());
    let (alerts, reports) = (BTreeMap::new(), BTreeMap::new());
    let recall = Recall::default();
    let mut replay = Replay { site, recall, engine: None, args, out, alerts, reports, broken: 0, early: 0 };
    if args.events.as_os_str() == "-" {
        replay.lines(std::io::stdin().lock())?;
    } else {
        let file = File::open(&args.events).map_err(|e| {
            Failure::failed(
                format!("cannot read {}: {e}", args.events.display()),
                "Give a recording, or - for standard input.",
            )
        })?;
        replay.lines(BufReader::new(file))?;
    }
    replay.end()
}

struct Replay<'a, W> {
    site: Arc<Site>,
    recall: Recall,
    engine: Option<Engine>,
    args: &'a Args,
    out: W,
    alerts: BTreeMap<AlertId, Alert>,
    reports: BTreeMap<Date, DailyReport>,
    broken: u64,
    /// Lines that were received before the one above them.
    early: u64,
}

impl<W: Write> Replay<'_, W> {
    fn lines(&mut self, mut input: impl BufRead) -> Result<(), Failure> {
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let read = std::io::Read::take(&mut input, MAX_LINE_BYTES).read_until(b'\n', &mut line);
            match read.map_err(|e| unreadable(number, &e))? {
                0 => return Ok(()),
                _ if line.trim_ascii().is_empty() => {}
                read if read as u64 == MAX_LINE_BYTES && line.last() != Some(&b'\n') => {
                    self.broken += 1;
                    eprint(&format!("line {number}: longer than {} KiB; skipped", MAX_LINE_BYTES / 1024));
                    input.skip_until(b'\n').map_err(|e| unreadable(number, &e))?;
                }
                _ => self.line(number, &line)?,
            }
        }
        Ok(())
    }

    fn line(&mut self, number: u64, bytes: &[u8]) -> Result<(), Failure> {
        match serde_json::from_slice::<Line<'_>>(bytes) {
            Ok(line) => self.message(number, &line),
            Err(why) => {
                self.broken += 1;
                eprint(&format!("line {number}: not a recorded message ({why}); skipped"));
                Ok(())
            }
        }
    }

    fn message(&mut self, number: u64, line: &Line<'_>) -> Result<(), Failure> {
        let engine = self.engine.get_or_insert_with(|| Engine::new(Arc::clone(&self.site), line.received_at));
        if line.received_at < engine.now() {
            self.early += 1;
            if self.early == 1 {
                let now = engine.now();
                eprint(&format!(
                    "line {number}: received before the line above it; taken as received at {now}"
                ));
            }
        }
        if let Some(days) = too_long(engine.now(), line.received_at) {
            return Err(Failure::failed(
                format!("line {number}: received {days} days after the line above it, allowed: 366"),
                "Mend the date, or replay what lies before and after it by itself.",
            ));
        }
        let received_at = line.received_at.max(engine.now());
        let payload = line.payload.get();
        // A status is plain text on the wire, so a recording holds it as a string.
        let plain: Option<String> = serde_json::from_str(payload).ok();
        let bytes = plain.as_deref().unwrap_or(payload).as_bytes();
        let mut decoded = decode::message(&self.site, received_at, &line.topic, bytes);
        self.recall.settle(&mut decoded);
        for refusal in &decoded.refused {
            eprint(&format!("line {number}: refused ({}): {}", refusal.reason, refusal.detail));
        }
        let mut commits = Vec::with_capacity(decoded.observations.len());
        for observation in decoded.observations {
            commits.push(engine.on_observation(observation));
        }
        commits.into_iter().try_for_each(|commit| self.take(commit))
    }

    fn take(&mut self, commit: Commit) -> Result<(), Failure> {
        for alert in commit.effects.alerts {
            if self.args.revisions {
                self.print(&alert)?;
            }
            self.alerts.insert(alert.id, alert);
        }
        for record in commit.effects.records {
            match record {
                Record::Run(run) if self.args.tours => self.print(&run)?,
                Record::Report(report) => drop(self.reports.insert(report.date, *report)),
                // A recording has no commands in it.
                Record::Run(_) | Record::Refused(_) | Record::Welfare(_) => {}
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<(), Failure> {
        if self.engine.is_none() {
            eprint("the recording has no message in it: nothing was judged");
        }
        if self.early > 1 {
            eprint(&format!("{} lines stand too late in the recording; sort it by received_at", self.early));
        }
        if let (Some(engine), Some(until)) = (&mut self.engine, self.args.until) {
            if let Some(days) = too_long(engine.now(), until) {
                return Err(Failure::invalid(
                    format!("--until is {days} days after the last line, allowed: 366"),
                    "Check the year of --until and the dates of the recording.",
                ));
            }
            if until < engine.now() {
                eprint(&format!(
                    "the recording goes on to {}, past --until; all of it was replayed",
                    engine.now()
                ));
            }
            let commit = engine.on_deadline(until);
            self.take(commit)?;
        }
        if self.args.report {
            self.print_reports()?;
        } else if !self.args.revisions && !self.args.tours {
            let mut last: Vec<Alert> = std::mem::take(&mut self.alerts).into_values().collect();
            last.sort_by_cached_key(|a| (a.detected_at, a.rule.name(), a.subject.to_string()));
            last.iter().try_for_each(|alert| self.print(alert))?;
        }
        self.out.flush()?;
        if self.broken > 0 {
            let what = format!("{} lines of the recording were no messages", self.broken);
            return Err(Failure::failed(
                what,
                "Each line is {\"received_at\", \"topic\", \"payload\"}; the rest was replayed.",
            ));
        }
        Ok(())
    }

    /// Days that are over for good as they were reported last; the others as they are at the end of the recording.
    fn print_reports(&mut self) -> Result<(), Failure> {
        if let Some(engine) = &self.engine {
            let open = engine.open_days(engine.now()).into_iter();
            let as_they_are = open.filter_map(|date| Some((date, engine.report(date, engine.now())?)));
            self.reports.extend(as_they_are);
        }
        let reports = std::mem::take(&mut self.reports);
        reports.values().try_for_each(|report| self.print(&report.edge()))
    }

    fn print<T: serde::Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.out, value).map_err(std::io::Error::from)?;
        Ok(self.out.write_all(b"\n")?)
    }
}

/// How many days of silence there are, if that is more than a recording has.
fn too_long(from: Timestamp, to: Timestamp) -> Option<i64> {
    let silence = to.since(from);
    (silence > LONGEST_SILENCE).then_some(silence.millis() / 86_400_000)
}

fn unreadable(number: u64, why: &std::io::Error) -> Failure {
    Failure::failed(format!("line {number} cannot be read: {why}"), "Check the recording.")
}

/// A note to the person at the terminal; if nobody reads standard error, nobody misses it.
fn eprint(note: &str) {
    let _unread = writeln!(std::io::stderr(), "{note}");
}
