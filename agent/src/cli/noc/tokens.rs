//! `vigil noc token`: tokens with which programs ask the operators' API.

use super::{ledger, told};
use crate::cli::Failure;
use crate::cli::table::{table, text, width};
use std::io::Write;
use std::path::Path;
use vigil_core::id::{OperatorId, TenantId};
use vigil_noc::access::audit::Actor;
use vigil_noc::access::secret;
use vigil_noc::access::tokens::{self, NewToken};
use vigil_noc::{Role, Scope};

/// `vigil noc token`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a token, and print it once
    Add {
        /// What it is called: 1 to 64 characters of A-Z a-z 0-9 . _ -
        name: OperatorId,
        /// What it may do: viewer, operator, supervisor or admin
        #[arg(long)]
        role: Role,
        /// Whose sites it sees; all without it
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// Show all of them, with when each was last used
    List {
        /// Print JSON for a program instead of a table for a person
        #[arg(long)]
        json: bool,
    },
    /// Make one good no more
    Revoke {
        /// What it is called
        name: String,
    },
}

/// Runs the command.
pub fn run(args: &Args, config: &Path) -> Result<(), Failure> {
    match &args.what {
        What::Add { name, role, tenant } => add(config, name, *role, tenant.clone()),
        What::List { json } => list(config, *json),
        What::Revoke { name } => revoke(config, name),
    }
}

fn add(config: &Path, name: &OperatorId, role: Role, tenant: Option<TenantId>) -> Result<(), Failure> {
    let token = secret::made().map_err(|why| Failure::failed(why, "Try again."))?;
    let new = NewToken { name: name.clone(), tenant, role, digest: secret::digest(&token) };
    let now = crate::clock::Clock::wall().now();
    let added = ledger(config)?
        .within(|tx| tokens::add(tx, &Actor::console(), now, &new))
        .map_err(|why| told(&why))?;
    if added {
        return Ok(writeln!(std::io::stdout(), "{token}")?);
    }
    Err(Failure::failed(
        format!("there is a token {name} already, or {} of them", tokens::MAX_TOKENS),
        "Choose another name; `vigil noc token list` shows those that are there.",
    ))
}

fn revoke(config: &Path, name: &str) -> Result<(), Failure> {
    let (now, everything) = (crate::clock::Clock::wall().now(), Scope::whole());
    let revoked = ledger(config)?
        .within(|tx| tokens::revoke(tx, &Actor::console(), now, &everything, name))
        .map_err(|why| told(&why))?;
    if revoked {
        return Ok(writeln!(std::io::stdout(), "The token {name} is good no more.")?);
    }
    Err(Failure::failed(
        format!("there is no token {name:?} that is good"),
        "`vigil noc token list` shows those that are there.",
    ))
}

fn list(config: &Path, json: bool) -> Result<(), Failure> {
    let rows = tokens::list(ledger(config)?.database(), &Scope::whole()).map_err(|why| told(&why))?;
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &rows).map_err(std::io::Error::from)?;
        return Ok(writeln!(out)?);
    }
    let mut shown = table(&["NAME", "TENANT", "ROLE", "MADE", "LAST USED", "STATE"], width());
    for row in &rows {
        let used = row.used_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
        let state = if row.revoked_at.is_some() { "revoked" } else { "good" };
        let (tenant, made) = (row.tenant.as_deref().unwrap_or("all"), row.created_at.to_string());
        shown.add_row([&row.name, tenant, row.role.name(), &made, &used, state]);
    }
    Ok(write!(out, "{}", text(&shown))?)
}
