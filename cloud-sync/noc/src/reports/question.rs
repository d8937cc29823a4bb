//! What a reader may ask, as the words behind the `?`. Whatever makes no sense is refused with its name and a mend.

use super::asked::{Asked, MAX_DAYS, MAX_SITE_DAYS, MAX_SITES, after, before};
use super::facts::{Place, Site};
use super::report::{First, Of};
use crate::openapi::Told;
use serde_json::json;
use std::collections::BTreeMap;
use vigil_core::time::{Date, Timestamp};

/// The most rows of a ranking or of a list of guards: whoever needs more needs a spreadsheet for each client.
pub const MAX_ROWS: usize = 1_000;

/// How many rows are given unless asked: what fits on some screens.
const ROWS: usize = 100;

/// How many days are reported unless asked: a week shows each weekday once.
const DAYS: usize = 7;

/// A question that cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Senseless(String);

/// What each row of a table of numbers is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A date.
    Day,
    /// A site.
    Site,
    /// A guard.
    Guard,
}

/// A question as it was asked; what was left out is `None` or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    from: Option<Date>,
    to: Option<Date>,
    date: Option<Date>,
    sites: Vec<Place>,
    /// What is ranked.
    pub of: Option<Of>,
    /// Which end of it comes first.
    pub first: Option<First>,
    /// What each row is of.
    pub by: Option<By>,
    limit: Option<usize>,
}

impl Question {
    /// Reads the pairs of a query of which these names are allowed. An empty value says nothing: forms send them.
    pub fn read(pairs: &[(String, String)], allowed: &[&str]) -> Result<Self, Senseless> {
        let mut question = Self::default();
        for (name, value) in pairs {
            if !allowed.contains(&name.as_str()) {
                let mend = if allowed.is_empty() {
                    "leave it out".into()
                } else {
                    format!("these are: {}", allowed.join(", "))
                };
                return Err(Senseless(format!("{name:?} is not asked here; {mend}")));
            }
            if !value.trim().is_empty() {
                question.take(name, value.trim())?;
            }
        }
        Ok(question)
    }

    /// What the document says of the names that are allowed.
    pub fn tells(told: &mut Told<'_>, allowed: &[&str]) {
        for name in allowed {
            let date = || json!({"type": "string", "format": "date"});
            let (about, schema) = match *name {
                "from" => ("The first day; unless asked the last seven that are over.", date()),
                "to" => ("The last day.", date()),
                "date" => ("The day.", date()),
                "site" => (
                    "tenant/site; may be given several times. All that may be seen by default.",
                    json!({"type": "array", "items": {"type": "string"}}),
                ),
                "of" => ("What is ranked.", json!({"enum": ["sites", "guards"], "default": "sites"})),
                "first" => ("Which end comes first.", json!({"enum": ["best", "worst"], "default": "best"})),
                "by" => ("What each row is of.", json!({"enum": ["day", "site", "guard"], "default": "day"})),
                _ => (
                    "How many rows.",
                    json!({"type": "integer", "minimum": 1, "maximum": MAX_ROWS, "default": ROWS}),
                ),
            };
            told.asks_for(name, about, schema);
        }
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Senseless> {
        let date = || value.parse().map_err(|_| expected(name, value, "a date like 2026-03-10"));
        match name {
            "from" => self.from = Some(date()?),
            "to" => self.to = Some(date()?),
            "date" => self.date = Some(date()?),
            "site" => {
                for word in value.split([',', ' ']).filter(|word| !word.is_empty()) {
                    let place = Place::parse(word);
                    self.sites.push(
                        place.ok_or_else(|| expected(name, word, "a tenant and a site like acme/plant-7"))?,
                    );
                }
            }
            "of" => self.of = Some(one(name, value, &[("sites", Of::Sites), ("guards", Of::Guards)])?),
            "first" => {
                self.first = Some(one(name, value, &[("best", First::Best), ("worst", First::Worst)])?)
            }
            "by" => {
                self.by =
                    Some(one(name, value, &[("day", By::Day), ("site", By::Site), ("guard", By::Guard)])?)
            }
            _ => {
                let number = value.parse().ok().filter(|n| (1..=MAX_ROWS).contains(n));
                let number = number
                    .ok_or_else(|| expected(name, value, &format!("a whole number from 1 to {MAX_ROWS}")));
                self.limit = Some(number?);
            }
        }
        Ok(())
    }

    /// How many rows at most.
    pub fn limit(&self) -> usize {
        self.limit.unwrap_or(ROWS)
    }

    /// The sites that were named, or all.
    pub fn sites(&self, all: Vec<Site>) -> Result<Vec<Site>, Senseless> {
        let mut known: BTreeMap<Place, Site> =
            all.into_iter().map(|site| (site.place.clone(), site)).collect();
        if self.sites.is_empty() {
            return few(known.into_values().collect());
        }
        let mut chosen = BTreeMap::new();
        for place in &self.sites {
            if let Some(site) = known.remove(place) {
                chosen.insert(place, site);
            } else if !chosen.contains_key(place) {
                // The same for a site that is not there and for one that is somebody else's.
                return Err(Senseless(format!("site: there is no {place} here; leave it out for all sites")));
            }
        }
        few(chosen.into_values().collect())
    }

    /// Of which days of these sites: the last seven that are over unless asked otherwise. One date alone is a range up to
    /// yesterday, or of the seven days up to it.
    pub fn range(&self, sites: Vec<Site>, now: Timestamp) -> Result<Asked, Senseless> {
        let asked = Asked::of(sites, Date::MIN, Date::MIN);
        let yesterday = before(asked.today(now), 1);
        let to = self.to.unwrap_or_else(|| yesterday.max(self.from.unwrap_or(yesterday)));
        let from = self.from.unwrap_or_else(|| before(to, DAYS - 1));
        if from > to {
            return Err(Senseless(format!("from {from} lies after to {to}; swap them")));
        }
        if from.iter_days().take_while(|date| *date <= to).nth(MAX_DAYS).is_some() {
            let latest = after(from, MAX_DAYS - 1);
            return Err(Senseless(format!(
                "from {from} to {to} is too long; ask for at most {MAX_DAYS} days, like to={latest}"
            )));
        }
        let asked = asked.within(from, to);
        let site_days = asked.days().saturating_mul(asked.sites.len());
        if site_days > MAX_SITE_DAYS {
            let days = MAX_SITE_DAYS / asked.sites.len().max(1);
            return Err(Senseless(format!(
                "from {from} to {to} of {} sites is too much at once; ask for at most {days} days, or name fewer with site=",
                asked.sites.len()
            )));
        }
        Ok(asked)
    }

    /// One day of these sites: yesterday unless asked otherwise.
    pub fn day(&self, sites: Vec<Site>, now: Timestamp) -> Asked {
        let asked = Asked::of(sites, Date::MIN, Date::MIN);
        let date = self.date.unwrap_or_else(|| before(asked.today(now), 1));
        asked.within(date, date)
    }

    /// Whether a site was named.
    pub fn names(&self, place: &Place) -> bool {
        self.sites.contains(place)
    }

    /// Every site that was named.
    pub fn named(&self) -> &[Place] {
        &self.sites
    }
}

fn few(sites: Vec<Site>) -> Result<Vec<Site>, Senseless> {
    if sites.len() <= MAX_SITES {
        return Ok(sites);
    }
    Err(Senseless(format!("these are {} sites; name at most {MAX_SITES} with site=", sites.len())))
}

fn expected(name: &str, value: &str, what: &str) -> Senseless {
    // What somebody typed is repeated, but no book that somebody pasted.
    let value: String = value.chars().take(80).collect();
    Senseless(format!("{name} is {value:?}; {what} is expected"))
}

fn one<T: Copy>(name: &str, value: &str, allowed: &[(&str, T)]) -> Result<T, Senseless> {
    let found = allowed.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning);
    let words: Vec<_> = allowed.iter().map(|(word, _)| *word).collect();
    found.ok_or_else(|| expected(name, value, &format!("one of {}", words.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Tz;

    const NAMES: [&str; 8] = ["from", "to", "date", "site", "of", "first", "by", "limit"];

    fn read(query: &str) -> Result<Question, Senseless> {
        let pair = |pair: &str| pair.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned()));
        Question::read(&query.split('&').filter_map(pair).collect::<Vec<_>>(), &NAMES)
    }

    fn sites(number: usize) -> Vec<Site> {
        let place = |n| Place::parse(&format!("acme/s-{n}")).unwrap();
        (0..number)
            .map(|n| Site { place: place(n), name: format!("Site {n}"), timezone: Tz::Asia__Kolkata })
            .collect()
    }

    fn range(query: &str, number: usize) -> Result<String, String> {
        // In India it is the 11th already.
        let now = Timestamp::parse("2026-03-10T19:00:00Z").unwrap();
        let asked = read(query).and_then(|question| question.range(question.sites(sites(number))?, now));
        asked
            .map(|asked| format!("{} {} {}", asked.from, asked.to, asked.sites.len()))
            .map_err(|why| why.to_string())
    }

    #[test]
    fn the_table_of_questions() {
        for (query, found) in [
            ("", "2026-03-04 2026-03-10 3"),
            ("from=&to=&site=", "2026-03-04 2026-03-10 3"),
            ("from=2026-03-01", "2026-03-01 2026-03-10 3"),
            ("from=2026-03-11", "2026-03-11 2026-03-11 3"),
            ("to=2026-03-01", "2026-02-23 2026-03-01 3"),
            ("from=2026-03-01&to=2026-03-02&site=acme/s-1", "2026-03-01 2026-03-02 1"),
            ("site=acme/s-1&site=acme/s-2,acme/s-1", "2026-03-04 2026-03-10 2"),
            ("from=2025-02-04&to=2026-03-10", "2025-02-04 2026-03-10 3"),
        ] {
            assert_eq!(range(query, 3).as_deref(), Ok(found), "{query}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named_and_mended() {
        for (query, why) in [
            ("from=yesterday", "from is \"yesterday\"; a date like 2026-03-10 is expected"),
            ("to=2026-13-01", "to is \"2026-13-01\"; a date like 2026-03-10 is expected"),
            ("from=2026-03-02&to=2026-03-01", "from 2026-03-02 lies after to 2026-03-01; swap them"),
            (
                "from=2025-02-03&to=2026-03-10",
                "from 2025-02-03 to 2026-03-10 is too long; ask for at most 400 days, like to=2026-03-09",
            ),
            ("site=plant-7", "site is \"plant-7\"; a tenant and a site like acme/plant-7 is expected"),
            ("site=rival/s-1", "site: there is no rival/s-1 here; leave it out for all sites"),
            ("of=devices", "of is \"devices\"; one of sites, guards is expected"),
            ("first=last", "first is \"last\"; one of best, worst is expected"),
            ("by=week", "by is \"week\"; one of day, site, guard is expected"),
            ("limit=0", "limit is \"0\"; a whole number from 1 to 1000 is expected"),
            ("limit=1001", "limit is \"1001\"; a whole number from 1 to 1000 is expected"),
            (
                "form=2026-03-01",
                "\"form\" is not asked here; these are: from, to, date, site, of, first, by, limit",
            ),
        ] {
            assert_eq!(range(query, 3).unwrap_err(), why, "{query}");
        }
    }

    #[test]
    fn many_sites_for_a_long_time_are_too_much_at_once() {
        assert_eq!(
            range("from=2025-02-04", 250).as_deref(),
            Ok("2025-02-04 2026-03-10 250"),
            "exactly as many"
        );
        let why = "from 2025-02-04 to 2026-03-10 of 251 sites is too much at once; ask for at most 398 days, or name fewer with site=";
        assert_eq!(range("from=2025-02-04", 251).unwrap_err(), why);
        assert_eq!(range("", 5_001).unwrap_err(), "these are 5001 sites; name at most 5000 with site=");
        assert_eq!(range("", 5_000).as_deref(), Ok("2026-03-04 2026-03-10 5000"));
    }
}
