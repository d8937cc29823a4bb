//! `vigil check` over real folders: everything that a configuration leans on, at once.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its folder up has failed")]

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use vigil_config::{Environment, check, check_noc, check_together, load_agent, load_site};

const SITE: &str = "[site]\nid = \"plant-7\"\nname = \"Plant 7\"\ntenant = \"acme\"\nclient = \"north\"\n\
                    timezone = \"Asia/Kolkata\"\n[[checkpoints]]\nid = \"gate\"\n[[devices]]\nid = \"r\"\n\
                    kind = \"reader\"\ncheckpoint = \"gate\"\n";

fn secret(base: &Path, name: &str, mode: u32) {
    fs::create_dir_all(base.join("credentials")).unwrap();
    let path = base.join("credentials").join(name);
    fs::write(&path, "s3cret\n").unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn problems(base: &Path, agent: &str, site: &str) -> Vec<String> {
    fs::write(base.join("agent.toml"), agent).unwrap();
    fs::write(base.join("site.toml"), site).unwrap();
    match check(&base.join("agent.toml"), &Environment::default()) {
        Ok(_) => vec![],
        Err(found) => found
            .as_slice()
            .iter()
            .map(|p| p.to_string().replace(&format!("{}/", base.display()), ""))
            .collect(),
    }
}

fn agent(page: &str) -> String {
    format!(
        "[agent]\ngateway = \"gw-1\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\npassword_file = \"mqtt.passwd\"\n\
         [http]\nlisten = \"{page}\"\n[uplink]\nurl = \"https://noc.example.org/v1\"\n\
         credential = \"noc-token\"\n[[serial]]\ndevice = \"r\"\nport = \"ttyUSB0\"\nprotocol = \"lines\"\n"
    )
}

#[test]
fn what_would_start_passes_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    secret(folder.path(), "noc-token", 0o600);
    fs::write(folder.path().join("mqtt.passwd"), "").unwrap();
    assert_eq!(problems(folder.path(), &agent("127.0.0.1:0"), SITE), Vec::<String>::new());
    let mut left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["agent.toml", "credentials", "mqtt.passwd", "site.toml"]);
}

#[test]
fn everything_that_is_missing_is_named_at_once_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    secret(folder.path(), "noc-token", 0o644);
    fs::write(folder.path().join("data"), "in the way").unwrap();
    let site = format!("{SITE}sun_key = 3\n[policy.inactivity]\nwindow = \"121m\"\n");
    let found = problems(folder.path(), &agent("192.0.2.1:8080"), &site);
    let starts: Vec<_> = found.iter().map(|p| p.split(": found").next().unwrap()).collect();
    assert_eq!(
        starts,
        [
            "agent.toml:1: agent.data_dir",
            "agent.toml:5: mqtt.password_file",
            "agent.toml:7: http.listen",
            "agent.toml:10: uplink.credential",
            "site.toml:13: devices[0].sun_key: unknown key; known here: checkpoint, fixes, guard, id, kind, owntracks, topic",
            "site.toml:15: policy.inactivity.window",
        ]
    );
    assert!(found[3].contains("chmod 0600"), "{}", found[3]);
}

#[test]
fn an_address_in_use_is_no_mistake_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    secret(folder.path(), "noc-token", 0o600);
    fs::write(folder.path().join("mqtt.passwd"), "").unwrap();
    // As by the agent that runs, whose configuration is checked.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let page = taken.local_addr().unwrap().to_string();
    assert_eq!(problems(folder.path(), &agent(&page), SITE), Vec::<String>::new());
    let checked = check(&folder.path().join("agent.toml"), &Environment::default()).unwrap();
    let told: Vec<_> = checked.doubts.iter().map(ToString::to_string).collect();
    let doubt = format!("agent.toml:7: http.listen: {page} is in use");
    assert!(told.iter().any(|told| told.contains(&doubt)), "{told:?}");
}

#[test]
fn a_key_in_doubt_is_told_once_and_the_site_is_read_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let found = problems(
        folder.path(),
        "[agent]\ngateway = 3\n[mqtt]\npassword_file = 4\nlisten = \"x\"\n[http]\nlisten = \"127.0.0.1:0\"\n",
        "[site]\n",
    );
    let agent = found.iter().filter(|p| p.starts_with("agent.toml")).count();
    let site = found.iter().filter(|p| p.starts_with("site.toml")).count();
    assert_eq!((agent, site), (3, 5), "{found:#?}");
}

#[test]
fn rolling_code_keys_are_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    secret(folder.path(), "noc-token", 0o600);
    fs::write(folder.path().join("mqtt.passwd"), "").unwrap();
    let site = SITE.replace("id = \"gate\"\n", "id = \"gate\"\nsun_key = \"gate-sun\"\n");
    let found = problems(folder.path(), &agent("127.0.0.1:0"), &site);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("site.toml:9: checkpoints[0].sun_key"), "{found:?}");
}

#[test]
fn serial_lines_lead_to_devices_of_the_right_kind() {
    let folder = tempfile::tempdir().unwrap();
    let (agent_toml, site_toml) = (folder.path().join("agent.toml"), folder.path().join("site.toml"));
    fs::write(&agent_toml, agent("127.0.0.1:0").replace("\"lines\"", "\"nmea\"")).unwrap();
    fs::write(&site_toml, SITE).unwrap();
    let (nmea, site) = (load_agent(&agent_toml).unwrap(), load_site(&site_toml).unwrap());
    let found = check_together(&nmea, &site).unwrap_err().to_string();
    assert!(
        found.ends_with(
            "agent.toml:12: serial[0].device: found \"r\", allowed: a device of kind gps, which speaks nmea"
        ),
        "{found}"
    );
    fs::write(&agent_toml, agent("127.0.0.1:0").replace("\"r\"", "\"q\"")).unwrap();
    let found = check_together(&load_agent(&agent_toml).unwrap(), &site).unwrap_err().to_string();
    assert!(found.ends_with("found \"q\", allowed: the id of a device of site plant-7"), "{found}");
}

#[test]
fn a_file_that_is_not_there_or_too_large_is_said_in_plain_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.toml");
    assert!(load_site(&path).unwrap_err().to_string().contains("cannot be read"));
    fs::write(&path, vec![b'#'; 1024 * 1024 + 1]).unwrap();
    assert!(load_site(&path).unwrap_err().to_string().contains("larger than 1 MiB"));
}

#[test]
fn a_receiver_needs_the_tokens_of_its_gateways() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("noc.toml");
    let text = "[noc]\ntls = false\nlisten = \"127.0.0.1:0\"\noperator_listen = \"127.0.0.1:0\"\n[[gateways]]\n\
                id = \"gw-1\"\ntenant = \"acme\"\nsite = \"plant-7\"\ncredential = \"gw-1-token\"\n";
    fs::write(&path, text).unwrap();
    let found = check_noc(&path, &Environment::default()).unwrap_err();
    assert!(found.to_string().contains("noc.toml:9: gateways[0].credential"), "{found}");
    secret(folder.path(), "gw-1-token", 0o400);
    assert!(check_noc(&path, &Environment::default()).is_ok());
    let told = "[[contacts]]\nname = \"duty\"\nwebhook = \"https://x/\"\ncredential = \"hook\"\n[smtp]\nhost = \"localhost\"\n\
                from = \"a@b.example\"\nusername = \"u\"\ncredential = \"smtp\"\nca_file = \"ca.pem\"\n";
    fs::write(&path, format!("{text}{told}")).unwrap();
    let found = check_noc(&path, &Environment::default()).unwrap_err();
    let keys: Vec<&str> = found.as_slice().iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["contacts[0].credential", "smtp.credential", "smtp.ca_file"], "{found}");
    ["hook", "smtp"].into_iter().for_each(|name| secret(folder.path(), name, 0o400));
    fs::write(folder.path().join("ca.pem"), "").unwrap();
    let (_, doubts) = check_noc(&path, &Environment::default()).unwrap();
    let never = doubts.iter().filter(|doubt| doubt.to_string().contains("contacts[0].name: no step"));
    assert_eq!(never.count(), 1, "{doubts:?}");
}

#[test]
fn what_is_allowed_and_looks_like_a_mistake_is_noted_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    secret(folder.path(), "noc-token", 0o600);
    fs::write(folder.path().join("mqtt.passwd"), "").unwrap();
    let site = format!(
        "{SITE}[[tours]]\nid = \"t\"\ncheckpoints = [\"gate\"]\nduration = \"40m\"\nstart = [\"22:00\",\n\"22:00\"]\n"
    );
    fs::write(
        folder.path().join("agent.toml"),
        agent("127.0.0.1:0").replace("127.0.0.1:0\"\n[uplink]", "0.0.0.0:0\"\n[uplink]"),
    )
    .unwrap();
    fs::write(folder.path().join("site.toml"), site).unwrap();
    let checked = check(&folder.path().join("agent.toml"), &Environment::default()).unwrap();
    let told: Vec<String> = checked
        .doubts
        .iter()
        .map(|doubt| doubt.to_string().replace(&format!("{}/", folder.path().display()), ""))
        .collect();
    let starts = [
        "agent.toml:7: http.listen: the page shows",
        "agent.toml:10: uplink.credential: this secret can be guessed",
        "site.toml:18: tours[0].start[1]: 22:00 stands there twice",
    ];
    assert_eq!(told.len(), starts.len(), "{told:#?}");
    assert!(starts.iter().zip(&told).all(|(start, told)| told.starts_with(start)), "{told:#?}");
}
