//! `vigil noc`: the receiver of the NOC, and who may log in to it.

mod files;
mod people;
mod prompt;
mod tell;
mod tokens;

use super::signals::{Early, Stop};
use super::{Failure, logs};
use crate::systemd::{self, Herald};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use vigil_config::{Environment, Gateway, NocConfig, ServerCertificate};
use vigil_listen::lock::NoLock;
use vigil_noc::escalation::Ways;
use vigil_noc::ledger::{Address, Ledger, LedgerError, Place, PostgresError};
use vigil_noc::{GatewayAccess, Noc, NocError, ServeError, TlsFiles};

/// `vigil noc`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// The receiver's configuration
    #[arg(long, default_value = "noc.toml", global = true)]
    config: PathBuf,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Validate the configuration, its credentials and the ledger without starting, as `vigil check --noc` does
    Check,
    /// Manage the people who may log in to the operators' pages
    User(people::Args),
    /// Manage the tokens with which programs ask the operators' API
    Token(tokens::Args),
    /// Print what the operators' and the gateways' API is, as an OpenAPI 3.1 document; needs no receiver
    Openapi,
    /// Send a contact a test at once, and say what came of it
    Tell(tell::Args),
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.what {
        None => serve(&args.config),
        Some(What::Check) => super::check::receiver(&args.config),
        Some(What::User(user)) => people::run(user, &args.config),
        Some(What::Token(token)) => tokens::run(token, &args.config),
        Some(What::Openapi) => Ok(writeln!(std::io::stdout().lock(), "{}", vigil_noc::openapi::text())?),
        Some(What::Tell(contact)) => tell::run(contact, &args.config),
    }
}

/// The ledger that a configuration names, for a command beside the receiver or without one.
fn ledger(config: &Path) -> Result<Ledger, Failure> {
    logs::set_up("warn");
    let config = vigil_config::load_noc(config)?;
    let address = database(&config, &Environment::of_process())?;
    let place = vigil_noc::place(config.data_dir(), address.as_ref());
    if let Place::File(path) = &place
        && let Some(folder) = path.parent()
    {
        std::fs::create_dir_all(folder).map_err(|why| {
            let what = format!("cannot make the folder {}: {why}", folder.display());
            Failure::failed(
                what,
                "Run it as the user of the receiver, like `sudo -u vigil vigil noc user list`.",
            )
        })?;
    }
    place.open(None).map_err(|why| Failure::failed(&why, mend_ledger(&why)))
}

/// What a ledger says when it cannot do what was asked.
fn told(why: &LedgerError) -> Failure {
    Failure::failed(why, mend_ledger(why))
}

fn serve(config: &Path) -> Result<(), Failure> {
    logs::set_up("info");
    let early = Early::catch()?;
    let config = vigil_config::load_noc(config)?;
    let ready = receiver(&config, &Environment::of_process())?;
    let ready = vigil_noc::NocConfig { files: files::let_open(ready.wants_files()), ..ready };
    super::runtime()?.block_on(async {
        let stop = Stop::listen(early)?;
        receive(ready, stop).await.map_err(|why| {
            let mend = mend(&why);
            if lasts(&why) { Failure::invalid(why, mend) } else { Failure::failed(why, mend) }
        })
    })
}

/// What only another configuration mends: whoever starts the receiver anew has to know.
const fn lasts(why: &NocError) -> bool {
    matches!(
        why,
        NocError::Access(_)
            | NocError::OpenPages(_)
            | NocError::Escalation(_)
            | NocError::Serve(ServeError::Pem { .. } | ServeError::Tls(_))
    )
}

/// Receives until it is told to stop, and tells the service manager how it goes.
async fn receive(config: vigil_noc::NocConfig, mut stop: Stop) -> Result<(), NocError> {
    let noc = Noc::bind(config).await?;
    tracing::info!(events = %noc.events_addr(), operator = %noc.operator_addr(), "the receiver listens");
    let (herald, clerk) = (Herald::default(), noc.clerk());
    herald.ready();
    let shutdown = async {
        stop.told().await;
        herald.stopping();
    };
    tokio::select! {
        served = noc.serve(shutdown) => served?,
        () = systemd::ask_and_beat(|| clerk.answers()) => {}
    }
    tracing::info!("the receiver has stopped");
    Ok(())
}

const fn mend(why: &NocError) -> &'static str {
    match why {
        NocError::Locked(NoLock::InUse { .. }) => {
            "Stop that one first, or give this one a data_dir of its own in noc.toml."
        }
        NocError::Locked(NoLock::File { .. })
        | NocError::DataDir { .. }
        | NocError::Access(_)
        | NocError::OpenPages(_)
        | NocError::Serve(_) => "Mend noc.toml or what it names, and start the receiver again.",
        NocError::Files { .. } => {
            "Raise LimitNOFILE of its unit, or `ulimit -n`, and start the receiver again."
        }
        NocError::Escalation(_) => tell::MEND,
        NocError::Ledger(why) => mend_ledger(why),
    }
}

/// What a person does about a ledger.
pub const fn mend_ledger(why: &LedgerError) -> &'static str {
    match why {
        LedgerError::Damaged { .. } | LedgerError::Unsound { .. } | LedgerError::Unreadable(_) => {
            "Stop the receiver and move noc.db, noc.db-wal and noc.db-shm out of data_dir; do not delete them. Put a backup \
             in their place, or nothing: a receiver makes an empty ledger, and gateways send again what it had not \
             acknowledged. What it had is in the old files only (`sqlite3 noc.db .recover` reads what can be read); look at \
             the disk."
        }
        LedgerError::Newer { .. } => "Install a newer vigil, or give this one a data_dir of its own.",
        LedgerError::Postgres(why) => mend_database(why),
        LedgerError::Lost => {
            "Look whether the database server runs, whether it lets the receiver in, and at its log."
        }
        LedgerError::Sqlite(_)
        | LedgerError::Closes { .. }
        | LedgerError::Column(_)
        | LedgerError::TakenBack
        | LedgerError::NothingStored
        | LedgerError::Thread(_)
        | LedgerError::Closed => {
            "Look at the disk under data_dir, at its room and at who may write there, and start the receiver again."
        }
    }
}

/// What a person does about a database that cannot be used.
const fn mend_database(why: &PostgresError) -> &'static str {
    match why {
        PostgresError::Address(_) | PostgresError::PasswordInAddress => "Mend database in noc.toml.",
        PostgresError::Authority(_) | PostgresError::Tls(_) => {
            "Mend database_ca in noc.toml: the PEM certificate of the authority that the database's certificate is of."
        }
        PostgresError::Server(_) => {
            "Look whether the database server runs, whether it lets the receiver in (database_credential, pg_hba.conf), and at \
             its log; the role needs a database of its own, as the operator guide says."
        }
    }
}

/// What the receiver is made of; credentials are read here.
pub fn receiver(config: &NocConfig, env: &Environment) -> Result<vigil_noc::NocConfig, Failure> {
    let files = |tls: &ServerCertificate| TlsFiles {
        cert: tls.cert().to_owned(),
        key: vigil_config::secret_file(tls.key(), config.base(), env),
    };
    Ok(vigil_noc::NocConfig {
        events_listen: config.listen(),
        operator_listen: config.operator_listen(),
        operator_tls: config.operator_tls().map(files),
        trusted_proxies: config.trusted_proxies().to_vec(),
        balancers: config.balancers().to_vec(),
        files: None,
        data_dir: config.data_dir().to_owned(),
        database: database(config, env)?,
        tls: config.tls().map(files),
        client_ca: config.client_ca().map(Path::to_owned),
        gateways: config.gateways().iter().map(|g| access(config, g, env)).collect::<Result<_, _>>()?,
        press: super::press::press(config, env)?,
        escalation: tell::escalation(config, env)?,
    })
}

/// Whether a receiver could start so, in words.
pub fn judge(config: &NocConfig, env: &Environment) -> Result<String, Failure> {
    let receiver = receiver(config, env)?;
    vigil_noc::place(config.data_dir(), receiver.database.as_ref()).check().map_err(|why| told(&why))?;
    let said = format!("a receiver of {} gateways", config.gateways().len());
    let Some(escalation) = &receiver.escalation else { return Ok(said) };
    Ways::open(escalation).map_err(|why| Failure::invalid(why, tell::MEND))?;
    let (contacts, steps) = (escalation.contacts.len(), escalation.steps.len());
    Ok(format!("{said}, {contacts} contacts and {steps} steps of escalation"))
}

/// The server that keeps the ledger, if one does.
pub fn database(config: &NocConfig, env: &Environment) -> Result<Option<Address>, Failure> {
    let Some(database) = config.database() else { return Ok(None) };
    let secret = database.credential().map(|name| {
        vigil_config::credential(name, config.base(), env).map_err(|why| {
            Failure::invalid(why, "The database asks for it: database_credential in noc.toml.")
        })
    });
    let secret = secret.transpose()?;
    let password = secret.as_ref().map(|secret| {
        secret.expose_text().ok_or_else(|| {
            Failure::invalid("the password of the database is not text", "It is one line of characters.")
        })
    });
    let authority = database.ca_file().map(|path| {
        std::fs::read(path).map_err(|why| {
            Failure::invalid(format!("{}: {why}", path.display()), "Mend database_ca in noc.toml.")
        })
    });
    let system = || rustls_native_certs::load_native_certs().certs;
    let address =
        Address::new(database.url(), password.transpose()?, authority.transpose()?.as_deref(), system);
    address.map(Some).map_err(|why| Failure::invalid(&why, mend_database(&why)))
}

fn access(config: &NocConfig, gateway: &Gateway, env: &Environment) -> Result<GatewayAccess, Failure> {
    let token = gateway.credential().map(|name| {
        let secret = vigil_config::credential(name, config.base(), env)
            .map_err(|why| Failure::invalid(why, format!("gateway {} needs it to send.", gateway.id())))?;
        let token = secret.expose_text().ok_or_else(|| {
            Failure::invalid(
                format!("the credential {} is not text", name.as_str()),
                "A token is one line of printable characters.",
            )
        })?;
        Ok::<_, Failure>(vigil_noc::token_sha256(token))
    });
    Ok(GatewayAccess {
        gateway: gateway.id().clone(),
        tenant: gateway.tenant().clone(),
        site: gateway.site().clone(),
        token_sha256: token.transpose()?,
        cert_sha256: gateway.certificates().to_vec(),
    })
}
