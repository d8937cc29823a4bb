//! When a certificate ends (RFC 5280, 4.1). rustls judges certificates and does not tell; a reader of all of X.509 brings a dozen
//! crates for one date.

use vigil_core::time::Timestamp;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, which holds the version; only a certificate of version 1 has none.
const VERSION: u8 = 0xA0;
/// Years of two digits from here on are of the last century.
const CENTURY_TURNS_AT: i32 = 50;

/// The end of its validity; `None` of what is no certificate.
pub(super) fn end(der: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = value(der, SEQUENCE)?;
    let (signed, _) = value(certificate, SEQUENCE)?;
    let after_version = value(signed, VERSION).map_or(signed, |(_, rest)| rest);
    let (_serial, rest) = value(after_version, INTEGER)?;
    let (_algorithm, rest) = value(rest, SEQUENCE)?;
    let (_issuer, rest) = value(rest, SEQUENCE)?;
    let (validity, _) = value(rest, SEQUENCE)?;
    let (_, _, not_after) = element(validity)?;
    let (tag, text, _) = element(not_after)?;
    instant(tag, text)
}

/// What is in an element with this tag, and what stands behind it.
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, inside, rest) = element(der)?;
    (found == tag).then_some((inside, rest))
}

/// The first element: its tag, what is in it, and what stands behind it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        // A certificate of more than 64 KiB is none.
        0x81 | 0x82 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x0F))?;
            (digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (inside, rest) = rest.split_at_checked(length)?;
    Some((tag, inside, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn instant(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i32 = year.parse().ok()?;
            (if year < CENTURY_TURNS_AT { 2_000 + year } else { 1_900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let pair = |at: usize| rest.get(at..at + 2);
    let (month, day, hour, minute, second) = (pair(0)?, pair(2)?, pair(4)?, pair(6)?, pair(8)?);
    Timestamp::parse(&format!("{year:04}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(year: i32) -> Vec<u8> {
        let mut asked = rcgen::CertificateParams::new(vec!["noc".to_owned()]).unwrap();
        asked.not_after = rcgen::date_time_ymd(year, 12, 31);
        asked.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn both_ways_to_write_an_instant_are_read() {
        for year in [2026, 2049, 2050, 2126] {
            let end = end(&made(year)).unwrap();
            assert_eq!(end, Timestamp::parse(&format!("{year}-12-31T00:00:00Z")).unwrap());
        }
        assert_eq!(instant(UTC_TIME, b"991231235959Z"), Timestamp::parse("1999-12-31T23:59:59Z").ok());
    }

    #[test]
    fn what_is_cut_or_is_no_certificate_has_no_end() {
        let whole = made(2026);
        for cut in 0..whole.len() {
            assert_eq!(end(&whole[..cut]), None, "{cut}");
        }
        for noise in [&b"nothing at all"[..], &[0x30, 0x84, 1, 2, 3, 4], &[0x30, 0x82, 0xFF, 0xFF]] {
            assert_eq!(end(noise), None);
        }
    }
}
