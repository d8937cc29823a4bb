//! Site files and policies on each of the two databases, with a reader of a simpler file than a site's.

use super::store::{self, Given, NotTaken};
use super::{Fault, Press, Reader, Texts, Tree};
use crate::access::Scope;
use crate::access::audit::Actor;
use crate::ledger::houses::House;
use crate::ledger::{Ledger, place_of};
use serde_json::{Value, json};
use std::sync::Arc;
use vigil_cloud_sync::Origin;
use vigil_cloud_sync::bundle::{Signer, Trusted, open};
use vigil_core::id::{GatewayId, SiteId, TenantId};
use vigil_core::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_773_160_000_000);

/// A file is `{"site": {"id", "tenant", "client"}, "grace": n}`; a policy `{"most": n}` bounds the grace.
fn read(texts: Texts<'_>) -> Result<Tree, Vec<Fault>> {
    let fault = |key: &str, problem: String| {
        vec![Fault { file: "site.toml".into(), line: Some(1), key: key.into(), problem }]
    };
    let parsed = |text: &str| serde_json::from_str::<Value>(text).map_err(|why| fault("", why.to_string()));
    let site = parsed(texts.site)?;
    let most =
        [texts.tenant, texts.client].into_iter().flatten().map(parsed).collect::<Result<Vec<_>, _>>()?;
    let grace = site["grace"].as_i64().unwrap_or(0);
    if let Some(most) =
        most.iter().filter_map(|policy| policy["most"].as_i64()).min().filter(|most| grace > *most)
    {
        return Err(fault("grace", format!("found {grace}, allowed: at most {most}")));
    }
    let name = |key: &str| site["site"][key].as_str().unwrap_or_default().to_owned();
    let mut tree = json!({"site": site["site"], "policies": most});
    for part in ["checkpoints", "policy", "layers"] {
        if let Some(said) = site.get(part) {
            tree[part] = said.clone();
        }
    }
    Ok(Tree {
        json: tree.to_string(),
        tenant: TenantId::new(&name("tenant")).map_err(|why| fault("site.tenant", why.to_string()))?,
        site: SiteId::new(&name("id")).map_err(|why| fault("site.id", why.to_string()))?,
        client: name("client"),
        doubts: vec![],
    })
}

/// A press with a key of its own.
pub fn press() -> Press {
    let signer = Signer::read(Signer::generate().unwrap().as_bytes()).unwrap();
    Press { reader: Reader::new(read), signer: Arc::new(signer) }
}

fn whose(site: &str) -> (TenantId, SiteId) {
    (TenantId::new("acme").unwrap(), SiteId::new(site).unwrap())
}

/// The file of a site of `acme`.
pub fn file(site: &str, client: &str, grace: i64) -> String {
    json!({"site": {"id": site, "tenant": "acme", "client": client}, "grace": grace}).to_string()
}

/// Given by that person, who looked at version `after`.
pub fn given(by: &str, after: i64) -> Given {
    Given {
        actor: Actor { name: by.into(), address: String::new() },
        note: "new roster".into(),
        at: NOW,
        after,
    }
}

fn give(ledger: &mut Ledger, press: &Press, site: &str, text: &str, given: &Given) -> Result<i64, NotTaken> {
    let (tenant, site) = whose(site);
    store::give_site(ledger.database(), press, (&tenant, &site), text, given).map(|version| version.version)
}

fn give_policy(
    ledger: &mut Ledger,
    press: &Press,
    client: &str,
    text: &str,
    after: i64,
) -> Result<usize, NotTaken> {
    let tenant = whose("x").0;
    let given = given("ada", after);
    store::give_policy(ledger.database(), press, (&tenant, client), text, &given).map(|(_, sites)| sites)
}

fn content(ledger: &mut Ledger, press: &Press, site: &str) -> (u64, Value) {
    let (tenant, site) = whose(site);
    let sealed = store::sealed(ledger.database(), &place_of(&tenant, &site)).unwrap().unwrap();
    let bundle = open(sealed.as_bytes(), &Trusted::new(vec![press.signer.public().clone()])).unwrap();
    (bundle.header.version, serde_json::from_str(&bundle.content).unwrap())
}

#[test]
fn each_version_is_kept_sealed_and_told_to_the_gateways_of_the_site() {
    for house in House::both() {
        let (mut ledger, press) = (house.open(), press());
        let (tenant, site) = whose("plant-7");
        let origin = Origin { tenant, site, gateway: GatewayId::new("gw-1").unwrap() };
        ledger.enrol(&origin).unwrap();
        let (first, second) = (file("plant-7", "north", 1), file("plant-7", "north", 2));
        assert_eq!(give(&mut ledger, &press, "plant-7", &first, &given("ada", 0)).unwrap(), 1);
        assert_eq!(give(&mut ledger, &press, "plant-7", &second, &given("ravi", 1)).unwrap(), 2);
        assert_eq!(content(&mut ledger, &press, "plant-7").0, 2);
        let place = "acme/plant-7";
        let versions = store::versions(ledger.database(), place).unwrap();
        let told: Vec<_> = versions.iter().map(|v| (v.version, v.by.as_str(), v.note.as_str())).collect();
        assert_eq!(told, [(2, "ravi", "new roster"), (1, "ada", "new roster")]);
        assert_eq!(store::text(ledger.database(), place, 1).unwrap(), Some(first));
        assert_eq!(store::text(ledger.database(), place, 3).unwrap(), None);
        let commands = ledger.fetch(&origin, 0, NOW).unwrap();
        let kinds: Vec<_> = commands.iter().map(|c| c.kind.as_str()).collect();
        assert_eq!(kinds, ["bundle.refresh"; 2]);
        let noted = ledger
            .database()
            .query("SELECT who, object FROM audit WHERE action = 'site.file' ORDER BY at_ms, who", &[]);
        let noted: Vec<_> =
            noted.unwrap().into_iter().map(|mut row| (row.text(0).unwrap(), row.text(1).unwrap())).collect();
        assert_eq!(noted, [("ada".to_owned(), place.to_owned()), ("ravi".to_owned(), place.to_owned())]);
    }
}

#[test]
fn of_two_who_looked_at_one_version_the_second_is_told_of_the_first() {
    for house in House::both() {
        let (mut ledger, press) = (house.open(), press());
        let text = file("plant-7", "north", 1);
        give(&mut ledger, &press, "plant-7", &text, &given("ada", 0)).unwrap();
        let late = give(&mut ledger, &press, "plant-7", &text, &given("ravi", 0)).unwrap_err();
        assert!(matches!(&late, NotTaken::Later(by) if by.by == "ada" && by.version == 1), "{late}");
        let early = give(&mut ledger, &press, "plant-7", &text, &given("ravi", 7)).unwrap_err();
        assert!(matches!(early, NotTaken::NoSuchVersion(7)), "{early}");
    }
}

#[test]
fn a_file_that_is_wrong_or_of_another_site_leaves_nothing() {
    for house in House::both() {
        let (mut ledger, press) = (house.open(), press());
        let other =
            give(&mut ledger, &press, "plant-7", &file("plant-8", "north", 1), &given("ada", 0)).unwrap_err();
        assert!(
            other.to_string().contains("is of site plant-8 of tenant acme, and was given for acme/plant-7"),
            "{other}"
        );
        let (tenant, site) = whose("plant-7");
        let checked =
            store::check_site(ledger.database(), &press, (&tenant, &site), &file("plant-8", "north", 1));
        assert_eq!(checked.unwrap_err().to_string(), other.to_string(), "a check says what the giving would");
        let wrong = give(&mut ledger, &press, "plant-7", "{", &given("ada", 0)).unwrap_err();
        assert!(matches!(&wrong, NotTaken::Faults(faults) if faults.len() == 1), "{wrong}");
        assert_eq!(store::sites(ledger.database(), &Scope::whole(), 10).unwrap(), []);
    }
}

#[test]
fn a_policy_that_is_wrong_is_told_once_also_where_there_is_no_site_yet() {
    for house in House::both() {
        let (mut ledger, press) = (house.open(), press());
        let faults = |ledger: &mut Ledger| match give_policy(ledger, &press, "", "{", 0) {
            Err(NotTaken::Faults(faults)) => faults.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(faults(&mut ledger), 1);
        for site in ["a", "b"] {
            give(&mut ledger, &press, site, &file(site, "north", 1), &given("ada", 0)).unwrap();
        }
        assert_eq!(faults(&mut ledger), 1);
        assert!(store::policy(ledger.database(), "acme", "").unwrap().is_none());
    }
}

#[test]
fn a_policy_seals_all_sites_that_it_concerns_or_none() {
    for house in House::both() {
        let (mut ledger, press) = (house.open(), press());
        for (site, client, grace) in [("a", "north", 1), ("b", "north", 5), ("c", "south", 9)] {
            give(&mut ledger, &press, site, &file(site, client, grace), &given("ada", 0)).unwrap();
        }
        assert_eq!(give_policy(&mut ledger, &press, "north", r#"{"most":5}"#, 0).unwrap(), 2);
        assert_eq!(
            content(&mut ledger, &press, "a"),
            (2, json!({"site": {"id": "a", "tenant": "acme", "client": "north"}, "policies": [{"most": 5}]}))
        );
        assert_eq!(content(&mut ledger, &press, "c").0, 1, "another client's");
        let strict = give_policy(&mut ledger, &press, "", r#"{"most":4}"#, 0).unwrap_err();
        let NotTaken::Faults(faults) = strict else { panic!("{strict}") };
        assert_eq!(faults.len(), 2, "b and c: {faults:?}");
        assert_eq!(content(&mut ledger, &press, "a").0, 2, "nothing of it is kept");
        assert!(store::policy(ledger.database(), "acme", "").unwrap().is_none());
        assert_eq!(give_policy(&mut ledger, &press, "", r#"{"most":9}"#, 0).unwrap(), 3);
        let (version, text) = store::policy(ledger.database(), "acme", "").unwrap().unwrap();
        assert_eq!((version.version, text.as_str()), (1, r#"{"most":9}"#));
        assert_eq!(give_policy(&mut ledger, &press, "north", r#"{"most":5}"#, 1).unwrap(), 2);
        let listed = store::policies(ledger.database(), &Scope::whole(), 10).unwrap();
        let listed: Vec<_> = listed.iter().map(|row| (row.client.as_str(), row.latest.version)).collect();
        assert_eq!(listed, [("", 1), ("north", 2)], "the newest of each");
        let late = give_policy(&mut ledger, &press, "", r#"{"most":9}"#, 0).unwrap_err();
        assert!(matches!(late, NotTaken::Later(_)), "{late}");
        // A file that is given later is held to the policies that stand.
        let beyond = give(&mut ledger, &press, "d", &file("d", "north", 6), &given("ada", 0)).unwrap_err();
        assert!(beyond.to_string().contains("at most 5"), "{beyond}");
    }
}
