//! The text of a small site file, and what its devices say.

use serde_json::{Value, json};
use std::fmt::Write;
use vigil_core::time::Timestamp;

/// A site file in the making; its wall clock is UTC.
#[derive(Debug, Clone)]
pub struct Plant {
    text: String,
}

impl Default for Plant {
    fn default() -> Self {
        let text = "[site]\nid = \"plant-7\"\nname = \"Plant 7\"\ntenant = \"acme\"\nclient = \"north\"\n\
                    timezone = \"Etc/UTC\"\ngeofence = { lat = 12.9716, lon = 77.5946, radius = 300 }\n"
            .to_owned();
        Self { text }
    }
}

impl Plant {
    fn with(mut self, table: std::fmt::Arguments<'_>) -> Self {
        self.text.write_fmt(table).expect("a text grows");
        self.text.push('\n');
        self
    }

    /// A site file that is written already.
    pub const fn of(text: String) -> Self {
        Self { text }
    }

    /// The same plant with the wall clock of another zone.
    #[must_use]
    pub fn zone(self, name: &str) -> Self {
        Self { text: self.text.replace("Etc/UTC", name) }
    }

    /// `n` guards G-1, G-2 .. with their handsets hs-1, hs-2 ..
    #[must_use]
    pub fn guards(self, n: usize) -> Self {
        (1..=n).fold(self, |plant, i| {
            plant.with(format_args!(
                "[[guards]]\nid = \"G-{i}\"\n[[devices]]\nid = \"hs-{i}\"\nkind = \"handset\"\nguard = \"G-{i}\""
            ))
        })
    }

    /// `n` buttons btn-1, btn-2 ..
    #[must_use]
    pub fn buttons(self, n: usize) -> Self {
        (1..=n).fold(self, |plant, i| {
            plant.with(format_args!("[[devices]]\nid = \"btn-{i}\"\nkind = \"button\""))
        })
    }

    /// `n` checkpoints cp-1, cp-2 .. with the tags 04AA0001 ..
    #[must_use]
    pub fn checkpoints(self, n: usize) -> Self {
        (1..=n).fold(self, |plant, i| {
            plant.with(format_args!("[[checkpoints]]\nid = \"cp-{i}\"\ntag = \"04AA{i:04}\""))
        })
    }

    /// A mandatory tour of a guard over some checkpoints, that starts at a time of day.
    #[must_use]
    pub fn tour(self, id: &str, guard: &str, checkpoints: &[&str], start: &str) -> Self {
        self.with(format_args!(
            "[[tours]]\nid = \"{id}\"\nguard = \"{guard}\"\ncheckpoints = {checkpoints:?}\nstart = [\"{start}\"]\n\
             duration = \"40m\""
        ))
    }

    /// A shift of a guard, once, of eight hours.
    #[must_use]
    pub fn shift(self, guard: &str, starts_at: Timestamp) -> Self {
        let ends_at = starts_at + vigil_core::time::Span::from_hours(8);
        self.with(format_args!(
            "[[shifts]]\nid = \"shift-{guard}\"\nguard = \"{guard}\"\nstarts_at = \"{starts_at}\"\nends_at = \"{ends_at}\""
        ))
    }

    /// Any further tables; those of the policy come last.
    #[must_use]
    pub fn and(self, tables: &str) -> Self {
        self.with(format_args!("{tables}"))
    }

    /// The file.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The topic of a device.
pub fn topic(device: &str, kind: &str) -> String {
    format!("vigil/v1/plant-7/{device}/{kind}")
}

/// One event with its instant.
pub fn message(at: Timestamp, mut fields: Value) -> Value {
    fields["ts"] = json!(at);
    fields
}
