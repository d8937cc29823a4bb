//! A port as the system knows it: looked at, opened, and why that fails in words that say what to do.

use super::speech::Mute;
use rustix::fs::Access;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use tokio_serial::{ErrorKind, SerialStream};

/// Why a line cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is no such port.
    #[error("{0} is not there; plug it in, or look below /dev/serial/by-id for its name")]
    Absent(PathBuf),
    /// The agent's user may not open it.
    #[error(
        "permission denied on {0}; let the agent's user into the group that owns it, like \
         `usermod -aG dialout vigil`, and start the agent again"
    )]
    Denied(PathBuf),
    /// Something else has that name.
    #[error(
        "{0} is no serial port; a reader that types like a keyboard is none either, and has to be set to a virtual COM port"
    )]
    NoPort(PathBuf),
    /// Another program has it.
    #[error(
        "{0} is open in another program; a port has one reader only (ModemManager and gpsd take what they find)"
    )]
    Busy(PathBuf),
    /// The system says something else.
    #[error("{0} cannot be opened: {1}")]
    Unfit(PathBuf, String),
    /// It was there and is no more.
    #[error("{0} was unplugged")]
    Gone(PathBuf),
    /// It broke in the middle.
    #[error("{0} broke: {1}")]
    Broken(PathBuf, io::Error),
    /// The port is there, and its device says nothing.
    #[error(transparent)]
    Mute(#[from] Mute),
}

/// What can be said of a port without opening it, which would disturb whoever has it open.
pub fn look(path: &Path) -> Result<(), Fault> {
    let here = || path.to_owned();
    let about = std::fs::metadata(path).map_err(|why| told(path, why.kind(), &why))?;
    if !about.file_type().is_char_device() || is_of_other_kind(about.rdev()) {
        return Err(Fault::NoPort(here()));
    }
    rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK).map_err(|why| {
        let why = io::Error::from(why);
        told(path, why.kind(), &why)
    })
}

/// Whether the system calls a device something else than a terminal, which every serial port is: a reader that types like
/// a keyboard lies below /dev as well. Of pseudo terminals it says nothing.
fn is_of_other_kind(device: u64) -> bool {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let kind = std::fs::read_link(format!("/sys/dev/char/{major}:{minor}/subsystem"));
    kind.is_ok_and(|kind| !kind.ends_with("tty"))
}

/// Opens it: eight bits, no parity, one stop bit, no flow control, and nobody else beside us. The system may take its time
/// over that.
pub(super) async fn open(path: &Path, baud: u32) -> Result<SerialStream, Fault> {
    let here = path.to_owned();
    let opening = tokio::task::spawn_blocking(move || {
        look(&here)?;
        let port = tokio_serial::new(here.to_string_lossy(), baud);
        SerialStream::open(&port).map_err(|why| match why.kind {
            // It was there a moment ago: the library says so of a port that somebody else has locked.
            ErrorKind::NoDevice => Fault::Busy(here),
            ErrorKind::Io(kind) => told(&here, kind, &why),
            ErrorKind::InvalidInput | ErrorKind::Unknown => Fault::Unfit(here, why.to_string()),
        })
    });
    opening.await.unwrap_or_else(|why| Err(Fault::Unfit(path.to_owned(), why.to_string())))
}

fn told(path: &Path, kind: io::ErrorKind, why: &dyn std::fmt::Display) -> Fault {
    let here = path.to_owned();
    if kind == io::ErrorKind::NotFound {
        Fault::Absent(here)
    } else if kind == io::ErrorKind::PermissionDenied {
        Fault::Denied(here)
    } else if kind == io::ErrorKind::ResourceBusy {
        Fault::Busy(here)
    } else {
        Fault::Unfit(here, why.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_looked_at_without_being_opened() {
        let folder = tempfile::tempdir().unwrap();
        let (absent, file) = (folder.path().join("ttyUSB0"), folder.path().join("file"));
        std::fs::write(&file, "").unwrap();
        assert!(matches!(look(&absent), Err(Fault::Absent(_))));
        assert!(matches!(look(&file), Err(Fault::NoPort(_))));
        assert!(matches!(look(Path::new("/dev/null")), Err(Fault::NoPort(_))));
        assert!(look(Path::new("/dev/tty")).is_ok());
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        let told = |kind| told(Path::new("/dev/ttyUSB0"), kind, &"why").to_string();
        assert!(told(io::ErrorKind::PermissionDenied).contains("usermod -aG dialout"));
        assert!(told(io::ErrorKind::NotFound).contains("/dev/serial/by-id"));
        assert!(told(io::ErrorKind::ResourceBusy).contains("another program"));
        assert_eq!(told(io::ErrorKind::Other), "/dev/ttyUSB0 cannot be opened: why");
    }

    #[tokio::test]
    async fn what_is_no_terminal_is_said_and_not_opened() {
        let fault = open(Path::new("/dev/null"), 9_600).await.expect_err("no terminal");
        assert!(fault.to_string().starts_with("/dev/null "), "{fault}");
    }
}
