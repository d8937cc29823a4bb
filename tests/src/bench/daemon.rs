//! The agent and its peers as processes of their own, the way they run on a gateway.

use super::Failure;
use super::proc::{Memory, Usage};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A start that takes longer has failed.
const START: Duration = Duration::from_secs(60);

/// The release binary: `VIGIL_BIN`, or else it is built.
pub fn vigil() -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os("VIGIL_BIN") {
        return Ok(path.into());
    }
    let built = Command::new(env!("CARGO")).args(["build", "--release", "-p", "vigil-agent"]).status()?;
    if !built.success() {
        return Err("the agent does not build".into());
    }
    // A bench runs from target/release/deps.
    let here = std::env::current_exe()?;
    let folder = here.parent().and_then(Path::parent).ok_or("no target folder")?;
    Ok(folder.join("vigil"))
}

/// A running agent with its embedded broker.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    /// Where its broker listens.
    pub mqtt: SocketAddr,
    /// Where its page is.
    pub http: SocketAddr,
    /// From its start until it said that it runs.
    pub took: Duration,
}

impl Daemon {
    /// Starts `vigil run` in `folder`, on what is there already if there is something.
    pub fn start(vigil: &Path, folder: &Path, site_toml: &str) -> Result<Self, Failure> {
        fs::write(folder.join("site.toml"), site_toml)?;
        fs::write(folder.join("agent.toml"), AGENT_TOML)?;
        let began = Instant::now();
        let mut child = Command::new(vigil)
            .args(["run", "--config"])
            .arg(folder.join("agent.toml"))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let log = child.stderr.take().ok_or("no log")?;
        match first_words(log) {
            Ok((mqtt, http)) => Ok(Self { child, mqtt, http, took: began.elapsed() }),
            Err(why) => {
                end(&mut child);
                Err(why)
            }
        }
    }

    /// Its process id, as `/proc` spells it.
    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// What it has used.
    pub fn usage(&self) -> Result<Usage, Failure> {
        Usage::of(&self.pid())
    }

    /// Its memory.
    pub fn memory(&self) -> Result<Memory, Failure> {
        Memory::of(&self.pid())
    }

    /// A value of its `/metrics`, all labels summed.
    pub fn metric(&self, name: &str) -> Result<f64, Failure> {
        let mut stream = TcpStream::connect(self.http)?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.http)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let mut values = answer.lines().filter_map(|l| l.strip_prefix(name)).peekable();
        values.peek().ok_or_else(|| format!("no {name} in /metrics"))?;
        Ok(values.filter_map(|v| v.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
    }

    /// Stops it as systemd does.
    pub fn stop(mut self) -> Result<(), Failure> {
        Command::new("kill").arg(self.pid()).status()?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the agent ended with {status}").into()) }
    }

    /// Takes its power away.
    pub fn kill(mut self) {
        end(&mut self.child);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Kills a child and takes leave of it; one that has ended already is no trouble.
fn end(child: &mut Child) {
    let _ended = child.kill();
    let _status = child.wait();
}

const AGENT_TOML: &str = "[agent]\ngateway = \"gw-1\"\ndata_dir = \"data\"\nsite = \"site.toml\"\n\
    [mqtt]\nmode = \"embedded\"\nlisten = \"127.0.0.1:0\"\nallow_anonymous = true\n\
    [http]\nlisten = \"127.0.0.1:0\"\n";

/// Reads the log until the agent says where it listens; the rest is read and dropped, so that the pipe never fills.
fn first_words(log: impl Read + Send + 'static) -> Result<(SocketAddr, SocketAddr), Failure> {
    let (said, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            // Once the addresses are known nobody listens any more.
            let _unheard = said.send(line);
        }
    });
    let mut log = String::new();
    loop {
        let Ok(line) = heard.recv_timeout(START) else {
            return Err(format!("the agent did not start: {log}").into());
        };
        let told = serde_json::from_str::<serde_json::Value>(&line).unwrap_or_default();
        let word =
            |name: &str| told.get(name).and_then(|v| v.as_str()).map(|a| a.trim_start_matches("http://"));
        if let (Some(mqtt), Some(page)) = (word("mqtt"), word("page")) {
            return Ok((mqtt.parse()?, page.parse()?));
        }
        log = log + &line + "\n";
    }
}

/// A mosquitto with a subscriber that reads everything and does nothing with it.
#[derive(Debug)]
pub struct Mosquitto {
    broker: Child,
    subscriber: Child,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Mosquitto {
    /// Starts both; its persistence is off, as by default.
    pub fn start(folder: &Path) -> Result<Self, Failure> {
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = folder.join("mosquitto.conf");
        let port = addr.port().to_string();
        fs::write(
            &config,
            format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 200\nset_tcp_nodelay true\n"
            ),
        )?;
        let quiet = |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut broker = quiet(Command::new("mosquitto").arg("-c").arg(&config))?;
        let began = Instant::now();
        while TcpStream::connect(addr).is_err() {
            if began.elapsed() > START {
                end(&mut broker);
                return Err("mosquitto did not start".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let subscriber =
            quiet(Command::new("mosquitto_sub").args(["-p", &port, "-q", "1", "-t", "vigil/#"]))?;
        // Its subscription has to be there before the first message.
        std::thread::sleep(Duration::from_millis(300));
        Ok(Self { broker, subscriber, addr })
    }

    /// What the broker alone has used.
    pub fn usage(&self) -> Result<Usage, Failure> {
        Usage::of(&self.broker.id().to_string())
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        end(&mut self.subscriber);
        end(&mut self.broker);
    }
}
