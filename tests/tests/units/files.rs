//! The units, and what comes with them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use vigil_tests::house::missing;

/// The units that are shipped.
const UNITS: [&str; 2] = ["vigil.service", "vigil-noc.service"];
/// How exposed a unit may be, in tenths, as `systemd-analyze security` counts.
const EXPOSED: &str = "--threshold=12";

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(name)
}

fn run(tool: &str, arguments: &[&str]) -> Output {
    let ran = Command::new(tool).args(arguments).env("SYSTEMD_PAGER", "").output();
    ran.unwrap_or_else(|why| missing(tool, "systemd", &why))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// A tree in which the units and what they start lie where a package puts them.
fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    let units = tree.path().join("usr/lib/systemd/system");
    std::fs::create_dir_all(&units).unwrap();
    for unit in UNITS {
        std::fs::copy(shipped(unit), units.join(unit)).unwrap();
    }
    for program in ["usr/bin/vigil", "usr/bin/vigil-noc", "bin/sh"] {
        let program = tree.path().join(program);
        std::fs::create_dir_all(program.parent().unwrap()).unwrap();
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    tree
}

fn verify(tree: &Path, unit: &str) -> Output {
    let root = format!("--root={}", tree.display());
    run("systemd-analyze", &["verify", "--man=no", "--recursive-errors=no", &root, unit])
}

#[test]
fn systemd_understands_every_line_of_the_units() {
    let tree = tree();
    for unit in UNITS {
        let verified = verify(tree.path(), unit);
        assert!(verified.status.success() && said(&verified).is_empty(), "{unit}: {}", said(&verified));
    }
    // It would say so.
    let unit = tree.path().join("usr/lib/systemd/system/vigil.service");
    let spoilt = std::fs::read_to_string(&unit).unwrap().replace("WatchdogSec=", "WatchdogSecs=");
    std::fs::write(&unit, spoilt).unwrap();
    let verified = verify(tree.path(), "vigil.service");
    assert!(!verified.status.success() && said(&verified).contains("WatchdogSecs"), "{}", said(&verified));
}

#[test]
fn the_units_are_as_confined_as_they_can_be() {
    for unit in UNITS {
        let file = shipped(unit);
        let judged = run("systemd-analyze", &["security", "--offline=true", EXPOSED, file.to_str().unwrap()]);
        assert!(judged.status.success(), "{unit}: {}", said(&judged));
    }
}

/// The value of a setting of a unit.
fn setting(unit: &str, key: &str) -> String {
    let text = std::fs::read_to_string(shipped(unit)).unwrap();
    let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("{unit} has no {key}")).to_owned()
}

fn secs(unit: &str, key: &str) -> u64 {
    setting(unit, key).trim_end_matches('s').parse().unwrap()
}

#[test]
fn the_watchdog_waits_for_longer_than_the_agent_itself_does() {
    use vigil_agent::pump::{ALIVE_EVERY, HOPELESS_AFTER};
    // The agent ends a stuck disk with its reason; only what it cannot end is left for the watchdog.
    assert!(secs("vigil.service", "WatchdogSec") > (HOPELESS_AFTER + ALIVE_EVERY).as_secs());
    // Contract 1 allows five seconds for a stop.
    assert!(secs("vigil.service", "TimeoutStopSec") >= 5);
}

#[test]
fn a_wrong_configuration_is_not_tried_again_and_everything_else_is() {
    for unit in UNITS {
        let told =
            ["Restart", "RestartPreventExitStatus", "StartLimitIntervalSec"].map(|key| setting(unit, key));
        assert_eq!(told, ["always", "2", "0"], "{unit}");
        assert!(secs(unit, "RestartSec") >= 10, "{unit}");
    }
}

#[test]
fn users_and_folders_are_made_as_the_units_need_them() {
    let tree = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(tree.path().join("etc")).unwrap();
    std::fs::write(tree.path().join("etc/group"), "dialout:x:20:\n").unwrap();
    let root = format!("--root={}", tree.path().display());
    // Each package has its own: one without the other is whole.
    let of = |folder: &str, unit: &str| shipped(&format!("{folder}/{}", unit.replace(".service", ".conf")));
    for unit in UNITS {
        let made = run("systemd-sysusers", &[&root, of("sysusers.d", unit).to_str().unwrap()]);
        assert!(made.status.success(), "{}", said(&made));
    }
    let read = |file: &str| std::fs::read_to_string(tree.path().join(file)).unwrap();
    for unit in UNITS {
        let user = setting(unit, "User");
        assert!(read("etc/passwd").contains(&format!("{user}:x:")), "{}", read("etc/passwd"));
    }
    assert!(read("etc/group").contains("dialout:x:20:vigil\n"), "{}", read("etc/group"));
    for unit in UNITS {
        let text = std::fs::read_to_string(of("tmpfiles.d", unit)).unwrap();
        let config = setting(unit, "LoadCredential");
        let (_, folder) = config.split_once(':').unwrap();
        assert!(text.lines().any(|line| line.starts_with(&format!("d {folder} "))), "{folder}");
        assert!(text.contains(&format!("/var/lib/{}\n", setting(unit, "StateDirectory"))), "{text}");
    }
}
