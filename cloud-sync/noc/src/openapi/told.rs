//! What is said of one route: what it takes, what it gives, and why it refuses.

use super::schemas::Schemas;
use crate::refusal::Refusal;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The media type of nearly everything.
const JSON: &str = "application/json";

/// One route, as far as it has been told.
pub struct Told<'s> {
    schemas: &'s mut Schemas,
    id: &'static str,
    summary: &'static str,
    more: Vec<String>,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: BTreeMap<u16, Answer>,
}

/// What one status means.
#[derive(Default)]
struct Answer {
    why: Vec<String>,
    content: Map<String, Value>,
    headers: Map<String, Value>,
}

impl<'s> Told<'s> {
    /// Nothing but the parameters that stand in the path.
    pub fn of(path: &str, schemas: &'s mut Schemas) -> Self {
        let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let parameters: Vec<_> = names.map(in_path).collect();
        let (more, answers) = (vec![], BTreeMap::new());
        let mut told = Self { schemas, id: "", summary: "", more, parameters, body: None, answers };
        if !told.parameters.is_empty() {
            told.refuses(400, "a part of the path is no UTF-8");
        }
        told
    }

    /// The name of the operation, which programs are written against, and what it does in one line.
    pub fn called(&mut self, id: &'static str, summary: &'static str) {
        (self.id, self.summary) = (id, summary);
    }

    /// What else there is to know.
    pub fn more(&mut self, text: &str) {
        self.more.push(text.to_owned());
    }

    /// The fields of `Q` may stand behind the `?`.
    pub fn asks<Q: JsonSchema>(&mut self) {
        let whole = self.schemas.read_whole::<Q>();
        let needed = whole["required"].as_array().cloned().unwrap_or_default();
        let fields = whole["properties"].as_object().cloned().unwrap_or_default();
        for (name, schema) in fields {
            let is_needed = needed.iter().any(|needed| *needed == *name);
            self.parameters.push(parameter("query", &name, is_needed, plain(schema)));
        }
    }

    /// One parameter behind the `?`, where no type has it as a field.
    pub fn asks_for(&mut self, name: &str, about: &str, mut schema: Value) {
        schema["description"] = about.into();
        self.parameters.push(parameter("query", name, false, schema));
    }

    /// Those parameters say nothing when they are empty: forms send every field that they have.
    pub fn may_be_empty(&mut self, names: &[&str]) {
        let is_meant = |parameter: &&mut Value| names.iter().any(|name| parameter["name"] == *name);
        for parameter in self.parameters.iter_mut().filter(is_meant) {
            let full = parameter["schema"].take();
            parameter["schema"] = json!({"anyOf": [full, {"type": "string", "maxLength": 0}]});
        }
    }

    /// A header that may be sent.
    pub fn heeds(&mut self, name: &str, about: &str, mut schema: Value) {
        schema["description"] = about.into();
        self.parameters.push(parameter("header", name, false, schema));
    }

    /// A body in JSON.
    pub fn takes<B: JsonSchema>(&mut self, about: &str) {
        self.takes_as::<B>(JSON, about);
    }

    /// A body that has a media type of its own.
    pub fn takes_as<B: JsonSchema>(&mut self, media: &str, about: &str) {
        let schema = self.schemas.read::<B>();
        self.body =
            Some(json!({"required": true, "description": about, "content": {media: {"schema": schema}}}));
    }

    /// An answer in JSON.
    pub fn gives<A: JsonSchema>(&mut self, status: u16, about: &str) {
        let schema = self.schemas.written::<A>();
        self.put(status, about, Some((JSON, schema)));
    }

    /// An answer that is a text.
    pub fn gives_text(&mut self, status: u16, media: &str, about: &str) {
        self.put(status, about, Some((media, json!({"type": "string"}))));
    }

    /// An answer without a body.
    pub fn gives_nothing(&mut self, status: u16, about: &str) {
        self.put(status, about, None);
    }

    /// A refusal. Several reasons for one status are told one after the other.
    pub fn refuses(&mut self, status: u16, why: &str) {
        self.refuses_with::<Refusal>(status, why);
    }

    /// A refusal that says more than why.
    pub fn refuses_with<E: JsonSchema>(&mut self, status: u16, why: &str) {
        let schema = self.schemas.written::<E>();
        let known = self.answers.get(&status).is_some_and(|answer| answer.content.contains_key(JSON));
        let is_plain = schema == self.schemas.written::<Refusal>();
        // What says more says why as well.
        let content = (!(known && is_plain)).then_some((JSON, schema));
        self.put(status, why, content);
    }

    /// A header of that answer.
    pub fn with_header(&mut self, status: u16, name: &str, about: &str) {
        let answer = self.answers.entry(status).or_default();
        answer.headers.insert(name.to_owned(), json!({"description": about, "schema": {"type": "string"}}));
    }

    fn put(&mut self, status: u16, why: &str, content: Option<(&str, Value)>) {
        let answer = self.answers.entry(status).or_default();
        answer.why.push(why.trim_end_matches('.').to_owned());
        if let Some((media, schema)) = content {
            answer.content.insert(media.to_owned(), json!({"schema": schema}));
        }
    }

    /// All of it.
    pub fn operation(self, tag: &str, security: Value) -> Value {
        let answers = self.answers.into_iter().map(|(status, answer)| (status.to_string(), answer.json()));
        let answers: Map<_, _> = answers.collect();
        let mut operation = json!({
            "operationId": self.id, "summary": self.summary, "tags": [tag], "parameters": self.parameters,
            "responses": answers, "security": security,
        });
        if !self.more.is_empty() {
            operation["description"] = self.more.join(" ").into();
        }
        if let Some(body) = self.body {
            operation["requestBody"] = body;
        }
        operation
    }
}

impl Answer {
    fn json(self) -> Value {
        let mut answer = json!({"description": format!("{}.", self.why.join("; or "))});
        for (name, value) in [("content", self.content), ("headers", self.headers)] {
            if !value.is_empty() {
                answer[name] = value.into();
            }
        }
        answer
    }
}

/// Its description stands beside its schema: tools show it there.
fn parameter(place: &str, name: &str, needed: bool, mut schema: Value) -> Value {
    let about = schema.as_object_mut().and_then(|schema| schema.remove("description"));
    let mut parameter = json!({"name": name, "in": place, "required": needed, "schema": schema});
    if let Some(about) = about {
        parameter["description"] = about;
    }
    parameter
}

/// A part of a path, by the name that it has in the table of routes.
fn in_path(name: &str) -> Value {
    let id = || json!({"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"});
    let (about, mut schema) = match name {
        "tenant" => ("Whose.", id()),
        "site" => ("Where.", id()),
        "gateway" => ("Which gateway.", id()),
        "client" => ("Whom the site is guarded for.", id()),
        "version" => ("Which version, from 1.", json!({"type": "integer", "minimum": 1})),
        "id" => ("Its id.", json!({"type": "string", "minLength": 1, "maxLength": 256})),
        _ => ("", json!({"type": "string", "minLength": 1})),
    };
    if !about.is_empty() {
        schema["description"] = about.into();
    }
    parameter("path", name, true, schema)
}

/// What stands in an address is there or is not; it is never `null`.
fn plain(schema: Value) -> Value {
    let Value::Object(mut schema) = schema else { return schema };
    schema.retain(|name, value| name != "default" || !(value.is_null() || *value == ""));
    if let Some(Value::Array(kinds)) = schema.get_mut("type") {
        kinds.retain(|kind| *kind != "null");
        if let [kind] = kinds.as_slice() {
            let kind = kind.clone();
            schema.insert("type".to_owned(), kind);
        }
    }
    // An `Option` of something with a name is that or `null`.
    if let Some(Value::Array(either)) = schema.remove("anyOf") {
        for one in either.into_iter().filter(|one| one["type"] != "null") {
            schema.extend(one.as_object().cloned().unwrap_or_default());
        }
    }
    Value::Object(schema)
}
