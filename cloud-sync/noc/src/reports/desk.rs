//! Reads what a report is made of, piece by piece, and adds it up beside the threads that answer.

use super::asked::Asked;
use super::facts::{Day, Run, Unreadable};
use super::glance::{Glance, lately, week};
use super::report::Report;
use super::source::{NoSource, ReportSource};
use super::summary::Summary;
use crate::clock::Now;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use vigil_core::time::Timestamp;

/// How many reports are added up at once: one for each core of a small server. Gateways must not wait for a year's sums.
const AT_ONCE: usize = 2;

/// Where reports are made.
#[derive(Clone)]
pub struct Desk<S> {
    /// What they are made of.
    pub source: S,
    /// What time it is.
    pub now: Now,
    seats: Arc<Semaphore>,
}

/// A sum that ended early.
#[derive(Debug, thiserror::Error)]
pub enum Unfinished {
    /// The ledger does not answer.
    #[error(transparent)]
    Source(#[from] NoSource),
    /// Whoever added up is gone: the receiver stops, or there is a defect.
    #[error("the sums were not finished: {0}")]
    Gone(#[from] tokio::task::JoinError),
    /// The receiver stops.
    #[error("the receiver stops")]
    Closed(#[from] tokio::sync::AcquireError),
}

impl<S: ReportSource> Desk<S> {
    /// Makes reports of what `source` has.
    pub fn open(source: S, now: Now) -> Self {
        Self { source, now, seats: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The report of these sites and days.
    pub async fn report(&self, asked: Asked) -> Result<Report, Unfinished> {
        let seat = self.seats.acquire().await?;
        let (mut summary, mut unreadable) = (Summary::default(), 0);
        for piece in asked.pieces() {
            let (days, runs) = (self.source.days(&piece).await?, self.source.runs(&piece).await?);
            (summary, unreadable) = spawn_blocking(move || {
                for document in &days {
                    readable(Day::read(document), &mut unreadable)
                        .iter()
                        .for_each(|day| summary.on_day(&piece, day));
                }
                for document in &runs {
                    readable(Run::read(document), &mut unreadable)
                        .iter()
                        .for_each(|run| summary.on_run(&piece, run));
                }
                (summary, unreadable)
            })
            .await?;
        }
        let report = spawn_blocking(move || Report::of(asked, summary, unreadable)).await?;
        drop(seat);
        Ok(report)
    }

    /// How it stands at these sites, and the week behind it.
    pub async fn glance(&self, sites: Asked, now: Timestamp) -> Result<(Glance, Report), Unfinished> {
        let week = self.report(week(&sites, now)).await?;
        let seat = self.seats.acquire().await?;
        let lately = lately(&sites, now);
        let (alerts, runs) = (self.source.alerts(&lately).await?, self.source.runs(&lately).await?);
        let plans = self.source.plans(&lately).await?;
        let glance = spawn_blocking(move || {
            let mut glance = Glance::begin(&lately, now);
            alerts.iter().for_each(|alert| glance.on_alert(&lately, now, alert));
            let mut unreadable = 0;
            for document in &runs {
                let run = readable(Run::read(document), &mut unreadable);
                run.iter().for_each(|run| glance.on_run(&lately, now, run));
            }
            plans.iter().for_each(|plan| glance.on_plan(&lately, now, plan));
            glance.unreadable = unreadable;
            glance
        })
        .await?;
        drop(seat);
        Ok((glance, week))
    }
}

/// One document that nobody can read spoils no report: it is counted, said beside the sums, and named in the log.
fn readable<T>(read: Result<T, Unreadable>, unreadable: &mut u64) -> Option<T> {
    match read {
        Ok(read) => Some(read),
        Err(error) => {
            tracing::warn!(%error, "passed over");
            *unreadable += 1;
            None
        }
    }
}
