//! Every version of a site file and of a policy. A version is made in one transaction with what follows from it: the sealed
//! bundles of all sites that it concerns, and the word to their gateways to fetch them.

use super::{Fault, Press, Texts, Tree};
use crate::access::Scope;
use crate::access::audit::{Actor, Deed, audit};
use crate::ledger::{
    Arg, Database, Engine, LedgerError, NewCommand, News, Queued, Row, args, place_of, queue_at, within,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use vigil_cloud_sync::bundle::{Label, seal};
use vigil_core::id::{CommandId, SiteId, TenantId};
use vigil_core::time::Timestamp;

/// How many sites one policy may concern: each is read and sealed anew in one transaction, some milliseconds each.
const MAX_SITES: usize = 5_000;

/// How many versions are listed: a file that changes each day, for a year.
pub const MAX_VERSIONS: u32 = 400;

/// A version of a file, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Version {
    /// Rises by one with each.
    pub version: i64,
    /// When it was given.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// Why.
    pub note: String,
}

/// A site that a file was given for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SiteRow {
    /// Whose.
    pub tenant: String,
    /// Which.
    pub site: String,
    /// Whom it is guarded for.
    pub client: String,
    /// Its newest version.
    pub latest: Version,
}

/// A tenant or a client that a policy was given for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PolicyRow {
    /// Whose.
    pub tenant: String,
    /// Whom its sites are guarded for; empty if the policy is of the whole tenant.
    pub client: String,
    /// Its newest version.
    pub latest: Version,
}

/// Who gives a file, when and why.
#[derive(Debug, Clone)]
pub struct Given {
    /// Whose name the version bears.
    pub actor: Actor,
    /// Why.
    pub note: String,
    /// When.
    pub at: Timestamp,
    /// The version that they looked at before; 0 if there was none.
    pub after: i64,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// It is wrong, or makes a site wrong.
    #[error("{}", summed(.0))]
    Faults(Vec<Fault>),
    /// It is of another site.
    #[error(
        "the file is of site {found_site} of tenant {found_tenant}, and was given for {place}; change [site] or the address"
    )]
    Elsewhere {
        /// What it was given for.
        place: String,
        /// The site in it.
        found_site: String,
        /// The tenant in it.
        found_tenant: String,
    },
    /// Somebody was faster.
    #[error("{} gave version {} at {}, after you looked; look at it, and give yours again if it still holds", .0.by, .0.version, .0.at)]
    Later(Version),
    /// There is no version of that number to come after.
    #[error("there is no version {0} yet; leave after out, or look at the versions that there are")]
    NoSuchVersion(i64),
    /// It cannot be sealed.
    #[error("no bundle can be made of it: {0}")]
    Unsealable(String),
    /// Too many at once.
    #[error(
        "the policy concerns more than {MAX_SITES} sites, which are not changed at once; give it to its clients"
    )]
    TooMany,
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

fn summed(faults: &[Fault]) -> String {
    match faults {
        [one] if one.key.is_empty() => one.problem.clone(),
        [one] => format!("{}: {}", one.key, one.problem),
        several => format!("{} problems; each is listed with its line", several.len()),
    }
}

/// Takes a site file, seals it, and tells the site's gateways.
pub fn give_site(
    database: &mut dyn Database,
    press: &Press,
    (tenant, site): (&TenantId, &SiteId),
    content: &str,
    given: &Given,
) -> Result<Version, NotTaken> {
    let place = place_of(tenant, site);
    all_or_nothing(database, |tx| {
        lock(tx, &place)?;
        let latest = latest_of_site(tx, &place)?;
        in_order(latest.as_ref(), given.after)?;
        let tree = check_site(tx, press, (tenant, site), content)?;
        let version = keep_site(tx, press, &tree, content, latest.map_or(0, |l| l.version) + 1, given)?;
        note(tx, given, tenant, "site.file", &place, &version)?;
        Ok(version)
    })
}

/// Takes the policy of a tenant, or of one of its clients, and seals every site anew that it concerns.
pub fn give_policy(
    database: &mut dyn Database,
    press: &Press,
    (tenant, client): (&TenantId, &str),
    content: &str,
    given: &Given,
) -> Result<(Version, usize), NotTaken> {
    all_or_nothing(database, |tx| {
        lock(tx, tenant.as_str())?;
        let latest = policy(tx, tenant.as_str(), client)?.map(|(version, _)| version);
        in_order(latest.as_ref(), given.after)?;
        let version = Version {
            version: latest.map_or(0, |l| l.version) + 1,
            at: given.at,
            by: given.actor.name.clone(),
            note: given.note.clone(),
        };
        tx.execute(
            "INSERT INTO policies (tenant, client, version, at_ms, given_by, note, content) VALUES ($1, $2, $3, $4, $5, $6, $7)",
            args![tenant.as_str(), client, version.version, given.at, &given.actor.name, &given.note, content],
        )?;
        let concerned = concerned(tx, tenant.as_str(), client)?;
        let whose = if client.is_empty() { format!("tenant {tenant}") } else { format!("client {client}") };
        let why = format!("policy of {whose}, version {}", version.version);
        let mut faults = vec![];
        let count = concerned.len();
        if count == 0 {
            read(tx, press, tenant.as_str(), &nowhere(tenant, client))?;
        }
        for (content, latest) in concerned {
            match read(tx, press, tenant.as_str(), &content) {
                Ok(tree) => {
                    let given = Given { note: why.clone(), ..given.clone() };
                    keep_site(tx, press, &tree, &content, latest + 1, &given)?;
                }
                // What is wrong with the policy is wrong for each of its sites, and told once.
                Err(NotTaken::Faults(found)) => {
                    faults.extend(
                        found.into_iter().filter(|fault| !faults.contains(fault)).collect::<Vec<_>>(),
                    );
                }
                Err(other) => return Err(other),
            }
        }
        if !faults.is_empty() {
            return Err(NotTaken::Faults(faults));
        }
        note(tx, given, tenant, "policy", &whose, &version)?;
        Ok((version, count))
    })
}

/// Writes it down with the other things that people did.
fn note(
    tx: &mut dyn Database,
    given: &Given,
    tenant: &TenantId,
    action: &str,
    object: &str,
    version: &Version,
) -> Result<(), LedgerError> {
    let detail = json!({"version": version.version, "note": version.note});
    audit(tx, &given.actor, given.at, &Deed { tenant: Some(tenant.as_str()), action, object, detail })
}

/// Whether a site file could be taken, and what looks like a mistake in it. Nothing is kept.
pub fn check_site(
    database: &mut dyn Database,
    press: &Press,
    (tenant, site): (&TenantId, &SiteId),
    content: &str,
) -> Result<Tree, NotTaken> {
    let tree = read(database, press, tenant.as_str(), content)?;
    if (&tree.tenant, &tree.site) != (tenant, site) {
        let (found_site, found_tenant) = (tree.site.to_string(), tree.tenant.to_string());
        return Err(NotTaken::Elsewhere { place: place_of(tenant, site), found_site, found_tenant });
    }
    Ok(tree)
}

/// A site that is not there, for a policy that concerns none yet: what is wrong with it is told when it is given, and not when the
/// first site file comes.
fn nowhere(tenant: &TenantId, client: &str) -> String {
    let client = if client.is_empty() { "nobody" } else { client };
    let fence = json!({"lat": 0.0, "lon": 0.0, "radius": 100});
    let site = json!({"id": "nowhere", "name": "nowhere", "tenant": tenant, "client": client, "timezone": "Etc/UTC", "geofence": fence});
    json!({ "site": site }).to_string()
}

/// [`within`] for work that fails in more ways than the ledger does.
fn all_or_nothing<T>(
    database: &mut dyn Database,
    work: impl FnOnce(&mut dyn Database) -> Result<T, NotTaken>,
) -> Result<T, NotTaken> {
    let mut refused = None;
    let done = within(database, |tx| match work(tx) {
        Ok(done) => Ok(Some(done)),
        Err(NotTaken::Ledger(error)) => Err(error),
        Err(other) => {
            refused = Some(other);
            Err(LedgerError::TakenBack)
        }
    });
    match (done, refused) {
        (_, Some(refused)) => Err(refused),
        (Ok(Some(done)), None) => Ok(done),
        (Ok(None), None) => Err(NotTaken::Ledger(LedgerError::TakenBack)),
        (Err(error), None) => Err(NotTaken::Ledger(error)),
    }
}

/// Of two who give a version at once one goes first.
fn lock(tx: &mut dyn Database, name: &str) -> Result<(), LedgerError> {
    if tx.engine() == Engine::Postgres {
        tx.query("SELECT pg_advisory_xact_lock(hashtext($1))::text", args![name])?;
    }
    Ok(())
}

fn in_order(latest: Option<&Version>, after: i64) -> Result<(), NotTaken> {
    match latest {
        Some(latest) if latest.version > after => Err(NotTaken::Later(latest.clone())),
        Some(latest) if latest.version == after => Ok(()),
        None if after == 0 => Ok(()),
        Some(_) | None => Err(NotTaken::NoSuchVersion(after)),
    }
}

/// Reads the file with the policies above it. Its client is known only when it was read once.
fn read(tx: &mut dyn Database, press: &Press, tenant: &str, content: &str) -> Result<Tree, NotTaken> {
    let alone = Texts { site: content, tenant: None, client: None };
    let client = press.reader.read(alone).map_err(NotTaken::Faults)?.client;
    let text = |found: Option<(Version, String)>| found.map(|(_, content)| content);
    let of_tenant = text(policy(tx, tenant, "")?);
    let of_client = text(policy(tx, tenant, &client)?);
    let texts = Texts { site: content, tenant: of_tenant.as_deref(), client: of_client.as_deref() };
    press.reader.read(texts).map_err(NotTaken::Faults)
}

fn keep_site(
    tx: &mut dyn Database,
    press: &Press,
    tree: &Tree,
    content: &str,
    version: i64,
    given: &Given,
) -> Result<Version, NotTaken> {
    let place = place_of(&tree.tenant, &tree.site);
    let label = Label {
        site: tree.site.clone(),
        tenant: tree.tenant.clone(),
        version: version.unsigned_abs(),
        made_at: given.at,
        by: given.actor.name.clone(),
    };
    let sealed =
        seal(&press.signer, &label, &tree.json).map_err(|why| NotTaken::Unsealable(why.to_string()))?;
    let sealed = String::from_utf8(sealed).map_err(|why| NotTaken::Unsealable(why.to_string()))?;
    tx.execute(
        "INSERT INTO site_files (place, version, tenant, site, client, at_ms, given_by, note, content, sealed)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        args![
            &place, version, tree.tenant.as_str(), tree.site.as_str(), &tree.client, given.at, &given.actor.name, &given.note,
            content, &sealed
        ],
    )?;
    tell_gateways(tx, &place, version, given.at)?;
    Ok(Version { version, at: given.at, by: given.actor.name.clone(), note: given.note.clone() })
}

/// Gateways ask for their bundle by themselves, every quarter of an hour; so one that has no room for the word gets it later.
fn tell_gateways(tx: &mut dyn Database, place: &str, version: i64, now: Timestamp) -> Result<(), NotTaken> {
    let gateways = tx.query("SELECT gateway FROM gateways WHERE place = $1", args![place])?;
    for mut row in gateways {
        let gateway = row.text(0)?;
        let id = CommandId::new(&format!("bundle-{version}-{}", now.millis()));
        let id = id.map_err(|why| NotTaken::Unsealable(why.to_string()))?;
        let data = RawValue::from_string("{}".to_owned()).map_err(LedgerError::from)?;
        let command = NewCommand { id, kind: "bundle.refresh".to_owned(), data };
        if matches!(queue_at(tx, place, &gateway, &command, now)?, Queued::New(_)) {
            tx.tell(&News { place: place.to_owned(), gateway, command: true, ..News::default() })?;
        }
    }
    Ok(())
}

/// The text and the newest version of every site that a policy concerns.
fn concerned(tx: &mut dyn Database, tenant: &str, client: &str) -> Result<Vec<(String, i64)>, NotTaken> {
    let newest =
        "version = (SELECT max(version) FROM site_files AS later WHERE later.place = site_files.place)";
    let sql = format!(
        "SELECT content, version FROM site_files WHERE tenant = $1 AND ($2 = '' OR client = $2) AND {newest} LIMIT $3"
    );
    let limit = i64::try_from(MAX_SITES + 1).unwrap_or(i64::MAX);
    let rows = tx.query(&sql, args![tenant, client, limit])?;
    if rows.len() > MAX_SITES {
        return Err(NotTaken::TooMany);
    }
    let row = |mut row: Row| Ok((row.text(0)?, row.int(1)?));
    rows.into_iter().map(row).collect()
}

const VERSION: &str = "version, at_ms, given_by, note";

fn version(row: &mut Row) -> Result<Version, LedgerError> {
    Ok(Version { version: row.int(0)?, at: row.instant(1)?, by: row.text(2)?, note: row.text(3)? })
}

fn latest_of_site(database: &mut dyn Database, place: &str) -> Result<Option<Version>, LedgerError> {
    let sql = format!("SELECT {VERSION} FROM site_files WHERE place = $1 ORDER BY version DESC LIMIT 1");
    database.one(&sql, args![place])?.map(|mut row| version(&mut row)).transpose()
}

/// The newest policy of a tenant, or of its client.
pub fn policy(
    database: &mut dyn Database,
    tenant: &str,
    client: &str,
) -> Result<Option<(Version, String)>, LedgerError> {
    let sql = format!(
        "SELECT {VERSION}, content FROM policies WHERE tenant = $1 AND client = $2 ORDER BY version DESC LIMIT 1"
    );
    database
        .one(&sql, args![tenant, client])?
        .map(|mut row| Ok((version(&mut row)?, row.text(4)?)))
        .transpose()
}

/// Every tenant and client that a policy was given for.
pub fn policies(
    database: &mut dyn Database,
    scope: &Scope,
    limit: u32,
) -> Result<Vec<PolicyRow>, LedgerError> {
    let mut args = vec![Arg::from(limit)];
    let theirs = scope.and_tenant("tenant", &mut args);
    let sql = format!(
        "SELECT {VERSION}, tenant, client FROM policies
         WHERE version = (SELECT max(version) FROM policies AS later
                          WHERE later.tenant = policies.tenant AND later.client = policies.client){theirs}
         ORDER BY tenant, client LIMIT $1"
    );
    let row = |mut row: Row| {
        let latest = version(&mut row)?;
        Ok(PolicyRow { latest, tenant: row.text(4)?, client: row.text(5)? })
    };
    database.query(&sql, &args)?.into_iter().map(row).collect()
}

/// Every site that a file was given for.
pub fn sites(database: &mut dyn Database, scope: &Scope, limit: u32) -> Result<Vec<SiteRow>, LedgerError> {
    let mut args = vec![Arg::from(limit)];
    let theirs = scope.and_tenant("tenant", &mut args);
    let sql = format!(
        "SELECT {VERSION}, tenant, site, client FROM site_files
         WHERE version = (SELECT max(version) FROM site_files AS later WHERE later.place = site_files.place){theirs}
         ORDER BY place LIMIT $1"
    );
    let row = |mut row: Row| {
        let latest = version(&mut row)?;
        Ok(SiteRow { latest, tenant: row.text(4)?, site: row.text(5)?, client: row.text(6)? })
    };
    database.query(&sql, &args)?.into_iter().map(row).collect()
}

/// The versions of a site's file, the newest first.
pub fn versions(database: &mut dyn Database, place: &str) -> Result<Vec<Version>, LedgerError> {
    let sql = format!("SELECT {VERSION} FROM site_files WHERE place = $1 ORDER BY version DESC LIMIT $2");
    database.query(&sql, args![place, MAX_VERSIONS])?.iter_mut().map(version).collect()
}

/// The text of one version.
pub fn text(database: &mut dyn Database, place: &str, number: i64) -> Result<Option<String>, LedgerError> {
    let sql = "SELECT content FROM site_files WHERE place = $1 AND version = $2";
    database.one(sql, args![place, number])?.map(|mut row| row.text(0)).transpose()
}

/// The newest bundle of a site.
pub fn sealed(database: &mut dyn Database, place: &str) -> Result<Option<String>, LedgerError> {
    let sql = "SELECT sealed FROM site_files WHERE place = $1 ORDER BY version DESC LIMIT 1";
    database.one(sql, args![place])?.map(|mut row| row.text(0)).transpose()
}
