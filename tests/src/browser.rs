//! Debian's Chromium, driven through ChromeDriver: the pages as people see them.
//!
//! The protocol is W3C WebDriver, of which a test needs five calls; a small client on a plain socket speaks them.

use crate::house::{PATIENCE, Process, eventually, missing};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Error, Result, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;
use tempfile::TempDir;

/// The first start of a browser reads 300 MB from disk.
const BROWSER_STARTS: Duration = Duration::from_secs(60);

/// Nothing is asked of the network, and a container has neither a screen nor a sandbox of its own.
const SWITCHES: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// How large a window is, in CSS pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// 1280 x 900
    Desk,
    /// 390 x 844
    Phone,
}

/// ChromeDriver; it ends with the last of its browsers.
#[derive(Debug)]
pub struct Driver {
    at: SocketAddr,
    chromium: PathBuf,
    _process: Process,
}

/// One browser with a profile of its own, on one page.
#[derive(Debug)]
pub struct Browser {
    driver: Rc<Driver>,
    session: String,
    _profile: TempDir,
}

impl Driver {
    /// Starts it on a free port.
    pub fn start() -> Rc<Self> {
        let chromium = installed("chromium", "chromium");
        let chromedriver = installed("chromedriver", "chromium-driver");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr());
        let at = free.expect("a free port");
        let mut command = Command::new(chromedriver);
        let process =
            Process::start("chromedriver", command.arg(format!("--port={}", at.port())), "chromium-driver");
        let driver = Self { at, chromium, _process: process };
        eventually("chromedriver is ready", BROWSER_STARTS, || {
            let status = driver.ask("GET", "/status", None).map_err(|why| why.to_string())?;
            if status["ready"] == true { Ok(()) } else { Err(status.to_string()) }
        });
        Rc::new(driver)
    }

    /// A browser that shows the page at `url`.
    pub fn open(self: &Rc<Self>, screen: Screen, url: &str) -> Browser {
        let profile = tempfile::tempdir().expect("a folder");
        let data = format!("--user-data-dir={}", profile.path().display());
        let switches: Vec<&str> = SWITCHES.into_iter().chain([data.as_str()]).collect();
        let options = json!({"binary": self.chromium, "args": switches});
        let wanted = json!({"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}});
        let made = self.ask("POST", "/session", Some(json!({"capabilities": {"alwaysMatch": wanted}})));
        let made = made.expect("a browser starts");
        let session = made["sessionId"].as_str().expect("a session has an id").to_owned();
        let browser = Browser { driver: Rc::clone(self), session, _profile: profile };
        browser.resize(screen);
        browser.go(url);
        browser
    }

    /// One call; the `value` of the answer, or the `message` of its error.
    fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value> {
        let mut stream = TcpStream::connect_timeout(&self.at, PATIENCE)?;
        stream.set_read_timeout(Some(BROWSER_STARTS))?;
        let body = body.map(|b| b.to_string()).unwrap_or_default();
        let (at, length) = (self.at, body.len());
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: {at}\r\ncontent-length: {length}\r\n\r\n{body}")?;
        let (status, text) = answer(&mut BufReader::new(stream))?;
        let value = serde_json::from_str::<Value>(&text)?["value"].take();
        match status {
            200 => Ok(value),
            _ => Err(Error::other(format!("{method} {path}: {}", value["message"]))),
        }
    }
}

/// The status and the body of an answer that says how long it is.
fn answer(stream: &mut impl BufRead) -> Result<(u16, String)> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
    let mut length = 0;
    while !line.trim_end().is_empty() {
        line.clear();
        stream.read_line(&mut line)?;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(Error::other)?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let status = status.ok_or_else(|| Error::other("no HTTP"))?;
    Ok((status, String::from_utf8(body).map_err(Error::other)?))
}

/// Where a program is. One that is not there fails the test.
fn installed(program: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
    found.unwrap_or_else(|| missing(program, package, &Error::from(std::io::ErrorKind::NotFound)))
}

impl Browser {
    fn ask(&self, method: &str, path: &str, body: Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.driver.ask(method, &path, Some(body)).expect("the browser answers")
    }

    /// Loads a page.
    pub fn go(&self, url: &str) {
        self.ask("POST", "/url", json!({"url": url}));
    }

    /// Makes the page as wide and as high as a desk or a phone shows it.
    pub fn resize(&self, screen: Screen) {
        let (width, height, mobile) = match screen {
            Screen::Desk => (1280, 900, false),
            Screen::Phone => (390, 844, true),
        };
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": size});
        self.ask("POST", "/goog/cdp/execute", command);
    }

    /// What the body of a function returns in the page.
    pub fn run(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", json!({"script": script, "args": []}))
    }

    /// What stands in the first element that `selector` finds, as a person sees it; nothing if it is not shown.
    pub fn text(&self, selector: &str) -> Option<String> {
        let script = "const found = document.querySelector(arguments[0]);
                      return found?.checkVisibility() ? found.innerText : null;";
        let answer = self.ask("POST", "/execute/sync", json!({"script": script, "args": [selector]}));
        answer.as_str().map(str::to_owned)
    }

    /// Waits until that element says `words`, in whatever case.
    pub fn sees(&self, selector: &str, words: &str) {
        eventually(&format!("{selector} says {words:?}"), PATIENCE, || match self.text(selector) {
            Some(text) if text.to_lowercase().contains(&words.to_lowercase()) => Ok(()),
            instead => Err(format!("{instead:?}")),
        });
    }

    /// Writes what is seen as a PNG: for people, who judge by looking.
    pub fn picture(&self, file: &Path) {
        let path = format!("/session/{}/screenshot", self.session);
        let seen = self.driver.ask("GET", &path, None).expect("the browser answers");
        let bytes = base64(seen.as_str().expect("a picture in base64"));
        std::fs::write(file, bytes).expect("a folder for pictures");
    }

    /// By how many pixels the page is wider than its window.
    pub fn overflow(&self) -> i64 {
        let wider =
            self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth;");
        wider.as_i64().expect("a number of pixels")
    }

    /// What the console has complained of since it was asked last.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.ask("POST", "/se/log", json!({"type": "browser"}));
        let severe = |entry: &&Value| entry["level"] == "SEVERE" || entry["level"] == "WARNING";
        let lines = log.as_array().into_iter().flatten().filter(severe);
        lines.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// The bytes of a text in base64.
fn base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut held) = (vec![], 0_u32, 0_u32);
    for digit in text.bytes().filter_map(|byte| LETTERS.iter().position(|letter| *letter == byte)) {
        bits = (bits << 6) | u32::try_from(digit).unwrap_or(0);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).unwrap_or(0));
        }
    }
    bytes
}

impl Drop for Browser {
    fn drop(&mut self) {
        // If the browser is gone already there is nothing to be ended.
        let _gone = self.driver.ask("DELETE", &format!("/session/{}", self.session), None);
    }
}
