//! Commands as text: the `type` and `data` of contract 6, and a step of an alert from a person on site. Pure.

use serde::Deserialize;
use serde::de::IgnoredAny;
use vigil_core::alert::{AlertId, Method, Status};
use vigil_core::command::{Order, StatusStep, TaskOrder};
use vigil_core::id::{GuardId, TaskId};
use vigil_core::observation::Priority;
use vigil_core::time::Timestamp;

/// The longest name of a person: two of the longest in a passport.
const NAME_CHARS: usize = 80;
/// The longest answer of a guard, and title of a task: a line of a log book, two lines on a handset.
const LINE_CHARS: usize = 200;
/// The longest note: a paragraph; more belongs into a report.
const NOTE_CHARS: usize = 1_000;
/// The name by which the agent signs; nobody else may.
const AGENT: &str = "agent";

/// A text that is no command: what is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoOrder(String);

/// What somebody says of an alert.
#[derive(Debug, Deserialize)]
struct StepFields {
    status: Status,
    #[serde(default)]
    method: Option<Method>,
    #[serde(default)]
    response: Option<String>,
    by: String,
    #[serde(default)]
    note: Option<String>,
}

#[derive(Debug, Deserialize)]
struct AlertFields {
    alert: AlertId,
    #[serde(flatten)]
    step: StepFields,
}

#[derive(Debug, Deserialize)]
struct TaskFields {
    task: TaskId,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    priority: Option<Priority>,
    #[serde(default)]
    guard: Option<GuardId>,
    #[serde(default)]
    created_at: Option<Timestamp>,
    #[serde(default)]
    due_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct CancelFields {
    task: TaskId,
}

#[derive(Debug, Deserialize)]
struct WelfareFields {
    guard: GuardId,
}

/// The commands that the engine carries out, as contract 6 writes them.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", content = "data")]
enum Wire {
    #[serde(rename = "alert.status")]
    AlertStatus(AlertFields),
    #[serde(rename = "task.upsert")]
    TaskUpsert(TaskFields),
    #[serde(rename = "task.cancel")]
    TaskCancel(CancelFields),
    #[serde(rename = "welfare.check")]
    WelfareCheck(WelfareFields),
    /// Nothing has to be said with it.
    #[serde(rename = "bundle.refresh")]
    BundleRefresh(Option<IgnoredAny>),
}

/// Reads `{"type": …, "data": …}`; further fields are ignored.
pub fn order(json: &[u8]) -> Result<Order, NoOrder> {
    Ok(match parsed(json)? {
        Wire::AlertStatus(fields) => Order::AlertStatus(fields.step.of(fields.alert)?),
        Wire::TaskUpsert(fields) => Order::UpsertTask(fields.checked()?),
        Wire::TaskCancel(fields) => Order::CancelTask(fields.task),
        Wire::WelfareCheck(fields) => Order::CheckWelfare(fields.guard),
        Wire::BundleRefresh(None | Some(IgnoredAny)) => Order::RefreshBundle,
    })
}

/// Reads what somebody says of `alert`: `{"status", "method", "response", "by", "note"}`.
pub fn step(alert: AlertId, json: &[u8]) -> Result<Order, NoOrder> {
    Ok(Order::AlertStatus(parsed::<StepFields>(json)?.of(alert)?))
}

fn parsed<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, NoOrder> {
    // A list would be taken for the fields in their order.
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(NoOrder("found no object; {…} with named fields is expected".into()));
    }
    serde_json::from_slice(json).map_err(|why| NoOrder(why.to_string()))
}

impl StepFields {
    fn of(self, alert: AlertId) -> Result<StatusStep, NoOrder> {
        let by = line("by", self.by, NAME_CHARS)?;
        if by.eq_ignore_ascii_case(AGENT) {
            return Err(NoOrder(
                "by: found \"agent\", which is how the agent signs; give the name of a person".into(),
            ));
        }
        Ok(StatusStep {
            alert,
            status: self.status,
            method: self.method.unwrap_or(Method::None),
            response: said("response", self.response, LINE_CHARS)?,
            by,
            note: said("note", self.note, NOTE_CHARS)?,
        })
    }
}

impl TaskFields {
    fn checked(self) -> Result<TaskOrder, NoOrder> {
        if let (Some(made), Some(due)) = (self.created_at, self.due_at)
            && due <= made
        {
            return Err(NoOrder(format!(
                "due_at: found {due}, allowed: an instant after created_at, {made}"
            )));
        }
        Ok(TaskOrder {
            task: self.task,
            title: said("title", self.title, LINE_CHARS)?,
            priority: self.priority.unwrap_or(Priority::Medium),
            guard: self.guard,
            created_at: self.created_at,
            due_at: self.due_at,
        })
    }
}

/// A text that may be left out; an empty one is as good as nothing.
fn said(name: &str, text: Option<String>, most: usize) -> Result<Option<String>, NoOrder> {
    text.filter(|text| !text.trim().is_empty()).map(|text| line(name, text, most)).transpose()
}

/// A text for people: not empty, not too long, and nothing in it that moves a terminal's cursor.
fn line(name: &str, text: String, most: usize) -> Result<String, NoOrder> {
    let chars = text.chars().count();
    if text.trim().is_empty() || chars > most {
        return Err(NoOrder(format!("{name}: found {chars} characters, allowed: 1 to {most}")));
    }
    match text.chars().find(|c| c.is_control() && *c != '\n') {
        Some(found) => Err(NoOrder(format!("{name}: found the control character {found:?}, allowed: text"))),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const ALERT: &str = "afd1abb5-6bf6-5897-8af9-5d8478b70989";

    fn read(value: &Value) -> Result<Order, String> {
        order(value.to_string().as_bytes()).map_err(|why| why.to_string())
    }

    fn stepped(data: Value) -> Result<StatusStep, String> {
        let mut whole = json!({"alert": ALERT, "status": "CONFIRMED", "by": "Asha"});
        whole.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
        match read(&json!({"seq": 4, "id": "c-1", "type": "alert.status", "data": whole}))? {
            Order::AlertStatus(step) => Ok(step),
            other @ (Order::UpsertTask(_)
            | Order::CancelTask(_)
            | Order::CheckWelfare(_)
            | Order::RefreshBundle) => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn a_step_is_read_with_all_that_was_found_out() {
        let said = json!({"method": "CALL", "response": "was on the roof", "note": "second call", "more": 1});
        let expected = StatusStep {
            alert: AlertId::parse(ALERT).unwrap(),
            status: Status::Confirmed,
            method: Method::Call,
            response: Some("was on the roof".into()),
            by: "Asha".into(),
            note: Some("second call".into()),
        };
        assert_eq!(stepped(said), Ok(expected.clone()));
        let bare = StatusStep { method: Method::None, response: None, note: None, ..expected };
        assert_eq!(stepped(json!({"method": null, "response": " ", "note": ""})), Ok(bare));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let table = [
            (json!({"status": "DONE"}), "unknown variant `DONE`, expected one of `DETECTED`"),
            (json!({"method": "PIGEON"}), "unknown variant `PIGEON`"),
            (json!({"alert": "the last one"}), "UUID"),
            (json!({"by": " "}), "by: found 1 characters, allowed: 1 to 80"),
            (json!({"by": "Agent"}), "which is how the agent signs"),
            (json!({"by": null}), "invalid type: null"),
            (json!({"note": "x".repeat(1_001)}), "note: found 1001 characters, allowed: 1 to 1000"),
            (json!({"response": "\u{1b}[2J"}), "response: found the control character '\\u{1b}'"),
        ];
        for (data, part) in table {
            let why = stepped(data.clone()).unwrap_err();
            assert!(why.contains(part), "{data}: {why}");
        }
        assert!(read(&json!({"type": "alert.sleep", "data": {}})).unwrap_err().contains("`task.cancel`"));
        assert!(read(&json!({"type": "alert.status"})).unwrap_err().contains("data"));
    }

    #[test]
    fn tasks_are_given_and_taken_back() {
        let Ok(Order::UpsertTask(task)) = read(&json!({"type": "task.upsert", "data": {"task": "T-1"}}))
        else {
            panic!("no task")
        };
        assert_eq!((task.priority, task.guard, task.due_at), (Priority::Medium, None, None));
        let cancelled = read(&json!({"type": "task.cancel", "data": {"task": "T-1"}}));
        assert_eq!(cancelled, Ok(Order::CancelTask(TaskId::new("T-1").unwrap())));
        let asked = read(&json!({"type": "welfare.check", "data": {"guard": "G-7"}}));
        assert_eq!(asked, Ok(Order::CheckWelfare(GuardId::new("G-7").unwrap())));
        for refresh in
            [json!({"type": "bundle.refresh", "data": {"any": 1}}), json!({"type": "bundle.refresh"})]
        {
            assert_eq!(read(&refresh), Ok(Order::RefreshBundle));
        }
        let none = read(&json!({"type": "task.cancel", "data": {"task": "no id"}}));
        assert!(none.unwrap_err().contains("is not an id"));
        let list = order(br#"["task.cancel",{"task":"T-1"}]"#).unwrap_err().to_string();
        assert!(list.contains("no object"), "{list}");
    }

    #[test]
    fn a_task_is_due_after_it_was_made() {
        let upsert = |due: &str| {
            let data = json!({"task": "T-1", "created_at": "2026-03-10T20:00:00Z", "due_at": due});
            read(&json!({"type": "task.upsert", "data": data}))
        };
        let why = upsert("2026-03-10T20:00:00Z").unwrap_err();
        assert!(why.starts_with("due_at: found 2026-03-10T20:00:00.000Z"), "{why}");
        assert!(upsert("2026-03-10T20:00:00.001Z").is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_order_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(order(&bytes).is_err());
        }
    }
}
