//! `vigil backtest`: what another policy would have made of the agent's own journal.

use super::alerts::state;
use super::table::{WallClock, plain, table, text, width, words};
use super::{Failure, ask::Whom};
use crate::backtest::{self, Backtest, Counts, NotTested, Pair, Range, Verdict};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigil_core::alert::{Rule, Subject};
use vigil_core::site::Site;
use vigil_core::time::Timestamp;

/// `vigil backtest`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The site file with the policy to be tried
    #[arg(long)]
    site: PathBuf,
    #[command(flatten)]
    whom: Whom,
    /// Only alerts of these rules, like inactivity,tour_missed
    #[arg(long, value_name = "RULES", value_delimiter = ',', value_parser = rule)]
    rule: Vec<Rule>,
    /// Show those that are alike under both policies as well
    #[arg(long)]
    all: bool,
}

fn rule(text: &str) -> Result<Rule, String> {
    Rule::named(&text.to_lowercase().replace('-', "_"))
        .ok_or_else(|| format!("one of {} is expected", Rule::ALL.map(Rule::name).join(", ")))
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let new = Arc::new(vigil_config::load_site(&args.site)?);
    let journal = super::journal::journal(&args.whom)?;
    let site = journal.opening.site.clone();
    let backtest = backtest::backtest(&journal, new).map_err(|why| not_tested(&args.site, &why))?;
    let shown = Shown::of(backtest, args);
    let mut out = std::io::stdout().lock();
    if args.whom.json {
        serde_json::to_writer(&mut out, &shown.edge(&site)).map_err(std::io::Error::from)?;
        return Ok(writeln!(out)?);
    }
    Ok(write!(out, "{}", shown.told(&site, width())?)?)
}

fn not_tested(file: &Path, why: &NotTested) -> Failure {
    match why {
        NotTested::OtherSite { .. } => Failure::invalid(
            format!("{} cannot be tried on this journal: {why}", file.display()),
            "Give a copy of the agent's own site file with another policy.",
        ),
        NotTested::Empty(_) => {
            Failure::failed(why, "Let the agent run for a night, and try again within [store] retention.")
        }
        NotTested::Unreadable(_) => {
            Failure::failed(why, "It was written by another version of vigil: use that of the agent.")
        }
    }
}

/// What is shown of a backtest.
struct Shown {
    range: Range,
    counts: BTreeMap<Rule, Counts>,
    pairs: Vec<Pair>,
}

/// The object of `--json`.
#[derive(Serialize)]
struct Edge<'a> {
    site: &'a str,
    #[serde(flatten)]
    range: &'a Range,
    rules: Vec<RuleEdge>,
    alerts: &'a [Pair],
}

#[derive(Serialize)]
struct RuleEdge {
    rule: Rule,
    #[serde(flatten)]
    counts: Counts,
}

impl Shown {
    fn of(Backtest { range, mut pairs }: Backtest, args: &Args) -> Self {
        pairs.retain(|pair| args.rule.is_empty() || args.rule.contains(&pair.rule));
        let counts = backtest::counts(&pairs);
        pairs.retain(|pair| args.all || pair.verdict != Verdict::Kept);
        Self { range, counts, pairs }
    }

    fn edge<'a>(&'a self, site: &'a Site) -> Edge<'a> {
        let rules = self.counts.iter().map(|(rule, counts)| RuleEdge { rule: *rule, counts: *counts });
        Edge { site: site.id.as_str(), range: &self.range, rules: rules.collect(), alerts: &self.pairs }
    }

    fn told(&self, site: &Site, width: u16) -> Result<String, Failure> {
        let clock = WallClock { zone: site.timezone, now: self.range.until };
        let mut told = headed(site, &self.range);
        if !self.pairs.is_empty() {
            told = format!("{told}\n{}", compared(&self.pairs, clock, width)?);
        }
        if self.counts.is_empty() {
            return Ok(format!("{told}\nno alert under either policy\n"));
        }
        Ok(format!("{told}\n{}\n  {}\n", counted(&self.counts, width), summed_up(&self.counts)))
    }
}

/// Over what, and what is to be known of it.
fn headed(site: &Site, range: &Range) -> String {
    let local = |at: Timestamp| format!("{} {}", at.local_date(site.timezone), at.local_clock(site.timezone));
    let (from, until) = (local(range.from), local(range.until));
    let mut told = format!("{}: {from} to {until}, {}\n", site.name, many(range.inputs, "input"));
    told.push_str("  both policies begin with an engine that knows nothing of the time before\n");
    if !range.blind.is_empty() {
        let (times, mins) = (many(range.blind.len(), "time"), range.blind_for().mins_up());
        told.push_str(&format!("  the agent was down {times}, {mins} min in all: both are blind there\n"));
    }
    if range.gaps > 0 {
        told.push_str(&format!(
            "  inputs that cannot be read are missing at {}\n",
            many(range.gaps, "place")
        ));
    }
    told
}

fn many(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

fn compared(pairs: &[Pair], clock: WallClock, width: u16) -> Result<String, Failure> {
    let mut shown = table(&["verdict", "detected", "rule", "about", "in force", "new policy"], width);
    for pair in pairs {
        let side = |alert: &Option<vigil_core::alert::Alert>| serde_json::to_value(alert);
        let sides = side(&pair.in_force).and_then(|old| Ok([old, side(&pair.new)?]));
        let [old, new] = sides.map_err(std::io::Error::from)?;
        let first = if old.is_null() { &new } else { &old };
        shown.add_row([
            verdict(pair),
            clock.at(first, "/detected_at"),
            words(first, "/rule"),
            about(&pair.subject, clock),
            side_of(&old, pair, clock),
            side_of(&new, pair, clock),
        ]);
    }
    Ok(text(&shown))
}

/// The verdict, with what is not alike.
fn verdict(pair: &Pair) -> String {
    let differs: Vec<String> = pair.differs.iter().map(|d| d.name().replace("_at", "")).collect();
    let what = pair.verdict.name();
    if differs.is_empty() { what.to_owned() } else { format!("{what}: {}", differs.join(", ")) }
}

/// `HIGH, detected 23:35, cleared 23:50`; the instant only if both are there and it is another.
fn side_of(alert: &Value, pair: &Pair, clock: WallClock) -> String {
    if alert.is_null() {
        return "-".to_owned();
    }
    let moved = pair.differs.contains(&backtest::Difference::DetectedAt);
    let since = if moved { format!(", from {}", clock.at(alert, "/detected_at")) } else { String::new() };
    format!("{}{since}, {}", plain(alert, "/severity"), state(alert, clock))
}

/// The id, and for a run when it was due: the rule says what it is.
fn about(subject: &Subject, clock: WallClock) -> String {
    match subject {
        Subject::Guard(id) => id.to_string(),
        Subject::Task(id) => id.to_string(),
        Subject::Device(id) => id.to_string(),
        Subject::Rule(rule) => rule.to_string(),
        Subject::Run(tour, due) => {
            format!("{tour} {}", clock.at(&serde_json::json!({ "due": due }), "/due"))
        }
    }
}

fn counted(counts: &BTreeMap<Rule, Counts>, width: u16) -> String {
    let mut shown = table(&["rule", "in force", "new policy", "raised", "gone", "changed", "kept"], width);
    for (rule, c) in counts {
        let numbers = [c.in_force, c.new, c.raised, c.gone, c.changed, c.kept].map(|n| n.to_string());
        shown.add_row([rule.name().replace('_', " ")].into_iter().chain(numbers));
    }
    text(&shown)
}

/// `3 alerts in force, 2 under the new policy: 0 raised, 1 gone, 1 changed, 1 kept`
fn summed_up(counts: &BTreeMap<Rule, Counts>) -> String {
    let sum = |of: fn(&Counts) -> usize| counts.values().map(of).sum::<usize>();
    let [raised, gone] = [sum(|c| c.raised), sum(|c| c.gone)];
    let [changed, kept] = [sum(|c| c.changed), sum(|c| c.kept)];
    if raised + gone + changed == 0 {
        return format!("no difference: {} under both policies", many(kept, "alert"));
    }
    let (in_force, new) = (many(sum(|c| c.in_force), "alert"), sum(|c| c.new));
    format!(
        "{in_force} in force, {new} under the new policy: {raised} raised, {gone} gone, {changed} changed, {kept} kept"
    )
}
