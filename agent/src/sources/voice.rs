//! The agent's own voice on MQTT: the embedded broker's, or the external one's.

use super::{broker, mqtt};
use std::fmt;

/// Where the agent publishes.
#[derive(Debug, Clone)]
pub enum Voice {
    /// The broker inside.
    Embedded(broker::BrokerHandle),
    /// The broker outside.
    External(mqtt::MqttHandle),
}

/// The broker did not take it; it is to be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTaken(pub String);

/// Who takes what the agent has to say: a broker, or one that is simulated.
pub trait Speak: Send + Sync {
    /// Publishes with QoS 1; resolves when the broker has it.
    fn publish(
        &self,
        topic: &str,
        payload: Vec<u8>,
        retain: bool,
    ) -> impl Future<Output = Result<(), NotTaken>> + Send;

    /// Resolves when what it has is not lost with it.
    fn settle(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Voice {
    /// The broker inside, if that is where the agent publishes.
    pub const fn broker(&self) -> Option<&broker::BrokerHandle> {
        match self {
            Self::Embedded(handle) => Some(handle),
            Self::External(_) => None,
        }
    }
}

impl Speak for Voice {
    async fn publish(&self, topic: &str, payload: Vec<u8>, retain: bool) -> Result<(), NotTaken> {
        match self {
            Self::Embedded(handle) => {
                handle.publish(topic, payload, retain).map_err(|e| NotTaken(e.to_string()))
            }
            Self::External(handle) => {
                handle.publish(topic, payload, retain).await.map_err(|e| NotTaken(e.to_string()))
            }
        }
    }

    async fn settle(&self) {
        if let Self::Embedded(handle) = self {
            handle.settle().await;
        }
    }
}
