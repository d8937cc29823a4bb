//! What a start does with the bundles that lie there: the one in use beats the site file, one that has failed goes back, and one
//! that cannot be used is passed over.

use super::judge::{Fit, Measure, Unfit, name_of};
use super::record::Record;
use super::report::InUse;
use super::shelf::{Shelf, ShelfError};
use super::{Bundles, Ledger};
use std::path::PathBuf;
use std::sync::Arc;
use vigil_cloud_sync::bundle::{self, Trusted};
use vigil_config::{AgentConfig, Problems, Uplink};
use vigil_core::site::Site;
use vigil_core::time::{Span, Timestamp};

/// The site to guard, and what is needed to take other bundles.
#[derive(Debug)]
pub struct Chosen {
    /// It.
    pub site: Arc<Site>,
    /// `None` if no bundle can be taken.
    pub bundles: Option<Bundles>,
}

/// A bundle that lies on the shelf and counts.
#[derive(Debug, Clone)]
pub struct Kept {
    /// What is said of it.
    pub in_use: InUse,
    /// Whether it still has to prove itself.
    pub on_trial: bool,
    /// The site.
    pub site: Arc<Site>,
    /// Its tree, as it was signed.
    pub content: String,
    /// Its file.
    pub file: PathBuf,
}

/// Chooses the site of a start. What is written down is written before the bundle is used.
pub fn choose(config: &Arc<AgentConfig>, trusted: Trusted, now: Timestamp) -> Result<Chosen, Problems> {
    let file = vigil_config::load_site(config.site_file()).map(Arc::new);
    let held = if trusted.is_empty() { Ok(None) } else { Shelf::hold(config.data_dir()).map(Some) };
    let shelf = match held {
        Ok(Some(shelf)) => shelf,
        Ok(None) => return alone(config, file),
        Err(why) => {
            tracing::error!(%why, "no bundle is used or taken");
            return alone(config, file);
        }
    };
    let record = shelf.record().unwrap_or_else(|why| {
        tracing::error!(%why, "what was known of bundles is lost: the site file is used until a higher version comes");
        shelf.record_without()
    });
    let ledger = Ledger::new(shelf, record);
    note(ledger.change(|record| record.on_start(now)));
    let record = ledger.record();
    let (fit, unused) = usable(&ledger, &record, config, &trusted, file.as_ref().ok());
    if let Some(unfit) = unused.as_ref().filter(|_| record.trial.is_some()) {
        note(ledger.change(|record| record.fall(now, unfit.why.clone())));
    }
    let before = if ledger.record().trial.is_some() {
        before(&ledger, config, &trusted, file.as_ref().ok())
    } else {
        None
    };
    let site = match (&fit, file) {
        (Some((fit, _)), Ok(_)) => Arc::clone(&fit.site),
        (Some((fit, _)), Err(problems)) => {
            tracing::warn!(%problems, "the site file is invalid; the bundle that takes its place is not");
            Arc::clone(&fit.site)
        }
        (None, file) => file?,
    };
    // A line of the box that was changed is no fault of the bundle.
    vigil_config::check_together(config, &site).inspect_err(|_| ledger.stopped())?;
    let measure =
        Measure { trusted, tenant: site.tenant.clone(), site: site.id.clone(), agent: Arc::clone(config) };
    let probation = config.uplink().map_or(Span::from_mins(5), Uplink::bundle_probation).to_std();
    let in_use = fit.map(|(fit, etag)| (InUse::of(&fit), etag));
    tell(in_use.as_ref().map(|(in_use, _)| in_use), unused.as_ref());
    Ok(Chosen { site, bundles: Some(Bundles { ledger, measure, probation, in_use, before, unused }) })
}

/// The bundle that a start would use, if it would use one. Nothing is written.
pub fn kept(
    config: &Arc<AgentConfig>,
    trusted: &Trusted,
    file: Option<&Site>,
) -> Result<Option<Kept>, Unfit> {
    let shelf = Shelf::beside(config.data_dir());
    let unfit = |why: ShelfError| Unfit { version: None, why: why.to_string(), problems: vec![] };
    let record = shelf.record().map_err(unfit)?;
    let Some(version) = record.in_use else { return Ok(None) };
    let document = shelf.bundle(version).map_err(unfit)?;
    let fit = measured(&document, config, trusted, file)?;
    let in_use = InUse::of(&fit);
    let (on_trial, file) = (record.trial.is_some(), shelf.file_of(version));
    Ok(Some(Kept { in_use, on_trial, site: fit.site, content: fit.content, file }))
}

/// A start without bundles. One that lies there from another time is worth a word.
fn alone(config: &Arc<AgentConfig>, file: Result<Arc<Site>, Problems>) -> Result<Chosen, Problems> {
    if let Ok(Record { in_use: Some(version), .. }) = Shelf::beside(config.data_dir()).record() {
        tracing::warn!(version, "a bundle lies in the data folder, and is not used");
    }
    let site = file?;
    vigil_config::check_together(config, &site)?;
    Ok(Chosen { site, bundles: None })
}

/// The first bundle that can be used, with its `ETag`, and why the one that should be cannot.
fn usable(
    ledger: &Ledger,
    record: &Record,
    config: &Arc<AgentConfig>,
    trusted: &Trusted,
    file: Option<&Arc<Site>>,
) -> (Option<(Fit, String)>, Option<Unfit>) {
    let mut unused = None;
    for version in record.needed() {
        match opened(ledger, version, config, trusted, file) {
            Ok(found) => return (Some(found), unused),
            Err(unfit) => {
                unused.get_or_insert(unfit);
            }
        }
    }
    (None, unused)
}

/// What is put back if the one on trial fails.
fn before(
    ledger: &Ledger,
    config: &Arc<AgentConfig>,
    trusted: &Trusted,
    file: Option<&Arc<Site>>,
) -> Option<Arc<Site>> {
    let version = ledger.record().before;
    let bundle = version.and_then(|version| opened(ledger, version, config, trusted, file).ok());
    bundle.map(|(fit, _)| fit.site).or_else(|| file.cloned())
}

fn opened(
    ledger: &Ledger,
    version: u64,
    config: &Arc<AgentConfig>,
    trusted: &Trusted,
    file: Option<&Arc<Site>>,
) -> Result<(Fit, String), Unfit> {
    let gone = |why: ShelfError| Unfit { version: Some(version), why: why.to_string(), problems: vec![] };
    let document = ledger.bundle(version).map_err(gone)?;
    let fit = measured(&document, config, trusted, file.map(|file| &**file))?;
    Ok((fit, bundle::etag(&document)))
}

/// Whose site this is says the site file. Without one that can be read, the bundle that was taken in its time says so.
fn measured(
    document: &[u8],
    config: &Arc<AgentConfig>,
    trusted: &Trusted,
    file: Option<&Site>,
) -> Result<Fit, Unfit> {
    let of_file = file.map(|file| (file.tenant.clone(), file.id.clone()));
    let of_itself = || bundle::unproved(document).ok().map(|(header, _)| (header.tenant, header.site));
    let nothing = || Unfit { version: None, why: "it is no bundle".into(), problems: vec![] };
    let (tenant, site) = of_file.or_else(of_itself).ok_or_else(nothing)?;
    let measure = Measure { trusted: trusted.clone(), tenant, site, agent: Arc::clone(config) };
    measure.judge_again(document, &name_of(document))
}

fn note(written: Result<(), ShelfError>) {
    if let Err(why) = written {
        tracing::error!(%why, "what becomes of the bundle on trial is not written down");
    }
}

fn tell(in_use: Option<&InUse>, unused: Option<&Unfit>) {
    if let Some(Unfit { version, why, .. }) = unused {
        tracing::error!(version, %why, "the bundle that was in use cannot be used any more");
    }
    if let Some(InUse { version, made_at, by, .. }) = in_use {
        tracing::info!(version, %made_at, by, "a bundle takes the place of the site file");
    }
}
