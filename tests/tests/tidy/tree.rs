//! The tree as the rules see it: its files, which of their lines are the product, and its manifests.

use std::fs;
use std::path::{Path, PathBuf};
use toml::Table;

/// What a build or a run leaves behind, as `.gitignore` has it.
const NOT_OURS: [&str; 6] = [".git", "target", "data", "corpus", "artifacts", "__pycache__"];

/// One text file of the tree.
pub struct Page {
    /// Where it is, from the root, with `/`.
    pub path: String,
    /// What it says.
    pub text: String,
}

impl Page {
    /// Its lines with their numbers, counted from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The lines before the test module at the foot. That nothing follows the module is clippy's
    /// `items_after_test_module`, so nothing can hide there.
    pub fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let foot = (0..lines.len()).find(|&at| opens_tests(&lines[at..])).unwrap_or(lines.len());
        self.lines().take(foot)
    }

    /// The product's lines without what stands behind `//`.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.product().map(|(at, line)| (at, line.split("//").next().unwrap_or_default()))
    }

    /// Whether it lies in `place`: a file, or a folder if that ends in `/`.
    pub fn is_in(&self, place: &str) -> bool {
        self.path == place || (place.ends_with('/') && self.path.starts_with(place))
    }

    /// The file's name without its ending.
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.split('.').next().unwrap_or_default()
    }
}

/// Whether an inline module of tests begins here.
fn opens_tests(lines: &[&str]) -> bool {
    tested_module(lines).is_some_and(|line| line.ends_with('{'))
}

/// The `mod ..` line that `#[cfg(test)]` at the head of these lines belongs to, past its other attributes.
fn tested_module<'a>(lines: &[&'a str]) -> Option<&'a str> {
    let (first, rest) = lines.split_first()?;
    let item = rest.iter().find(|line| !line.starts_with('#'))?;
    (*first == "#[cfg(test)]" && item.contains("mod ")).then_some(*item)
}

/// The folder that holds the workspace's `Cargo.toml`.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the tests lie in the workspace").to_path_buf()
}

/// Every text file of the tree; what is no UTF-8 is no text.
pub fn pages() -> Vec<Page> {
    let (root, mut folders, mut pages) = (root(), vec![root()], vec![]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the tree can be listed") {
            let path = entry.expect("an entry of the tree can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if NOT_OURS.contains(&name.as_str()) || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                pages.push(Page { path, text });
            }
        }
    }
    assert!(pages.len() > 50, "only {} files found below {}", pages.len(), root.display());
    pages.sort_by(|one, other| one.path.cmp(&other.path));
    pages
}

/// Every Rust file.
pub fn rust() -> Vec<Page> {
    pages().into_iter().filter(|page| page.path.ends_with(".rs")).collect()
}

/// The Rust files that end up in a binary: below a `src`, and in no module of tests.
pub fn product() -> Vec<Page> {
    let all = rust();
    let tests: Vec<String> = all.iter().flat_map(test_modules).collect();
    let is_test = |page: &Page| {
        let mut below = tests.iter().filter_map(|module| page.path.strip_prefix(module.as_str()));
        page.path.starts_with("tests/") || below.any(|rest| rest == ".rs" || rest.starts_with('/'))
    };
    let below_src = |page: &Page| format!("/{}", page.path).contains("/src/");
    all.into_iter().filter(|page| below_src(page) && !is_test(page)).collect()
}

/// The files, without ending, that this one declares as `#[cfg(test)] mod name;`.
fn test_modules(page: &Page) -> Vec<String> {
    let (folder, name) = page.path.rsplit_once('/').unwrap_or_default();
    let below = match name {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        _ => page.path.trim_end_matches(".rs").to_owned(),
    };
    let lines: Vec<&str> = page.text.lines().collect();
    let declared = (0..lines.len()).filter_map(|at| tested_module(&lines[at..]));
    let names = declared.filter_map(|line| line.split("mod ").nth(1)?.strip_suffix(';'));
    names.map(|name| format!("{below}/{name}")).collect()
}

/// A file of the tree as text.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panicked(&format!("{path}: {error}")))
}

/// A manifest or lock file of the tree.
pub fn table(path: &str) -> Table {
    read(path).parse().unwrap_or_else(|error| panicked(&format!("{path}: {error}")))
}

#[expect(clippy::panic, reason = "a tree that cannot be read fails the test that reads it")]
fn panicked<T>(fault: &str) -> T {
    panic!("{fault}")
}

/// Fails with every fault at once, so that one run names all there is to mend.
pub fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{} to mend:\n{}\n", faults.len(), faults.join("\n"));
}
