//! The tree that a bundle carries: a site file as JSON, with the layers of the tenant and the client from files of their own.

use crate::problem::{Fault, Problem, Problems};
use crate::sheet::read_file;
use crate::site::parse_site;
use serde_json::{Map, Value as Json};
use std::path::Path;
use toml::Value;

/// A file that a tree is made of.
#[derive(Debug, Clone, Copy)]
pub struct Part<'p> {
    /// The site file, TOML or JSON.
    pub site: &'p Path,
    /// A file whose `[policy]` is the layer of the tenant.
    pub tenant: Option<&'p Path>,
    /// A file whose `[policy]` is the layer of the client.
    pub client: Option<&'p Path>,
}

/// The text of such a file, as if it stood in `file`.
#[derive(Debug, Clone, Copy)]
pub struct Sheet<'s> {
    /// What it is called in what is said of it.
    pub file: &'s Path,
    /// The text.
    pub text: &'s [u8],
}

/// Reads the files and gives the whole tree as JSON, checked as the agent will check it; every problem at once.
pub fn bundle_tree(part: Part<'_>) -> Result<String, Problems> {
    let site = read_file(part.site)?;
    let layer = |file: Option<&Path>| file.map(read_file).transpose();
    let (tenant, client) = (layer(part.tenant)?, layer(part.client)?);
    tree_of(
        Sheet { file: part.site, text: &site },
        part.tenant.zip(tenant.as_deref()).map(|(file, text)| Sheet { file, text }),
        part.client.zip(client.as_deref()).map(|(file, text)| Sheet { file, text }),
    )
}

/// The same of texts that lie elsewhere than in files.
pub fn tree_of(
    site: Sheet<'_>,
    tenant: Option<Sheet<'_>>,
    client: Option<Sheet<'_>>,
) -> Result<String, Problems> {
    // A mistake of the site file is told at its own line, before it lies among others.
    parse_site(site.file, site.text)?;
    let mut tree = tree(site.file, site.text)?;
    for (layer, sheet) in [("tenant", tenant), ("client", client)] {
        let Some(sheet) = sheet else { continue };
        let policy = policy(sheet)?;
        let layers = tree.entry("layers").or_insert_with(|| Json::Object(Map::new()));
        let before = layers.as_object_mut().and_then(|layers| layers.insert(layer.to_owned(), policy));
        if before.is_some() {
            return Err(wrong(
                sheet.file,
                format!("{} has [layers.{layer}] already; keep it in one place", site.file.display()),
            ));
        }
    }
    let json = Json::Object(tree).to_string();
    parse_site(Path::new("bundle"), json.as_bytes())?;
    Ok(json)
}

fn wrong(file: &Path, why: String) -> Problems {
    Problem { file: file.into(), line: None, key: String::new(), fault: Fault::Unreadable(why) }.into()
}

/// The `[policy]` of a file that has nothing else.
fn policy(Sheet { file, text }: Sheet<'_>) -> Result<Json, Problems> {
    let mut tree = tree(file, text)?;
    match (tree.remove("policy"), tree.keys().next()) {
        (Some(policy), None) => Ok(policy),
        (_, Some(other)) => {
            Err(wrong(file, format!("{other}: found here, allowed: [policy] and nothing else")))
        }
        (None, None) => {
            Err(wrong(file, "found nothing, allowed: [policy] with the figures of the layer".into()))
        }
    }
}

fn tree(file: &Path, text: &[u8]) -> Result<Map<String, Json>, Problems> {
    let text =
        std::str::from_utf8(text).map_err(|_| wrong(file, "not UTF-8; save the file as UTF-8".into()))?;
    if crate::json::is_meant(text) {
        return serde_json::from_str(text).map_err(|why| wrong(file, format!("not JSON: {why}")));
    }
    let table: toml::Table = text.parse().map_err(|why: toml::de::Error| {
        let before = text.get(..why.span().map_or(0, |span| span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let fault = Fault::Unreadable(format!("not TOML: {}", why.message().replace('\n', ", ")));
        Problems::from(Problem { file: file.into(), line: Some(line), key: String::new(), fault })
    })?;
    Ok(table.into_iter().map(|(key, value)| (key, json(value))).collect())
}

/// An instant becomes a text, which is read alike; JSON has no numbers that are none, and neither has a site.
fn json(value: Value) -> Json {
    match value {
        Value::String(text) => Json::String(text),
        Value::Integer(number) => Json::from(number),
        Value::Float(number) => Json::from(number),
        Value::Boolean(flag) => Json::Bool(flag),
        Value::Datetime(instant) => Json::String(instant.to_string()),
        Value::Array(list) => list.into_iter().map(json).collect(),
        Value::Table(table) => table.into_iter().map(|(key, value)| (key, json(value))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::load_site;
    use crate::site::tests::HEAD;
    use std::path::PathBuf;
    use vigil_core::time::Span;

    fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    #[test]
    fn a_tree_is_the_site_with_the_layers_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "{HEAD}[[guards]]\nid = \"G-7\"\nbadge = 0x04A1B2C3\n[policy.inactivity]\nwindow = \"3h\"\n\
             [[policy.maintenance]]\nfrom = 2026-03-10T10:00:00Z\nto = 2026-03-10T20:00:00+05:30\n"
        );
        let site = written(folder.path(), "site.toml", &text);
        let tenant =
            written(folder.path(), "tenant.toml", "[policy.inactivity]\nwindow = \"4h\"\nthreshold = 0.7\n");
        let client = written(folder.path(), "client.toml", "[policy]\ntours.grace = \"11m\"\n");
        let alone = bundle_tree(Part { site: &site, tenant: None, client: None }).unwrap();
        assert_eq!(parse_site(Path::new("b"), alone.as_bytes()).unwrap(), load_site(&site).unwrap());

        let part = Part { site: &site, tenant: Some(&tenant), client: Some(&client) };
        let tree = bundle_tree(part).unwrap();
        let policy = parse_site(Path::new("b"), tree.as_bytes()).unwrap().policy.clone();
        assert_eq!(
            (policy.inactivity.window, policy.tours.grace),
            (Span::from_hours(3), Span::from_mins(11))
        );
        assert_eq!(policy.inactivity.threshold.get(), 700);
        let again = written(folder.path(), "whole.json", &tree);
        assert_eq!(bundle_tree(Part { site: &again, tenant: None, client: None }).unwrap(), tree);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let site = written(folder.path(), "site.toml", HEAD);
        let layered =
            written(folder.path(), "layered.toml", &format!("{HEAD}[layers.tenant]\ntours.grace = \"9m\"\n"));
        let broken = written(folder.path(), "broken.toml", &format!("{HEAD}[policy.tours]\ngrace = 9\n"));
        let told = |site: &Path, tenant: &str| {
            let tenant = written(folder.path(), "tenant.toml", tenant);
            bundle_tree(Part { site, tenant: Some(&tenant), client: None }).unwrap_err().to_string()
        };
        let fine = "[policy.tours]\ngrace = \"9m\"\n";
        assert!(
            told(&broken, fine).contains("broken.toml:8: policy.tours.grace: found 9"),
            "{}",
            told(&broken, fine)
        );
        assert!(
            told(&layered, fine).contains("layered.toml has [layers.tenant] already"),
            "{}",
            told(&layered, fine)
        );
        assert!(told(&site, "tours.grace = \"9m\"\n").contains("tours: found here, allowed: [policy]"));
        assert!(told(&site, "").contains("tenant.toml: found nothing, allowed: [policy]"));
        assert!(told(&site, "[policy.tours]\ngrace = 9\n").contains("layers.tenant.tours.grace: found 9"));
        assert!(told(&site, "# one\n[policy").contains("tenant.toml:2: not TOML: "));
    }
}
