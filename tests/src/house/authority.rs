//! A private authority and one certificate under it.

use std::path::{Path, PathBuf};

/// A private authority: PEM files in a folder.
#[derive(Debug, Clone)]
pub struct Authority {
    /// Its own certificate, to be trusted.
    pub ca: PathBuf,
    /// A certificate of loopback.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// Makes one in `folder`.
    pub fn found(folder: &Path) -> Self {
        let mut ca = rcgen::CertificateParams::new(Vec::new()).expect("no name to be wrong");
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.distinguished_name.push(rcgen::DnType::CommonName, "Vigil test authority");
        let ca_key = rcgen::KeyPair::generate().expect("random bytes");
        let ca_pem = ca.self_signed(&ca_key).expect("signed by itself").pem();
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let key = rcgen::KeyPair::generate().expect("random bytes");
        let server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        let cert = server.signed_by(&key, &issuer).expect("signed").pem();
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).expect("a folder of the test");
            path
        };
        Self {
            ca: write("ca.pem", ca_pem),
            cert: write("noc.pem", cert),
            key: write("noc.key", key.serialize_pem()),
        }
    }
}
