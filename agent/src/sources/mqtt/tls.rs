//! TLS towards a broker: a private CA or the system's, and a client certificate if the broker asks for one.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// Why there is no TLS with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The CA file has no certificate that can be read.
    #[error("the ca file has no certificate in pem form")]
    NoAuthority,
    /// The system has no certificates.
    #[error("this system trusts no authority: name one in ca_file")]
    NoSystemAuthority,
    /// The client certificate file has no certificate that can be read.
    #[error("the client certificate file has no certificate in pem form")]
    NoCertificate,
    /// The key file has no key that can be read.
    #[error("the client key file has no private key in pem form")]
    NoKey,
    /// The parts do not fit.
    #[error("the client certificate and its key do not fit: {0}")]
    Unfit(#[from] rustls::Error),
}

/// A client's TLS: `ca` in PEM, or the system's authorities; `identity` is certificate chain and key in PEM.
pub fn client(ca: Option<&[u8]>, identity: Option<(&[u8], &[u8])>) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(match ca {
        Some(pem) => authorities(pem)?,
        None => system_authorities()?,
    });
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::NoKey)?;
            builder.with_client_auth_cert(certificates(chain, TlsError::NoCertificate)?, key)?
        }
    };
    Ok(Arc::new(config))
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem, TlsError::NoAuthority)? {
        store.add(certificate).map_err(|_| TlsError::NoAuthority)?;
    }
    Ok(store)
}

fn system_authorities() -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    // One odd certificate in the system's store is no reason to trust none of them.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() { Err(TlsError::NoSystemAuthority) } else { Ok(store) }
}

fn certificates(pem: &[u8], none: TlsError) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err(none),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_certificates_are_named() {
        assert!(matches!(client(Some(b"nothing"), None), Err(TlsError::NoAuthority)));
        let pem = rcgen::generate_simple_self_signed(vec!["a".into()]).unwrap();
        let (chain, key) = (pem.cert.pem(), pem.signing_key.serialize_pem());
        let ca = Some(chain.as_bytes());
        assert!(matches!(client(ca, Some((b"", key.as_bytes()))), Err(TlsError::NoCertificate)));
        assert!(matches!(client(ca, Some((chain.as_bytes(), b""))), Err(TlsError::NoKey)));
        let other = rcgen::generate_simple_self_signed(vec!["b".into()]).unwrap().signing_key.serialize_pem();
        assert!(matches!(client(ca, Some((chain.as_bytes(), other.as_bytes()))), Err(TlsError::Unfit(_))));
        assert!(client(ca, Some((chain.as_bytes(), key.as_bytes()))).is_ok());
    }
}
