//! Commands of the operations centre on their way to the pump: what cannot be read is a refusal with a reason. Pure, but
//! for the asking.

use crate::bundles::{NO_KEYS, Refresher};
use crate::orders;
use crate::pump::{Asked, PumpHandle, Unread};
use vigil_cloud_sync::{Closed, Decided, Given, Inbox};
use vigil_core::command::Order;
use vigil_core::id::CommandId;

/// How much of a reason is kept: it may quote what somebody else wrote.
const MAX_REASON_CHARS: usize = 300;
/// What a command without an id of its own is called; its number follows.
const NAMELESS: &str = "seq";

/// The store's side of the commands, as the uplink sees it.
pub struct StoredInbox {
    /// Where they are decided.
    pub pump: PumpHandle,
    /// Where site bundles are fetched; `None` if none can be taken.
    pub bundles: Option<Refresher>,
}

impl Inbox for StoredInbox {
    async fn acknowledged(&self) -> Result<u64, Closed> {
        self.pump.acknowledged().await.map_err(|_| Closed)
    }

    /// A bundle is fetched and judged before the command that asks for it is decided. What stands in front of that does not
    /// wait for it, and several in one answer are one look.
    async fn decide(&self, commands: Vec<Given>) -> Result<Decided, Closed> {
        let (mut decided, mut ready, mut looked) = (Decided::default(), Vec::new(), None);
        for given in commands {
            let mut asked = asked(given);
            if asked.order == Ok(Order::RefreshBundle) {
                if looked.is_none() {
                    decided = decided.and(self.hand_over(std::mem::take(&mut ready)).await?);
                    looked = Some(self.refresh().await?);
                }
                if let Some(Err(why)) = &looked {
                    asked.order = Err(unread(Order::RefreshBundle.name().to_owned(), why));
                }
            }
            ready.push(asked);
        }
        Ok(decided.and(self.hand_over(ready).await?))
    }
}

impl StoredInbox {
    async fn hand_over(&self, ready: Vec<Asked>) -> Result<Decided, Closed> {
        self.pump.commands(ready).await.map_err(|_| Closed)
    }

    async fn refresh(&self) -> Result<Result<(), String>, Closed> {
        match &self.bundles {
            Some(bundles) => bundles.refresh().await.map_err(|_| Closed),
            None => Ok(Err(NO_KEYS.to_owned())),
        }
    }
}

fn unread(kind: String, reason: &str) -> Unread {
    Unread { kind, reason: reason.chars().take(MAX_REASON_CHARS).collect() }
}

fn asked(given: Given) -> Asked {
    let Given { seq, id, kind, json } = given;
    let refused = |reason: String| unread(kind, &reason);
    match id {
        Some(id) => {
            let order = orders::order(json.as_bytes()).map_err(|why| refused(why.to_string()));
            Asked { seq, id, order }
        }
        None => {
            let reason =
                "id: 1 to 64 characters of A-Z a-z 0-9 . _ - are allowed, and no local- or seq- in front";
            Asked { seq, id: CommandId::numbered(NAMELESS, seq), order: Err(refused(reason.to_owned())) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigil_core::id::TaskId;

    fn given(id: Option<&str>, kind: &str, data: &str) -> Given {
        let json = format!(r#"{{"seq":7,"type":"{kind}","data":{data}}}"#);
        Given { seq: 7, id: id.map(|id| CommandId::new(id).unwrap()), kind: kind.into(), json }
    }

    fn why(given: Given) -> (String, String) {
        let asked = asked(given);
        (asked.id.to_string(), asked.order.unwrap_err().reason)
    }

    #[test]
    fn what_can_be_read_is_an_order() {
        let Asked { seq, id, order } = asked(given(Some("c-1"), "task.cancel", r#"{"task":"T-1"}"#));
        assert_eq!((seq, id.as_str()), (7, "c-1"));
        assert_eq!(order, Ok(Order::CancelTask(TaskId::new("T-1").unwrap())));
    }

    #[test]
    fn what_cannot_is_refused_under_its_name_or_its_number() {
        let table = [
            (given(Some("c-1"), "alert.sing", "{}"), "c-1", "unknown variant `alert.sing`"),
            (given(Some("c-1"), "task.cancel", "{}"), "c-1", "missing field `task`"),
            (given(Some("c-1"), "task.cancel", "[]"), "c-1", "invalid"),
            (given(None, "task.cancel", r#"{"task":"T-1"}"#), "seq-7", "id: 1 to 64 characters"),
        ];
        for (given, id, part) in table {
            let said = why(given.clone());
            assert!(said.0 == id && said.1.contains(part), "{given:?}: {said:?}");
        }
        let (_, reason) = why(given(Some("c-1"), &"x".repeat(10_000), "{}"));
        assert_eq!(reason.chars().count(), MAX_REASON_CHARS);
    }
}
