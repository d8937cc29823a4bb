//! A device that speaks MQTT 3.1.1 itself, byte by byte, so that a test sees every acknowledgement and can vanish at
//! any moment.

use super::{PATIENCE, password};
use std::io::{Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH_QOS_1: u8 = 0x32;
const PUBACK: u8 = 0x40;
const PINGREQ: u8 = 0xC0;
const PINGRESP: u8 = 0xD0;
/// A user name, a password, a clean session.
const CONNECT_FLAGS: u8 = 0xC2;
/// A will with QoS 1, retained.
const WILL_FLAGS: u8 = 0x2C;
/// Longer than any test.
const KEEP_ALIVE_SECS: u16 = 600;

/// A connected device.
#[derive(Debug)]
pub struct Handset {
    stream: TcpStream,
    next: u16,
}

impl Handset {
    /// Connects as `device`, with a last will if there is one: its topic and what it says.
    pub fn connect(at: SocketAddr, device: &str, will: Option<(&str, &str)>) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&at, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let flags = CONNECT_FLAGS | will.map_or(0, |_| WILL_FLAGS);
        let mut body =
            [text("MQTT"), vec![4, flags], KEEP_ALIVE_SECS.to_be_bytes().to_vec(), text(device)].concat();
        if let Some((topic, payload)) = will {
            body.extend([text(topic), text(payload)].concat());
        }
        body.extend([text(device), text(&password(device))].concat());
        let mut handset = Self { stream, next: 0 };
        handset.write(CONNECT, &body)?;
        match handset.read()? {
            (CONNACK, answer) if answer.get(1) == Some(&0) => Ok(handset),
            other => Err(Error::other(format!("not let in: {other:?}"))),
        }
    }

    /// Sends a message with QoS 1; its packet id will be acknowledged.
    pub fn send(&mut self, topic: &str, payload: &[u8]) -> Result<u16> {
        self.next = self.next.checked_add(1).unwrap_or(1);
        let body = [&text(topic), self.next.to_be_bytes().as_slice(), payload].concat();
        self.write(PUBLISH_QOS_1, &body)?;
        Ok(self.next)
    }

    /// Waits for the next acknowledgement.
    pub fn acknowledged(&mut self) -> Result<u16> {
        match self.read()? {
            (PUBACK, body) => match body.as_slice() {
                [high, low] => Ok(u16::from_be_bytes([*high, *low])),
                _ => Err(Error::other(format!("no packet id: {body:?}"))),
            },
            other => Err(Error::other(format!("no PUBACK: {other:?}"))),
        }
    }

    /// Sends a message and waits for its acknowledgement.
    pub fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<()> {
        let sent = self.send(topic, payload)?;
        let acknowledged = self.acknowledged()?;
        if acknowledged == sent {
            Ok(())
        } else {
            Err(Error::other(format!("{acknowledged} instead of {sent}")))
        }
    }

    /// Asks whether the broker is there.
    pub fn ping(&mut self) -> Result<()> {
        self.write(PINGREQ, &[])?;
        match self.read()? {
            (PINGRESP, _) => Ok(()),
            other => Err(Error::other(format!("no PINGRESP: {other:?}"))),
        }
    }

    /// Goes without saying goodbye.
    pub fn vanish(self) {
        drop(self);
    }

    fn write(&mut self, kind: u8, body: &[u8]) -> Result<()> {
        let mut packet = vec![kind];
        let mut rest = body.len();
        loop {
            let digit = u8::try_from(rest % 128).map_err(Error::other)?;
            rest /= 128;
            packet.push(if rest > 0 { digit | 0x80 } else { digit });
            if rest == 0 {
                break;
            }
        }
        packet.extend_from_slice(body);
        self.stream.write_all(&packet)
    }

    fn read(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let [kind, length] = head;
        if length >= 0x80 {
            return Err(Error::other("a longer packet than any that is expected here"));
        }
        let mut body = vec![0; usize::from(length)];
        self.stream.read_exact(&mut body)?;
        Ok((kind, body))
    }
}

/// A text with its length in front; those of a test are short.
fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    [length.to_be_bytes().as_slice(), text.as_bytes()].concat()
}
