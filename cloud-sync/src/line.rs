//! One exchange over HTTPS, as every kind of receiver has it: whom to trust, who we are, how long to wait, and what time the
//! answer tells.

use crate::timepiece::{self, Timepiece};
use crate::trust;
use crate::uplink::{Token, UplinkConfig, UplinkError};
use crate::verdict::Outcome;
use reqwest::header::{AUTHORIZATION, DATE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, Url};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Idle connections are dropped before the receiver's 5 s would cut them under a request.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// The line to one receiver. Cheap to clone; the clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    client: Client,
    bearer: Option<HeaderValue>,
    base: Url,
    timepiece: Option<Arc<dyn Timepiece>>,
}

impl Line {
    /// Checks the configuration; connects to nothing yet.
    pub(crate) fn new(config: &UplinkConfig) -> Result<Self, UplinkError> {
        let base = base(&config.url)?;
        let (ca, identity) = (config.ca_pem.as_deref(), config.client_identity_pem.as_deref());
        let tls = trust::client_config(ca, identity, config.timepiece.as_ref())?;
        // In clear, nobody knows who says what time it is.
        let timepiece = config.timepiece.clone().filter(|_| base.scheme() == "https");
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
        let bearer = config.token.as_ref().map(bearer).transpose()?;
        Ok(Self { client: client.build()?, bearer, base, timepiece })
    }

    /// An address below the receiver's base.
    pub(crate) fn at(&self, path: &[&str]) -> Result<Url, UplinkError> {
        below(&self.base, path).ok_or_else(|| UplinkError::Url { url: self.base.to_string() })
    }

    /// A request as the gateway that we are.
    pub(crate) fn request(&self, method: Method, url: &Url) -> RequestBuilder {
        let request = self.client.request(method, url.clone());
        match &self.bearer {
            Some(bearer) => request.header(AUTHORIZATION, bearer.clone()),
            None => request,
        }
    }

    /// Sends a request, and gives what came back, of which at most so many bytes are read.
    pub(crate) async fn exchange(&self, request: RequestBuilder, most: usize) -> Outcome {
        let answered = async {
            let sent = Instant::now();
            let response = request.send().await?;
            self.tell_the_time(&response, sent.elapsed());
            answer(response, most).await
        };
        answered.await.unwrap_or_else(|e| Outcome::Broken { why: whole_story(&e.without_url()) })
    }

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
    let text = token.text().ok_or(UplinkError::Token)?;
    let mut value = HeaderValue::from_str(&format!("Bearer {text}")).map_err(|_| UplinkError::Token)?;
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
pub fn whole_story(error: &dyn std::error::Error) -> String {
    let mut story = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        story = format!("{story}: {error}");
        cause = error.source();
    }
    story
}
