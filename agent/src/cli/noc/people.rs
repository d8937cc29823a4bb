//! `vigil noc user`: the people who may log in, managed on the machine of the receiver. So there is a first one, and a way back
//! for whoever is locked out.

use super::prompt::Source;
use super::{ledger, told};
use crate::cli::Failure;
use crate::cli::table::{table, text, width};
use std::io::Write;
use std::path::Path;
use vigil_core::id::{OperatorId, TenantId};
use vigil_noc::access::audit::Actor;
use vigil_noc::access::people::{self, Added, Change, NewPerson, PersonRow};
use vigil_noc::access::{secret, sessions};
use vigil_noc::{Role, Scope};

/// `vigil noc user`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Let somebody in
    Add {
        /// Their name: 1 to 64 characters of A-Z a-z 0-9 . _ -
        name: OperatorId,
        /// What they may do: viewer, operator, supervisor or admin
        #[arg(long)]
        role: Role,
        /// Whose sites they see; all without it
        #[arg(long)]
        tenant: Option<TenantId>,
        #[command(flatten)]
        password: Source,
    },
    /// Show everybody
    List {
        /// Print JSON for a program instead of a table for a person
        #[arg(long)]
        json: bool,
    },
    /// Lock somebody out, and end every session of theirs
    Disable {
        /// Their name
        name: String,
    },
    /// Let somebody in again
    Enable {
        /// Their name
        name: String,
    },
    /// Give somebody another role; they log in again
    Role {
        /// Their name
        name: String,
        /// viewer, operator, supervisor or admin
        role: Role,
    },
    /// Print a path below the operators' pages that logs somebody in: once, within 5 minutes
    Link {
        /// Their name
        name: String,
    },
    /// Give somebody another password, and end every session of theirs
    Password {
        /// Their name
        name: String,
        #[command(flatten)]
        password: Source,
    },
}

/// Runs the command.
pub fn run(args: &Args, config: &Path) -> Result<(), Failure> {
    match &args.what {
        What::Add { name, role, tenant, password } => add(config, name, *role, tenant.clone(), password),
        What::List { json } => list(config, *json),
        What::Disable { name } => {
            change(config, name, &Change::Disabled(true), "is locked out, and their sessions have ended")
        }
        What::Enable { name } => change(config, name, &Change::Disabled(false), "may log in"),
        What::Role { name, role } => {
            change(config, name, &Change::Role(*role), &format!("is {role}, and logs in again"))
        }
        What::Link { name } => link(config, name),
        What::Password { name, password } => {
            let chosen = password.choose(name)?;
            let new = Change::Password { hash: chosen.hash, must_change: chosen.made.is_some() };
            change(config, name, &new, "has another password")?;
            show(chosen.made.as_deref())
        }
    }
}

fn add(
    config: &Path,
    name: &OperatorId,
    role: Role,
    tenant: Option<TenantId>,
    password: &Source,
) -> Result<(), Failure> {
    // What is wrong with the configuration is said before a password is asked for.
    let mut ledger = ledger(config)?;
    let chosen = password.choose(name.as_str())?;
    let must_change = chosen.made.is_some();
    let new = NewPerson { name: name.clone(), tenant, role, hash: chosen.hash, must_change };
    let now = crate::clock::Clock::wall().now();
    let added =
        ledger.within(|tx| people::add(tx, &Actor::console(), now, &new)).map_err(|why| told(&why))?;
    match added {
        Added::New => {
            writeln!(std::io::stdout(), "{name} may log in as {role}.")?;
            show(chosen.made.as_deref())
        }
        Added::Taken => Err(Failure::failed(
            format!("there is somebody called {name} already"),
            "Choose another name; `vigil noc user list` shows who is there.",
        )),
        Added::Full => Err(Failure::failed(
            format!("there are {} people already", people::MAX_PEOPLE),
            "That is the most that a receiver has.",
        )),
    }
}

fn show(made: Option<&str>) -> Result<(), Failure> {
    let Some(made) = made else { return Ok(()) };
    Ok(writeln!(
        std::io::stdout(),
        "The password, shown this once: {made}\nAnother one is chosen at the first log-in."
    )?)
}

fn change(config: &Path, name: &str, change: &Change, done: &str) -> Result<(), Failure> {
    let now = crate::clock::Clock::wall().now();
    let everybody = Scope::whole();
    let changed = ledger(config)?
        .within(|tx| people::change(tx, &Actor::console(), now, &everybody, (name, change)))
        .map_err(|why| told(&why))?;
    if changed {
        return Ok(writeln!(std::io::stdout(), "{name} {done}.")?);
    }
    Err(Failure::failed(
        format!("there is nobody called {name:?}"),
        "`vigil noc user list` shows who is there.",
    ))
}

fn link(config: &Path, name: &str) -> Result<(), Failure> {
    let ticket = secret::made().map_err(|why| Failure::failed(why, "Try again."))?;
    let (now, digest) = (crate::clock::Clock::wall().now(), secret::digest(&ticket));
    let issued = ledger(config)?.within(|tx| {
        let known = people::find(tx, &Scope::whole(), name)?.filter(|person| !person.disabled);
        if known.is_some() {
            sessions::issue(tx, now, name, &digest)?;
        }
        Ok(known.is_some())
    });
    if issued.map_err(|why| told(&why))? {
        return Ok(writeln!(std::io::stdout(), "/login?ticket={ticket}")?);
    }
    Err(Failure::failed(
        format!("there is nobody called {name:?} who may log in"),
        "`vigil noc user list` shows who is there.",
    ))
}

fn list(config: &Path, json: bool) -> Result<(), Failure> {
    let rows = people::list(ledger(config)?.database(), &Scope::whole()).map_err(|why| told(&why))?;
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &rows).map_err(std::io::Error::from)?;
        return Ok(writeln!(out)?);
    }
    if rows.is_empty() {
        return Ok(writeln!(out, "Nobody may log in yet: vigil noc user add NAME --role admin")?);
    }
    let mut shown = table(&["NAME", "TENANT", "ROLE", "SINCE", "STATE"], width());
    for row in &rows {
        let tenant = row.tenant.as_deref().unwrap_or("all");
        let cells = [&row.name, tenant, row.role.name(), &row.created_at.to_string(), state(row)];
        shown.add_row(cells);
    }
    Ok(write!(out, "{}", text(&shown))?)
}

const fn state(row: &PersonRow) -> &'static str {
    match (row.disabled, row.must_change) {
        (true, _) => "locked out",
        (false, true) => "has to choose a password",
        (false, false) => "may log in",
    }
}
