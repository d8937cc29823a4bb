//! A serial cable: a pseudo-terminal under a name that stays, with a device at its other end that the test plays.

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A cable, plugged in or not.
#[derive(Debug)]
pub struct Cable {
    name: PathBuf,
    device: Option<File>,
}

impl Cable {
    /// A cable that will have this name, like those below `/dev/serial/by-id`, and is not plugged in.
    pub fn named(name: PathBuf) -> Self {
        Self { name, device: None }
    }

    /// Its name, for the configuration.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Plugs it in: a new terminal under the same name.
    pub fn plug(&mut self) {
        self.unplug();
        let device =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&device).expect("it is ours");
        unlockpt(&device).expect("it is ours");
        fcntl_setfl(&device, OFlags::RDWR | OFlags::NONBLOCK).expect("it need not wait");
        let port = ptsname(&device, Vec::new()).expect("it has a name");
        symlink(OsStr::from_bytes(port.to_bytes()), &self.name).expect("a folder of the test");
        self.device = Some(File::from(device));
    }

    /// Pulls it out.
    pub fn unplug(&mut self) {
        if self.device.take().is_some() {
            std::fs::remove_file(&self.name).expect("the name was made when it was plugged in");
        }
    }

    /// What the device sends.
    pub fn send(&mut self, bytes: &[u8]) {
        self.device.as_mut().expect("it is plugged in").write_all(bytes).expect("somebody reads");
    }

    /// What the agent has sent to the device; nothing while nobody has the port open.
    pub fn receive(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 1_024];
        match self.device.as_mut().expect("it is plugged in").read(&mut bytes) {
            Ok(n) => bytes.truncate(n),
            // A terminal that nobody has open at its other end says that it is broken.
            Err(why) => {
                assert!(why.kind() == ErrorKind::WouldBlock || why.raw_os_error() == Some(5), "{why}");
                bytes.clear();
            }
        }
        bytes
    }
}
