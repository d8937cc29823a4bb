//! Who may publish and subscribe where (decision 0003).

use crate::sources::decode::foreign;
use std::fmt;
use vigil_core::site::{Device, Site};

/// The first two levels of every topic of the contract.
const PREFIX: &str = "vigil/v1/";

/// The longest user name: an id of the contract.
const MAX_USER_CHARS: usize = 64;

/// Who a client is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum User {
    /// Nobody in particular; only on loopback, and only with `allow_anonymous`.
    Anonymous,
    /// A device of the site, or another entry of the password file.
    Named(Box<str>),
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("(anonymous)"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// Whether a user name can stand as one level of a topic without saying more than itself.
pub(super) fn is_user_name(name: &str) -> bool {
    (1..=MAX_USER_CHARS).contains(&name.chars().count())
        && !name.contains(['+', '#', '/', ':'])
        && !name.contains(char::is_control)
}

/// Whether `user` may publish to `topic`.
pub(super) fn may_publish(site: &Site, user: &User, topic: &str) -> bool {
    match user {
        User::Named(name) if below_site(site, topic).is_some() => {
            site.device(name).is_some_and(|device| is_of(site, device, topic))
        }
        User::Named(name) => foreign::may_speak(site, Some(name), topic),
        User::Anonymous => sender(site, topic).is_some() || foreign::may_speak(site, None, topic),
    }
}

/// Whether `user` may subscribe to `filter`.
pub(super) fn may_subscribe(site: &Site, user: &User, filter: &str) -> bool {
    let Some(rest) = below_site(site, filter) else { return false };
    match user {
        User::Named(name) if site.device(name).is_some() => {
            rest == "alerts" || rest == "gateway" || rest.strip_suffix("/prompt") == Some(name)
        }
        User::Named(_) | User::Anonymous => true,
    }
}

/// Whether a client's message on `topic` may be retained: the status of its device and nothing else, so that no
/// device can fill the room that the others' status needs.
pub(super) fn may_retain(site: &Site, topic: &str) -> bool {
    below_site(site, topic).and_then(|rest| rest.split_once('/')).is_some_and(|(_, kind)| kind == "status")
}

/// The device that an unverified message claims to be from.
fn sender<'s>(site: &'s Site, topic: &str) -> Option<&'s Device> {
    let (id, _) = below_site(site, topic)?.split_once('/')?;
    site.device(id)
}

fn is_of(site: &Site, device: &Device, topic: &str) -> bool {
    let own = below_site(site, topic)
        .and_then(|rest| rest.strip_prefix(device.id.as_str()))
        .and_then(|rest| rest.strip_prefix('/'));
    own.is_some_and(|kind| !kind.is_empty())
}

fn below_site<'t>(site: &Site, topic: &'t str) -> Option<&'t str> {
    topic.strip_prefix(PREFIX)?.strip_prefix(site.id.as_str())?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::super::tests::site;
    use super::*;
    use vigil_core::id::DeviceId;
    use vigil_core::mapping::{KindName, Mapping, Sender};

    fn named(name: &str) -> User {
        User::Named(name.into())
    }

    #[test]
    fn a_device_publishes_only_below_itself() {
        let site = site();
        let may = |topic| may_publish(&site, &named("phone-1"), topic);
        assert!(may("vigil/v1/plant-7/phone-1/heartbeat"));
        assert!(!may("vigil/v1/plant-7/phone-1"));
        assert!(!may("vigil/v1/plant-7/phone-1/"));
        assert!(!may("vigil/v1/plant-7/phone-10/heartbeat"));
        assert!(!may("vigil/v1/plant-7/phone-2/heartbeat"));
        assert!(!may("vigil/v1/plant-7/phone-2/../phone-1/heartbeat"));
        assert!(!may("vigil/v1/plant-70/phone-1/heartbeat"));
        assert!(!may("vigil/v1/plant-7/alerts"));
        assert!(!may("/vigil/v1/plant-7/phone-1/heartbeat"));
    }

    #[test]
    fn a_foreign_device_publishes_to_the_topics_that_the_site_file_gives_it() {
        let site = site();
        assert!(may_publish(&site, &named("tasmota-1"), "tele/gate/SENSOR"));
        assert!(!may_publish(&site, &named("phone-1"), "tele/gate/SENSOR"));
        assert!(may_publish(&site, &named("phone-2"), "owntracks/mira/pixel/event"));
        assert!(!may_publish(&site, &named("phone-2"), "owntracks/mira/pixel/cmd"));
        assert!(!may_publish(&site, &named("phone-2"), "owntracks/mira/pixel2"));
        assert!(may_publish(&site, &named("tasmota-1"), "tele/gate/STATE"));
        assert!(!may_publish(&site, &named("tasmota-1"), "tele/gate/RESULT"));
    }

    #[test]
    fn a_server_speaks_for_the_devices_behind_it_and_for_no_other() {
        let mut parts = vigil_core::site::SiteParts::from(site());
        let topics = ["positions/358", "application/a/device/0101", "tele/gate/SENSOR", "ha/tag"];
        for (device, topic) in parts.devices.iter_mut().zip(topics) {
            (device.owntracks, device.topic) = (None, Some(topic.to_owned()));
        }
        let site = Site::new(parts).unwrap();
        let may = |user: &str, topic| may_publish(&site, &named(user), topic);
        for topic in ["positions", "positions/358"] {
            assert!(
                may("traccar", topic) && !may("chirpstack", topic) && !may("supervisor", topic),
                "{topic}"
            );
        }
        for topic in ["application/a/device/0101/event/up", "application/a/device/0101/event/status"] {
            assert!(may("chirpstack", topic) && !may("traccar", topic), "{topic}");
        }
        for topic in ["application/a/device/0102/event/up", "application/a/device/0101/command/down"] {
            assert!(!may("chirpstack", topic), "{topic}");
        }
        assert!(!may("traccar", "tele/gate/SENSOR") && !may("traccar", "vigil/v1/plant-7/phone-1/sos"));
    }

    #[test]
    fn who_may_speak_on_a_mapped_topic_is_in_the_mapping() {
        let mapping = |topic: &str, sender, user: Option<&str>| Mapping {
            topic: topic.into(),
            sender,
            user: user.map(str::to_owned),
            kind: KindName::Sos,
            items: None,
            only: None,
            fields: vec![],
        };
        let device = Sender::Device(DeviceId::new("phone-1").unwrap());
        let mappings = vec![
            mapping("esphome/hall", device, None),
            mapping("zigbee/+/action", Sender::Level(2), None),
            mapping("ha/#", Sender::Level(3), Some("homeassistant")),
        ];
        let site = site().with_mappings(mappings).unwrap();
        let may = |user: &str, topic| may_publish(&site, &named(user), topic);
        assert!(may("phone-1", "esphome/hall") && !may("phone-2", "esphome/hall"));
        assert!(may("phone-2", "zigbee/phone-2/action") && !may("phone-2", "zigbee/phone-1/action"));
        assert!(may("homeassistant", "ha/tag/phone-1") && !may("phone-1", "ha/tag/phone-1"));
        assert!(may_publish(&site, &User::Anonymous, "ha/tag/phone-1"));
    }

    #[test]
    fn who_is_no_device_publishes_nothing() {
        let site = site();
        assert!(!may_publish(&site, &named("supervisor"), "vigil/v1/plant-7/supervisor/heartbeat"));
        assert!(may_publish(&site, &User::Anonymous, "vigil/v1/plant-7/phone-2/sos"));
        assert!(may_publish(&site, &User::Anonymous, "tele/gate/SENSOR"));
        assert!(!may_publish(&site, &User::Anonymous, "vigil/v1/plant-7/nobody/sos"));
    }

    #[test]
    fn a_device_hears_its_prompt_the_alerts_and_the_gateway() {
        let site = site();
        let may = |filter| may_subscribe(&site, &named("phone-1"), filter);
        assert!(may("vigil/v1/plant-7/phone-1/prompt"));
        assert!(may("vigil/v1/plant-7/alerts"));
        assert!(may("vigil/v1/plant-7/gateway"));
        assert!(!may("vigil/v1/plant-7/phone-2/prompt"));
        assert!(!may("vigil/v1/plant-7/+/prompt"));
        assert!(!may("vigil/v1/plant-7/#"));
        assert!(!may("#"));
    }

    #[test]
    fn a_supervisor_hears_the_site_and_nothing_beyond() {
        let site = site();
        let may = |filter| may_subscribe(&site, &named("supervisor"), filter);
        assert!(may("vigil/v1/plant-7/#"));
        assert!(may("vigil/v1/plant-7/+/status"));
        assert!(!may("vigil/v1/+/alerts"));
        assert!(!may("vigil/v1/plant-7"));
        assert!(!may("#"));
    }

    #[test]
    fn only_a_status_is_retained() {
        let site = site();
        assert!(may_retain(&site, "vigil/v1/plant-7/phone-1/status"));
        assert!(!may_retain(&site, "vigil/v1/plant-7/phone-1/location"));
        assert!(!may_retain(&site, "vigil/v1/plant-7/phone-1/x/status"));
    }

    #[test]
    fn a_user_name_is_one_plain_level() {
        assert!(is_user_name("reader-gate"));
        for bad in ["", "+", "a/b", "a#", "a\0", "a:b", &"x".repeat(65)] {
            assert!(!is_user_name(bad), "{bad:?}");
        }
    }
}
