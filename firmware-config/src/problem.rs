//! What is wrong with a configuration, said so that a person can mend it.

use std::fmt;
use std::path::PathBuf;

/// The most problems that are written out: a screenful or two; the rest is counted.
const MAX_SHOWN: usize = 100;

/// One thing wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    /// The file, as it was named to the reader.
    pub file: PathBuf,
    /// The line, from 1; absent if it concerns the file as a whole.
    pub line: Option<usize>,
    /// The path of the key, like `policy.inactivity.window`; empty if it concerns the file as a whole.
    pub key: String,
    /// What is wrong there.
    pub fault: Fault,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A value is missing, of the wrong kind or out of range.
    NotAllowed {
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// No such key is known.
    UnknownKey {
        /// The known key that is spelled most alike.
        nearest: Option<&'static str>,
        /// Every known key of that table.
        known: Vec<&'static str>,
    },
    /// The text is not what it means to be.
    Syntax {
        /// TOML or JSON.
        language: &'static str,
        /// The column, from 1, in characters.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// The file cannot be taken at all.
    Unreadable(String),
    /// It is allowed, and looks like a mistake.
    Doubtful(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Fault::Syntax { column, .. } = self.fault {
            write!(f, ":{column}")?;
        }
        f.write_str(": ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        self.fault.fmt(f)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed { found, allowed } => write!(f, "found {found}, allowed: {allowed}"),
            Self::UnknownKey { nearest: Some(name), .. } => {
                write!(f, "unknown key; did you mean \"{name}\"?")
            }
            Self::UnknownKey { known, .. } => write!(f, "unknown key; known here: {}", known.join(", ")),
            Self::Syntax { language, message, .. } => write!(f, "not {language}: {message}"),
            Self::Unreadable(why) | Self::Doubtful(why) => f.write_str(why),
        }
    }
}

/// Every problem of a configuration, in the order of files and lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// `Err` with all of them in order, `Ok` if there is none.
    pub fn none_in(found: Vec<Problem>) -> Result<(), Self> {
        if found.is_empty() { Ok(()) } else { Err(Self::in_order(found)) }
    }

    fn in_order(mut found: Vec<Problem>) -> Self {
        found.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        Self(found)
    }

    /// These and those.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self::in_order([self.0, others.0].concat())
    }

    /// All of them.
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }

    /// All of them, to be put with others.
    pub fn into_vec(self) -> Vec<Problem> {
        self.0
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().take(MAX_SHOWN).enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        match self.0.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: usize, fault: Fault) -> Problem {
        Problem { file: "site.toml".into(), line: Some(line), key: "mqtt.lisen".into(), fault }
    }

    #[test]
    fn each_kind_says_where_what_and_how_to_mend() {
        let unknown = Fault::UnknownKey { nearest: Some("listen"), known: vec!["listen"] };
        assert_eq!(
            at(7, unknown).to_string(),
            "site.toml:7: mqtt.lisen: unknown key; did you mean \"listen\"?"
        );
        let far = Fault::UnknownKey { nearest: None, known: vec!["a", "b"] };
        assert_eq!(at(7, far).to_string(), "site.toml:7: mqtt.lisen: unknown key; known here: a, b");
        let fault = Fault::Syntax { language: "TOML", column: 9, message: "x".into() };
        let syntax = Problem { key: String::new(), ..at(3, fault) };
        assert_eq!(syntax.to_string(), "site.toml:3:9: not TOML: x");
    }

    #[test]
    fn problems_stand_in_the_order_of_lines_and_the_rest_is_counted() {
        let many = (0..MAX_SHOWN + 5).rev().map(|line| at(line, Fault::Unreadable("x".into()))).collect();
        let problems = Problems::none_in(many).unwrap_err();
        assert_eq!(problems.as_slice()[0].line, Some(0));
        assert!(problems.to_string().ends_with("\nand 5 more"));
        assert_eq!(problems.to_string().lines().count(), MAX_SHOWN + 1);
    }
}
