//! Devices that publish as fast as they are acknowledged, on plain sockets: what they cost must not hide what they measure.

use super::Failure;
use super::figures::percentile;
use super::raw::count;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vigil_core::time::Timestamp;

/// The payload of a heartbeat, padded by its `id`: what a handset with a UUID for each event sends.
pub const PAYLOAD_BYTES: usize = 150;
/// Messages that one device has under way: mosquitto's default for its clients.
pub const IN_FLIGHT: usize = 20;
/// The devices in whose names is published, whatever the number of connections, so that the engine's work is the same.
pub const DEVICES: usize = 200;

/// How a load ran.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Acknowledged messages a second.
    pub per_second: f64,
    /// From publish to acknowledgement, in milliseconds: half were faster.
    pub p50_ms: f64,
    /// 99 of 100 were faster.
    pub p99_ms: f64,
}

/// A load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Connections at one time.
    pub connections: usize,
    /// Messages of all of them together.
    pub messages: usize,
    /// What names these messages among those of other loads.
    pub series: u32,
}

/// Publishes heartbeats with QoS 1 and waits for every acknowledgement.
pub fn publish(broker: SocketAddr, load: Load) -> Result<Run, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut devices = Vec::new();
        for index in 0..load.connections {
            devices.push((index, connect(broker, &format!("bench-{index}")).await?));
        }
        let began = Instant::now();
        let running: Vec<_> = devices.into_iter().map(|(i, s)| tokio::spawn(one(s, i, load))).collect();
        let mut delays = Vec::with_capacity(load.messages);
        for device in running {
            delays.extend(device.await??.iter().map(|d| d.as_secs_f64() * 1_000.0));
        }
        let secs = began.elapsed().as_secs_f64();
        delays.sort_by(f64::total_cmp);
        Ok(Run {
            per_second: count(delays.len()) / secs,
            p50_ms: percentile(&delays, 50),
            p99_ms: percentile(&delays, 99),
        })
    })
}

/// An anonymous MQTT 3.1.1 session of its own name.
async fn connect(broker: SocketAddr, client: &str) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(broker).await?;
    stream.set_nodelay(true)?;
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60];
    add_text(&mut body, client)?;
    stream.write_all(&packet(0x10, &body)?).await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    if answer == [0x20, 2, 0, 0] { Ok(stream) } else { Err(format!("CONNACK {answer:?}").into()) }
}

/// One connection's share of the messages, each for the next of its devices.
async fn one(mut stream: TcpStream, index: usize, load: Load) -> Result<Vec<Duration>, Failure> {
    let share = load.messages / load.connections + usize::from(index < load.messages % load.connections);
    let mut delays = Vec::with_capacity(share);
    let mut under_way: VecDeque<Instant> = VecDeque::with_capacity(IN_FLIGHT);
    let (mut sent, mut answers, mut bytes) = (0, Vec::new(), [0; 4_096]);
    while delays.len() < share {
        let mut burst = Vec::new();
        while under_way.len() < IN_FLIGHT && sent < share {
            burst.extend(heartbeat(index, sent, load)?);
            under_way.push_back(Instant::now());
            sent += 1;
        }
        stream.write_all(&burst).await?;
        let n = stream.read(&mut bytes).await?;
        if n == 0 {
            return Err("the broker closed the connection".into());
        }
        answers.extend_from_slice(&bytes[..n]);
        let whole = answers.len() / 4 * 4;
        for ack in answers.drain(..whole).collect::<Vec<_>>().chunks(4) {
            let sent_at = under_way.pop_front().filter(|_| ack[..2] == [0x40, 2]);
            delays.push(sent_at.ok_or_else(|| format!("expected a PUBACK, found {ack:?}"))?.elapsed());
        }
    }
    Ok(delays)
}

fn heartbeat(index: usize, sent: usize, load: Load) -> Result<Vec<u8>, Failure> {
    let device = (index + sent * load.connections) % DEVICES;
    publication(device, "heartbeat", sent, payload(load.series, index, sent)?)
}

/// A PUBLISH of QoS 1.
fn publication(device: usize, kind: &str, sent: usize, text: Vec<u8>) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::with_capacity(PAYLOAD_BYTES + 64);
    add_text(&mut body, &format!("vigil/v1/plant-7/hs-G-{}/{kind}", device + 1))?;
    body.extend(u16::try_from(sent % 60_000 + 1)?.to_be_bytes());
    body.extend(text);
    packet(0x32, &body)
}

fn present() -> Result<Timestamp, Failure> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(Timestamp::from_millis(i64::try_from(now.as_millis())?))
}

/// A heartbeat of now; one in ten tells of a touch.
pub fn payload(series: u32, index: usize, sent: usize) -> Result<Vec<u8>, Failure> {
    let ts = present()?;
    let (battery, touched) = (90 - sent % 50, usize::from(sent.is_multiple_of(10)));
    let fields = format!(
        "{{\"ts\":\"{ts}\",\"battery\":0.{battery},\"charging\":false,\"interactions\":{touched},\"steps\":0,\"id\":\""
    );
    let name = format!("{series:x}-{index:x}-{sent:x}-");
    let fill = PAYLOAD_BYTES
        .checked_sub(fields.len() + name.len() + 2)
        .ok_or("the payload has no room for its id")?;
    Ok(format!("{fields}{name}{}\"}}", "0".repeat(fill)).into_bytes())
}

fn add_text(body: &mut Vec<u8>, text: &str) -> Result<(), Failure> {
    body.extend(u16::try_from(text.len())?.to_be_bytes());
    body.extend(text.as_bytes());
    Ok(())
}

/// A packet whose body is shorter than 16 KiB.
fn packet(head: u8, body: &[u8]) -> Result<Vec<u8>, Failure> {
    let length = u16::try_from(body.len())?;
    let (low, high) = (u8::try_from(length % 128)?, u8::try_from(length / 128)?);
    let lengths = if high == 0 { vec![low] } else { vec![low | 0x80, high] };
    Ok([&[head], &lengths[..], body].concat())
}

/// A site that is watched.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    /// How many handsets it has, each with a connection of its own.
    pub handsets: usize,
    /// How often each of them speaks.
    pub every: Duration,
    /// How long.
    pub time: Duration,
}

/// Lets every handset speak at its pace, one after the other, and waits for each acknowledgement; gives how many came.
pub fn watch(broker: SocketAddr, watch: Watch) -> Result<usize, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut speaking = Vec::new();
        for index in 0..watch.handsets {
            let stream = connect(broker, &format!("hs-G-{}", index + 1)).await?;
            speaking.push(tokio::spawn(speak(stream, index, watch)));
        }
        let mut acknowledged = 0;
        for handset in speaking {
            acknowledged += handset.await??;
        }
        Ok(acknowledged)
    })
}

async fn speak(mut stream: TcpStream, index: usize, watch: Watch) -> Result<usize, Failure> {
    // Handsets do not speak all in one moment.
    let share = u32::try_from(index)? * watch.every / u32::try_from(watch.handsets)?;
    let (begins, ends) = (tokio::time::Instant::now() + share, tokio::time::Instant::now() + watch.time);
    let (mut ticks, mut sent) = (tokio::time::interval_at(begins, watch.every), 0);
    while ticks.tick().await < ends {
        let beat = publication(index, "heartbeat", sent, payload(0, index, sent)?)?;
        stream.write_all(&beat).await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        if answer[..2] != [0x40, 2] {
            return Err(format!("expected a PUBACK, found {answer:?}").into());
        }
        sent += 1;
    }
    Ok(sent)
}

/// What a device says that talks without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    /// What may be thinned: heartbeats and positions.
    SignsOfLife,
    /// What never is.
    PhoneEvents,
}

/// Messages in each of its ticks,
const AT_A_TIME: usize = 10;
/// which makes a thousand a second.
const TICK: Duration = Duration::from_millis(10);

/// Talks as the first guard's handset, whether it is answered or not, until it is `over`; gives the messages a second.
pub fn talk(broker: SocketAddr, what: Talk, over: &AtomicBool) -> Result<f64, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut answers, mut stream) = connect(broker, "talker").await?.into_split();
        // Its acknowledgements are read and dropped, so that the broker can go on writing them.
        let dropped =
            tokio::spawn(async move { tokio::io::copy(&mut answers, &mut tokio::io::sink()).await });
        let (began, mut sent) = (Instant::now(), 0);
        let mut ticks = tokio::time::interval(TICK);
        while !over.load(Ordering::Acquire) {
            ticks.tick().await;
            let mut burst = Vec::new();
            for _ in 0..AT_A_TIME {
                burst.extend(remark(what, sent)?);
                sent += 1;
            }
            stream.write_all(&burst).await?;
        }
        dropped.abort();
        Ok(count(sent) / began.elapsed().as_secs_f64())
    })
}

fn remark(what: Talk, sent: usize) -> Result<Vec<u8>, Failure> {
    let ts = present()?;
    let (kind, text) = match (what, sent % 2) {
        (Talk::SignsOfLife, 0) => ("heartbeat", payload(u32::MAX, 0, sent)?),
        (Talk::SignsOfLife, _) => (
            "location",
            format!("{{\"ts\":\"{ts}\",\"lat\":12.9716,\"lon\":77.5946,\"accuracy\":8.0,\"id\":\"{sent}\"}}")
                .into_bytes(),
        ),
        (Talk::PhoneEvents, _) => {
            ("activity", format!("{{\"ts\":\"{ts}\",\"event\":\"{sent}\"}}").into_bytes())
        }
    };
    publication(0, kind, sent, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_has_its_size_and_is_what_the_agent_reads() {
        let text = payload(7, 99, 40_000).unwrap();
        assert_eq!(text.len(), PAYLOAD_BYTES);
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert!(value["ts"].as_str().is_some_and(|ts| Timestamp::parse(ts).is_ok()));
        assert_eq!(packet(0x32, &[0; 200]).unwrap()[..3], [0x32, 0xC8, 1]);
    }
}
