//! The disk is full in the middle of the night: the agent says so, acknowledges nothing, and goes on by itself when
//! there is room again. The real binary, real MQTT, and a disk that is really full.

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A busy machine takes its time; nothing here waits so long when all is well.
const PATIENCE: Duration = Duration::from_secs(60);
/// In blocks of 512 bytes or 1 KiB, as the shell counts: a megabyte or two.
const MOST_BLOCKS: u32 = 2_000;
/// A status is shown to others for so long.
const GLANCE: Duration = Duration::from_millis(300);
const NIGHT: [&str; 9] =
    ["simulate", "--night", "sized", "--guards", "40", "--minutes", "600", "--speed", "0"];

fn vigil() -> Command {
    Command::new(env!("CARGO_BIN_EXE_vigil"))
}

/// An agent with a folder of its own, and its data wherever it is told to be.
struct Agent {
    process: Child,
    broker: SocketAddr,
    page: SocketAddr,
    site: String,
    dir: tempfile::TempDir,
}

impl Agent {
    fn start(data_dir: Option<&Path>, most_blocks: Option<u32>) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let (config, site) = (dir.path().join("agent.toml"), dir.path().join("site.toml"));
        let data_dir = data_dir.map_or_else(String::new, |path| format!("data_dir = {path:?}\n"));
        let toml = format!(
            "[agent]\ngateway = \"gw-1\"\n{data_dir}[mqtt]\nlisten = \"127.0.0.1:0\"\nallow_anonymous = true\n[http]\nlisten = \"127.0.0.1:0\"\n"
        );
        std::fs::write(&config, toml).expect("a file");
        assert!(vigil().args(NIGHT).arg("--site-out").arg(&site).status().expect("vigil").success());
        let limit = most_blocks.map_or_else(String::new, |most| format!("ulimit -S -f {most};"));
        let script = format!("trap '' XFSZ; {limit} exec \"$0\" run --config \"$1\"");
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_vigil")).arg(&config);
        let mut process = shell.stderr(Stdio::piped()).spawn().expect("a shell");
        let mut log = BufReader::new(process.stderr.take().expect("its log")).lines();
        let running = |line: &String| line.contains("\"mqtt\":\"");
        let line = log.by_ref().map(|line| line.expect("a log")).find(running).expect("the agent runs");
        let said: Value = serde_json::from_str(&line).expect("a line of JSON");
        let text = said.to_string();
        let after =
            |key: &str| text.split(key).nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned);
        let address = |key: &str| after(key).and_then(|a| a.parse().ok()).expect("an address");
        let (broker, page) = (address("\"mqtt\":\""), address("\"page\":\"http://"));
        std::thread::spawn(move || log.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        let text = std::fs::read_to_string(&site).expect("a site");
        let site = text
            .lines()
            .find_map(|l| l.strip_prefix("id = \""))
            .expect("its id")
            .trim_matches('"')
            .to_owned();
        Self { process, broker, page, site, dir }
    }

    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.page).expect("the page listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
            .expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (code, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }

    fn status(&self) -> Value {
        let (code, body) = self.get("/api/status");
        assert_eq!(code, 200, "{body}");
        let json = &body[body.find('{').expect("an object")..=body.rfind('}').expect("an object")];
        // A chunked body has lengths between its pieces.
        serde_json::from_str(json).expect("JSON")
    }

    /// Waits for `/healthz` to answer so, and gives what it says.
    fn is(&mut self, code: u16) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert_eq!(self.process.try_wait().expect("a process"), None, "the agent has ended");
            let (now, said) = self.get("/healthz");
            if now == code {
                return said;
            }
            assert!(Instant::now() < deadline, "{now}: {said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn load(&self) -> Load {
        let mut load = vigil();
        load.args(NIGHT).arg("--broker").arg(self.broker.to_string());
        Load(load.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("vigil"))
    }

    /// Everything that was acknowledged in this process is stored now.
    fn lost_nothing(&self) {
        // What is counted first can only be less than what is counted later.
        let acknowledged = self.status()["broker"]["acknowledged"].as_u64().expect("a count");
        std::thread::sleep(GLANCE);
        let status = self.status();
        let sum = |key: &str| {
            status[key].as_object().expect("counts").values().filter_map(Value::as_u64).sum::<u64>()
        };
        let stored = sum("outcomes") + sum("refused");
        assert!(acknowledged > 0 && stored >= acknowledged, "{acknowledged} acknowledged, {stored} stored");
        assert_eq!(status["outage"], Value::Null);
    }

    /// What the page, the metrics and the command say while nothing can be stored.
    fn says_why(&self, why: &str) {
        std::thread::sleep(GLANCE);
        let status = self.status();
        let outage = &status["outage"];
        assert!(outage["why"].as_str().is_some_and(|said| said.contains(why)), "{outage}");
        assert_eq!(outage["again_secs"], 5);
        assert_eq!(self.get("/").0, 200);
        assert!(self.get("/metrics").1.contains("vigil_store_up 0"));
        let (code, refused) = self.get("/api/alerts");
        assert!(code == 503 && refused.contains(why), "{code}: {refused}");
        let shown =
            vigil().arg("status").arg("--url").arg(format!("http://{}", self.page)).output().expect("vigil");
        assert!(String::from_utf8_lossy(&shown.stdout).contains("OUT OF ORDER"), "{shown:?}");
    }

    /// A guard calls for help: what the site hears of it.
    fn cries_for_help(&self) -> Value {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (alerts, sos) = (
            format!("vigil/v1/{0}/alerts", self.site),
            format!("vigil/v1/{}/{}/sos", self.site, self.handset()),
        );
        let help = format!("{{\"ts\":{},\"note\":\"help\"}}", self.status()["now"]);
        let heard = async {
            let (siren, mut hears) = self.client("siren");
            siren.subscribe(alerts, QoS::AtLeastOnce).await.expect("a subscription");
            while !matches!(hears.poll().await.expect("a broker"), Event::Incoming(Packet::SubAck(_))) {}
            let (handset, mut line) = self.client("handset");
            handset.publish(sos, QoS::AtLeastOnce, false, help).await.expect("a publish");
            let calling = async {
                // The connection ends without an acknowledgement; the client library connects and sends again.
                loop {
                    if line.poll().await.is_err() {
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                }
            };
            let hearing = async {
                loop {
                    if let Event::Incoming(Packet::Publish(alert)) = hears.poll().await.expect("a broker") {
                        let alert: Value = serde_json::from_slice(&alert.payload).expect("an alert");
                        if alert["rule"] == "sos" {
                            return alert;
                        }
                    }
                }
            };
            tokio::select! { () = calling => unreachable!(), alert = hearing => alert }
        };
        runtime.block_on(async { tokio::time::timeout(PATIENCE, heard).await.expect("the site hears it") })
    }

    fn client(&self, id: &str) -> (AsyncClient, rumqttc::EventLoop) {
        AsyncClient::new(MqttOptions::new(id, self.broker.ip().to_string(), self.broker.port()), 10)
    }

    fn handset(&self) -> String {
        self.status()["devices"][0]["id"].as_str().expect("a device").to_owned()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself, and then the test says so.
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}

/// A night that is published again and again.
struct Load(Child);

impl Drop for Load {
    fn drop(&mut self) {
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// A small disk. `None` where this user may not mount one.
struct SmallDisk(PathBuf, #[expect(dead_code, reason = "it is removed with this")] tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(dir.path());
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("not tested: this user may not mount a small disk");
        }
        mounted.then(|| Self(dir.path().to_owned(), dir))
    }

    /// Fills it and keeps it full, but for so many bytes.
    fn fill(&self, left: u64) -> Filled {
        let path = self.0.join("filler");
        let full = Arc::new(AtomicBool::new(true));
        let (file, on) = (File::create(&path).expect("a file"), Arc::clone(&full));
        let mut file =
            OpenOptions::new().append(true).open(&path).map(|f| (drop(file), f).1).expect("a file");
        while file.write_all(&[0x55; 4_096]).is_ok() {}
        if left > 0 {
            let size = file.metadata().expect("a file").len();
            file.set_len(size.saturating_sub(left)).expect("a file");
        }
        let filling = std::thread::spawn(move || {
            // What is left is there for a moment, so that the store comes to its end in the midst of something.
            std::thread::sleep(Duration::from_millis(300));
            while on.load(Ordering::Acquire) {
                while file.write_all(&[0x55; 4_096]).is_ok() {}
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Filled { path, full, filling: Some(filling) }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

struct Filled {
    path: PathBuf,
    full: Arc<AtomicBool>,
    filling: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Filled {
    fn drop(&mut self) {
        self.full.store(false, Ordering::Release);
        let _filled = self.filling.take().map(std::thread::JoinHandle::join);
        let _gone = std::fs::remove_file(&self.path);
    }
}

#[test]
fn the_same_process_goes_on_when_the_disk_takes_more_again() {
    let mut agent = Agent::start(None, Some(MOST_BLOCKS));
    let load = agent.load();
    agent.is(503);
    agent.says_why("the store failed");
    let pid = agent.process.id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status();
    assert!(raised.expect("prlimit").success());
    agent.is(200);
    agent.lost_nothing();
    drop(load);
    assert!(agent.dir.path().exists());
}

#[test]
fn a_full_disk_loses_nothing_and_calls_for_help_are_heard_meanwhile() {
    let Some(disk) = SmallDisk::mount("40m") else { return };
    let mut agent = Agent::start(Some(&disk.0.join("data")), None);
    let _load = agent.load();
    agent.is(200);
    let ballast = disk.0.join("data/ballast");
    assert!(ballast.exists());
    for (left, help) in [(0, true), (150_000, false), (700_000, false)] {
        let filled = disk.fill(left);
        // A snapshot is due in the same moment.
        let hangup = Command::new("kill").arg("-HUP").arg(agent.process.id().to_string()).status();
        assert!(hangup.expect("kill").success());
        let said = agent.is(503);
        assert!(said.contains("the disk under data_dir is full") && said.contains("every 5 s"), "{said}");
        agent.says_why("the disk under data_dir is full");
        assert!(!ballast.exists(), "it was given up");
        if help {
            let alert = agent.cries_for_help();
            assert_eq!(alert["stored"], false, "{alert}");
        }
        drop(filled);
        agent.is(200);
        agent.lost_nothing();
        assert!(ballast.exists(), "it was made anew");
    }
}

#[test]
fn a_disk_that_is_full_from_the_start_is_waited_for() {
    let Some(disk) = SmallDisk::mount("40m") else { return };
    for left in [0, 60_000, 600_000] {
        let filled = disk.fill(left);
        let mut agent = Agent::start(Some(&disk.0.join("data")), None);
        agent.says_why("the disk under data_dir is full");
        drop(filled);
        let _load = agent.load();
        agent.is(200);
        let deadline = Instant::now() + PATIENCE;
        while agent.status()["broker"]["acknowledged"] == 0 {
            assert!(Instant::now() < deadline, "nothing is acknowledged");
            std::thread::sleep(Duration::from_millis(50));
        }
        agent.lost_nothing();
        drop(agent);
        std::fs::remove_dir_all(disk.0.join("data")).expect("a folder");
    }
}
