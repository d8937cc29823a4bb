//! The same tree as JSON, as a signed bundle carries it: read into the values that TOML gives, each at its place.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// How deep the tree may be. That of a site has five levels; each level is looked at once more for each above it.
const MAX_DEPTH: usize = 16;

/// Why a text is not such a tree.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotJson {
    /// Where, in bytes from the start.
    pub(crate) offset: usize,
    /// What is wrong there.
    pub(crate) message: String,
}

/// Whether a text means to be JSON: no TOML begins with a brace.
pub(crate) fn is_meant(text: &str) -> bool {
    text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).starts_with('{')
}

/// The table that the text is.
pub(crate) fn parse(text: &str) -> Result<Spanned<DeTable<'_>>, NotJson> {
    let root: &RawValue = serde_json::from_str(text).map_err(|why| broken(text, text, &why))?;
    let at = offset(text, root.get());
    Ok(Spanned::new(at..at + root.get().len(), table(text, root.get(), MAX_DEPTH)?))
}

/// Where a part of `text` begins.
fn offset(text: &str, part: &str) -> usize {
    part.as_ptr().addr().saturating_sub(text.as_ptr().addr())
}

/// The parser counts lines and columns of the part that it was given.
fn broken(text: &str, part: &str, why: &serde_json::Error) -> NotJson {
    let before: usize = part.split_inclusive('\n').take(why.line().saturating_sub(1)).map(str::len).sum();
    let said = why.to_string();
    let message = said.split(" at line ").next().unwrap_or(&said).to_owned();
    NotJson { offset: offset(text, part) + before + why.column().saturating_sub(1), message }
}

fn value<'t>(text: &'t str, part: &'t str, depth: usize) -> Result<Spanned<DeValue<'t>>, NotJson> {
    let at = offset(text, part);
    let refuse = |message: &str| NotJson { offset: at, message: message.to_owned() };
    let value = match part.as_bytes().first() {
        Some(b'{' | b'[') if depth == 0 => return Err(refuse("deeper than a site file ever is")),
        Some(b'{') => DeValue::Table(table(text, part, depth - 1)?),
        Some(b'[') => DeValue::Array(array(text, part, depth - 1)?),
        Some(b'"') => {
            let said: String = serde_json::from_str(part).map_err(|why| broken(text, part, &why))?;
            DeValue::String(Cow::Owned(said))
        }
        Some(b't') => DeValue::Boolean(true),
        Some(b'f') => DeValue::Boolean(false),
        Some(b'n') => return Err(refuse("null has no meaning here; leave the key out")),
        // A number of JSON is one of TOML.
        _ => DeValue::parse(part).map_err(|why| refuse(why.message()))?.into_inner(),
    };
    Ok(Spanned::new(at..at + part.len(), value))
}

fn array<'t>(text: &'t str, part: &'t str, depth: usize) -> Result<DeArray<'t>, NotJson> {
    let elements: Vec<&RawValue> = serde_json::from_str(part).map_err(|why| broken(text, part, &why))?;
    let mut array = DeArray::new();
    for element in elements {
        array.push(value(text, element.get(), depth)?);
    }
    Ok(array)
}

fn table<'t>(text: &'t str, part: &'t str, depth: usize) -> Result<DeTable<'t>, NotJson> {
    let Entries(entries) = serde_json::from_str(part).map_err(|why| broken(text, part, &why))?;
    let mut table = DeTable::new();
    for (key, raw) in entries {
        let value = value(text, raw.get(), depth)?;
        let place = value.span();
        let message = format!("the key {key:?} twice");
        if table.insert(Spanned::new(place.clone(), Cow::Owned(key)), value).is_some() {
            return Err(NotJson { offset: place.start, message });
        }
    }
    Ok(table)
}

/// The entries of an object in order, so that a key that stands there twice is seen.
struct Entries<'t>(Vec<(String, &'t RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Entries<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object in { }")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

#[cfg(test)]
mod tests {
    use crate::site::{load_site, parse_site};
    use std::path::Path;

    const SITE: &str = "{\n \"site\": {\"id\": \"plant-7\", \"name\": \"Pl\\u00e4nt\", \"tenant\": \"acme\",\n  \
                        \"client\": \"north\", \"timezone\": \"Asia/Kolkata\"},\n \"policy\": {\n  \
                        \"inactivity\": {\"threshold\": 0.75,\n   \"window\": \"121m\"}}\n}\n";

    fn problems(text: &str) -> Vec<String> {
        let found = parse_site(Path::new("site.json"), text.as_bytes()).unwrap_err();
        found.as_slice().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_published_site_is_the_same_as_json() {
        let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/vectors");
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        for folder in [vectors.join("sleeper"), vectors.join("dead_phone"), vectors.join("tours"), examples] {
            let file = folder.join("site.toml");
            let tree: toml::Value =
                std::fs::read_to_string(&file).unwrap().parse::<toml::Table>().unwrap().into();
            let json = serde_json::to_string_pretty(&tree).unwrap();
            let site = parse_site(Path::new("site.json"), json.as_bytes()).unwrap();
            assert_eq!(site, load_site(&file).unwrap(), "{}", file.display());
        }
    }

    #[test]
    fn a_problem_has_the_line_of_its_value() {
        assert_eq!(
            problems(SITE),
            [
                "site.json:6: policy.inactivity.window: found \"121m\", allowed: a whole multiple of cycle (5m)"
            ]
        );
        let fine = SITE.replace("121m", "2h");
        assert_eq!(parse_site(Path::new("site.json"), fine.as_bytes()).unwrap().name, "Plänt");
    }

    #[test]
    fn what_is_no_tree_is_refused_at_its_place() {
        let cases = [
            ("{\n \"site\": {]\n}", "site.json:2:11: not JSON: "),
            ("{\"a\": 1,\n \"a\": 2}", "site.json:2:7: not JSON: the key \"a\" twice"),
            ("{\"a\":\n null}", "site.json:2:2: not JSON: null has no meaning here; leave the key out"),
            ("{} {}", "site.json:1:4: not JSON: trailing characters"),
            ("{\"a\": 1e999}", "site.json:1: a: unknown key"),
        ];
        for (text, expected) in cases {
            let found = problems(text);
            assert!(found.iter().any(|line| line.starts_with(expected)), "{text}: {found:#?}");
        }
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(20_000), "]".repeat(20_000));
        assert_eq!(problems(&deep), ["site.json:1:23: not JSON: deeper than a site file ever is"]);
    }
}
