//! Where reports come from: what a ledger has to answer, and for whom.

use super::asked::Asked;
use super::facts::{AlertHead, DayDocument, Plan, RunDocument, Site};

/// The ledger cannot answer.
#[derive(Debug, thiserror::Error)]
#[error("the ledger cannot be read: {0}")]
pub struct NoSource(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Gives what reports are made of.
///
/// Who may read of which site is decided in `sites` and nowhere else: of no other site is anything asked, and what comes of
/// another is passed over.
pub trait ReportSource: Clone + Send + Sync + 'static {
    /// Who reads. Whoever guards the door lays it into the extensions of the request; without it nothing is answered.
    type Reader: Clone + Send + Sync + 'static;

    /// Every site of which this reader may see reports.
    fn sites(&self, reader: &Self::Reader) -> impl Future<Output = Result<Vec<Site>, NoSource>> + Send;

    /// The daily reports of these sites and dates, of each gateway and date only the latest revision.
    fn days(&self, asked: &Asked) -> impl Future<Output = Result<Vec<DayDocument>, NoSource>> + Send;

    /// The log entries of runs of these sites that were due within `asked.instants()`, of each only the latest revision.
    fn runs(&self, asked: &Asked) -> impl Future<Output = Result<Vec<RunDocument>, NoSource>> + Send;

    /// What every gateway of these sites has said last of the runs of its day.
    fn plans(&self, asked: &Asked) -> impl Future<Output = Result<Vec<Plan>, NoSource>> + Send;

    /// The alerts of these sites that were detected within `asked.instants()`; and, however old, every `task_overdue`
    /// that still holds (see [`AlertHead::holds`]).
    fn alerts(&self, asked: &Asked) -> impl Future<Output = Result<Vec<AlertHead>, NoSource>> + Send;
}
