//! From a reading to the pump, whose end is in the hands of the test. Cables are in `tests/tests/serial.rs`.

use super::*;
use crate::clock::Clock;
use crate::sources::Inbound;
use crate::sources::serial::nmea::Sighting;
use crate::sources::serial::nmea::time::FixTime;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::timeout;
use vigil_core::id::Tag;
use vigil_core::observation::Fix;
use vigil_core::site::Site;

/// Longer than any wait of these tests on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A line whose port is not there, with the pump's end.
struct Rig {
    line: Line,
    state: watch::Receiver<LineState>,
    pump: mpsc::Receiver<Inbound>,
    _site: watch::Sender<Arc<Site>>,
}

fn rig(device: &str, clock: Clock) -> Rig {
    let text = format!(
        "[agent]\ngateway = \"gw-1\"\n[mqtt]\nallow_anonymous = true\n[[serial]]\ndevice = \"{device}\"\n\
         port = \"no-such-port\"\nprotocol = \"lines\"\n"
    );
    let config = vigil_config::parse_agent(Path::new("agent.toml"), text.as_bytes()).unwrap();
    let site = crate::simulate::Scenario::sized(1, 60, 1).site().unwrap();
    let (site, sites) = watch::channel(Arc::new(site));
    let (queue, pump) = mpsc::channel(64);
    let (line, state) = Line::new(config.serial()[0].clone(), Intake::new(sites, queue, clock));
    Rig { line, state, pump, _site: site }
}

fn tag() -> Tag {
    Tag::new("04A1B2C3").unwrap()
}

async fn next(pump: &mut mpsc::Receiver<Inbound>) -> Inbound {
    timeout(PATIENCE, pump.recv()).await.expect("in time").expect("a line")
}

#[tokio::test]
async fn what_could_not_be_stored_comes_again_under_the_same_name() {
    let Rig { line, state, mut pump, _site } = rig("hs-G-1", Clock::wall());
    let read_at = line.intake.clock.now();
    line.put(Instant::now(), What::Scan(tag()));
    assert_eq!((state.borrow().read, state.borrow().waiting), (1, 1));
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(line.run(async { drop(stopped.await) }));
    let mut scans = vec![];
    for stores in [false, true] {
        let Inbound { mut observations, receipt, .. } = next(&mut pump).await;
        scans.append(&mut observations);
        if stores {
            receipt.send(()).unwrap();
        }
    }
    // Behind it waits the word that the port is not there.
    let Inbound { observations, receipt, .. } = next(&mut pump).await;
    assert_eq!(observations[0].kind, Kind::Status { online: false });
    receipt.send(()).unwrap();
    assert_eq!(scans.len(), 2);
    assert_eq!(scans[0].identity, scans[1].identity);
    assert!(scans[0].received_at < scans[1].received_at, "{scans:?}");
    for scan in &scans {
        assert_eq!(scan.kind, Kind::Scan(Scan { tag: tag(), guard: None, sun: None }));
        let apart = scan.at.since(read_at).millis();
        assert!((-50..5_000).contains(&apart), "it happened when it was read: {apart} ms apart");
    }
    let mut state = state;
    timeout(PATIENCE, state.wait_for(|state| state.waiting == 0)).await.expect("in time").unwrap();
    stop.send(()).unwrap();
    assert_eq!(timeout(PATIENCE, running).await.expect("in time").unwrap(), Ok(()));
}

#[tokio::test]
async fn a_port_that_is_not_there_is_said_once() {
    let Rig { line, mut state, mut pump, _site } = rig("hs-G-1", Clock::wall());
    let running = tokio::spawn(line.run(std::future::pending::<()>()));
    let Inbound { observations, receipt, .. } = next(&mut pump).await;
    assert_eq!(observations[0].kind, Kind::Status { online: false });
    receipt.send(()).unwrap();
    let down = timeout(PATIENCE, state.wait_for(|state| state.last_error.is_some())).await.expect("in time");
    assert_eq!((down.as_ref().unwrap().up, down.as_ref().unwrap().opened), (false, 0));
    drop(down);
    // Longer than the first two attempts.
    assert!(timeout(Duration::from_secs(2), pump.recv()).await.is_err(), "once");
    running.abort();
}

#[tokio::test]
async fn a_device_that_is_no_more_in_the_site_file_is_refused() {
    let Rig { line, mut pump, .. } = rig("gone", Clock::wall());
    let reading = Reading { at: Instant::now(), id: "a".to_owned(), what: What::Scan(tag()) };
    let _receipt = line.submit(&reading).await.unwrap();
    let inbound = next(&mut pump).await;
    assert!(inbound.observations.is_empty());
    assert_eq!(
        (inbound.refused[0].reason, inbound.refused[0].topic.as_str()),
        (Reason::UnknownDevice, "serial/gone")
    );
    let _receipt = line.submit(&Reading { what: What::Alive, ..reading }).await.unwrap();
    let inbound = next(&mut pump).await;
    assert_eq!(
        (inbound.observations.len(), inbound.refused.len()),
        (0, 0),
        "that it lives is nothing to refuse"
    );
}

#[tokio::test]
async fn a_reading_keeps_its_name_though_the_clock_was_set_meanwhile() {
    let Rig { line, mut pump, .. } = rig("hs-G-1", Clock::wall());
    let mut identities = vec![];
    for ago in [0, 7] {
        let at = Instant::now() - Duration::from_secs(ago);
        let reading = Reading { at, id: "a".to_owned(), what: What::Scan(tag()) };
        let _receipt = line.submit(&reading).await.unwrap();
        identities.push(next(&mut pump).await.observations[0].identity);
    }
    assert_eq!(identities[0], identities[1]);
}

#[tokio::test]
async fn what_was_read_by_the_end_is_handed_over() {
    let Rig { line, mut pump, .. } = rig("hs-G-1", Clock::wall());
    let tags = [tag(), Tag::new("04FFFFFF").unwrap()];
    for tag in &tags {
        line.put(Instant::now(), What::Scan(tag.clone()));
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(line.run(async { drop(stopped.await) }));
    // The second is behind the first, whose receipt does not come.
    let _first = next(&mut pump).await;
    stop.send(()).unwrap();
    assert_eq!(timeout(PATIENCE, running).await.expect("in time").unwrap(), Ok(()));
    let mut seen = vec![];
    while let Some(inbound) = pump.recv().await {
        for observation in inbound.observations {
            let Kind::Scan(scan) = observation.kind else { continue };
            seen.push(scan.tag);
        }
    }
    assert_eq!(seen, tags);
}

#[tokio::test]
async fn a_device_that_lives_says_so_now_and_then_and_not_at_every_byte() {
    let Rig { line, .. } = rig("hs-G-1", Clock::wall());
    let mut listen = Listen::new(&line);
    let mut beat = |due: bool| {
        listen.proved = true;
        if due {
            listen.beat_at = Instant::now();
        }
        listen.beat();
        line.tray.clear().len()
    };
    assert_eq!([false, false, true, false, true].map(&mut beat), [1, 0, 1, 0, 1]);
    assert!(listen.beat_at.duration_since(Instant::now()) > BEAT - PATIENCE / 3);
}

fn fix(time: FixTime) -> What {
    let fix = Fix::at(1.0, 2.0);
    What::Fix(Sighting { fix, time, came: Duration::ZERO })
}

#[tokio::test]
async fn a_fix_happened_when_the_satellites_say_if_they_can_be_believed() {
    let noon = Timestamp::parse("2026-11-27T12:00:00Z").unwrap();
    let Rig { line, mut pump, .. } = rig("hs-G-1", Clock::scaled(noon, 1));
    for (ms_of_day, by_satellites) in [(43_195_000, true), (3_600_000, false)] {
        let what = fix(FixTime { date: None, ms_of_day });
        let reading = Reading { at: Instant::now(), id: ms_of_day.to_string(), what };
        let _receipt = line.submit(&reading).await.unwrap();
        let at = next(&mut pump).await.observations[0].at;
        assert_eq!(at == noon - Span::from_secs(5), by_satellites, "{at}");
        assert!(at.since(noon).millis() < 30_000, "{at}");
    }
}

#[tokio::test]
async fn a_clock_that_is_not_set_is_no_measure_for_the_satellites() {
    let reading = crate::clock::Reading { boot_ms: 10_000, awake_ms: 10_000, wall_ms: 5 };
    let clock = Clock::of(Arc::new(crate::clock::Staged::new("b", reading)));
    let _keeper = clock.keep(None, None).unwrap();
    let Rig { line, mut pump, .. } = rig("hs-G-1", clock.clone());
    let ms_of_day = clock.now().millis().rem_euclid(86_400_000) + 3_000;
    let reading =
        Reading { at: Instant::now(), id: "a".to_owned(), what: fix(FixTime { date: None, ms_of_day }) };
    let _receipt = line.submit(&reading).await.unwrap();
    let read_at = next(&mut pump).await.observations[0].at;
    assert!(read_at <= clock.now(), "{read_at}");
}

#[test]
fn waits_double_up_to_their_bound() {
    let waits: Vec<_> = (1..8).map(|n| wait(n).as_millis()).collect();
    assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    assert_eq!(wait(u32::MAX), RETRY_TO);
}
