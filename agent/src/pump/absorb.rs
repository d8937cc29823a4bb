//! What follows from one input, as what is written of it: the journal, the store's records, and what waits for the NOC
//! and for the site.

use crate::sources::decode::{Reason, Refusal};
use crate::store::{Announcement, Draft, Head, Input, Lane, StoreError, StoredEvent};
use serde::Serialize;
use vigil_cloud_sync::wire::{REFUSED, WELFARE};
use vigil_core::alert::Severity;
use vigil_core::command::RefusedCommand;
use vigil_core::engine::{Commit, Effects, Record};
use vigil_core::report::DailyReport;
use vigil_core::rules::compliance::RunRecord;
use vigil_core::rules::welfare::WelfareResult;

/// Adds a commit of the engine to a draft.
pub(super) fn absorb(draft: &mut Draft, commit: Commit) -> Result<(), StoreError> {
    let Commit { observation, command, effects: Effects { alerts, records, prompts } } = commit;
    draft.prompts.extend(prompts);
    draft.inputs.extend(observation.map(|(o, outcome)| Input::Observation(o, outcome)));
    draft.inputs.extend(command.map(|(c, answer)| Input::Command(Box::new(c), answer)));
    for alert in alerts {
        let data = json(&alert)?;
        let kind = if alert.severity == Severity::Critical { Lane::Critical } else { Lane::Alert };
        draft.announcements.push(Announcement { payload: data.clone() });
        draft.events.push(StoredEvent {
            id: format!("{}.{}", alert.id, alert.revision),
            kind,
            subject: alert.subject.to_string(),
            time: alert.updated_at,
            data,
        });
        draft.alerts.push(alert);
    }
    for record in records {
        match record {
            Record::Run(run) => draft.runs.push(*run),
            Record::Report(report) => draft.reports.push(*report),
            Record::Refused(refused) => absorb_refused(draft, &refused)?,
            Record::Welfare(result) => absorb_welfare(draft, &result)?,
        }
    }
    Ok(())
}

/// A closed run on its way to the NOC.
pub(super) fn logged(run: &RunRecord) -> Result<StoredEvent, StoreError> {
    Ok(StoredEvent {
        id: format!("{}@{}.{}", run.tour, run.scheduled_at, run.revision),
        kind: Lane::Tour,
        subject: format!("run:{}@{}", run.tour, run.scheduled_at),
        time: run.last_scan_at.unwrap_or(run.scheduled_at),
        data: json(run)?,
    })
}

/// A command that was refused, on record here and for the operations centre.
pub(super) fn absorb_refused(draft: &mut Draft, refused: &RefusedCommand) -> Result<(), StoreError> {
    let data = json(refused)?;
    let topic = format!("command/{}", refused.kind);
    let (at, reason) = (refused.at, refused.reason.clone());
    draft.refusals.push(Refusal::new(at, Reason::Command, &topic, reason, data.as_bytes()));
    draft.events.push(StoredEvent {
        id: format!("{REFUSED}{}", refused.command),
        kind: Lane::Health,
        subject: refused.subject.clone(),
        time: at,
        data,
    });
    Ok(())
}

fn absorb_welfare(draft: &mut Draft, result: &WelfareResult) -> Result<(), StoreError> {
    draft.events.push(StoredEvent {
        id: format!("{WELFARE}{}", result.command),
        kind: Lane::Health,
        subject: format!("guard:{}", result.guard),
        time: result.answered_at.unwrap_or(result.asked_at),
        data: json(result)?,
    });
    Ok(())
}

/// A report on its way to the NOC, with where the journal's chain ended when it was made: whoever keeps it can prove the
/// night later.
pub(super) fn reported(report: &DailyReport, head: Head, dropped: u64) -> Result<StoredEvent, StoreError> {
    #[derive(Serialize)]
    struct Sealed<T: Serialize> {
        #[serde(flatten)]
        report: T,
        journal: Journal,
    }
    #[derive(Serialize)]
    struct Journal {
        inputs: u64,
        head: String,
        dropped: u64,
    }
    let journal = Journal { inputs: head.next_input, head: head.digest.to_string(), dropped };
    Ok(StoredEvent {
        id: format!("report.{}.{}", report.date, report.revision),
        kind: Lane::Report,
        subject: format!("site:{}", report.site),
        time: report.made_at,
        data: json(&Sealed { report: report.edge(), journal })?,
    })
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Record(crate::store::records::Unwritable::json(&e)))
}
