//! Who may use what.

use crate::tree::{Page, none, product, root};
use std::process::Command;

/// Something that only a few places may name.
struct Keeper {
    /// The path's first segments, as the code writes them.
    path: &'static str,
    /// Where it may be named, a folder with `/` at its end.
    at: &'static [&'static str],
    /// What to do instead.
    mend: &'static str,
}

const KEEPERS: &[Keeper] = &[
    Keeper {
        path: "sled",
        at: &["agent/src/store/disk.rs"],
        mend: "commit and scan through `store`: only the seam knows the engine, so that it can be replaced",
    },
    Keeper {
        path: "rumqttc",
        at: &["agent/src/sources/mqtt.rs", "agent/src/sources/mqtt/", "agent/src/simulate/"],
        mend: "hand messages over through `sources::Intake`: one place decides when a PUBACK goes",
    },
    Keeper {
        path: "rmqtt_codec",
        at: &["agent/src/sources/broker.rs", "agent/src/sources/broker/"],
        mend: "speak to the embedded broker through its handle: one place decides when a PUBACK goes",
    },
    Keeper {
        path: "tokio_serial",
        at: &["agent/src/sources/serial.rs", "agent/src/sources/serial/"],
        mend: "read a port through `sources::serial`, which survives its being unplugged",
    },
    Keeper {
        path: "reqwest",
        // What they cannot be made of is an error of `escalation`, by its kind.
        at: &[
            "cloud-sync/src/",
            "cloud-sync/noc/src/escalation/hook.rs",
            "cloud-sync/noc/src/escalation/mod.rs",
            "agent/src/cli/ask.rs",
        ],
        mend: "send through `cloud-sync`: only the uplink knows when to try again; or tell contacts through `escalation`",
    },
    Keeper {
        path: "lettre",
        at: &["cloud-sync/noc/src/escalation/mail.rs", "cloud-sync/noc/src/escalation/mod.rs"],
        mend: "tell contacts through `escalation`: one place knows who may be told, and keeps what came of it",
    },
    Keeper {
        path: "rusqlite",
        at: &["cloud-sync/noc/src/ledger/"],
        mend: "ask the ledger: the receiver must not know which database keeps it",
    },
    Keeper {
        path: "sd_notify",
        at: &["agent/src/systemd.rs"],
        mend: "tell the service manager through `systemd`: one place knows whether the agent is ready",
    },
    Keeper {
        path: "geo",
        at: &["agent/core/src/movement.rs", "agent/core/src/geofence.rs"],
        mend: "ask `movement` or `geofence` for the distance: two spheres in one house never agree",
    },
];

#[test]
fn each_engine_is_named_only_by_its_keeper() {
    let mut faults = vec![];
    for page in product() {
        for keeper in KEEPERS.iter().filter(|keeper| !keeper.at.iter().any(|place| page.is_in(place))) {
            let named = page.code().filter(|(_, line)| names_crate(line, keeper.path));
            faults.extend(named.map(|(at, _)| fault(&page, at, keeper.path, keeper.mend)));
        }
    }
    none(&faults);
}

/// Where the agent and the receiver read the clock. The other crates get the instant as an argument.
const CLOCKS: [&str; 3] = ["agent/src/clock.rs", "agent/src/clock/machine.rs", "cloud-sync/noc/src/clock.rs"];

/// The ways to ask what time it is.
const ASKING: [&str; 5] = ["SystemTime::now", "Instant::now", "Utc::now", "Local::now", "clock_gettime"];

/// Outside the core, tokio's `Instant` is let through: it is the timers' own stopwatch, it stands still under a
/// test's paused time, and it cannot become the instant of an event, because it has no date.
#[test]
fn only_the_clocks_read_the_clock() {
    let mend =
        "take `now` as an argument, or wait by `tokio::time`; an event's instant comes from `clock.rs`";
    let mut faults = vec![];
    for page in product().iter().filter(|page| !CLOCKS.contains(&page.path.as_str())) {
        let paced = !page.is_in("agent/core/") && imports_tokio_instant(page);
        for (at, line) in page.code() {
            let stopwatch = line.contains("tokio::time::Instant::now") && !page.is_in("agent/core/");
            let asked = ASKING.iter().filter(|asking| line.contains(**asking));
            let unkept = asked.filter(|asking| !(**asking == "Instant::now" && (paced || stopwatch)));
            faults.extend(unkept.map(|asking| fault(page, at, asking, mend)));
        }
    }
    none(&faults);
}

fn imports_tokio_instant(page: &Page) -> bool {
    let ours = |line: &str| line.trim_start().starts_with("use tokio::time::") && line.contains("Instant");
    page.code().any(|(_, line)| ours(line))
}

/// What a state machine that must replay byte for byte has no use for.
const IMPURE: [(&str, &str); 13] = [
    ("std::fs", "files are read by the shell"),
    ("std::net", "connections are made by the shell"),
    ("std::process", "processes are started by the shell"),
    ("std::thread", "the pump calls the engine, one input at a time"),
    ("std::env", "what can be set is in the site's policy"),
    ("Mutex", "the engine is owned by one thread; state is passed, not shared"),
    ("RwLock", "the engine is owned by one thread; state is passed, not shared"),
    ("std::sync::atomic", "the engine is owned by one thread; state is passed, not shared"),
    ("HashMap", "use BTreeMap: a replay must give the same order"),
    ("HashSet", "use BTreeSet: a replay must give the same order"),
    (".await", "the core never waits: return a Commit or a deadline"),
    ("async fn", "the core never waits: return a Commit or a deadline"),
    ("println!", "the core says nothing: return it as data"),
];

#[test]
fn the_core_is_pure() {
    let mut faults = vec![];
    for page in product().iter().filter(|page| page.is_in("agent/core/src/")) {
        for (at, line) in page.code() {
            let named = IMPURE.iter().filter(|(word, _)| line.contains(word));
            faults.extend(named.map(|(word, mend)| fault(page, at, word, mend)));
        }
    }
    none(&faults);
}

/// A build of the workspace gives the core every feature that any other crate asks for, a clock perhaps among
/// them. Alone it gets only its own.
#[test]
fn the_core_compiles_alone() {
    let built = Command::new(env!("CARGO"))
        .args(["check", "--package", "vigil-core", "--locked", "--quiet"])
        .current_dir(root())
        .output()
        .expect("cargo runs, since it runs this test");
    assert!(
        built.status.success(),
        "the core uses a feature that only another crate enables; name it in agent/core/Cargo.toml:\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
}

fn fault(page: &Page, at: usize, word: &str, mend: &str) -> String {
    format!("{}:{at}: `{word}` has no place here; {mend}", page.path)
}

/// Whether a line names the crate `name`: as the head of a path, or in a plain `use`.
fn names_crate(line: &str, name: &str) -> bool {
    let starts = line.match_indices(name).filter(|(at, _)| {
        let before = line[..*at].trim_end_matches("::").chars().next_back();
        !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
    });
    let imported = line.trim_start().starts_with("use ") || line.trim_start().starts_with("extern crate ");
    starts.map(|(at, _)| &line[at + name.len()..]).any(|rest| {
        rest.starts_with("::") || (imported && (rest.starts_with(';') || rest.starts_with(" as ")))
    })
}

#[test]
fn a_crate_is_recognised_by_the_head_of_its_path() {
    let cases = [
        ("use sled::Db;", true),
        ("let db = ::sled::open(path);", true),
        ("use sled;", true),
        ("use sled as engine;", true),
        ("use crate::sled::Db;", false),
        ("let bobsled::Db = db;", false),
        ("let sled = 3;", false),
    ];
    for (line, expected) in cases {
        assert_eq!(names_crate(line, "sled"), expected, "{line}");
    }
}
