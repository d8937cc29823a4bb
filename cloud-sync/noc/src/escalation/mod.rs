//! Who is told when nobody at the centre takes an alert on: named contacts, each after a delay, by webhook or by mail.
//!
//! ```text
//!  crier ── bell ──► caller ─► ledger: which alerts are due (due, pure) ─► notices, one for each message
//!                      │                                                     │ claimed by one receiver
//!                      └─► hook, mail (one try) ─► outcome (pure) ─► settled ◄┘ told, again later, refused, given up
//! ```
//!
//! A notice is in the ledger before it is sent, under a name that stays the same over all tries: so none is lost with its
//! receiver, and whoever gets one twice can tell.

mod caller;
pub mod due;
mod hook;
mod mail;
pub mod message;
pub mod outcome;

pub use caller::{Caller, TryOut};
pub use hook::{HookSecret, NoHookSecret};
pub use mail::{PostOffice, Security};
pub use outcome::{Outcome, Patience};

use due::Step;
use hook::Hooks;
use mail::Mails;
use rustls::pki_types::CertificateDer;
use std::collections::BTreeMap;
use vigil_core::id::TenantId;
use vigil_core::time::Timestamp;

/// How a contact is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// By a webhook, signed as Standard Webhooks has it.
    Hook {
        /// Where to; `https`, or `http` on this machine.
        url: String,
        /// What it is signed with.
        secret: HookSecret,
    },
    /// By mail.
    Mail {
        /// To whom.
        address: String,
    },
}

/// Somebody outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// What the steps call them.
    pub name: String,
    /// Whose alerts they may hear of; of every tenant without it.
    pub tenant: Option<TenantId>,
    /// How they are reached.
    pub way: Way,
}

/// Who is told of what, and how.
#[derive(Debug, Clone)]
pub struct Escalation {
    /// Everybody who may be told.
    pub contacts: Vec<Contact>,
    /// After how long who is told.
    pub steps: Vec<Step>,
    /// The server that takes mails; without it nobody can be reached by one.
    pub post: Option<PostOffice>,
    /// Whom webhooks are believed to be by: the certificates of authorities.
    pub authorities: Vec<CertificateDer<'static>>,
    /// How long is waited for what.
    pub patience: Patience,
}

/// The escalation cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum EscalationError {
    /// TLS cannot be set up.
    #[error("tls for webhooks and mails cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// Nobody at the other end of a webhook would be believed.
    #[error("this machine has no trusted certificates; install ca-certificates")]
    NoRoots,
    /// The client of webhooks cannot be made.
    #[error("webhooks cannot be sent: {0}")]
    Client(#[from] reqwest::Error),
    /// The client of mails cannot be made.
    #[error("mails cannot be sent: {0}")]
    Mail(#[from] lettre::transport::smtp::Error),
    /// An address is none.
    #[error("the mail address of {of} is none: {why}")]
    Address {
        /// Whose.
        of: String,
        /// What is wrong with it.
        why: lettre::address::AddressError,
    },
    /// Nobody takes mails.
    #[error("{0} is reached by mail, and there is no server for mails")]
    NoPost(String),
    /// A step names nobody.
    #[error("there is no contact {0}")]
    Unknown(String),
}

/// The ways to all contacts, opened.
pub struct Ways {
    contacts: BTreeMap<String, Contact>,
    hooks: Hooks,
    mails: Option<Mails>,
}

impl Ways {
    /// Checks everything; connects to nobody yet.
    pub fn open(escalation: &Escalation) -> Result<Self, EscalationError> {
        let hooks = Hooks::open(&escalation.authorities, &escalation.patience)?;
        let mails =
            escalation.post.as_ref().map(|post| Mails::open(post, &escalation.patience)).transpose()?;
        let named: BTreeMap<_, _> =
            escalation.contacts.iter().map(|contact| (contact.name.clone(), contact.clone())).collect();
        let over_tls =
            |contact: &Contact| matches!(&contact.way, Way::Hook { url, .. } if url.starts_with("https://"));
        if escalation.authorities.is_empty() && named.values().any(over_tls) {
            return Err(EscalationError::NoRoots);
        }
        for contact in named.values() {
            if let Way::Mail { address } = &contact.way {
                mail::mailbox(&contact.name, address)?;
                if mails.is_none() {
                    return Err(EscalationError::NoPost(contact.name.clone()));
                }
            }
        }
        let told = escalation.steps.iter().flat_map(|step| &step.to);
        if let Some(nobody) = told.into_iter().find(|name| !named.contains_key(*name)) {
            return Err(EscalationError::Unknown(nobody.clone()));
        }
        Ok(Self { contacts: named, hooks, mails })
    }

    /// One try to tell `contact` what stands in `body`, which is of `tenant`, if it is of one.
    pub async fn tell(
        &self,
        contact: &str,
        tenant: Option<&str>,
        (id, made_at, body): (&str, Timestamp, &str),
        now: Timestamp,
    ) -> Outcome {
        let Some(contact) = self.contacts.get(contact) else {
            return Outcome::later(format!("noc.toml has no contact {contact}"));
        };
        let own = contact.tenant.as_ref().map(TenantId::as_str);
        if let (Some(own), Some(tenant)) = (own, tenant)
            && own != tenant
        {
            let said = format!("{} is a contact of {own} now, and may not hear of {tenant}", contact.name);
            return Outcome::Refused { status: None, said };
        }
        match (&contact.way, &self.mails) {
            (Way::Hook { url, secret }, _) => self.hooks.post(url, secret, (id, body), now).await,
            (Way::Mail { address }, Some(mails)) => mails.send(address, (id, made_at, body)).await,
            (Way::Mail { .. }, None) => Outcome::later("there is no server for mails".to_owned()),
        }
    }

    /// Tells `contact` that this is a test; `None` if there is no such contact.
    pub async fn test(&self, contact: &str, id: &str, now: Timestamp) -> Option<Outcome> {
        self.contacts.get(contact)?;
        let body = message::test(now).written();
        Some(self.tell(contact, None, (id, now, &body), now).await)
    }

    /// Whether that contact is reached by mail.
    fn is_by_mail(&self, contact: &str) -> bool {
        self.contacts.get(contact).is_some_and(|contact| matches!(contact.way, Way::Mail { .. }))
    }

    fn by_mail(&self) -> impl Iterator<Item = &String> {
        self.contacts.keys().filter(|name| self.is_by_mail(name))
    }

    fn by_hook(&self) -> impl Iterator<Item = &String> {
        self.contacts.keys().filter(|name| !self.is_by_mail(name))
    }
}
