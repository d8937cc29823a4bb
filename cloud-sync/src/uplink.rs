//! One batch in, one verdict out. No queue, no retry, no state: those are the courier's.

use crate::bundle::MAX_BUNDLE_BYTES;
use crate::commands::MAX_COMMANDS_BYTES;
use crate::door::Door;
use crate::timepiece::{self, Timepiece};
use crate::trust::{self, TrustError};
use crate::verdict::{self, MAX_ANSWER_BYTES, Outcome, Verdict};
use crate::wire::{Answer, BATCH_CONTENT_TYPE, Batch, Event, Origin};
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderName, HeaderValue, IF_NONE_MATCH, RETRY_AFTER,
};
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, Url};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Idle connections are dropped before the receiver's 5 s would cut them under a request.
const POOL_IDLE: Duration = Duration::from_secs(4);

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
    /// The gateway's token.
    pub token: Token,
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
    pub fn new(url: &str, origin: Origin, token: Token) -> Self {
        Self {
            url: url.to_owned(),
            origin,
            token,
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

    /// Sends the gzipped body of a batch, and gives what came back.
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
    client: Client,
    events: Url,
    commands: Url,
    bundle: Url,
    door: Door,
    bearer: HeaderValue,
    origin: Origin,
    timepiece: Option<Arc<dyn Timepiece>>,
    poll_grace: Duration,
}

impl Uplink {
    /// Checks the configuration; connects to nothing yet.
    pub fn new(config: UplinkConfig) -> Result<Self, UplinkError> {
        let base = base(&config.url)?;
        let (ca, identity) = (config.ca_pem.as_deref(), config.client_identity_pem.as_deref());
        let tls = trust::client_config(ca, identity, config.timepiece.as_ref())?;
        // In clear, nobody knows who says what time it is.
        let timepiece = config.timepiece.filter(|_| base.scheme() == "https");
        let mut client = ClientBuilder::new()
            .tls_backend_preconfigured(tls)
            .http1_only()
            // A redirect would carry the token to somebody else.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(concat!("vigil/", env!("CARGO_PKG_VERSION")))
            .pool_idle_timeout(POOL_IDLE)
            .connect_timeout(config.connect_timeout)
            .timeout(config.whole_timeout);
        if base.scheme() == "http" {
            // A proxy from the environment would see the token; with https it sees a tunnel.
            client = client.no_proxy();
        }
        let at = |path: &[&str]| below(&base, path).ok_or(UplinkError::Url { url: config.url.clone() });
        let events = at(&["events"])?;
        let door = Door::of(&events).ok_or(UplinkError::Url { url: config.url.clone() })?;
        let commands = at(&["gateways", config.origin.gateway.as_str(), "commands"])?;
        let bundle = at(&["sites", config.origin.site.as_str(), "bundle"])?;
        let bearer = bearer(&config.token)?;
        let poll_grace = config.whole_timeout.min(POLL_GRACE);
        let client = client.build()?;
        let origin = config.origin;
        Ok(Self { client, events, commands, bundle, door, bearer, origin, timepiece, poll_grace })
    }

    /// Asks for the commands behind `after`, and lets the receiver hold its answer for up to `wait`.
    pub(crate) async fn poll(&self, after: u64, wait: Duration) -> Outcome {
        let mut url = self.commands.clone();
        url.query_pairs_mut()
            .append_pair("after", &after.to_string())
            .append_pair("wait", &wait.as_secs().to_string());
        let request = self.client.get(url).header(AUTHORIZATION, self.bearer.clone());
        self.exchange(request.timeout(wait + self.poll_grace), MAX_COMMANDS_BYTES).await
    }

    /// Asks for the bundle of the site, unless it is still the one that is known. A byte more than a bundle may have is
    /// read, so that one that is too large is refused for that.
    pub(crate) async fn ask_for_bundle(&self, known: Option<&str>) -> Outcome {
        let request = self.client.get(self.bundle.clone()).header(AUTHORIZATION, self.bearer.clone());
        let request = known.into_iter().fold(request, |request, etag| request.header(IF_NONE_MATCH, etag));
        self.exchange(request, MAX_BUNDLE_BYTES + 1).await
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

    async fn exchange(&self, request: RequestBuilder, most: usize) -> Outcome {
        let answered = async {
            let sent = Instant::now();
            let response = request.send().await?;
            self.tell_the_time(&response, sent.elapsed());
            answer(response, most).await
        };
        answered.await.unwrap_or_else(|e| Outcome::Broken { why: whole_story(&e.without_url()) })
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
            .client
            .post(self.events.clone())
            .header(AUTHORIZATION, self.bearer.clone())
            .header(CONTENT_TYPE, BATCH_CONTENT_TYPE)
            .header(CONTENT_ENCODING, "gzip")
            .body(body);
        self.exchange(request, MAX_ANSWER_BYTES).await
    }
}

impl Uplink {
    /// A receiver that knows us says what time it is. What a gateway or a portal on the way says does not count.
    fn tell_the_time(&self, response: &Response, round: Duration) {
        let Some(timepiece) = self.timepiece.as_ref().filter(|_| response.status().is_success()) else {
            return;
        };
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        if let Some((at, uncertainty)) = date.and_then(|date| timepiece::told(date, round)) {
            timepiece.on_noc(at, uncertainty);
        }
    }
}

fn base(text: &str) -> Result<Url, UplinkError> {
    let no_address = || UplinkError::Url { url: text.to_owned() };
    let url = Url::parse(text).map_err(|_| no_address())?;
    let host = url.host_str().ok_or_else(no_address)?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(host) => Ok(url),
        "http" => Err(UplinkError::InClear { url: text.to_owned() }),
        _ => Err(no_address()),
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn below(base: &Url, path: &[&str]) -> Option<Url> {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut().ok()?.pop_if_empty().extend(path);
    Some(url)
}

fn bearer(token: &Token) -> Result<HeaderValue, UplinkError> {
    if token.0.is_empty() || !token.0.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(UplinkError::Token);
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.0)).map_err(|_| UplinkError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

async fn answer(mut response: Response, most: usize) -> Result<Outcome, reqwest::Error> {
    let text =
        |name: HeaderName| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let (status, retry_after, date) = (response.status().as_u16(), text(RETRY_AFTER), text(DATE));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Ok(Outcome::Broken { why: format!("the answer is larger than {most} bytes") });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Outcome::Answered { status, retry_after, date, body })
}

/// The error with all its causes; reqwest alone says only "error sending request".
fn whole_story(error: &dyn std::error::Error) -> String {
    let mut story = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        story = format!("{story}: {error}");
        cause = error.source();
    }
    story
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
