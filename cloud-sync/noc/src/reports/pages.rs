//! Reports over HTTP: pages for people, JSON for programs, CSV for spreadsheets. Nothing of it changes anything.
//!
//! The forms of the pages need `form-action 'self'` in the content security policy of whoever serves them.

use super::asked::Asked;
use super::desk::{Desk, Unfinished};
use super::edge::{GlanceEdge, PlacesEdge, ReportEdge};
use super::facts::Site;
use super::question::{By, MAX_ROWS, Question, Senseless};
use super::report::{First, Of, Report};
use super::sheet::{self, Unwritten};
use super::source::ReportSource;
use super::views::{self, Choice};
use crate::door::Caller;
use crate::office::menu::menu;
use crate::openapi::Told;
use crate::refusal::Refusal;
use axum::Json;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse, Response};
use vigil_core::time::Timestamp;

type Here<S> = State<Desk<S>>;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum NoReport {
    /// The question makes no sense.
    #[error(transparent)]
    Senseless(#[from] Senseless),
    /// Nobody has said who reads.
    #[error("nobody has signed in; sign in and ask again")]
    Stranger,
    /// The ledger does not answer.
    #[error("the ledger cannot be read at the moment; ask again in a while")]
    Unfinished(#[from] Unfinished),
    /// The table cannot be written.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    /// The page cannot be written.
    #[error("the page cannot be written: {0}")]
    Unrendered(#[from] askama::Error),
}

impl NoReport {
    fn status(&self) -> StatusCode {
        match self {
            Self::Senseless(_) => StatusCode::BAD_REQUEST,
            Self::Stranger => StatusCode::UNAUTHORIZED,
            Self::Unfinished(error) => {
                tracing::error!(%error, "no report");
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Unwritten(_) | Self::Unrendered(_) => {
                tracing::error!(error = %self, "no report");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// The same for a person.
    fn page(&self, menu: &str) -> Response {
        let status = self.status();
        match views::error(menu, &self.to_string()) {
            Ok(page) => (status, Html(page)).into_response(),
            Err(_) => (status, self.to_string()).into_response(),
        }
    }
}

impl IntoResponse for NoReport {
    fn into_response(self) -> Response {
        (self.status(), Refusal::of(&self)).into_response()
    }
}

/// Who asks, and the words of the question.
pub struct Reading<S: ReportSource> {
    reader: S::Reader,
    pairs: Vec<(String, String)>,
    /// The ways to other pages; of whoever did not come in by the door there are none.
    menu: String,
}

impl<S: ReportSource, T: Sync> FromRequestParts<T> for Reading<S> {
    type Rejection = NoReport;

    async fn from_request_parts(parts: &mut Parts, _: &T) -> Result<Self, NoReport> {
        let reader = parts.extensions.get::<S::Reader>().cloned().ok_or(NoReport::Stranger)?;
        // A query of pairs can hardly be wrong; one that is says nothing.
        let pairs = Query::try_from_uri(&parts.uri).map(|Query(pairs)| pairs).unwrap_or_default();
        let caller = parts.extensions.get::<Caller>();
        let menu = caller.map(|caller| menu(caller, parts.uri.path())).unwrap_or_default();
        Ok(Self { reader, pairs, menu })
    }
}

/// A question that makes sense.
struct Put {
    question: Question,
    /// Every site that the reader may see.
    all: Vec<Site>,
    /// Those that were chosen.
    chosen: Vec<Site>,
    now: Timestamp,
}

impl Put {
    async fn of<S: ReportSource>(
        desk: &Desk<S>,
        reading: Reading<S>,
        allowed: &[&str],
    ) -> Result<Self, NoReport> {
        let question = Question::read(&reading.pairs, allowed)?;
        let all = desk.source.sites(&reading.reader).await.map_err(Unfinished::from)?;
        let chosen = question.sites(all.clone())?;
        Ok(Self { question, all, chosen, now: (desk.now)() })
    }

    fn range(&self) -> Result<Asked, Senseless> {
        self.question.range(self.chosen.clone(), self.now)
    }

    fn choice(&self, asked: &Asked) -> Choice {
        Choice::of(&self.question, &self.all, asked)
    }
}

const RANGE: [&str; 3] = ["from", "to", "site"];
const SHEET: [&str; 4] = ["from", "to", "site", "by"];
const RANKING: [&str; 6] = ["from", "to", "site", "of", "first", "limit"];

/// The glance of today and of the week.
pub async fn dashboard<S: ReportSource>(
    State(desk): Here<S>,
    mut reading: Reading<S>,
) -> Result<Html<String>, Response> {
    let menu = std::mem::take(&mut reading.menu);
    let page = async {
        let put = Put::of(&desk, reading, &["site"]).await?;
        let sites = put.question.day(put.chosen.clone(), put.now);
        let choice = put.choice(&sites);
        let (glance, week) = desk.glance(sites, put.now).await?;
        Ok(views::dashboard(&menu, &choice, &glance, &week)?)
    };
    page.await.map(Html).map_err(|error: NoReport| error.page(&menu))
}

/// Any range of any sites.
pub async fn reports<S: ReportSource>(
    State(desk): Here<S>,
    mut reading: Reading<S>,
) -> Result<Html<String>, Response> {
    let menu = std::mem::take(&mut reading.menu);
    let page = async {
        let put = Put::of(&desk, reading, &RANGE).await?;
        let asked = put.range()?;
        let choice = put.choice(&asked);
        Ok(views::report(&menu, &choice, &desk.report(asked).await?)?)
    };
    page.await.map(Html).map_err(|error: NoReport| error.page(&menu))
}

/// One day, to be printed.
pub async fn daily<S: ReportSource>(
    State(desk): Here<S>,
    mut reading: Reading<S>,
) -> Result<Html<String>, Response> {
    let menu = std::mem::take(&mut reading.menu);
    let page = async {
        let put = Put::of(&desk, reading, &["date", "site"]).await?;
        let asked = put.question.day(put.chosen.clone(), put.now);
        let choice = put.choice(&asked);
        Ok(views::daily(&menu, &choice, &desk.report(asked).await?)?)
    };
    page.await.map(Html).map_err(|error: NoReport| error.page(&menu))
}

/// The best or the worst first.
pub async fn rankings<S: ReportSource>(
    State(desk): Here<S>,
    mut reading: Reading<S>,
) -> Result<Html<String>, Response> {
    let menu = std::mem::take(&mut reading.menu);
    let page = async {
        let put = Put::of(&desk, reading, &RANKING).await?;
        let asked = put.range()?;
        let choice = put.choice(&asked);
        let (of, first) = ranked(&put.question);
        let report = desk.report(asked).await?;
        Ok(views::ranking(&menu, &choice, &report, of, first, put.question.limit())?)
    };
    page.await.map(Html).map_err(|error: NoReport| error.page(&menu))
}

fn ranked(question: &Question) -> (Of, First) {
    (question.of.unwrap_or(Of::Sites), question.first.unwrap_or(First::Best))
}

/// The dashboard for programs.
pub async fn api_dashboard<S: ReportSource>(
    State(desk): Here<S>,
    reading: Reading<S>,
) -> Result<Response, NoReport> {
    let put = Put::of(&desk, reading, &["site"]).await?;
    let (glance, week) = desk.glance(put.question.day(put.chosen, put.now), put.now).await?;
    Ok(Json(glance.edge(&week, put.now)).into_response())
}

async fn asked_for<S: ReportSource>(
    desk: &Desk<S>,
    reading: Reading<S>,
    allowed: &[&str],
) -> Result<(Question, Report), NoReport> {
    let put = Put::of(desk, reading, allowed).await?;
    let report = desk.report(put.range()?).await?;
    Ok((put.question, report))
}

/// The report for programs.
pub async fn api_reports<S: ReportSource>(
    State(desk): Here<S>,
    reading: Reading<S>,
) -> Result<Response, NoReport> {
    let (_, report) = asked_for(&desk, reading, &RANGE).await?;
    Ok(Json(report.edge(MAX_ROWS)).into_response())
}

/// A ranking for programs.
pub async fn api_rankings<S: ReportSource>(
    State(desk): Here<S>,
    reading: Reading<S>,
) -> Result<Response, NoReport> {
    let (question, report) = asked_for(&desk, reading, &RANKING).await?;
    let (of, first) = ranked(&question);
    Ok(Json(report.places_edge(of, first, question.limit())).into_response())
}

/// What the document says of the dashboard.
pub fn dashboard_tells(told: &mut Told<'_>) {
    told.called("showDashboard", "The numbers of today and of the last week");
    told.gives::<GlanceEdge<'_>>(200, "The numbers.");
    asked_tells(told, &["site"]);
}

/// What the document says of the report.
pub fn reports_tell(told: &mut Told<'_>) {
    told.called("showReport", "Any range of days of any sites, added up");
    told.gives::<ReportEdge<'_>>(200, "The report.");
    asked_tells(told, &RANGE);
}

/// What the document says of a ranking.
pub fn rankings_tell(told: &mut Told<'_>) {
    told.called("showRanking", "Sites or guards, the best or the worst first");
    told.gives::<PlacesEdge<'_>>(200, "The ranking.");
    asked_tells(told, &RANKING);
}

/// What the document says of the report for spreadsheets.
pub fn csv_reports_tell(told: &mut Told<'_>) {
    told.called("reportAsCsv", "The same report for spreadsheets");
    told.gives_text(200, "text/csv", "The table.");
    asked_tells(told, &SHEET);
}

/// What the document says of a ranking for spreadsheets.
pub fn csv_rankings_tell(told: &mut Told<'_>) {
    told.called("rankingAsCsv", "The same ranking for spreadsheets");
    told.gives_text(200, "text/csv", "The table.");
    asked_tells(told, &RANKING);
}

fn asked_tells(told: &mut Told<'_>, allowed: &[&str]) {
    Question::tells(told, allowed);
    told.may_be_empty(allowed);
    told.refuses(400, "the question makes no sense; says which parameter and how to mend it");
    told.refuses(500, "the table cannot be written");
}

/// The report for spreadsheets.
pub async fn csv_reports<S: ReportSource>(
    State(desk): Here<S>,
    reading: Reading<S>,
) -> Result<Response, NoReport> {
    let (question, report) = asked_for(&desk, reading, &SHEET).await?;
    let text = sheet::report(&report, question.by.unwrap_or(By::Day))?;
    Ok(file(&format!("reports-{}-{}.csv", report.asked.from, report.asked.to), text))
}

/// A ranking for spreadsheets.
pub async fn csv_rankings<S: ReportSource>(
    State(desk): Here<S>,
    reading: Reading<S>,
) -> Result<Response, NoReport> {
    let (question, report) = asked_for(&desk, reading, &RANKING).await?;
    let (of, first) = ranked(&question);
    let text = sheet::ranking(&report, of, first, question.limit())?;
    Ok(file(&format!("ranking-of-{of}-{}-{}.csv", report.asked.from, report.asked.to), text))
}

fn file(name: &str, text: String) -> Response {
    let kind = "text/csv; charset=utf-8; header=present".to_owned();
    ([(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""))], text)
        .into_response()
}
