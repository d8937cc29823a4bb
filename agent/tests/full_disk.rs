//! The disk is full in the middle of the night: the agent says so and ends, so that whoever starts it again can.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// In blocks of 512 bytes or 1 KiB, as the shell counts: a megabyte or two.
const MOST_BLOCKS: u32 = 2_000;

fn vigil() -> Command {
    Command::new(env!("CARGO_BIN_EXE_vigil"))
}

/// `vigil run` that may write no file larger than that; to the store it is a disk without room.
fn run_with_little_room(config: &Path) -> Child {
    let script = format!("trap '' XFSZ; ulimit -f {MOST_BLOCKS}; exec \"$0\" run --config \"$1\"");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_vigil")).arg(config);
    shell.stderr(Stdio::piped()).spawn().expect("a shell")
}

/// The address in the log line that says `running`.
fn broker_of(log: &mut impl BufRead) -> String {
    let mut lines = log.lines().map(|line| line.expect("a log"));
    let address = |line: String| line.split("\"mqtt\":\"").nth(1)?.split('"').next().map(str::to_owned);
    lines.find_map(address).expect("the agent runs")
}

fn ended(agent: &mut Child, patience: Duration) -> Option<i32> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if let Some(status) = agent.try_wait().expect("a process") {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    agent.kill().expect("a process");
    None
}

#[test]
fn a_full_disk_ends_the_agent_with_a_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    let (config, site) = (dir.path().join("agent.toml"), dir.path().join("site.toml"));
    let toml = "[agent]\ngateway = \"gw-1\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\nallow_anonymous = true\n[http]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(&config, toml).expect("a file");
    let night = ["simulate", "--night", "sized", "--guards", "40", "--minutes", "600", "--speed", "0"];
    let written = vigil().args(night).arg("--site-out").arg(&site).status().expect("vigil");
    assert!(written.success());
    let mut agent = run_with_little_room(&config);
    let mut log = BufReader::new(agent.stderr.take().expect("its log"));
    let broker = broker_of(&mut log);
    let mut load = vigil();
    load.args(night).arg("--broker").arg(broker).stdout(Stdio::null()).stderr(Stdio::null());
    let mut load = load.spawn().expect("vigil");
    let code = ended(&mut agent, Duration::from_secs(60));
    load.kill().expect("a process");
    load.wait().expect("a process");
    let mut said = String::new();
    log.read_to_string(&mut said).expect("a log");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("vigil: the database failed"), "{said}");
}
