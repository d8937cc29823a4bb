//! Which contacts are to be told of an alert, and when it is to be looked at again. Pure.

use super::Contact;
use std::collections::BTreeSet;
use vigil_core::id::{SiteId, TenantId};
use vigil_core::time::{Span, Timestamp};

/// So long after it was due something is still told: as long as a contact is tried. A receiver that was down for longer, or that
/// gets its first step while old alerts are open, wakes nobody for what is of the day before.
pub const TOO_LATE: Span = Span::from_hours(24);

/// One rung of the ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Of whose alerts; of all without it.
    pub tenant: Option<TenantId>,
    /// At which site of that tenant.
    pub site: Option<SiteId>,
    /// How bad they are.
    pub severities: Vec<String>,
    /// Of which rules; of all if there is none.
    pub rules: Vec<String>,
    /// How long nobody has taken it on.
    pub after: Span,
    /// Who is told.
    pub to: Vec<String>,
}

/// What of an alert counts for whom it is told to.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'a> {
    /// Whose site.
    pub tenant: &'a str,
    /// Where.
    pub site: &'a str,
    /// How bad.
    pub severity: &'a str,
    /// Which rule raised it.
    pub rule: &'a str,
    /// When its first revision came to the receiver.
    pub first_at: Timestamp,
}

/// What is to be done about an alert that nobody has taken on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook<'a> {
    /// Who is to be told by now.
    pub due: BTreeSet<&'a str>,
    /// When the next step comes, if there is one.
    pub next: Option<Timestamp>,
}

impl Step {
    fn is_for(&self, alert: &Waiting<'_>) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| tenant.as_str() == alert.tenant)
            && self.site.as_ref().is_none_or(|site| site.as_str() == alert.site)
            && self.severities.iter().any(|severity| severity == alert.severity)
            && (self.rules.is_empty() || self.rules.iter().any(|rule| rule == alert.rule))
    }
}

/// Who is to be told of `alert` at `now`, and when to look again.
pub fn outlook<'a>(
    steps: &'a [Step],
    contacts: &[Contact],
    alert: &Waiting<'_>,
    now: Timestamp,
) -> Outlook<'a> {
    // The configuration keeps tenants apart; what goes to somebody outside is looked at twice.
    let may_hear = |name: &str| {
        let known = contacts.iter().find(|contact| contact.name == name);
        known.is_some_and(|contact| contact.tenant.as_ref().is_none_or(|own| own.as_str() == alert.tenant))
    };
    let (mut due, mut next) = (BTreeSet::new(), None::<Timestamp>);
    for step in steps.iter().filter(|step| step.is_for(alert)) {
        let at = alert.first_at + step.after;
        if at > now {
            next = Some(next.map_or(at, |next| next.min(at)));
        } else if now.since(at) <= TOO_LATE {
            due.extend(step.to.iter().map(String::as_str).filter(|name| may_hear(name)));
        }
    }
    Outlook { due, next }
}

#[cfg(test)]
mod tests {
    use super::super::Way;
    use super::*;
    use proptest::prelude::*;

    const FIRST: Timestamp = Timestamp::from_millis(1_773_160_000_000);

    fn tenant(name: &str) -> Option<TenantId> {
        TenantId::new(name).ok()
    }

    fn step(after: i64, to: &[&str]) -> Step {
        Step {
            tenant: None,
            site: None,
            severities: vec!["CRITICAL".to_owned()],
            rules: vec![],
            after: Span::from_mins(after),
            to: to.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn contacts() -> Vec<Contact> {
        let named = |name: &str, of: Option<TenantId>| Contact {
            name: name.to_owned(),
            tenant: of,
            way: Way::Mail { address: "a@b.example".to_owned() },
        };
        vec![named("duty", None), named("boss", None), named("of-acme", tenant("acme"))]
    }

    const SOS: Waiting<'_> =
        Waiting { tenant: "acme", site: "plant-7", severity: "CRITICAL", rule: "sos", first_at: FIRST };

    fn told(steps: &[Step], alert: &Waiting<'_>, minutes: i64) -> (Vec<String>, Option<i64>) {
        let contacts = contacts();
        let found = outlook(steps, &contacts, alert, FIRST + Span::from_mins(minutes));
        let next = found.next.map(|at| at.since(FIRST).millis() / 60_000);
        (found.due.into_iter().map(str::to_owned).collect(), next)
    }

    #[test]
    fn a_ladder_goes_up_rung_by_rung() {
        let ladder = [step(5, &["duty"]), step(15, &["boss", "duty"])];
        for (minutes, due, next) in [
            (-60, &[][..], Some(5)),
            (0, &[], Some(5)),
            (5, &["duty"], Some(15)),
            (14, &["duty"], Some(15)),
            (15, &["boss", "duty"], None),
            (5 + 24 * 60, &["boss", "duty"], None),
            (6 + 24 * 60, &["boss", "duty"], None),
            (16 + 24 * 60, &[], None),
        ] {
            let due: Vec<String> = due.iter().map(|name: &&str| (*name).to_owned()).collect();
            assert_eq!(told(&ladder, &SOS, minutes), (due, next), "{minutes}");
        }
    }

    #[test]
    fn a_step_is_for_what_it_names_and_for_nothing_else() {
        let all = step(0, &["duty"]);
        let rule = Step { rules: vec!["man_down".to_owned()], ..all.clone() };
        let high = Step { severities: vec!["HIGH".to_owned()], ..all.clone() };
        let there = Step { tenant: tenant("acme"), site: SiteId::new("plant-7").ok(), ..all.clone() };
        let elsewhere = Step { site: SiteId::new("plant-8").ok(), ..there.clone() };
        let others = Step { tenant: tenant("zeta"), ..all.clone() };
        for (step, is_told) in
            [(all, true), (rule, false), (high, false), (there, true), (elsewhere, false), (others, false)]
        {
            assert_eq!(!told(std::slice::from_ref(&step), &SOS, 0).0.is_empty(), is_told, "{step:?}");
        }
    }

    #[test]
    fn nobody_hears_of_another_tenant() {
        let steps = [step(0, &["of-acme", "duty"])];
        let foreign = Waiting { tenant: "zeta", ..SOS };
        assert_eq!(told(&steps, &SOS, 0).0, ["duty", "of-acme"]);
        assert_eq!(told(&steps, &foreign, 0).0, ["duty"]);
    }

    proptest! {
        #[test]
        fn whoever_looks_when_it_says_misses_nobody(
            delays in prop::collection::vec(0_i64..1_440, 1..6),
            start in -100_i64..2_000,
        ) {
            let steps: Vec<Step> = delays.iter().map(|after| step(*after, &["duty"])).collect();
            let contacts = contacts();
            let (mut now, mut looks, mut told) = (FIRST + Span::from_mins(start), 0, false);
            loop {
                let found = outlook(&steps, &contacts, &SOS, now);
                told |= !found.due.is_empty();
                // Only what lies ahead is waited for, so the looks come to an end.
                let Some(next) = found.next else { break };
                prop_assert!(next > now);
                (now, looks) = (next, looks + 1);
                prop_assert!(looks <= steps.len());
            }
            let last = delays.iter().max().copied().unwrap_or(0);
            prop_assert_eq!(told, start - last <= 24 * 60);
        }

        #[test]
        fn nobody_is_told_early(after in 1_i64..1_440, early in 1_i64..1_440) {
            let (due, next) = told(&[step(after, &["duty"])], &SOS, after - early);
            prop_assert_eq!((due.len(), next), (0, Some(after)));
        }
    }
}
