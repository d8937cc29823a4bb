//! The built `vigil`.

use super::eventually;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// How long a command may take that asks, checks or replays.
const COMMAND: Duration = Duration::from_secs(30);

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it complained of.
    pub err: String,
}

/// A command of the binary under test, in an environment that holds nothing but the path.
pub(super) fn command() -> Command {
    let mut command = bare(binary());
    if let Some(runner) = std::env::var_os("VIGIL_RUNNER") {
        // Under emulation the emulator comes first.
        command = bare(Path::new(&runner));
        command.arg(binary());
    }
    command
}

/// The same command, run by a script of the shell.
pub(super) fn through(script: &Path, command: &Command) -> Command {
    let mut shell = bare(Path::new("sh"));
    shell.arg(script).arg(command.get_program()).args(command.get_args());
    shell
}

fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(std::env::vars_os().filter(|(key, _)| key == "PATH" || key == "TMPDIR"));
    command
}

/// The binary: `VIGIL_BIN`, else the one that Cargo builds beside this test.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("VIGIL_BIN") {
        Some(given) => PathBuf::from(given),
        None => build(),
    })
}

/// Builds the binary in the profile of this test: a test of yesterday's binary proves nothing.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let folder = test.ancestors().nth(2).expect("a test lies in deps/ of its profile").to_owned();
    let profile =
        folder.file_name().and_then(|n| n.to_str()).map_or("dev", |n| if n == "debug" { "dev" } else { n });
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--package", "vigil-agent", "--bin", "vigil", "--profile", profile])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the binary under test does not build");
    folder.join("vigil")
}

/// The folder of Cargo's output.
pub(super) fn target() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    test.ancestors().nth(3).expect("a test lies in target/profile/deps/").to_owned()
}

/// Runs `vigil` with `arguments`.
pub fn vigil<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Ended {
    vigil_reading(arguments, "")
}

/// Runs `vigil` with `arguments`, and nobody reads what it prints: `vigil .. | true`.
pub fn vigil_unread<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Ended {
    let (nobody, stdout) = std::io::pipe().expect("a pipe");
    drop(nobody);
    let piped = command().args(arguments).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).spawn();
    ended(piped.expect("the binary under test runs"))
}

/// Runs `vigil` with `arguments` and `input` on its standard input.
pub fn vigil_reading<S: AsRef<std::ffi::OsStr>>(arguments: &[S], input: &str) -> Ended {
    let piped =
        command().args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = piped.expect("the binary under test runs");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let ended = ended(child);
    // A command that does not read to the end closes the pipe, and that is its right.
    let _read_or_not = writer.join().expect("the writer ends");
    ended
}

fn ended(child: Child) -> Ended {
    let id = child.id();
    let ending = std::thread::spawn(move || child.wait_with_output());
    eventually("a command ends", COMMAND, || {
        if ending.is_finished() { Ok(()) } else { Err(format!("process {id} still running")) }
    });
    let Output { status, stdout, stderr } =
        ending.join().expect("the waiter ends").expect("its output is read");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("a command speaks UTF-8");
    Ended { code: status.code(), out: text(stdout), err: text(stderr) }
}
