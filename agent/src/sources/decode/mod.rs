//! Bytes to observations. Pure: the same bytes at the same instant give the same result.

use serde::{Deserialize, Serialize};
use std::fmt;
use vigil_core::observation::Observation;
use vigil_core::site::Site;
use vigil_core::time::Timestamp;

/// What became of one message.
#[derive(Debug, Default, PartialEq)]
pub struct Decoded {
    /// What was understood, in the sender's order.
    pub observations: Vec<Observation>,
    /// What was not.
    pub refused: Vec<Refusal>,
}

/// Why an input is refused. Appended to, never reordered: the order is that of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The payload is no JSON.
    NotJson,
    /// A field is missing or has the wrong type.
    WrongType,
    /// A value is outside what can be.
    OutOfRange,
    /// The device is not in the site file.
    UnknownDevice,
    /// The topic names another site.
    NotThisSite,
    /// The topic is none of the contract.
    UnknownTopic,
    /// The event's instant is a day or more in the future.
    Future,
    /// The payload or the array is too large.
    TooLarge,
    /// The sender may not publish there.
    NotAllowed,
}

impl Reason {
    /// The name on every edge.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::WrongType => "wrong_type",
            Self::OutOfRange => "out_of_range",
            Self::UnknownDevice => "unknown_device",
            Self::NotThisSite => "not_this_site",
            Self::UnknownTopic => "unknown_topic",
            Self::Future => "future",
            Self::TooLarge => "too_large",
            Self::NotAllowed => "not_allowed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How much of a refused payload is kept (contract 4).
pub const REFUSED_HEAD_BYTES: usize = 200;

/// One refused input, as it is kept for `vigil status --refused`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// When it came.
    pub received_at: Timestamp,
    /// Why it was refused.
    pub reason: Reason,
    /// Where it was published.
    pub topic: String,
    /// What is wrong, and what would be right.
    pub detail: String,
    /// The first 200 bytes, as text; bytes that are no UTF-8 are replaced.
    pub head: String,
}

impl Refusal {
    /// A refusal that keeps the head of the payload.
    pub fn new(received_at: Timestamp, reason: Reason, topic: &str, detail: String, payload: &[u8]) -> Self {
        let head = String::from_utf8_lossy(payload.get(..REFUSED_HEAD_BYTES).unwrap_or(payload)).into_owned();
        let topic = topic.chars().take(256).collect();
        Self { received_at, reason, topic, detail, head }
    }
}

/// Decodes one message of contract 4's own topics.
pub fn message(_site: &Site, received_at: Timestamp, topic: &str, payload: &[u8]) -> Decoded {
    let refusal = Refusal::new(received_at, Reason::UnknownTopic, topic, String::new(), payload);
    Decoded { observations: vec![], refused: vec![refusal] }
}
