//! Whoever sets contacts up: `vigil check --noc` and `vigil noc tell`, against a webhook that is there, that refuses, or that is not.

// All of it is test code: a failed unwrap is a failed test.
#![cfg(test)]

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::JoinHandle;
use vigil_tests::house::{Ended, vigil};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn written(folder: &Path, port: u16, secret: &str) {
    let text = format!(
        "[noc]\ntls = false\nlisten = \"127.0.0.1:0\"\noperator_listen = \"127.0.0.1:0\"\n[[gateways]]\nid = \"gw-1\"\ntenant = \"acme\"\n\
         site = \"plant-7\"\ncredential = \"gw-1\"\n[[contacts]]\nname = \"duty\"\nwebhook = \"http://127.0.0.1:{port}/hook\"\n\
         credential = \"hook\"\n[[escalation]]\nafter = \"5m\"\nto = [\"duty\"]\n"
    );
    std::fs::write(folder.join("noc.toml"), text).unwrap();
    std::fs::create_dir_all(folder.join("credentials")).unwrap();
    for (name, secret) in [("gw-1", "a token that nobody guesses"), ("hook", secret)] {
        let path = folder.join("credentials").join(name);
        std::fs::write(&path, secret).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn run(folder: &Path, arguments: &[&str]) -> Ended {
    let config = folder.join("noc.toml");
    let mut all: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    all.push(config.as_os_str());
    vigil(&all)
}

/// A webhook that answers once, and gives what it was sent.
fn hook(answer: &'static str) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let taking = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut came, mut piece) = (String::new(), [0; 4_096]);
        while !came.ends_with("}}") {
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "{came}");
            came.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        }
        stream.write_all(answer.as_bytes()).unwrap();
        came
    });
    (port, taking)
}

#[test]
fn a_contact_is_tried_out_and_what_came_of_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (port, taking) = hook("HTTP/1.1 204 No Content\r\n\r\n");
    written(folder.path(), port, SECRET);
    let told = run(folder.path(), &["noc", "tell", "duty", "--config"]);
    assert_eq!(
        (told.code, told.out.as_str()),
        (Some(0), "duty was sent a test, and it was taken (204).\n"),
        "{told:?}"
    );
    let came = taking.join().unwrap();
    assert!(came.contains("webhook-signature: v1,") && came.contains("\"type\":\"alert.test\""), "{came}");

    let (port, taking) = hook("HTTP/1.1 410 Gone\r\ncontent-length: 8\r\n\r\nwe moved");
    written(folder.path(), port, SECRET);
    let refused = run(folder.path(), &["noc", "tell", "duty", "--config"]);
    taking.join().unwrap();
    assert!(
        refused.code == Some(1) && refused.err.contains("duty refused a test (410): we moved"),
        "{refused:?}"
    );

    // Nobody listens there any more.
    let nobody = run(folder.path(), &["noc", "tell", "duty", "--config"]);
    assert!(nobody.code == Some(1) && nobody.err.contains("duty could not be told"), "{nobody:?}");
    let unknown = run(folder.path(), &["noc", "tell", "boss", "--config"]);
    assert!(unknown.code == Some(2) && unknown.err.contains("noc.toml knows: duty."), "{unknown:?}");
}

#[test]
fn check_says_what_is_wrong_with_contacts_before_somebody_needs_them() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 9, SECRET);
    let well = run(folder.path(), &["check", "--noc"]);
    let said = "ok: a receiver of 1 gateways, 1 contacts and 1 steps of escalation\n";
    assert_eq!((well.code, well.out.as_str()), (Some(0), said), "{well:?}");
    written(folder.path(), 9, "not a secret of a webhook");
    let wrong = run(folder.path(), &["check", "--noc"]);
    assert!(
        wrong.code == Some(2) && wrong.err.contains("the credential of the contact duty: it is no secret"),
        "{wrong:?}"
    );
    assert!(!wrong.err.contains("not a secret of a webhook"), "{wrong:?}");
    std::fs::remove_file(folder.path().join("credentials/hook")).unwrap();
    let gone = run(folder.path(), &["check", "--noc"]);
    assert!(gone.code == Some(2) && gone.err.contains("noc.toml:13: contacts[0].credential"), "{gone:?}");
}
