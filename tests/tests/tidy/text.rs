//! What a file looks like.

use crate::tree::{none, pages, product, rust};

/// Names that say nothing of what is inside: whatever fits nowhere ends up there.
const EMPTY_WORDS: [&str; 11] = [
    "common", "util", "utils", "types", "manager", "handler", "handlers", "service", "helper", "helpers",
    "misc",
];

#[test]
fn a_name_says_what_is_inside() {
    let mut faults = vec![];
    for page in rust() {
        let folders = page.path.rsplit('/').skip(1);
        for name in folders.chain([page.stem()]) {
            for word in name.split(['_', '-']).filter(|word| EMPTY_WORDS.contains(word)) {
                faults.push(format!(
                    "{}:1: `{word}` says nothing; name it by what it is in the trade",
                    page.path
                ));
            }
        }
    }
    none(&faults);
}

#[test]
fn each_file_begins_with_what_it_is_for() {
    let silent = rust().into_iter().filter(|page| !page.text.starts_with("//! "));
    let mend = "begin the file with a line of `//!` that says what it is for";
    none(&silent.map(|page| format!("{}:1: {mend}", page.path)).collect::<Vec<_>>());
}

#[test]
fn a_lint_is_never_just_allowed() {
    // Taken apart, so that this file does not break its own rule.
    let words = [concat!("#[", "allow("), concat!("#![", "allow("), concat!(", ", "allow(")];
    let mend = "mend the code, or use `#[expect(.., reason = \"..\")]`: it says why, and complains when it is no longer needed";
    let mut faults = vec![];
    for page in rust() {
        let allowed = page.lines().filter(|(_, line)| words.iter().any(|word| line.contains(word)));
        faults.extend(allowed.map(|(at, _)| format!("{}:{at}: {mend}", page.path)));
    }
    none(&faults);
}

/// As much as fits into one head at a time.
const LONGEST: usize = 500;

/// Files that were longer when the rule was made, with the lines that they may have. A number here only falls.
const LONGER: [(&str, usize); 0] = [];

#[test]
fn a_file_fits_into_one_head() {
    let mut faults = vec![];
    for page in product() {
        let lines = page.product().count();
        let ceiling = LONGER.iter().find(|(path, _)| *path == page.path).map(|(_, ceiling)| *ceiling);
        if lines > ceiling.unwrap_or(LONGEST) {
            let mend = format!("cut it by subject to at most {}", ceiling.unwrap_or(LONGEST));
            faults.push(format!("{}:{lines}: {lines} lines without tests; {mend}", page.path));
        }
        if ceiling.is_some() && lines <= LONGEST {
            faults.push(format!("{}:{lines}: it fits now; take it off the list in this test", page.path));
        }
    }
    none(&faults);
}

#[test]
fn the_list_of_longer_files_names_files() {
    let pages = product();
    let gone = LONGER.iter().filter(|(path, _)| !pages.iter().any(|page| page.path == *path));
    none(&gone.map(|(path, _)| format!("{path}: it is gone; take it off the list")).collect::<Vec<_>>());
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    // Taken apart, so that this file does not break its own rule.
    let homes = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/")];
    let mut faults = vec![];
    for page in pages() {
        for (at, line) in page.lines() {
            let known = homes.iter().filter(|home| line.contains(*home));
            let told =
                known.map(|home| format!("{}:{at}: a path below {home}; write it from the root", page.path));
            faults.extend(told);
        }
    }
    none(&faults);
}
