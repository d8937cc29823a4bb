//! The keys under which records are sealed. Each is a small file in the folder `db.keys` beside the database, so that
//! a database that is set aside leaves them where they are, and each seals the records of one day, or of one month of
//! those that are kept for long. A file is written before the first record under its key, and destroyed when no record is
//! left under it and its time is over: what the disk still holds of those records tells nothing any more.
//!
//! With a master key, a credential that does not lie on the same disk, the files are locked themselves.

use super::disk::DiskError;
use super::keyfile::{erase, make_folder, overwrite, write_file};
use super::keys::Kind;
use super::master::{Fingerprint, LOCKED, Masters};
use super::records::{Unreadable, decode, encode};
use super::seal::{self, KEY_BYTES};
use ring::aead::LessSafeKey;
use ring::error::Unspecified;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigil_core::time::{Span, Timestamp};

/// A key seals no more records than that: see `seal` for what it means to nonces. At 5,000 records a second, more than
/// any disk of a gateway makes durable, that is two and a half days.
const MOST_RECORDS: u64 = 1 << 30;
/// A key for what is kept for hours seals the records of a day,
const DAY: Span = Span::from_hours(24);
/// or of a third of the retention, if that is less: what was deleted is not to stay readable for much longer.
const PARTS: i64 = 3;
/// And one for what is kept 400 days those of a month.
const MONTH: Span = Span::from_hours(30 * 24);
/// How long alerts, runs and reports are kept (contract 2).
pub(super) const LONG_RETENTION: Span = Span::from_hours(400 * 24);
/// With so many keys no new one is made for the sake of time: 400 days of the longest retention are fewer.
const MOST_KEYS: usize = 1_000;
/// The secret is written twice, and no page of the disk holds both: one bad sector is not the loss of a day.
pub(super) const SLOT: usize = 4_096;
/// What is written takes less: some 100 bytes.
const RECORD: usize = 256;

/// For how long a record is kept, and so under which keys it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Class {
    /// For `[store] retention`.
    Short,
    /// For 400 days, or until the operations centre has it.
    Long,
}

impl Class {
    /// That of the record with this key; `None` if it is not sealed: counters and marks tell nothing of anybody.
    pub(super) fn of(place: &[u8]) -> Option<Self> {
        match Kind::of(place) {
            Some(Kind::Meta) => None,
            Some(
                Kind::Alert
                | Kind::Broker
                | Kind::Dead
                | Kind::Local
                | Kind::Outbox
                | Kind::Report
                | Kind::Run,
            ) => Some(Self::Long),
            Some(Kind::Journal | Kind::Prompt | Kind::Refusal | Kind::SetAside | Kind::Snapshot) | None => {
                Some(Self::Short)
            }
        }
    }
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// They are locked.
    #[error("the keys of the store in {0} are locked by a master key, and [store] credential names none")]
    NoMaster(PathBuf),
    /// They are locked by another key.
    #[error("the keys of the store in {0} are locked by another master key than that of [store] credential")]
    OtherMaster(PathBuf),
    /// A newer agent wrote them.
    #[error("{0} was written by a newer agent")]
    Newer(PathBuf),
    /// The folder or a file in it cannot be read.
    #[error("cannot use {path}: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What is written of a key.
#[derive(Serialize, Deserialize)]
struct Written {
    number: u32,
    class: Class,
    made_at: Timestamp,
    secret: Secret,
}

#[derive(Serialize, Deserialize)]
enum Secret {
    Bare([u8; KEY_BYTES]),
    /// Sealed under the master key with this fingerprint, for the place that its number, class and time make.
    Locked(Fingerprint, Vec<u8>),
}

/// A key.
#[derive(Debug)]
struct Held {
    key: LessSafeKey,
    class: Class,
    /// By a clock that may have been wrong.
    made_at: Timestamp,
    /// `None` if it is in memory only.
    file: Option<PathBuf>,
}

/// Every key that there is. Whoever reads has them as they are at that moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys(BTreeMap<u32, Arc<Held>>);

impl Keys {
    /// The record in its place. One that is not sealed is what it is; so is one whose key is not there, and whoever decodes
    /// it is told so.
    pub(super) fn open(&self, place: &[u8], bytes: &[u8]) -> Vec<u8> {
        let opened = |number| seal::open(&self.0.get(&number)?.key, place, bytes);
        seal::number_of(bytes).and_then(opened).unwrap_or_else(|| bytes.to_vec())
    }

    fn newest(&self, class: Class) -> Option<(u32, &Arc<Held>)> {
        self.0.iter().rev().find(|(_, held)| held.class == class).map(|(number, held)| (*number, held))
    }
}

/// The keys of a store, with what it takes to make further ones.
#[derive(Debug)]
pub(super) struct Keyring {
    /// Where their files lie; `None` if nothing is to be written.
    place: Option<PathBuf>,
    masters: Masters,
    keys: Arc<Keys>,
    /// Files that cannot be read, by the number in their name.
    unreadable: BTreeMap<u32, PathBuf>,
    /// No number up to this one is given to a new key.
    highest: u32,
    now: Timestamp,
    day: Span,
    /// Records sealed since the newest key of each class was made or found.
    sealed: [u64; 2],
    random: SystemRandom,
}

impl Default for Keyring {
    fn default() -> Self {
        Self {
            place: None,
            masters: Masters::default(),
            keys: Arc::default(),
            unreadable: BTreeMap::new(),
            highest: 0,
            now: Timestamp::default(),
            day: DAY,
            sealed: [0; 2],
            random: SystemRandom::new(),
        }
    }
}

impl Keyring {
    /// Whether there is no file of a key at all.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.0.is_empty() && self.unreadable.is_empty()
    }

    /// The keys beside the database in `folder`. Nothing is changed, and new ones are kept in memory.
    pub(super) fn read(folder: &Path, masters: &Masters) -> Result<Self, KeyringError> {
        let place = place_of(folder);
        let mut ring = Self { masters: masters.clone(), ..Self::default() };
        let problem = |source| KeyringError::Folder { path: place.clone(), source };
        let entries = match fs::read_dir(&place) {
            Ok(entries) => entries,
            Err(none) if none.kind() == ErrorKind::NotFound => return Ok(ring),
            Err(other) => return Err(problem(other)),
        };
        let mut files = BTreeMap::new();
        for entry in entries {
            let path = entry.map_err(problem)?.path();
            files.extend(number_in(&path).map(|number| (number, path)));
        }
        for (number, path) in files {
            ring.highest = ring.highest.max(number);
            ring.add(number, path)?;
        }
        Ok(ring)
    }

    fn add(&mut self, named: u32, path: PathBuf) -> Result<(), KeyringError> {
        // Whatever keeps a file from being read says nothing of what is in it: what it sealed is not lost by that.
        let written = match File::open(&path).and_then(|file| written_in(&file)) {
            Ok(Ok(written)) => written,
            Err(source) => return Err(KeyringError::Folder { path, source }),
            Ok(Err(Unreadable::Version(_))) => return Err(KeyringError::Newer(path)),
            Ok(Err(Unreadable::Short | Unreadable::Checksum | Unreadable::Locked | Unreadable::Body)) => {
                self.unreadable.insert(named, path);
                return Ok(());
            }
        };
        let Some(secret) = self.unlocked(&written, &path)? else {
            self.unreadable.insert(named, path);
            return Ok(());
        };
        // What is inside counts, whatever somebody made of the name.
        let Written { number, class, made_at, .. } = written;
        self.highest = self.highest.max(number);
        if let Ok(key) = seal::key(&secret) {
            let held = Arc::new(Held { key, class, made_at, file: Some(path) });
            Arc::make_mut(&mut self.keys).0.entry(number).or_insert(held);
        }
        Ok(())
    }

    /// The secret itself; `None` if it is damaged.
    fn unlocked(&self, written: &Written, path: &Path) -> Result<Option<[u8; KEY_BYTES]>, KeyringError> {
        let folder = || path.parent().unwrap_or(path).to_owned();
        match &written.secret {
            Secret::Bare(secret) => Ok(Some(*secret)),
            Secret::Locked(..) if self.masters.is_none() => Err(KeyringError::NoMaster(folder())),
            Secret::Locked(by, sealed) => {
                let master = self.masters.of(*by).ok_or_else(|| KeyringError::OtherMaster(folder()))?;
                let opened = seal::open(master, &place_of_secret(written), sealed);
                Ok(opened.and_then(|secret| secret.try_into().ok()))
            }
        }
    }

    /// From now on the files beside the database in `folder` follow what happens: those that nobody finished go, and those
    /// that are not locked by the master key in force are locked.
    pub(super) fn take_up(&mut self, folder: &Path) -> Result<(), DiskError> {
        let place = place_of(folder);
        let problem = |source| DiskError::Folder { path: place.clone(), source };
        if place.exists() {
            for entry in fs::read_dir(&place).map_err(problem)? {
                let path = entry.map_err(problem)?.path();
                if path.extension() == Some(OsStr::new("new")) {
                    // A scrap of what was never a key is in nobody's way.
                    if let Err(why) = erase(&path) {
                        tracing::warn!(path = %path.display(), %why, "what was to be a key cannot be removed");
                    }
                }
            }
        }
        self.lock_what_is_open().map_err(problem)?;
        self.place = Some(place);
        Ok(())
    }

    fn lock_what_is_open(&self) -> io::Result<()> {
        let Some((fingerprint, _)) = self.masters.in_force() else { return Ok(()) };
        for (number, held) in &self.keys.0 {
            let Some(path) = &held.file else { continue };
            let mut old = OpenOptions::new().read(true).write(true).open(path)?;
            let Ok(written) = written_in(&old)? else { continue };
            if matches!(written.secret, Secret::Locked(by, _) if by == fingerprint) {
                continue;
            }
            let Ok(Some(secret)) = self.unlocked(&written, path) else { continue };
            write_file(path, &self.written(*number, held.class, held.made_at, &secret)?)?;
            // The name leads to the new file; what the old one held is still on the disk.
            overwrite(&mut old)?;
            tracing::info!(key = number, "a key of the store is locked by the master key now");
        }
        Ok(())
    }

    /// The bytes of a key's file.
    fn written(
        &self,
        number: u32,
        class: Class,
        made_at: Timestamp,
        secret: &[u8; KEY_BYTES],
    ) -> io::Result<Vec<u8>> {
        let mut written = Written { number, class, made_at, secret: Secret::Bare(*secret) };
        if let Some((by, master)) = self.masters.in_force() {
            let place = place_of_secret(&written);
            let sealed = seal::seal((LOCKED, master), &place, secret, &self.random).map_err(no_random)?;
            written.secret = Secret::Locked(by, sealed);
        }
        let record = encode(&written).map_err(io::Error::other)?;
        let mut file = vec![0; 2 * SLOT];
        for slot in file.chunks_mut(SLOT) {
            let length = u16::try_from(record.len()).map_err(io::Error::other)?.to_be_bytes();
            slot.iter_mut().zip(length.iter().chain(&record)).for_each(|(to, from)| *to = *from);
        }
        Ok(file)
    }

    /// What time it is: keys that are due by that are replaced with the next record.
    pub(super) const fn tell(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// How long observations are kept.
    pub(super) fn keep_for(&mut self, retention: Span) {
        self.day = DAY.min(Span::from_millis(retention.millis() / PARTS));
    }

    /// That records name this key: no other one gets its number.
    pub(super) fn note(&mut self, number: u32) {
        self.highest = self.highest.max(number);
    }

    /// What they are locked with.
    pub(super) fn masters(&self) -> Masters {
        self.masters.clone()
    }

    /// The keys as they are now.
    pub(super) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys)
    }

    /// The record as it is to lie in its place. A key that is made for it is on stable storage before that.
    pub(super) fn seal(&mut self, place: &[u8], record: Vec<u8>) -> Result<Vec<u8>, DiskError> {
        let Some(class) = Class::of(place) else { return Ok(record) };
        let [short, long] = self.sealed;
        let sealed = if class == Class::Short { short } else { long };
        let due = self.keys.newest(class).is_none_or(|(_, held)| self.is_due(held, sealed));
        if due {
            self.make(class)?;
        }
        let sealed = if due { 1 } else { sealed + 1 };
        self.sealed = if class == Class::Short { [sealed, long] } else { [short, sealed] };
        let newest = self.keys.newest(class).ok_or(Unspecified);
        let record =
            newest.and_then(|(number, held)| seal::seal((number, &held.key), place, &record, &self.random));
        record.map_err(|none| DiskError::Engine(no_random(none).to_string()))
    }

    /// Replaces keys that are due though nothing is written: the last records of a site that has fallen silent are to
    /// lose theirs as well.
    pub(super) fn renew(&mut self) -> Result<(), DiskError> {
        for class in [Class::Short, Class::Long] {
            if self.keys.newest(class).is_some_and(|(_, held)| self.is_due(held, 0)) {
                self.make(class)?;
            }
        }
        Ok(())
    }

    fn make(&mut self, class: Class) -> Result<(), DiskError> {
        let problem = |source| DiskError::Folder { path: self.place.clone().unwrap_or_default(), source };
        let (number, held) = self.made(class).map_err(problem)?;
        Arc::make_mut(&mut self.keys).0.insert(number, Arc::new(held));
        self.highest = number;
        Ok(())
    }

    /// Whether it has sealed enough: for its time, or at all.
    fn is_due(&self, newest: &Held, sealed: u64) -> bool {
        let time = match newest.class {
            Class::Short => self.day,
            Class::Long => MONTH,
        };
        sealed >= MOST_RECORDS || (self.apart(newest.made_at) >= time && self.keys.0.len() < MOST_KEYS)
    }

    /// How far an instant is from now, either way: the clock may have been wrong, and may have been set back.
    fn apart(&self, at: Timestamp) -> Span {
        self.now.since(at).max(at.since(self.now))
    }

    fn made(&self, class: Class) -> io::Result<(u32, Held)> {
        let number =
            self.highest.checked_add(1).ok_or_else(|| io::Error::other("no number is left for a key"))?;
        let mut secret = [0; KEY_BYTES];
        self.random.fill(&mut secret).map_err(no_random)?;
        let key = seal::key(&secret).map_err(no_random)?;
        let made_at = self.now;
        let file = match &self.place {
            None => None,
            Some(place) => {
                make_folder(place)?;
                let path = place.join(format!("{number:08}.key"));
                write_file(&path, &self.written(number, class, made_at, &secret)?)?;
                Some(path)
            }
        };
        Ok((number, Held { key, class, made_at, file }))
    }

    /// The keys under which nothing new is sealed, and whose records are past their time as a rule.
    pub(super) fn aged(&self, retention: Span) -> BTreeMap<u32, Class> {
        let newest =
            [Class::Short, Class::Long].map(|class| self.keys.newest(class).map(|(number, _)| number));
        let aged = self.keys.0.iter().filter(|(number, held)| {
            let time = match held.class {
                Class::Short => retention,
                Class::Long => LONG_RETENTION,
            };
            !newest.contains(&Some(**number)) && self.apart(held.made_at) >= time
        });
        aged.map(|(number, held)| (*number, held.class)).collect()
    }

    /// Destroys a key under which no record is left; on return nothing of it is in its file. One that cannot be destroyed
    /// is kept, and holds up nothing: the next pass tries again.
    pub(super) fn destroy(&mut self, number: u32) {
        if let Some(path) = self.keys.0.get(&number).and_then(|held| held.file.as_ref())
            && let Err(why) = erase(path)
        {
            tracing::error!(path = %path.display(), %why, "a key whose time is over cannot be destroyed; it is tried again");
            return;
        }
        Arc::make_mut(&mut self.keys).0.remove(&number);
        tracing::info!(key = number, "a key of the store is destroyed: no record is under it any more");
    }

    /// Files that cannot be read: those that no record needs go, the others are lost and said to be.
    pub(super) fn settle_unreadable(&mut self, used: &BTreeSet<u32>) {
        for (number, path) in std::mem::take(&mut self.unreadable) {
            if used.contains(&number) {
                tracing::error!(path = %path.display(), "a key of the store cannot be read: what it sealed is lost");
            } else if self.place.is_some()
                && let Err(why) = erase(&path)
            {
                // It is in nobody's way.
                tracing::warn!(path = %path.display(), %why, "a file that was a key cannot be removed");
            }
        }
    }
}

/// Where the keys of the database in `folder` lie.
pub(super) fn place_of(folder: &Path) -> PathBuf {
    folder.with_extension("keys")
}

/// Whether any file of a key lies beside the database in `folder`.
pub(super) fn has_any(folder: &Path) -> bool {
    let files = fs::read_dir(place_of(folder)).into_iter().flatten();
    files.flatten().any(|entry| number_in(&entry.path()).is_some())
}

fn number_in(path: &Path) -> Option<u32> {
    let named = path.extension() == Some(OsStr::new("key"));
    path.file_stem().filter(|_| named)?.to_str()?.parse().ok()
}

/// What is written in the first slot, or else in the second. A file that cannot be read at the moment is no damaged one.
fn written_in(file: &File) -> io::Result<Result<Written, Unreadable>> {
    match read_slot(file, 0)? {
        Ok(written) => Ok(Ok(written)),
        Err(_) => read_slot(file, SLOT as u64),
    }
}

fn read_slot(file: &File, at: u64) -> io::Result<Result<Written, Unreadable>> {
    let mut bytes = [0; RECORD];
    match file.read_exact_at(&mut bytes, at) {
        Ok(()) => Ok(written(&bytes)),
        Err(short) if short.kind() == ErrorKind::UnexpectedEof => Ok(Err(Unreadable::Short)),
        Err(other) => Err(other),
    }
}

fn written(bytes: &[u8]) -> Result<Written, Unreadable> {
    let (length, rest) = bytes.split_first_chunk().ok_or(Unreadable::Short)?;
    decode(rest.get(..usize::from(u16::from_be_bytes(*length))).ok_or(Unreadable::Short)?)
}

/// What a locked secret is sealed with, so that it cannot be passed off as that of another key.
fn place_of_secret(written: &Written) -> Vec<u8> {
    let class = match written.class {
        Class::Short => b'S',
        Class::Long => b'L',
    };
    [&written.number.to_be_bytes()[..], &[class], &written.made_at.millis().to_be_bytes()].concat()
}

fn no_random(_: Unspecified) -> io::Error {
    io::Error::other("the system gives no random numbers")
}
