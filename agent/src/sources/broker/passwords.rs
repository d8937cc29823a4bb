//! The password file, in the format of `mosquitto_passwd`: `user:$7$iterations$salt$hash` (PBKDF2-HMAC-SHA512) or
//! `user:$6$salt$hash` (SHA-512 over password and salt).

use super::acl::is_user_name;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

/// What `mosquitto_passwd` uses; the passwords here are long and random, and a small ARM core checks 200 at dawn.
const ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(100);

/// The most iterations that are honoured: about half a second of a small ARM core, so that a file cannot stall it.
const MAX_ITERATIONS: u32 = 100_000;

/// The largest file that is read: 10,000 devices with 200 bytes each, twice over.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Salt bounds: below 8 bytes two users may share one; above 64 it is no salt.
const SALT_BYTES: std::ops::RangeInclusive<usize> = 8..=64;

/// The salt that is made here; `mosquitto_passwd` makes as much.
const NEW_SALT_BYTES: usize = 12;

/// A password file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// It cannot be read.
    #[error("cannot read the password file {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is too large to be one.
    #[error("the password file {} is larger than {MAX_FILE_BYTES} bytes", .0.display())]
    TooLarge(PathBuf),
    /// Some of its lines are wrong.
    #[error("{}", Lines(.0))]
    Invalid(Vec<Problem>),
    /// A user name that cannot be one.
    #[error("a user name has 1 to 64 characters and none of + # / :")]
    UserName,
    /// The system gives no random bytes.
    #[error("no random bytes for a salt")]
    Random,
}

/// A line that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {what}", file.display())]
pub struct Problem {
    /// In which file.
    pub file: PathBuf,
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong and what would be right.
    pub what: Flaw,
}

/// What can be wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// No colon.
    #[error("no user:hash; make the line with mosquitto_passwd")]
    Form,
    /// A user name that cannot be one.
    #[error("a user name has 1 to 64 characters and none of + # / :")]
    UserName,
    /// A user who was there already.
    #[error("this user has a line above; remove one")]
    Twice,
    /// Neither `$6$` nor `$7$`.
    #[error("the password is not hashed by SHA-512 or PBKDF2; make the line with mosquitto_passwd")]
    Scheme,
    /// Too few or too many iterations.
    #[error("the iterations must be 1 to {MAX_ITERATIONS}")]
    Iterations,
    /// A salt that is no base64 or of no sensible length.
    #[error("the salt must be base64 of 8 to 64 bytes")]
    Salt,
    /// A hash that is no base64 of 64 bytes.
    #[error("the hash must be base64 of 64 bytes")]
    Hash,
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Entry {
    /// `None` for the old scheme, one round of SHA-512.
    iterations: Option<NonZeroU32>,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

/// Everybody who may connect.
#[derive(Clone)]
pub struct Passwords {
    entries: BTreeMap<Box<str>, Entry>,
    /// What is verified for a user who does not exist, so that the answer takes as long; nothing hashes to it.
    decoy: Entry,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("users", &self.entries.len()).finish_non_exhaustive()
    }
}

impl Passwords {
    /// Reads a password file; names every wrong line at once.
    pub fn read(path: &Path) -> Result<Self, PasswordError> {
        let failed = |source| PasswordError::Read { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(failed)?.len() > MAX_FILE_BYTES {
            return Err(PasswordError::TooLarge(path.to_owned()));
        }
        Self::parse(path, &std::fs::read_to_string(path).map_err(failed)?)
    }

    /// Reads the text of a password file; `file` is its name in problems.
    pub fn parse(file: &Path, text: &str) -> Result<Self, PasswordError> {
        let mut entries = BTreeMap::new();
        let mut problems = Vec::new();
        let lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#'));
        for (i, line) in lines {
            let outcome = entry(line).and_then(|(user, entry)| match entries.insert(user, entry) {
                None => Ok(()),
                Some(_) => Err(Flaw::Twice),
            });
            if let Err(what) = outcome {
                problems.push(Problem { file: file.to_owned(), line: i + 1, what });
            }
        }
        if !problems.is_empty() {
            return Err(PasswordError::Invalid(problems));
        }
        let decoy = decoy_like(entries.values().next());
        Ok(Self { entries, decoy })
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody may connect.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether this is the user's password. Takes as long for a user who does not exist; not for the async threads.
    pub fn verify(&self, user: &str, password: &[u8]) -> bool {
        let known = self.entries.get(user);
        let right = known.unwrap_or(&self.decoy).verify(password);
        known.is_some() && right
    }
}

impl Entry {
    fn verify(&self, password: &[u8]) -> bool {
        match self.iterations {
            Some(n) => {
                pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA512, n, &self.salt, password, &self.hash).is_ok()
            }
            None => {
                let found = digest::digest(&digest::SHA512, &[password, &self.salt].concat());
                same(found.as_ref(), &self.hash)
            }
        }
    }
}

/// Compares in a time that does not depend on where the two differ.
fn same(found: &[u8], expected: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA512, found);
    hmac::verify(&key, expected, hmac::sign(&key, found).as_ref()).is_ok()
}

/// A line of a password file for a user, newly salted.
pub fn line(user: &str, password: &str) -> Result<String, PasswordError> {
    if !is_user_name(user) {
        return Err(PasswordError::UserName);
    }
    let mut salt = [0; NEW_SALT_BYTES];
    SystemRandom::new().fill(&mut salt).map_err(|_| PasswordError::Random)?;
    let mut hash = [0; digest::SHA512_OUTPUT_LEN];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, ITERATIONS, &salt, password.as_bytes(), &mut hash);
    Ok(format!("{user}:$7${ITERATIONS}${}${}", BASE64.encode(salt), BASE64.encode(hash)))
}

fn entry(line: &str) -> Result<(Box<str>, Entry), Flaw> {
    let (user, hashed) = line.trim_end().split_once(':').ok_or(Flaw::Form)?;
    if !is_user_name(user) {
        return Err(Flaw::UserName);
    }
    let fields: Vec<&str> = hashed.split('$').collect();
    let (iterations, salt, hash) = match fields.as_slice() {
        ["", "6", salt, hash] => (None, *salt, *hash),
        ["", "7", iterations, salt, hash] => (Some(rounds(iterations)?), *salt, *hash),
        _ => return Err(Flaw::Scheme),
    };
    let salt = BASE64.decode(salt).ok().filter(|s| SALT_BYTES.contains(&s.len())).ok_or(Flaw::Salt)?;
    let whole = |h: &Vec<u8>| h.len() == digest::SHA512_OUTPUT_LEN;
    let hash = BASE64.decode(hash).ok().filter(whole).ok_or(Flaw::Hash)?;
    Ok((user.into(), Entry { iterations, salt, hash }))
}

fn rounds(text: &str) -> Result<NonZeroU32, Flaw> {
    text.parse().ok().filter(|n: &NonZeroU32| n.get() <= MAX_ITERATIONS).ok_or(Flaw::Iterations)
}

fn decoy_like(entry: Option<&Entry>) -> Entry {
    let iterations = entry.map_or(Some(ITERATIONS), |e| e.iterations);
    Entry { iterations, salt: vec![0; NEW_SALT_BYTES], hash: vec![0; digest::SHA512_OUTPUT_LEN] }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by Debian's `mosquitto_passwd` 2.0.11 (`-U`, `-H sha512`, `-I 2000`).
    const FIXTURE: &str = "\
mira:$7$101$yFdTO8MESq/3gDhL$VAhqQdH/GeTAZC0PdIVpZOigi0JpD47BM/PReebJDrdR8DlwhHxBr6G4OBrdK7EMcwBAM8ycZIrAM+7q9t/P3Q==
reader-gate:$7$101$mVyW8f2y33vGWxb4$sfFkXBWjprgfKb5zDN5V4iNwcLDkDz+cFLgCZ9Q3Ae0E42aZLummJLo3FmIp1071eDq/30Wy9LeZwAzibQ+oUQ==

# the old scheme
tom:$6$e2G+pYDIrTnNsa6x$nA1RFRyTk+z4qesUY+p20faYbwp6N2gGOK2sTtgfEdzr9v/tcswysiXvWiKBjc14RvX4AY8LOGWEJk7ui9YIDw==
x:$7$2000$+H0oZZsbHXtDJEUV$RWAd9t060SzUiNvaseWHoB662jH96T7Pyoce0KBr9QBIMCAXOt/VSSdp1YXyliCJseU3Cu/jcYNxQNd/vkc5pQ==
";

    fn parse(text: &str) -> Result<Passwords, PasswordError> {
        Passwords::parse(Path::new("mqtt.passwd"), text)
    }

    #[test]
    fn a_file_of_mosquitto_passwd_is_understood() {
        let passwords = parse(FIXTURE).unwrap();
        assert_eq!(passwords.len(), 4);
        for (user, password) in
            [("mira", "secret-1"), ("reader-gate", "gate 2026"), ("tom", "old-hash"), ("x", "y")]
        {
            assert!(passwords.verify(user, password.as_bytes()), "{user}");
            assert!(!passwords.verify(user, b"secret-2"), "{user}");
            assert!(!passwords.verify(user, b""), "{user}");
        }
        assert!(!passwords.verify("nobody", b"secret-1"));
        assert!(!passwords.verify("", b""));
    }

    #[test]
    fn a_line_made_here_verifies_and_is_salted_anew() {
        let (one, two) = (line("mira", "geheim").unwrap(), line("mira", "geheim").unwrap());
        assert_ne!(one, two);
        assert!(parse(&one).unwrap().verify("mira", b"geheim"));
        assert!(!parse(&two).unwrap().verify("mira", b"geheim "));
        assert!(matches!(line("a/b", "x"), Err(PasswordError::UserName)));
    }

    #[test]
    fn every_wrong_line_is_named_with_its_number() {
        let good = FIXTURE.lines().next().unwrap();
        let (_, hash) = good.rsplit_once('$').unwrap();
        let text = format!(
            "{good}\nplain\na+b:{hash}\n{good}\nu:$1$abc$def\nv:$7$0$AAAAAAAAAAA=${hash}\n\
             w:$7$100001$AAAAAAAAAAA=${hash}\nx:$6$AAAA${hash}\ny:$6$AAAAAAAAAAA=$AAAA\nz:secret\n"
        );
        let Err(PasswordError::Invalid(problems)) = parse(&text) else { panic!("accepted") };
        let found: Vec<_> = problems.iter().map(|p| (p.line, p.what)).collect();
        let expected = [
            (2, Flaw::Form),
            (3, Flaw::UserName),
            (4, Flaw::Twice),
            (5, Flaw::Scheme),
            (6, Flaw::Iterations),
            (7, Flaw::Iterations),
            (8, Flaw::Salt),
            (9, Flaw::Hash),
            (10, Flaw::Scheme),
        ];
        assert_eq!(found, expected);
        assert!(problems[0].to_string().starts_with("mqtt.passwd:2: "));
    }

    #[test]
    fn an_unknown_user_is_verified_as_dearly_as_a_known_one() {
        assert_eq!(parse(FIXTURE).unwrap().decoy.iterations, NonZeroU32::new(101));
        assert_eq!(parse(FIXTURE.lines().nth(4).unwrap()).unwrap().decoy.iterations, None);
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn a_missing_file_says_which() {
        let error = Passwords::read(Path::new("/nowhere/mqtt.passwd")).unwrap_err();
        assert!(error.to_string().starts_with("cannot read the password file /nowhere/mqtt.passwd: "));
    }
}
