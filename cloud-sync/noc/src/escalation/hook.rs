//! One webhook, signed as Standard Webhooks has it. The signature is HMAC-SHA256 by `ring`, which is here already: the crate
//! `standardwebhooks` would bring a second implementation of it for these thirty lines.

use super::EscalationError;
use super::outcome::{Outcome, Patience, SAID_BYTES, answered, kept};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Response};
use ring::hmac;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use vigil_cloud_sync::whole_story;
use vigil_core::time::Timestamp;

/// How the text of a secret begins.
const PREFIX: &str = "whsec_";

/// How many bytes a secret has: what Standard Webhooks says, between what cannot be guessed and what HMAC makes use of.
const SECRET_BYTES: RangeInclusive<usize> = 24..=64;

/// What a webhook is signed with. It shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct HookSecret(Vec<u8>);

impl fmt::Debug for HookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookSecret")
    }
}

/// A text that is no secret of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is no secret of Standard Webhooks: whsec_ and the base64 of 24 to 64 random bytes are expected, as says: \
     echo \"whsec_$(openssl rand -base64 32)\""
)]
pub struct NoHookSecret;

impl HookSecret {
    /// Reads `whsec_…`.
    pub fn read(text: &str) -> Result<Self, NoHookSecret> {
        let bytes = text.trim().strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
        bytes.filter(|bytes| SECRET_BYTES.contains(&bytes.len())).map(Self).ok_or(NoHookSecret)
    }

    /// The signature of a body under its name and the second in which it is sent.
    fn sign(&self, id: &str, secs: i64, body: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let signed = hmac::sign(&key, format!("{id}.{secs}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(signed))
    }
}

/// The clients of webhooks. Connections are not kept: an alert is rare, and a line that was left open is often dead.
pub(super) struct Hooks {
    outside: Client,
    /// Whoever listens on this machine is not asked for through a proxy of the environment.
    here: Client,
}

impl Hooks {
    pub(super) fn open(
        authorities: &[CertificateDer<'static>],
        patience: &Patience,
    ) -> Result<Self, EscalationError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = || {
            ClientBuilder::new()
                .tls_backend_preconfigured(tls.clone())
                .http1_only()
                // A redirect would carry the alert to somebody else.
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .user_agent(concat!("vigil/", env!("CARGO_PKG_VERSION")))
                .pool_max_idle_per_host(0)
                .timeout(patience.try_for)
        };
        Ok(Self { outside: client().build()?, here: client().no_proxy().build()? })
    }

    /// One try.
    pub(super) async fn post(
        &self,
        url: &str,
        secret: &HookSecret,
        (id, body): (&str, &str),
        now: Timestamp,
    ) -> Outcome {
        let client = if url.starts_with("https://") { &self.outside } else { &self.here };
        let secs = now.millis().div_euclid(1_000);
        let request = client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", secs.to_string())
            .header("webhook-signature", secret.sign(id, secs, body))
            .body(body.to_owned());
        match request.send().await {
            Ok(response) => heard(response).await,
            // The address may have a word in it that is not for everybody who reads the log.
            Err(why) => Outcome::later(kept(&whole_story(&why.without_url()))),
        }
    }
}

async fn heard(mut response: Response) -> Outcome {
    let text = |name: HeaderName| {
        response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let (status, retry_after, date) = (response.status(), text(RETRY_AFTER), text(DATE));
    let mut said = Vec::new();
    // A success has been heard by its status; of all else the beginning is kept, as far as it comes.
    while !status.is_success() && said.len() < SAID_BYTES {
        let Ok(Some(chunk)) = response.chunk().await else { break };
        said.extend_from_slice(chunk.get(..SAID_BYTES).unwrap_or(&chunk));
    }
    answered(status.as_u16(), retry_after.as_deref(), date.as_deref(), &said)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that libraries of Standard Webhooks are held against.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let secret = HookSecret::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(!format!("{secret:?}").contains("77"), "{secret:?}");
    }

    #[test]
    fn what_is_no_secret_is_said() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for (text, is_one) in [
            (of(24), true),
            (of(64), true),
            (format!("{}\n", of(32)), true),
            (of(23), false),
            (of(65), false),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), false),
            ("whsec_not base64 at all, but long".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(HookSecret::read(&text).is_ok(), is_one, "{text}");
        }
        assert!(NoHookSecret.to_string().contains("openssl rand"));
    }
}
