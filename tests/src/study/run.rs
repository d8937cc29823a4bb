//! Lives nights and lets the rules watch them, on every core, the same for the same seed.

use super::clock::END;
use super::draws::{Stream, chance};
use super::errands::{Errand, errands};
use super::ground::Rule;
use super::handset::{Post, post};
use super::life::Life;
use super::plan::{Fault, Plan};
use super::receiver::{Make, Receiver};
use super::scenario::Scenario;
use super::trial::alerts;
use super::verdict::{Verdict, judge};
use vigil_agent::simulate::Chance;

/// One night with its truth.
#[derive(Debug, Clone)]
pub struct Night {
    /// What was to happen.
    pub plan: Plan,
    /// What happened.
    pub life: Life,
    /// Which tasks came.
    pub errands: Vec<Errand>,
    /// Which kind of phone it was.
    pub make: Make,
    /// What the devices sent.
    pub post: Post,
}

impl Night {
    /// Night `night` of row `row`.
    pub fn of(scenario: &Scenario, seed: u64, row: usize, night: usize) -> Self {
        let stream = |stream| chance(seed, row, night, stream);
        let plan = (scenario.plan)(&mut stream(Stream::Plan));
        Self::lived(plan, stream)
    }

    /// A night of a given plan, with any phone.
    pub fn lived(plan: Plan, stream: impl Fn(Stream) -> Chance) -> Self {
        let mut noise = stream(Stream::Receiver);
        let receiver = Receiver::draw(&mut noise, (0.0, END));
        Self::with(receiver, noise, plan, stream)
    }

    /// A night of a given plan, with a given phone and the chance by which its positions err.
    pub fn with(
        mut receiver: Receiver,
        mut noise: Chance,
        plan: Plan,
        stream: impl Fn(Stream) -> Chance,
    ) -> Self {
        let life = Life::of(&plan, &mut stream(Stream::Life));
        let errands = errands(&plan, &life, &mut stream(Stream::Errands));
        for fault in &plan.faults {
            if let Fault::Jammed(from, to, jam) = fault {
                receiver = receiver.jammed(*from, *to, *jam);
            }
        }
        let make = receiver.make();
        let post = post(&plan, &life, &errands, receiver, &mut stream(Stream::Network), &mut noise);
        Self { plan, life, errands, make, post }
    }

    /// What a rule makes of it.
    pub fn watched(&self, rule: Rule) -> Verdict {
        let alerts = alerts(self.plan.ground.site(rule), &self.post);
        judge(&self.plan, &self.life, &self.errands, self.make, &alerts)
    }
}

/// The verdicts of every rule over the nights of a row: outer by rule, inner by night.
pub fn nights(
    scenario: &Scenario,
    row: usize,
    nights: usize,
    seed: u64,
    rules: &[Rule],
) -> Vec<Vec<Verdict>> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(nights.max(1));
    let share = |worker: usize| (worker..nights).step_by(workers);
    let work = |worker: usize| -> Vec<(usize, Vec<Verdict>)> {
        let judged = |night: usize| {
            let lived = Night::of(scenario, seed, row, night);
            (night, rules.iter().map(|rule| lived.watched(*rule)).collect())
        };
        share(worker).map(judged).collect()
    };
    let mut all: Vec<(usize, Vec<Verdict>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a worker ends well")).collect()
    });
    all.sort_by_key(|(night, _)| *night);
    let of_rule = |n: usize| all.iter().filter_map(|(_, verdicts)| verdicts.get(n).cloned()).collect();
    (0..rules.len()).map(of_rule).collect()
}
