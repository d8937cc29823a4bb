//! One mail: plain text, by the server that the configuration names.

use super::EscalationError;
use super::message::Message;
use super::outcome::{Outcome, Patience, kept};
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::response::Code;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};
use vigil_core::time::Timestamp;

/// How a server of mails is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte.
    Tls,
    /// TLS before anything is said, or nothing is said.
    StartTls,
    /// In clear, to this machine.
    None,
}

/// The server that takes mails.
#[derive(Clone)]
pub struct PostOffice {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub security: Security,
    /// Name and password, if it asks for them.
    pub login: Option<(String, String)>,
    /// Who writes.
    pub from: String,
    /// The authority of its certificate, PEM; else those of the system.
    pub ca_pem: Option<Vec<u8>>,
}

impl fmt::Debug for PostOffice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostOffice {}:{} {:?}", self.host, self.port, self.security)
    }
}

pub(super) struct Mails {
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    try_for: Duration,
}

/// The address of `whose`, as a mail has it.
pub(super) fn mailbox(whose: &str, address: &str) -> Result<Mailbox, EscalationError> {
    let parsed = address.parse::<Address>();
    parsed
        .map(|address| Mailbox::new(None, address))
        .map_err(|why| EscalationError::Address { of: whose.to_owned(), why })
}

impl Mails {
    pub(super) fn open(post: &PostOffice, patience: &Patience) -> Result<Self, EscalationError> {
        let tls = || {
            let asked = TlsParameters::builder(post.host.clone());
            match &post.ca_pem {
                Some(pem) => asked
                    .certificate_store(CertificateStore::None)
                    .add_root_certificate(Certificate::from_pem(pem)?)
                    .build(),
                None => asked.build(),
            }
        };
        let tls = match post.security {
            Security::Tls => Tls::Wrapper(tls()?),
            Security::StartTls => Tls::Required(tls()?),
            Security::None => Tls::None,
        };
        let server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&post.host)
            .port(post.port)
            .tls(tls)
            .timeout(Some(patience.try_for));
        let login = post.login.clone().map(|(name, password)| Credentials::new(name, password));
        let server = login.into_iter().fold(server, |server, login| server.credentials(login)).build();
        Ok(Self { server, from: mailbox("smtp.from", &post.from)?, try_for: patience.try_for })
    }

    /// One try.
    pub(super) async fn send(&self, to: &str, (id, made_at, body): (&str, Timestamp, &str)) -> Outcome {
        let mail = match self.written(to, id, made_at, body) {
            Ok(mail) => mail,
            Err(said) => return Outcome::Refused { status: None, said },
        };
        match tokio::time::timeout(self.try_for, self.server.send(mail)).await {
            Ok(Ok(answer)) => Outcome::Taken { status: Some(number(answer.code())) },
            Ok(Err(why)) => judged(&why),
            Err(_) => Outcome::later(format!("the mail server took longer than {:?}", self.try_for)),
        }
    }

    fn written(&self, to: &str, id: &str, made_at: Timestamp, body: &str) -> Result<lettre::Message, String> {
        let message: Message =
            serde_json::from_str(body).map_err(|why| format!("it cannot be read: {why}"))?;
        let millis = u64::try_from(made_at.millis()).unwrap_or_default();
        lettre::Message::builder()
            .from(self.from.clone())
            .to(mailbox("the contact", to).map_err(|why| why.to_string())?)
            .subject(message.subject())
            .date(UNIX_EPOCH + Duration::from_millis(millis))
            // The same over all tries, so that a mailbox can tell that it has it.
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            // Nobody's absence answers it (RFC 3834).
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .header(ContentType::TEXT_PLAIN)
            .body(message.text())
            .map_err(|why| format!("it cannot be written: {why}"))
    }
}

fn number(code: Code) -> u16 {
    code.into()
}

/// A word of the server that is final ends it; all else may be otherwise next time.
fn judged(why: &lettre::transport::smtp::Error) -> Outcome {
    let (status, said) = (why.status().map(number), kept(&why.to_string()));
    if why.is_permanent() {
        Outcome::Refused { status, said }
    } else {
        Outcome::Later { status, said, after: None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{self, Data};
    use super::*;

    fn mails() -> Mails {
        let post = PostOffice {
            host: "127.0.0.1".to_owned(),
            port: 25,
            security: Security::None,
            login: Some(("vigil".to_owned(), "a password".to_owned())),
            from: "noc@guard.example".to_owned(),
            ca_pem: None,
        };
        assert!(!format!("{post:?}").contains("a password"));
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        Mails::open(&post, &Patience::default()).unwrap()
    }

    fn head(subject: &str) -> String {
        let at = Timestamp::from_millis(1_773_160_000_000);
        let plain = message::test(at);
        let data = Data { summary: subject.to_owned(), ..plain.data.clone() };
        let body = Message { data, ..plain }.written();
        let mail = mails().written("duty@guard.example", "esc_7", at, &body).unwrap();
        let text = String::from_utf8(mail.formatted()).unwrap();
        text.split("\r\n\r\n").next().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_mail_says_who_wrote_it_and_has_a_name_of_its_own() {
        let head = head("CRITICAL sos");
        for line in [
            "From: noc@guard.example",
            "To: duty@guard.example",
            "Subject: [Vigil] CRITICAL sos",
            "Message-ID: <esc_7@guard.example>",
            "Auto-Submitted: auto-generated",
            "Date: Tue, 10 Mar 2026 16:26:40 +0000",
            "Content-Type: text/plain; charset=utf-8",
        ] {
            assert!(head.lines().any(|said| said == line), "{line} is not in\n{head}");
        }
    }

    #[tokio::test]
    async fn nothing_that_came_from_outside_becomes_a_header() {
        for evil in ["x\r\nBcc: all@evil.example", "x\nBcc: all@evil.example", "x\u{2028}\rBcc: a@b.example"]
        {
            let head = head(evil);
            assert!(!head.lines().any(|line| line.to_ascii_lowercase().starts_with("bcc")), "{head}");
        }
        let at = Timestamp::from_millis(0);
        let wrong =
            mails().written("a@b.example>\r\nBcc: c@d.example", "esc_7", at, &message::test(at).written());
        assert!(wrong.is_err());
    }
}
