//! `[[serial]]`: what hangs on the serial lines.

use crate::table::Table;
use crate::value::{one_of, path_in, whole};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use vigil_core::id::DeviceId;
use vigil_core::site::DeviceKind;

/// The most serial lines: four eight-port adapters, more than a box of this size can feed.
const MAX_LINES: usize = 32;

/// What is spoken on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// 125 kHz reader: STX, hex digits, checksum, ETX.
    Rdm6300,
    /// 13.56 MHz reader, polled.
    Pn532,
    /// One tag a line.
    Lines,
    /// GPS receiver.
    Nmea,
}

impl Protocol {
    /// The name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rdm6300 => "rdm6300",
            Self::Pn532 => "pn532",
            Self::Lines => "lines",
            Self::Nmea => "nmea",
        }
    }

    /// The kind of device that speaks it.
    pub const fn device_kind(self) -> DeviceKind {
        match self {
            Self::Rdm6300 | Self::Pn532 | Self::Lines => DeviceKind::Reader,
            Self::Nmea => DeviceKind::Gps,
        }
    }

    /// The speed that such devices are delivered with.
    const fn usual_baud(self) -> u32 {
        match self {
            Self::Rdm6300 | Self::Lines | Self::Nmea => 9_600,
            Self::Pn532 => 115_200,
        }
    }
}

/// One serial line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialLine {
    device: DeviceId,
    port: PathBuf,
    baud: u32,
    protocol: Protocol,
    line: Option<usize>,
}

impl SerialLine {
    /// The device of the site that hangs on it.
    pub fn device(&self) -> &DeviceId {
        &self.device
    }
    /// The port.
    pub fn port(&self) -> &Path {
        &self.port
    }
    /// Its speed.
    pub fn baud(&self) -> u32 {
        self.baud
    }
    /// What is spoken on it.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }
    /// Where its device is named in the file.
    pub(crate) fn line(&self) -> Option<usize> {
        self.line
    }
}

pub(crate) fn read(root: &mut Table<'_>) -> Vec<SerialLine> {
    let (mut devices, mut ports) = (BTreeSet::new(), BTreeSet::new());
    let lines = root.tables("serial", |table| {
        let line = read_one(table)?;
        Some((line, table.path_of("device"), table.path_of("port")))
    });
    if lines.len() > MAX_LINES {
        root.refuse("serial", format!("at most {MAX_LINES} serial lines"));
    }
    for (line, device, port) in &lines {
        if !devices.insert(line.device.clone()) {
            root.refuse_path(device, "each device on one line");
        }
        if !line.port.as_os_str().is_empty() && !ports.insert(line.port.clone()) {
            root.refuse_path(port, "each port once");
        }
    }
    lines.into_iter().map(|(line, ..)| line).collect()
}

fn read_one(table: &mut Table<'_>) -> Option<SerialLine> {
    const PROTOCOLS: [(&str, Protocol); 4] = [
        ("rdm6300", Protocol::Rdm6300),
        ("pn532", Protocol::Pn532),
        ("lines", Protocol::Lines),
        ("nmea", Protocol::Nmea),
    ];
    let device = table.id("device")?;
    let port = table.required("port", path_in(Path::new("/dev")), PathBuf::new());
    let protocol = table.required("protocol", one_of(&PROTOCOLS), Protocol::Lines);
    // 1200 is the slowest that readers offer, 921600 the fastest that common adapters do.
    let baud = table.optional("baud", whole(1_200..=921_600)).unwrap_or(protocol.usual_baud());
    Some(SerialLine { device, port, baud, protocol, line: table.line_of("device") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::tests::{agent, problems};

    #[test]
    fn a_line_has_the_usual_speed_of_its_protocol() {
        let text = "[mqtt]\nallow_anonymous = true\n[[serial]]\ndevice = \"r\"\nport = \"/dev/ttyS1\"\nprotocol = \"pn532\"";
        let line = agent(text).serial()[0].clone();
        assert_eq!(
            (line.baud(), line.protocol(), line.port()),
            (115_200, Protocol::Pn532, Path::new("/dev/ttyS1"))
        );
    }

    #[test]
    fn one_port_and_one_device_stand_on_one_line_only() {
        let one = "[[serial]]\ndevice = \"r\"\nport = \"/dev/ttyS1\"\nprotocol = \"lines\"\n";
        let text = format!("mqtt.allow_anonymous = true\nagent.gateway = \"g\"\n{one}{one}");
        assert_eq!(
            problems(&text),
            [
                "agent.toml:8: serial[1].device: found \"r\", allowed: each device on one line",
                "agent.toml:9: serial[1].port: found \"/dev/ttyS1\", allowed: each port once",
            ]
        );
    }
}
