//! What the uplink has to do with the time: it judges certificates by it, and brings it.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use vigil_core::time::{Span, Timestamp};

/// A `Date` is cut to the second, and a receiver may keep it for as long as that.
pub(crate) const CUT: Span = Span::from_secs(1);
/// A chain is a leaf and a few authorities, and each may say that it is early.
const LONGEST_CHAIN: usize = 5;
/// Beyond this an answer took so long that it says little of the time.
const ROUND_AT_MOST: Duration = Duration::from_secs(60);

/// The agent's clock, as the uplink sees it. Certificates are judged by what it shows.
pub trait Timepiece: TimeProvider {
    /// Whether it is set. If not, it shows the last instant that was known.
    fn is_set(&self) -> bool;

    /// A receiver that we trust says that it is `at`, give or take `uncertainty`.
    fn on_noc(&self, at: Timestamp, uncertainty: Span);
}

/// The instant of a `Date`.
pub(crate) fn date(text: &str) -> Option<Timestamp> {
    let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_millis(i64::try_from(date.as_millis()).ok()?))
}

/// What time it was when an answer came that took `round` and says `date`.
pub(crate) fn told(date: &str, round: Duration) -> Option<(Timestamp, Span)> {
    let at = self::date(date)?;
    let half = Span::from_millis(i64::try_from(round.as_millis()).ok()? / 2);
    let middle = Span::from_millis(CUT.millis() / 2 + half.millis());
    (round <= ROUND_AT_MOST).then(|| (at + middle, Span::from_millis(CUT.millis() + half.millis())))
}

/// Judges a receiver by a pinned authority. As long as the time is not known, nobody can say that its certificate is
/// early: it is judged as of the first instant at which it may be valid.
#[derive(Debug)]
pub(crate) struct Early {
    pub(crate) strict: Arc<WebPkiServerVerifier>,
    pub(crate) timepiece: Arc<dyn Timepiece>,
}

impl ServerCertVerifier for Early {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judge = |at| self.strict.verify_server_cert(leaf, chain, name, ocsp, at);
        let mut judged = judge(now);
        for _ in 0..LONGEST_CHAIN {
            match judged {
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before, ..
                })) if !self.timepiece.is_set() => {
                    judged = judge(not_before);
                }
                Ok(_) | Err(_) => break,
            }
        }
        judged
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::verifier;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[derive(Debug)]
    struct Shows(UnixTime, AtomicBool);

    impl TimeProvider for Shows {
        fn current_time(&self) -> Option<UnixTime> {
            Some(self.0)
        }
    }

    impl Timepiece for Shows {
        fn is_set(&self) -> bool {
            self.1.load(Ordering::Relaxed)
        }
        fn on_noc(&self, _: Timestamp, _: Span) {}
    }

    fn year(year: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_556_952))
    }

    /// An authority and a certificate of it, both valid from 2030 to 2040; judged in `now`.
    fn judged(now: u64, is_set: bool, signed_by_another: bool) -> Result<(), Error> {
        let valid = |params: &mut rcgen::CertificateParams| {
            params.not_before = rcgen::date_time_ymd(2030, 1, 1);
            params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        };
        let authority = || {
            let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
            valid(&mut params);
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let key = rcgen::KeyPair::generate().unwrap();
            (params.self_signed(&key).unwrap().pem(), rcgen::Issuer::new(params, key))
        };
        let ((pinned, issuer), (_, other)) = (authority(), authority());
        let mut params = rcgen::CertificateParams::new(vec!["noc".to_owned()]).unwrap();
        valid(&mut params);
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, if signed_by_another { &other } else { &issuer }).unwrap();
        let timepiece = Arc::new(Shows(year(now), AtomicBool::new(is_set)));
        let early = Early { strict: verifier(pinned.as_bytes()).unwrap(), timepiece };
        let name = ServerName::try_from("noc").unwrap();
        early.verify_server_cert(leaf.der(), &[], &name, &[], year(now)).map(|_| ())
    }

    #[test]
    fn a_certificate_that_is_early_is_taken_until_the_time_is_known() {
        assert_eq!(judged(2025, false, false), Ok(()));
        let early = judged(2025, true, false).unwrap_err();
        assert!(early.to_string().contains("not valid yet"), "{early}");
        assert_eq!(judged(2035, true, false), Ok(()));
    }

    #[test]
    fn one_that_has_expired_or_is_of_somebody_else_is_not() {
        for is_set in [false, true] {
            let expired = judged(2041, is_set, false).unwrap_err();
            assert!(expired.to_string().contains("expired"), "{expired}");
            assert!(judged(2025, is_set, true).is_err());
        }
    }

    #[test]
    fn a_date_is_good_to_half_the_round_and_a_second() {
        let date = "Tue, 10 Mar 2026 20:00:00 GMT";
        let (at, uncertainty) = told(date, Duration::from_millis(400)).unwrap();
        assert_eq!(at.to_string(), "2026-03-10T20:00:00.700Z");
        assert_eq!(uncertainty.millis(), 1_200);
        assert_eq!(told(date, Duration::from_secs(61)), None);
        assert_eq!(told("yesterday", Duration::ZERO), None);
    }
}
