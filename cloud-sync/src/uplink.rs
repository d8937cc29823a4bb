//! One batch in, one verdict out. No queue, no retry, no state: those are the courier's.

use crate::bundle::MAX_BUNDLE_BYTES;
use crate::commands::MAX_COMMANDS_BYTES;
use crate::door::Door;
use crate::line::Line;
use crate::timepiece::Timepiece;
use crate::trust::TrustError;
use crate::verdict::{self, MAX_ANSWER_BYTES, Outcome, Verdict};
use crate::wire::{Answer, BATCH_CONTENT_TYPE, Batch, Event, EventKind, Origin};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, IF_NONE_MATCH};
use reqwest::{Method, Url};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer may take beyond the time for which it may be held back: a handshake over 2G, and what commands
/// weigh. A line that died in silence is noticed so soon.
const POLL_GRACE: Duration = Duration::from_secs(30);

/// A bearer token. It never shows itself.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The token as it stands in the credential, without the space around it.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// Its text, if that is one which a header can carry.
    pub(crate) fn text(&self) -> Option<&str> {
        let whole = !self.0.is_empty() && self.0.bytes().all(|b| b.is_ascii_graphic());
        whole.then_some(self.0.as_str())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Where to send, as whom, and how long to wait. It holds a private key, so it does not print itself.
#[derive(Clone)]
pub struct UplinkConfig {
    /// The receiver's base, like `https://noc.example.org/v1`. Plain http is for loopback only.
    pub url: String,
    /// Who sends.
    pub origin: Origin,
    /// The gateway's token; with a client certificate, or for an Alertmanager, there may be none.
    pub token: Option<Token>,
    /// The only authority to trust; without it, those of the box.
    pub ca_pem: Option<Vec<u8>>,
    /// Client certificate chain and key.
    pub client_identity_pem: Option<Vec<u8>>,
    /// The agent's clock; without one, certificates are judged by that of the box.
    pub timepiece: Option<Arc<dyn Timepiece>>,
    /// How long a connection with its handshake may take.
    pub connect_timeout: Duration,
    /// How long the whole exchange may take, to the last byte of the answer.
    pub whole_timeout: Duration,
}

impl UplinkConfig {
    /// 10 s to connect: a handshake over 2G takes about 5. 120 s for all: a full batch at 10 kB/s.
    pub fn new(url: &str, origin: Origin, token: impl Into<Option<Token>>) -> Self {
        Self {
            url: url.to_owned(),
            origin,
            token: token.into(),
            ca_pem: None,
            client_identity_pem: None,
            timepiece: None,
            connect_timeout: Duration::from_secs(10),
            whole_timeout: Duration::from_secs(120),
        }
    }
}

/// The uplink cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// The address is none.
    #[error("{url:?} is no address: https://host/v1 is expected")]
    Url {
        /// What was found.
        url: String,
    },
    /// The token and the night's events would go in clear.
    #[error("{url:?} would send the token in clear: https is needed except on loopback")]
    InClear {
        /// What was found.
        url: String,
    },
    /// The token is none.
    #[error("the uplink credential is empty or holds characters that no token has")]
    Token,
    /// Nothing says who sends.
    #[error(
        "there is neither a token nor a client certificate, by which the receiver would know this gateway"
    )]
    Nobody,
    /// TLS cannot be set up.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The HTTP client cannot be built.
    #[error("the http client cannot be built: {0}")]
    Client(#[from] reqwest::Error),
}

/// What came back of a knock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The receiver knows us.
    Welcome,
    /// It does not take the token.
    Stranger(String),
    /// Somebody answers as no receiver does.
    Odd(String),
    /// There was no exchange.
    Nothing(String),
}

/// The way to a receiver: HTTPS, or one that is simulated.
pub trait Way: Send + Sync {
    /// Who sends.
    fn origin(&self) -> &Origin;

    /// Completes when a receiver that cannot be reached can be reached again; where nobody can tell, never.
    fn returns(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Whether the receiver has a place for such events; the others stay here.
    fn takes(&self, _kind: EventKind) -> bool {
        true
    }

    /// When the receiver is next to be reminded of what still holds, if it forgets.
    fn reminds_at(&self) -> Option<Instant> {
        None
    }

    /// Says again what the receiver is about to forget. Whoever has something urgent to send lets it be half-way.
    fn remind(&self) -> impl Future<Output = Verdict> + Send {
        std::future::ready(Verdict::Stored(Answer::default()))
    }

    /// Sends the body of a batch as the receiver understands it, and gives what came back.
    fn post(&self, body: Vec<u8>) -> impl Future<Output = Outcome> + Send;

    /// Sends `events` as one batch and judges what comes back. Sending one twice is harmless.
    fn deliver(&self, events: &[Event]) -> impl Future<Output = Verdict> + Send {
        async move {
            let batch = match Batch::write(self.origin(), events) {
                Ok(batch) => batch,
                Err(e) => return Verdict::Retry { after: None, why: e.to_string() },
            };
            let Batch { body, ids, unsendable } = batch;
            if ids.is_empty() {
                return Verdict::Stored(Answer { rejected: unsendable, ..Answer::default() });
            }
            let mut verdict = verdict::judge(&self.post(body).await, &ids);
            if let Verdict::Stored(answer) = &mut verdict {
                answer.rejected.extend(unsendable);
            }
            verdict
        }
    }
}

/// The way to one receiver. Cheap to clone; the clones share their connections.
#[derive(Debug, Clone)]
pub struct Uplink {
    line: Line,
    events: Url,
    commands: Url,
    bundle: Url,
    door: Door,
    origin: Origin,
    poll_grace: Duration,
}

impl Uplink {
    /// Checks the configuration; connects to nothing yet.
    pub fn new(config: UplinkConfig) -> Result<Self, UplinkError> {
        // By one of the two the receiver tells gateways apart.
        if config.token.is_none() && config.client_identity_pem.is_none() {
            return Err(UplinkError::Nobody);
        }
        let line = Line::new(&config)?;
        let events = line.at(&["events"])?;
        let door = Door::of(&events).ok_or(UplinkError::Url { url: config.url })?;
        let commands = line.at(&["gateways", config.origin.gateway.as_str(), "commands"])?;
        let bundle = line.at(&["sites", config.origin.site.as_str(), "bundle"])?;
        let poll_grace = config.whole_timeout.min(POLL_GRACE);
        Ok(Self { line, events, commands, bundle, door, origin: config.origin, poll_grace })
    }

    /// Asks for the commands behind `after`, and lets the receiver hold its answer for up to `wait`.
    pub(crate) async fn poll(&self, after: u64, wait: Duration) -> Outcome {
        let mut url = self.commands.clone();
        url.query_pairs_mut()
            .append_pair("after", &after.to_string())
            .append_pair("wait", &wait.as_secs().to_string());
        let request = self.line.request(Method::GET, &url).timeout(wait + self.poll_grace);
        self.line.exchange(request, MAX_COMMANDS_BYTES).await
    }

    /// Asks for the bundle of the site, unless it is still the one that is known. A byte more than a bundle may have is
    /// read, so that one that is too large is refused for that.
    pub(crate) async fn ask_for_bundle(&self, known: Option<&str>) -> Outcome {
        let request = self.line.request(Method::GET, &self.bundle);
        let request = known.into_iter().fold(request, |request, etag| request.header(IF_NONE_MATCH, etag));
        self.line.exchange(request, MAX_BUNDLE_BYTES + 1).await
    }

    /// Asks for nothing, to hear whether the receiver is there and knows us. It acknowledges nothing and changes nothing.
    pub async fn knock(&self) -> Heard {
        match self.poll(0, Duration::ZERO).await {
            Outcome::Answered { status: 200..=299, .. } => Heard::Welcome,
            Outcome::Answered { status: status @ (401 | 403), .. } => {
                Heard::Stranger(format!("HTTP {status}"))
            }
            Outcome::Answered { status, .. } => Heard::Odd(format!("HTTP {status}")),
            Outcome::Broken { why } => Heard::Nothing(why),
        }
    }
}

impl Way for Uplink {
    fn origin(&self) -> &Origin {
        &self.origin
    }

    async fn returns(&self) {
        self.door.opens().await;
    }

    async fn post(&self, body: Vec<u8>) -> Outcome {
        let request = self
            .line
            .request(Method::POST, &self.events)
            .header(CONTENT_TYPE, BATCH_CONTENT_TYPE)
            .header(CONTENT_ENCODING, "gzip")
            .body(body);
        self.line.exchange(request, MAX_ANSWER_BYTES).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigil_core::id::{GatewayId, SiteId, TenantId};

    fn uplink(url: &str, token: &str) -> Result<Uplink, UplinkError> {
        let origin = Origin {
            tenant: TenantId::new("acme").unwrap(),
            site: SiteId::new("plant-7").unwrap(),
            gateway: GatewayId::new("gw-1").unwrap(),
        };
        Uplink::new(UplinkConfig::new(url, origin, Token::new(token)))
    }

    #[test]
    fn everything_is_below_the_base_with_or_without_a_slash() {
        for base in ["http://127.0.0.1:1/v1", "http://localhost:1/v1/"] {
            let uplink = uplink(base, "t").unwrap();
            assert!(uplink.events.as_str().ends_with(":1/v1/events"), "{base}");
            assert!(uplink.commands.as_str().ends_with(":1/v1/gateways/gw-1/commands"), "{base}");
            assert!(uplink.bundle.as_str().ends_with(":1/v1/sites/plant-7/bundle"), "{base}");
        }
    }

    #[test]
    fn a_token_goes_in_clear_only_on_loopback() {
        assert!(uplink("http://[::1]:1/v1", "t").is_ok());
        assert!(matches!(uplink("http://noc.example.org/v1", "t"), Err(UplinkError::InClear { .. })));
        for url in ["noc.example.org", "ftp://noc.example.org", "", "https://"] {
            assert!(matches!(uplink(url, "t"), Err(UplinkError::Url { .. })), "{url}");
        }
    }

    #[test]
    fn a_token_is_trimmed_checked_and_never_shown() {
        assert!(uplink("http://127.0.0.1/v1", " secret\n").is_ok());
        for bad in ["", " \n", "two words", "ü"] {
            assert!(matches!(uplink("http://127.0.0.1/v1", bad), Err(UplinkError::Token)), "{bad:?}");
        }
        let shown = format!("{:?}", uplink("http://127.0.0.1/v1", "secret").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
