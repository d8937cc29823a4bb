//! Daily reports and the ranking of guards, over any range of days that are kept.

use super::Desk;
use super::asked::NoAnswer;
use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use vigil_core::report::{DailyReport, Tally, ranking, worst_first};
use vigil_core::time::Date;

/// So many days are kept (contract 2); a range of more is a slip of the pen.
const MOST_DAYS: usize = 400;

/// What may be asked: dates on the site's calendar, and which end of the ranking comes first.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    from: Option<String>,
    to: Option<String>,
    first: Option<String>,
}

/// The reports of each day, and their sum.
pub(super) async fn reports(
    State(desk): State<Arc<Desk>>,
    Query(asked): Query<Asked>,
) -> Result<Response, NoAnswer> {
    let (from, to, reports) = found(&desk, &asked).await?;
    let days: Vec<_> = reports.iter().map(DailyReport::edge).collect();
    let sum = sum(&reports);
    Ok(Json(json!({"from": from, "to": to, "reports": days, "sum": sum.edge()})).into_response())
}

/// The guards by compliance rate.
pub(super) async fn guards(
    State(desk): State<Arc<Desk>>,
    Query(asked): Query<Asked>,
) -> Result<Response, NoAnswer> {
    let worst = match asked.first.as_deref() {
        None | Some("best") => false,
        Some("worst") => true,
        Some(other) => {
            return Err(NoAnswer::Senseless(format!("first is {other:?}; best and worst are allowed")));
        }
    };
    let (from, to, reports) = found(&desk, &asked).await?;
    let best_first = ranking(&sum(&reports));
    let standings = if worst { worst_first(best_first) } else { best_first };
    let ranking: Vec<_> = standings.iter().map(|standing| standing.edge()).collect();
    let days = reports.len();
    Ok(Json(json!({"from": from, "to": to, "days": days, "ranking": ranking})).into_response())
}

async fn found(desk: &Desk, asked: &Asked) -> Result<(Date, Date, Vec<DailyReport>), NoAnswer> {
    let today = desk.status().await?.view.today();
    let (from, to) = range(asked, today).map_err(NoAnswer::Senseless)?;
    Ok((from, to, desk.pump.reports(from, to).await?))
}

/// Yesterday and today unless asked otherwise; one date alone is a range up to today, or of one day.
fn range(asked: &Asked, today: Date) -> Result<(Date, Date), String> {
    let date = |name: &str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => match text.parse::<Date>() {
            Ok(date) => Ok(Some(date)),
            Err(_) => Err(format!("{name} is {text:?}; a date like 2026-03-10 is expected")),
        },
    };
    let (from, to) = (date("from", &asked.from)?, date("to", &asked.to)?);
    let yesterday = today.pred_opt().unwrap_or(today);
    let to = to.unwrap_or(today);
    let from = from.unwrap_or(if asked.to.is_some() { to } else { yesterday });
    if from > to {
        return Err(format!("from {from} lies after to {to}; swap them"));
    }
    if from.iter_days().take_while(|date| *date <= to).nth(MOST_DAYS).is_some() {
        return Err(format!("{from} to {to} is too long; at most {MOST_DAYS} days are kept"));
    }
    Ok((from, to))
}

fn sum(reports: &[DailyReport]) -> Tally {
    let mut sum = Tally::default();
    reports.iter().for_each(|report| sum.merge(&report.tally));
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(from: &str, to: &str) -> Result<String, String> {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let asked = Asked { from: text(from), to: text(to), first: None };
        range(&asked, "2026-03-11".parse().unwrap()).map(|(from, to)| format!("{from} {to}"))
    }

    #[test]
    fn the_table_of_ranges() {
        let good = |from: &str, to: &str| asked(from, to).unwrap();
        assert_eq!(good("", ""), "2026-03-10 2026-03-11");
        assert_eq!(good("2026-03-01", ""), "2026-03-01 2026-03-11");
        assert_eq!(good("", "2026-03-01"), "2026-03-01 2026-03-01");
        assert_eq!(good("2026-03-01", "2026-03-07"), "2026-03-01 2026-03-07");
        assert_eq!(good("2025-02-05", "2026-03-11"), "2025-02-05 2026-03-11", "exactly 400 days");
        for (from, to, why) in [
            ("yesterday", "", "from is \"yesterday\"; a date like 2026-03-10 is expected"),
            ("", "2026-13-01", "to is \"2026-13-01\"; a date like 2026-03-10 is expected"),
            ("2026-03-12", "", "from 2026-03-12 lies after to 2026-03-11; swap them"),
            ("2025-02-04", "2026-03-11", "2025-02-04 to 2026-03-11 is too long; at most 400 days are kept"),
            ("-262143-01-01", "", "-262143-01-01 to 2026-03-11 is too long; at most 400 days are kept"),
        ] {
            assert_eq!(asked(from, to).unwrap_err(), why);
        }
    }
}
