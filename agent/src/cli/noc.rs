//! `vigil noc`: the receiver of the NOC.

use super::signals::{Early, Stop};
use super::{Failure, logs};
use crate::systemd::{self, Herald};
use std::path::PathBuf;
use vigil_config::{Environment, Gateway, NocConfig};
use vigil_noc::ledger::LedgerError;
use vigil_noc::lock::NoLock;
use vigil_noc::{GatewayAccess, Noc, NocError, ServeError, TlsFiles};

/// `vigil noc`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The receiver's configuration
    #[arg(long, default_value = "noc.toml")]
    config: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    logs::set_up("info");
    let early = Early::catch()?;
    let config = vigil_config::load_noc(&args.config)?;
    let ready = receiver(&config, &Environment::of_process())?;
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
    matches!(why, NocError::Access(_) | NocError::Serve(ServeError::Pem { .. } | ServeError::Tls(_)))
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
        | NocError::Serve(_) => "Mend noc.toml or what it names, and start the receiver again.",
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
        LedgerError::Postgres(_) | LedgerError::Lost => {
            "Look whether the database server runs, whether it lets the receiver in, and at its log."
        }
        LedgerError::Sqlite(_)
        | LedgerError::Closes { .. }
        | LedgerError::Column(_)
        | LedgerError::Thread(_)
        | LedgerError::Closed => {
            "Look at the disk under data_dir, at its room and at who may write there, and start the receiver again."
        }
    }
}

/// What the receiver is made of; credentials are read here.
pub fn receiver(config: &NocConfig, env: &Environment) -> Result<vigil_noc::NocConfig, Failure> {
    Ok(vigil_noc::NocConfig {
        events_listen: config.listen(),
        operator_listen: config.operator_listen(),
        data_dir: config.data_dir().to_owned(),
        database: None,
        tls: config.tls().map(|tls| TlsFiles {
            cert: tls.cert().to_owned(),
            key: vigil_config::secret_file(tls.key(), config.base(), env),
        }),
        gateways: config.gateways().iter().map(|g| access(config, g, env)).collect::<Result<_, _>>()?,
    })
}

fn access(config: &NocConfig, gateway: &Gateway, env: &Environment) -> Result<GatewayAccess, Failure> {
    let name = gateway.credential();
    let secret = vigil_config::credential(name, config.base(), env)
        .map_err(|why| Failure::invalid(why, format!("gateway {} needs it to send.", gateway.id())))?;
    let token = secret.expose_text().ok_or_else(|| {
        Failure::invalid(
            format!("the credential {} is not text", name.as_str()),
            "A token is one line of printable characters.",
        )
    })?;
    Ok(GatewayAccess {
        gateway: gateway.id().clone(),
        tenant: gateway.tenant().clone(),
        site: gateway.site().clone(),
        token_sha256: vigil_noc::token_sha256(token),
    })
}
