//! From the bytes of a batch to entries that may be stored. Pure: each item is taken or refused by itself.

use crate::ledger::loss::is_of_the_centre;
use crate::ledger::{AlertHead, Entry};
use crate::openapi::Passed;
use flate2::read::GzDecoder;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::Read;
use vigil_cloud_sync::EventKind;
use vigil_cloud_sync::wire::{MAX_BATCH_EVENTS, Rejection};
use vigil_core::time::Timestamp;

/// The largest body as sent: a gateway sends at most a megabyte of data, gzipped to a fifth.
pub const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;

/// The largest body unpacked: the gateway's megabyte with its envelopes is under 2; beyond 8 it is a bomb.
pub const MAX_UNPACKED_BYTES: u64 = 8 * 1024 * 1024;

/// The longest id and subject: UUID, run and revision take about 150.
pub const MAX_NAME_BYTES: usize = 256;

/// The longest producer: ours has 16, and a UUID fits.
const MAX_PRODUCER_BYTES: usize = 64;

/// A batch that is not looked at item by item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not gzip, though it says so.
    #[error("the body is not whole gzip: {0}")]
    Gzip(String),
    /// Too large, as sent or unpacked.
    #[error(
        "the batch is too large: at most {MAX_BODY_BYTES} bytes as sent and {MAX_UNPACKED_BYTES} unpacked; send fewer events"
    )]
    TooLarge,
    /// Too many events.
    #[error("the batch has {0} events; at most {MAX_BATCH_EVENTS} are taken, send it in pieces")]
    TooMany(usize),
    /// No event at all.
    #[error("the batch is empty; 1 to {MAX_BATCH_EVENTS} events are expected")]
    Empty,
    /// Not a JSON array.
    #[error("the body is no JSON array of CloudEvents: {0}")]
    NotJson(String),
    /// An item of somebody else: whoever has a gateway's token must not speak for another, so nothing of the batch is taken.
    #[error(
        "item {item} of the batch has another source than {source_name}, for which the sender speaks; nothing was stored"
    )]
    Foreign {
        /// Which.
        item: usize,
        /// For whom the sender speaks.
        source_name: String,
    },
    /// An item that cannot even be named.
    #[error("item {0} of the batch has no id; it cannot be answered for")]
    NoId(usize),
}

/// What is in a batch.
#[derive(Debug)]
pub struct Items {
    /// What may be stored, in order.
    pub entries: Vec<Entry>,
    /// What may not.
    pub rejected: Vec<Rejection>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

/// Whom an item is of, if it says so in a text. One that does not is refused by itself.
#[derive(Deserialize)]
struct Sourced {
    #[serde(default)]
    source: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub(crate) struct CloudEvent {
    #[schemars(extend("const" = "1.0"))]
    specversion: String,
    /// Of an alert its id, a dot and its revision. Equal `source` and `id` is a duplicate.
    #[schemars(length(min = 1, max = MAX_NAME_BYTES))]
    id: String,
    /// `/tenants/{tenant}/sites/{site}/gateways/{gateway}` of the sender.
    #[schemars(regex(pattern = "^/tenants/[^/]+/sites/[^/]+/gateways/[^/]+$"))]
    source: String,
    #[schemars(extend("enum" = EventKind::ALL.map(EventKind::name)))]
    r#type: String,
    #[schemars(length(max = MAX_NAME_BYTES))]
    subject: String,
    time: Timestamp,
    #[schemars(extend("const" = "application/json"))]
    #[serde(default)]
    datacontenttype: Option<String>,
    /// Whose number it is: the store of the gateway that gave it.
    #[schemars(length(min = 1, max = MAX_PRODUCER_BYTES))]
    #[serde(default)]
    producer: Option<String>,
    /// Rises by one for each event of the producer.
    sequence: u64,
    /// An alert, a tour, a report or the state of the gateway.
    #[schemars(with = "Passed")]
    data: Box<RawValue>,
}

/// A batch as the document describes it: each item of it is read by itself.
#[derive(JsonSchema)]
#[schemars(transparent)]
pub(crate) struct Batch(
    #[schemars(length(min = 1, max = MAX_BATCH_EVENTS))]
    #[expect(dead_code, reason = "it is only described")]
    Vec<CloudEvent>,
);

/// Unpacks a gzipped body, never beyond the limit.
pub fn unpack(gzipped: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut unpacked = Vec::new();
    let mut limited = GzDecoder::new(gzipped).take(MAX_UNPACKED_BYTES + 1);
    let count = limited.read_to_end(&mut unpacked).map_err(|e| Malformed::Gzip(e.to_string()))?;
    if u64::try_from(count).is_ok_and(|count| count <= MAX_UNPACKED_BYTES) {
        Ok(unpacked)
    } else {
        Err(Malformed::TooLarge)
    }
}

/// Reads a batch that must come from `source`.
pub fn read(body: &[u8], source: &str) -> Result<Items, Malformed> {
    let raw: Vec<&RawValue> = serde_json::from_slice(body).map_err(|e| Malformed::NotJson(e.to_string()))?;
    match raw.len() {
        0 => return Err(Malformed::Empty),
        1..=MAX_BATCH_EVENTS => {}
        many => return Err(Malformed::TooMany(many)),
    }
    for (item, raw) in raw.iter().enumerate() {
        let said = serde_json::from_str::<Sourced>(raw.get()).ok().and_then(|sourced| sourced.source);
        if said.is_some_and(|said| said != source) {
            return Err(Malformed::Foreign { item, source_name: source.to_owned() });
        }
    }
    let mut items = Items { entries: vec![], rejected: vec![] };
    for (index, raw) in raw.iter().enumerate() {
        let named: Named = serde_json::from_str(raw.get()).map_err(|_| Malformed::NoId(index))?;
        match entry(raw, source) {
            Ok(entry) => items.entries.push(entry),
            Err(reason) => items.rejected.push(Rejection { id: named.id, reason }),
        }
    }
    Ok(items)
}

fn entry(raw: &RawValue, source: &str) -> Result<Entry, String> {
    let event: CloudEvent =
        serde_json::from_str(raw.get()).map_err(|e| format!("not a CloudEvent of ours: {e}"))?;
    check_envelope(&event, source)?;
    let kind = EventKind::named(&event.r#type)
        .ok_or_else(|| "type is none of vigil.alert, vigil.tour, vigil.report, vigil.health".to_owned())?;
    check_data(&event.data)?;
    let alert = match kind {
        EventKind::Alert => Some(alert_head(&event.data)?),
        EventKind::Tour | EventKind::Report | EventKind::Health => None,
    };
    let CloudEvent { producer, sequence, id, subject, time, data, .. } = event;
    Ok(Entry { producer, sequence, id, kind, subject, time, data, alert })
}

fn check_envelope(event: &CloudEvent, source: &str) -> Result<(), String> {
    if event.specversion != "1.0" {
        return Err("specversion is not 1.0".to_owned());
    }
    if event.source != source {
        return Err(format!("source is not {source}, for which the token speaks"));
    }
    if event.id.is_empty() || event.id.len() > MAX_NAME_BYTES || event.subject.len() > MAX_NAME_BYTES {
        return Err(format!("id has 1 to {MAX_NAME_BYTES} bytes, subject at most as many"));
    }
    if [&event.id, &event.subject].iter().any(|name| name.contains('\0')) {
        return Err("id and subject have no NUL in them".to_owned());
    }
    if event.producer.as_ref().is_some_and(|producer| !(1..=MAX_PRODUCER_BYTES).contains(&producer.len())) {
        return Err(format!("producer has 1 to {MAX_PRODUCER_BYTES} bytes"));
    }
    if event.datacontenttype.as_deref().is_some_and(|media| media != "application/json") {
        return Err("datacontenttype is not application/json".to_owned());
    }
    if !event.data.get().starts_with('{') {
        return Err("data is no JSON object".to_owned());
    }
    Ok(())
}

/// What of a record is a name, by which it is found again.
const NAMES: [&str; 8] = ["id", "rule", "severity", "status", "subject", "guard", "tour", "date"];

/// What is kept is handed on to programs and pages that read it whole: deeper than 128 levels, with half a character or with a number
/// that no computer has, none of them could. And a name is in an index, which has no room for a long one.
fn check_data(data: &RawValue) -> Result<(), String> {
    let whole: Value =
        serde_json::from_str(data.get()).map_err(|why| format!("data cannot be read whole: {why}"))?;
    for name in NAMES {
        let text = whole.get(name).and_then(Value::as_str).unwrap_or_default();
        if text.len() > MAX_NAME_BYTES || text.contains('\0') {
            return Err(format!("data.{name} has at most {MAX_NAME_BYTES} bytes and no NUL in them"));
        }
    }
    Ok(())
}

fn alert_head(data: &RawValue) -> Result<AlertHead, String> {
    let head: AlertHead = serde_json::from_str(data.get()).map_err(|e| format!("data is no alert: {e}"))?;
    // How long it may be was seen before, with the other names.
    if head.id.is_empty() {
        return Err(format!("data.id has 1 to {MAX_NAME_BYTES} bytes"));
    }
    if is_of_the_centre(&head) {
        return Err("that a gateway is lost only the centre can tell".to_owned());
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use serde_json::json;
    use std::io::Write;

    const SOURCE: &str = "/tenants/acme/sites/plant-7/gateways/gw-1";

    fn event() -> Value {
        json!({
            "specversion": "1.0", "id": "a.1", "source": SOURCE, "type": "vigil.alert", "subject": "guard:G-7",
            "time": "2026-03-10T22:05:00Z", "datacontenttype": "application/json", "sequence": 1,
            "data": {"id": "a", "revision": 1, "severity": "HIGH", "status": "DETECTED",
                     "detected_at": "2026-03-10T22:05:00Z", "cleared_at": null, "new": "field"}
        })
    }

    fn with(field: &str, value: Value) -> Value {
        let mut changed = event();
        changed[field] = value;
        changed
    }

    fn read_all(events: &[Value]) -> Items {
        read(&serde_json::to_vec(events).unwrap(), SOURCE).unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(vec![], Compression::best());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn an_item_of_another_spoils_the_batch() {
        let other = with("source", json!("/tenants/x/sites/y/gateways/z"));
        let batch = serde_json::to_vec(&[event(), other]).unwrap();
        let why = read(&batch, SOURCE).unwrap_err();
        assert_eq!(why, Malformed::Foreign { item: 1, source_name: SOURCE.to_owned() });
        assert!(why.to_string().contains("nothing was stored"), "{why}");
    }

    #[test]
    fn one_bad_item_does_not_spoil_the_others() {
        let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
        let data = |field: &str, value: Value| {
            let mut changed = event();
            changed["data"][field] = value;
            changed
        };
        let bad = [
            (with("source", json!(7)), "invalid type"),
            (with("source", Value::Null), "invalid type"),
            (with("specversion", json!("0.3")), "specversion"),
            (with("type", json!("other")), "type is none"),
            (with("time", json!("yesterday")), "not an instant"),
            (with("sequence", json!(-1)), "sequence"),
            (with("sequence", Value::Null), "invalid type"),
            (with("data", json!([])), "no JSON object"),
            (with("data", json!({"id": "a"})), "data is no alert"),
            (with("subject", json!("x".repeat(300))), "256 bytes"),
            (with("datacontenttype", json!("text/xml")), "datacontenttype"),
            (data("guard", json!("x".repeat(257))), "data.guard has at most 256 bytes"),
            (data("tour", json!("x".repeat(257))), "data.tour has at most 256 bytes"),
            (data("rule", json!("a\u{0}")), "no NUL"),
            (data("rule", json!("gateway_lost")), "only the centre"),
            (data("id", json!("gateway_lost.1773160000000")), "only the centre"),
            (data("evidence", deep), "cannot be read whole: recursion limit"),
            (with("producer", json!("")), "producer has"),
            (with("producer", json!("x".repeat(65))), "producer has"),
        ];
        for (item, reason) in bad {
            let items = read_all(&[item, event()]);
            assert_eq!((items.entries.len(), items.rejected.len()), (1, 1), "{reason}");
            let told = &items.rejected[0].reason;
            assert!(told.contains(reason) || reason == "sequence" && told.contains("u64"), "{told}");
        }
    }

    #[test]
    fn what_no_program_could_read_is_not_passed_on() {
        let spoilt = |evidence: &str| {
            let text = serde_json::to_string(&[event()]).unwrap().replace("\"field\"", evidence);
            let items = read(text.as_bytes(), SOURCE).unwrap();
            items.rejected.first().map(|rejected| rejected.reason.clone())
        };
        assert_eq!(spoilt("\"\\ud83d\\ude80\""), None, "both halves of a character are one");
        let digits = "9".repeat(5_000);
        for evidence in ["\"\\ud800\"", &digits, "1e400", &format!("{}1{}", "[".repeat(200), "]".repeat(200))]
        {
            let why = spoilt(evidence).unwrap();
            assert!(why.contains("cannot be read whole"), "{why}");
        }
    }

    #[test]
    fn an_event_may_say_whose_number_it_has() {
        let named = with("producer", json!("00000000000000ab"));
        let producers = read_all(&[named, event()]).entries.into_iter().map(|entry| entry.producer);
        assert_eq!(producers.collect::<Vec<_>>(), [Some("00000000000000ab".to_owned()), None]);
    }

    #[test]
    fn a_batch_has_one_to_five_hundred_events() {
        let read = |n| read(&serde_json::to_vec(&vec![event(); n]).unwrap(), SOURCE).err();
        assert_eq!([read(0), read(1)], [Some(Malformed::Empty), None]);
        assert_eq!([read(500), read(501)], [None, Some(Malformed::TooMany(501))]);
    }

    #[test]
    fn what_cannot_be_named_spoils_the_batch() {
        assert_eq!(read(b"[{}]", SOURCE).err(), Some(Malformed::NoId(0)));
        assert!(matches!(read(b"{}", SOURCE), Err(Malformed::NotJson(_))));
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
        assert!(bomb.len() < 100_000);
        assert_eq!(unpack(&bomb), Err(Malformed::TooLarge));
        assert_eq!(unpack(&gzip(b"[]")).unwrap(), b"[]");
        assert!(matches!(unpack(b"no gzip"), Err(Malformed::Gzip(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(unpack(&bytes).is_err() || !bytes.is_empty());
            prop_assert!(read(&bytes, SOURCE).is_err());
        }
    }
}
