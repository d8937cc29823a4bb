//! What the document says of the routes of site files and policies.

use super::routes::{Beside, Checked, Faulty, Policies, Policy, Sites, Taken, Versions};
use super::store::Version;
use super::{MAX_FILE_BYTES, store};
use crate::openapi::Told;

/// `GET /api/sites`
pub fn sites(told: &mut Told<'_>) {
    told.called("listSites", "Every site that a file was given for");
    told.gives::<Sites>(200, "The sites, by name.");
}

/// `GET /api/sites/{tenant}/{site}/files`
pub fn versions(told: &mut Told<'_>) {
    told.called("listVersions", "The versions of a site's file, the newest first");
    told.gives::<Versions>(200, &format!("At most the {} newest.", store::MAX_VERSIONS));
    unknown(told);
}

/// `GET /api/sites/{tenant}/{site}/files/{version}`
pub fn text(told: &mut Told<'_>) {
    told.called("readSiteFile", "The text of one version");
    told.more("It has the numbers of tags, which open doors elsewhere: so not every viewer reads it.");
    told.gives_text(200, "text/plain", "The file.");
    unknown(told);
}

/// `POST /api/sites/{tenant}/{site}/files`
pub fn give(told: &mut Told<'_>) {
    told.called("giveSiteFile", "A new version; it is checked, sealed, and fetched by the site's gateways");
    told.gives::<Version>(201, "The version.");
    given(told, "The file, TOML or JSON, at most");
}

/// `POST /api/sites/{tenant}/{site}/check`
pub fn check(told: &mut Told<'_>) {
    told.called("checkSiteFile", "What is wrong with a file, before it is given");
    told.gives::<Checked>(200, "It could be given; what looks like a mistake stands in `doubts`.");
    file(told, "The file, TOML or JSON, at most");
}

/// `GET /api/policies`
pub fn policies(told: &mut Told<'_>) {
    told.called("listPolicies", "The newest policy of every tenant and client");
    told.gives::<Policies>(200, "The policies, by name.");
}

/// `GET /api/policies/{tenant}`
pub fn tenant_policy(told: &mut Told<'_>) {
    told.called("readTenantPolicy", "The policy of a tenant");
    policy(told);
}

/// `GET /api/policies/{tenant}/{client}`
pub fn client_policy(told: &mut Told<'_>) {
    told.called("readClientPolicy", "The policy of a client");
    policy(told);
}

/// `POST /api/policies/{tenant}`
pub fn give_tenant_policy(told: &mut Told<'_>) {
    told.called("giveTenantPolicy", "A new policy of a tenant; every site of it is checked and sealed anew");
    give_policy(told);
}

/// `POST /api/policies/{tenant}/{client}`
pub fn give_client_policy(told: &mut Told<'_>) {
    told.called("giveClientPolicy", "A new policy of a client; every site of it is checked and sealed anew");
    give_policy(told);
}

fn policy(told: &mut Told<'_>) {
    told.gives::<Policy>(200, "The newest version, with its text.");
    unknown(told);
}

fn give_policy(told: &mut Told<'_>) {
    told.gives::<Taken>(201, "The version, and how many sites were sealed anew.");
    given(told, "The policy, TOML or JSON, at most");
}

fn given(told: &mut Told<'_>, body: &str) {
    told.asks::<Beside>();
    file(told, body);
    told.refuses(400, "after or note is wrong");
    told.refuses(409, "somebody gave a version after you looked, or it would concern too many sites");
}

fn file(told: &mut Told<'_>, body: &str) {
    told.takes_as::<String>("text/plain", &format!("{body} {MAX_FILE_BYTES} bytes."));
    unknown(told);
    told.refuses(400, "the body is no text in UTF-8");
    told.refuses(409, "there is no key to sign with");
    told.refuses_with::<Faulty>(422, "the file is wrong, of another site, or too large to be sealed");
}

fn unknown(told: &mut Told<'_>) {
    told.refuses(404, "there is nothing here that you may see");
}
