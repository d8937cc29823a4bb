//! Of which sites and which days a report is asked, and how much may be asked at once.

use super::facts::{Place, Site};
use chrono_tz::Tz;
use std::collections::BTreeMap;
use vigil_core::time::{Date, LocalTime, Span, Timestamp};

/// The most days of a range: gateways keep that many, and so does nobody more.
pub const MAX_DAYS: usize = 400;

/// The most sites that one operations centre is built for; a page that lists them is about 4 MB.
pub const MAX_SITES: usize = 5_000;

/// The most days of sites of one question: all sites for 20 days, or 250 sites for 400. A report of 4.5 kB was read in
/// 0.2 ms without optimisation, so an answer takes a core for 20 seconds at the very worst, and never for minutes.
pub const MAX_SITE_DAYS: usize = 100_000;

/// How many reports are held in memory at once, apart from one date that is taken whole: 5,000 of 4 kB are 20 MB.
const PIECE: usize = 5_000;

/// A range of dates, both included, and a set of sites. Only what the reader may see gets in: whoever makes one says
/// for which sites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The first date, on the calendar of each site.
    pub from: Date,
    /// The last.
    pub to: Date,
    /// The sites.
    pub sites: BTreeMap<Place, Site>,
}

impl Asked {
    /// Of these sites and days.
    pub fn of(sites: impl IntoIterator<Item = Site>, from: Date, to: Date) -> Self {
        Self { from, to, sites: sites.into_iter().map(|site| (site.place.clone(), site)).collect() }
    }

    /// The same sites in another range.
    pub fn within(&self, from: Date, to: Date) -> Self {
        Self { from, to, sites: self.sites.clone() }
    }

    /// How many days.
    pub fn days(&self) -> usize {
        self.dates().count()
    }

    /// Every date, in order.
    pub fn dates(&self) -> impl Iterator<Item = Date> {
        let to = self.to;
        self.from.iter_days().take_while(move |date| *date <= to)
    }

    /// Whether a day of a site was asked for.
    pub fn includes(&self, place: &Place, date: Date) -> bool {
        (self.from..=self.to).contains(&date) && self.sites.contains_key(place)
    }

    /// Whose wall clock a site has; `None` if it was not asked for.
    pub fn zone(&self, place: &Place) -> Option<Tz> {
        self.sites.get(place).map(|site| site.timezone)
    }

    /// From the first instant of the range at any of the sites to the first behind it at all of them: what happens in the
    /// range lies in there, and what else does is passed over later.
    pub fn instants(&self) -> (Timestamp, Timestamp) {
        let midnights =
            |date: Date| self.sites.values().map(move |site| LocalTime::hour(0).on(date, site.timezone));
        let nothing = Timestamp::from_millis(0);
        let from = midnights(self.from).min().unwrap_or(nothing);
        (from, midnights(after(self.to, 1)).max().unwrap_or(nothing))
    }

    /// The same in pieces that memory holds, in order of time.
    pub fn pieces(&self) -> Vec<Self> {
        let dates: Vec<Date> = self.dates().collect();
        let days = PIECE.checked_div(self.sites.len()).unwrap_or(MAX_DAYS).max(1);
        let ends = dates.chunks(days).filter_map(|piece| Some((*piece.first()?, *piece.last()?)));
        ends.map(|(from, to)| self.within(from, to)).collect()
    }

    /// The latest date that any of the sites has at `now`.
    pub fn today(&self, now: Timestamp) -> Date {
        let dates = self.sites.values().map(|site| now.local_date(site.timezone));
        dates.max().unwrap_or_else(|| now.local_date(Tz::UTC))
    }
}

/// So many days earlier, or the first day that there is.
pub(super) fn before(date: Date, days: usize) -> Date {
    (0..days).fold(date, |date, _| date.pred_opt().unwrap_or(date))
}

/// So many days later, or the last day that there is.
pub(super) fn after(date: Date, days: usize) -> Date {
    (0..days).fold(date, |date, _| date.succ_opt().unwrap_or(date))
}

/// On which evening the night began that had ended last at `now`: a night is over at six.
pub(super) fn last_night(now: Timestamp, zone: Tz) -> Date {
    before((now - Span::from_hours(6)).local_date(zone), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn sites(number: usize) -> Vec<Site> {
        let site = |n: usize| Site {
            place: Place::parse(&format!("acme/s-{n:04}")).unwrap(),
            name: format!("Site {n}"),
            timezone: if n.is_multiple_of(2) { Tz::Asia__Kolkata } else { Tz::America__New_York },
        };
        (0..number).map(site).collect()
    }

    #[test]
    fn a_long_range_is_read_in_pieces_that_together_are_the_whole() {
        for (number, days_each) in
            [(0, 400), (1, 400), (3, 400), (50, 100), (2_500, 2), (2_501, 1), (5_000, 1)]
        {
            let asked = Asked::of(sites(number), date("2026-01-01"), date("2026-01-31"));
            let pieces = asked.pieces();
            let all: Vec<Date> = pieces.iter().flat_map(Asked::dates).collect();
            assert_eq!(all, asked.dates().collect::<Vec<_>>(), "{number} sites");
            assert_eq!(pieces.iter().map(Asked::days).max(), Some(days_each.min(31)), "{number} sites");
        }
    }

    #[test]
    fn the_instants_of_a_range_cover_every_calendar() {
        let asked = Asked::of(sites(2), date("2026-03-07"), date("2026-03-08"));
        let (from, to) = asked.instants();
        // Midnight in India comes first; in New York the clocks go forward on the 8th.
        assert_eq!(
            (from.to_string(), to.to_string()),
            ("2026-03-06T18:30:00.000Z".into(), "2026-03-09T04:00:00.000Z".into())
        );
    }

    #[test]
    fn a_night_is_over_at_six() {
        let night = |text: &str| last_night(Timestamp::parse(text).unwrap(), Tz::Asia__Kolkata).to_string();
        assert_eq!(night("2026-03-10T05:59:59+05:30"), "2026-03-08");
        assert_eq!(night("2026-03-10T06:00:00+05:30"), "2026-03-09");
        assert_eq!(night("2026-03-10T23:00:00+05:30"), "2026-03-09");
    }
}
