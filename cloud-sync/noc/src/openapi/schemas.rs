//! Schemas of the types that are read and written. What is read may leave out what has a default; what is written has every
//! field: so there are two makers of them, and their names must not clash.

use schemars::generate::{Contract, SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value};

/// An object that is passed on as it came.
pub type Passed = Map<String, Value>;

/// Both makers, and what they have named so far.
pub struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Default for Schemas {
    fn default() -> Self {
        Self { read: maker(Contract::Deserialize, false), written: maker(Contract::Serialize, false) }
    }
}

/// OpenAPI 3.1 has the schemas of JSON Schema 2020-12, and keeps those with a name below `components`.
fn maker(contract: Contract, inline: bool) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        settings.contract = contract;
        settings.inline_subschemas = inline;
    });
    settings.into_generator()
}

impl Schemas {
    /// Of something in an answer.
    pub fn written<T: JsonSchema>(&mut self) -> Value {
        self.written.subschema_for::<T>().to_value()
    }

    /// Of a body.
    pub fn read<T: JsonSchema>(&mut self) -> Value {
        self.read.subschema_for::<T>().to_value()
    }

    /// Of a query, whose fields are parameters of their own.
    pub fn read_whole<T: JsonSchema>(&mut self) -> Value {
        T::json_schema(&mut self.read).to_value()
    }

    /// All that have a name.
    pub fn named(mut self) -> Map<String, Value> {
        let mut named = self.read.take_definitions(false);
        named.extend(self.written.take_definitions(false));
        named
    }

    /// Names of which something else is read than written.
    #[cfg(test)]
    pub fn clashes(&self) -> Vec<String> {
        let written = self.written.definitions();
        let read = self.read.definitions().iter();
        read.filter(|(name, is)| written.get(*name).is_some_and(|other| other != *is))
            .map(|(name, _)| name.clone())
            .collect()
    }
}

/// What is passed on as it came, by what is read of it here; for `#[schemars(schema_with)]`. Other fields pass through.
pub fn as_it_came<T: JsonSchema>(_: &mut SchemaGenerator) -> Schema {
    let mut schema = T::json_schema(&mut maker(Contract::Deserialize, true));
    open(schema.ensure_object());
    schema
}

fn open(schema: &mut Map<String, Value>) {
    if schema.contains_key("properties") {
        schema.insert("additionalProperties".to_owned(), Value::Bool(true));
    }
    for value in schema.values_mut() {
        match value {
            Value::Object(within) => open(within),
            Value::Array(several) => several.iter_mut().filter_map(Value::as_object_mut).for_each(open),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}
