//! A site bundle: the tree of a site, with who made it, sealed by a signature, as one document. Pure.
//!
//! ```text
//! VIGIL BUNDLE 1
//! {"site":"plant-7","tenant":"acme","version":7,"made_at":"2026-…","by":"Asha Rao","sha256":"9f…"}
//! ed25519 3c5f0d1e9a7b2468 Jm9…==
//! {"site":{"id":"plant-7",…},"layers":{…},"policy":{…},…}
//! ```
//!
//! Signed is all of it but the line of the signature: the first line, the header, and the content, as the bytes stand. The
//! header is one line, so that no two bundles have the same signed bytes, and nothing is written anew before it is
//! checked: there is no second spelling of a bundle. The operations centre calls [`seal`], the gateway [`open`].

mod keys;
mod offer;

pub use keys::{BadKey, KeyId, PublicKey, Signer, Trusted};
pub use offer::Offer;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use vigil_core::id::{SiteId, TenantId};
use vigil_core::time::Timestamp;

/// The first line. The number is that of the format.
const FIRST_LINE: &str = "VIGIL BUNDLE 1";
/// What any format begins with.
const ANY_FORMAT: &str = "VIGIL BUNDLE ";
/// The one kind of signature.
const ALGORITHM: &str = "ed25519";

/// The largest bundle: a site of 1,000 guards with as many handsets, checkpoints and shifts is 0.4 MB as JSON, and a line of
/// 10 kB/s carries this in less than four minutes.
pub const MAX_BUNDLE_BYTES: usize = 2 * 1024 * 1024;

/// The highest version: beyond it JSON readers and databases no longer agree on a number.
pub const MAX_VERSION: u64 = (1 << 53) - 1;

/// The longest name of who made it: two of the longest in a passport.
const MAX_BY_CHARS: usize = 80;

/// The media type of the document.
pub const BUNDLE_CONTENT_TYPE: &str = "application/vnd.vigil.bundle";

/// What whoever makes a bundle says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Whose site.
    pub site: SiteId,
    /// Whose customer.
    pub tenant: TenantId,
    /// A number that only rises, from 1 to [`MAX_VERSION`].
    pub version: u64,
    /// When it was made.
    pub made_at: Timestamp,
    /// Who made it.
    pub by: String,
}

/// The same as it stands in the bundle, with the digest of the content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Whose site.
    pub site: SiteId,
    /// Whose customer.
    pub tenant: TenantId,
    /// The number that only rises.
    pub version: u64,
    /// When it was made.
    pub made_at: Timestamp,
    /// Who made it.
    pub by: String,
    /// SHA-256 of the content, in hex.
    pub sha256: String,
}

/// A bundle whose signature fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// What is said of it.
    pub header: Header,
    /// Whose signature it has.
    pub key: KeyId,
    /// The tree of the site, as JSON. It is of the site and the tenant of the header; the rest is for its reader to judge.
    pub content: String,
}

/// Why nothing can be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSealed {
    /// A number that no reader takes.
    #[error("version: found {0}, allowed: 1 to {MAX_VERSION}")]
    Version(u64),
    /// No name of a person.
    #[error("by: found {0:?}, allowed: a name of 1 to {MAX_BY_CHARS} characters")]
    By(String),
    /// Larger than a gateway takes.
    #[error("a bundle of {0} bytes; a gateway takes at most {MAX_BUNDLE_BYTES}")]
    TooLarge(usize),
    /// The tree is not of that site.
    #[error(transparent)]
    Content(#[from] Elsewhere),
}

/// Why a document is not taken as a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// It is too large.
    #[error("it is larger than {MAX_BUNDLE_BYTES} bytes, which no bundle is")]
    TooLarge,
    /// It is something else.
    #[error("it is no bundle: {0}")]
    NoBundle(&'static str),
    /// A newer agent is needed.
    #[error(
        "it is of format {0}, and this agent knows format 1; install a newer agent, or sign it in format 1"
    )]
    OtherFormat(String),
    /// Nobody is trusted.
    #[error("no key is known: name the public keys of those who sign in [uplink] bundle_keys of agent.toml")]
    NoKeys,
    /// Somebody else signed it.
    #[error(
        "it is signed by key {signed_by}, and [uplink] bundle_keys knows {known}; add that key if it is to be trusted"
    )]
    Stranger {
        /// Whose signature it claims to have.
        signed_by: KeyId,
        /// Who is trusted.
        known: String,
    },
    /// It was altered, or never signed by the key that it names.
    #[error("its signature by key {0} does not fit: it was altered on its way, or forged")]
    Forged(KeyId),
    /// What was signed says nothing that can be used.
    #[error("its header cannot be read: {0}")]
    Header(String),
    /// The header is of another content.
    #[error("its content has the digest {found}, and its header says {said}")]
    Digest {
        /// That of the content.
        found: String,
        /// That of the header.
        said: String,
    },
    /// The tree is not that of the site.
    #[error(transparent)]
    Content(#[from] Elsewhere),
}

/// The tree is not of the site that it is said to be of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Elsewhere {
    /// It cannot be said whose it is.
    #[error("its content is no site as JSON: {0}")]
    NoSite(String),
    /// Another site or tenant.
    #[error(
        "its content is of site {found_site} of tenant {found_tenant}, and its header of {site} of {tenant}"
    )]
    Other {
        /// The site of the header.
        site: SiteId,
        /// The tenant of the header.
        tenant: TenantId,
        /// The site of the tree.
        found_site: SiteId,
        /// The tenant of the tree.
        found_tenant: TenantId,
    },
}

/// Seals the tree of a site. What is wrong inside the tree is for its reader to find; whose it is must fit.
pub fn seal(signer: &Signer, label: &Label, content: &str) -> Result<Vec<u8>, NotSealed> {
    if !(1..=MAX_VERSION).contains(&label.version) {
        return Err(NotSealed::Version(label.version));
    }
    if !is_name(&label.by) {
        return Err(NotSealed::By(label.by.clone()));
    }
    belongs(content, &label.site, &label.tenant)?;
    let Label { site, tenant, version, made_at, by } = label.clone();
    let header = Header { site, tenant, version, made_at, by, sha256: sha256(content.as_bytes()) };
    let header = serde_json::to_string(&header).map_err(|why| Elsewhere::NoSite(why.to_string()))?;
    let signature = BASE64.encode(signer.sign(&signed(&header, content)));
    let sealed =
        format!("{FIRST_LINE}\n{header}\n{ALGORITHM} {} {signature}\n{content}", signer.public().id());
    match sealed.len() {
        ..=MAX_BUNDLE_BYTES => Ok(sealed.into_bytes()),
        bytes => Err(NotSealed::TooLarge(bytes)),
    }
}

/// Opens a document if it is a bundle that one of the trusted keys has signed, and nothing of it was altered since.
pub fn open(document: &[u8], trusted: &Trusted) -> Result<Bundle, NotOpened> {
    let parts = Parts::of(document)?;
    if trusted.is_empty() {
        return Err(NotOpened::NoKeys);
    }
    let key = trusted
        .with(&parts.key)
        .ok_or_else(|| NotOpened::Stranger { signed_by: parts.key.clone(), known: trusted.to_string() })?;
    if !key.fits(&signed(parts.header, parts.content), &parts.signature) {
        return Err(NotOpened::Forged(parts.key));
    }
    let header = header(parts.header)?;
    let found = sha256(parts.content.as_bytes());
    if found != header.sha256 {
        return Err(NotOpened::Digest { found, said: header.sha256 });
    }
    belongs(parts.content, &header.site, &header.tenant)?;
    Ok(Bundle { header, key: parts.key, content: parts.content.to_owned() })
}

/// What a document says of itself, and whose signature it claims to have. Nothing of it is proved.
pub fn unproved(document: &[u8]) -> Result<(Header, KeyId), NotOpened> {
    let parts = Parts::of(document)?;
    Ok((header(parts.header)?, parts.key))
}

/// The content of a document that whoever asks has sealed. Nothing of it is proved.
pub fn content(document: &[u8]) -> Result<&str, NotOpened> {
    Ok(Parts::of(document)?.content)
}

/// The `ETag` of a document: the same at the receiver that serves it and at the gateway that has it.
pub fn etag(document: &[u8]) -> String {
    format!("\"{}\"", sha256(document))
}

/// A document, taken apart and not believed yet.
struct Parts<'d> {
    header: &'d str,
    key: KeyId,
    signature: Vec<u8>,
    content: &'d str,
}

impl<'d> Parts<'d> {
    fn of(document: &'d [u8]) -> Result<Self, NotOpened> {
        if document.len() > MAX_BUNDLE_BYTES {
            return Err(NotOpened::TooLarge);
        }
        let text = std::str::from_utf8(document).map_err(|_| NotOpened::NoBundle("it is not UTF-8"))?;
        let next = |text: &'d str, missing| text.split_once('\n').ok_or(NotOpened::NoBundle(missing));
        let (first, text) = next(text, "it has no first line \"VIGIL BUNDLE 1\"")?;
        if first != FIRST_LINE {
            return Err(match first.strip_prefix(ANY_FORMAT) {
                Some(format) => NotOpened::OtherFormat(format.chars().take(20).collect()),
                None => NotOpened::NoBundle("its first line is not \"VIGIL BUNDLE 1\""),
            });
        }
        let (header, text) = next(text, "it ends in its header")?;
        let (seal, content) = next(text, "it ends in its signature")?;
        let odd =
            || NotOpened::NoBundle("its third line is not \"ed25519\", the id of a key, and a signature");
        let words: Vec<&str> = seal.split(' ').collect();
        let [ALGORITHM, key, signature] = words.as_slice() else { return Err(odd()) };
        let key = KeyId::parse(key).ok_or_else(odd)?;
        let signature = BASE64.decode(signature).map_err(|_| odd())?;
        Ok(Self { header, key, signature, content })
    }
}

/// The bytes that are signed. The header ends at the first line break after the first line, wherever content begins.
fn signed(header: &str, content: &str) -> Vec<u8> {
    [FIRST_LINE, "\n", header, "\n", content].concat().into_bytes()
}

fn header(text: &str) -> Result<Header, NotOpened> {
    let header: Header = serde_json::from_str(text).map_err(|why| NotOpened::Header(why.to_string()))?;
    if !(1..=MAX_VERSION).contains(&header.version) {
        let why = format!("version: found {}, allowed: 1 to {MAX_VERSION}", header.version);
        return Err(NotOpened::Header(why));
    }
    if !is_name(&header.by) {
        return Err(NotOpened::Header(format!("by: allowed: a name of 1 to {MAX_BY_CHARS} characters")));
    }
    Ok(header)
}

/// Nothing in it moves a terminal's cursor.
fn is_name(text: &str) -> bool {
    (1..=MAX_BY_CHARS).contains(&text.chars().count())
        && !text.trim().is_empty()
        && !text.chars().any(char::is_control)
}

/// Whether the tree is of that site.
fn belongs(content: &str, site: &SiteId, tenant: &TenantId) -> Result<(), Elsewhere> {
    #[derive(Deserialize)]
    struct Tree {
        site: Whose,
    }
    #[derive(Deserialize)]
    struct Whose {
        id: SiteId,
        tenant: TenantId,
    }
    let tree: Tree = serde_json::from_str(content).map_err(|why| Elsewhere::NoSite(why.to_string()))?;
    let Whose { id: found_site, tenant: found_tenant } = tree.site;
    if (&found_site, &found_tenant) == (site, tenant) {
        return Ok(());
    }
    Err(Elsewhere::Other { site: site.clone(), tenant: tenant.clone(), found_site, found_tenant })
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a text does not fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
