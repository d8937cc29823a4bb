//! A summary laid out for whoever reads it: the whole, the days, the sites and the guards, and who stands where.

use super::asked::Asked;
use super::facts::Site;
use super::summary::{Mandatory, Summary, Sums};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use vigil_core::id::{DeviceId, GuardId, SiteId, TenantId};
use vigil_core::report::{Failures, Figures, Standing, rank, worst_first};
use vigil_core::time::Date;

/// One guard. The number of a guard is that of the company: with one number at two sites of one tenant, it is one
/// person, and which sites these are is said beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub guard: GuardId,
    /// Where there is something to tell of them.
    pub sites: BTreeSet<SiteId>,
}

/// Sums with what they are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<W> {
    /// A date, a site or a guard.
    pub who: W,
    /// Its sums.
    pub sums: Sums,
}

/// A range of days of a set of sites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was asked.
    pub asked: Asked,
    /// How many stored documents could not be read, and are not in the sums.
    pub unreadable: u64,
    /// All of it.
    pub total: Sums,
    /// Every date of the range, whether a report came or not.
    pub days: Vec<Line<Date>>,
    /// Every site.
    pub sites: Vec<Line<Site>>,
    /// Every guard of whom there is something to tell.
    pub guards: Vec<Line<Guard>>,
    /// Every device that failed, the longest down first.
    pub devices: Vec<(Site, DeviceId, Failures)>,
}

/// Who is ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Sites.
    Sites,
    /// Guards.
    Guards,
}

/// Which end of a ranking comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// The best.
    Best,
    /// The worst.
    Worst,
}

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Sites { "sites" } else { "guards" })
    }
}

impl fmt::Display for First {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Best { "best" } else { "worst" })
    }
}

/// Who stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who<'a> {
    /// A site.
    Site(&'a Site),
    /// A guard.
    Guard(&'a Guard),
}

impl Report {
    /// Lays out a summary. What was asked for and not sent is there, with nothing in it.
    pub fn of(asked: Asked, mut summary: Summary, unreadable: u64) -> Self {
        let days = asked
            .dates()
            .map(|date| Line { who: date, sums: summary.days.remove(&date).unwrap_or_default() });
        let (days, guards) = (days.collect(), guards(&summary));
        let (mut sites, mut devices, mut total) = (vec![], vec![], Sums::default());
        for (place, site) in &asked.sites {
            let one = summary.sites.remove(place).unwrap_or_default();
            let sums = one.sums();
            total.merge(&sums);
            sites.push(Line { who: site.clone(), sums });
            devices.extend(
                one.tally.devices.into_iter().map(|(device, failures)| (site.clone(), device, failures)),
            );
        }
        devices.sort_by_key(|(_, _, failures)| std::cmp::Reverse(failures.down_ms));
        Self { asked, unreadable, total, days, sites, guards, devices }
    }

    /// How many days of sites were asked for: as many reports should there be, with one gateway at each site.
    pub fn expected(&self) -> usize {
        self.days.len() * self.sites.len()
    }

    /// Sites or guards by compliance rate, as a gateway ranks: compared as fractions, equal rates share a place, the one
    /// with more runs stands first, and whoever had no run has no place.
    pub fn ranking(&self, of: Of, first: First) -> Vec<Standing<Who<'_>>> {
        let best_first = match of {
            Of::Sites => rank(self.sites.iter().map(|line| (Who::Site(&line.who), &line.sums.figures))),
            Of::Guards => rank(self.guards.iter().map(|line| (Who::Guard(&line.who), &line.sums.figures))),
        };
        if first == First::Best { best_first } else { worst_first(best_first) }
    }

    /// Runs that had to be walked.
    pub const fn mandatory(&self) -> Mandatory {
        self.total.mandatory
    }
}

fn guards(summary: &Summary) -> Vec<Line<Guard>> {
    let mut all: BTreeMap<(TenantId, GuardId), (BTreeSet<SiteId>, Figures)> = BTreeMap::new();
    for (place, site) in &summary.sites {
        for (guard, figures) in &site.tally.guards {
            let (sites, sum) = all.entry((place.tenant.clone(), guard.clone())).or_default();
            sites.insert(place.site.clone());
            sum.merge(figures);
        }
    }
    let line = |((tenant, guard), (sites, figures))| Line {
        who: Guard { tenant, guard, sites },
        sums: Sums { figures, ..Sums::default() },
    };
    all.into_iter().map(line).collect()
}
