//! A device that speaks MQTT 3.1.1 itself, byte by byte, so that a test sees every acknowledgement.

use super::{PATIENCE, password};
use std::io::{Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const PUBLISH_QOS_1: u8 = 0x32;
const PUBACK: u8 = 0x40;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
/// A user name, a password, a clean session.
const CONNECT_FLAGS: u8 = 0xC2;
/// Longer than any test.
const KEEP_ALIVE_SECS: u16 = 600;

/// A connected device.
#[derive(Debug)]
pub struct Handset {
    stream: TcpStream,
    next: u16,
}

impl Handset {
    /// Connects as `device`, with its password and a clean session.
    pub fn connect(at: SocketAddr, device: &str) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&at, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let options = [[4, CONNECT_FLAGS], KEEP_ALIVE_SECS.to_be_bytes()].concat();
        let body = [text("MQTT"), options, text(device), text(device), text(&password(device))].concat();
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

    /// Asks for a topic; what is published there comes with QoS 0.
    pub fn subscribe(&mut self, topic: &str) -> Result<()> {
        self.next = self.next.checked_add(1).unwrap_or(1);
        let body = [self.next.to_be_bytes().as_slice(), &text(topic), &[0]].concat();
        self.write(SUBSCRIBE, &body)?;
        match self.read()? {
            (SUBACK, body) if body.get(2) == Some(&0) => Ok(()),
            other => Err(Error::other(format!("not subscribed: {other:?}"))),
        }
    }

    /// Waits for the next message of a topic that was asked for.
    pub fn hears(&mut self) -> Result<Vec<u8>> {
        match self.read()? {
            (kind, body) if kind & 0xF0 == PUBLISH => {
                let topic = body.first_chunk().copied().map_or(0, u16::from_be_bytes);
                Ok(body.get(2 + usize::from(topic)..).unwrap_or_default().to_vec())
            }
            other => Err(Error::other(format!("no message: {other:?}"))),
        }
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
        let kind = self.byte()?;
        let mut length = 0;
        for place in 0..4 {
            let digit = self.byte()?;
            length |= usize::from(digit & 0x7F) << (7 * place);
            if digit & 0x80 == 0 {
                let mut body = vec![0; length];
                self.stream.read_exact(&mut body)?;
                return Ok((kind, body));
            }
        }
        Err(Error::other("a longer packet than MQTT has"))
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        let [byte] = byte;
        Ok(byte)
    }
}

/// A text with its length in front; those of a test are short.
fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    [length.to_be_bytes().as_slice(), text.as_bytes()].concat()
}
