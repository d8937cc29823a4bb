//! `[[contacts]]`, `[[escalation]]` and `[smtp]` of `noc.toml`: who is told of alerts that nobody takes on.

use crate::credential::Credential;
use crate::table::{Table, nearest_of};
use crate::url::hook;
use crate::value::{Read, credential, one_of, path_in, span_within, text, whole};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use toml::de::DeValue;
use vigil_core::alert::Rule;
use vigil_core::id::{SiteId, TaskId, TenantId};
use vigil_core::time::Span;

/// The most contacts: one for each of a thousand tenants. Each step is held against all of them at every alert.
const MAX_CONTACTS: usize = 1_000;

/// The most steps: three for each of as many tenants would be the thousand contacts thrice.
const MAX_STEPS: usize = 3_000;

/// The most contacts of one step: whoever wakes more people wakes nobody who feels meant.
const MAX_TOLD: usize = 20;

/// The longest delay: after a day the alert is yesterday's.
const MAX_DELAY: Span = Span::from_hours(24);

/// The longest mail address (RFC 5321).
const MAX_ADDRESS: usize = 254;

/// The rule of the alerts that the receiver raises itself; all others are the agent's.
const CENTRE_RULE: &str = "gateway_lost";

/// How bad an alert can be.
const SEVERITIES: [(&str, &str); 4] =
    [("LOW", "LOW"), ("MEDIUM", "MEDIUM"), ("HIGH", "HIGH"), ("CRITICAL", "CRITICAL")];

/// Who is told of alerts that nobody takes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Escalation {
    contacts: Vec<Contact>,
    steps: Vec<EscalationStep>,
    smtp: Option<Smtp>,
}

impl Escalation {
    /// Everybody who may be told.
    pub fn contacts(&self) -> &[Contact] {
        &self.contacts
    }
    /// After how long who is told.
    pub fn steps(&self) -> &[EscalationStep] {
        &self.steps
    }
    /// The server that takes mails.
    pub fn smtp(&self) -> Option<&Smtp> {
        self.smtp.as_ref()
    }
}

/// `[[contacts]]`: somebody outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    name: String,
    tenant: Option<TenantId>,
    way: ContactWay,
}

/// How a contact is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContactWay {
    /// By a webhook.
    Webhook {
        /// Where to.
        url: String,
        /// The credential that holds what it is signed with.
        credential: Option<Credential>,
    },
    /// By mail, to this address.
    Email(String),
}

impl Contact {
    /// What the steps call them.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Whose alerts they may hear of; of every tenant without it.
    pub fn tenant(&self) -> Option<&TenantId> {
        self.tenant.as_ref()
    }
    /// How they are reached.
    pub fn way(&self) -> &ContactWay {
        &self.way
    }
    /// The credential of a webhook.
    pub fn credential(&self) -> Option<&Credential> {
        match &self.way {
            ContactWay::Webhook { credential, .. } => credential.as_ref(),
            ContactWay::Email(_) => None,
        }
    }
}

/// `[[escalation]]`: one rung of the ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EscalationStep {
    tenant: Option<TenantId>,
    site: Option<SiteId>,
    severities: Vec<&'static str>,
    rules: Vec<String>,
    after: Span,
    to: Vec<String>,
}

impl EscalationStep {
    /// Of whose alerts; of all without it.
    pub fn tenant(&self) -> Option<&TenantId> {
        self.tenant.as_ref()
    }
    /// At which site of that tenant.
    pub fn site(&self) -> Option<&SiteId> {
        self.site.as_ref()
    }
    /// How bad they are.
    pub fn severities(&self) -> &[&'static str] {
        &self.severities
    }
    /// Of which rules; of all if there is none.
    pub fn rules(&self) -> &[String] {
        &self.rules
    }
    /// How long nobody has taken it on.
    pub fn after(&self) -> Span {
        self.after
    }
    /// Who is told.
    pub fn to(&self) -> &[String] {
        &self.to
    }
}

/// How a server of mails is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// TLS from the first byte.
    Tls,
    /// TLS before anything is said.
    StartTls,
    /// In clear.
    None,
}

/// `[smtp]`: the server that takes mails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smtp {
    host: String,
    port: u16,
    security: SmtpSecurity,
    username: Option<String>,
    credential: Option<Credential>,
    from: String,
    ca_file: Option<PathBuf>,
}

impl Smtp {
    /// Its name.
    pub fn host(&self) -> &str {
        &self.host
    }
    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// How it is spoken to.
    pub fn security(&self) -> SmtpSecurity {
        self.security
    }
    /// As whom, if it asks.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }
    /// The credential that holds the password.
    pub fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }
    /// Who writes.
    pub fn from(&self) -> &str {
        &self.from
    }
    /// The authority of its certificate, PEM; else those of the system.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }
}

/// Reads the three of them.
pub(super) fn escalation(root: &mut Table<'_>, base: &Path) -> Escalation {
    let smtp = root.optional_table("smtp").map(|table| smtp(table, base));
    let contacts = contacts(root, smtp.is_some());
    let steps = steps(root, &contacts);
    Escalation { contacts, steps, smtp }
}

fn contacts(root: &mut Table<'_>, with_mail: bool) -> Vec<Contact> {
    let read = root.tables("contacts", |table| {
        let name = table.required("name", name, "unreadable".to_owned());
        let tenant = table.optional("tenant", crate::value::id);
        let (hooked, mailed) = (table.has("webhook"), table.has("email"));
        let url = table.optional("webhook", hook);
        let address = table.optional("email", mail_address);
        let secret = table.optional("credential", credential);
        match (hooked, mailed) {
            (true, true) => table.refuse("email", "either webhook or email: one contact for each way"),
            (false, false) => table.missing("webhook", "webhook = \"https://…\" or email = \"name@example.org\""),
            (true, false) if !table.has("credential") => table.missing(
                "credential",
                "the name of a credential with what it is signed with: echo \"whsec_$(openssl rand -base64 32)\"",
            ),
            (false, true) if table.has("credential") => {
                table.refuse("credential", "nothing here with email: the password of the server stands in [smtp]");
            }
            (false, true) if !with_mail => table.refuse("email", "nothing here without [smtp], which sends it"),
            (true | false, _) => {}
        }
        let way = match (url, address) {
            (_, Some(address)) => ContactWay::Email(address),
            (url, None) => ContactWay::Webhook { url: url.unwrap_or_default(), credential: secret },
        };
        Some((Contact { name, tenant, way }, table.path_of("name")))
    });
    if read.len() > MAX_CONTACTS {
        root.refuse("contacts", format!("at most {MAX_CONTACTS} contacts"));
    }
    let mut names = BTreeSet::new();
    for (contact, path) in &read {
        if !names.insert(&contact.name) {
            root.refuse_path(path, "a name that is used once");
        }
    }
    read.into_iter().map(|(contact, _)| contact).collect()
}

fn steps(root: &mut Table<'_>, contacts: &[Contact]) -> Vec<EscalationStep> {
    let known: BTreeMap<&str, &Contact> =
        contacts.iter().map(|contact| (contact.name.as_str(), contact)).collect();
    let steps = root.tables("escalation", |table| {
        let tenant = table.optional("tenant", crate::value::id);
        let site = table.optional("site", crate::value::id);
        if table.has("site") && !table.has("tenant") {
            table.refuse("site", "nothing here without tenant, whose site it is");
        }
        let severities = table.list("severity", one_of(&SEVERITIES)).unwrap_or_else(|| vec!["CRITICAL"]);
        if severities.is_empty() && !table.is_in_doubt("severity") {
            table.refuse("severity", "at least one of LOW, MEDIUM, HIGH, CRITICAL");
        }
        let rules = table.list("rules", rule).unwrap_or_default();
        let after = table.required("after", span_within(Span::ZERO, MAX_DELAY), Span::ZERO);
        if !table.has("to") {
            table.missing("to", "a list of names of [[contacts]]");
        }
        let to: Vec<Option<String>> =
            table.list("to", |value| Ok(value.as_str().map(str::to_owned))).unwrap_or_default();
        if table.has("to") && !table.is_in_doubt("to") && !(1..=MAX_TOLD).contains(&to.len()) {
            table.refuse("to", format!("1 to {MAX_TOLD} names of [[contacts]]"));
        }
        for (i, name) in to.iter().enumerate() {
            let path = table.path_of(&format!("to[{i}]"));
            let name = name.as_deref().unwrap_or_default();
            let Some(contact) = known.get(name) else {
                table.refuse_path(&path, unknown(name, &known));
                continue;
            };
            let Some(own) = &contact.tenant else { continue };
            match &tenant {
                Some(tenant) if tenant == own => {}
                Some(_) if table.is_in_doubt("tenant") => {}
                Some(tenant) => {
                    table.refuse_path(&path, format!("a contact of {tenant}: this one is of {own}"))
                }
                None if table.has("tenant") => {}
                None => table.refuse_path(
                    &path,
                    format!(
                        "a contact of every tenant, or tenant = \"{own}\" in this step: this one is of {own}"
                    ),
                ),
            }
        }
        Some(EscalationStep {
            tenant,
            site,
            severities,
            rules,
            after,
            to: to.into_iter().flatten().collect(),
        })
    });
    if steps.len() > MAX_STEPS {
        root.refuse("escalation", format!("at most {MAX_STEPS} steps"));
    }
    steps
}

fn unknown(name: &str, known: &BTreeMap<&str, &Contact>) -> String {
    match nearest_of(name, known.keys().copied()) {
        Some(nearest) => format!("the name of one of [[contacts]]; did you mean \"{nearest}\"?"),
        None if known.is_empty() => "the name of one of [[contacts]]; there is none".to_owned(),
        None => "the name of one of [[contacts]]".to_owned(),
    }
}

fn smtp(mut table: Table<'_>, base: &Path) -> Smtp {
    const SECURITY: [(&str, SmtpSecurity); 3] =
        [("tls", SmtpSecurity::Tls), ("starttls", SmtpSecurity::StartTls), ("none", SmtpSecurity::None)];
    let host = table.required("host", host, "localhost".to_owned());
    let security = table.optional("security", one_of(&SECURITY)).unwrap_or(SmtpSecurity::Tls);
    let usual = match security {
        SmtpSecurity::Tls => 465,
        SmtpSecurity::StartTls => 587,
        SmtpSecurity::None => 25,
    };
    let port = table.optional("port", whole(1..=u16::MAX)).unwrap_or(usual);
    if security == SmtpSecurity::None && !is_here(&host) && !table.is_in_doubt("host") {
        table.refuse("security", "\"tls\" or \"starttls\", unless host is this machine");
    }
    let username = table.optional("username", text);
    let password = table.optional("credential", credential);
    match (table.has("username"), table.has("credential")) {
        (true, false) => {
            table.missing("credential", "the name of a credential with the password of username")
        }
        (false, true) => table.missing("username", "the name that belongs to the password in credential"),
        (true, true) | (false, false) => {}
    }
    let from = table.required("from", mail_address, "unreadable@localhost".to_owned());
    let ca_file = table.optional("ca_file", path_in(base));
    if security == SmtpSecurity::None && table.has("ca_file") {
        table.refuse("ca_file", "nothing here with security = \"none\"");
    }
    table.finish();
    Smtp { host, port, security, username, credential: password, from, ca_file }
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn name(value: &DeValue<'_>) -> Read<String> {
    // The alphabet of ids.
    let fits = |name: &&str| TaskId::new(name).is_ok();
    let named = value.as_str().filter(fits).map(str::to_owned);
    named.ok_or_else(|| "a name of 1 to 64 characters of A-Z a-z 0-9 . _ -".into())
}

fn host(value: &DeValue<'_>) -> Read<String> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':');
    let fits = |host: &&str| (1..=253).contains(&host.len()) && host.bytes().all(legal);
    let named = value.as_str().filter(fits).map(str::to_owned);
    named.ok_or_else(|| "the name or the address of a mail server, like \"smtp.example.org\"".into())
}

/// A plain address: no name beside it, no comment, nothing that a header could be made of.
fn mail_address(value: &DeValue<'_>) -> Read<String> {
    let local = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~.-".contains(&b);
    let domain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
    let part = |text: &str, legal: &dyn Fn(u8) -> bool, most: usize| {
        (1..=most).contains(&text.len())
            && text.bytes().all(legal)
            && !text.starts_with('.')
            && !text.ends_with('.')
            && !text.contains("..")
    };
    let fits = |text: &&str| {
        text.len() <= MAX_ADDRESS
            && text
                .rsplit_once('@')
                .is_some_and(|(name, at)| part(name, &local, 64) && part(at, &domain, 253))
    };
    let address = value.as_str().filter(fits).map(str::to_owned);
    address.ok_or_else(|| "a mail address, like \"name@example.org\"".into())
}

/// The name of a rule of the agent or of the receiver.
fn rule(value: &DeValue<'_>) -> Read<String> {
    let name = value.as_str().unwrap_or_default();
    if name == CENTRE_RULE || Rule::named(name).is_some() {
        return Ok(name.to_owned());
    }
    let known = Rule::ALL.iter().map(|rule| rule.name()).chain([CENTRE_RULE]);
    Err(match nearest_of(name, known) {
        Some(nearest) => format!("the name of a rule; did you mean \"{nearest}\"?").into(),
        None => "the name of a rule, like \"sos\" or \"gateway_lost\"".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noc::parse_noc;

    const HEAD: &str = "[noc]\ntls = false\n[[gateways]]\nid = \"gw-1\"\ntenant = \"acme\"\nsite = \"plant-7\"\ncredential = \"t\"\n";
    const HOOK: &str = "[[contacts]]\nname = \"duty-manager\"\nwebhook = \"https://hooks.example.org/vigil/?team=7\"\ncredential = \"duty\"\n";
    const MAIL: &str =
        "[[contacts]]\nname = \"acme-boss\"\ntenant = \"acme\"\nemail = \"boss@acme.example\"\n";
    const SMTP: &str = "[smtp]\nhost = \"smtp.example.org\"\nfrom = \"noc@guard.example\"\n";

    fn problems(text: &str) -> Vec<String> {
        let text = format!("{HEAD}{text}");
        let found = parse_noc(Path::new("noc.toml"), text.as_bytes()).unwrap_err();
        found.as_slice().iter().map(ToString::to_string).collect()
    }

    fn read(text: &str) -> Escalation {
        let text = format!("{HEAD}{text}");
        parse_noc(Path::new("noc.toml"), text.as_bytes()).unwrap().escalation().clone()
    }

    #[test]
    fn contacts_steps_and_the_server_of_mails_are_read() {
        let none = read("");
        assert!(none.contacts().is_empty() && none.steps().is_empty() && none.smtp().is_none());
        let steps = "[[escalation]]\nafter = \"5m\"\nto = [\"duty-manager\"]\n[[escalation]]\ntenant = \"acme\"\nsite = \"plant-7\"\n\
                     severity = [\"CRITICAL\", \"HIGH\"]\nrules = [\"sos\", \"gateway_lost\"]\nafter = \"0s\"\nto = [\"acme-boss\", \"duty-manager\"]\n";
        let all = read(&format!("{HOOK}{MAIL}{SMTP}{steps}"));
        let [duty, boss] = all.contacts() else { panic!("{all:?}") };
        assert_eq!(duty.credential().map(Credential::as_str), Some("duty"));
        assert!(
            matches!(duty.way(), ContactWay::Webhook { url, .. } if url == "https://hooks.example.org/vigil/?team=7")
        );
        assert_eq!(boss.way(), &ContactWay::Email("boss@acme.example".to_owned()));
        let [first, second] = all.steps() else { panic!("{all:?}") };
        assert_eq!(
            (first.severities(), first.after(), first.rules().len()),
            (&["CRITICAL"][..], Span::from_mins(5), 0)
        );
        assert_eq!((second.severities().len(), second.after(), second.rules().len()), (2, Span::ZERO, 2));
        let smtp = all.smtp().unwrap();
        assert_eq!(
            (smtp.port(), smtp.security(), smtp.from()),
            (465, SmtpSecurity::Tls, "noc@guard.example")
        );
    }

    #[test]
    fn every_mistake_is_named_with_what_mends_it() {
        let step = |more: &str| format!("{HOOK}{MAIL}{SMTP}[[escalation]]\n{more}");
        let table = [
            (HOOK.replace("https://", "http://"), "contacts[0].webhook", "https://"),
            (HOOK.replace("credential = \"duty\"\n", ""), "contacts[0].credential", "openssl rand"),
            (format!("{HOOK}{HOOK}"), "contacts[1].name", "used once"),
            (format!("{SMTP}{HOOK}email = \"a@b.example\"\n"), "contacts[0].email", "either webhook or email"),
            ("[[contacts]]\nname = \"x\"\n".to_owned(), "contacts[0].webhook", "email = "),
            (MAIL.to_owned(), "contacts[0].email", "without [smtp]"),
            (format!("{SMTP}{}", MAIL.replace("boss@", "Boss <b@")), "contacts[0].email", "a mail address"),
            (format!("{SMTP}{MAIL}credential = \"x\"\n"), "contacts[0].credential", "[smtp]"),
            (HOOK.replace("duty-manager", "the duty"), "contacts[0].name", "64 characters"),
            (step("after = \"5m\"\nto = [\"duty-manger\"]\n"), "escalation[0].to[0]", "did you mean \"duty-manager\"?"),
            (step("after = \"5m\"\nto = [\"nobody-like-this\"]\n"), "escalation[0].to[0]", "one of [[contacts]]"),
            (step("after = \"5m\"\nto = []\n"), "escalation[0].to", "1 to 20"),
            (step("after = \"5m\"\n"), "escalation[0].to", "a list of names"),
            (step("after = \"25h\"\nto = [\"duty-manager\"]\n"), "escalation[0].after", "from \"0s\" to \"24h\""),
            (step("to = [\"duty-manager\"]\n"), "escalation[0].after", "a duration"),
            (step("tenant = \"zeta\"\nafter = \"5m\"\nto = [\"acme-boss\"]\n"), "escalation[0].to[0]", "a contact of zeta: this one is of acme"),
            (step("after = \"5m\"\nto = [\"acme-boss\"]\n"), "escalation[0].to[0]", "tenant = \"acme\" in this step"),
            (step("site = \"plant-7\"\nafter = \"5m\"\nto = [\"duty-manager\"]\n"), "escalation[0].site", "without tenant"),
            (step("severity = [\"BAD\"]\nafter = \"5m\"\nto = [\"duty-manager\"]\n"), "escalation[0].severity[0]", "CRITICAL"),
            (step("severity = []\nafter = \"5m\"\nto = [\"duty-manager\"]\n"), "escalation[0].severity", "at least one"),
            (step("rules = [\"gateway_lots\"]\nafter = \"5m\"\nto = [\"duty-manager\"]\n"), "escalation[0].rules[0]", "did you mean \"gateway_lost\"?"),
            (format!("{SMTP}security = \"none\"\n"), "smtp.security", "this machine"),
            (format!("{SMTP}username = \"u\"\n"), "smtp.credential", "password"),
            (format!("{SMTP}credential = \"u\"\n"), "smtp.username", "belongs to the password"),
            (SMTP.replace("noc@", "noc"), "smtp.from", "a mail address"),
            (format!("{SMTP}port = 0\n"), "smtp.port", "1 to 65535"),
            ("[smtp]\nhost = \"localhost\"\nfrom = \"a@b.example\"\nsecurity = \"none\"\nca_file = \"x\"\n".to_owned(), "smtp.ca_file", "security"),
            (format!("{HOOK}tennant = \"acme\"\n"), "contacts[0].tennant", "did you mean \"tenant\"?"),
        ];
        for (text, key, mend) in table {
            let found = problems(&text);
            let named =
                found.len() == 1 && found[0].contains(&format!(": {key}: ")) && found[0].contains(mend);
            assert!(named, "{text}\n{key} {mend}\n{found:?}");
        }
    }

    #[test]
    fn a_server_on_this_machine_may_be_spoken_to_in_clear() {
        let here = read("[smtp]\nhost = \"127.0.0.1\"\nsecurity = \"none\"\nfrom = \"noc@guard.example\"\n");
        assert_eq!(here.smtp().map(|smtp| (smtp.port(), smtp.security())), Some((25, SmtpSecurity::None)));
        let local = HOOK.replace("https://hooks.example.org", "http://127.0.0.1:9000");
        assert_eq!(read(&local).contacts().len(), 1);
    }

    #[test]
    fn only_so_many_are_taken() {
        let many: String = (0..=MAX_CONTACTS)
            .map(|n| format!("[[contacts]]\nname = \"c{n}\"\nwebhook = \"https://x/\"\ncredential = \"c\"\n"))
            .collect();
        assert!(problems(&many)[0].contains("at most 1000 contacts"));
        let steps = "[[escalation]]\nafter = \"5m\"\nto = [\"duty-manager\"]\n".repeat(MAX_STEPS + 1);
        assert!(problems(&format!("{HOOK}{steps}"))[0].contains("at most 3000 steps"));
        let to = vec!["\"duty-manager\""; MAX_TOLD + 1].join(", ");
        let found = problems(&format!("{HOOK}[[escalation]]\nafter = \"5m\"\nto = [{to}]\n"));
        assert!(found[0].contains("1 to 20 names"), "{found:?}");
    }
}
