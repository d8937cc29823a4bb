//! The keys of bundles: one signs, and any of a few that are trusted lets a bundle in, so that one can take the place of another.

use super::hex;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use std::fmt;

/// The bytes of a public key.
const PUBLIC_BYTES: usize = 32;
/// What stands before them where other tools write a public key (SubjectPublicKeyInfo of Ed25519).
const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// The bytes of a key's id: enough to tell keys apart; nothing rests on it.
const ID_BYTES: usize = 8;

/// A text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// No public key.
    #[error(
        "no public key of Ed25519: 32 bytes as base64 or hex are expected, as `vigil bundle keygen` prints them"
    )]
    Public,
    /// No private key.
    #[error(
        "no private key of Ed25519: PKCS#8 as base64, hex or PEM is expected, as `vigil bundle keygen` writes it"
    )]
    Private,
    /// The system gave no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// The name of a key: the beginning of the SHA-256 of its public half, in hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(String);

impl KeyId {
    /// Reads one; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let legal =
            text.len() == 2 * ID_BYTES && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        legal.then(|| Self(text.to_owned()))
    }
    /// It as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The half of a key that checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey([u8; PUBLIC_BYTES]);

impl PublicKey {
    /// Reads base64, hex or PEM.
    pub fn read(text: &[u8]) -> Result<Self, BadKey> {
        let bytes = bytes(text).ok_or(BadKey::Public)?;
        let bare = bytes.strip_prefix(&SPKI_HEAD).unwrap_or(&bytes);
        bare.try_into().map(Self).map_err(|_| BadKey::Public)
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        let digest = digest(&SHA256, &self.0);
        KeyId(hex(digest.as_ref().get(..ID_BYTES).unwrap_or_default()))
    }

    pub(super) fn fits(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

/// As base64.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

/// The half of a key that signs. It never shows itself.
pub struct Signer {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl Signer {
    /// A new key, as the text of its file.
    pub fn generate() -> Result<String, BadKey> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| BadKey::NoRandomness)?;
        Ok(format!("{}\n", BASE64.encode(pkcs8.as_ref())))
    }

    /// Reads the file of a key: PKCS#8 as base64, hex or PEM.
    pub fn read(text: &[u8]) -> Result<Self, BadKey> {
        let pkcs8 = bytes(text).ok_or(BadKey::Private)?;
        // Other tools leave the public half out.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8).map_err(|_| BadKey::Private)?;
        let public = pair.public_key().as_ref().try_into().map(PublicKey).map_err(|_| BadKey::Private)?;
        Ok(Self { pair, public })
    }

    /// The half that checks.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.public.id())
    }
}

/// Those whose bundles are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trusted(Vec<PublicKey>);

impl Trusted {
    /// These and no others.
    pub const fn new(keys: Vec<PublicKey>) -> Self {
        Self(keys)
    }
    /// Whether nobody is.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub(super) fn with(&self, id: &KeyId) -> Option<&PublicKey> {
        self.0.iter().find(|key| key.id() == *id)
    }
}

/// By their ids.
impl fmt::Display for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<String> = self.0.iter().map(|key| key.id().to_string()).collect();
        f.write_str(&ids.join(", "))
    }
}

/// What base64, hex or PEM says. A text of 64 hex digits is hex, though it could be base64 of something longer.
fn bytes(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    let bare: String = lines.collect();
    of_hex(&bare).or_else(|| BASE64.decode(&bare).ok())
}

fn of_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.bytes().map(|b| char::from(b).to_digit(16)?.try_into().ok()).collect();
    let pairs = digits.filter(|digits| !digits.is_empty() && digits.len().is_multiple_of(2))?;
    Some(pairs.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}
