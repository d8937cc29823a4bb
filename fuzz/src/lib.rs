//! What the targets for foreign devices share: a site that has one of each, and what must hold for any payload.

use std::path::Path;
use std::sync::LazyLock;
use vigil_agent::sources::decode;
use vigil_core::site::Site;
use vigil_core::time::Timestamp;

const FILE: &str = r#"
[site]
id = "plant-7"
name = "Plant 7"
tenant = "acme"
client = "north"
timezone = "Asia/Kolkata"
[[checkpoints]]
id = "gate"
[[guards]]
id = "G-7"
[[devices]]
id = "phone"
kind = "handset"
guard = "G-7"
owntracks = "asha/phone"
[[devices]]
id = "reader"
kind = "reader"
checkpoint = "gate"
topic = "tele/gate/SENSOR"
[[devices]]
id = "tracker"
kind = "gps"
topic = "positions/123456789012345"
[[devices]]
id = "lora"
kind = "button"
topic = "application/a/device/01"
[[mappings]]
topic = "map/location"
device = "phone"
kind = "location"
items = "/l"
only_at = "/k"
only = ["fix", "1"]
fields = { ts = "/t", id = "/n", lat = "/p/0", lon = "/p/1", speed = "/v", accuracy = "/a", mock = "/m" }
units = { ts = "ms", speed = "kn", accuracy = "ft" }
[[mappings]]
topic = "map/+"
device_at = "/d"
user = "u"
kind = "scan"
fields = { tag = "/tag", ts = "/t", guard = "/g" }
units = { ts = "s" }
[[mappings]]
topic = "map/task"
device = "phone"
kind = "task"
fields = { task = "/task", state = "/state", created_at = "/t", title = "/title" }
[[mappings]]
topic = "map/status"
device = "phone"
kind = "status"
fields = { online = "" }
"#;

static SITE: LazyLock<Site> =
    LazyLock::new(|| vigil_config::parse_site(Path::new("site.toml"), FILE.as_bytes()).expect("a valid site"));

/// Any payload on that topic is decoded without a panic, alike each time, within its bounds.
pub fn holds(topic: &str, payload: &[u8]) {
    let received_at = Timestamp::from_millis(1_773_172_800_000);
    let decoded = decode::message(&SITE, received_at, topic, payload);
    assert!(decoded.observations.len() + decoded.refused.len() <= 2 * decode::MAX_ITEMS);
    assert_eq!(decoded, decode::message(&SITE, received_at, topic, payload));
}

/// The same for one of several topics: the first byte chooses.
pub fn holds_on_one_of(topics: &[&str], input: &[u8]) {
    if let Some((choice, payload)) = input.split_first() {
        holds(topics[usize::from(*choice) % topics.len()], payload);
    }
}
