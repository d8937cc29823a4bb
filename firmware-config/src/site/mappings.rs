//! `[[mappings]]`: where the fields of foreign messages stand.

use crate::table::Table;
use crate::value::{filter, id, one_of, pointer, text, whole};
use vigil_core::mapping::{FieldSource, KindName, MappedField, Mapping, Measure, Pointer, Sender};

/// The most levels of a topic that the broker takes.
const MAX_LEVELS: u8 = 32;
/// The keys that hang on the kind.
const OF_KIND: [&str; 3] = ["fields", "units", "set"];
const ONE_SENDER: &str = "one of device, device_level and device_at";

pub(super) fn mapping(table: &mut Table<'_>) -> Option<Mapping> {
    let topic = table.required("topic", filter, String::new());
    let sender = sender(table, &topic);
    let user = table.optional("user", text);
    if table.has("device_at") && !table.has("user") {
        table.missing("user", "the user of the password file who publishes these messages");
    }
    let items = table.optional("items", pointer);
    let only = only(table);
    let kind = table.required("kind", one_of(&KindName::ALL), KindName::Sos);
    if table.is_in_doubt("kind") || !table.has("kind") {
        // Which fields belong here is not known.
        table.overlook(&OF_KIND);
        return Some(Mapping { topic, sender, user, kind, items, only, fields: vec![] });
    }
    Some(Mapping { topic, sender, user, kind, items, only, fields: fields(table, kind) })
}

/// Whose messages they are. Without a sender the file is never handed out; any stands in for it.
fn sender(table: &mut Table<'_>, topic: &str) -> Sender {
    let device = table.optional("device", id).map(Sender::Device);
    let level = table.optional("device_level", whole(1..=MAX_LEVELS));
    let at = table.optional("device_at", pointer).map(Sender::At);
    let levels = topic.split('/').count();
    if level.is_some_and(|level| usize::from(level) > levels) && !topic.ends_with('#') {
        table.refuse("device_level", format!("a level of topic, which has {levels}"));
    }
    let written: Vec<_> =
        ["device", "device_level", "device_at"].into_iter().filter(|key| table.has(key)).collect();
    match written.as_slice() {
        [] => table.missing("device", "the id of a device; or device_level or device_at"),
        [_] => {}
        [_, more @ ..] => more.iter().for_each(|key| table.refuse(key, ONE_SENDER)),
    }
    device.or(level.map(Sender::Level)).or(at).unwrap_or(Sender::Level(1))
}

fn only(table: &mut Table<'_>) -> Option<(Pointer, Vec<String>)> {
    let at = table.optional("only_at", pointer);
    let words = table.list("only", text);
    match (table.has("only_at"), table.has("only")) {
        (true, false) => table.missing("only", "a list of the values that count"),
        (false, true) => table.missing("only_at", "where the value of only stands, as a JSON pointer"),
        (true, true) | (false, false) => {}
    }
    at.zip(words)
}

fn fields(table: &mut Table<'_>, kind: KindName) -> Vec<MappedField> {
    let [mut places, mut units, mut words] = OF_KIND.map(|key| table.table(key));
    let mut fields = vec![];
    for (name, measure, needed) in kind.fields() {
        let at = places.optional(name, pointer);
        let word = (measure == Measure::Text).then(|| words.optional(name, text)).flatten();
        let unit = (!measure.units().is_empty()).then(|| units.optional(name, one_of(measure.units())));
        if units.has(name) && !units.is_in_doubt(name) && !places.has(name) {
            units.refuse(name, "nothing here without its place in fields");
        }
        if words.has(name) && places.has(name) {
            words.refuse(name, "nothing here beside its place in fields");
        }
        if needed && !places.has(name) && !words.has(name) {
            places.missing(name, "where it stands, as a JSON pointer");
        }
        let source = at.map(FieldSource::At).or(word.map(FieldSource::Word));
        fields.extend(source.map(|source| MappedField { name: name.into(), source, unit: unit.flatten() }));
    }
    [places, units, words].into_iter().for_each(Table::finish);
    fields
}

#[cfg(test)]
mod tests {
    use crate::site::tests::{problems, site};
    use vigil_core::mapping::{KindName, Sender, Unit};

    const DEVICE: &str = "[[devices]]\nid = \"d\"\nkind = \"button\"\n";

    #[test]
    fn a_mapping_is_read_whole() {
        let site = site(&format!(
            "{DEVICE}[[mappings]]\ntopic = \"gw/+/pos\"\ndevice_level = 2\nuser = \"bridge\"\nkind = \"location\"\n\
             items = \"/list\"\nonly_at = \"/type\"\nonly = [\"fix\"]\n\
             fields = {{ lat = \"/p/0\", lon = \"/p/1\", speed = \"/v\", ts = \"/t\" }}\n\
             units = {{ speed = \"km/h\", ts = \"ms\" }}\nset = {{ provider = \"gps\" }}\n"
        ));
        let [mapping] = site.mappings() else { panic!("one mapping") };
        assert_eq!((mapping.kind, &mapping.sender), (KindName::Location, &Sender::Level(2)));
        assert_eq!(mapping.user.as_deref(), Some("bridge"));
        let units: Vec<_> = mapping.fields.iter().map(|f| (f.name.as_str(), f.unit)).collect();
        let expected = [
            ("ts", Some(Unit::EpochMillis)),
            ("lat", None),
            ("lon", None),
            ("speed", Some(Unit::KilometresPerHour)),
            ("provider", None),
        ];
        assert_eq!(units, expected);
    }

    #[test]
    fn every_mistake_says_where_it_is_and_what_would_be_right() {
        let found = problems(&format!(
            "{DEVICE}[[mappings]]\ntopic = \"vigil/v1/x\"\ndevice = \"ghost\"\ndevice_level = 1\nkind = \"scan\"\n\
             fields = {{ tg = \"/tag\" }}\nunits = {{ tag = \"octal\" }}\n\
             [[mappings]]\ntopic = \"a/b\"\ndevice_at = \"id\"\nkind = \"beep\"\nfields = {{ x = \"/y\" }}\n\
             [[mappings]]\ntopic = \"a/b\"\ndevice = \"d\"\nkind = \"scan\"\nfields = {{ tag = \"\" }}\nonly = [\"x\"]\n\
             [[mappings]]\ntopic = \"a/b\"\ndevice_level = 3\nkind = \"location\"\nfields = {{ lat = \"/a\" }}\n\
             set = {{ lon = \"1\" }}\n"
        ));
        let expected = [
            "site.toml:11: mappings[0].topic: found \"vigil/v1/x\", allowed: a topic filter of 1 to 256 bytes, like \
             \"esphome/gate/tag\" or \"zigbee2mqtt/+/action\", whose first level is no wildcard and not vigil",
            "site.toml:13: mappings[0].device_level: found 1, allowed: one of device, device_level and device_at",
        ];
        for line in expected {
            assert!(found.iter().any(|f| f == line), "{line}\n{found:#?}");
        }
        for part in [
            "mappings[0].fields.tg: unknown key; did you mean \"tag\"?",
            "mappings[0].fields.tag: found nothing, allowed: where it stands, as a JSON pointer",
            "mappings[0].units.tag: found \"octal\", allowed: \"hex\" or \"decimal\"",
            "mappings[1].device_at: found \"id\", allowed: a JSON pointer",
            "mappings[1].user: found nothing, allowed: the user of the password file",
            "mappings[1].kind: found \"beep\", allowed: \"heartbeat\" or",
            "mappings[2].only_at: found nothing, allowed: where the value of only stands",
            "mappings[3].device_level: found 3, allowed: a level of topic, which has 2",
            "mappings[3].set.lon: unknown key",
        ] {
            assert!(found.iter().any(|f| f.contains(part)), "{part}\n{found:#?}");
        }
    }

    #[test]
    fn a_mapping_of_a_device_that_is_not_there_is_refused() {
        let found = problems("[[mappings]]\ntopic = \"a\"\ndevice = \"ghost\"\nkind = \"sos\"\n");
        assert_eq!(found, ["site.toml:9: mappings[0].device: found \"ghost\", allowed: the id of a device"]);
    }
}
