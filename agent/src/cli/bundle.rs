//! `vigil bundle`: keys, signed bundles without an operations centre, and what is in one. And how `vigil status` tells of them.

use super::Failure;
use super::table::{WallClock, plain, rows, text, width};
use crate::clock::Clock;
use serde_json::Value;
use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use vigil_cloud_sync::bundle::{self, BadKey, Bundle, Header, Label, PublicKey, Signer, Trusted};
use vigil_config::Part;

/// `vigil bundle`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a key that signs bundles: write its private half to a file, and print the public one
    Keygen(Keygen),
    /// Sign a site file as a bundle
    Sign(Sign),
    /// Show what a bundle says of itself, and whether its signature fits
    Show(Show),
}

#[derive(Debug, clap::Args)]
struct Keygen {
    /// Where the private key goes; a file that is there already is left alone
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Sign {
    /// The site file, TOML or JSON
    site: PathBuf,
    /// The private key, as `vigil bundle keygen` writes it
    #[arg(long)]
    key: PathBuf,
    /// The version: a whole number above every one that the gateways have taken
    #[arg(long)]
    version: u64,
    /// Who makes it
    #[arg(long)]
    by: String,
    /// A file with the [policy] of the tenant
    #[arg(long)]
    tenant_policy: Option<PathBuf>,
    /// A file with the [policy] of the client
    #[arg(long)]
    client_policy: Option<PathBuf>,
    /// Where the bundle goes; standard output without it
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The bundle
    file: PathBuf,
    /// A public key that may have signed it, as text or in a file; may be given several times
    #[arg(long)]
    key: Vec<String>,
    /// Print the tree of the site, as it was signed
    #[arg(long)]
    content: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.what {
        What::Keygen(args) => keygen(args),
        What::Sign(args) => sign(args),
        What::Show(args) => show(args),
    }
}

fn keygen(args: &Keygen) -> Result<(), Failure> {
    let place = args.file.display();
    let text = Signer::generate().map_err(|why| Failure::failed(why, "That is a fault of the system."))?;
    let public = Signer::read(text.as_bytes()).map_err(bad_key(&place))?.public().clone();
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&args.file).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
    written.map_err(|why| {
        Failure::failed(
            format!("cannot write {place}: {why}"),
            "Name a file that is not there yet, in a folder of yours.",
        )
    })?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{public}")?;
    let said = format!(
        "key {}: the private half is in {place}; keep it where bundles are signed, and nowhere else.\n\
         The line above is the public half: name it in [uplink] bundle_keys of each gateway's agent.toml.",
        public.id()
    );
    Ok(writeln!(std::io::stderr(), "{said}")?)
}

fn bad_key(place: &impl Display) -> impl Fn(BadKey) -> Failure {
    move |why| Failure::invalid(format!("{place}: {why}"), "Make one with `vigil bundle keygen`.")
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |why| {
        Failure::invalid(
            format!("cannot read {}: {why}", file.display()),
            "Check the path, and who may read it.",
        )
    };
    fs::read(file).map_err(failed)
}

fn sign(args: &Sign) -> Result<(), Failure> {
    let signer = Signer::read(&read(&args.key)?).map_err(bad_key(&args.key.display()))?;
    let part = Part {
        site: &args.site,
        tenant: args.tenant_policy.as_deref(),
        client: args.client_policy.as_deref(),
    };
    let tree = vigil_config::bundle_tree(part)?;
    let site = vigil_config::parse_site(&args.site, tree.as_bytes())?;
    let label = Label {
        site: site.id.clone(),
        tenant: site.tenant.clone(),
        version: args.version,
        made_at: Clock::wall().now(),
        by: args.by.clone(),
    };
    let sealed = bundle::seal(&signer, &label, &tree)
        .map_err(|why| Failure::invalid(why, "Give it another --version or --by, or a smaller site."))?;
    match &args.out {
        Some(file) => fs::write(file, sealed).map_err(|why| {
            Failure::failed(
                format!("cannot write {}: {why}", file.display()),
                "Name a file in a folder of yours.",
            )
        }),
        None => Ok(std::io::stdout().lock().write_all(&sealed)?),
    }
}

/// The keys that were named: each is one, or the file of one.
fn trusted(named: &[String]) -> Result<Trusted, Failure> {
    let key = |named: &String| match PublicKey::read(named.as_bytes()) {
        Ok(key) => Ok(key),
        Err(_) => PublicKey::read(&read(Path::new(named))?).map_err(bad_key(named)),
    };
    named.iter().map(key).collect::<Result<_, _>>().map(Trusted::new)
}

fn show(args: &Show) -> Result<(), Failure> {
    let document = read(&args.file)?;
    let mend = "Fetch it again from whoever signed it.";
    let refuse = |why: bundle::NotOpened| Failure::failed(format!("{}: {why}", args.file.display()), mend);
    let (header, key) = bundle::unproved(&document).map_err(refuse)?;
    let mut out = std::io::stdout().lock();
    if args.key.is_empty() {
        write!(
            out,
            "{}",
            told(&header, &format!("by key {key}: NOT CHECKED, name the public key with --key"), None)
        )?;
        return Ok(());
    }
    let Bundle { header, key, content } = bundle::open(&document, &trusted(&args.key)?).map_err(refuse)?;
    let named = args.file.clone();
    let site = vigil_config::parse_site(&named, content.as_bytes())?;
    if args.content {
        return Ok(writeln!(out, "{content}")?);
    }
    let (guards, devices, tours) = (site.guards.len(), site.devices.len(), site.tours.len());
    let holds = format!("{} with {guards} guards, {devices} devices, {tours} tours", site.name);
    Ok(write!(out, "{}", told(&header, &format!("by key {key}: fits"), Some(&holds)))?)
}

fn told(header: &Header, signature: &str, holds: Option<&str>) -> String {
    let mut shown = rows(width());
    let Header { site, tenant, version, made_at, by, sha256 } = header;
    shown.add_row(["version", &version.to_string()]);
    shown.add_row(["site", &format!("{site} of tenant {tenant}")]);
    shown.add_row(["made", &format!("{made_at} by {by}")]);
    shown.add_row(["sha256", sha256]);
    shown.add_row(["signed", signature]);
    if let Some(holds) = holds {
        shown.add_row(["holds", holds]);
    }
    text(&shown)
}

/// How it stands with bundles, in the words of `vigil status`.
pub(super) fn standing(s: &Value, clock: WallClock) -> String {
    let Some(bundle) = s.get("bundle").filter(|bundle| !bundle.is_null()) else {
        return "none is taken: [uplink] bundle_keys names no key".to_owned();
    };
    let is = |key: &str| bundle.get(key).is_some_and(|value| !value.is_null());
    let trial = if bundle.get("on_trial") == Some(&Value::Bool(true)) { ", ON TRIAL" } else { "" };
    let mut said = vec![match is("in_use") {
        true => format!(
            "version {} of {} by {}{trial}",
            plain(bundle, "/in_use/version"),
            clock.at(bundle, "/in_use/made_at"),
            plain(bundle, "/in_use/by")
        ),
        false => "none: the site file is in use".to_owned(),
    }];
    if is("rolled_back") {
        let [version, why] = ["version", "why"].map(|key| plain(bundle, &format!("/rolled_back/{key}")));
        let at = clock.at(bundle, "/rolled_back/at");
        said.push(format!("version {version} was ROLLED BACK at {at}: {why}"));
    }
    if is("last_refused") {
        let [version, why] = ["version", "reason"].map(|key| plain(bundle, &format!("/last_refused/{key}")));
        let at = clock.at(bundle, "/last_refused/at");
        said.push(format!(
            "{} REFUSED, the last at {at}, version {version}: {why}",
            plain(bundle, "/refused")
        ));
    }
    if is("last_error") {
        said.push(format!("the NOC could not be asked: {}", plain(bundle, "/last_error")));
    }
    said.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_standing_says_what_is_in_use_and_what_went_wrong() {
        let said = |bundle: Value| {
            let status = json!({"timezone": "Etc/UTC", "now": "2026-11-28T02:00:00.000Z", "bundle": bundle});
            standing(&status, WallClock::of(&status))
        };
        assert_eq!(said(Value::Null), "none is taken: [uplink] bundle_keys names no key");
        let in_use = json!({"version": 7, "made_at": "2026-11-28T01:00:00.000Z", "by": "Asha"});
        let well = said(json!({"in_use": in_use, "on_trial": true, "last_refused": null}));
        assert!(well.starts_with("version 7 of ") && well.ends_with(" by Asha, ON TRIAL"), "{well}");
        let fallen = json!({"version": 8, "at": "2026-11-28T01:30:00.000Z", "why": "ill"});
        let refused = json!({"version": 6, "at": "2026-11-28T01:40:00.000Z", "reason": "old"});
        let ill = said(
            json!({"in_use": null, "rolled_back": fallen, "last_refused": refused, "refused": 2, "last_error": "cut"}),
        );
        assert!(ill.starts_with("none: the site file is in use; version 8 was ROLLED BACK at "), "{ill}");
        assert!(
            ill.contains(": ill; 2 REFUSED, the last at ") && ill.contains(", version 6: old; the NOC"),
            "{ill}"
        );
    }
}
