//! One configuration file while it is read: its lines, where each key stands, and what is wrong so far.

use crate::json;
use crate::problem::{Fault, Problem, Problems};
use crate::table::Table;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use vigil_core::policy::Invalid;

/// The largest configuration file. A site of 1,000 guards, devices and checkpoints takes about 300 KiB;
/// a file named by mistake must not fill the memory of a small box.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The longest piece of a value that is shown, in characters: it has to fit on a line beside its key.
const MAX_SHOWN_CHARS: usize = 80;

/// Where a key stands, and its value as it was written if that fits on a line.
#[derive(Debug, Clone)]
struct Place {
    line: usize,
    written: Option<String>,
}

/// A file while it is read.
#[derive(Debug)]
pub(crate) struct Sheet {
    file: PathBuf,
    line_starts: Vec<usize>,
    places: RefCell<BTreeMap<String, Place>>,
    /// The keys that were asked for, by the path of their table without indexes.
    known: RefCell<BTreeMap<String, BTreeSet<&'static str>>>,
    problems: RefCell<Vec<Problem>>,
    /// What is allowed and looks like a mistake.
    doubts: RefCell<Vec<Problem>>,
}

/// Reads a file, at most [`MAX_FILE_BYTES`] of it.
pub(crate) fn read_file(file: &Path) -> Result<Vec<u8>, Problem> {
    let unreadable =
        |why| Problem { file: file.into(), line: None, key: String::new(), fault: Fault::Unreadable(why) };
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|f| f.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|e| unreadable(format!("cannot be read ({e}); check the path and who may read it")))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable("larger than 1 MiB; this is no configuration file of Vigil".into()));
    }
    Ok(bytes)
}

impl Sheet {
    /// Parses `bytes` as the text of `file` and lets `shape` make something of its root table. What it
    /// made is a draft: it counts only if the sheet has no problem. `None` if the text is neither TOML nor JSON.
    pub(crate) fn read<T>(
        file: &Path,
        bytes: &[u8],
        shape: impl FnOnce(&Self, &mut Table<'_>) -> Option<T>,
    ) -> (Self, Option<T>) {
        let sheet = Self::new(file, bytes);
        let Some(text) = sheet.utf8(bytes) else { return (sheet, None) };
        let root = if json::is_meant(text) { sheet.json(text) } else { sheet.toml(text) };
        let draft = root.and_then(|root| {
            let mut table = Table::root(&sheet, root.get_ref());
            let draft = shape(&sheet, &mut table);
            table.finish();
            draft
        });
        (sheet, draft)
    }

    fn toml<'t>(&self, text: &'t str) -> Option<Spanned<DeTable<'t>>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let offset = error.span().map_or(text.len(), |span| span.start);
            self.syntax("TOML", text, offset, error.message());
        }
        errors.is_empty().then_some(root)
    }

    fn json<'t>(&self, text: &'t str) -> Option<Spanned<DeTable<'t>>> {
        let refuse = |why: json::NotJson| self.syntax("JSON", text, why.offset, &why.message);
        json::parse(text).map_err(refuse).ok()
    }

    /// The file, as it was named to the reader.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    fn new(file: &Path, bytes: &[u8]) -> Self {
        let breaks = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1);
        Self {
            file: file.into(),
            line_starts: std::iter::once(0).chain(breaks).collect(),
            places: RefCell::default(),
            known: RefCell::default(),
            problems: RefCell::default(),
            doubts: RefCell::default(),
        }
    }

    fn utf8<'t>(&self, bytes: &'t [u8]) -> Option<&'t str> {
        let error = match std::str::from_utf8(bytes) {
            Ok(text) => return Some(text),
            Err(error) => error,
        };
        let line = self.line_at(error.valid_up_to());
        self.push(Some(line), String::new(), Fault::Unreadable("not UTF-8; save the file as UTF-8".into()));
        None
    }

    fn syntax(&self, language: &'static str, text: &str, offset: usize, message: &str) {
        let offset = offset.min(text.len());
        let line = self.line_at(offset);
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let column = text.get(start..offset).map_or(0, |s| s.chars().count()) + 1;
        let message = message.replace('\n', ", ");
        self.push(Some(line), String::new(), Fault::Syntax { language, column, message });
    }

    /// The line, from 1, in which the byte at `offset` stands.
    fn line_at(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).max(1)
    }

    /// Remembers where `path` stands.
    pub(crate) fn place(&self, path: &str, offset: usize, value: &DeValue<'_>) {
        let place = Place { line: self.line_at(offset), written: written(value) };
        self.places.borrow_mut().insert(path.to_owned(), place);
    }

    /// Remembers that the table at `path` may have `key`.
    pub(crate) fn know(&self, path: &str, key: &'static str) {
        self.known.borrow_mut().entry(without_indexes(path)).or_default().insert(key);
    }

    /// The keys that the table at `path` may have.
    pub(crate) fn known(&self, path: &str) -> Vec<&'static str> {
        let known = self.known.borrow();
        known.get(&without_indexes(path)).map(|keys| keys.iter().copied().collect()).unwrap_or_default()
    }

    /// Notes that what stands at `path` is not allowed.
    pub(crate) fn refuse(&self, path: &str, found: impl Into<String>, allowed: impl Into<String>) {
        let fault = Fault::NotAllowed { found: found.into(), allowed: allowed.into() };
        self.push(self.line_of(path), path.to_owned(), fault);
    }

    /// Notes that what stands at `path` is not allowed, at a line of the caller's choice.
    pub(crate) fn refuse_at(&self, line: Option<usize>, path: &str, found: String, allowed: String) {
        let found = self.written_at(path).unwrap_or(found);
        self.push(line, path.to_owned(), Fault::NotAllowed { found, allowed });
    }

    /// Notes that what is written at `path` is not allowed.
    pub(crate) fn refuse_written(&self, path: &str, allowed: impl Into<String>) {
        let found = self.written_at(path).unwrap_or_else(|| "nothing".into());
        self.refuse(path, found, allowed);
    }

    /// Notes a key that nobody asked for.
    pub(crate) fn unknown_key(
        &self,
        path: String,
        offset: usize,
        nearest: Option<&'static str>,
        table: &str,
    ) {
        let fault = Fault::UnknownKey { nearest, known: self.known(table) };
        self.push(Some(self.line_at(offset)), path, fault);
    }

    /// Notes what the core found, unless it follows from a problem already noted there.
    pub(crate) fn refuse_all(&self, found: Vec<Invalid>) {
        for Invalid { path, found, allowed, .. } in found {
            if !self.is_in_doubt(&path) {
                self.refuse(&path, self.written_at(&path).unwrap_or(found), allowed);
            }
        }
    }

    /// Whether a problem is noted at `path` or below it.
    pub(crate) fn is_in_doubt(&self, path: &str) -> bool {
        let below =
            |key: &str| key.strip_prefix(path).is_some_and(|r| r.is_empty() || r.starts_with(['.', '[']));
        self.problems.borrow().iter().any(|p| below(&p.key))
    }

    /// The line of `path`, or of the nearest table around it.
    pub(crate) fn line_of(&self, path: &str) -> Option<usize> {
        let places = self.places.borrow();
        let mut path = path;
        loop {
            if let Some(place) = places.get(path) {
                return Some(place.line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    /// Notes something at `path` that is allowed and looks like a mistake.
    pub(crate) fn doubt(&self, path: &str, what: impl Into<String>) {
        let (file, line) = (self.file.clone(), self.line_of(path));
        let doubt = Problem { file, line, key: path.to_owned(), fault: Fault::Doubtful(what.into()) };
        self.doubts.borrow_mut().push(doubt);
    }

    /// What is allowed and looks like a mistake, in the order of lines.
    pub(crate) fn doubts(&self) -> Vec<Problem> {
        let mut doubts = self.doubts.borrow().clone();
        doubts.sort_by_key(|doubt| doubt.line);
        doubts
    }

    /// Every place of a key that is given without indexes, in order.
    pub(crate) fn written_below(&self, key: &str) -> Vec<String> {
        let places = self.places.borrow();
        let mut found: Vec<_> = places.iter().filter(|(path, _)| without_indexes(path) == key).collect();
        found.sort_by_key(|(_, place)| place.line);
        found.into_iter().map(|(path, _)| path.clone()).collect()
    }

    /// What is written at `path`, if it fits on a line.
    pub(crate) fn written_at(&self, path: &str) -> Option<String> {
        self.places.borrow().get(path).and_then(|place| place.written.clone())
    }

    fn push(&self, line: Option<usize>, key: String, fault: Fault) {
        self.problems.borrow_mut().push(Problem { file: self.file.clone(), line, key, fault });
    }

    /// Everything noted.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    /// The draft, if nothing is wrong with it.
    pub(crate) fn approve<T>((sheet, draft): (Self, Option<T>)) -> Result<T, Problems> {
        let file = sheet.file.clone();
        Problems::none_in(sheet.into_problems())?;
        draft.ok_or_else(|| Self::nothing_in(&file))
    }

    /// What is said of a file without a problem and without a draft: it cannot be, and is no panic.
    pub(crate) fn nothing_in(file: &Path) -> Problems {
        let fault = Fault::Unreadable("holds no configuration".into());
        Problem { file: file.into(), line: None, key: String::new(), fault }.into()
    }

    /// Every path that was asked for, without indexes.
    #[cfg(test)]
    pub(crate) fn every_known_path(&self) -> Vec<(String, &'static str)> {
        let known = self.known.borrow();
        known.iter().flat_map(|(table, keys)| keys.iter().map(|key| (table.clone(), *key))).collect()
    }
}

fn without_indexes(path: &str) -> String {
    let mut inside = false;
    let keep = |c: &char| {
        inside = (inside || *c == '[') && *c != ']';
        !inside && *c != ']'
    };
    path.chars().filter(keep).collect()
}

/// A value as it was written, if it fits on a line; a list or a table is shown by its kind.
fn written(value: &DeValue<'_>) -> Option<String> {
    match value {
        // A password in an address must not travel on into a log.
        DeValue::String(text) if text.contains("://") && text.contains('@') => {
            Some("an address with a name or password in it".into())
        }
        DeValue::String(text) if text.chars().count() > MAX_SHOWN_CHARS => {
            Some(format!("{:?}...", text.chars().take(MAX_SHOWN_CHARS).collect::<String>()))
        }
        DeValue::String(text) => Some(format!("{text:?}")),
        DeValue::Integer(n) => Some(n.to_string().chars().take(MAX_SHOWN_CHARS).collect()),
        DeValue::Float(n) => Some(n.to_string().chars().take(MAX_SHOWN_CHARS).collect()),
        DeValue::Boolean(b) => Some(b.to_string()),
        DeValue::Datetime(t) => Some(t.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// A value for a message: as it was written, or by its kind.
pub(crate) fn shown(value: &DeValue<'_>) -> String {
    let kind = || match value.as_array() {
        Some(list) => format!("a list of {}", list.len()),
        None => format!("a {}", value.type_str()),
    };
    written(value).unwrap_or_else(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_one() {
        let sheet = Sheet::new(Path::new("x"), b"a\nbb\n\nc");
        let lines: Vec<_> = (0..8).map(|offset| sheet.line_at(offset)).collect();
        assert_eq!(lines, [1, 1, 2, 2, 2, 3, 4, 4]);
    }

    #[test]
    fn a_syntax_error_has_line_and_column() {
        let (sheet, draft) = Sheet::read(Path::new("x.toml"), b"a = 1\nb = = 2\n", |_, _| Some(()));
        assert!(draft.is_none());
        let first = sheet.into_problems().remove(0);
        assert_eq!(first.line, Some(2));
        assert!(matches!(first.fault, Fault::Syntax { column: 5, .. }), "{first}");
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        assert!(!shown(&DeValue::String("mqtt://u:secret@host".into())).contains("secret"));
    }

    #[test]
    fn paths_lose_their_indexes() {
        assert_eq!(without_indexes("tours[12].start[0]"), "tours.start");
    }
}
