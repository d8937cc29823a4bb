//! Asks the receiver for commands: a long poll, one in flight, for as long as the agent runs.
//!
//! At least once in, decided once: the next poll acknowledges what is decided on stable storage and nothing else, so
//! stopping at any point loses no command, and one that comes again has no effect. `after` follows what the receiver
//! gave last, up or down: a receiver that counts anew is heard as before.

use crate::cadence::Cadence;
use crate::courier::{Closed, Never, count, cut};
use crate::uplink::Uplink;
use crate::verdict::{Outcome, said, wait_asked};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use vigil_core::id::CommandId;
use vigil_core::time::{Span, Timestamp};

/// The most bytes of an answer that are read: 500 commands of 2 KiB each, and one with the longest note of a thousand
/// characters is 1 to 5.
pub const MAX_COMMANDS_BYTES: usize = 1024 * 1024;

/// The most commands that are taken from one answer: they go into one commit, as a batch of messages does, and the
/// gateway remembers twice as many, so that none of an answer that comes again counts twice.
pub const MAX_COMMANDS: usize = 500;

/// How long the receiver may hold its answer (contract 6): proxies and carriers cut what is silent for 30 s and more.
pub const WAIT: Duration = Duration::from_secs(25);

/// At least so far apart begin two polls of which the first brought nothing new: a receiver that does not hold its answer,
/// or repeats itself, is asked twelve times a minute, and an operator who waits for a step waits five seconds at most.
const APART: Duration = Duration::from_secs(5);

/// The same after one that did: what was decided is acknowledged soon, and whatever the receiver sends, the store is
/// asked for at most five commits a second.
const APART_AFTER_NEW: Duration = Duration::from_millis(200);

/// How much of the type of a command is kept: the longest of the contract has 14 characters.
pub const MAX_KIND_CHARS: usize = 64;

/// One command as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The receiver's number for it.
    pub seq: u64,
    /// Its name; `None` if it has none that is an id, or one that only a gateway gives.
    pub id: Option<CommandId>,
    /// What it says that it is, cut, for a person.
    pub kind: String,
    /// All of it, as it came.
    pub json: String,
}

/// Whether a name is one that only the gateway gives: to what is asked on site, and to what came without a name. A
/// stranger's would count as known when its own turn comes.
pub fn is_reserved(id: &CommandId) -> bool {
    ["local-", "seq-"].iter().any(|own| id.as_str().starts_with(own))
}

/// What became of the commands of one answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Decided {
    /// How many had not been decided before.
    pub fresh: u64,
    /// How many of these were refused.
    pub refused: u64,
}

impl Decided {
    /// What became of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { fresh: self.fresh + other.fresh, refused: self.refused + other.refused }
    }
}

/// Where commands are decided, on stable storage.
pub trait Inbox: Send + Sync {
    /// The number up to which everything is decided.
    fn acknowledged(&self) -> impl Future<Output = Result<u64, Closed>> + Send;

    /// Decides the commands of one answer, in order of their numbers; from then on the last of these is acknowledged. What cannot be
    /// read is refused, and holds up nothing.
    fn decide(&self, commands: Vec<Given>) -> impl Future<Output = Result<Decided, Closed>> + Send;
}

/// How the way of commands is, for the status page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ListenerState {
    /// Whether the last poll was answered with a list; `None` before the first.
    pub reachable: Option<bool>,
    /// Whether the receiver refuses our credential.
    pub unauthorized: bool,
    /// When a poll was last answered.
    pub last_success_at: Option<Timestamp>,
    /// What went wrong last; cleared by a success.
    pub last_error: Option<String>,
    /// When it went wrong.
    pub last_error_at: Option<Timestamp>,
    /// Failures in a row.
    pub attempts: u32,
    /// When it will be tried again.
    pub next_attempt_at: Option<Timestamp>,
    /// Commands that were decided since the start.
    pub decided: u64,
    /// How many of these were refused.
    pub refused: u64,
}

/// Everything that the listener needs.
pub struct Listener<I> {
    /// The way to the receiver.
    pub uplink: Uplink,
    /// Where commands go.
    pub inbox: Arc<I>,
    /// Where the status page looks.
    pub state: watch::Sender<ListenerState>,
    /// When to try again.
    pub cadence: Cadence,
    /// How long the receiver may hold its answer: [`WAIT`].
    pub wait: Duration,
    /// The agent's clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// Listens until `shutdown` completes (`Ok`) or the inbox closes (`Err`).
pub async fn listen<I: Inbox>(
    listener: Listener<I>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Closed> {
    let mut round = Round { listener, held: false };
    tokio::select! {
        () = shutdown => Ok(()),
        Err(closed) = round.attend() => Err(closed),
    }
}

struct Round<I> {
    listener: Listener<I>,
    /// Whether the receiver may hold its answer: not the first one after a start or a failure, so that the page soon
    /// says how the way is, and the time in it is not half a minute old.
    held: bool,
}

impl<I: Inbox> Round<I> {
    async fn attend(&mut self) -> Result<Never, Closed> {
        loop {
            let began = Instant::now();
            let after = self.listener.inbox.acknowledged().await?;
            let wait = if self.held { self.listener.wait } else { Duration::ZERO };
            let outcome = self.listener.uplink.poll(after, wait).await;
            let next = match hear(&outcome) {
                Heard::Given(commands) => began + self.on_given(commands).await?,
                Heard::Retry { after, why } => Instant::now() + self.on_retry(after, why),
                Heard::Unauthorized { why } => Instant::now() + self.on_unauthorized(why),
                Heard::NotThere { why } => Instant::now() + self.on_not_there(why),
            };
            tokio::time::sleep_until(next).await;
        }
    }

    /// How far from its beginning the next poll may begin.
    async fn on_given(&mut self, commands: Vec<Given>) -> Result<Duration, Closed> {
        let decided = match commands.is_empty() {
            true => Decided::default(),
            false => self.listener.inbox.decide(commands).await?,
        };
        self.listener.cadence.on_success();
        let now = (self.listener.now)();
        self.listener.state.send_modify(|state| {
            *state = ListenerState {
                reachable: Some(true),
                last_success_at: Some(now),
                decided: state.decided + decided.fresh,
                refused: state.refused + decided.refused,
                ..ListenerState::default()
            };
        });
        let held = std::mem::replace(&mut self.held, true);
        Ok(if decided.fresh > 0 || !held { APART_AFTER_NEW } else { APART })
    }

    fn on_retry(&mut self, after: Option<Duration>, why: String) -> Duration {
        self.listener.cadence.on_failure();
        let cadence = &mut self.listener.cadence;
        // Somebody waits for what he asked, so the way is tried as for a CRITICAL event.
        let wait = match after {
            Some(after) => cadence.wait_asked(after),
            None => cadence.wait(true),
        };
        tracing::warn!(attempts = cadence.failures(), wait_ms = wait.as_millis(), %why, "no commands can be heard");
        self.on_trouble(false, &why, wait)
    }

    fn on_unauthorized(&mut self, why: String) -> Duration {
        self.listener.cadence.on_failure();
        let wait = self.listener.cadence.wait_for_a_person(false);
        tracing::error!(%why, "the receiver refuses the uplink credential; no commands can be heard");
        self.on_trouble(true, &why, wait)
    }

    fn on_not_there(&mut self, why: String) -> Duration {
        self.listener.cadence.on_failure();
        let wait = self.listener.cadence.wait_for_a_person(false);
        tracing::warn!(%why, "the receiver knows of no commands");
        self.on_trouble(false, &why, wait)
    }

    fn on_trouble(&mut self, unauthorized: bool, why: &str, wait: Duration) -> Duration {
        self.held = false;
        let now = (self.listener.now)();
        let span = Span::from_millis(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
        let attempts = self.listener.cadence.failures();
        self.listener.state.send_modify(|state| {
            state.reachable = Some(false);
            state.unauthorized = unauthorized;
            state.last_error = Some(cut(why));
            state.last_error_at = Some(now);
            state.attempts = attempts;
            state.next_attempt_at = Some(now + span);
        });
        wait
    }
}

/// What an answer to a poll means. Pure.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    /// These are to be decided, in this order; there may be none.
    Given(Vec<Given>),
    /// Ask again.
    Retry { after: Option<Duration>, why: String },
    /// The receiver does not know us: say so, ask again slowly.
    Unauthorized { why: String },
    /// The receiver has no such call: it may be given one, so ask again slowly.
    NotThere { why: String },
}

fn hear(outcome: &Outcome) -> Heard {
    let (status, retry_after, date, body) = match outcome {
        Outcome::Broken { why } => return Heard::Retry { after: None, why: why.clone() },
        Outcome::Answered { status, retry_after, date, body } => (*status, retry_after, date, body),
    };
    match status {
        200..=299 => read(body).map_or_else(|why| Heard::Retry { after: None, why }, Heard::Given),
        401 | 403 => Heard::Unauthorized { why: said(status, body) },
        404 | 405 | 410 | 501 => Heard::NotThere { why: said(status, body) },
        _ => {
            let after = retry_after.as_deref().and_then(|text| wait_asked(text, date.as_deref()));
            Heard::Retry { after, why: said(status, body) }
        }
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    commands: Vec<&'a RawValue>,
}

/// What of a command is needed to account for it; whatever else is wrong with it is for the inbox to say.
#[derive(Deserialize)]
struct Head<'a> {
    seq: u64,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    r#type: Option<&'a RawValue>,
}

/// The commands of an answer, in order of their numbers, at most [`MAX_COMMANDS`]: the others come with the next.
fn read(body: &[u8]) -> Result<Vec<Given>, String> {
    let answer: Answer<'_> =
        serde_json::from_slice(body).map_err(|e| format!("the answer cannot be read: {e}"))?;
    let mut commands: Vec<Given> = answer.commands.iter().filter_map(|raw| given(raw)).collect();
    let nameless = count(answer.commands.len() - commands.len());
    if nameless > 0 {
        tracing::error!(nameless, "commands without a number cannot be acknowledged, and are left out");
    }
    commands.sort_by_key(|command| command.seq);
    commands.truncate(MAX_COMMANDS);
    Ok(commands)
}

/// One command, if it has a number.
fn given(raw: &RawValue) -> Option<Given> {
    let head: Head<'_> = serde_json::from_str(raw.get()).ok()?;
    let text = |raw: Option<&RawValue>| raw.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    let kind = text(head.r#type).unwrap_or_default();
    Some(Given {
        seq: head.seq,
        id: text(head.id).and_then(|id| CommandId::new(&id).ok()).filter(|id| !is_reserved(id)),
        kind: kind.chars().take(MAX_KIND_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect(),
        json: raw.get().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answered(status: u16, body: &str) -> Outcome {
        Outcome::Answered { status, retry_after: Some("7".into()), date: None, body: body.into() }
    }

    fn name(heard: &Heard) -> &'static str {
        match heard {
            Heard::Given(_) => "given",
            Heard::Retry { after: None, .. } => "retry",
            Heard::Retry { .. } => "retry as asked",
            Heard::Unauthorized { .. } => "unauthorized",
            Heard::NotThere { .. } => "not there",
        }
    }

    #[test]
    fn the_table() {
        let table = [
            (200, r#"{"commands":[]}"#, "given"),
            (200, r#"{"commands":[{"seq":1,"id":"c-1","type":"t","data":{}}],"more":1}"#, "given"),
            (200, r#"{"commands":[5,{"seq":"x"},{"id":"c-1"},null]}"#, "given"),
            (200, r#"{"commands":[{"seq":1}"#, "retry"),
            (200, r#"{"commands":null}"#, "retry"),
            (200, "{}", "retry"),
            (200, "<html>log in to the guest network</html>", "retry"),
            (204, "", "retry"),
            (302, "", "retry as asked"),
            (400, "", "retry as asked"),
            (401, "", "unauthorized"),
            (403, "", "unauthorized"),
            (404, "", "not there"),
            (405, "", "not there"),
            (410, "", "not there"),
            (413, "", "retry as asked"),
            (429, "", "retry as asked"),
            (500, "", "retry as asked"),
            (501, "", "not there"),
            (503, "", "retry as asked"),
        ];
        for (status, body, expected) in table {
            assert_eq!(name(&hear(&answered(status, body))), expected, "{status} {body}");
        }
        assert_eq!(name(&hear(&Outcome::Broken { why: "cut".into() })), "retry");
    }

    #[test]
    fn what_has_a_number_is_accounted_for_whatever_it_is() {
        let body = r#"{"commands":[{"seq":3,"id":"c 3","type":"a\nb"},{"seq":2,"id":7,"type":[]},{"id":"c-9"},
                       {"seq":4,"id":"local-4","type":"x"},
                       {"seq":1, "id":"c-1","type":"task.cancel","data":{"task":"T-1"}}]}"#;
        let commands = read(body.as_bytes()).unwrap();
        let heads: Vec<_> = commands.iter().map(|c| (c.seq, c.id.is_some(), c.kind.as_str())).collect();
        assert_eq!(heads, [(1, true, "task.cancel"), (2, false, ""), (3, false, "a b"), (4, false, "x")]);
        let verbatim = r#"{"seq":1, "id":"c-1","type":"task.cancel","data":{"task":"T-1"}}"#;
        assert_eq!(commands[0].json, verbatim);
    }

    #[test]
    fn of_more_than_are_taken_the_lowest_are() {
        let all: Vec<String> = (0..600).rev().map(|seq| format!(r#"{{"seq":{seq}}}"#)).collect();
        let commands = read(format!(r#"{{"commands":[{}]}}"#, all.join(",")).as_bytes()).unwrap();
        assert_eq!((commands.len(), commands[0].seq, commands[499].seq), (MAX_COMMANDS, 0, 499));
    }

    proptest! {
        #[test]
        fn any_body_is_a_list_or_a_reason(status in 0u16..1000, body in ".{0,80}") {
            let heard = hear(&answered(status, &body));
            prop_assert!(!matches!(heard, Heard::Given(_)), "{body}");
        }
    }
}
