//! Section 5: tasks, their deadlines, and what they prove.

use crate::alert::{Alert, AlertId, Rule, Severity, Subject};
use crate::book::Finding;
use crate::deadline::Deadline;
use crate::engine::Engine;
use crate::evidence::{Evidence, TaskEvidence};
use crate::id::{GuardId, TaskId};
use crate::observation::{Priority, TaskState, TaskUpdate};
use crate::policy::Tasks;
use crate::site::Device;
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most tasks that are known at once; the oldest closed ones make room. A site with more than ten thousand
/// tasks in three days has a runaway publisher.
const MAX_TASKS: usize = 10_000;

/// Every task that is open, or was closed lately.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskLog {
    tasks: BTreeMap<TaskId, Task>,
    /// On whose word a task stands, where that is not the site file's. Snapshots of older agents do not have it, so
    /// that it stands behind the state there.
    #[serde(skip)]
    words: BTreeMap<TaskId, Word>,
}

/// On whose word a task stands; a later one counts for more, in whatever order they arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Word {
    /// It was closed, and nobody had said that it was there.
    Implied,
    /// The site file's, or an older agent's, who did not note it.
    Listed,
    /// Somebody said so at that instant.
    Said(Timestamp),
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// How soon it must be done.
    pub priority: Priority,
    /// What is to be done.
    pub title: String,
    /// Whose it is; nobody's if unassigned.
    pub guard: Option<GuardId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its deadline.
    pub deadline: Timestamp,
    /// When it was completed or cancelled.
    pub closed_at: Option<Timestamp>,
    /// When it was first completed, and by whom if that is known.
    pub completed: Option<(Timestamp, Option<GuardId>)>,
    /// When the agent learnt of it: nothing is judged before that has settled, so that the completion that came
    /// with the same backlog is there too.
    pub(crate) known_at: Timestamp,
}

/// What can be found wrong with an open task, by the share of its time that has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A critical task at 80 % of its time.
    AtRisk,
    /// Open strictly after the deadline.
    Breach,
    /// Open for so much longer that it weighs more.
    Worse,
}

impl Step {
    const ALL: [Self; 3] = [Self::AtRisk, Self::Breach, Self::Worse];
}

/// At which share of the time (in thousandths) a step comes, and how bad it is. `None`: this priority has no such step.
fn weight(policy: &Tasks, priority: Priority, step: Step) -> Option<(i64, Severity)> {
    match (step, priority) {
        (Step::AtRisk, Priority::Critical) => Some((800, Severity::Low)),
        (Step::Breach, Priority::Critical) => Some((1_000, Severity::High)),
        (Step::Breach, Priority::High) => Some((1_000, Severity::Medium)),
        (Step::Breach, Priority::Medium | Priority::Low) => Some((1_000, Severity::Low)),
        (Step::Worse, Priority::Critical) => Some((1_500, policy.critical_overdue_severity)),
        (Step::Worse, Priority::High) => Some((2_000, Severity::High)),
        (Step::Worse, Priority::Medium) => Some((3_000, Severity::Medium)),
        (Step::AtRisk, Priority::High | Priority::Medium | Priority::Low) | (Step::Worse, Priority::Low) => {
            None
        }
    }
}

impl Task {
    /// The instant of a step: strictly after its share of the time, but for the warning, which comes at it.
    fn step_at(&self, policy: &Tasks, step: Step) -> Option<Timestamp> {
        let (share, _) = weight(policy, self.priority, step)?;
        let whole = self.deadline.since(self.created_at).millis().max(0);
        let reached = self.created_at + Span::from_millis(whole.saturating_mul(share) / 1_000);
        Some(if step == Step::AtRisk { reached } else { reached.just_after() })
    }

    /// How much of its time had passed at `at`, in thousandths; `None` if it was given no time at all.
    pub(crate) fn share_of_time(&self, at: Timestamp) -> Option<u32> {
        let whole = i128::from(self.deadline.since(self.created_at).millis());
        let passed = i128::from(at.since(self.created_at).millis().max(0));
        let share = (whole > 0).then(|| (passed * 1_000 + whole / 2) / whole)?;
        Some(u32::try_from(share).unwrap_or(u32::MAX))
    }

    fn is_open_at(&self, at: Timestamp) -> bool {
        self.closed_at.is_none_or(|closed| closed >= at)
    }

    /// Of two words of one instant the one that asks for more counts: the more urgent, then the earlier deadline; the
    /// rest only makes it one and the same whichever came first.
    fn asks_for_more_than(&self, other: &Self) -> bool {
        fn demand(task: &Task) -> impl Ord + '_ {
            (task.priority, task.deadline, task.created_at, task.title.as_str(), task.guard.as_ref())
        }
        demand(self) < demand(other)
    }
}

impl TaskLog {
    /// Every known task.
    pub fn iter(&self) -> impl Iterator<Item = (&TaskId, &Task)> {
        self.tasks.iter()
    }

    /// One task.
    pub(crate) fn get(&self, id: &TaskId) -> Option<&Task> {
        self.tasks.get(id)
    }

    /// Whether a task of the guard, or an unassigned one, is open at `at` past its deadline.
    pub(crate) fn overdue_for(&self, guard: &GuardId, at: Timestamp) -> bool {
        self.tasks.values().any(|t| {
            t.guard.as_ref().is_none_or(|g| g == guard)
                && t.deadline < at
                && t.closed_at.is_none_or(|c| c >= at)
        })
    }

    /// Whether a task is known and not closed.
    pub(crate) fn is_open(&self, id: &TaskId) -> bool {
        self.tasks.get(id).is_some_and(|t| t.closed_at.is_none())
    }

    pub(crate) fn is_critical(&self, id: &TaskId) -> bool {
        self.tasks.get(id).is_some_and(|t| t.priority == Priority::Critical)
    }

    pub(crate) fn forget_before(&mut self, instant: Timestamp) {
        self.tasks.retain(|_, t| t.closed_at.is_none_or(|c| c >= instant));
        self.words.retain(|id, _| self.tasks.contains_key(id));
    }

    fn word_on(&self, id: &TaskId) -> Word {
        self.words.get(id).copied().unwrap_or(Word::Listed)
    }

    /// Whether a task as this word has it takes the place of what is known of it.
    fn is_news(&self, id: &TaskId, word: Word, task: &Task) -> bool {
        let Some(known) = self.tasks.get(id) else { return true };
        let stands = self.word_on(id);
        word > stands || (word == stands && task.asks_for_more_than(known))
    }

    /// The words, which a snapshot holds apart.
    pub(crate) const fn words(&self) -> &BTreeMap<TaskId, Word> {
        &self.words
    }

    /// Takes up the words out of a snapshot.
    pub(crate) fn take_words(&mut self, words: BTreeMap<TaskId, Word>) {
        self.words = words;
    }

    /// The open ones as of an instant that lies before everything that is known: what was made by the clock that stood
    /// in the future moves with it.
    pub(crate) fn moved(mut self, to: Timestamp, by: Span) -> Self {
        self.forget_before(Timestamp::from_millis(i64::MAX));
        for task in self.tasks.values_mut() {
            task.known_at = to;
            if task.created_at > to {
                (task.created_at, task.deadline) = (task.created_at + by, task.deadline + by);
            }
        }
        for word in self.words.values_mut() {
            if let Word::Said(at) = word {
                *at = (*at).min(to);
            }
        }
        self
    }

    /// Which one makes room for another.
    fn in_the_way(&self) -> Option<TaskId> {
        let oldest = || self.tasks.iter().min_by_key(|(_, t)| (t.closed_at.is_none(), t.created_at));
        if self.tasks.len() < MAX_TASKS { None } else { oldest().map(|(id, _)| id.clone()) }
    }
}

/// How long a task of this priority may take.
pub const fn sla(policy: &Tasks, priority: Priority) -> Span {
    match priority {
        Priority::Critical => policy.sla_critical,
        Priority::High => policy.sla_high,
        Priority::Medium => policy.sla_medium,
        Priority::Low => policy.sla_low,
    }
}

impl Engine {
    /// The tasks that the site file brings along.
    pub(crate) fn take_site_tasks(&mut self) {
        let site = std::sync::Arc::clone(&self.site);
        for task in &site.tasks {
            let deadline =
                task.due_at.unwrap_or_else(|| task.created_at + sla(&site.policy.tasks, task.priority));
            let known = Task {
                priority: task.priority,
                title: task.title.clone(),
                guard: task.guard.clone(),
                created_at: task.created_at,
                deadline,
                closed_at: None,
                completed: None,
                known_at: self.state.now,
            };
            self.state.tasks.tasks.entry(task.id.clone()).or_insert(known);
        }
    }

    /// Arms what can be found wrong with every open task.
    pub(crate) fn arm_tasks(&mut self) {
        let open = self.state.tasks.tasks.iter().filter(|(_, t)| t.closed_at.is_none());
        let ids: Vec<TaskId> = open.map(|(id, _)| id.clone()).collect();
        ids.iter().for_each(|id| self.arm_task(id));
    }

    fn arm_task(&mut self, id: &TaskId) {
        let Some(task) = self.state.tasks.tasks.get(id) else { return };
        let policy = &self.site.policy;
        for step in Step::ALL {
            let Some(at) = task.step_at(&policy.tasks, step) else { continue };
            let judged_at = at.max(task.known_at) + policy.settle.0;
            // What fell due before the agent began to watch is not judged.
            if self.is_to_come(judged_at) && at >= self.state.began {
                self.agenda.arm(judged_at, Deadline::TaskStep(id.clone(), step));
            }
        }
    }

    /// So much of a task's time has passed.
    pub(crate) fn on_task_step(&mut self, id: &TaskId, step: Step) {
        let policy = self.site.policy.tasks.clone();
        let Some(task) = self.state.tasks.tasks.get(id).cloned() else { return };
        let (Some(at), Some((_, severity))) =
            (task.step_at(&policy, step), weight(&policy, task.priority, step))
        else {
            return;
        };
        if !task.is_open_at(at) || self.state.now < at {
            return;
        }
        match step {
            Step::AtRisk => self.raise_task(Rule::TaskAtRisk, severity, id, &task, at),
            Step::Breach => {
                self.end_warning(id, &task, "superseded by the breach", at);
                self.raise_task(Rule::TaskOverdue, severity, id, &task, at);
            }
            Step::Worse => {
                let alert = self.task_alert(Rule::TaskOverdue, id, &task);
                alert.into_iter().for_each(|alert| self.worsen(alert, severity, at));
            }
        }
    }

    fn worsen(&mut self, alert: AlertId, severity: Severity, at: Timestamp) {
        self.revise(alert, at, |a| {
            let worse = severity > a.severity && !a.status.is_final();
            a.severity = a.severity.max(severity);
            worse
        });
    }

    fn raise_task(&mut self, rule: Rule, severity: Severity, id: &TaskId, task: &Task, at: Timestamp) {
        let name = if task.title.is_empty() { id.as_str() } else { task.title.as_str() };
        let clock = task.deadline.local_clock(self.site.timezone);
        let tense = if rule == Rule::TaskAtRisk { "is" } else { "was" };
        let summary = format!("task {name} is still open; it {tense} due at {clock}");
        let evidence = TaskEvidence {
            priority: task.priority,
            title: task.title.clone(),
            created_at: task.created_at,
            deadline: task.deadline,
        };
        let finding = Finding {
            rule,
            severity,
            subject: Subject::Task(id.clone()),
            guard: task.guard.clone(),
            detected_at: at,
            summary,
            evidence: Evidence::Task(evidence),
        };
        self.raise(finding, at);
    }

    fn task_alert(&self, rule: Rule, id: &TaskId, task: &Task) -> Option<AlertId> {
        let step = if rule == Rule::TaskAtRisk { Step::AtRisk } else { Step::Breach };
        let at = task.step_at(&self.site.policy.tasks, step)?;
        Some(self.alert_id(rule, &Subject::Task(id.clone()), at))
    }

    fn end_warning(&mut self, id: &TaskId, task: &Task, note: &str, at: Timestamp) {
        if let Some(warning) = self.task_alert(Rule::TaskAtRisk, id, task) {
            self.clear_and_resolve(warning, at, note, self.state.now);
        }
    }

    /// A task changed; false if it names a guard of no site file.
    pub(crate) fn on_task(&mut self, device: &Device, at: Timestamp, update: &TaskUpdate) -> bool {
        if update.guard.as_ref().is_some_and(|g| self.site.guard(g).is_none()) {
            return false;
        }
        let doer = update.guard.clone().or_else(|| self.carrier(device, at));
        match update.state {
            TaskState::Created => self.create_task(at, Word::Said(at), update),
            TaskState::Started => {}
            TaskState::Completed => {
                self.close_task(at, update, doer.clone());
                if let Some(guard) = doer {
                    self.watch(&guard).trail.completed.insert_once(at, update.task.clone());
                }
            }
            TaskState::Cancelled => self.close_task(at, update, None),
        }
        true
    }

    pub(crate) fn create_task(&mut self, at: Timestamp, word: Word, update: &TaskUpdate) {
        let priority = update.priority.unwrap_or(Priority::Medium);
        let created_at = update.created_at.unwrap_or(at);
        let deadline = update.due_at.unwrap_or_else(|| created_at + sla(&self.site.policy.tasks, priority));
        let known = self.state.tasks.get(&update.task);
        let task = Task {
            priority,
            title: update.title.clone().unwrap_or_default(),
            guard: update.guard.clone(),
            created_at,
            deadline,
            // A completion that overtook the creation stays.
            closed_at: known.and_then(|t| t.closed_at),
            completed: known.and_then(|t| t.completed.clone()),
            known_at: self.state.now,
        };
        let news = self.state.tasks.is_news(&update.task, word, &task);
        if word != Word::Implied {
            self.end_rescheduled(&update.task, at, deadline, news);
        }
        if !news {
            return;
        }
        if let Some(oldest) = self.state.tasks.in_the_way() {
            self.remember_task(&oldest);
            self.state.tasks.tasks.remove(&oldest);
            self.state.tasks.words.remove(&oldest);
        }
        self.state.tasks.words.insert(update.task.clone(), word);
        self.state.tasks.tasks.insert(update.task.clone(), task);
        self.arm_task(&update.task);
    }

    /// A task that is given another deadline is not overdue by the old one any more, and never was if that was said
    /// before. Of several such words the first has ended what was raised, also one that comes behind a later one: that
    /// may have said less, but ends nothing that stands.
    fn end_rescheduled(&mut self, id: &TaskId, at: Timestamp, deadline: Timestamp, news: bool) {
        let Some(known) = self.state.tasks.tasks.get(id).map(|t| t.deadline) else { return };
        let now = self.state.now;
        let of_it = |a: &Alert| matches!(&a.evidence, Evidence::Task(of) if of.deadline == deadline);
        let ends = |a: &Alert| !of_it(a) && (news || a.cleared_at.is_some());
        for (alert, detected_at) in self.alerts_on(id, ends) {
            if news && at < detected_at && deadline > known {
                self.withdraw(alert, now);
            } else {
                self.clear_and_resolve(alert, at.max(detected_at), "rescheduled", now);
            }
        }
    }

    /// What was raised for a task, by whichever deadline it had, and when.
    fn alerts_on(&self, id: &TaskId, is_meant: impl Fn(&Alert) -> bool) -> Vec<(AlertId, Timestamp)> {
        let subject = Subject::Task(id.clone());
        let meant = self.state.book.about(&subject).filter(|a| is_meant(a));
        meant.map(|a| (a.id, a.detected_at)).collect()
    }

    pub(crate) fn close_task(&mut self, at: Timestamp, update: &TaskUpdate, doer: Option<GuardId>) {
        self.create_task(at, Word::Implied, update);
        let Some(task) = self.state.tasks.tasks.get_mut(&update.task) else { return };
        task.closed_at = Some(task.closed_at.map_or(at, |c| c.min(at)));
        if update.state == TaskState::Completed {
            let done = (at, doer);
            task.completed = Some(task.completed.take().map_or(done.clone(), |known| known.min(done)));
        }
        let (task, done) = (task.clone(), update.state == TaskState::Completed);
        self.end_alerts(&update.task, &task, done);
    }

    /// What was raised for a task ends with it, or never should have been.
    fn end_alerts(&mut self, id: &TaskId, task: &Task, done: bool) {
        let (Some(closed_at), now) = (task.closed_at, self.state.now) else { return };
        let verb = if done { "completed" } else { "cancelled" };
        let late_by = closed_at.since(task.deadline).mins_up();
        for (alert, detected_at) in self.alerts_on(id, |_| true) {
            if closed_at < detected_at {
                self.withdraw(alert, now);
            } else if closed_at < task.deadline {
                self.clear_and_resolve(alert, closed_at, verb, now);
            } else {
                self.clear_and_resolve(alert, closed_at, &format!("{verb} {late_by} min late"), now);
            }
        }
    }
}
