//! Which token speaks for which gateway. Only digests are held: a core dump gives no token away.

use ring::digest::{SHA256, digest};
use subtle::{ConditionallySelectable, ConstantTimeEq};
use vigil_cloud_sync::Origin;
use vigil_core::id::{GatewayId, SiteId, TenantId};

/// One gateway that may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayAccess {
    /// Its id.
    pub gateway: GatewayId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where it stands.
    pub site: SiteId,
    /// SHA-256 of its token, 64 hex digits.
    pub token_sha256: String,
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
    /// Two gateways share a token.
    #[error("gateways {one} and {other} have the same token; each needs its own")]
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

/// Every gateway that may send.
#[derive(Debug)]
pub struct Register {
    entries: Vec<(Digest, Origin)>,
}

impl Register {
    /// Checks the list.
    pub fn new(gateways: Vec<GatewayAccess>) -> Result<Self, AccessError> {
        let mut entries: Vec<(Digest, Origin)> = vec![];
        for GatewayAccess { gateway, tenant, site, token_sha256 } in gateways {
            let digest = parse_digest(&token_sha256)
                .ok_or_else(|| AccessError::Digest { gateway: gateway.clone() })?;
            let origin = Origin { tenant, site, gateway };
            if let Some((_, one)) = entries.iter().find(|(known, _)| *known == digest) {
                return Err(AccessError::SharedToken { one: one.gateway.clone(), other: origin.gateway });
            }
            if entries.iter().any(|(_, known)| *known == origin) {
                return Err(AccessError::Twice { source_name: origin.source() });
            }
            entries.push((digest, origin));
        }
        Ok(Self { entries })
    }

    /// Every gateway.
    pub fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.entries.iter().map(|(_, origin)| origin)
    }

    /// Whose token it is. Takes equally long for every token, known or not.
    pub fn owner(&self, token: &str) -> Option<&Origin> {
        let presented = hash(token.as_bytes());
        let mut found = u64::MAX;
        for (index, (digest, _)) in (0u64..).zip(&self.entries) {
            found.conditional_assign(&index, digest.ct_eq(&presented));
        }
        usize::try_from(found).ok().and_then(|index| self.entries.get(index)).map(|(_, origin)| origin)
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
            token_sha256: token_sha256(token),
        }
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
        let short = GatewayAccess { token_sha256: "abc".into(), ..access("gw-1", "") };
        assert!(Register::new(vec![short]).unwrap_err().to_string().contains("64 hex digits"));
        let shared = Register::new(vec![access("gw-1", "one"), access("gw-2", "one")]);
        assert!(matches!(shared, Err(AccessError::SharedToken { .. })));
        let twice = Register::new(vec![access("gw-1", "one"), access("gw-1", "two")]);
        assert!(matches!(twice, Err(AccessError::Twice { .. })));
    }
}
