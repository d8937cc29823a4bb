//! `GET /v1/sites/{site}/bundle`: a gateway fetches what its site is, unless it has it.

use super::store;
use crate::ledger::{Clerk, LedgerError, place};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use vigil_cloud_sync::Origin;
use vigil_cloud_sync::bundle::{BUNDLE_CONTENT_TYPE, etag};

/// The bundle of the site of `origin`; `None` if no file was given for it.
pub async fn bundle(
    clerk: &Clerk,
    origin: &Origin,
    headers: &HeaderMap,
) -> Result<Option<Response>, LedgerError> {
    let place = place(origin);
    let Some(document) = clerk.ask(move |ledger| store::sealed(ledger.database(), &place)).await? else {
        return Ok(None);
    };
    let tag = etag(document.as_bytes());
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag)) {
        return Ok(Some((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response()));
    }
    Ok(Some(([(ETAG, tag), (CONTENT_TYPE, BUNDLE_CONTENT_TYPE.to_owned())], document).into_response()))
}
