//! The commands of one answer of the operations centre: decided in order, and acknowledged in the same batch.

use super::absorb::{absorb, absorb_refused};
use super::{Pump, PumpError};
use crate::store::Draft;
use vigil_cloud_sync::Decided;
use vigil_core::alert::AlertId;
use vigil_core::command::{Answer, Command, Order, RefusedCommand};
use vigil_core::id::CommandId;
use vigil_core::time::Timestamp;

/// The alert that a command is about.
pub(super) fn about(order: &Order) -> Option<AlertId> {
    if let Order::AlertStatus(step) = order { Some(step.alert) } else { None }
}

fn record(id: &CommandId, kind: &str, at: Timestamp, reason: &str) -> RefusedCommand {
    RefusedCommand {
        command: id.clone(),
        kind: kind.to_owned(),
        subject: format!("command:{id}"),
        by: None,
        at,
        reason: reason.to_owned(),
    }
}

/// A command with its number.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The operations centre's number for it.
    pub seq: u64,
    /// Its name.
    pub id: CommandId,
    /// What is asked, or why that cannot be said.
    pub order: Result<Order, Unread>,
}

/// A command that cannot be read, or that the shell could not carry out before the engine is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// What it says that it is.
    pub kind: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Pump {
    /// Decides them all, and writes what follows together with the number of the last: a crash forgets both or neither.
    pub(super) fn obey_all(&mut self, asked: Vec<Asked>) -> Result<Decided, PumpError> {
        let mut decided = Decided::default();
        let Some(last) = asked.last().map(|asked| asked.seq) else { return Ok(decided) };
        let received_at = self.clock.now().max(self.engine.now());
        let mut draft = Draft { judged_until: received_at, ..Draft::default() };
        let mut marks = self.store.commands().clone();
        // The operations centre knows what it gave: if it counts anew, so do we.
        marks.after = last;
        for Asked { seq, id, order } in asked {
            let kind =
                order.as_ref().map_or_else(|unread| unread.kind.clone(), |order| order.name().to_owned());
            let refused = match order {
                Ok(order) => match self.carry_out(&mut draft, id.clone(), order, received_at)? {
                    Answer::Repeated => continue,
                    Answer::Done => None,
                    Answer::Refused(why) => Some(why.to_string()),
                },
                Err(Unread { reason, .. }) if !marks.is_new(&id) => {
                    tracing::debug!(%id, %reason, "a command that cannot be read came again");
                    continue;
                }
                Err(Unread { reason, .. }) => {
                    if marks.may_record(received_at) {
                        absorb_refused(&mut draft, &record(&id, &kind, received_at, &reason))?;
                    }
                    Some(reason)
                }
            };
            decided.fresh += 1;
            decided.refused += u64::from(refused.is_some());
            tracing::info!(seq, %id, kind, refused, "a command of the operations centre is decided");
        }
        draft.commands = Some(marks);
        self.finish(draft)?;
        Ok(decided)
    }

    /// One command, with all that follows from it.
    pub(super) fn carry_out(
        &mut self,
        draft: &mut Draft,
        id: CommandId,
        order: Order,
        received_at: Timestamp,
    ) -> Result<Answer, PumpError> {
        let forgotten = about(&order).filter(|id| self.engine.book().get(*id).is_none());
        let recalled = forgotten.map(|id| self.store.alert(id)).transpose()?.flatten().map(Box::new);
        let commit = self.engine.on_command(Command { id, received_at, order, recalled });
        let answer = commit.command.as_ref().map_or(Answer::Repeated, |(_, answer)| answer.clone());
        absorb(draft, commit)?;
        Ok(answer)
    }
}
