//! The log of tours: what became of every run, the newest first.

use super::Desk;
use super::asked::NoAnswer;
use crate::store::RunQuery;
use axum::Json;
use axum::extract::{Query, State};
use std::sync::Arc;
use vigil_core::rules::compliance::{Compliance, RunRecord};
use vigil_core::time::{Span, Timestamp};

/// What is answered if nobody says how many: a week of a site with six tours an hour.
const USUAL: usize = 1_000;
/// The most that are answered at once: about 10 MB.
const MOST: usize = 10_000;

/// The runs that are asked for, as a list.
pub(super) async fn runs(
    State(desk): State<Arc<Desk>>,
    Query(asked): Query<Vec<(String, String)>>,
) -> Result<Json<Vec<RunRecord>>, NoAnswer> {
    let now = desk.status().await?.view.now;
    let (query, limit) = wanted(&asked, now).map_err(NoAnswer::Senseless)?;
    let (mut runs, mut next) = (Vec::new(), None);
    // The pump does its work between the pieces.
    while runs.len() < limit {
        let found = desk.pump.runs(query.clone(), next).await?;
        runs.extend(found.runs);
        next = found.next;
        if next.is_none() {
            break;
        }
    }
    runs.truncate(limit);
    Ok(Json(runs))
}

/// What is wanted, and how many at most; or what makes no sense, and how it would.
fn wanted(asked: &[(String, String)], now: Timestamp) -> Result<(RunQuery, usize), String> {
    let (mut query, mut limit) = (RunQuery::default(), USUAL);
    for (name, value) in asked {
        let expected = |what: &str| format!("{name} is {value:?}; {what} is expected");
        match name.as_str() {
            "since" => query.since = since(value, now).ok_or_else(|| expected(SINCE))?,
            "tour" => query.tour = Some(value.parse().map_err(|_| expected("the id of a tour"))?),
            "compliance" => {
                let classes = value.split(',').map(Compliance::named).collect::<Option<Vec<_>>>();
                query.compliance =
                    classes.ok_or_else(|| expected(&format!("one or more of {}", classes_named())))?;
            }
            "limit" => {
                let most = value.parse().ok().filter(|n| (1..=MOST).contains(n));
                limit = most.ok_or_else(|| expected(&format!("a number from 1 to {MOST}")))?;
            }
            _ => return Err(format!("{name:?} cannot be asked; since, tour, compliance and limit can")),
        }
    }
    Ok((query, limit))
}

const SINCE: &str = "an instant like 2026-03-10T20:00:00Z, or how long ago, like 12h or 7d,";

fn since(text: &str, now: Timestamp) -> Option<Timestamp> {
    Span::parse(text).map(|ago| now - ago).ok().or_else(|| Timestamp::parse(text).ok())
}

fn classes_named() -> String {
    Compliance::ALL.map(Compliance::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Result<(RunQuery, usize), String> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let asked: Vec<(String, String)> =
            pairs.filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect();
        wanted(&asked, Timestamp::parse("2026-03-10T20:00:00Z").unwrap())
    }

    #[test]
    fn what_is_asked_is_what_is_looked_for() {
        assert_eq!(asked(""), Ok((RunQuery::default(), USUAL)));
        let (query, limit) =
            asked("since=12h&tour=round&compliance=NOT_STARTED,GUARD_ABSENT&limit=7").unwrap();
        let expected = RunQuery {
            since: Timestamp::parse("2026-03-10T08:00:00Z").unwrap(),
            tour: "round".parse().ok(),
            compliance: vec![Compliance::NotStarted, Compliance::GuardAbsent],
        };
        assert_eq!((query, limit), (expected, 7));
        let (query, _) = asked("since=2026-03-10T20:00:00+05:30").unwrap();
        assert_eq!(query.since.to_string(), "2026-03-10T14:30:00.000Z");
    }

    #[test]
    fn what_makes_no_sense_is_told_with_what_would() {
        for (query, why) in [
            (
                "since=yesterday",
                "since is \"yesterday\"; an instant like 2026-03-10T20:00:00Z, or how long ago",
            ),
            ("tour=a%20b", "tour is \"a%20b\"; the id of a tour is expected"),
            (
                "compliance=LATE",
                "compliance is \"LATE\"; one or more of GUARD_ABSENT, NOT_STARTED, PARTIAL_COMPLETION",
            ),
            ("limit=0", "limit is \"0\"; a number from 1 to 10000 is expected"),
            ("limit=10001", "limit is \"10001\"; a number from 1 to 10000 is expected"),
            ("guard=G-7", "\"guard\" cannot be asked; since, tour, compliance and limit can"),
        ] {
            let told = asked(query).unwrap_err();
            assert!(told.starts_with(why), "{query}: {told}");
        }
    }
}
