//! Whether a document may be used here: signed by somebody whom we trust, of our site, above what was, and a site without a
//! mistake. All of it is looked at before any of it is used. Pure.

use super::record::Record;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vigil_cloud_sync::bundle::{self, Bundle, Header, KeyId, Trusted};
use vigil_config::{AgentConfig, Problems};
use vigil_core::id::{SiteId, TenantId};
use vigil_core::site::Site;

/// The most problems that are told of one bundle: as many as `vigil check` shows.
const MAX_PROBLEMS: usize = 100;
/// How much of each is told: it may quote what somebody else wrote.
const MAX_PROBLEM_CHARS: usize = 300;

/// Whom and what bundles are held against.
#[derive(Debug, Clone)]
pub struct Measure {
    /// Those who may sign.
    pub trusted: Trusted,
    /// Whose site this is.
    pub tenant: TenantId,
    /// Which.
    pub site: SiteId,
    /// The box, whose serial lines must have their devices in the site.
    pub agent: Arc<AgentConfig>,
}

/// A bundle that may be used.
#[derive(Debug, Clone)]
pub struct Fit {
    /// What is said of it.
    pub header: Header,
    /// Who signed it.
    pub key: KeyId,
    /// The site.
    pub site: Arc<Site>,
    /// Its tree, as it was signed.
    pub content: String,
}

/// Why a document is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// The version that it says it has, if that can be read.
    pub version: Option<u64>,
    /// Why, in a sentence.
    pub why: String,
    /// Every problem of the tree.
    pub problems: Vec<String>,
}

impl Measure {
    /// Judges a document that came, against what was taken before.
    pub fn judge(&self, document: &[u8], record: &Record, named: &Path) -> Result<Fit, Unfit> {
        let bundle = self.open(document)?;
        let version = bundle.header.version;
        let stale = |why: super::record::Stale| Unfit {
            version: Some(version),
            why: why.to_string(),
            problems: vec![],
        };
        record.admits(version).map_err(stale)?;
        let fit = read(bundle, named)?;
        self.with_the_box(&fit.site, version)?;
        Ok(fit)
    }

    /// The same of one that lies on the shelf: that it was taken says that it was in its turn.
    pub fn judge_again(&self, document: &[u8], named: &Path) -> Result<Fit, Unfit> {
        read(self.open(document)?, named)
    }

    fn open(&self, document: &[u8]) -> Result<Bundle, Unfit> {
        let version = bundle::unproved(document).ok().map(|(header, _)| header.version);
        let unfit = |why: String| Unfit { version, why, problems: vec![] };
        let bundle = bundle::open(document, &self.trusted).map_err(|why| unfit(why.to_string()))?;
        let Header { site, tenant, .. } = &bundle.header;
        if (site, tenant) != (&self.site, &self.tenant) {
            return Err(unfit(format!(
                "it is of site {site} of tenant {tenant}, and this agent guards {} of {}",
                self.site, self.tenant
            )));
        }
        Ok(bundle)
    }

    /// The next start would not go by with a site that lacks the devices of the box.
    fn with_the_box(&self, site: &Site, version: u64) -> Result<(), Unfit> {
        vigil_config::check_together(&self.agent, site).map_err(|problems| unfit(version, &problems))
    }
}

fn read(bundle: Bundle, named: &Path) -> Result<Fit, Unfit> {
    let Bundle { header, key, content } = bundle;
    let site = vigil_config::parse_site(named, content.as_bytes());
    let site = site.map_err(|problems| unfit(header.version, &problems))?;
    Ok(Fit { header, key, site: Arc::new(site), content })
}

fn unfit(version: u64, found: &Problems) -> Unfit {
    let all = found.as_slice();
    let told = |text: String| text.chars().take(MAX_PROBLEM_CHARS).collect::<String>();
    let mut problems: Vec<String> = all.iter().take(MAX_PROBLEMS).map(|p| told(p.to_string())).collect();
    if let Some(more @ 1..) = all.len().checked_sub(MAX_PROBLEMS) {
        problems.push(format!("and {more} more"));
    }
    let why = match problems.as_slice() {
        [one] => one.clone(),
        _ => format!(
            "it has {} problems, the first of which is: {}",
            all.len(),
            problems.first().map_or("", String::as_str)
        ),
    };
    Unfit { version: Some(version), why, problems }
}

/// What a bundle is called where its problems are told.
pub fn name_of(document: &[u8]) -> PathBuf {
    match bundle::unproved(document) {
        Ok((header, _)) => PathBuf::from(format!("bundle {}", header.version)),
        Err(_) => PathBuf::from("bundle"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use vigil_cloud_sync::bundle::{Label, Signer};
    use vigil_core::time::Timestamp;

    fn measured(tree: &Value) -> Result<Fit, Unfit> {
        let signer = Signer::read(Signer::generate().unwrap().as_bytes()).unwrap();
        let agent = "agent.gateway = \"gw-1\"\nmqtt.allow_anonymous = true\n[[serial]]\ndevice = \"gate\"\nport = \"/dev/x\"\n\
                     protocol = \"lines\"\n";
        let agent = vigil_config::parse_agent(Path::new("agent.toml"), agent.as_bytes()).unwrap();
        let measure = Measure {
            trusted: Trusted::new(vec![signer.public().clone()]),
            tenant: TenantId::new("acme").unwrap(),
            site: SiteId::new("plant-7").unwrap(),
            agent: Arc::new(agent),
        };
        let (tenant, site) = (measure.tenant.clone(), measure.site.clone());
        let label = Label { site, tenant, version: 3, made_at: Timestamp::default(), by: "Asha".into() };
        let document = bundle::seal(&signer, &label, &tree.to_string()).unwrap();
        measure.judge(&document, &Record { highest: 2, ..Record::default() }, &name_of(&document))
    }

    fn tree() -> Value {
        json!({
            "site": {"id": "plant-7", "tenant": "acme", "client": "north", "name": "Plant 7", "timezone": "Etc/UTC"},
            "checkpoints": [{"id": "cp-1"}],
            "devices": [{"id": "gate", "kind": "reader", "checkpoint": "cp-1"}],
        })
    }

    #[test]
    fn a_bundle_has_to_fit_the_lines_of_the_box() {
        assert_eq!(measured(&tree()).unwrap().header.version, 3);
        let mut without = tree();
        without["devices"] = json!([]);
        let unfit = measured(&without).unwrap_err();
        assert_eq!(unfit.version, Some(3));
        assert!(
            unfit.why.contains("serial[0].device: found \"gate\", allowed: the id of a device"),
            "{unfit:?}"
        );
    }

    #[test]
    fn every_problem_is_told_up_to_a_hundred() {
        let mut broken = tree();
        let guard = |n: usize| json!({"id": format!("G-{n}"), "badge": "x".repeat(1_000)});
        broken["guards"] = (0..150).map(guard).collect();
        let unfit = measured(&broken).unwrap_err();
        assert_eq!(unfit.problems.len(), MAX_PROBLEMS + 1);
        assert_eq!(unfit.problems.last().map(String::as_str), Some("and 50 more"));
        assert!(unfit.problems.iter().all(|problem| problem.chars().count() <= MAX_PROBLEM_CHARS));
        assert!(
            unfit.why.starts_with("it has 150 problems, the first of which is: bundle 3:1: guards[0].badge"),
            "{unfit:?}"
        );
    }
}
