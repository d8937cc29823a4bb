//! Asks the running agent over its local HTTP API.

use super::Failure;
use crate::store::records::decode;
use crate::store::{Journal, Opening, Piece};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The agent answers from memory; one that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which agent to ask.
#[derive(Debug, clap::Args)]
pub struct Whom {
    /// The agent's configuration, which says where it listens
    #[arg(long, default_value = "agent.toml")]
    config: PathBuf,
    /// The agent's address instead, like http://127.0.0.1:8080
    #[arg(long, conflicts_with = "config")]
    url: Option<String>,
    /// Print JSON for a program instead of a table for a person
    #[arg(long)]
    pub json: bool,
}

impl Whom {
    fn base(&self) -> Result<String, Failure> {
        match &self.url {
            Some(url) => Ok(url.trim_end_matches('/').to_owned()),
            None => Ok(format!("http://{}", vigil_config::load_agent(&self.config)?.http_listen())),
        }
    }

    /// The answer to `path`, as text and as a value.
    pub fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<(String, T), Failure> {
        let base = self.base()?;
        let answer = super::runtime()?.block_on(get(&format!("{base}{path}")));
        let (done, text) = answer.map_err(|why| silent(&base, &why))?;
        if done {
            return read(&base, text);
        }
        Err(refused(&base, &text, "`vigil status` says how the agent is; --url must be that of an agent."))
    }

    /// The agent's configuration, unless an address is given instead.
    pub fn config(&self) -> Option<&Path> {
        self.url.is_none().then_some(self.config.as_path())
    }

    /// The agent's journal up to now, a piece at a time: between two pieces the agent does its work.
    pub fn journal(&self) -> Result<Journal, Failure> {
        let base = self.base()?;
        super::runtime()?.block_on(journal(&base))
    }

    /// Says something to the agent; what it refuses, it refuses in its own words.
    pub fn tell<T: DeserializeOwned>(&self, path: &str, said: &Value) -> Result<(String, T), Failure> {
        let base = self.base()?;
        let answer = super::runtime()?.block_on(post(&format!("{base}{path}"), said.to_string()));
        let (done, text) = answer.map_err(|why| silent(&base, &why))?;
        if done {
            return read(&base, text);
        }
        Err(refused(
            &base,
            &text,
            "`vigil alerts` shows where each alert stands, `vigil outbox` what was rejected.",
        ))
    }
}

/// What the agent does not do, in its own words.
fn refused(base: &str, text: &str, mend: &str) -> Failure {
    let why = serde_json::from_str::<Value>(text).ok();
    let why = why.as_ref().and_then(|v| v.get("error")).and_then(Value::as_str).unwrap_or(text);
    Failure::failed(format!("the agent at {base} refused it: {why}"), mend)
}

async fn journal(base: &str) -> Result<Journal, Failure> {
    let client = client().map_err(|why| silent(base, &why))?;
    let url = format!("{base}/api/v1/journal");
    let mut journal = Journal::new(record(&client, base, &url).await?);
    let mut next = Some(0);
    while let Some(from) = next {
        let piece: Piece = record(&client, base, &format!("{url}?from={from}")).await?;
        next = journal.add(piece);
    }
    let now: Opening = record(&client, base, &url).await?;
    journal.begins_as(now);
    Ok(journal)
}

/// A record as an agent of the same version stores it.
async fn record<T: DeserializeOwned>(client: &reqwest::Client, base: &str, url: &str) -> Result<T, Failure> {
    let answer = client.get(url).send().await.map_err(|why| silent(base, &why))?;
    let done = answer.status().is_success();
    let bytes = answer.bytes().await.map_err(|why| silent(base, &why))?;
    if !done {
        let mend = "Run it on the gateway itself, as the same version of vigil as the agent.";
        return Err(refused(base, &String::from_utf8_lossy(&bytes), mend));
    }
    decode(&bytes).map_err(|why| {
        let what = format!("the answer of {base} is not that of an agent of this version: {why}");
        Failure::failed(what, "Check the address, and that the agent runs the same version of vigil.")
    })
}

fn silent(base: &str, why: &reqwest::Error) -> Failure {
    Failure::failed(
        format!("the agent at {base} does not answer: {why}"),
        "Is it running? `vigil run --config agent.toml` starts it; --url asks one somewhere else.",
    )
}

fn read<T: DeserializeOwned>(base: &str, text: String) -> Result<(String, T), Failure> {
    let value = serde_json::from_str(&text).map_err(|e| {
        Failure::failed(format!("the answer of {base} is not that of an agent: {e}"), "Check the address.")
    })?;
    Ok((text, value))
}

fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()
}

/// Whether it was done, and what was answered.
async fn post(url: &str, json: String) -> Result<(bool, String), reqwest::Error> {
    let request = client()?.post(url).header("content-type", "application/json").body(json);
    let answer = request.send().await?;
    Ok((answer.status().is_success(), answer.text().await?))
}

/// Whether it is there, and what was answered.
async fn get(url: &str) -> Result<(bool, String), reqwest::Error> {
    let answer = client()?.get(url).send().await?;
    Ok((answer.status().is_success(), answer.text().await?))
}

/// The text at a local address, asked with a token where one is needed.
#[cfg(feature = "noc")]
pub async fn fetch(url: &str, token: Option<&str>) -> Result<String, reqwest::Error> {
    let request = token.into_iter().fold(client()?.get(url), reqwest::RequestBuilder::bearer_auth);
    request.send().await?.error_for_status()?.text().await
}
