//! Secrets: each is a file of its own, never a value in a configuration file.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use vigil_core::id::TaskId;

/// The largest credential: a key with its chain fits several times; a file named by mistake does not.
const MAX_CREDENTIAL_BYTES: u64 = 64 * 1024;

/// A unit hands the files of a whole folder over with `LoadCredential=vigil:/etc/vigil/credentials`, and systemd puts the word
/// before the name of each.
const OF_A_FOLDER: &str = "vigil_";

/// What the reader takes from the environment of the process.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `$CREDENTIALS_DIRECTORY`: where systemd puts credentials.
    pub credentials_directory: Option<PathBuf>,
}

impl Environment {
    /// From the environment of this process.
    pub fn of_process() -> Self {
        let directory = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|d| !d.is_empty());
        Self { credentials_directory: directory.map(PathBuf::from) }
    }
}

/// The name of a credential: a plain file name, 1-64 of `A-Z a-z 0-9 . _ -`, without a leading dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Credential(String);

impl Credential {
    /// A name that leads nowhere but into the credentials' own folder; `None` for any other.
    pub fn new(name: &str) -> Option<Self> {
        // The alphabet of ids has no separator of paths.
        let legal = TaskId::new(name).is_ok() && !name.starts_with('.');
        legal.then(|| Self(name.to_owned()))
    }
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret. It shows itself to nobody who does not ask by name.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The secret itself.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
    /// The secret itself, if it is text: a token or a password.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Why a credential cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// It is in neither place.
    #[error("there is no {}; put the secret there with mode 0600", .path.display())]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// systemd hands credentials over, and this one is not among them.
    #[error(
        "systemd handed no credential {name} over, and there is none at {} that this user may read; put it there as root \
         (or name it in LoadCredential= of the unit), and start the unit again",
        .path.display()
    )]
    NotHandedOver {
        /// Its name.
        name: Credential,
        /// Where it would be else.
        path: PathBuf,
    },
    /// Others may read it.
    #[error("{} has mode {mode:04o}; run: chmod 0600 {}", .path.display(), .path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is no secret.
    #[error("{} is {what}; a credential is a file of 1 byte to 64 KiB", .path.display())]
    NoSecret {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The system refused.
    #[error("{} cannot be read ({source}); it must belong to the user of the agent", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Reads a credential: from `$CREDENTIALS_DIRECTORY`, else from `credentials/` in `base`, the folder of
/// the configuration file, where nobody but its owner may have access to it. A newline at its end is cut.
pub fn credential(name: &Credential, base: &Path, env: &Environment) -> Result<Secret, CredentialError> {
    for path in handed_over(name, env) {
        match read(path, Access::BySystem) {
            Err(CredentialError::Missing { .. }) => {}
            found => return found,
        }
    }
    let beside = read(beside(base).join(&name.0), Access::OwnerOnly);
    match beside {
        Err(CredentialError::Missing { path }) if env.credentials_directory.is_some() => {
            Err(CredentialError::NotHandedOver { name: name.clone(), path })
        }
        Err(CredentialError::Io { path, source })
            if env.credentials_directory.is_some() && source.kind() == io::ErrorKind::PermissionDenied =>
        {
            Err(CredentialError::NotHandedOver { name: name.clone(), path })
        }
        read => read,
    }
}

/// Where a file with a secret lies, like the private key of a certificate: one of `credentials/` in `base` may have been handed
/// over by systemd, as any credential.
pub fn secret_file(path: &Path, base: &Path, env: &Environment) -> PathBuf {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(Credential::new);
    let name = name.filter(|_| path.parent() == Some(&beside(base)));
    let mut places = name.iter().flat_map(|name| handed_over(name, env));
    places.find(|place| place.exists()).unwrap_or_else(|| path.to_owned())
}

fn beside(base: &Path) -> PathBuf {
    base.join("credentials")
}

/// Where systemd may have put it: named by itself, or with its folder.
fn handed_over(name: &Credential, env: &Environment) -> Vec<PathBuf> {
    let of_a_folder = format!("{OF_A_FOLDER}{name}");
    let in_it = |directory: &PathBuf| [directory.join(&name.0), directory.join(&of_a_folder)];
    env.credentials_directory.iter().flat_map(in_it).collect()
}

/// Who watches over a file's mode.
#[derive(Clone, Copy, PartialEq)]
enum Access {
    /// systemd: only the unit can enter its folder.
    BySystem,
    /// The mode itself.
    OwnerOnly,
}

fn read(path: PathBuf, access: Access) -> Result<Secret, CredentialError> {
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(CredentialError::Missing { path }),
        Err(source) => return Err(CredentialError::Io { path, source }),
    };
    let metadata = match file.metadata() {
        Ok(metadata) => metadata,
        Err(source) => return Err(CredentialError::Io { path, source }),
    };
    if !metadata.is_file() {
        return Err(CredentialError::NoSecret { path, what: "no file" });
    }
    let mode = mode_of(&metadata);
    if access == Access::OwnerOnly && mode & 0o077 != 0 {
        return Err(CredentialError::TooOpen { path, mode });
    }
    contents(file, path)
}

#[cfg(unix)]
fn mode_of(metadata: &std::fs::Metadata) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777
}

#[cfg(not(unix))]
fn mode_of(_: &std::fs::Metadata) -> u32 {
    0o600
}

fn contents(file: File, path: PathBuf) -> Result<Secret, CredentialError> {
    let mut bytes = Vec::new();
    if let Err(source) = file.take(MAX_CREDENTIAL_BYTES + 1).read_to_end(&mut bytes) {
        return Err(CredentialError::Io { path, source });
    }
    if bytes.len() as u64 > MAX_CREDENTIAL_BYTES {
        return Err(CredentialError::NoSecret { path, what: "too large" });
    }
    for end in [b'\n', b'\r'] {
        if bytes.last() == Some(&end) {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        return Err(CredentialError::NoSecret { path, what: "empty" });
    }
    Ok(Secret(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn put(folder: &Path, name: &str, secret: &[u8], mode: u32) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(name), secret).unwrap();
        fs::set_permissions(folder.join(name), Permissions::from_mode(mode)).unwrap();
    }

    fn name() -> Credential {
        Credential::new("noc-token").unwrap()
    }

    #[test]
    fn the_folder_of_systemd_comes_first() {
        let (base, system) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        put(&base.path().join("credentials"), "noc-token", b"beside\r\n", 0o600);
        put(system.path(), "noc-token", b"by systemd", 0o644);
        let env = Environment { credentials_directory: Some(system.path().into()) };
        assert_eq!(credential(&name(), base.path(), &env).unwrap().expose(), b"by systemd");
        let beside = credential(&name(), base.path(), &Environment::default()).unwrap();
        assert_eq!(beside.expose_text(), Some("beside"));
        assert_eq!(format!("{beside:?}"), "Secret");
    }

    #[test]
    fn a_folder_that_systemd_hands_over_is_known_by_its_word() {
        let (base, system) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let env = Environment { credentials_directory: Some(system.path().into()) };
        let key = base.path().join("credentials").join("broker.key");
        put(&base.path().join("credentials"), "broker.key", b"beside", 0o600);
        assert_eq!(secret_file(&key, base.path(), &env), key, "it was not handed over");
        put(system.path(), "vigil_noc-token", b"of a folder", 0o440);
        put(system.path(), "vigil_broker.key", b"of a folder", 0o440);
        assert_eq!(credential(&name(), base.path(), &env).unwrap().expose(), b"of a folder");
        assert_eq!(secret_file(&key, base.path(), &env), system.path().join("vigil_broker.key"));
        let elsewhere = base.path().join("tls").join("broker.key");
        assert_eq!(secret_file(&elsewhere, base.path(), &env), elsewhere);
        put(system.path(), "noc-token", b"by itself", 0o440);
        assert_eq!(credential(&name(), base.path(), &env).unwrap().expose(), b"by itself");
    }

    #[test]
    fn under_systemd_the_mend_is_the_units() {
        let (base, system) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let env = Environment { credentials_directory: Some(system.path().into()) };
        let error = credential(&name(), base.path(), &env).unwrap_err();
        assert!(matches!(error, CredentialError::NotHandedOver { .. }), "{error}");
        assert!(
            error.to_string().contains("credentials/noc-token")
                && error.to_string().contains("LoadCredential=")
        );
    }

    #[test]
    fn what_others_can_read_is_refused_with_the_mend() {
        let base = tempfile::tempdir().unwrap();
        put(&base.path().join("credentials"), "noc-token", b"x", 0o640);
        let error = credential(&name(), base.path(), &Environment::default()).unwrap_err();
        assert!(matches!(error, CredentialError::TooOpen { mode: 0o640, .. }));
        assert!(error.to_string().contains("chmod 0600"), "{error}");
    }

    #[test]
    fn nothing_empty_and_far_too_much_are_no_secrets() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("credentials");
        let error = || credential(&name(), base.path(), &Environment::default()).unwrap_err();
        assert!(matches!(error(), CredentialError::Missing { .. }));
        put(&folder, "noc-token", b"\n", 0o600);
        assert!(matches!(error(), CredentialError::NoSecret { what: "empty", .. }));
        put(&folder, "noc-token", &vec![b'x'; 65_537], 0o600);
        assert!(matches!(error(), CredentialError::NoSecret { what: "too large", .. }));
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        for bad in ["", "..", ".hidden", "a/b", "../x", "/etc/shadow", &"x".repeat(65)] {
            assert!(Credential::new(bad).is_none(), "{bad}");
        }
    }
}
