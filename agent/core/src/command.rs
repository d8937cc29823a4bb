//! What people ask of the agent: the commands of contract 6, from the operations centre or from a person on site.

use crate::alert::{Alert, AlertId, Method, Status};
use crate::id::{CommandId, GuardId, TaskId};
use crate::observation::Priority;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// One command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Its name: however often it comes, it is carried out once.
    pub id: CommandId,
    /// When the gateway got it.
    pub received_at: Timestamp,
    /// What is asked.
    pub order: Order,
    /// The alert that it is about, if only the store still knows it. It is part of the command, so that a replay of the
    /// journal needs nothing else.
    pub recalled: Option<Box<Alert>>,
}

/// What is asked. Variants are appended, never reordered: the order is that of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// `alert.status`: somebody takes an alert a step further.
    AlertStatus(StatusStep),
    /// `task.upsert`: a task is given, or changed.
    UpsertTask(TaskOrder),
    /// `task.cancel`: a task is no longer wanted.
    CancelTask(TaskId),
    /// `welfare.check`: a guard is to be asked for a sign of life.
    CheckWelfare(GuardId),
    /// `bundle.refresh`: it was looked whether there is another bundle for the site. Nothing follows in the engine: a site that
    /// was switched to comes by `on_site`.
    RefreshBundle,
}

/// One step in the life of an alert, with what was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusStep {
    /// Which alert.
    pub alert: AlertId,
    /// To where.
    pub status: Status,
    /// How somebody made sure.
    pub method: Method,
    /// What the guard answered.
    pub response: Option<String>,
    /// Who says so.
    pub by: String,
    /// What else there is to say.
    pub note: Option<String>,
}

/// A task as the operations centre gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskOrder {
    /// Which.
    pub task: TaskId,
    /// What is to be done.
    pub title: Option<String>,
    /// How soon.
    pub priority: Priority,
    /// Whose it is.
    pub guard: Option<GuardId>,
    /// When it was made; by default, when it came.
    pub created_at: Option<Timestamp>,
    /// Its deadline; by default, by the SLA.
    pub due_at: Option<Timestamp>,
}

impl Order {
    /// The name of contract 6.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AlertStatus(_) => "alert.status",
            Self::UpsertTask(_) => "task.upsert",
            Self::CancelTask(_) => "task.cancel",
            Self::CheckWelfare(_) => "welfare.check",
            Self::RefreshBundle => "bundle.refresh",
        }
    }

    /// What it is about.
    pub fn subject(&self) -> String {
        match self {
            Self::AlertStatus(step) => format!("alert:{}", step.alert),
            Self::UpsertTask(TaskOrder { task, .. }) | Self::CancelTask(task) => format!("task:{task}"),
            Self::CheckWelfare(guard) => format!("guard:{guard}"),
            Self::RefreshBundle => "bundle".to_owned(),
        }
    }

    /// Who asks, if that is said.
    pub fn by(&self) -> Option<&str> {
        match self {
            Self::AlertStatus(step) => Some(&step.by),
            Self::UpsertTask(_) | Self::CancelTask(_) | Self::CheckWelfare(_) | Self::RefreshBundle => None,
        }
    }
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It was carried out.
    Done,
    /// It had come before, and was decided then.
    Repeated,
    /// It cannot be carried out.
    Refused(Objection),
}

/// Why a command cannot be carried out. Variants are appended, never reordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Objection {
    /// No such alert.
    #[error("there is no alert {0}")]
    UnknownAlert(AlertId),
    /// The rules do not know that step.
    #[error("an alert that is {from} cannot become {to}: {}", allowed(*.from))]
    IllegalStep {
        /// Where the alert stands.
        from: Status,
        /// Where it was to go.
        to: Status,
    },
    /// No such guard.
    #[error("there is no guard {0} in the site file")]
    UnknownGuard(GuardId),
    /// No such task.
    #[error("there is no open task {0}")]
    UnknownTask(TaskId),
    /// Nothing to ask the guard on.
    #[error("guard {0} has no handset that can be heard now: call, or send somebody")]
    NoLiveHandset(GuardId),
    /// The guard is being asked.
    #[error("guard {0} is being asked already; what comes of it is reported")]
    AlreadyAsked(GuardId),
}

/// What may follow a status, in words.
const fn allowed(from: Status) -> &'static str {
    match from {
        Status::Detected => "VERIFYING, CONFIRMED, RESOLVED or FALSE_POSITIVE may follow",
        Status::Verifying => "CONFIRMED, RESOLVED or FALSE_POSITIVE may follow",
        Status::Confirmed | Status::Resolved | Status::FalsePositive => "that is final",
    }
}

/// A command that was refused, for the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedCommand {
    /// Which.
    pub command: CommandId,
    /// What was asked.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it was about.
    pub subject: String,
    /// Who asked, if that was said.
    pub by: Option<String>,
    /// When it came.
    pub at: Timestamp,
    /// Why it was refused.
    pub reason: String,
}
