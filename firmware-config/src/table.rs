//! One table of a file: keys are taken out with a parser each; what nobody took is unknown.

use crate::sheet::{Sheet, shown};
use crate::value::{Mismatch, Read};
use std::str::FromStr;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// What stands in for an id that cannot be read. A file with a problem is never handed out, so nobody
/// gets to see it; with it the checks of the whole still run over everything else.
const STAND_IN_ID: &str = "unreadable";

/// A table of a file while it is read. Absent tables read like empty ones.
pub(crate) struct Table<'d> {
    sheet: &'d Sheet,
    path: String,
    entries: Option<&'d DeTable<'d>>,
}

impl<'d> Table<'d> {
    /// The table that the file is.
    pub(crate) fn root(sheet: &'d Sheet, entries: &'d DeTable<'d>) -> Self {
        Self { sheet, path: String::new(), entries: Some(entries) }
    }

    /// The path of one of its keys.
    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Whether `key` is written.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(key))
    }

    fn take(&mut self, key: &'static str) -> Option<&'d DeValue<'d>> {
        self.sheet.know(&self.path, key);
        let (name, value) = self.entries?.get_key_value(key)?;
        self.sheet.place(&self.path_of(key), name.span().start, value.get_ref());
        Some(value.get_ref())
    }

    fn parsed<T>(
        &self,
        path: &str,
        value: &DeValue<'_>,
        parse: impl Fn(&DeValue<'_>) -> Read<T>,
    ) -> Option<T> {
        let refuse = |Mismatch { allowed }| self.sheet.refuse(path, shown(value), allowed);
        parse(value).map_err(refuse).ok()
    }

    /// The value of `key`, if it is written and allowed.
    pub(crate) fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&DeValue<'_>) -> Read<T>,
    ) -> Option<T> {
        let value = self.take(key)?;
        self.parsed(&self.path_of(key), value, parse)
    }

    /// The value of `key`, which must be written; `stand_in` lets the reading go on if it is not.
    pub(crate) fn required<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&DeValue<'_>) -> Read<T>,
        stand_in: T,
    ) -> T {
        if !self.has(key) {
            self.missing(key, allowed_by(&parse));
        }
        self.optional(key, parse).unwrap_or(stand_in)
    }

    /// The id at `key`, which must be written. `Some` in every case, see [`STAND_IN_ID`].
    pub(crate) fn id<K: FromStr>(&mut self, key: &'static str) -> Option<K> {
        self.required(key, |v| crate::value::id(v).map(Some), K::from_str(STAND_IN_ID).ok())
    }

    /// Notes that `key` must be written.
    pub(crate) fn missing(&mut self, key: &'static str, allowed: impl Into<String>) {
        self.sheet.know(&self.path, key);
        self.sheet.refuse(&self.path_of(key), "nothing", allowed);
    }

    /// Notes that `key`, if it is written, has no business here.
    pub(crate) fn forbid(&mut self, key: &'static str, allowed: &str) {
        if let Some(value) = self.take(key) {
            self.sheet.refuse(&self.path_of(key), shown(value), allowed);
        }
    }

    /// Whether `key` is written, but a problem is noted at it: then nothing should be said that hangs on it.
    pub(crate) fn is_in_doubt(&self, key: &str) -> bool {
        self.has(key) && self.sheet.is_in_doubt(&self.path_of(key))
    }

    /// Lets `keys` stand as they are.
    pub(crate) fn overlook(&self, keys: &[&'static str]) {
        for key in keys {
            self.sheet.know(&self.path, key);
        }
    }

    fn array(&mut self, key: &'static str, allowed: &str) -> Option<&'d DeArray<'d>> {
        let value = self.take(key)?;
        if value.as_array().is_none() {
            self.sheet.refuse(&self.path_of(key), shown(value), allowed);
        }
        value.as_array()
    }

    /// Every element of the list at `key`; `None` if it is not written.
    pub(crate) fn list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&DeValue<'_>) -> Read<T>,
    ) -> Option<Vec<T>> {
        Some(self.elements(key, parse)?.into_iter().flatten().collect())
    }

    /// The ids in the list at `key`, each at its place: see [`STAND_IN_ID`].
    pub(crate) fn ids<K: FromStr>(&mut self, key: &'static str) -> Vec<K> {
        let ids = self.elements(key, crate::value::id).unwrap_or_default();
        ids.into_iter().filter_map(|id| id.or_else(|| K::from_str(STAND_IN_ID).ok())).collect()
    }

    fn elements<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&DeValue<'_>) -> Read<T>,
    ) -> Option<Vec<Option<T>>> {
        let array = self.array(key, "a list in [ ]")?;
        let path = self.path_of(key);
        let elements = array.iter().enumerate().map(|(i, element)| {
            let path = format!("{path}[{i}]");
            self.sheet.place(&path, element.span().start, element.get_ref());
            self.parsed(&path, element.get_ref(), &parse)
        });
        Some(elements.collect())
    }

    /// The table at `key`; an empty one if it is not written.
    pub(crate) fn table(&mut self, key: &'static str) -> Self {
        let path = self.path_of(key);
        let value = self.take(key);
        if let Some(value) = value.filter(|v| !v.is_table()) {
            self.sheet.refuse(&path, shown(value), "a table");
        }
        Self { sheet: self.sheet, path, entries: value.and_then(DeValue::as_table) }
    }

    /// The table at `key`; `None` if it is not written.
    pub(crate) fn optional_table(&mut self, key: &'static str) -> Option<Self> {
        let table = self.table(key);
        table.entries.is_some().then_some(table)
    }

    /// What `shape` makes of every table of the list at `key`.
    pub(crate) fn tables<T>(&mut self, key: &'static str, shape: impl Fn(&mut Self) -> Option<T>) -> Vec<T> {
        let Some(array) = self.array(key, "a list of tables") else { return Vec::new() };
        let path = self.path_of(key);
        array
            .iter()
            .enumerate()
            .filter_map(|(i, e)| self.element(format!("{path}[{i}]"), e, &shape))
            .collect()
    }

    fn element<T>(
        &self,
        path: String,
        element: &'d Spanned<DeValue<'d>>,
        shape: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<T> {
        self.sheet.place(&path, element.span().start, element.get_ref());
        let Some(entries) = element.get_ref().as_table() else {
            self.sheet.refuse(&path, shown(element.get_ref()), "a table");
            return None;
        };
        let mut table = Self { sheet: self.sheet, path, entries: Some(entries) };
        let made = shape(&mut table);
        table.finish();
        made
    }

    /// Notes that the value written at `key` is not allowed.
    pub(crate) fn refuse(&self, key: &str, allowed: impl Into<String>) {
        self.sheet.refuse_written(&self.path_of(key), allowed);
    }

    /// Notes that the value written at the full `path` is not allowed, unless it already is in doubt.
    pub(crate) fn refuse_path(&self, path: &str, allowed: impl Into<String>) {
        if !self.sheet.is_in_doubt(path) {
            self.sheet.refuse_written(path, allowed);
        }
    }

    /// The file.
    pub(crate) fn file(&self) -> &'d std::path::Path {
        self.sheet.file()
    }

    /// The line of `key`.
    pub(crate) fn line_of(&self, key: &str) -> Option<usize> {
        self.sheet.line_of(&self.path_of(key))
    }

    /// Notes every key that nobody took.
    pub(crate) fn finish(self) {
        let known = self.sheet.known(&self.path);
        for name in self.entries.into_iter().flat_map(|entries| entries.keys()) {
            let key: &str = name.get_ref();
            if !known.contains(&key) {
                let path = self.path_of(key);
                self.sheet.unknown_key(path, name.span().start, nearest(key, &known), &self.path);
            }
        }
    }
}

/// What a parser allows: it says so when it is shown what nobody can want, an empty list.
fn allowed_by<T>(parse: impl Fn(&DeValue<'_>) -> Read<T>) -> String {
    let refused = parse(&DeValue::Array(DeArray::new())).err();
    refused.map_or_else(|| "a value".into(), |mismatch| mismatch.allowed)
}

/// The known key that is spelled most alike, if no more than a third of it is wrong.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    nearest_of(key, known.iter().copied())
}

/// The name that is spelled most alike, if no more than a third of it is wrong.
pub(crate) fn nearest_of<'k>(key: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    // Distance takes time in proportion to the lengths; no key is longer than this.
    if key.len() > 64 {
        return None;
    }
    let distances = known.map(|name| (strsim::osa_distance(key, name), name));
    let (distance, name) = distances.min()?;
    (distance <= (name.len() / 3).max(1)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{flag, text};
    use std::path::Path;

    fn problems(source: &str, shape: impl FnOnce(&mut Table<'_>)) -> Vec<String> {
        let shape = |_: &Sheet, table: &mut Table<'_>| {
            shape(table);
            Some(())
        };
        let (sheet, _) = Sheet::read(Path::new("f"), source.as_bytes(), shape);
        sheet.into_problems().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_misspelled_key_is_answered_with_the_nearest() {
        let found = problems("\nlisen = true\nzzz = 1", |t| assert_eq!(t.optional("listen", flag), None));
        assert_eq!(
            found,
            [
                "f:2: lisen: unknown key; did you mean \"listen\"?",
                "f:3: zzz: unknown key; known here: listen",
            ]
        );
    }

    #[test]
    fn what_is_missing_says_what_is_allowed() {
        let found = problems("", |t| drop(t.required("name", text, String::new())));
        assert_eq!(found, ["f: name: found nothing, allowed: a text of 1 to 200 characters"]);
    }

    #[test]
    fn tables_of_a_list_have_the_line_of_their_header() {
        let source = "[[a]]\nok = true\n\n[[a]]\nok = 3\n\n[[a]]\n";
        let found = problems(source, |t| drop(t.tables("a", |t| Some(t.required("ok", flag, true)))));
        assert_eq!(
            found,
            [
                "f:5: a[1].ok: found 3, allowed: true or false",
                "f:7: a[2].ok: found nothing, allowed: true or false",
            ]
        );
    }

    #[test]
    fn a_table_of_the_wrong_kind_is_refused_and_reads_as_empty() {
        let found = problems("a = 3\nb = 4", |t| {
            t.table("a").finish();
            assert!(t.tables("b", |_| Some(())).is_empty());
        });
        assert_eq!(
            found,
            ["f:1: a: found 3, allowed: a table", "f:2: b: found 4, allowed: a list of tables"]
        );
    }
}
