//! Bundles are sealed and opened, altered in every place, and signed by others.

use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;

const TREE: &str = r#"{"site":{"id":"plant-7","tenant":"acme","name":"Pl\u00e4nt \"7\""},"policy":{}}"#;

fn signer() -> Signer {
    Signer::read(Signer::generate().unwrap().as_bytes()).unwrap()
}

fn label(version: u64) -> Label {
    Label {
        site: SiteId::new("plant-7").unwrap(),
        tenant: TenantId::new("acme").unwrap(),
        version,
        made_at: Timestamp::parse("2026-11-28T01:00:00Z").unwrap(),
        by: "Asha Rao".into(),
    }
}

fn trusted(signers: &[&Signer]) -> Trusted {
    Trusted::new(signers.iter().map(|signer| signer.public().clone()).collect())
}

/// A bundle and who trusts it; made once, because a signature takes its time in a debug build.
static SEALED: LazyLock<(Vec<u8>, Trusted)> = LazyLock::new(|| {
    let signer = signer();
    (seal(&signer, &label(7), TREE).unwrap(), trusted(&[&signer]))
});

#[test]
fn what_was_sealed_is_opened() {
    let (sealed, trusted) = &*SEALED;
    let Bundle { header, key, content } = open(sealed, trusted).unwrap();
    assert_eq!((header.version, header.by.as_str(), content.as_str()), (7, "Asha Rao", TREE));
    assert_eq!((header.site, header.tenant), (label(7).site, label(7).tenant));
    assert_eq!(unproved(sealed).unwrap().1, key);
    assert!(
        sealed.starts_with(b"VIGIL BUNDLE 1\n{\"site\":\"plant-7\","),
        "{}",
        String::from_utf8_lossy(sealed)
    );
}

#[test]
fn one_key_takes_the_place_of_another() {
    let (old, new, stranger) = (signer(), signer(), signer());
    let both = trusted(&[&old, &new]);
    for signer in [&old, &new] {
        assert_eq!(open(&seal(signer, &label(1), TREE).unwrap(), &both).unwrap().key, signer.public().id());
    }
    let foreign = seal(&stranger, &label(1), TREE).unwrap();
    let why = open(&foreign, &both).unwrap_err();
    assert_eq!(why, NotOpened::Stranger { signed_by: stranger.public().id(), known: both.to_string() });
    assert_eq!(open(&foreign, &Trusted::default()), Err(NotOpened::NoKeys));
    // Whoever names a trusted key without having it.
    let claimed = String::from_utf8(foreign)
        .unwrap()
        .replace(stranger.public().id().as_str(), old.public().id().as_str());
    assert_eq!(open(claimed.as_bytes(), &both), Err(NotOpened::Forged(old.public().id())));
}

#[test]
fn the_parts_of_two_bundles_make_no_third() {
    let signer = signer();
    let trusted = trusted(&[&signer]);
    let other = TREE.replace("{}", "{\"tours\":{}}");
    let [one, two] = [seal(&signer, &label(1), TREE), seal(&signer, &label(2), &other)]
        .map(|b| String::from_utf8(b.unwrap()).unwrap());
    let (one, two): (Vec<&str>, Vec<&str>) = (one.splitn(4, '\n').collect(), two.splitn(4, '\n').collect());
    for mask in 1..15_usize {
        let mixed: Vec<&str> = (0..4).map(|i| if mask >> i & 1 == 1 { one[i] } else { two[i] }).collect();
        let mixed = mixed.join("\n");
        let whole = mixed == one.join("\n") || mixed == two.join("\n");
        assert_eq!(open(mixed.as_bytes(), &trusted).is_ok(), whole, "{mask:04b}");
    }
}

#[test]
fn a_tree_of_another_site_is_refused_on_both_sides() {
    let signer = signer();
    for tree in [TREE.replace("plant-7", "plant-8"), TREE.replace("acme", "evil")] {
        let why = seal(&signer, &label(1), &tree).unwrap_err();
        assert!(matches!(why, NotSealed::Content(Elsewhere::Other { .. })), "{why}");
        // A receiver that does not look signs it all the same.
        let header = Header {
            site: label(1).site,
            tenant: label(1).tenant,
            version: 1,
            made_at: label(1).made_at,
            by: "x".into(),
            sha256: sha256(tree.as_bytes()),
        };
        let header = serde_json::to_string(&header).unwrap();
        let signature = BASE64.encode(signer.sign(&signed(&header, &tree)));
        let sealed =
            format!("{FIRST_LINE}\n{header}\n{ALGORITHM} {} {signature}\n{tree}", signer.public().id());
        let why = open(sealed.as_bytes(), &trusted(&[&signer])).unwrap_err();
        assert!(matches!(why, NotOpened::Content(Elsewhere::Other { .. })), "{why}");
    }
    assert!(matches!(seal(&signer, &label(1), "[]"), Err(NotSealed::Content(Elsewhere::NoSite(_)))));
}

#[test]
fn a_digest_that_does_not_fit_is_refused_though_it_is_signed() {
    let signer = signer();
    let sealed = String::from_utf8(seal(&signer, &label(1), TREE).unwrap()).unwrap();
    let header = sealed.lines().nth(1).unwrap().replace(&sha256(TREE.as_bytes()), &"0".repeat(64));
    let signature = BASE64.encode(signer.sign(&signed(&header, TREE)));
    let forged = format!("{FIRST_LINE}\n{header}\n{ALGORITHM} {} {signature}\n{TREE}", signer.public().id());
    assert!(matches!(open(forged.as_bytes(), &trusted(&[&signer])), Err(NotOpened::Digest { .. })));
}

#[test]
fn what_no_gateway_takes_is_not_sealed() {
    let signer = signer();
    for version in [0, MAX_VERSION + 1] {
        assert_eq!(seal(&signer, &label(version), TREE), Err(NotSealed::Version(version)));
    }
    for by in ["", " ", "a\nb", &"x".repeat(81)] {
        let why = seal(&signer, &Label { by: by.into(), ..label(1) }, TREE).unwrap_err();
        assert_eq!(why, NotSealed::By(by.into()));
    }
    let large = format!("{TREE}{}", " ".repeat(MAX_BUNDLE_BYTES));
    assert!(matches!(seal(&signer, &label(1), &large), Err(NotSealed::TooLarge(_))));
    assert_eq!(open(&vec![b' '; MAX_BUNDLE_BYTES + 1], &trusted(&[&signer])), Err(NotOpened::TooLarge));
}

#[test]
fn what_is_no_bundle_is_told_apart() {
    let trusted = trusted(&[&signer()]);
    let why = |text: &str| open(text.as_bytes(), &trusted).unwrap_err().to_string();
    assert!(why("").contains("no first line"));
    assert!(why("<html>\n").contains("its first line is not"));
    assert!(why("VIGIL BUNDLE 2\n{}\n").contains("of format 2, and this agent knows format 1"));
    assert!(why("VIGIL BUNDLE 1\n{}").contains("ends in its header"));
    assert!(why("VIGIL BUNDLE 1\n{}\ned25519").contains("ends in its signature"));
    assert!(why("VIGIL BUNDLE 1\n{}\nrsa 0123456789abcdef AA==\n{}").contains("third line"));
}

#[test]
fn a_key_is_read_in_every_spelling() {
    let signer = signer();
    let public = signer.public();
    let bytes = BASE64.decode(public.to_string()).unwrap();
    let pem = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00], bytes.as_slice()]
        .concat();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(pem));
    for text in [format!(" {public}\n"), hex(&bytes), hex(&bytes).to_uppercase(), pem] {
        assert_eq!(PublicKey::read(text.as_bytes()).as_ref(), Ok(public), "{text}");
    }
    for text in ["", "AAAA", "zz", &hex(&bytes[1..])] {
        assert_eq!(PublicKey::read(text.as_bytes()), Err(BadKey::Public), "{text}");
        assert!(matches!(Signer::read(text.as_bytes()), Err(BadKey::Private)), "{text}");
    }
    assert!(format!("{signer:?}").len() < 30, "a private key does not show itself");
}

#[test]
fn a_large_site_fits_with_room_to_spare() {
    let each = |n: usize| {
        serde_json::json!([
            {"id": format!("guard-{n:04}"), "name": format!("Somebody With-A-Name {n}"), "badge": format!("04A1B2C3D4{n:04}")},
            {"id": format!("hs-{n:04}"), "kind": "handset", "guard": format!("guard-{n:04}"), "owntracks": format!("user{n}/phone")},
            {"id": format!("cp-{n:04}"), "name": format!("Gate number {n}"), "tag": format!("04AA0000{n:04}"), "lat": 12.971_612, "lon": 77.594_612},
            {"id": format!("shift-{n:04}"), "guard": format!("guard-{n:04}"), "days": ["mon", "tue", "wed", "thu", "fri"], "from": "20:00",
             "to": "06:00", "breaks": [{"from": "00:00", "to": "00:30"}]},
        ])
    };
    let parts: Vec<serde_json::Value> = (0..1_000).map(each).collect();
    let part = |i: usize| parts.iter().map(|p| p[i].clone()).collect::<Vec<_>>();
    let tree = serde_json::json!({
        "site": {"id": "plant-7", "tenant": "acme"},
        "guards": part(0), "devices": part(1), "checkpoints": part(2), "shifts": part(3),
    });
    let sealed = seal(&signer(), &label(1), &tree.to_string()).unwrap();
    assert!((350_000..MAX_BUNDLE_BYTES / 4).contains(&sealed.len()), "{} bytes", sealed.len());
}

proptest! {
    #[test]
    fn a_bundle_with_any_byte_altered_is_refused(at in any::<prop::sample::Index>(), with in 1..=255_u8) {
        let (sealed, trusted) = &*SEALED;
        let mut altered = sealed.clone();
        let at = at.index(altered.len());
        altered[at] ^= with;
        prop_assert!(open(&altered, trusted).is_err(), "byte {}", at);
    }

    #[test]
    fn a_bundle_that_is_cut_or_grown_is_refused(at in any::<prop::sample::Index>(), more in "[ \n]{1,3}") {
        let (sealed, trusted) = &*SEALED;
        prop_assert!(open(&sealed[..at.index(sealed.len())], trusted).is_err());
        prop_assert!(open(&[sealed, more.as_bytes()].concat(), trusted).is_err());
    }

    #[test]
    fn any_bytes_are_refused_with_a_reason(head in "(VIGIL BUNDLE 1\n)?", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let document = [head.as_bytes(), &bytes].concat();
        prop_assert!(!open(&document, &SEALED.1).unwrap_err().to_string().is_empty());
    }
}

/// One bit after the other: the random ones above may miss one.
#[test]
fn no_bit_of_a_bundle_can_be_turned() {
    let (sealed, trusted) = &*SEALED;
    let turned = (0..sealed.len() * 8).filter(|bit| {
        let mut altered = sealed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        open(&altered, trusted).is_ok()
    });
    assert_eq!(turned.count(), 0);
}
