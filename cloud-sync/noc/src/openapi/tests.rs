//! The document is whole, says of each route what the table of routes says, and its judge sees what is not so.

use super::judge::{Answer, Judge};
use super::*;
use std::collections::BTreeSet;

#[test]
fn every_route_for_programs_is_described_and_no_page() {
    let is_for_programs = |path: &str| {
        path.starts_with("/api/") || path.ends_with(".csv") || ["/healthz", "/openapi.json"].contains(&path)
    };
    for route in ROUTES {
        let (method, path) = (&route.method, route.path);
        assert_eq!(
            route.tells.is_some(),
            is_for_programs(path),
            "{method} {path}: what programs ask is described with `told`, and nothing else"
        );
    }
    let document = document();
    assert_eq!(
        operations(&document).count(),
        ROUTES.iter().filter(|route| route.tells.is_some()).count() + receive::WAYS.len()
    );
}

fn paths(document: &Value) -> impl Iterator<Item = (&String, &Value)> {
    document["paths"].as_object().unwrap().iter()
}

fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    paths(document).flat_map(|(path, methods)| {
        let named = move |(method, told): (&String, _)| (format!("{method} {path}"), told);
        methods.as_object().unwrap().iter().filter(|(method, _)| *method != "servers").map(named)
    })
}

#[test]
fn every_operation_has_a_name_of_its_own_and_says_what_it_gives() {
    let document = document();
    let mut names = BTreeSet::new();
    for (path, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap();
        assert!(!name.is_empty() && names.insert(name), "{path} is {name:?}");
        assert!(operation["summary"].as_str().is_some_and(|summary| summary.len() > 5), "{path}");
        let answers = operation["responses"].as_object().unwrap();
        assert!(answers.keys().any(|status| status.starts_with('2')), "{path}");
        let asked = operation["parameters"].as_array().unwrap().iter();
        let asked: Vec<_> = asked.map(|parameter| parameter["name"].as_str().unwrap()).collect();
        assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), asked.len(), "{path}: {asked:?}");
    }
}

#[test]
fn the_role_is_that_of_the_table() {
    let document = document();
    for route in ROUTES.iter().filter(|route| route.tells.is_some()) {
        let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        let roles = match route.needs {
            Needs::Nobody => json!([]),
            Needs::Oneself => json!([{"operatorToken": []}, {"session": []}]),
            Needs::Role(role) => json!([{"operatorToken": [role.name()]}, {"session": [role.name()]}]),
        };
        assert_eq!(operation["security"], roles, "{}", route.path);
        if let Needs::Role(role @ (Role::Operator | Role::Supervisor | Role::Admin)) = route.needs {
            let about = operation["description"].as_str().unwrap();
            assert!(about.contains(&format!("the role {role}")), "{}: {about}", route.path);
        }
    }
}

#[test]
fn a_name_means_one_thing_whether_it_is_read_or_written() {
    let mut schemas = Schemas::default();
    for tells in
        ROUTES.iter().filter_map(|route| route.tells).chain(receive::WAYS.iter().map(|way| way.tells))
    {
        tells(&mut Told::of("/", &mut schemas));
    }
    assert_eq!(schemas.clashes(), [""; 0]);
    let names: BTreeSet<_> = schemas.named().keys().cloned().collect();
    assert!(names.contains("AlertRow") && names.contains("NewStep"), "{names:?}");
    // A second type of one name gets a number.
    let numbered = names.iter().filter(|name| name.ends_with(char::is_numeric));
    assert_eq!(numbered.collect::<Vec<_>>(), [""; 0], "two types have one name: rename one");
}

#[test]
fn whatever_is_named_is_there() {
    let document = document();
    let text = document.to_string();
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
    }
}

#[test]
fn the_judge_sees_what_is_not_as_it_was_told() {
    let judge = Judge::of(document());
    let fault = |path, status, kind: &'static str, body: Value| {
        let header = |_: &str| Some(kind.to_owned());
        let body = serde_json::to_vec(&body).unwrap();
        judge.fault(&Answer { method: "get", path, status, header: &header, body: Some(&body) })
    };
    let (json, page) = ("application/json", json!({"alerts": [], "next": null, "searched_to": null}));
    assert_eq!(fault("/api/alerts", 200, json, page.clone()), None);
    let with = |name: &str, value: Value| {
        let mut page = page.clone();
        page[name] = value;
        page
    };
    let wrong = [
        (fault("/api/alerts", 418, json, page.clone()), "no such status"),
        (fault("/api/alerts", 200, "text/plain", page.clone()), "is not described"),
        (fault("/api/alerts", 200, json, with("more", json!(1))), "more"),
        (fault("/api/alerts", 200, json, with("next", json!(1))), "/next"),
        (fault("/api/alerts", 200, json, with("searched_to", json!("then"))), "/searched_to"),
        (fault("/api/alerts", 200, json, json!({"alerts": []})), "next"),
        (fault("/api/alerts", 400, json, json!({"error": "x", "other": 1})), "other"),
        (fault("/api/alerts/a/b/c/d", 200, json, json!({})), "\"tenant\" is a required property"),
    ];
    for (fault, part) in wrong {
        assert!(fault.as_ref().is_some_and(|fault| fault.contains(part)), "{part}: {fault:?}");
    }
}
