//! `[[guards]]` and `[[devices]]`.

use crate::table::Table;
use crate::value::{id, one_of, owntracks, tag, text, topic};
use vigil_core::site::{Device, DeviceKind, FixMode, Guard};

pub(super) fn guard(table: &mut Table<'_>) -> Option<Guard> {
    let id: vigil_core::id::GuardId = table.id("id")?;
    let name = table.optional("name", text).unwrap_or_else(|| id.to_string());
    Some(Guard { id, name, badge: table.optional("badge", tag) })
}

pub(super) fn device(table: &mut Table<'_>) -> Option<Device> {
    const KINDS: [(&str, DeviceKind); 4] = [
        ("handset", DeviceKind::Handset),
        ("reader", DeviceKind::Reader),
        ("gps", DeviceKind::Gps),
        ("button", DeviceKind::Button),
    ];
    const FIXES: [(&str, FixMode); 2] = [("periodic", FixMode::Periodic), ("on_move", FixMode::OnMove)];
    Some(Device {
        id: table.id("id")?,
        kind: table.required("kind", one_of(&KINDS), DeviceKind::Handset),
        guard: table.optional("guard", id),
        checkpoint: table.optional("checkpoint", id),
        owntracks: table.optional("owntracks", owntracks),
        topic: table.optional("topic", topic),
        fixes: table.optional("fixes", one_of(&FIXES)).unwrap_or(FixMode::Periodic),
    })
}

#[cfg(test)]
mod tests {
    use crate::site::tests::{problems, site};
    use vigil_core::id::Tag;
    use vigil_core::site::{DeviceKind, FixMode};

    #[test]
    fn guards_and_devices_are_read_whole() {
        let site = site(
            "[[guards]]\nid = \"G-7\"\nbadge = \"04:a1:b2:c3\"\n[[devices]]\nid = \"d\"\nkind = \"gps\"\n\
             guard = \"G-7\"\nowntracks = \"asha/phone\"\ntopic = \"tele/d/SENSOR\"\nfixes = \"on_move\"\n",
        );
        assert_eq!(site.guards[0].name, "G-7");
        assert_eq!(site.guards[0].badge, Tag::new("04A1B2C3").ok());
        let device = site.device("d").unwrap();
        assert_eq!((device.kind, device.fixes), (DeviceKind::Gps, FixMode::OnMove));
        assert_eq!(device.owntracks.as_deref(), Some("asha/phone"));
        assert_eq!(device.topic.as_deref(), Some("tele/d/SENSOR"));
    }

    #[test]
    fn an_id_used_twice_is_named_at_its_second_place() {
        let found = problems("[[guards]]\nid = \"G\"\n[[guards]]\nid = \"G\"\n");
        assert_eq!(found, ["site.toml:10: guards[1].id: found \"G\", allowed: an id that is used once"]);
    }
}
