//! What a contact is told: the body of a webhook, and the same as a mail. It names alerts, and has nothing of their evidence: no
//! position leaves the centre with it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use vigil_core::time::Timestamp;

/// How many alerts one message names: at a good thousand bytes each it stays below the 256 KiB that hooks commonly take. More of one
/// incident go in a further message.
pub const MAX_ALERTS: usize = 100;

/// The longest text of an alert in it: a summary is a sentence.
const MAX_TEXT: usize = 500;

/// The longest subject of a mail: what a list of mails shows, and a line of the protocol holds.
const MAX_SUBJECT: usize = 150;

/// A message, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// What it is: `alert.escalated`, or `alert.test`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was made.
    pub timestamp: Timestamp,
    /// What there is to know.
    pub data: Data,
}

/// What there is to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// One sentence on all of it.
    pub summary: String,
    /// The alerts; of one incident, if there are several.
    pub alerts: Vec<Named>,
}

/// An alert that nobody has taken on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Named {
    /// Whose site.
    pub tenant: String,
    /// Where.
    pub site: String,
    /// From which box.
    pub gateway: String,
    /// Its name.
    pub id: String,
    /// Which rule raised it.
    pub rule: String,
    /// How bad.
    pub severity: String,
    /// What it is about.
    pub subject: String,
    /// One sentence for a person.
    pub summary: String,
    /// When the rule held.
    pub detected_at: Timestamp,
    /// When the centre heard of it.
    pub received_at: Timestamp,
    /// With which others it is told as one.
    pub incident: Option<String>,
    /// Its page, below the address of the operators' pages.
    pub link: String,
}

/// A message that tells of nothing, for whoever sets a contact up.
pub fn test(at: Timestamp) -> Message {
    let summary = "a test: nothing has happened, and this contact can be reached".to_owned();
    Message { kind: "alert.test".to_owned(), timestamp: at, data: Data { summary, alerts: vec![] } }
}

/// The message of these alerts of one site.
pub fn of(alerts: Vec<Named>, at: Timestamp) -> Message {
    let alerts: Vec<Named> = alerts.into_iter().map(Named::cut).collect();
    let summary = match alerts.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.said(),
        [first, more @ ..] => format!("{}, and {} more of the same incident", first.said(), more.len()),
    };
    Message { kind: "alert.escalated".to_owned(), timestamp: at, data: Data { summary, alerts } }
}

impl Named {
    /// The path of an alert's page.
    pub fn path(tenant: &str, site: &str, gateway: &str, id: &str) -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'~');
        let part = |text: &str| -> String {
            text.bytes()
                .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
                .collect()
        };
        format!("/alerts/{}/{}/{}/{}", part(tenant), part(site), part(gateway), part(id))
    }

    fn said(&self) -> String {
        format!("{} {} at {}/{}: {}", self.severity, self.rule, self.tenant, self.site, self.summary)
    }

    fn cut(self) -> Self {
        let cut = |text: String| text.chars().take(MAX_TEXT).collect::<String>();
        Self { rule: cut(self.rule), subject: cut(self.subject), summary: cut(self.summary), ..self }
    }
}

impl Message {
    /// As JSON.
    pub fn written(&self) -> String {
        // A text and a list of texts can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The subject of a mail: one line, whatever is in it.
    pub fn subject(&self) -> String {
        let summary = self.data.summary.chars().map(|sign| if is_line_end(sign) { ' ' } else { sign });
        format!("[Vigil] {}", summary.take(MAX_SUBJECT).collect::<String>())
    }

    /// The text of a mail.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |said: std::fmt::Arguments<'_>| {
            let _infallible = writeln!(text, "{said}");
        };
        if self.data.alerts.is_empty() {
            line(format_args!("This is {}.", self.data.summary));
        } else {
            line(format_args!("Nobody at the operations centre has taken this on:"));
        }
        for alert in &self.data.alerts {
            let Named { tenant, site, gateway, id, rule, severity, subject, summary, .. } = alert;
            line(format_args!("\n{severity} {rule}: {}", summary.replace(is_line_end, " ")));
            line(format_args!("  Site      {tenant}/{site}, gateway {gateway}"));
            line(format_args!("  About     {}", subject.replace(is_line_end, " ")));
            line(format_args!("  Detected  {}", alert.detected_at));
            line(format_args!("  Received  {}", alert.received_at));
            line(format_args!("  Alert     {}", id.replace(is_line_end, " ")));
            line(format_args!("  Page      {} (below the address of the operations centre)", alert.link));
        }
        text
    }
}

fn is_line_end(sign: char) -> bool {
    sign.is_control() || matches!(sign, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1_773_160_000_000);

    fn named(id: &str) -> Named {
        Named {
            tenant: "acme".into(),
            site: "plant-7".into(),
            gateway: "gw-1".into(),
            id: id.into(),
            rule: "sos".into(),
            severity: "CRITICAL".into(),
            subject: "guard:G-7".into(),
            summary: "Asha Rao calls for help".into(),
            detected_at: AT,
            received_at: AT,
            incident: Some("a-1".into()),
            link: Named::path("acme", "plant-7", "gw-1", id),
        }
    }

    #[test]
    fn one_alert_and_several_are_each_one_sentence() {
        let one = of(vec![named("a-1")], AT);
        assert_eq!(one.subject(), "[Vigil] CRITICAL sos at acme/plant-7: Asha Rao calls for help");
        let three = of(vec![named("a-1"), named("a-2"), named("a-3")], AT);
        assert!(three.subject().ends_with("calls for help, and 2 more of the same incident"), "{three:?}");
        let text = three.text();
        assert!(["a-1", "a-2", "a-3"].iter().all(|id| text.contains(&format!("gw-1/{id} "))), "{text}");
        assert_eq!(serde_json::from_str::<Message>(&three.written()).unwrap(), three);
    }

    #[test]
    fn what_is_sent_is_not_larger_than_a_hook_takes() {
        let endless = "é".repeat(10_000);
        let alert = Named { summary: endless.clone(), subject: endless.clone(), rule: endless, ..named("a") };
        let long = Named { id: "i".repeat(100), ..alert };
        // A text of a gateway is a tenth as long; this is what it could come to.
        let body = of(vec![long; MAX_ALERTS], AT).written();
        assert!(body.len() < 512 * 1024, "{}", body.len());
        let usual = of(vec![named("0191e7f0-0000-7000-8000-000000000000"); MAX_ALERTS], AT).written();
        assert!(usual.len() < 64 * 1024, "{}", usual.len());
    }

    #[test]
    fn a_path_is_one_whatever_an_id_is() {
        assert_eq!(Named::path("acme", "p", "g", "a/b c"), "/alerts/acme/p/g/a%2Fb%20c");
    }

    #[test]
    fn a_test_says_that_it_is_one() {
        assert!(test(AT).text().starts_with("This is a test: nothing has happened"));
    }
}
