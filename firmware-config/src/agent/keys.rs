//! Every key of `agent.toml` in words, for `vigil config explain`. A test holds it to the reader, key by key.

/// One key.
pub(crate) struct Key {
    /// Its path, without indexes.
    pub(crate) path: &'static str,
    /// What holds without it, as JSON; `None` if nothing does.
    pub(crate) default: Option<&'static str>,
    /// What is allowed.
    pub(crate) allowed: &'static str,
    /// What it means, in one sentence.
    pub(crate) means: &'static str,
}

const fn key(
    path: &'static str,
    default: Option<&'static str>,
    allowed: &'static str,
    means: &'static str,
) -> Key {
    Key { path, default, allowed, means }
}

const ID: &str = "an id of 1 to 64 characters of A-Z a-z 0-9 . _ -";
const PATH: &str = "a path";
const LISTEN: &str = "an address with a port, like \"127.0.0.1:1883\"";
const CREDENTIAL: &str = "the name of a credential: 1 to 64 characters of A-Z a-z 0-9 . _ -, no leading dot";

/// Every key, in the order of the file.
pub(crate) const KEYS: &[Key] = &[
    key("agent.gateway", None, ID, "Which gateway this is."),
    key("agent.data_dir", Some("\"data\""), PATH, "The folder of the store, relative to this file."),
    key(
        "agent.site",
        Some("\"site.toml\""),
        PATH,
        "The first site file, relative to this file; a signed bundle from the NOC replaces it.",
    ),
    key(
        "mqtt.mode",
        Some("\"embedded\""),
        "\"embedded\" or \"external\"",
        "Whether the agent is the broker or the client of another one.",
    ),
    key(
        "mqtt.listen",
        Some("\"127.0.0.1:1883\""),
        LISTEN,
        "Where the embedded broker listens without TLS; port 0 picks a free one.",
    ),
    key("mqtt.tls_listen", None, LISTEN, "Where the embedded broker listens with TLS."),
    key("mqtt.tls_cert", None, PATH, "The certificate chain of the embedded broker (PEM)."),
    key("mqtt.tls_key", None, PATH, "The key of that certificate (PEM)."),
    key(
        "mqtt.client_ca",
        None,
        PATH,
        "The authority (PEM) whose certificate every client of the embedded broker has to show.",
    ),
    key(
        "mqtt.password_file",
        None,
        PATH,
        "Names and password hashes of the devices, as mosquitto_passwd makes them.",
    ),
    key(
        "mqtt.allow_anonymous",
        Some("false"),
        "true or false",
        "Whether the embedded broker lets in clients without a name, which can then speak for any device.",
    ),
    key(
        "mqtt.url",
        None,
        "mqtts://host:port or mqtt://host:port; name and password have their own keys",
        "Where the external broker is.",
    ),
    key(
        "mqtt.username",
        None,
        "a text of 1 to 200 characters",
        "The name to log in with at the external broker.",
    ),
    key(
        "mqtt.credential",
        None,
        CREDENTIAL,
        "The credential that holds the password of the external broker.",
    ),
    key(
        "mqtt.ca_file",
        None,
        PATH,
        "The authority (PEM) of the external broker's certificate; without it those of the system.",
    ),
    key(
        "mqtt.client_cert",
        None,
        PATH,
        "The certificate chain (PEM) that the agent shows to the external broker.",
    ),
    key("mqtt.client_key", None, PATH, "The key of that certificate (PEM)."),
    key("serial.device", None, ID, "Which device of the site file hangs on the line."),
    key("serial.port", None, PATH, "The serial port; a name without a slash at its front is below /dev."),
    key(
        "serial.protocol",
        None,
        "\"rdm6300\" or \"pn532\" or \"lines\" or \"nmea\"",
        "What is spoken on the line.",
    ),
    key(
        "serial.baud",
        None,
        "a whole number from 1200 to 921600",
        "Bits a second; without it 115200 for pn532 and 9600 for the others.",
    ),
    key(
        "uplink.url",
        None,
        "https://host/path (http:// only to this machine); a token has its own key",
        "Where alerts, tours and reports go.",
    ),
    key(
        "uplink.format",
        Some("\"cloudevents\""),
        "\"cloudevents\" or \"alertmanager\"",
        "What the receiver understands; an Alertmanager takes alerts only: tours, reports and health go nowhere.",
    ),
    key(
        "uplink.credential",
        None,
        CREDENTIAL,
        "The credential that holds the bearer token for the receiver.",
    ),
    key(
        "uplink.ca_file",
        None,
        PATH,
        "The authority (PEM) of the receiver's certificate; without it those of the system.",
    ),
    key(
        "uplink.client_cert",
        None,
        PATH,
        "The certificate chain (PEM) that the agent shows to the receiver.",
    ),
    key("uplink.client_key", None, PATH, "The key of that certificate (PEM)."),
    key(
        "uplink.heartbeat",
        Some("\"30s\""),
        "a duration from \"5s\" to \"1h\"",
        "How often the agent says that it is well.",
    ),
    key(
        "uplink.bundle_keys",
        None,
        "a list of 1 to 8 public keys, each as base64 or hex, or the path of a file that holds one",
        "Whose signed site bundles are taken; without it, none is.",
    ),
    key(
        "uplink.bundle_probation",
        Some("\"5m\""),
        "a duration from \"5s\" to \"1h\"",
        "How long the agent has to stay healthy with a new bundle, or it goes back to what it had before.",
    ),
    key(
        "http.listen",
        Some("\"127.0.0.1:8080\""),
        LISTEN,
        "Where status page, local API, /metrics and /healthz are served.",
    ),
    key(
        "store.retention",
        Some("\"72h\""),
        "a duration from \"1h\" to \"9600h\"",
        "How long raw observations are kept; alerts, runs and reports are kept 400 days.",
    ),
    key(
        "store.max_size",
        Some("\"256MiB\""),
        "a size in KiB, MiB or GiB from \"16MiB\" to \"1024GiB\"",
        "How large the store may become before the oldest observations go before their time.",
    ),
    key(
        "store.credential",
        None,
        CREDENTIAL,
        "The credential that holds the master key of the store; without it, whoever has the disk can read what is kept.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::draft;
    use crate::problem::Fault;
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    const EMBEDDED: &str = "mqtt.password_file = \"p\"\n";
    const WITH_TLS: &str = "mqtt.password_file = \"p\"\nmqtt.tls_listen = \"0.0.0.0:8883\"\nmqtt.tls_cert = \"c\"\n\
                            mqtt.tls_key = \"k\"\n";
    const EXTERNAL: &str = "mqtt.mode = \"external\"\nmqtt.url = \"mqtts://b:8883\"\n";
    const REST: &str = "agent.gateway = \"g\"\nuplink.url = \"https://n/v1\"\nuplink.credential = \"c\"\n\
                        store.credential = \"k\"\n[[serial]]\ndevice = \"d\"\nport = \"p\"\nprotocol = \"lines\"\n";

    /// A file in which the key stands with what nobody can want.
    fn spoilt(base: &str, path: &str) -> String {
        let (table, name) = path.split_once('.').unwrap();
        let lines = |text: &str| -> String {
            text.lines().filter(|l| !l.starts_with(&format!("{path} ="))).map(|l| format!("{l}\n")).collect()
        };
        match table {
            "serial" => {
                let (above, below) = REST.split_once("[[serial]]").unwrap();
                let below: String =
                    below.lines().filter(|l| !l.starts_with(name)).map(|l| format!("{l}\n")).collect();
                format!("{base}{above}[[serial]]{below}{name} = []\n")
            }
            _ => format!("{path} = []\n{}{}", lines(base), lines(REST)),
        }
    }

    #[test]
    fn every_key_is_told_as_the_reader_has_it() {
        for Key { path, allowed, means, .. } in KEYS {
            let told = |base: &str| {
                let (sheet, _) = draft(Path::new("agent.toml"), spoilt(base, path).as_bytes());
                let at = path.replacen("serial.", "serial[0].", 1);
                let found = sheet.into_problems();
                found.into_iter().find(|p| p.key == at).and_then(|p| match p.fault {
                    Fault::NotAllowed { allowed, .. } => Some(allowed),
                    Fault::UnknownKey { .. }
                    | Fault::Syntax { .. }
                    | Fault::Unreadable(_)
                    | Fault::Doubtful(_) => None,
                })
            };
            let told = [EMBEDDED, WITH_TLS, EXTERNAL].map(told);
            assert!(told.contains(&Some((*allowed).to_owned())), "{path}: {told:?}");
            assert!(means.ends_with('.') && !means.trim_end_matches('.').contains(". "), "{path}");
        }
    }

    #[test]
    fn no_key_of_the_reader_is_left_out() {
        let mut read = BTreeSet::new();
        for base in [EMBEDDED, EXTERNAL] {
            let (sheet, _) = draft(Path::new("agent.toml"), format!("{base}{REST}").as_bytes());
            read.extend(sheet.every_known_path().into_iter().filter(|(table, _)| !table.is_empty()));
        }
        let read: Vec<String> = read.into_iter().map(|(table, key)| format!("{table}.{key}")).collect();
        let mut told: Vec<&str> = KEYS.iter().map(|key| key.path).collect();
        told.sort_unstable();
        assert_eq!(read, told);
    }

    #[test]
    fn every_default_is_that_of_the_example() {
        let example = include_str!("../../examples/agent.toml");
        let mut table = "";
        let mut written = BTreeMap::new();
        for line in example.lines() {
            if let Some((name, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                table = name;
            }
            let default = line.strip_prefix('#').filter(|l| l.starts_with(|c: char| c.is_ascii_lowercase()));
            if let Some((key, value)) = default.and_then(|line| line.split_once(" = ")) {
                written.insert(format!("{table}.{key}"), value);
            }
        }
        let told: BTreeMap<_, _> =
            KEYS.iter().filter_map(|k| Some((k.path.to_owned(), k.default?))).collect();
        assert_eq!(told, written);
    }
}
