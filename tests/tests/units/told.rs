//! The daemon under somebody who plays systemd: what is told at the socket that `$NOTIFY_SOCKET` names, and when.

use serde_json::{Value, json};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use vigil_tests::house::{
    Agent, Handset, PATIENCE, Plant, SmallDisk, Source, eventually, fetch, message, missing, now, topic,
    until, with_small_disks,
};

/// Contract 1.
const STOPS_WITHIN: Duration = Duration::from_secs(5);
/// A watchdog with which a beat falls due every second, if there is progress.
const WATCHDOG_USEC: u64 = 4_000_000;
/// Many times as long as two beats are apart, on a machine that has other things to do.
const SILENCE: Duration = Duration::from_secs(15);
/// How long the disk gives no answer: longer than it takes until that is told.
const STUCK_SECS: u64 = 50;
/// Longer than that, and than an attempt to open a store.
const LONG: Duration = Duration::from_secs(120);

/// Somebody who plays systemd.
struct Manager {
    folder: tempfile::TempDir,
    told: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Manager {
    fn listen() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        let told: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
        let heard = Arc::clone(&told);
        // It ends with the process of the test; nobody waits for it.
        std::thread::spawn(move || {
            let mut word = [0; 4_096];
            while let Ok(length) = socket.recv(&mut word) {
                let text = String::from_utf8(word[..length].to_vec()).unwrap();
                heard.lock().unwrap().push((Instant::now(), text));
            }
        });
        Self { folder, told }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// A script that starts what it is given as a unit would be started.
    fn script(&self, through: &str) -> String {
        format!(
            "export NOTIFY_SOCKET={} WATCHDOG_USEC={WATCHDOG_USEC} WATCHDOG_PID=$$; exec {through} \"$@\"",
            self.socket().display()
        )
    }

    fn words(&self) -> Vec<String> {
        self.told.lock().unwrap().iter().map(|(_, word)| word.clone()).collect()
    }

    /// How often a word was told that has this line.
    fn times(&self, line: &str) -> usize {
        self.words().iter().filter(|word| word.lines().any(|l| l == line)).count()
    }

    fn hears(&self, what: &str, told: impl Fn(&str) -> bool) {
        eventually(what, LONG, || {
            let words = self.words();
            if words.iter().any(|word| told(word)) { Ok(()) } else { Err(format!("{words:#?}")) }
        });
    }

    /// Since when there has been no beat.
    fn last_beat(&self) -> Option<Instant> {
        let told = self.told.lock().unwrap();
        told.iter().rev().find(|(_, word)| word.contains("WATCHDOG=1")).map(|(at, _)| *at)
    }
}

fn files() -> tempfile::TempDir {
    Agent::files("gw-1", &Plant::default().guards(1), Source::Embedded, None)
}

fn say(handset: &mut Handset, n: u64) -> bool {
    let event = message(now(), json!({"id": format!("s-{n}"), "event": "screen_on"}));
    handset.publish(&topic("hs-1", "activity"), event.to_string().as_bytes()).is_ok()
}

/// Publishes one message after the other until it is told to end, or is not acknowledged.
fn talk(at: std::net::SocketAddr) -> (Arc<Mutex<bool>>, std::thread::JoinHandle<()>) {
    let goes_on = Arc::new(Mutex::new(true));
    let mut handset = Handset::connect(at, "hs-1").unwrap();
    let told = Arc::clone(&goes_on);
    let talking = std::thread::spawn(move || {
        let mut n = 0;
        while *told.lock().unwrap() && say(&mut handset, n) {
            n += 1;
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    (goes_on, talking)
}

#[test]
fn it_is_ready_when_devices_can_speak_and_says_when_it_reads_again_and_when_it_stops() {
    let manager = Manager::listen();
    let mut agent = Agent::through(&manager.script(""), files());
    manager.hears("it is ready", |word| word == "READY=1\n" || word == "READY=1");
    // At once, and not at some time.
    assert!(say(&mut Handset::connect(agent.mqtt(), "hs-1").unwrap(), 0));
    manager.hears("how it is", |word| {
        word.starts_with("STATUS=guarding ")
            && word.contains(": everything is stored; there is no operations centre")
    });

    let before = manager.times("READY=1");
    for (round, text) in
        [Plant::default().guards(2).text().to_owned(), "nothing = 1".into()].iter().enumerate()
    {
        std::fs::write(agent.folder().join("site.toml"), text).unwrap();
        agent.process().signal("HUP");
        until("the end of it is told", || manager.times("READY=1") == before + round + 1);
        let words = manager.words();
        let began = words.iter().rev().find(|word| word.contains("RELOADING=1")).unwrap();
        let usec = began.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
        assert!(usec.parse::<u64>().unwrap() > 0, "{began}");
        assert_eq!(manager.times("RELOADING=1"), round + 1);
    }

    let ended = agent.stop(STOPS_WITHIN);
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert_eq!(manager.times("STOPPING=1"), 1);
    assert!(manager.words().last().unwrap().contains("STOPPING=1"), "{:?}", manager.words());
}

#[test]
fn beats_come_with_progress_and_stop_with_the_disk() {
    if let Err(why) = std::process::Command::new("strace").arg("-V").output() {
        missing("strace", "strace", &why);
    }
    let manager = Manager::listen();
    // One answer of the disk is held back, some commits after the start, as a dying disk would do.
    let held = format!("inject=fdatasync:delay_enter={STUCK_SECS}s:when=150");
    let through = format!("strace -D -f -qq -e trace=fdatasync -e {held} -o /dev/null --");
    let mut agent = Agent::through(&manager.script(&through), files());
    let (goes_on, talking) = talk(agent.mqtt());
    until("there are beats", || manager.times("WATCHDOG=1") >= 3);

    let quiet = || manager.last_beat().unwrap().elapsed() >= SILENCE;
    eventually("the beats stop", LONG, || {
        if quiet() { Ok(()) } else { Err(format!("{} beats", manager.times("WATCHDOG=1"))) }
    });
    agent.process().id();
    let (code, why) = fetch(agent.page(), "/healthz").unwrap();
    assert_eq!(code, 503, "everything else goes on: {why}");
    manager.hears("it is told why", |word| word.contains("THE DISK HAS NOT ANSWERED for 3"));

    talking.join().unwrap();
    let beats = manager.times("WATCHDOG=1");
    let (goes_on_again, talking) = eventually("a device is let in again", LONG, || {
        let mut handset = Handset::connect(agent.mqtt(), "hs-1").map_err(|why| why.to_string())?;
        if say(&mut handset, 1_000_000) { Ok(talk(agent.mqtt())) } else { Err("no acknowledgement".into()) }
    });
    until("the beats come again", || manager.times("WATCHDOG=1") > beats);
    for told in [goes_on, goes_on_again] {
        *told.lock().unwrap() = false;
    }
    talking.join().unwrap();
}

/// An agent with nothing to do makes a commit twice a minute, and no more beats than that.
#[test]
fn no_timer_beats() {
    let manager = Manager::listen();
    let agent = Agent::through(&manager.script(""), files());
    manager.hears("it is ready", |word| word.contains("READY=1"));
    let handset = Handset::connect(agent.mqtt(), "hs-1").unwrap();
    std::thread::sleep(vigil_agent::pump::ALIVE_EVERY);
    // With a timer there would be thirty.
    assert!((1..=6).contains(&manager.times("WATCHDOG=1")), "{:#?}", manager.words());
    drop(handset);
}

/// An agent with a disk of its own, which has made its store and was stopped.
fn stopped_on_a_small_disk() -> Agent {
    let files = files();
    let disk = SmallDisk::at(&files.path().join("data"), 64);
    let mut agent = Agent::of(files, Some(disk));
    assert_eq!(agent.stop(STOPS_WITHIN).code(), Some(0));
    agent
}

#[test]
fn a_start_on_a_full_disk_asks_for_time_and_is_ready_when_there_is_room() {
    with_small_disks("told::a_start_on_a_full_disk_asks_for_time_and_is_ready_when_there_is_room", || {
        let mut agent = stopped_on_a_small_disk();
        let full = agent.disk().fill(0);
        let manager = Manager::listen();
        agent.start_through(&manager.script(""));
        let asked = |word: &str| word.starts_with("EXTEND_TIMEOUT_USEC=");
        eventually("each attempt asks for time", PATIENCE, || {
            let times = manager.words().iter().filter(|word| asked(word)).count();
            if times >= 3 { Ok(()) } else { Err(format!("{:#?}", manager.words())) }
        });
        manager.hears("why it waits", |word| {
            word.contains("NOTHING IS STORED: the disk under data_dir is full")
        });
        assert_eq!(manager.times("READY=1"), 0);
        drop(full);
        manager.hears("it is ready", |word| word.contains("READY=1"));
        let stored: Value = agent.status();
        assert_eq!(stored["outage"], Value::Null, "and its store is open");
    });
}

#[test]
fn a_stop_during_the_outage_is_told_too() {
    with_small_disks("told::a_stop_during_the_outage_is_told_too", || {
        let mut agent = stopped_on_a_small_disk();
        let _full = agent.disk().fill_once(0);
        let manager = Manager::listen();
        agent.start_through(&manager.script(""));
        assert_eq!(agent.stop(STOPS_WITHIN).code(), Some(0));
        assert!(manager.times("STOPPING=1") == 1 && manager.times("READY=1") == 0, "{:#?}", manager.words());
    });
}

#[test]
fn without_a_socket_nobody_is_told_and_nothing_else_changes() {
    let mut agent = Agent::through("export WATCHDOG_USEC=1000000; exec \"$@\"", files());
    assert!(say(&mut Handset::connect(agent.mqtt(), "hs-1").unwrap(), 0));
    agent.process().signal("HUP");
    agent.process().said("the site file was read again");
    assert_eq!(agent.stop(STOPS_WITHIN).code(), Some(0));
    let log = agent.process().log().join("\n");
    assert!(!log.contains("service manager"), "{log}");
}
