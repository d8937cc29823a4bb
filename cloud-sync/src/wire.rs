//! The words on the wire: CloudEvents 1.0 in JSON batches, gzipped. The same events give the same bytes.

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;
use std::io::{BufWriter, IntoInnerError};
use vigil_core::id::{GatewayId, SiteId, TenantId};
use vigil_core::time::Timestamp;

/// The media type of a batch.
pub const BATCH_CONTENT_TYPE: &str = "application/cloudevents-batch+json";

/// The most events in a batch (contract 6): a night's backlog goes in minutes, and one answer stays small.
pub const MAX_BATCH_EVENTS: usize = 500;

/// The most bytes of `data` in a batch: at 2G speed, about 10 kB/s, a gzipped megabyte fits the whole timeout.
pub const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// How many bytes of JSON go to the encoder at once: one call of it costs as much as a few kilobytes.
const PACKED_AT_ONCE: usize = 16 * 1024;

/// How the id of a record begins that says that a command was refused; the command's id follows. It is of the type
/// `vigil.health`, because the contract has no type of its own for it.
pub const REFUSED: &str = "refused.";
/// How the id of an event begins that says what came of a welfare check.
pub const WELFARE: &str = "welfare.";
/// How the id of an event begins that says what became of a site bundle; what, its version and the instant follow.
pub const BUNDLE: &str = "bundle.";

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// A revision of an alert.
    Alert,
    /// A tour that was walked, or was not.
    Tour,
    /// A daily report.
    Report,
    /// How the gateway is.
    Health,
}

impl EventKind {
    /// Every kind, in the order in which they are sent.
    pub const ALL: [Self; 4] = [Self::Alert, Self::Tour, Self::Report, Self::Health];

    /// The CloudEvents `type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alert => "vigil.alert",
            Self::Tour => "vigil.tour",
            Self::Report => "vigil.report",
            Self::Health => "vigil.health",
        }
    }

    /// The kind with that CloudEvents `type`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What gives the numbers: one life of a gateway's store. A store that takes the place of a damaged one is another
/// producer, so that its numbers are not taken for those of the old one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Producer(pub u64);

impl fmt::Display for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Producer {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One entry of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whose number it has.
    pub producer: Producer,
    /// Rises by one for each event of the producer, so that the receiver sees a gap.
    pub sequence: u64,
    /// Alert id, dot and revision, or the record's id.
    pub id: String,
    /// What it is about.
    pub kind: EventKind,
    /// Whom or what it concerns, like `guard:G-7`.
    pub subject: String,
    /// When it happened.
    pub time: Timestamp,
    /// Whether somebody may be in danger: it goes first and is retried sooner.
    pub critical: bool,
    /// A JSON object, sent as it is: a second sending is the same to the byte.
    pub data: String,
}

/// Where all events of this gateway come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The customer of the NOC.
    pub tenant: TenantId,
    /// The guarded site.
    pub site: SiteId,
    /// This box.
    pub gateway: GatewayId,
}

impl Origin {
    /// The CloudEvents `source`.
    pub fn source(&self) -> String {
        format!("/tenants/{}/sites/{}/gateways/{}", self.tenant, self.site, self.gateway)
    }
}

/// One event that is not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Rejection {
    /// The event's id.
    pub id: String,
    /// Why it is not taken.
    pub reason: String,
}

/// What the receiver did with a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Answer {
    /// How many were new and are stored.
    pub accepted: usize,
    /// How many were stored before.
    pub duplicates: usize,
    /// Which will never be taken.
    pub rejected: Vec<Rejection>,
    /// Numbers of accepted events that the receiver knows from other events of the same producer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reused: Vec<u64>,
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    r#type: &'static str,
    subject: &'a str,
    time: Timestamp,
    datacontenttype: &'static str,
    producer: Producer,
    sequence: u64,
    data: &'a RawValue,
}

/// A batch as it goes over the wire.
#[derive(Debug)]
pub struct Batch {
    /// The gzipped body.
    pub body: Vec<u8>,
    /// The ids of the events in it, in order.
    pub ids: Vec<String>,
    /// The events whose data is no JSON object; they cannot be sent, now or later.
    pub unsendable: Vec<Rejection>,
}

/// The body could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The JSON writer failed.
    #[error("cannot write the batch: {0}")]
    Json(#[from] serde_json::Error),
    /// The compressor failed.
    #[error("cannot compress the batch: {0}")]
    Gzip(#[from] std::io::Error),
}

impl Batch {
    /// Writes `events` of `origin` in their order.
    pub fn write(origin: &Origin, events: &[Event]) -> Result<Self, WireError> {
        let source = origin.source();
        let (mut sendable, mut ids, mut unsendable) = (vec![], vec![], vec![]);
        for event in events {
            match cloud_event(&source, event) {
                Ok(written) => {
                    ids.push(event.id.clone());
                    sendable.push(written);
                }
                Err(reason) => unsendable.push(Rejection { id: event.id.clone(), reason }),
            }
        }
        // Level 1: the core of a small ARM box is worth more than the last 20 % of a few kilobytes.
        let gzip = GzEncoder::new(Vec::new(), Compression::fast());
        // JSON comes word by word, and each call of the encoder clears 32 KiB of its output first.
        let mut gzip = BufWriter::with_capacity(PACKED_AT_ONCE, gzip);
        serde_json::to_writer(&mut gzip, &sendable)?;
        let gzip = gzip.into_inner().map_err(IntoInnerError::into_error)?;
        Ok(Self { body: gzip.finish()?, ids, unsendable })
    }
}

fn cloud_event<'a>(source: &'a str, event: &'a Event) -> Result<CloudEvent<'a>, String> {
    let data: &RawValue =
        serde_json::from_str(&event.data).map_err(|e| format!("its data is no JSON: {e}"))?;
    if !data.get().starts_with('{') {
        return Err("its data is no JSON object".to_owned());
    }
    Ok(CloudEvent {
        specversion: "1.0",
        id: &event.id,
        source,
        r#type: event.kind.name(),
        subject: &event.subject,
        time: event.time,
        datacontenttype: "application/json",
        producer: event.producer,
        sequence: event.sequence,
        data,
    })
}

/// How many of `events`, from the front, fit a batch; at least one if there is one.
pub fn fitting(events: &[Event]) -> usize {
    let mut bytes = 0;
    let fits = |event: &&Event| {
        bytes += event.data.len();
        bytes <= MAX_BATCH_BYTES
    };
    let count = events.iter().take(MAX_BATCH_EVENTS).take_while(fits).count();
    count.max(1).min(events.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn origin() -> Origin {
        Origin {
            tenant: TenantId::new("acme").unwrap(),
            site: SiteId::new("plant-7").unwrap(),
            gateway: GatewayId::new("gw-1").unwrap(),
        }
    }

    fn event(sequence: u64, data: &str) -> Event {
        Event {
            producer: Producer(0xABC),
            sequence,
            id: format!("a.{sequence}"),
            kind: EventKind::Alert,
            subject: "guard:G-7".into(),
            time: Timestamp::parse("2026-03-10T22:05:00+05:30").unwrap(),
            critical: false,
            data: data.into(),
        }
    }

    fn unpacked(batch: &Batch) -> String {
        let mut text = String::new();
        flate2::read::GzDecoder::new(batch.body.as_slice()).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn an_event_is_a_cloud_event_and_its_data_is_verbatim() {
        let batch = Batch::write(&origin(), &[event(7, r#"{"b":1.50,"a":[ ]}"#)]).unwrap();
        assert_eq!(
            unpacked(&batch),
            concat!(
                r#"[{"specversion":"1.0","id":"a.7","source":"/tenants/acme/sites/plant-7/gateways/gw-1","#,
                r#""type":"vigil.alert","subject":"guard:G-7","time":"2026-03-10T16:35:00.000Z","#,
                r#""datacontenttype":"application/json","producer":"0000000000000abc","sequence":7,"data":{"b":1.50,"a":[ ]}}]"#
            )
        );
    }

    #[test]
    fn the_same_events_give_the_same_bytes() {
        let events = [event(1, "{}"), event(2, r#"{"x":"y"}"#)];
        let first = Batch::write(&origin(), &events).unwrap();
        assert_eq!(first.body, Batch::write(&origin(), &events).unwrap().body);
    }

    #[test]
    fn data_that_is_no_object_is_set_aside_and_the_rest_goes() {
        let events = [event(1, "{"), event(2, "{}"), event(3, "[1]")];
        let batch = Batch::write(&origin(), &events).unwrap();
        assert_eq!(batch.ids, ["a.2"]);
        let set_aside: Vec<_> = batch.unsendable.iter().map(|r| r.id.as_str()).collect();
        assert_eq!(set_aside, ["a.1", "a.3"]);
    }

    #[test]
    fn a_batch_is_bounded_in_events_and_bytes() {
        let large = "x".repeat(MAX_BATCH_BYTES / 2 + 1);
        assert_eq!(fitting(&vec![event(1, "{}"); 501]), MAX_BATCH_EVENTS);
        assert_eq!(fitting(&[event(1, "{}"), event(2, &large), event(3, &large)]), 2);
        assert_eq!(fitting(&[event(1, &"x".repeat(MAX_BATCH_BYTES + 1))]), 1);
        assert_eq!(fitting(&[]), 0);
    }
}
