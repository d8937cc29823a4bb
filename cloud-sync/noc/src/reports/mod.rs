//! Section 12 at the operations centre: what the nights of many sites were like, from what their gateways sent.
//!
//! ```text
//!  ReportSource ─► facts ─► summary (sums that merge) ─► report ─┬─► edge (JSON)
//!   (the ledger)     │                                           ├─► sheet (CSV)
//!                    └────► glance (how it stands now) ──────────┴─► views (HTML)
//! ```
//!
//! The sums are those of the gateways: nothing is counted anew that a day's report has counted, so an operations centre
//! and a gateway never tell two truths of one night. Rates are made at the edges, because rates do not add up. Which
//! ledger keeps the reports, and who may read of which site, is the source's to know (decision 0044).

mod asked;
mod chart;
mod desk;
mod edge;
mod facts;
mod glance;
pub mod pages;
mod question;
mod report;
mod rows;
mod sheet;
mod source;
mod summary;
mod views;
mod words;

pub use asked::{Asked, MAX_DAYS, MAX_SITE_DAYS, MAX_SITES};
pub use desk::Desk;
pub use edge::{GlanceEdge, PlacesEdge, ReportEdge, SumsEdge};
pub use facts::{AlertHead, Day, DayDocument, Place, Plan, Run, RunDocument, Site, Unreadable};
pub use glance::Glance;
pub use question::Senseless;
pub use report::{Guard, Line, Report};
pub use source::{NoSource, ReportSource};
pub use summary::{Blindness, Mandatory, Outages, SiteSums, Summary, Sums};
