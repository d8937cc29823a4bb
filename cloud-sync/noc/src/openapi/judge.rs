//! Holds an answer against the document: its status, its media type, its headers and its body. It is stricter than a reader should
//! be: a field that the document does not name is a fault. Test code, which the tests of whole receivers include as well.

use jsonschema::Draft;
use serde_json::{Map, Value, json};

/// The document, in which every object has only the fields that it names.
pub struct Judge {
    document: Value,
}

/// One answer of one route.
pub struct Answer<'a> {
    /// In lower case.
    pub method: &'a str,
    /// What was asked, without what stands behind the `?`.
    pub path: &'a str,
    /// How it was answered.
    pub status: u16,
    /// By its name in lower case.
    pub header: &'a dyn Fn(&str) -> Option<String>,
    /// What was answered; nothing of what has no end.
    pub body: Option<&'a [u8]>,
}

impl Judge {
    /// By that document.
    pub fn of(mut document: Value) -> Self {
        let open = document["components"]["schemas"].clone();
        for part in ["components", "paths"] {
            unfold(&mut document[part], &open);
            close(&mut document[part], true);
        }
        Self { document }
    }

    /// What is wrong with an answer. One of a route that is not described cannot be wrong.
    pub fn fault(&self, answer: &Answer<'_>) -> Option<String> {
        let template = self.template(answer.path)?;
        let operation = self.document["paths"][template].get(answer.method)?;
        let told = operation["responses"].get(answer.status.to_string());
        let fault = match told {
            None => Some("no such status is described".to_owned()),
            Some(told) => self.unlike(told, answer),
        };
        let body = answer.body.map(String::from_utf8_lossy).unwrap_or_default();
        fault.map(|fault| format!("{} {template} {}: {fault}: {body}", answer.method, answer.status))
    }

    /// The path in the document that is meant; one with fewer words in braces comes first.
    fn template(&self, path: &str) -> Option<&str> {
        let asked: Vec<_> = path.split('/').collect();
        let is_meant = |template: &&str| {
            let parts: Vec<_> = template.split('/').collect();
            let mut pairs = parts.iter().zip(&asked);
            parts.len() == asked.len() && pairs.all(|(part, said)| part.starts_with('{') || part == said)
        };
        let templates = self.document["paths"].as_object()?.keys().map(String::as_str);
        templates.filter(is_meant).min_by_key(|template| template.matches('{').count())
    }

    fn unlike(&self, told: &Value, answer: &Answer<'_>) -> Option<String> {
        let kind = (answer.header)("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let Some(content) = told.get("content") else {
            let is_empty = answer.body.is_none_or(<[u8]>::is_empty);
            return (!is_empty).then(|| "no body is described".to_owned());
        };
        let Some(content) = content.get(kind) else { return Some(format!("{kind:?} is not described")) };
        if kind != "application/json" {
            return None;
        }
        let body: Value = match serde_json::from_slice(answer.body?) {
            Ok(body) => body,
            Err(why) => return Some(format!("no JSON: {why}")),
        };
        let schema = json!({"allOf": [content["schema"]], "components": self.document["components"]});
        let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
        let validator = options.build(&schema).expect("the schema can be used");
        let faults: Vec<_> =
            validator.iter_errors(&body).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
        (!faults.is_empty()).then(|| faults.join("; "))
    }
}

/// Puts what has a name of its own where it is but a part of a whole: there it may not be closed.
fn unfold(schema: &mut Value, open: &Value) {
    match schema {
        Value::Object(fields) => {
            let is_part = fields.contains_key("properties");
            for (name, value) in fields {
                if let (true, "allOf" | "anyOf" | "oneOf", Some(parts)) =
                    (is_part, name.as_str(), value.as_array_mut())
                {
                    for part in parts {
                        let named = part["$ref"]
                            .as_str()
                            .and_then(|path| path.rsplit('/').next())
                            .map(|name| open[name].clone());
                        *part = named.unwrap_or_else(|| part.take());
                    }
                }
                unfold(value, open);
            }
        }
        Value::Array(several) => several.iter_mut().for_each(|one| unfold(one, open)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Closes every object that names its fields and does not say that it has others. Of several parts of one whole each may
/// have fields that the others do not name: the whole is closed.
fn close(schema: &mut Value, is_whole: bool) {
    match schema {
        Value::Object(fields) => {
            close_parts(fields);
            let names = ["properties", "allOf", "anyOf", "oneOf"].iter().any(|key| fields.contains_key(*key));
            if is_whole && names && !fields.contains_key("additionalProperties") {
                fields.insert("unevaluatedProperties".to_owned(), Value::Bool(false));
            }
        }
        Value::Array(several) => several.iter_mut().for_each(|one| close(one, is_whole)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn close_parts(fields: &mut Map<String, Value>) {
    for (name, value) in fields {
        close(value, !matches!(name.as_str(), "allOf" | "anyOf" | "oneOf"));
    }
}
