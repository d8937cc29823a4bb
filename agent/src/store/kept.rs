//! What the broker inside keeps for its clients across a restart: sessions, the messages that are on their way to them, and
//! what is retained. The store knows them as records with names of the broker's own.

use super::keys::Kind;
use super::records::encode;
use super::writes::Writes;
use super::{Store, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use vigil_core::time::Timestamp;

/// One record. On disk: variants are added behind, and a struct never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kept {
    /// A session without what waits for its client.
    Session(KeptSession),
    /// A message on its way to a client.
    Delivery(KeptDelivery),
    /// A retained message.
    Retained(KeptMessage),
    /// A session whose last will expires: how many seconds after its publication, which is still to come.
    Expiring(KeptSession, u32),
}

/// A session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSession {
    /// Whose it is; `None` of a client without a user name.
    pub user: Option<String>,
    /// The client id.
    pub client: String,
    /// For how many seconds it is kept without a connection.
    pub kept_secs: u64,
    /// When its connection ended; `None` while it has one.
    pub left_at: Option<Timestamp>,
    /// What it subscribed to.
    pub filters: Vec<KeptFilter>,
    /// QoS 2 messages of the client that are stored and not yet released.
    pub received: Vec<u16>,
    /// The last packet id that was given to a message for the client.
    pub last_id: u16,
    /// The number that the next message for the client gets.
    pub next_number: u64,
    /// The last will of its connection.
    pub will: Option<KeptMessage>,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFilter {
    /// To what.
    pub filter: String,
    /// With which QoS at most.
    pub qos: u8,
    /// Whether the client's own messages are left out.
    pub no_local: bool,
    /// Whether messages keep their retain flag.
    pub retain_as_published: bool,
    /// The subscription identifier.
    pub number: Option<u32>,
}

/// A message on its way to one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptDelivery {
    /// What.
    pub message: KeptMessage,
    /// With which QoS.
    pub qos: u8,
    /// Whether it is told as a retained one.
    pub retain: bool,
    /// The subscription identifiers.
    pub numbers: Vec<u32>,
    /// The packet id under which it was sent.
    pub sent: Option<u16>,
    /// Whether the client has said that it has it (QoS 2).
    pub released: bool,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptMessage {
    /// Where it was published.
    pub topic: String,
    /// What it says.
    pub payload: Vec<u8>,
    /// With which QoS.
    pub qos: u8,
    /// Whether it is retained.
    pub retain: bool,
    /// When it is no longer to be delivered.
    pub expires_at: Option<Timestamp>,
    /// What a v5 publisher added.
    pub properties: Option<KeptProperties>,
}

/// What a v5 publisher added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptProperties {
    /// What the payload is.
    pub content_type: Option<String>,
    /// Where an answer is expected.
    pub response_topic: Option<String>,
    /// What the answer refers to.
    pub correlation_data: Option<Vec<u8>>,
    /// Whether the payload is text.
    pub is_utf8_payload: bool,
    /// Names and values.
    pub user_properties: Vec<(String, String)>,
}

/// Such records by name, as they are on disk.
pub type KeptByName = Vec<(Vec<u8>, Kept)>;

/// Changes of such records, by name: what each is now, or that it is no more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keeping {
    /// Whether whatever else is kept is of an earlier life and goes.
    pub anew: bool,
    /// The changes, in order.
    pub changes: Vec<(Vec<u8>, Option<Kept>)>,
}

fn key(name: &[u8]) -> Vec<u8> {
    [&Kind::Broker.prefix()[..], name].concat()
}

impl Store {
    /// Everything that the broker keeps, by name.
    pub fn kept(&mut self) -> Result<KeptByName, StoreError> {
        let all = self.read_all(Kind::Broker)?;
        Ok(all.into_iter().map(|(key, kept)| (key.get(1..).unwrap_or_default().to_vec(), kept)).collect())
    }

    /// Writes what has changed of it; on return it is on stable storage. Nothing of the rules or the journal is in it.
    pub fn keep(&mut self, keeping: &Keeping) -> Result<(), StoreError> {
        let mut writes = Writes::default();
        if keeping.anew {
            let named: BTreeSet<Vec<u8>> = keeping.changes.iter().map(|(name, _)| key(name)).collect();
            for record in self.disk.scan(&Kind::Broker.prefix()) {
                let (known, _) = record?;
                if !named.contains(&known) {
                    writes.remove(known);
                }
            }
        }
        for (name, kept) in &keeping.changes {
            match kept {
                Some(kept) => writes.put(key(name), encode(kept)?),
                None => writes.remove(key(name)),
            }
        }
        if !writes.is_empty() {
            self.disk.commit(writes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retained(payload: &str) -> Kept {
        let (topic, payload) = ("a/status".to_owned(), payload.as_bytes().to_vec());
        Kept::Retained(KeptMessage {
            topic,
            payload,
            qos: 1,
            retain: true,
            expires_at: None,
            properties: None,
        })
    }

    fn change(name: &str, kept: Option<Kept>) -> (Vec<u8>, Option<Kept>) {
        (name.as_bytes().to_vec(), kept)
    }

    #[test]
    fn what_is_kept_is_there_after_a_reopen_and_what_is_of_an_earlier_life_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let session = Kept::Session(KeptSession { client: "screen".into(), ..KeptSession::default() });
        let first = vec![change("a", Some(retained("online"))), change("b", Some(session.clone()))];
        store.keep(&Keeping { anew: false, changes: first }).unwrap();
        store.keep(&Keeping { anew: false, changes: vec![change("a", Some(retained("offline")))] }).unwrap();
        drop(store);
        let mut store = Store::open(dir.path()).unwrap();
        assert_eq!(store.kept().unwrap(), [(b"a".to_vec(), retained("offline")), (b"b".to_vec(), session)]);
        store.keep(&Keeping { anew: false, changes: vec![change("b", None)] }).unwrap();
        assert_eq!(store.kept().unwrap().len(), 1);
        store.keep(&Keeping { anew: true, changes: vec![change("c", Some(retained("online")))] }).unwrap();
        assert_eq!(store.kept().unwrap(), [(b"c".to_vec(), retained("online"))]);
    }
}
