//! `vigil noc tell`: whether a contact can be reached, before somebody needs it to be.

use crate::cli::{Failure, logs};
use std::io::Write;
use std::path::Path;
use vigil_config::{ContactWay, Environment, NocConfig, Smtp, SmtpSecurity};
use vigil_noc::escalation::due::Step;
use vigil_noc::escalation::{
    Contact, Escalation, HookSecret, Outcome, Patience, PostOffice, Security, TryOut, Way,
};

/// `vigil noc tell`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name of one of the [[contacts]] of noc.toml
    contact: String,
}

/// Runs the command.
pub fn run(args: &Args, config: &Path) -> Result<(), Failure> {
    logs::set_up("warn");
    let config = vigil_config::load_noc(config)?;
    let name = &args.contact;
    let known = || {
        let names: Vec<_> = config.escalation().contacts().iter().map(vigil_config::Contact::name).collect();
        if names.is_empty() {
            "noc.toml has no [[contacts]].".to_owned()
        } else {
            format!("noc.toml knows: {}.", names.join(", "))
        }
    };
    let Some(escalation) = escalation(&config, &Environment::of_process())? else {
        return Err(Failure::invalid(format!("there is no contact {name:?}"), known()));
    };
    let now = crate::clock::Clock::wall().now();
    let tried = super::super::runtime()?.block_on(escalation.try_out(name, now));
    match tried {
        Ok(outcome) => said(name, &outcome),
        Err(why @ TryOut::Unknown(_)) => Err(Failure::invalid(why, known())),
        Err(why @ TryOut::SetUp(_)) => Err(Failure::invalid(why, MEND)),
        Err(why @ TryOut::Random(_)) => Err(Failure::failed(why, "Try again.")),
    }
}

fn said(name: &str, outcome: &Outcome) -> Result<(), Failure> {
    let status = outcome.status().map(|status| format!(" ({status})")).unwrap_or_default();
    let words = outcome.said().unwrap_or_default();
    match outcome {
        Outcome::Taken { .. } => {
            Ok(writeln!(std::io::stdout(), "{name} was sent a test, and it was taken{status}.")?)
        }
        Outcome::Refused { .. } => Err(Failure::failed(
            format!("{name} refused a test{status}: {words}"),
            "An alert would not be tried again: mend the address or the credential, or what is at the other end.",
        )),
        Outcome::Later { .. } => Err(Failure::failed(
            format!("{name} could not be told{status}: {words}"),
            "An alert would be tried again for a day: look at the address, at the network, and at what is at the other end.",
        )),
    }
}

/// What a person does about contacts that cannot be set up.
pub const MEND: &str = "Mend [[contacts]] or [smtp] in noc.toml, or the credentials that they name.";

/// Who is told of alerts that nobody takes on; credentials are read here.
pub fn escalation(config: &NocConfig, env: &Environment) -> Result<Option<Escalation>, Failure> {
    let told = config.escalation();
    if told.contacts().is_empty() {
        return Ok(None);
    }
    let contacts = told.contacts().iter().map(|contact| {
        let way = match contact.way() {
            ContactWay::Email(address) => Way::Mail { address: address.clone() },
            ContactWay::Webhook { url, .. } => {
                let text = secret(config, contact.credential(), env, contact.name())?;
                let secret = HookSecret::read(&text).map_err(|why| {
                    Failure::invalid(format!("the credential of the contact {}: {why}", contact.name()), MEND)
                })?;
                Way::Hook { url: url.clone(), secret }
            }
        };
        Ok(Contact { name: contact.name().to_owned(), tenant: contact.tenant().cloned(), way })
    });
    let steps = told.steps().iter().map(|step| Step {
        tenant: step.tenant().cloned(),
        site: step.site().cloned(),
        severities: step.severities().iter().map(|severity| (*severity).to_owned()).collect(),
        rules: step.rules().to_vec(),
        after: step.after(),
        to: step.to().to_vec(),
    });
    Ok(Some(Escalation {
        contacts: contacts.collect::<Result<_, Failure>>()?,
        steps: steps.collect(),
        post: told.smtp().map(|smtp| post(config, smtp, env)).transpose()?,
        authorities: rustls_native_certs::load_native_certs().certs,
        patience: Patience::default(),
    }))
}

fn post(config: &NocConfig, smtp: &Smtp, env: &Environment) -> Result<PostOffice, Failure> {
    let login = smtp.username().map(|name| {
        let password = secret(config, smtp.credential(), env, "[smtp]")?;
        Ok::<_, Failure>((name.to_owned(), password))
    });
    let ca_pem = smtp.ca_file().map(|path| {
        std::fs::read(path).map_err(|why| Failure::invalid(format!("{}: {why}", path.display()), MEND))
    });
    Ok(PostOffice {
        host: smtp.host().to_owned(),
        port: smtp.port(),
        security: match smtp.security() {
            SmtpSecurity::Tls => Security::Tls,
            SmtpSecurity::StartTls => Security::StartTls,
            SmtpSecurity::None => Security::None,
        },
        login: login.transpose()?,
        from: smtp.from().to_owned(),
        ca_pem: ca_pem.transpose()?,
    })
}

fn secret(
    config: &NocConfig,
    name: Option<&vigil_config::Credential>,
    env: &Environment,
    of: &str,
) -> Result<String, Failure> {
    let Some(name) = name else { return Err(Failure::invalid(format!("{of} has no credential"), MEND)) };
    let secret = vigil_config::credential(name, config.base(), env)
        .map_err(|why| Failure::invalid(why, format!("{of} in noc.toml needs it.")))?;
    let text = secret.expose_text().map(str::to_owned);
    text.ok_or_else(|| Failure::invalid(format!("the credential {name} is not text"), MEND))
}
