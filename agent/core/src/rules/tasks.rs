//! Section 5: tasks, their deadlines, and what they prove.

use crate::engine::Engine;
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
}

impl TaskLog {
    /// Every known task.
    pub fn iter(&self) -> impl Iterator<Item = (&TaskId, &Task)> {
        self.tasks.iter()
    }

    /// Whether a task of the guard, or an unassigned one, is open at `at` past its deadline.
    pub(crate) fn overdue_for(&self, guard: &GuardId, at: Timestamp) -> bool {
        self.tasks.values().any(|t| {
            t.guard.as_ref().is_none_or(|g| g == guard)
                && t.deadline < at
                && t.closed_at.is_none_or(|c| c >= at)
        })
    }

    pub(crate) fn forget_before(&mut self, instant: Timestamp) {
        self.tasks.retain(|_, t| t.closed_at.is_none_or(|c| c >= instant));
    }

    fn make_room(&mut self) {
        if self.tasks.len() < MAX_TASKS {
            return;
        }
        let oldest = self.tasks.iter().min_by_key(|(_, t)| (t.closed_at.is_none(), t.created_at));
        if let Some(id) = oldest.map(|(id, _)| id.clone()) {
            self.tasks.remove(&id);
        }
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
            };
            self.state.tasks.tasks.entry(task.id.clone()).or_insert(known);
        }
    }

    /// A task changed; false if it names a guard of no site file.
    pub(crate) fn on_task(&mut self, device: &Device, at: Timestamp, update: &TaskUpdate) -> bool {
        if update.guard.as_ref().is_some_and(|g| self.site.guard(g).is_none()) {
            return false;
        }
        let doer = update.guard.clone().or_else(|| self.carrier(device, at));
        match update.state {
            TaskState::Created => self.create_task(at, update),
            TaskState::Started => {}
            TaskState::Completed => {
                self.close_task(at, update);
                if let Some(guard) = doer {
                    self.watch(&guard).trail.completed.insert_once(at, update.task.clone());
                }
            }
            TaskState::Cancelled => self.close_task(at, update),
        }
        true
    }

    fn create_task(&mut self, at: Timestamp, update: &TaskUpdate) {
        let priority = update.priority.unwrap_or(Priority::Medium);
        let created_at = update.created_at.unwrap_or(at);
        let deadline = update.due_at.unwrap_or_else(|| created_at + sla(&self.site.policy.tasks, priority));
        let log = &mut self.state.tasks;
        log.make_room();
        // A completion that overtook the creation stays.
        let closed_at = log.tasks.get(&update.task).and_then(|t| t.closed_at);
        let task = Task {
            priority,
            title: update.title.clone().unwrap_or_default(),
            guard: update.guard.clone(),
            created_at,
            deadline,
            closed_at,
        };
        log.tasks.insert(update.task.clone(), task);
    }

    fn close_task(&mut self, at: Timestamp, update: &TaskUpdate) {
        if !self.state.tasks.tasks.contains_key(&update.task) {
            self.create_task(at, update);
        }
        if let Some(task) = self.state.tasks.tasks.get_mut(&update.task) {
            task.closed_at = Some(task.closed_at.map_or(at, |c| c.min(at)));
        }
    }
}
