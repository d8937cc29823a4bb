//! `/api/sites` and `/api/policies`: what is given for sites, its versions, and what is wrong with a file before it is given.

use super::store::{self, Given, NotTaken, PolicyRow, SiteRow, Version};
use super::{Fault, MAX_FILE_BYTES, Press};
use crate::access::Person;
use crate::clock::Now;
use crate::console::Shared;
use crate::door::Caller;
use crate::ledger::{Clerk, LedgerError, place_of};
use crate::refusal::Refusal;
use axum::Json;
use axum::extract::rejection::{QueryRejection, StringRejection};
use axum::extract::{DefaultBodyLimit, FromRef, Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vigil_core::id::{SiteId, TenantId};

/// How many sites are listed: as many as a receiver has gateways at most.
const MAX_LISTED: u32 = 10_000;

/// The longest note: two lines of a form.
const MAX_NOTE_CHARS: usize = 200;

/// The longest name of a client, as a site file may have it.
const MAX_CLIENT_CHARS: usize = 64;

/// What the sites' side needs.
#[derive(Clone)]
pub struct Office {
    /// Where everything is.
    pub clerk: Clerk,
    /// What checks and seals; without it nothing can be given.
    pub press: Option<Press>,
    /// What time it is.
    pub now: Now,
}

impl FromRef<Shared> for Office {
    fn from_ref(console: &Shared) -> Self {
        let room = &console.room;
        Self { clerk: room.clerk.clone(), press: room.press.clone(), now: room.now }
    }
}

/// A route that takes as much as a site file may have.
pub fn large(route: MethodRouter<Shared>) -> MethodRouter<Shared> {
    route.layer(DefaultBodyLimit::max(MAX_FILE_BYTES))
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such thing, or it may not be seen.
    #[error("there is nothing here that you may see; see /api/sites")]
    Unknown,
    /// What goes with the file is wrong.
    #[error("after is a version, and note a text of at most {MAX_NOTE_CHARS} characters")]
    Query,
    /// The body is no text.
    #[error("the body is a site file in UTF-8 of at most {MAX_FILE_BYTES} bytes: {0}")]
    Body(#[from] StringRejection),
    /// Nothing can be sealed.
    #[error(
        "this receiver has no key to sign with; name one as bundle_key in noc.toml (`vigil bundle keygen` makes one)"
    )]
    NoPress,
    /// The file is not taken.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// The ledger failed.
    #[error("the ledger cannot be used at the moment")]
    Ledger(#[from] LedgerError),
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Query => StatusCode::BAD_REQUEST,
            Self::Body(rejection) => rejection.status(),
            Self::NoPress => StatusCode::CONFLICT,
            Self::NotTaken(NotTaken::Faults(_) | NotTaken::Elsewhere { .. } | NotTaken::Unsealable(_)) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::NotTaken(NotTaken::Later(_) | NotTaken::NoSuchVersion(_) | NotTaken::TooMany) => {
                StatusCode::CONFLICT
            }
            Self::NotTaken(NotTaken::Ledger(error)) | Self::Ledger(error) => {
                tracing::error!(%error, "site files cannot be stored or shown");
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, error) = (self.status(), self.to_string());
        match self {
            Self::NotTaken(NotTaken::Faults(problems)) => {
                (status, Json(Faulty { error, problems })).into_response()
            }
            Self::Unknown
            | Self::Query
            | Self::Body(_)
            | Self::NoPress
            | Self::NotTaken(_)
            | Self::Ledger(_) => (status, Refusal::of(&error)).into_response(),
        }
    }
}

/// A file that is wrong, or makes another one wrong.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Faults")]
pub(super) struct Faulty {
    /// What is wrong and what would be right.
    error: String,
    /// Every problem with its line; none if the file is wrong as a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Fault>,
}

/// What goes with a file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct Beside {
    /// The version that was looked at; 0 if there was none.
    #[schemars(range(min = 0))]
    #[serde(default)]
    after: i64,
    /// Why.
    #[schemars(length(max = MAX_NOTE_CHARS))]
    #[serde(default)]
    note: String,
}

type Asked = Result<Query<Beside>, QueryRejection>;
type Text = Result<String, StringRejection>;

#[derive(Serialize, JsonSchema)]
pub(super) struct Sites {
    sites: Vec<SiteRow>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Policies {
    policies: Vec<PolicyRow>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Versions {
    versions: Vec<Version>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Policy {
    #[serde(flatten)]
    version: Version,
    content: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TakenPolicy")]
pub(super) struct Taken {
    #[serde(flatten)]
    version: Version,
    /// How many sites were sealed anew.
    sites: usize,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CheckedSite")]
pub(super) struct Checked {
    tenant: TenantId,
    site: SiteId,
    client: String,
    doubts: Vec<Fault>,
}

/// What may be seen of a place; what may not is answered as if it were not there.
fn seen(person: &Person, tenant: &str, site: &str) -> Result<(TenantId, SiteId), Refused> {
    let (tenant, site) = (TenantId::new(tenant).ok(), SiteId::new(site).ok());
    let (tenant, site) = tenant.zip(site).ok_or(Refused::Unknown)?;
    if person.sees(tenant.as_str()) { Ok((tenant, site)) } else { Err(Refused::Unknown) }
}

fn seen_tenant(person: &Person, tenant: &str) -> Result<TenantId, Refused> {
    let tenant = TenantId::new(tenant).map_err(|_| Refused::Unknown)?;
    if person.sees(tenant.as_str()) { Ok(tenant) } else { Err(Refused::Unknown) }
}

impl Office {
    fn given(&self, caller: &Caller, asked: Asked) -> Result<Given, Refused> {
        let Beside { after, note } = asked.map_err(|_| Refused::Query)?.0;
        if after < 0 || note.chars().count() > MAX_NOTE_CHARS || note.chars().any(char::is_control) {
            return Err(Refused::Query);
        }
        Ok(Given { actor: caller.actor(), note, at: (self.now)(), after })
    }

    fn press(&self) -> Result<Press, Refused> {
        self.press.clone().ok_or(Refused::NoPress)
    }

    /// Runs `work` on the ledger, and gives its own kind of error.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut crate::ledger::Ledger) -> Result<T, NotTaken> + Send + 'static,
    ) -> Result<T, Refused> {
        Ok(self.clerk.ask(move |ledger| Ok(work(ledger))).await??)
    }
}

/// Every site that a file was given for.
pub async fn sites(State(office): State<Office>, person: Person) -> Result<impl IntoResponse, Refused> {
    let scope = person.scope();
    let sites = office.clerk.ask(move |ledger| store::sites(ledger.database(), &scope, MAX_LISTED)).await?;
    Ok(Json(Sites { sites }))
}

/// The newest policy of every tenant and client.
pub async fn policies(State(office): State<Office>, person: Person) -> Result<impl IntoResponse, Refused> {
    let scope = person.scope();
    let policies =
        office.clerk.ask(move |ledger| store::policies(ledger.database(), &scope, MAX_LISTED)).await?;
    Ok(Json(Policies { policies }))
}

/// The versions of a file.
pub async fn versions(
    State(office): State<Office>,
    person: Person,
    Path((tenant, site)): Path<(String, String)>,
) -> Result<impl IntoResponse, Refused> {
    let (tenant, site) = seen(&person, &tenant, &site)?;
    let place = place_of(&tenant, &site);
    let versions = office.clerk.ask(move |ledger| store::versions(ledger.database(), &place)).await?;
    Ok(Json(Versions { versions }))
}

/// The text of a version. It has the numbers of tags, which open doors elsewhere: so not every viewer reads it.
pub async fn text(
    State(office): State<Office>,
    person: Person,
    Path((tenant, site, version)): Path<(String, String, String)>,
) -> Result<impl IntoResponse, Refused> {
    let (tenant, site) = seen(&person, &tenant, &site)?;
    let (place, version) = (place_of(&tenant, &site), version.parse().map_err(|_| Refused::Unknown)?);
    let found = office.clerk.ask(move |ledger| store::text(ledger.database(), &place, version)).await?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], found.ok_or(Refused::Unknown)?))
}

/// A new version.
pub async fn give(
    State(office): State<Office>,
    caller: Caller,
    Path((tenant, site)): Path<(String, String)>,
    asked: Asked,
    body: Text,
) -> Result<impl IntoResponse, Refused> {
    let (tenant, site) = seen(&caller.person, &tenant, &site)?;
    let (given, press, content) = (office.given(&caller, asked)?, office.press()?, body?);
    let (whose, which) = (tenant.clone(), site.clone());
    let version = office
        .ask(move |ledger| store::give_site(ledger.database(), &press, (&whose, &which), &content, &given))
        .await?;
    tracing::info!(%tenant, %site, version = version.version, by = %version.by, "a site file was given");
    Ok((StatusCode::CREATED, Json(version)))
}

/// Whether a file could be given.
pub async fn check(
    State(office): State<Office>,
    person: Person,
    Path((tenant, site)): Path<(String, String)>,
    body: Text,
) -> Result<impl IntoResponse, Refused> {
    let (tenant, site) = seen(&person, &tenant, &site)?;
    let (press, content) = (office.press()?, body?);
    let tree = office
        .ask(move |ledger| store::check_site(ledger.database(), &press, (&tenant, &site), &content))
        .await?;
    Ok(Json(Checked { tenant: tree.tenant, site: tree.site, client: tree.client, doubts: tree.doubts }))
}

/// The policy of a tenant.
pub async fn tenant_policy(
    State(office): State<Office>,
    person: Person,
    Path(tenant): Path<String>,
) -> Result<impl IntoResponse, Refused> {
    office.policy(&person, &tenant, String::new()).await
}

/// The policy of a client.
pub async fn client_policy(
    State(office): State<Office>,
    person: Person,
    Path((tenant, client)): Path<(String, String)>,
) -> Result<impl IntoResponse, Refused> {
    office.policy(&person, &tenant, client).await
}

/// A new policy of a tenant.
pub async fn give_tenant_policy(
    State(office): State<Office>,
    caller: Caller,
    Path(tenant): Path<String>,
    asked: Asked,
    body: Text,
) -> Result<impl IntoResponse, Refused> {
    office.give_policy(&caller, &tenant, String::new(), asked, body).await
}

/// A new policy of a client.
pub async fn give_client_policy(
    State(office): State<Office>,
    caller: Caller,
    Path((tenant, client)): Path<(String, String)>,
    asked: Asked,
    body: Text,
) -> Result<impl IntoResponse, Refused> {
    office.give_policy(&caller, &tenant, client, asked, body).await
}

impl Office {
    async fn policy(&self, person: &Person, tenant: &str, client: String) -> Result<Json<Policy>, Refused> {
        let tenant = seen_tenant(person, tenant)?;
        let found =
            self.clerk.ask(move |ledger| store::policy(ledger.database(), tenant.as_str(), &client)).await?;
        let (version, content) = found.ok_or(Refused::Unknown)?;
        Ok(Json(Policy { version, content }))
    }

    async fn give_policy(
        &self,
        caller: &Caller,
        tenant: &str,
        client: String,
        asked: Asked,
        body: Text,
    ) -> Result<(StatusCode, Json<Taken>), Refused> {
        let tenant = seen_tenant(&caller.person, tenant)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if client.chars().count() > MAX_CLIENT_CHARS || !client.chars().all(plain) {
            return Err(Refused::Unknown);
        }
        let (given, press, content) = (self.given(caller, asked)?, self.press()?, body?);
        let whose = tenant.clone();
        let (version, sites) = self
            .ask(move |ledger| {
                store::give_policy(ledger.database(), &press, (&whose, &client), &content, &given)
            })
            .await?;
        tracing::info!(%tenant, version = version.version, by = %version.by, sites, "a policy was given");
        Ok((StatusCode::CREATED, Json(Taken { version, sites })))
    }
}
