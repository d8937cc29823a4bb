//! How pages write numbers. What is divided by nothing is a dash.

/// What stands where there is nothing to tell.
pub const NOTHING: &str = "–";

/// A share as percent, to a tenth.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| NOTHING.into(), |share| format!("{:.1} %", share * 100.0))
}

/// A number with so many places.
pub fn number(value: Option<f64>, places: usize) -> String {
    value.map_or_else(|| NOTHING.into(), |value| format!("{value:.places$}"))
}

/// A length of time as people say it; nothing of it is a dash.
pub fn length(ms: u64) -> String {
    let secs = ms / 1_000;
    match secs {
        0 if ms == 0 => NOTHING.into(),
        0 => "< 1 s".into(),
        1..60 => format!("{secs} s"),
        60..3_600 => format!("{} min", secs / 60),
        3_600..172_800 => format!("{} h {:02} min", secs / 3_600, secs % 3_600 / 60),
        _ => format!("{} d {} h", secs / 86_400, secs % 86_400 / 3_600),
    }
}

/// A mean length of time.
pub fn mean_length(sum_ms: u64, count: u64) -> String {
    sum_ms
        .checked_div(count)
        .map_or_else(|| NOTHING.into(), |ms| if ms == 0 { "0 s".into() } else { length(ms) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_read_them() {
        assert_eq!((percent(Some(0.875)).as_str(), percent(None).as_str()), ("87.5 %", "–"));
        assert_eq!((number(Some(1.25), 2).as_str(), number(None, 2).as_str()), ("1.25", "–"));
        for (ms, text) in [
            (0, "–"),
            (999, "< 1 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (7_500_000, "2 h 05 min"),
            (172_799_999, "47 h 59 min"),
            (172_800_000, "2 d 0 h"),
        ] {
            assert_eq!(length(ms), text);
        }
        assert_eq!(
            (mean_length(0, 0).as_str(), mean_length(0, 3).as_str(), mean_length(9_000, 2).as_str()),
            ("–", "0 s", "4 s")
        );
    }
}
