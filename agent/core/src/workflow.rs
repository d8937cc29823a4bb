//! Section 11: what people do with alerts. Each command is decided once, however often it comes.

use crate::alert::{Alert, Method, Rule, Step, Verification};
use crate::command::{Answer, Command, Objection, Order, RefusedCommand, StatusStep, TaskOrder};
use crate::engine::{Engine, Record};
use crate::id::TaskId;
use crate::observation::{Identity, TaskState, TaskUpdate};
use crate::rules::instruments::Recent;
use crate::rules::tasks::Word;
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// How many refusals are put on record in an hour: more than people make, and a script that runs wild does not fill the
/// way to the operations centre. Further ones are in the journal.
const REFUSALS_AN_HOUR: u32 = 60;
/// What counts as that hour.
const HOUR: Span = Span::from_hours(1);

/// What is remembered of the commands that came.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CommandLog {
    /// The latest thousand: the operations centre has at most one poll of them under way.
    known: Recent,
    /// The hour in which refusals are counted, and how many there were.
    refusals: (Timestamp, u32),
}

impl CommandLog {
    /// Whether another refusal is put on record.
    fn may_record(&mut self, now: Timestamp) -> bool {
        let hour = now.floor_to(HOUR);
        if self.refusals.0 != hour {
            self.refusals = (hour, 0);
        }
        self.refusals.1 = self.refusals.1.saturating_add(1);
        self.refusals.1 <= REFUSALS_AN_HOUR
    }
}

impl Engine {
    /// Decides a command.
    pub(crate) fn obey(&mut self, command: &Command) -> Answer {
        if !self.state.commands.known.is_new(Identity::of_command(&command.id)) {
            return Answer::Repeated;
        }
        let decided = match &command.order {
            Order::AlertStatus(step) => self.on_status_step(step, command.recalled.as_deref()),
            Order::UpsertTask(task) => self.on_task_order(task),
            Order::CancelTask(task) => self.on_task_cancelled(task),
            Order::CheckWelfare(guard) => self.on_welfare_order(guard, &command.id),
            Order::RefreshBundle => Ok(()),
        };
        match decided {
            Ok(()) => Answer::Done,
            Err(objection) => {
                self.record_refusal(command, &objection);
                Answer::Refused(objection)
            }
        }
    }

    fn record_refusal(&mut self, command: &Command, objection: &Objection) {
        let now = self.state.now;
        // What is told again has been recorded before.
        if self.told.is_some() || !self.state.commands.may_record(now) {
            return;
        }
        self.effects.records.push(Record::Refused(RefusedCommand {
            command: command.id.clone(),
            kind: command.order.name().to_owned(),
            subject: command.order.subject(),
            by: command.order.by().map(str::to_owned),
            at: now,
            reason: objection.to_string(),
        }));
    }

    /// Somebody takes an alert a step further. Whether it is cleared does not matter: that says what is, and the status
    /// what people made of it.
    fn on_status_step(&mut self, step: &StatusStep, recalled: Option<&Alert>) -> Result<(), Objection> {
        if let Some(alert) = recalled.filter(|alert| alert.id == step.alert) {
            self.state.book.take_back(alert);
        }
        let alert = self.state.book.get(step.alert).ok_or(Objection::UnknownAlert(step.alert))?;
        let (from, to) = (alert.status, step.status);
        if !from.may_become(to) {
            return Err(Objection::IllegalStep { from, to });
        }
        let now = self.state.now;
        self.revise(step.alert, now, |alert| {
            take(alert, step, now);
            true
        });
        Ok(())
    }

    fn on_task_order(&mut self, order: &TaskOrder) -> Result<(), Objection> {
        if let Some(stranger) = order.guard.as_ref().filter(|g| self.site.guard(g).is_none()) {
            return Err(Objection::UnknownGuard(stranger.clone()));
        }
        let update = TaskUpdate {
            task: order.task.clone(),
            state: TaskState::Created,
            priority: Some(order.priority),
            title: order.title.clone(),
            created_at: order.created_at,
            due_at: order.due_at,
            guard: order.guard.clone(),
        };
        self.create_task(self.state.now, Word::Said(self.state.now), &update);
        Ok(())
    }

    fn on_task_cancelled(&mut self, task: &TaskId) -> Result<(), Objection> {
        if !self.state.tasks.is_open(task) {
            return Err(Objection::UnknownTask(task.clone()));
        }
        let update = TaskUpdate {
            task: task.clone(),
            state: TaskState::Cancelled,
            priority: None,
            title: None,
            created_at: None,
            due_at: None,
            guard: None,
        };
        self.close_task(self.state.now, &update, None);
        Ok(())
    }
}

/// The step itself, with what was found out.
fn take(alert: &mut Alert, step: &StatusStep, now: Timestamp) {
    alert.status = step.status;
    alert.history.push(Step { at: now, by: step.by.clone(), status: step.status, note: step.note.clone() });
    if step.method != Method::None || step.response.is_some() {
        alert.verification = Verification {
            method: step.method,
            response: step.response.clone(),
            by: Some(step.by.clone()),
            at: Some(now),
            notes: step.note.clone(),
        };
    }
    // Nothing but a person's word ends an emergency.
    if matches!(alert.rule, Rule::Sos | Rule::ManDown) && step.status.is_final() {
        alert.cleared_at = alert.cleared_at.or(Some(now));
    }
}
