//! Whom the uplink trusts and as whom it speaks: PEM in, a TLS configuration out.

use crate::timepiece::{Early, Timepiece};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The given authority cannot be used.
    #[error("ca_file holds no usable certificate: {why}")]
    Authority {
        /// What is wrong with it.
        why: String,
    },
    /// The box trusts nobody.
    #[error("this box has no trusted certificates; install ca-certificates or name a ca_file")]
    NoRoots,
    /// The client certificate or its key cannot be used.
    #[error("client_cert and client_key cannot be used: {why}")]
    Identity {
        /// What is wrong with them.
        why: String,
    },
    /// The TLS library refused.
    #[error("tls cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// TLS 1.2 or newer, trusting only `ca_pem` if it is given, else what the box trusts; with a client
/// certificate if `identity_pem` (chain and key) is given. Certificates are judged by `timepiece`, if there is one.
pub(crate) fn client_config(
    ca_pem: Option<&[u8]>,
    identity_pem: Option<&[u8]>,
    timepiece: Option<&Arc<dyn Timepiece>>,
) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = match timepiece {
        Some(timepiece) => {
            let time: Arc<dyn TimeProvider> = Arc::<dyn Timepiece>::clone(timepiece);
            ClientConfig::builder_with_details(provider, time)
        }
        None => ClientConfig::builder_with_provider(provider),
    };
    let builder = builder.with_safe_default_protocol_versions()?;
    let trusting = match (ca_pem, timepiece) {
        (Some(pem), Some(timepiece)) => {
            let early = Early { strict: verifier(pem)?, timepiece: Arc::clone(timepiece) };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(early))
        }
        (Some(pem), None) => builder.with_root_certificates(private_roots(pem)?),
        (None, _) => builder.with_root_certificates(system_roots()?),
    };
    match identity_pem {
        None => Ok(trusting.with_no_client_auth()),
        Some(pem) => {
            let (chain, key) = identity(pem)?;
            trusting
                .with_client_auth_cert(chain, key)
                .map_err(|e| TrustError::Identity { why: e.to_string() })
        }
    }
}

/// Judges a receiver by the authorities in `pem` alone.
pub(crate) fn verifier(pem: &[u8]) -> Result<Arc<WebPkiServerVerifier>, TrustError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(private_roots(pem)?), provider);
    verifier.build().map_err(|e| TrustError::Authority { why: e.to_string() })
}

fn private_roots(pem: &[u8]) -> Result<RootCertStore, TrustError> {
    let unusable = |why: String| TrustError::Authority { why };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|e| unusable(e.to_string()))?;
        roots.add(certificate).map_err(|e| unusable(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("there is no certificate in it".to_owned()));
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if taken == 0 { Err(TrustError::NoRoots) } else { Ok(roots) }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(pem: &[u8]) -> Result<Identity, TrustError> {
    let unusable = |e: rustls::pki_types::pem::Error| TrustError::Identity { why: e.to_string() };
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(unusable)?;
    Ok((chain, PrivateKeyDer::from_pem_slice(pem).map_err(unusable)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_without_a_certificate_is_told() {
        let error = client_config(Some(b"hello"), None, None).unwrap_err();
        assert!(error.to_string().starts_with("ca_file holds no usable certificate"), "{error}");
    }

    #[test]
    fn an_identity_without_a_key_is_told() {
        let ca = rcgen::generate_simple_self_signed(vec!["noc".to_owned()]).unwrap();
        let pem = ca.cert.pem();
        let error = client_config(Some(pem.as_bytes()), Some(pem.as_bytes()), None).unwrap_err();
        assert!(error.to_string().starts_with("client_cert and client_key cannot be used"), "{error}");
    }
}
