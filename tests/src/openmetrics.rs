//! A strict reader of the OpenMetrics text format, for what an agent exposes: counters and gauges.

use std::collections::BTreeMap;

/// One metric family.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Family {
    /// `counter` or `gauge`.
    pub kind: String,
    /// What it means.
    pub help: String,
    /// Values by labels as they are written, like `lane="critical"`.
    pub samples: BTreeMap<String, f64>,
}

/// Reads an exposition; what breaks the format is told with its line.
pub fn parse(text: &str) -> Result<BTreeMap<String, Family>, String> {
    let body = text.strip_suffix("# EOF\n").ok_or("the last line is not `# EOF`")?;
    let mut reader = Reader::default();
    for (line, number) in body.lines().zip(1..) {
        reader.line(line).map_err(|why| format!("line {number}, {line:?}: {why}"))?;
    }
    Ok(reader.families)
}

#[derive(Default)]
struct Reader {
    families: BTreeMap<String, Family>,
    current: String,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let Some(comment) = line.strip_prefix("# ") else { return self.sample(line) };
        match *comment.splitn(3, ' ').collect::<Vec<_>>().as_slice() {
            ["EOF"] => Err("`# EOF` before the end".into()),
            ["HELP", name, text] => self.family(name).map(|f| text.clone_into(&mut f.help)),
            ["TYPE", name, kind @ ("counter" | "gauge")] => {
                self.family(name).map(|f| kind.clone_into(&mut f.kind))
            }
            _ => Err("neither HELP, TYPE nor EOF".into()),
        }
    }

    /// The family that `name` opens or continues: its lines stand together.
    fn family(&mut self, name: &str) -> Result<&mut Family, String> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(word) {
            return Err(format!("{name:?} is not a name"));
        }
        if self.current != name && self.families.contains_key(name) {
            return Err(format!("{name} is interleaved"));
        }
        name.clone_into(&mut self.current);
        Ok(self.families.entry(name.to_owned()).or_default())
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let (series, value) = line.rsplit_once(' ').ok_or("no value")?;
        let value: f64 = value.parse().map_err(|_| "the value is not a number")?;
        let (name, labels) = match series.split_once('{') {
            None => (series, ""),
            Some((name, rest)) => (name, rest.strip_suffix('}').ok_or("the labels are not closed")?),
        };
        check_labels(labels)?;
        let family = self.families.get_mut(&self.current).ok_or("a sample before HELP and TYPE")?;
        let expected = match family.kind.as_str() {
            "counter" => format!("{}_total", self.current),
            "gauge" => self.current.clone(),
            _ => return Err("a sample before its TYPE".into()),
        };
        if name != expected {
            return Err(format!("a {} of {} is called {expected}", family.kind, self.current));
        }
        if family.kind == "counter" && value < 0.0 {
            return Err("a counter below zero".into());
        }
        match family.samples.insert(labels.to_owned(), value) {
            None => Ok(()),
            Some(_) => Err("the same series twice".into()),
        }
    }
}

/// `name="value"` with commas between; our values hold no quotes, commas or backslashes.
fn check_labels(labels: &str) -> Result<(), String> {
    let good = |label: &str| {
        let (name, value) = label.split_once('=')?;
        let value = value.strip_prefix('"')?.strip_suffix('"')?;
        let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        (named && !value.contains(['"', '\\'])).then_some(())
    };
    let mut all = labels.split(',').filter(|_| !labels.is_empty());
    all.try_for_each(good).ok_or_else(|| format!("{labels:?} are not labels"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# HELP a_b How many.\n# TYPE a_b counter\na_b_total{x=\"1\"} 3\na_b_total 4\n# EOF\n";

    #[test]
    fn what_is_good_is_read() {
        let families = parse(GOOD).unwrap();
        let family = &families["a_b"];
        assert_eq!((family.kind.as_str(), family.help.as_str()), ("counter", "How many."));
        assert_eq!(family.samples, BTreeMap::from([(r#"x="1""#.to_owned(), 3.0), (String::new(), 4.0)]));
    }

    #[test]
    fn what_breaks_the_format_is_refused() {
        let cases = [
            ("# EOF\n", "", "EOF"),
            ("# TYPE a_b counter\n", "", "TYPE"),
            ("a_b_total 4", "a_b 4", "called a_b_total"),
            ("a_b_total 4", "a_b_total four", "not a number"),
            ("a_b_total 4", "a_b_total -4", "below zero"),
            ("a_b_total 4", "a_b_total{x=\"1\"} 4", "twice"),
            ("{x=\"1\"}", "{x=1}", "labels"),
            ("# HELP a_b How many.", "# NOTE a_b How many.", "neither"),
        ];
        for (good, bad, why) in cases {
            let told = parse(&GOOD.replacen(good, bad, 1)).unwrap_err();
            assert!(told.contains(why), "{bad:?}: {told}");
        }
    }
}
