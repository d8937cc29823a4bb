//! PostgreSQL: a server that several receivers share. Each connection has a thread of its own.

use super::news::{Heard, News, Teller};
use super::{Arg, Cell, Database, Engine, Row};
use crate::ledger::LedgerError;
use ::postgres::config::{Host, SslMode};
use ::postgres::error::SqlState;
use ::postgres::fallible_iterator::FallibleIterator;
use ::postgres::types::private::BytesMut;
use ::postgres::types::{FromSql, IsNull, ToSql, Type};
use ::postgres::{Client, Config, NoTls, Statement};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::collections::HashMap;
use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a connection may take: a server in another town answers within a second.
const CONNECT: Duration = Duration::from_secs(5);
/// After so long a line is asked whether it stands before it is used: on a busy one that costs nothing.
const LAY: Duration = Duration::from_secs(1);
/// How long sent data may go unanswered before the line counts as dead.
const DEAD_AFTER: Duration = Duration::from_secs(20);
/// A statement that takes longer is given up, and its asker told: a gateway waits 120 s.
const LONGEST_STATEMENT: &str =
    "-c statement_timeout=60s -c lock_timeout=30s -c idle_in_transaction_session_timeout=60s";
/// How many statements stay prepared on a connection: more than there are in this crate.
const PREPARED: usize = 128;
/// The name of the news among those who share a database.
const CHANNEL: &str = "vigil";
/// The most that PostgreSQL passes on at once is 8,000 bytes.
const MAX_NEWS_BYTES: usize = 7_900;
/// How often a listener looks whether anybody still wants to hear, and how long it waits after a line was lost.
const LOOK: Duration = Duration::from_secs(2);

/// What keeps PostgreSQL from being used.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The address is none.
    #[error("{0}; postgres://user@host/database is expected")]
    Address(String),
    /// A password would stand in a file that everybody may read.
    #[error(
        "the address has a password in it; put it into a credential and name that in database_credential"
    )]
    PasswordInAddress,
    /// The authority's certificate cannot be used.
    #[error("the certificate of the database's authority cannot be used: {0}")]
    Authority(String),
    /// TLS cannot be set up.
    #[error("TLS to the database cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The server said no, or nothing.
    #[error("{}", told(.0))]
    Server(#[from] ::postgres::Error),
}

impl PostgresError {
    /// Whether what was to be stored is at fault: a value that is none, a rule of a table, a limit of the server (of 2.7 kB for a
    /// row of an index).
    pub fn is_of_the_data(&self) -> bool {
        ["22", "23", "54"].iter().any(|class| self.code().starts_with(class))
    }

    /// Whether another transaction was in the way: the next one may find it gone.
    pub fn is_of_the_moment(&self) -> bool {
        ["40", "55P03", "57014"].iter().any(|class| self.code().starts_with(class))
    }

    /// The SQLSTATE; nothing, if the line itself failed.
    fn code(&self) -> &str {
        let Self::Server(error) = self else { return "" };
        error.code().map_or("", SqlState::code)
    }
}

/// What PostgreSQL says, in one line.
fn told(error: &::postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}")),
        |said| said.message().to_owned(),
    )
}

/// Where a PostgreSQL is, and how it is reached: TLS, unless it is on this machine.
#[derive(Clone)]
pub struct Address {
    config: Config,
    tls: Option<MakeRustlsConnect>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address").field("of", &self.to_string()).finish_non_exhaustive()
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hosts: Vec<String> = self
            .config
            .get_hosts()
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        write!(f, "{} at {}", self.config.get_dbname().unwrap_or("the database"), hosts.join(", "))
    }
}

impl Address {
    /// Reads `postgres://user@host/database`. Beyond this machine the server has to show a certificate of `authority`, or of
    /// those that `authorities` names.
    pub fn new(
        url: &str,
        password: Option<&str>,
        authority: Option<&[u8]>,
        authorities: impl FnOnce() -> Vec<CertificateDer<'static>>,
    ) -> Result<Self, PostgresError> {
        let mut config: Config =
            url.parse().map_err(|e: ::postgres::Error| PostgresError::Address(told(&e)))?;
        if config.get_password().is_some() {
            return Err(PostgresError::PasswordInAddress);
        }
        if let Some(password) = password {
            config.password(password);
        }
        config
            .application_name("vigil-noc")
            .connect_timeout(CONNECT)
            .tcp_user_timeout(DEAD_AFTER)
            .keepalives_idle(DEAD_AFTER)
            .options(LONGEST_STATEMENT);
        if config.get_hosts().iter().all(is_here) && authority.is_none() {
            config.ssl_mode(SslMode::Disable);
            return Ok(Self { config, tls: None });
        }
        config.ssl_mode(SslMode::Require);
        let tls = Some(MakeRustlsConnect::new(client(authority, authorities)?));
        Ok(Self { config, tls })
    }

    fn connect(&self) -> Result<Client, PostgresError> {
        Ok(match self.tls.clone() {
            Some(tls) => self.config.connect(tls)?,
            None => self.config.connect(NoTls)?,
        })
    }

    /// Tells `teller` what receivers on this database tell each other, for as long as somebody listens. Blocks: it needs a
    /// thread of its own.
    pub fn listen(&self, teller: &Teller) {
        while !teller.is_closed() {
            if let Err(error) = self.follow(teller) {
                tracing::warn!(%error, database = %self, "the changes of other receivers cannot be heard; trying again");
            }
            std::thread::sleep(LOOK);
        }
    }

    fn follow(&self, teller: &Teller) -> Result<(), PostgresError> {
        let mut client = self.connect()?;
        client.batch_execute(&format!("LISTEN {CHANNEL}"))?;
        // What was told before the line stood is not told again.
        teller.tell(Heard::Missed);
        while !teller.is_closed() {
            let mut notifications = client.notifications();
            let mut heard = notifications.timeout_iter(LOOK);
            while let Some(notification) = heard.next()? {
                match serde_json::from_str(notification.payload()) {
                    Ok(news) => teller.tell(Heard::News(news)),
                    Err(error) => {
                        tracing::warn!(%error, "another receiver tells what this one does not know")
                    }
                }
            }
            drop(heard);
            drop(notifications);
            // A line that died in silence is found by speaking.
            client.batch_execute("")?;
        }
        Ok(())
    }
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
    }
}

fn client(
    authority: Option<&[u8]>,
    authorities: impl FnOnce() -> Vec<CertificateDer<'static>>,
) -> Result<ClientConfig, PostgresError> {
    let mut roots = RootCertStore::empty();
    match authority {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|e| PostgresError::Authority(e.to_string()))?;
                roots.add(certificate)?;
            }
            if roots.is_empty() {
                return Err(PostgresError::Authority("it holds no certificate in PEM".to_owned()));
            }
        }
        None => drop(roots.add_parsable_certificates(authorities())),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// A connection to a PostgreSQL, made anew when it was lost.
pub struct Postgres {
    address: Address,
    line: Option<Line>,
    /// Whether a transaction is open: then a lost line must not be made anew, for what follows would stand alone.
    in_transaction: bool,
}

struct Line {
    client: Client,
    used_at: Instant,
    prepared: HashMap<String, Statement>,
}

impl Line {
    /// Whether it can be used. One that has lain for a while is asked: that a server went is found by speaking, and the first word after
    /// its return should not be a gateway's.
    fn stands(&mut self, in_transaction: bool) -> bool {
        let lay = self.used_at.elapsed() >= LAY;
        self.used_at = Instant::now();
        !self.client.is_closed() && (in_transaction || !lay || self.client.is_valid(CONNECT).is_ok())
    }
}

impl Postgres {
    /// Connects.
    pub fn connect(address: &Address) -> Result<Self, LedgerError> {
        let mut postgres = Self { address: address.clone(), line: None, in_transaction: false };
        postgres.line()?;
        Ok(postgres)
    }

    fn line(&mut self) -> Result<&mut Line, LedgerError> {
        let in_transaction = self.in_transaction;
        let lost = self.line.as_mut().is_none_or(|line| !line.stands(in_transaction));
        if lost && self.in_transaction {
            return Err(LedgerError::Lost);
        }
        if lost {
            self.line = None;
            let mut client = self.address.connect()?;
            is_durable(&mut client)?;
            self.line = Some(Line { client, used_at: Instant::now(), prepared: HashMap::new() });
        }
        self.line.as_mut().ok_or(LedgerError::Closed)
    }
}

/// A server that answers before it has written cannot keep our promise; for these connections it is told to.
fn is_durable(client: &mut Client) -> Result<(), PostgresError> {
    let set: String = client.query_one("SHOW synchronous_commit", &[])?.try_get(0)?;
    if set == "off" {
        client.batch_execute("SET synchronous_commit = on")?;
    }
    Ok(())
}

impl Line {
    fn prepared(&mut self, sql: &str) -> Result<Statement, PostgresError> {
        if let Some(known) = self.prepared.get(sql) {
            return Ok(known.clone());
        }
        if self.prepared.len() >= PREPARED {
            self.prepared.clear();
        }
        let statement = self.client.prepare(sql)?;
        self.prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl ToSql for Arg<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(number) if *ty == Type::INT4 => i32::try_from(*number)?.to_sql(ty, out),
            Self::Int(number) if *ty == Type::INT8 => number.to_sql(ty, out),
            Self::Int(_) => Err(format!("a number cannot be {ty}").into()),
            // PostgreSQL has no text with a NUL in it; it stands for one that cannot be shown.
            Self::Text(text) if text.contains('\0') => text.replace('\0', "\u{FFFD}").to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::INT4 || *ty == Type::INT8 || <&str as ToSql>::accepts(ty)
    }

    ::postgres::types::to_sql_checked!();
}

impl<'a> FromSql<'a> for Cell {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        match *ty {
            Type::INT8 => i64::from_sql(ty, raw).map(Cell::Int),
            Type::INT4 => i32::from_sql(ty, raw).map(|n| Cell::Int(n.into())),
            Type::BOOL => bool::from_sql(ty, raw).map(|flag| Cell::Int(flag.into())),
            _ => String::from_sql(ty, raw).map(Cell::Text),
        }
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::INT8 | Type::INT4 | Type::BOOL) || <String as FromSql<'_>>::accepts(ty)
    }
}

impl Database for Postgres {
    fn engine(&self) -> Engine {
        Engine::Postgres
    }

    fn execute(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<u64, LedgerError> {
        let line = self.line()?;
        let statement = line.prepared(sql)?;
        Ok(line.client.execute(&statement, &dynamic(args)).map_err(PostgresError::from)?)
    }

    fn query(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, LedgerError> {
        let line = self.line()?;
        let statement = line.prepared(sql)?;
        let rows = line.client.query(&statement, &dynamic(args)).map_err(PostgresError::from)?;
        let row = |row: &::postgres::Row| -> Result<Row, PostgresError> {
            Ok(Row((0..row.len()).map(|column| row.try_get(column)).collect::<Result<_, _>>()?))
        };
        Ok(rows.iter().map(row).collect::<Result<_, _>>()?)
    }

    fn batch(&mut self, sql: &str) -> Result<(), LedgerError> {
        Ok(self.line()?.client.batch_execute(sql).map_err(PostgresError::from)?)
    }

    fn begin(&mut self) -> Result<(), LedgerError> {
        self.batch("BEGIN")?;
        self.in_transaction = true;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), LedgerError> {
        // One in which a statement failed would answer a commit by taking itself back, without an error; it does not get here.
        self.batch("COMMIT")?;
        self.in_transaction = false;
        Ok(())
    }

    fn roll_back(&mut self) {
        self.in_transaction = false;
        let taken_back = self.line.as_mut().map(|line| line.client.batch_execute("ROLLBACK"));
        if let Some(Err(_)) = taken_back {
            // The server takes back what was not committed when its line is gone.
            self.line = None;
        }
    }

    fn tell(&mut self, news: &News) -> Result<(), LedgerError> {
        for text in in_pieces(news)? {
            self.query(&format!("SELECT pg_notify('{CHANNEL}', $1)::text"), &[Arg::Text(&text)])?;
        }
        Ok(())
    }
}

/// The same news in as many pieces as they need.
fn in_pieces(news: &News) -> Result<Vec<String>, LedgerError> {
    let text = serde_json::to_string(news)?;
    let alone = news.alerts.len() <= 1;
    if text.len() <= MAX_NEWS_BYTES || alone {
        return Ok(vec![text]);
    }
    let (some, others) = news.alerts.split_at(news.alerts.len() / 2);
    let piece = |alerts: &[String]| in_pieces(&News { alerts: alerts.to_vec(), ..news.clone() });
    Ok([piece(some)?, piece(others)?].concat())
}

fn dynamic<'a>(args: &'a [Arg<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    args.iter().map(|arg| arg as &(dyn ToSql + Sync)).collect()
}

/// Whether another receiver was faster with the same.
pub fn is_taken(error: &LedgerError) -> bool {
    let LedgerError::Postgres(PostgresError::Server(error)) = error else { return false };
    error.code().is_some_and(|code| {
        [SqlState::DUPLICATE_TABLE, SqlState::UNIQUE_VIOLATION, SqlState::CHECK_VIOLATION].contains(code)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Result<Address, PostgresError> {
        Address::new(url, None, None, Vec::new)
    }

    #[test]
    fn an_address_shows_no_password_and_needs_tls_beyond_this_machine() {
        let here = address("postgres://vigil@127.0.0.1/noc").unwrap();
        assert!(here.tls.is_none());
        assert_eq!(here.to_string(), "noc at 127.0.0.1");
        assert!(address("postgres:///noc?host=/run/postgresql").unwrap().tls.is_none());
        assert!(address("postgres://vigil@db.example.org/noc").unwrap().tls.is_some());
        let mixed = address("postgres://vigil@127.0.0.1,db.example.org/noc").unwrap();
        assert!(mixed.tls.is_some() && mixed.config.get_ssl_mode() == SslMode::Require);
        let why = address("postgres://vigil:secret@127.0.0.1/noc").unwrap_err();
        assert!(matches!(why, PostgresError::PasswordInAddress), "{why}");
        assert!(address("postgres://h:port/noc").unwrap_err().to_string().contains("is expected"));
        let secret = Address::new("postgres://vigil@127.0.0.1/noc", Some("secret"), None, Vec::new).unwrap();
        assert!(!format!("{secret:?}").contains("secret"));
    }

    #[test]
    fn long_news_go_in_pieces_and_nothing_of_them_is_lost() {
        let alerts: Vec<String> = (0..500).map(|n| format!("{n:0>200}")).collect();
        let news = News { place: "acme/plant-7".into(), gateway: "gw-1".into(), alerts, ..News::default() };
        let pieces = in_pieces(&news).unwrap();
        assert!(pieces.iter().all(|piece| piece.len() <= MAX_NEWS_BYTES));
        let told = pieces.iter().flat_map(|piece| serde_json::from_str::<News>(piece).unwrap().alerts);
        assert_eq!(told.collect::<Vec<_>>(), news.alerts);
    }
}
