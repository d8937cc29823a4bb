//! What checks and signs site files at the operations centre: the gateways' own reader, and the key of `noc.toml`.

use super::Failure;
use std::path::Path;
use std::sync::Arc;
use vigil_cloud_sync::bundle::Signer;
use vigil_config::{BundleSheet, Environment, NocConfig, Problem, parse_site, tree_of};
use vigil_noc::sites::{Fault, Press, Reader, Texts, Tree};

/// With the key that `config` names; none if it names none.
pub fn press(config: &NocConfig, env: &Environment) -> Result<Option<Press>, Failure> {
    let Some(name) = config.bundle_key() else { return Ok(None) };
    let secret = vigil_config::credential(name, config.base(), env).map_err(|why| {
        Failure::invalid(why, "Site bundles are signed with it; `vigil bundle keygen` makes one.")
    })?;
    let signer = Signer::read(secret.expose()).map_err(|why| {
        Failure::invalid(
            format!("the credential {} signs no bundles: {why}", name.as_str()),
            "`vigil bundle keygen` makes one that does.",
        )
    })?;
    Ok(Some(Press { reader: Reader::new(read), signer: Arc::new(signer) }))
}

/// Reads a site file as a gateway does.
fn read(texts: Texts<'_>) -> Result<Tree, Vec<Fault>> {
    let sheet = |file: &'static str, text| BundleSheet { file: Path::new(file), text };
    let json = tree_of(
        sheet("site file", texts.site.as_bytes()),
        texts.tenant.map(|text| sheet("policy of the tenant", text.as_bytes())),
        texts.client.map(|text| sheet("policy of the client", text.as_bytes())),
    )
    .map_err(|problems| faults(problems.as_slice()))?;
    let site = parse_site(Path::new("site file"), json.as_bytes())
        .map_err(|problems| faults(problems.as_slice()))?;
    let doubt = |doubt: vigil_core::doubts::Doubt| Fault {
        file: "site file".to_owned(),
        line: None,
        key: doubt.path,
        problem: doubt.what,
    };
    let doubts = site.doubts().into_iter().map(doubt).collect();
    let client = site.client.to_string();
    Ok(Tree { json, tenant: site.tenant.clone(), site: site.id.clone(), client, doubts })
}

fn faults(problems: &[Problem]) -> Vec<Fault> {
    let fault = |problem: &Problem| Fault {
        file: problem.file.display().to_string(),
        line: problem.line,
        key: problem.key.clone(),
        problem: problem.fault.to_string(),
    };
    problems.iter().map(fault).collect()
}
