//! Which token speaks for which gateway. Only digests are held: a core dump gives no token away.

use ring::digest::{SHA256, digest};
use std::collections::{BTreeMap, BTreeSet};
use vigil_cloud_sync::Origin;
use vigil_core::id::{GatewayId, SiteId, TenantId};
use vigil_listen::Certificate;

/// One gateway that may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayAccess {
    /// Its id.
    pub gateway: GatewayId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where it stands.
    pub site: SiteId,
    /// SHA-256 of its token, 64 hex digits; `None` if it has none.
    pub token_sha256: Option<String>,
    /// SHA-256 of the certificates with which it may come, 64 hex digits each: the one that it has, and the next.
    pub cert_sha256: Vec<String>,
}

/// The list of gateways is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Not a digest.
    #[error(
        "token_sha256 of gateway {gateway} is not 64 hex digits; make it with: printf %s TOKEN | sha256sum"
    )]
    Digest {
        /// Whose.
        gateway: GatewayId,
    },
    /// Not the digest of a certificate.
    #[error(
        "a certificate of gateway {gateway} is not 64 hex digits; ask for it with: openssl x509 -noout -fingerprint -sha256 -in CERT"
    )]
    Certificate {
        /// Whose.
        gateway: GatewayId,
    },
    /// A gateway that has neither token nor certificate.
    #[error("gateway {gateway} has neither a token nor a certificate; give it one")]
    Nothing {
        /// Which.
        gateway: GatewayId,
    },
    /// Two gateways share a token or a certificate.
    #[error("gateways {one} and {other} have the same token or certificate; each needs its own")]
    SharedToken {
        /// The first.
        one: GatewayId,
        /// The second.
        other: GatewayId,
    },
    /// One gateway stands twice in the list.
    #[error("{source_name} is listed twice; remove one")]
    Twice {
        /// Its CloudEvents source.
        source_name: String,
    },
}

type Digest = [u8; 32];

/// SHA-256 of a token, in the form that [`GatewayAccess::token_sha256`] expects.
pub fn token_sha256(token: &str) -> String {
    hash(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every gateway that may send. How long it takes to find a digest tells nothing about the token that it is of.
#[derive(Debug)]
pub struct Register {
    origins: Vec<Origin>,
    tokens: BTreeMap<Digest, usize>,
    certificates: BTreeMap<Digest, usize>,
}

impl Register {
    /// Checks the list.
    pub fn new(gateways: Vec<GatewayAccess>) -> Result<Self, AccessError> {
        let mut register = Self { origins: vec![], tokens: BTreeMap::new(), certificates: BTreeMap::new() };
        let mut sources = BTreeSet::new();
        for GatewayAccess { gateway, tenant, site, token_sha256, cert_sha256 } in gateways {
            let number = register.origins.len();
            if token_sha256.is_none() && cert_sha256.is_empty() {
                return Err(AccessError::Nothing { gateway });
            }
            let token = token_sha256.map(|token| {
                parse_digest(&token).ok_or_else(|| AccessError::Digest { gateway: gateway.clone() })
            });
            let certificates = cert_sha256.iter().map(|cert| {
                // As openssl writes it: with colons.
                parse_digest(&cert.replace(':', ""))
                    .ok_or_else(|| AccessError::Certificate { gateway: gateway.clone() })
            });
            let (token, certificates) = (token.transpose()?, certificates.collect::<Result<Vec<_>, _>>()?);
            let origin = Origin { tenant, site, gateway };
            if !sources.insert(origin.source()) {
                return Err(AccessError::Twice { source_name: origin.source() });
            }
            let shared = token.and_then(|token| register.tokens.get(&token));
            let shared =
                shared.or_else(|| certificates.iter().find_map(|cert| register.certificates.get(cert)));
            if let Some(one) = shared.and_then(|one| register.origins.get(*one)) {
                return Err(AccessError::SharedToken { one: one.gateway.clone(), other: origin.gateway });
            }
            register.origins.push(origin);
            register.tokens.extend(token.map(|token| (token, number)));
            register.certificates.extend(certificates.into_iter().map(|cert| (cert, number)));
        }
        Ok(register)
    }

    /// Every gateway.
    pub fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.origins.iter()
    }

    /// Whose token it is.
    pub fn owner(&self, token: &str) -> Option<&Origin> {
        self.origins.get(*self.tokens.get(&hash(token.as_bytes()))?)
    }

    /// Whose certificate it is. It was shown in a handshake, so that it is no secret.
    pub fn owner_of(&self, certificate: &Certificate) -> Option<&Origin> {
        self.origins.get(*self.certificates.get(certificate.sha256())?)
    }
}

fn hash(bytes: &[u8]) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

fn parse_digest(text: &str) -> Option<Digest> {
    let mut out = [0; 32];
    let hex = text.trim().as_bytes();
    if hex.len() != 64 || !hex.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(gateway: &str, token: &str) -> GatewayAccess {
        GatewayAccess {
            gateway: GatewayId::new(gateway).unwrap(),
            tenant: TenantId::new("acme").unwrap(),
            site: SiteId::new("plant-7").unwrap(),
            token_sha256: Some(token_sha256(token)),
            cert_sha256: vec![],
        }
    }

    fn with_certificate(gateway: &str, der: &[u8]) -> GatewayAccess {
        let hex = hash(der).map(|byte| format!("{byte:02X}")).join(":");
        GatewayAccess { token_sha256: None, cert_sha256: vec![hex], ..access(gateway, "") }
    }

    #[test]
    fn a_certificate_speaks_for_its_gateway_only() {
        let list = vec![access("gw-1", "one"), with_certificate("gw-2", b"two")];
        let register = Register::new(list).unwrap();
        let owner = |der| register.owner_of(&Certificate::of(der)).map(|o| o.gateway.as_str());
        assert_eq!([owner(b"two"), owner(b"one"), owner(b"")], [Some("gw-2"), None, None]);
        assert_eq!(register.owner(""), None, "no token is not that of a gateway without one");
        let shared = vec![with_certificate("gw-1", b"x"), with_certificate("gw-2", b"x")];
        assert!(matches!(Register::new(shared), Err(AccessError::SharedToken { .. })));
        let wrong = GatewayAccess { cert_sha256: vec!["12:34".into()], ..access("gw-1", "one") };
        assert!(matches!(Register::new(vec![wrong]), Err(AccessError::Certificate { .. })));
        let none = GatewayAccess { token_sha256: None, ..access("gw-1", "one") };
        assert!(matches!(Register::new(vec![none]), Err(AccessError::Nothing { .. })));
    }

    #[test]
    fn a_digest_is_that_of_sha256sum() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(token_sha256("abc"), abc);
    }

    #[test]
    fn a_token_speaks_for_its_gateway_only() {
        let register = Register::new(vec![access("gw-1", "one"), access("gw-2", "two")]).unwrap();
        let owner = |token| register.owner(token).map(|o| o.gateway.as_str());
        assert_eq!(
            [owner("one"), owner("two"), owner("three"), owner("")],
            [Some("gw-1"), Some("gw-2"), None, None]
        );
    }

    #[test]
    fn a_wrong_list_is_refused() {
        let short = GatewayAccess { token_sha256: Some("abc".into()), ..access("gw-1", "") };
        assert!(Register::new(vec![short]).unwrap_err().to_string().contains("64 hex digits"));
        let shared = Register::new(vec![access("gw-1", "one"), access("gw-2", "one")]);
        assert!(matches!(shared, Err(AccessError::SharedToken { .. })));
        let twice = Register::new(vec![access("gw-1", "one"), access("gw-1", "two")]);
        assert!(matches!(twice, Err(AccessError::Twice { .. })));
    }
}
