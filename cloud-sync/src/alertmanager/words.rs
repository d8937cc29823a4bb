//! An alert in the words of Alertmanager's API v2. Pure: the same alert at the same instant gives the same bytes.
//!
//! Labels are what an alert *is* over there: one that changes makes another alert of it. So nothing that a revision changes
//! is a label, but for what people route by, the severity; whoever posts ends the alert under its earlier labels
//! (`memory`). Annotations go on to mail and chats of third parties: a sentence, and neither evidence, which holds
//! positions, nor what people found out.

use crate::wire::Origin;
use serde::Serialize;
use std::collections::BTreeMap;
use vigil_core::alert::Alert;
use vigil_core::time::Timestamp;

/// What an alert is.
pub(super) type Labels = BTreeMap<&'static str, String>;

/// One element of `POST /api/v2/alerts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Posted {
    labels: Labels,
    annotations: BTreeMap<&'static str, String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
}

/// The instants of a post, on the receiver's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// Now.
    pub now: Timestamp,
    /// Until when what stands is believed to stand without another word.
    pub until: Timestamp,
}

/// The labels of an alert as it is now.
pub(super) fn labels(origin: &Origin, alert: &Alert) -> Labels {
    let mut labels = Labels::from([
        ("alertname", alert.rule.to_string()),
        ("rule", alert.rule.to_string()),
        // Lower case, as everybody's routes have it: `severity="critical"`.
        ("severity", alert.severity.name().to_lowercase()),
        ("tenant", origin.tenant.to_string()),
        ("site", alert.site.to_string()),
        ("gateway", origin.gateway.to_string()),
        ("subject", alert.subject.to_string()),
        ("alert_id", alert.id.to_string()),
    ]);
    labels.extend(alert.guard.as_ref().map(|guard| ("guard", guard.to_string())));
    labels
}

/// The alert as it is now: until further notice, or ended.
pub(super) fn posted(labels: Labels, alert: &Alert, reading: Reading) -> Posted {
    let ends_at = ended_at(alert).map_or(reading.until, |at| at.min(reading.now));
    told(labels, alert, ends_at)
}

/// The end of the alert under labels that it has no more.
pub(super) fn given_up(labels: Labels, alert: &Alert, reading: Reading) -> Posted {
    let ends_at = ended_at(alert).unwrap_or(alert.updated_at).min(reading.now);
    told(labels, alert, ends_at)
}

/// An end that the receiver's clock has not reached would leave the alert standing there until then, and one before the
/// beginning would be refused: where the clocks differ, its own counts.
fn told(labels: Labels, alert: &Alert, ends_at: Timestamp) -> Posted {
    Posted { labels, annotations: annotations(alert), starts_at: alert.detected_at.min(ends_at), ends_at }
}

/// When it was over: when what it says stopped being so, or when somebody closed it.
fn ended_at(alert: &Alert) -> Option<Timestamp> {
    let closed = || alert.history.iter().rev().find(|step| step.status.is_final()).map(|step| step.at);
    let closed = || alert.status.is_final().then(|| closed().unwrap_or(alert.updated_at));
    alert.cleared_at.or_else(closed)
}

fn annotations(alert: &Alert) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("summary", alert.summary.clone()),
        ("status", alert.status.to_string()),
        ("revision", alert.revision.to_string()),
        ("escalated", alert.escalated.to_string()),
    ])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;
    use vigil_core::alert::{AlertId, Evidence, Rule, Severity, Status, Step, Subject, Verification};
    use vigil_core::evidence::{LastPosition, SafetyEvidence};
    use vigil_core::id::{DeviceId, GatewayId, GuardId, SiteId, TenantId};
    use vigil_core::time::Span;

    pub(crate) fn origin() -> Origin {
        Origin {
            tenant: TenantId::new("acme").unwrap(),
            site: SiteId::new("plant-7").unwrap(),
            gateway: GatewayId::new("gw-1").unwrap(),
        }
    }

    /// So many seconds after the call for help.
    pub(crate) fn at(secs: i64) -> Timestamp {
        Timestamp::parse("2026-03-10T20:30:00.500Z").unwrap() + Span::from_secs(secs)
    }

    /// A call for help of guard G-`n`.
    pub(crate) fn alert(n: u32) -> Alert {
        let guard = GuardId::new(&format!("G-{n}")).unwrap();
        let (site, subject) = (origin().site, Subject::Guard(guard.clone()));
        let device = DeviceId::new("hs-1").unwrap();
        let last_position = Some(LastPosition { lat: 12.97, lon: 77.59, accuracy_m: 5.0, at: at(-60) });
        let evidence = Evidence::Safety(SafetyEvidence {
            device,
            guard: Some(guard.clone()),
            note: None,
            last_position,
        });
        Alert {
            id: AlertId::of(&site, Rule::Sos, &subject, at(0)),
            revision: 1,
            site,
            rule: Rule::Sos,
            severity: Severity::High,
            status: Status::Detected,
            subject,
            guard: Some(guard),
            detected_at: at(0),
            updated_at: at(0),
            cleared_at: None,
            escalated: false,
            summary: "Asha calls for help at 02:00".into(),
            evidence,
            verification: Verification::NONE,
            history: vec![Step { at: at(0), by: "agent".into(), status: Status::Detected, note: None }],
        }
    }

    /// Taken further by a person.
    pub(crate) fn stepped(alert: &Alert, status: Status, when: Timestamp) -> Alert {
        let mut alert = Alert { revision: alert.revision + 1, status, updated_at: when, ..alert.clone() };
        alert.history.push(Step { at: when, by: "Ravi".into(), status, note: Some("heard him".into()) });
        alert
    }

    fn reading(secs: i64) -> Reading {
        Reading { now: at(secs), until: at(secs + 300) }
    }

    fn post(alert: &Alert, secs: i64) -> Posted {
        posted(labels(&origin(), alert), alert, reading(secs))
    }

    fn span(posted: &Posted) -> (Timestamp, Timestamp) {
        (posted.starts_at, posted.ends_at)
    }

    #[test]
    fn an_alert_that_stands_is_this_to_the_letter() {
        let alert = alert(7);
        let expected = concat!(
            r#"{"labels":{"alert_id":"083fc7ba-65d4-519a-ba6a-52c8bd7f165a","alertname":"sos","gateway":"gw-1","#,
            r#""guard":"G-7","rule":"sos","severity":"high","site":"plant-7","subject":"guard:G-7","tenant":"acme"},"#,
            r#""annotations":{"escalated":"false","revision":"1","status":"DETECTED","#,
            r#""summary":"Asha calls for help at 02:00"},"#,
            r#""startsAt":"2026-03-10T20:30:00.500Z","endsAt":"2026-03-10T20:35:02.500Z"}"#
        );
        assert_eq!(serde_json::to_string(&post(&alert, 2)).unwrap(), expected);
    }

    #[test]
    fn it_ends_when_it_cleared_or_when_somebody_closed_it() {
        let standing = alert(7);
        let cleared = Alert { cleared_at: Some(at(60)), ..standing.clone() };
        let seen_to = stepped(&standing, Status::Verifying, at(30));
        assert_eq!(span(&post(&cleared, 90)), (at(0), at(60)));
        assert_eq!(span(&post(&seen_to, 90)), (at(0), at(390)), "somebody is finding out: it stands");
        for status in [Status::Confirmed, Status::Resolved, Status::FalsePositive] {
            let mut closed = stepped(&seen_to, status, at(40));
            assert_eq!(span(&post(&closed, 90)), (at(0), at(40)));
            closed.cleared_at = Some(at(70));
            closed.updated_at = at(70);
            assert_eq!(span(&post(&closed, 90)), (at(0), at(70)));
        }
    }

    #[test]
    fn where_the_receiver_s_clock_is_behind_what_is_over_is_over_there_too() {
        let cleared = Alert { cleared_at: Some(at(60)), ..alert(7) };
        assert_eq!(span(&post(&cleared, 50)), (at(0), at(50)));
        assert_eq!(span(&post(&cleared, -500)), (at(-500), at(-500)), "and never ends before it begins");
        assert_eq!(
            span(&post(&alert(7), -500)),
            (at(-200), at(-200)),
            "what stands stands there until at(-200)"
        );
    }

    #[test]
    fn only_what_an_alert_is_makes_another_one_of_it() {
        let first = alert(7);
        let mut later = stepped(&first, Status::Confirmed, at(9));
        (later.escalated, later.cleared_at, later.summary) = (true, Some(at(9)), "another".into());
        assert_eq!(labels(&origin(), &first), labels(&origin(), &later));
        let worse = Alert { severity: Severity::Critical, ..first.clone() };
        assert_eq!(labels(&origin(), &worse)["severity"], "critical");
        let ended = given_up(labels(&origin(), &first), &worse, reading(9));
        assert_eq!(
            span(&ended),
            (at(0), at(0)),
            "under its old labels it ends with the revision that changed them"
        );
    }

    #[test]
    fn nobody_s_position_leaves_the_site() {
        let said = json!(post(&alert(7), 2)).to_string();
        assert!(!said.contains("12.97") && !said.contains("77.59"), "{said}");
    }
}
