//! The box that the configuration is for: its ports, its folders, its clock, its disk, its certificates. Each finding has its
//! mend; none of them keeps an agent from starting.

use crate::clock::Clock;
use crate::sources::serial;
use crate::store::room::{BALLAST_BYTES, Room};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use vigil_config::{AgentConfig, Mode, SerialLine};
use vigil_core::time::{Span, Timestamp};

/// Where udev keeps the names of ports that stay, whichever was plugged in first.
const BY_ID: &str = "/dev/serial/by-id";
/// A certificate that ends sooner is worth a word: a month is what it takes to have a new one made and brought to a site.
const SOON: Span = Span::from_hours(30 * 24);

/// What was found of one thing.
#[derive(Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is as it should be.
    Well(String),
    /// It is not, with what mends it.
    Amiss(String),
}

impl Finding {
    pub(super) fn well(what: impl Display) -> Self {
        Self::Well(what.to_string())
    }
    pub(super) fn amiss(what: impl Display) -> Self {
        Self::Amiss(what.to_string())
    }
}

/// Everything about the box.
pub fn findings(agent: &AgentConfig) -> Vec<Finding> {
    let clock = Clock::wall();
    let mut all = ports(agent.serial());
    all.extend(openness(agent));
    all.push(time(&clock));
    all.extend(room(agent));
    all.extend(super::wear::finding(agent.data_dir()));
    all.extend(certificates(agent).iter().map(|file| of_certificate(file, clock.now())));
    all
}

fn ports(lines: &[SerialLine]) -> Vec<Finding> {
    let mut readers: BTreeMap<PathBuf, Vec<&SerialLine>> = BTreeMap::new();
    let mut all = Vec::new();
    for line in lines {
        all.push(port(line));
        if let Ok(real) = fs::canonicalize(line.port()) {
            readers.entry(real).or_default().push(line);
        }
    }
    let shared = readers.iter().filter(|(_, lines)| lines.len() > 1);
    all.extend(shared.map(|(real, lines)| twice(real, lines)));
    all
}

fn port(line: &SerialLine) -> Finding {
    let (device, named) = (line.device(), line.port());
    if let Err(why) = serial::look(named) {
        return Finding::amiss(format_args!("serial line {device}: {why}; the agent tries on and on"));
    }
    match (fs::canonicalize(named), lasting_name(named, Path::new(BY_ID))) {
        (_, Some(lasting)) => Finding::amiss(format_args!(
            "serial line {device}: {} is whichever adapter was plugged in first; write port = \"{}\"",
            named.display(),
            lasting.display()
        )),
        (Ok(real), None) if real != named => {
            Finding::well(format_args!("serial line {device}: {} is {}", named.display(), real.display()))
        }
        (Ok(_) | Err(_), None) => Finding::well(format_args!("serial line {device}: {}", named.display())),
    }
}

/// The name that stays of a port that is named by its number, if the system has given it one.
fn lasting_name(named: &Path, by_id: &Path) -> Option<PathBuf> {
    if named.parent() != Some(Path::new("/dev")) {
        return None;
    }
    let real = fs::canonicalize(named).ok()?;
    let mut names = fs::read_dir(by_id).ok()?.flatten().map(|entry| entry.path());
    names.find(|name| fs::canonicalize(name).is_ok_and(|of| of == real))
}

fn twice(real: &Path, lines: &[&SerialLine]) -> Finding {
    let named = |line: &&SerialLine| format!("{} ({})", line.device(), line.port().display());
    let named: Vec<String> = lines.iter().map(named).collect();
    Finding::amiss(format_args!(
        "serial lines {} are one port, {}; a port has one reader, so name another for all but one",
        named.join(" and "),
        real.display()
    ))
}

/// What others on the box can read that they have no business with.
fn openness(agent: &AgentConfig) -> Vec<Finding> {
    let credentials = agent.base().join("credentials");
    let mut all = vec![
        of_mode(agent.data_dir(), "the data folder", 0o077, "0700"),
        of_mode(&credentials, "the folder of credentials", 0o077, "0700"),
    ];
    let key = match agent.mqtt() {
        Mode::Embedded(broker) => {
            let passwords = broker.password_file();
            all.push(passwords.and_then(|file| of_mode(file, "the password file", 0o007, "0640")));
            broker.tls().map(|tls| tls.key())
        }
        Mode::External(broker) => broker.client_certificate().map(|shown| shown.key()),
    };
    let of_uplink = agent.uplink().and_then(|uplink| uplink.client_certificate()).map(|shown| shown.key());
    let keys = key.into_iter().chain(of_uplink);
    all.extend(keys.map(|key| of_mode(key, "a private key", 0o007, "0640")));
    all.into_iter().flatten().collect()
}

/// Nothing of what is not there yet, or cannot be seen.
fn of_mode(path: &Path, what: &str, others: u32, right: &str) -> Option<Finding> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    let shown = path.display();
    Some(if mode & others == 0 {
        Finding::well(format_args!("{what} {shown} is closed to others"))
    } else {
        Finding::amiss(format_args!("{what} {shown} has mode {mode:04o}; run: chmod {right} {shown}"))
    })
}

fn time(clock: &Clock) -> Finding {
    // It is looked at as a start would look at it, and kept by nobody.
    let _keeper = clock.keep(None, None);
    let battery = match clock.goes_on_without_power() {
        true => "",
        false => {
            "; this box has no clock that goes on without power, and waits up to ten minutes for a better one at a start"
        }
    };
    match clock.view().state {
        "ntp" => Finding::well(format_args!("the clock is kept by NTP{battery}")),
        "unset" => Finding::amiss(format_args!(
            "the clock shows {}, which cannot be; run: timedatectl set-ntp true{battery}",
            clock.now()
        )),
        _ => Finding::amiss(format_args!(
            "nobody vouches for the clock ({} is plausible); run: timedatectl set-ntp true, or let whatever keeps it touch \
             /run/vigil/clock-synchronized{battery}",
            clock.now()
        )),
    }
}

fn room(agent: &AgentConfig) -> Option<Finding> {
    let room = Room::under(agent.data_dir())?;
    let there = super::wear::size_of(&agent.data_dir().join("db"));
    let most = agent.store().max_bytes();
    Some(of_room(room, most.saturating_sub(there), most))
}

/// `grows` is what the store may still take.
fn of_room(room: Room, grows: u64, most: u64) -> Finding {
    let needed = grows + room.floor() + BALLAST_BYTES;
    let mib = |bytes: u64| bytes >> 20;
    let (free, total) = (mib(room.free), mib(room.total));
    if room.free >= needed {
        return Finding::well(format_args!(
            "the disk has {free} of {total} MiB free, and the store may grow by {}",
            mib(grows)
        ));
    }
    Finding::amiss(format_args!(
        "the disk has {free} of {total} MiB free, and the store of {} MiB needs {} more; make room, or lower [store] max_size",
        mib(most),
        mib(needed - room.free)
    ))
}

/// The certificates that end some day.
fn certificates(agent: &AgentConfig) -> Vec<&Path> {
    let mut files = Vec::new();
    match agent.mqtt() {
        Mode::Embedded(broker) => {
            files.extend(broker.tls().map(|tls| tls.cert()));
            files.extend(broker.tls().and_then(|tls| tls.client_ca()));
        }
        Mode::External(broker) => {
            files.extend(broker.client_certificate().map(|shown| shown.cert()));
            files.extend(broker.ca_file());
        }
    }
    if let Some(uplink) = agent.uplink() {
        files.extend(uplink.client_certificate().map(|shown| shown.cert()));
        files.extend(uplink.ca_file());
    }
    files
}

fn of_certificate(file: &Path, now: Timestamp) -> Finding {
    let shown = file.display();
    let Some(ends) = fs::read(file).ok().and_then(|pem| first_end(&pem)) else {
        return Finding::amiss(format_args!(
            "{shown} holds no certificate that can be read; put one there in PEM form"
        ));
    };
    let left = ends.since(now);
    let days = left.millis() / Span::from_hours(24).millis();
    if left < Span::default() {
        Finding::amiss(format_args!(
            "the certificate {shown} ended at {ends}; have a new one made, or set the clock"
        ))
    } else if left < SOON {
        Finding::amiss(format_args!(
            "the certificate {shown} ends in {days} days, at {ends}; have a new one made"
        ))
    } else {
        Finding::well(format_args!("the certificate {shown} is good for {days} days"))
    }
}

/// When the first of the certificates in a file ends.
fn first_end(pem: &[u8]) -> Option<Timestamp> {
    let ends =
        CertificateDer::pem_slice_iter(pem).map(|certificate| super::validity::end(&certificate.ok()?));
    ends.collect::<Option<Vec<_>>>()?.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn agent(folder: &Path, more: &str) -> AgentConfig {
        let text = format!("[agent]\ngateway = \"gw-1\"\n[mqtt]\npassword_file = \"mqtt.passwd\"\n{more}");
        vigil_config::parse_agent(&folder.join("agent.toml"), text.as_bytes()).unwrap()
    }

    fn serial(device: &str, port: &Path) -> String {
        format!("[[serial]]\ndevice = \"{device}\"\nport = \"{}\"\nprotocol = \"lines\"\n", port.display())
    }

    fn amiss(findings: &[Finding]) -> Vec<&str> {
        let told = findings.iter().map(|finding| match finding {
            Finding::Amiss(what) => Some(what.as_str()),
            Finding::Well(_) => None,
        });
        told.flatten().collect()
    }

    #[test]
    fn a_port_that_is_named_twice_is_told_whatever_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let by_name = folder.path().join("reader");
        symlink("/dev/tty", &by_name).unwrap();
        let one = [serial("r-1", Path::new("/dev/tty")), serial("r-2", Path::new("/dev/ptmx"))].concat();
        assert_eq!(amiss(&ports(agent(folder.path(), &one).serial())), Vec::<&str>::new());
        let both = [serial("r-1", Path::new("/dev/tty")), serial("r-2", &by_name)].concat();
        let found = ports(agent(folder.path(), &both).serial());
        let [told] = amiss(&found)[..] else { panic!("{found:?}") };
        assert!(told.contains("r-1 (/dev/tty) and r-2") && told.contains("are one port, /dev/tty"), "{told}");
        assert_eq!(
            found[1],
            Finding::well(format_args!("serial line r-2: {} is /dev/tty", by_name.display()))
        );
    }

    #[test]
    fn a_port_that_is_not_there_is_told_and_a_number_gives_way_to_the_name_that_stays() {
        let folder = tempfile::tempdir().unwrap();
        let absent = serial("r-1", &folder.path().join("ttyUSB0"));
        let found = ports(agent(folder.path(), &absent).serial());
        assert!(amiss(&found)[0].contains("is not there; plug it in"), "{found:?}");
        let named = folder.path().join("usb-FTDI_1-if00-port0");
        symlink("/dev/tty", &named).unwrap();
        assert_eq!(lasting_name(Path::new("/dev/tty"), folder.path()), Some(named.clone()));
        assert_eq!(lasting_name(&named, folder.path()), None, "it is that name");
        assert_eq!(lasting_name(Path::new("/dev/ptmx"), folder.path()), None);
    }

    #[test]
    fn what_others_can_read_is_told_with_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mqtt.passwd");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let found = openness(&agent(folder.path(), ""));
        let mend = format!("chmod 0640 {}", file.display());
        assert!(amiss(&found).len() == 1 && amiss(&found)[0].ends_with(&mend), "{found:?}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(amiss(&openness(&agent(folder.path(), ""))).is_empty());
    }

    #[test]
    fn room_is_what_the_store_may_become_and_what_is_to_stay_free() {
        let mib = 1 << 20;
        let of = |free: u64, grows: u64| {
            of_room(Room { free: free * mib, total: 1_000 * mib }, grows * mib, 256 * mib)
        };
        // A twentieth of the disk and the ballast stay free.
        assert!(matches!(of(256 + 50 + 8, 256), Finding::Well(_)));
        let Finding::Amiss(told) = of(256 + 50 + 7, 256) else { panic!("too little room") };
        assert!(told.contains("needs 1 more") && told.contains("max_size"), "{told}");
        assert!(matches!(of(50 + 8, 0), Finding::Well(_)), "a store that is as large as it may be");
    }

    #[test]
    fn a_certificate_is_told_a_month_before_its_end_and_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("noc-ca.pem");
        let mut asked = rcgen::CertificateParams::new(vec!["noc".to_owned()]).unwrap();
        asked.not_after = rcgen::date_time_ymd(2026, 12, 31);
        let key = rcgen::KeyPair::generate().unwrap();
        fs::write(&file, asked.self_signed(&key).unwrap().pem()).unwrap();
        let at = |text: &str| of_certificate(&file, Timestamp::parse(text).unwrap());
        assert!(
            matches!(at("2026-11-30T00:00:00Z"), Finding::Well(told) if told.ends_with("is good for 31 days"))
        );
        assert!(
            matches!(at("2026-12-02T00:00:00Z"), Finding::Amiss(told) if told.contains("ends in 29 days"))
        );
        assert!(
            matches!(at("2027-01-01T00:00:00Z"), Finding::Amiss(told) if told.contains("ended at 2026-12-31"))
        );
        fs::write(&file, "nothing").unwrap();
        assert!(
            matches!(at("2026-12-02T00:00:00Z"), Finding::Amiss(told) if told.contains("no certificate"))
        );
    }
}
