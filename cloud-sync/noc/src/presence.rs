//! Whether a gateway is there: how long it has been silent, and how long it may be.

use crate::ledger::GatewayRow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vigil_core::time::{Span, Timestamp};

/// After that silence a gateway counts as lost: three heartbeats of 30 s.
pub const LOST_AFTER: Span = Span::from_secs(90);
/// The longest reporting time that is believed: a gateway must not declare itself present for a year.
const MAX_REPORTING_SECS: u32 = 3_600;

/// A gateway as of now.
#[derive(Serialize, JsonSchema)]
pub struct Heard {
    #[serde(flatten)]
    row: GatewayRow,
    /// For how long nothing has come; `null` if nothing ever came.
    silent_secs: Option<i64>,
    /// It has been silent for longer than it may be.
    lost: bool,
}

impl Heard {
    pub fn at(now: Timestamp, row: GatewayRow) -> Self {
        let silence = row.last_heard_at.map(|at| now.since(at).max(Span::ZERO));
        let lost = silence.is_none_or(|silence| silence > patience(&row));
        Self { row, silent_secs: silence.map(|s| s.millis() / 1_000), lost }
    }

    /// Its latest health record.
    pub fn health(&self) -> Option<&str> {
        self.row.health.as_deref().map(|health| health.get())
    }
}

/// How long a gateway may be silent: three times what it declares to be its reporting time, and not less than usual.
pub fn patience(row: &GatewayRow) -> Span {
    #[derive(Deserialize)]
    struct Declared {
        reports_every_secs: u32,
    }
    let declared = row.health.as_ref().and_then(|h| serde_json::from_str::<Declared>(h.get()).ok());
    let secs = declared.map_or(0, |d| i64::from(d.reports_every_secs.min(MAX_REPORTING_SECS)));
    LOST_AFTER.max(Span::from_secs(3 * secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(silent_ms: Option<i64>) -> (Option<i64>, bool) {
        declaring(silent_ms, None)
    }

    fn declaring(silent_ms: Option<i64>, health: Option<&str>) -> (Option<i64>, bool) {
        let now = Timestamp::from_millis(1_773_160_000_000);
        let row = GatewayRow {
            tenant: "acme".into(),
            site: "plant-7".into(),
            gateway: "gw-1".into(),
            last_heard_at: silent_ms.map(|ms| now - Span::from_millis(ms)),
            highest_sequence: None,
            missing: 0,
            reused: 0,
            holes: vec![],
            health: health.map(|h| serde_json::value::RawValue::from_string(h.to_owned()).unwrap()),
        };
        let heard = Heard::at(now, row);
        (heard.silent_secs, heard.lost)
    }

    #[test]
    fn a_gateway_is_lost_after_ninety_seconds_of_silence() {
        assert_eq!(heard(Some(90_000)), (Some(90), false));
        assert_eq!(heard(Some(90_001)), (Some(90), true));
        assert_eq!(heard(None), (None, true));
        assert_eq!(heard(Some(-5_000)), (Some(0), false), "a clock that was set back");
    }

    #[test]
    fn a_gateway_that_declares_a_longer_reporting_time_is_waited_for() {
        let lost = |silent_secs: i64, health| declaring(Some(silent_secs * 1_000), Some(health)).1;
        let slow = r#"{"reports_every_secs":60}"#;
        assert_eq!((lost(180, slow), lost(181, slow)), (false, true));
        assert_eq!((lost(90, r#"{"reports_every_secs":5}"#), lost(91, "{}")), (false, true));
        assert!(lost(10_801, r#"{"reports_every_secs":4000000000}"#), "an hour is believed, and no more");
    }
}
