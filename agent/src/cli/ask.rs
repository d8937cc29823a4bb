//! Asks the running agent over its local HTTP API.

use super::Failure;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::PathBuf;
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
        let answer = super::runtime()?.block_on(fetch(&format!("{base}{path}")));
        read(&base, answer.map_err(|why| silent(&base, &why))?)
    }

    /// Says something to the agent; what it refuses, it refuses in its own words.
    pub fn tell<T: DeserializeOwned>(&self, path: &str, said: &Value) -> Result<(String, T), Failure> {
        let base = self.base()?;
        let answer = super::runtime()?.block_on(post(&format!("{base}{path}"), said.to_string()));
        let (done, text) = answer.map_err(|why| silent(&base, &why))?;
        if done {
            return read(&base, text);
        }
        let why = serde_json::from_str::<Value>(&text).ok();
        let why = why.as_ref().and_then(|v| v.get("error")).and_then(Value::as_str).unwrap_or(&text);
        Err(Failure::failed(
            format!("the agent at {base} refused it: {why}"),
            "`vigil alerts` shows where each alert stands, `vigil outbox` what was rejected.",
        ))
    }
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

/// The text at a local address.
pub async fn fetch(url: &str) -> Result<String, reqwest::Error> {
    client()?.get(url).send().await?.error_for_status()?.text().await
}
