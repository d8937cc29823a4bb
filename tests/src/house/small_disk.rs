//! A disk of some megabytes, to be filled: a tmpfs of its own. Who may not mount one gets a namespace in which he may.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Set in a test that runs in a namespace of its own: a file that it makes when it has come to its end.
const INSIDE: &str = "VIGIL_TEST_NAMESPACE";
/// What to do where neither goes.
const FORBIDDEN: &str = "this test needs a small disk, and nothing here lets it have one: neither `mount -t tmpfs` nor \
    `unshare --user --map-root-user --mount` is permitted. Run it as root with CAP_SYS_ADMIN (in a container: \
    --cap-add SYS_ADMIN --security-opt seccomp=unconfined), or permit user namespaces (sysctl user.max_user_namespaces, \
    kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0); both tools are of util-linux";
/// What fills a disk is written in pieces of this size.
const PIECE: [u8; 4_096] = [0x55; 4_096];
/// What is left of a disk that is filled is there for so long, so that its user comes to the end in the midst of something.
const GRACE: Duration = Duration::from_millis(300);
/// Whatever is given back in between is taken again so often.
const REFILL: Duration = Duration::from_millis(20);

/// Runs a test, named by its function, where it may mount disks: here, or alone in a namespace of its own. Where that is not
/// permitted, it fails and says what is.
pub fn with_small_disks(test: &str, body: impl FnOnce()) {
    let inside = std::env::var_os(INSIDE);
    if may_mount() {
        body();
        if let Some(reached) = inside {
            File::create(reached).expect("a folder of the test");
        }
        return;
    }
    assert!(inside.is_none(), "{FORBIDDEN}");
    let folder = tempfile::tempdir().expect("a folder");
    let reached = folder.path().join("reached");
    let here = std::env::current_exe().expect("a test knows where it is");
    let mut namespace = Command::new("unshare");
    namespace.args(["--user", "--map-root-user", "--mount", "--"]).arg(here);
    let status = namespace.args(["--exact", test, "--nocapture"]).env(INSIDE, &reached).status();
    let ended = status.as_ref().map_or_else(ToString::to_string, ToString::to_string);
    assert!(status.is_ok_and(|status| status.code() != Some(1)), "{ended}: {FORBIDDEN}");
    assert!(reached.exists(), "{test} failed in a namespace of its own: {ended}");
}

fn may_mount() -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    mounted(folder.path(), 1) && unmounted(folder.path())
}

fn mounted(at: &Path, mib: u32) -> bool {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(at);
    mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn unmounted(at: &Path) -> bool {
    Command::new("umount").arg("--lazy").arg(at).status().is_ok_and(|status| status.success())
}

/// A disk, unmounted when it is dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of so many MiB in `folder`, which is made.
    pub fn at(folder: &Path, mib: u32) -> Self {
        std::fs::create_dir_all(folder).expect("a folder of the test");
        assert!(mounted(folder, mib), "{FORBIDDEN}");
        Self(folder.to_owned())
    }

    /// Fills it but for so many bytes, and a moment later to its end; it stays full.
    pub fn fill(&self, left: u64) -> Filled {
        let mut filled = self.fill_once(left);
        let (mut file, full) = (filled.file.try_clone().expect("a file"), Arc::clone(&filled.full));
        filled.filling = Some(std::thread::spawn(move || {
            std::thread::sleep(GRACE);
            while full.load(Ordering::Acquire) {
                while file.write_all(&PIECE).is_ok() {}
                std::thread::sleep(REFILL);
            }
        }));
        filled
    }

    /// Fills it but for so many bytes: who has them has them.
    pub fn fill_once(&self, left: u64) -> Filled {
        let path = self.0.join("filler");
        let mut file = File::options().create(true).append(true).open(&path).expect("a file");
        while file.write_all(&PIECE).is_ok() {}
        let size = file.metadata().expect("a file").len();
        file.set_len(size.saturating_sub(left)).expect("a file");
        Filled { path, file, full: Arc::new(AtomicBool::new(true)), filling: None }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever still has a file open on it keeps it; nobody else finds it.
        let _gone = unmounted(&self.0);
    }
}

/// What fills a disk; there is room again when it is dropped.
#[derive(Debug)]
pub struct Filled {
    path: PathBuf,
    file: File,
    full: Arc<AtomicBool>,
    filling: Option<JoinHandle<()>>,
}

impl Drop for Filled {
    fn drop(&mut self) {
        self.full.store(false, Ordering::Release);
        // It ends at its next look.
        let _filled = self.filling.take().map(JoinHandle::join);
        let _emptied = self.file.set_len(0);
        let _gone = std::fs::remove_file(&self.path);
    }
}
