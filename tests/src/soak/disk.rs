//! A disk under a run, and what may be on it after the power failed.
//!
//! What a file was told before its last `fsync` or `fdatasync` came back is there. Of everything after, each write by
//! itself may be there, or not, or in some of its sectors, or only as the length that it gave the file. So a later
//! write may be there without an earlier one, which is what reordering comes to. A name given, changed or taken is
//! there for certain only after an `fsync` of its folder. `sync_file_range` promises nothing.

use super::trace::Call;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use vigil_agent::simulate::Chance;

/// What a disk writes as a whole; one of these for each power cut.
const SECTORS: [usize; 2] = [512, 4_096];

/// What was done to a file.
#[derive(Debug)]
enum Done {
    Write(usize, Vec<u8>),
    Length(usize),
}

/// A change with the lines between which it happened.
#[derive(Debug)]
struct Change<T> {
    start: usize,
    end: Option<usize>,
    what: T,
}

/// What makes changes last, with the lines between which it did.
#[derive(Debug, Default)]
struct Syncs(Vec<(usize, usize)>);

impl Syncs {
    /// Whether what came back at `end` is on stable storage at `cut`.
    fn hold(&self, end: Option<usize>, cut: usize) -> bool {
        end.is_some_and(|end| self.0.iter().any(|(began, done)| end < *began && *done <= cut))
    }
}

/// A file, under whatever name.
#[derive(Debug, Default)]
struct Inode {
    base: Vec<u8>,
    changes: Vec<Change<Done>>,
    syncs: Syncs,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

/// What was done to the names of a folder.
#[derive(Debug)]
enum Naming {
    Given(PathBuf, Node),
    Changed(PathBuf, PathBuf, Node),
    Taken(PathBuf),
}

/// Everything that happened to one folder, its files, and the folders in it.
#[derive(Debug, Default)]
pub struct Disk {
    inodes: Vec<Inode>,
    base: BTreeMap<PathBuf, Node>,
    namings: Vec<Change<Naming>>,
    folders: BTreeMap<PathBuf, Syncs>,
    /// The line of each acknowledgement, and what is acknowledged.
    acknowledged: Vec<(usize, u64)>,
    lines: usize,
}

/// An open file.
#[derive(Debug, Clone)]
struct Descriptor {
    path: PathBuf,
    node: Node,
    position: usize,
}

/// How much of what is not certain survives a power cut.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Nothing,
    Everything,
    Chance,
}

impl Disk {
    /// The disk of a run that began with what is in `folder` now.
    pub fn before(folder: &Path) -> Result<Self, String> {
        let mut disk = Self::default();
        disk.adopt(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(disk)
    }

    fn adopt(&mut self, folder: &Path) -> std::io::Result<()> {
        self.folders.insert(folder.to_owned(), Syncs::default());
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                self.base.insert(path.clone(), Node::Folder);
                self.adopt(&path)?;
            } else {
                let node = self.new_file(fs::read(&path)?);
                self.base.insert(path, node);
            }
        }
        Ok(())
    }

    fn new_file(&mut self, base: Vec<u8>) -> Node {
        self.inodes.push(Inode { base, ..Inode::default() });
        Node::File(self.inodes.len() - 1)
    }

    /// Lives through a recorded run.
    pub fn live(&mut self, calls: &[Call]) -> Result<(), String> {
        let mut names = self.base.clone();
        let mut open: BTreeMap<i64, Descriptor> = BTreeMap::new();
        for call in calls.iter().filter(|call| call.answer.is_none_or(|answer| answer >= 0)) {
            self.lines = self.lines.max(call.end.unwrap_or(call.start) + 1);
            match call.name.as_str() {
                "openat" => self.on_open(call, &mut names, &mut open)?,
                "close" => drop(open.remove(&call.number(0)?)),
                "write" | "pwrite64" => self.on_write(call, &mut open)?,
                "ftruncate" => {
                    let length = usize::try_from(call.number(1)?).map_err(|e| e.to_string())?;
                    self.change(call, open.get(&call.number(0)?), Done::Length(length));
                }
                "fsync" | "fdatasync" => self.on_sync(call, open.get(&call.number(0)?)),
                "mkdir" => {
                    let path = call.path(0)?;
                    if self.holds(&path) {
                        self.folders.insert(path.clone(), Syncs::default());
                        self.name(call, Naming::Given(path, Node::Folder), &mut names);
                    }
                }
                "rename" => {
                    let (from, to) = (call.path(0)?, call.path(1)?);
                    if let Some(node) = names.get(&from).copied() {
                        self.name(call, Naming::Changed(from, to, node), &mut names);
                        for (path, _) in names.iter().filter(|(_, node)| **node == Node::Folder) {
                            self.folders.entry(path.clone()).or_default();
                        }
                    }
                }
                "unlink" => {
                    let path = call.path(0)?;
                    if names.contains_key(&path) {
                        self.name(call, Naming::Taken(path), &mut names);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the path lies in a folder of this disk.
    fn holds(&self, path: &Path) -> bool {
        path.parent().is_some_and(|parent| self.folders.contains_key(parent))
    }

    fn name(&mut self, call: &Call, what: Naming, names: &mut BTreeMap<PathBuf, Node>) {
        apply(&what, names);
        self.namings.push(Change { start: call.start, end: call.end, what });
    }

    fn on_open(
        &mut self,
        call: &Call,
        names: &mut BTreeMap<PathBuf, Node>,
        open: &mut BTreeMap<i64, Descriptor>,
    ) -> Result<(), String> {
        let (path, flags) = (call.path(1)?, call.word(2));
        let Some(number) = call.answer else { return Ok(()) };
        if self.folders.contains_key(&path) {
            open.insert(number, Descriptor { path, node: Node::Folder, position: 0 });
            return Ok(());
        }
        let known = names.get(&path).copied();
        let node = match known {
            Some(node) => node,
            None if flags.contains("O_CREAT") && self.holds(&path) => {
                let node = self.new_file(vec![]);
                self.name(call, Naming::Given(path.clone(), node), names);
                node
            }
            None => {
                open.remove(&number);
                return Ok(());
            }
        };
        let descriptor = Descriptor { path, node, position: 0 };
        if known.is_some() && flags.contains("O_TRUNC") {
            self.change(call, Some(&descriptor), Done::Length(0));
        }
        open.insert(number, descriptor);
        Ok(())
    }

    fn on_write(&mut self, call: &Call, open: &mut BTreeMap<i64, Descriptor>) -> Result<(), String> {
        let (number, mut bytes) = (call.number(0)?, call.bytes(1)?);
        if let Some(written) = call.answer.and_then(|n| usize::try_from(n).ok()) {
            bytes = bytes.get(..written).unwrap_or(bytes);
        }
        if number == 1 {
            let said = String::from_utf8_lossy(bytes);
            let numbers = said.lines().filter_map(|line| line.strip_prefix("ack ")?.parse().ok());
            self.acknowledged.extend(numbers.map(|n: u64| (call.start, n)));
            return Ok(());
        }
        let Some(descriptor) = open.get_mut(&number) else { return Ok(()) };
        let at = match call.name.as_str() {
            "pwrite64" => usize::try_from(call.number(3)?).map_err(|e| e.to_string())?,
            _ => descriptor.position,
        };
        if call.name == "write" {
            descriptor.position += bytes.len();
        }
        let descriptor = descriptor.clone();
        self.change(call, Some(&descriptor), Done::Write(at, bytes.to_vec()));
        Ok(())
    }

    fn change(&mut self, call: &Call, file: Option<&Descriptor>, what: Done) {
        let Some(Descriptor { node: Node::File(inode), .. }) = file else { return };
        if let Some(inode) = self.inodes.get_mut(*inode) {
            inode.changes.push(Change { start: call.start, end: call.end, what });
        }
    }

    fn on_sync(&mut self, call: &Call, file: Option<&Descriptor>) {
        let (Some(file), Some(end)) = (file, call.end) else { return };
        let syncs = match file.node {
            Node::Folder => self.folders.get_mut(&file.path),
            Node::File(inode) => self.inodes.get_mut(inode).map(|inode| &mut inode.syncs),
        };
        if let Some(syncs) = syncs {
            syncs.0.push((call.start, end));
        }
    }

    /// How many lines the recording has: a power cut comes before one of them.
    pub const fn lines(&self) -> usize {
        self.lines
    }

    /// The last commit that had been acknowledged when the power failed at `cut`.
    pub fn acknowledged(&self, cut: usize) -> Option<u64> {
        self.acknowledged.iter().filter(|(line, _)| *line < cut).map(|(_, n)| *n).max()
    }

    /// Writes what may be left after a power cut at `cut`; the names are taken from `root` and put into `into`.
    pub fn image(&self, cut: usize, chance: &mut Chance, root: &Path, into: &Path) -> std::io::Result<()> {
        let fate = match super::below(chance, 8) {
            0 => Fate::Nothing,
            1 => Fate::Everything,
            _ => Fate::Chance,
        };
        let sector = SECTORS.get(super::below(chance, SECTORS.len())).copied().unwrap_or(512);
        let mut names = self.base.clone();
        for naming in self.namings.iter().filter(|naming| naming.start < cut) {
            let path = match &naming.what {
                Naming::Given(path, _) | Naming::Changed(_, path, _) | Naming::Taken(path) => path,
            };
            let folder = path.parent().and_then(|parent| self.folders.get(parent));
            if folder.is_some_and(|f| f.hold(naming.end, cut)) || survives(fate, chance) {
                apply(&naming.what, &mut names);
            }
        }
        let mut made = BTreeSet::from([root.to_owned()]);
        for (path, node) in &names {
            // A file whose folder is gone is gone. Folders come before what is in them.
            if !path.parent().is_some_and(|parent| made.contains(parent)) {
                continue;
            }
            let place = into.join(path.strip_prefix(root).unwrap_or(path));
            match node {
                Node::Folder => {
                    made.insert(path.clone());
                    fs::create_dir_all(place)?;
                }
                Node::File(inode) => {
                    let left = self.inodes.get(*inode).map(|inode| inode.left(cut, fate, sector, chance));
                    fs::write(place, left.unwrap_or_default())?;
                }
            }
        }
        Ok(())
    }
}

impl Inode {
    /// What may be in it after a power cut.
    fn left(&self, cut: usize, fate: Fate, sector: usize, chance: &mut Chance) -> Vec<u8> {
        let mut content = self.base.clone();
        for change in self.changes.iter().filter(|change| change.start < cut) {
            let certain = self.syncs.hold(change.end, cut);
            match &change.what {
                Done::Length(length) if certain || survives(fate, chance) => content.resize(*length, 0),
                Done::Length(_) => {}
                Done::Write(at, bytes) if certain => put(&mut content, *at, bytes),
                Done::Write(at, bytes) => part(&mut content, *at, bytes, fate, sector, chance),
            }
        }
        content
    }
}

fn survives(fate: Fate, chance: &mut Chance) -> bool {
    match fate {
        Fate::Nothing => false,
        Fate::Everything => true,
        Fate::Chance => chance.happens(0.5),
    }
}

/// A write that nothing has made certain: gone, there, torn, or no more than a length.
fn part(content: &mut Vec<u8>, at: usize, bytes: &[u8], fate: Fate, sector: usize, chance: &mut Chance) {
    match (fate, super::below(chance, 4)) {
        (Fate::Nothing, _) | (Fate::Chance, 0) => {}
        (Fate::Everything, _) | (Fate::Chance, 1) => put(content, at, bytes),
        (Fate::Chance, 2) => content.resize(content.len().max(at + bytes.len()), 0),
        (Fate::Chance, _) => {
            let mut done = 0;
            while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
                let whole = (sector - (at + done) % sector).min(rest.len());
                if chance.happens(0.5) {
                    put(content, at + done, rest.get(..whole).unwrap_or(rest));
                }
                done += whole;
            }
        }
    }
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(place) = content.get_mut(at..end) {
        place.copy_from_slice(bytes);
    }
}

fn apply(naming: &Naming, names: &mut BTreeMap<PathBuf, Node>) {
    match naming {
        Naming::Given(path, node) => drop(names.insert(path.clone(), *node)),
        Naming::Changed(from, to, node) => {
            names.remove(from);
            names.insert(to.clone(), *node);
            let moved: Vec<_> = names.keys().filter(|path| path.starts_with(from)).cloned().collect();
            for path in moved {
                let place = path.strip_prefix(from).map(|rest| to.join(rest));
                if let (Some(node), Ok(place)) = (names.remove(&path), place) {
                    names.insert(place, node);
                }
            }
        }
        Naming::Taken(path) => drop(names.remove(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::trace::Argument;

    fn call(at: usize, name: &str, arguments: Vec<Argument>, answer: i64) -> Call {
        Call { start: at, end: Some(at), name: name.into(), arguments, answer: Some(answer) }
    }

    fn word(text: impl ToString) -> Argument {
        Argument::Word(text.to_string())
    }

    fn text(text: &str) -> Argument {
        Argument::Bytes(text.as_bytes().to_vec())
    }

    /// Two writes with a sync between them, the folder synced or not.
    fn lived(folder: &Path, folder_synced: bool) -> Disk {
        let (file, place) = (folder.join("f"), folder.to_str().unwrap());
        let open = |at, path: &str, number| {
            call(at, "openat", vec![word("AT_FDCWD"), text(path), word("O_RDWR|O_CREAT")], number)
        };
        let write = |at, what, offset: usize| {
            call(at, "pwrite64", vec![word(5), text(what), word(4), word(offset)], 4)
        };
        let mut calls = vec![open(0, file.to_str().unwrap(), 5), write(1, "AAAA", 0)];
        calls.push(call(2, "fdatasync", vec![word(5)], 0));
        calls.push(open(3, place, 6));
        if folder_synced {
            calls.push(call(4, "fsync", vec![word(6)], 0));
        }
        calls.push(call(5, "sync_file_range", vec![word(5)], 0));
        calls.push(write(6, "BBBB", 2));
        calls.push(call(7, "sync_file_range", vec![word(5)], 0));
        calls.push(call(8, "write", vec![word(1), text("ack 3\n"), word(6)], 6));
        let mut disk = Disk::before(folder).unwrap();
        disk.live(&calls).unwrap();
        disk
    }

    fn images(disk: &Disk, root: &Path, cut: usize) -> BTreeSet<Option<Vec<u8>>> {
        let image = |n| {
            let into = tempfile::tempdir().unwrap();
            disk.image(cut, &mut Chance::of(1, n), root, into.path()).unwrap();
            fs::read(into.path().join("f")).ok()
        };
        (0..200).map(image).collect()
    }

    #[test]
    fn what_was_synced_is_there_and_the_rest_may_be() {
        let root = tempfile::tempdir().unwrap();
        let disk = lived(root.path(), true);
        let left = images(&disk, root.path(), disk.lines());
        let possible = [&b"AAAA"[..], b"AABBBB", b"AAAA\0\0"].map(|bytes| Some(bytes.to_vec()));
        assert_eq!(left, BTreeSet::from(possible));
        assert_eq!((disk.acknowledged(8), disk.acknowledged(9)), (None, Some(3)));
    }

    #[test]
    fn a_file_whose_folder_was_not_synced_may_be_gone() {
        let root = tempfile::tempdir().unwrap();
        let disk = lived(root.path(), false);
        assert!(images(&disk, root.path(), disk.lines()).contains(&None));
        assert_eq!(images(&disk, root.path(), 0), BTreeSet::from([None]));
    }
}
