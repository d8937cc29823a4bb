//! One JSON value that borrows its texts from the payload: one pass, and no copy of what is never looked at.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// A JSON value. Objects keep the sender's order; they have few fields, so a search is as good as a map.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// How much of a text an error message repeats: enough to recognise it, too little to flood a page.
const SHOWN_CHARS: usize = 40;

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(&shown(text)),
            Self::List(_) => f.write_str("an array"),
            Self::Object(_) => f.write_str("an object"),
        }
    }
}

/// A text in quotes, cut to what a message can bear.
pub(super) fn shown(text: &str) -> String {
    let head: String = text.chars().take(SHOWN_CHARS).collect();
    let cut = if head.len() < text.len() { "..." } else { "" };
    format!("{head:?}{cut}")
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E>(self, flag: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(flag))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Json<'de>, E> {
        Ok(Json::Int(number))
    }
    #[expect(clippy::cast_precision_loss, reason = "beyond 2^63 no field has a meaning; its size is enough")]
    fn visit_u64<E>(self, number: u64) -> Result<Json<'de>, E> {
        Ok(i64::try_from(number).map_or(Json::Float(number as f64), Json::Int))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Json<'de>, E> {
        Ok(Json::Float(number))
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut fields = Vec::with_capacity(8);
        while let Some((key, value)) = map.next_entry::<Json<'de>, Json<'de>>()? {
            if let Json::Text(name) = key {
                fields.push((name, value));
            }
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Json<'_> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn every_shape_is_read() {
        let object = Json::Object(vec![
            ("a".into(), Json::List(vec![Json::Null, Json::Bool(true)])),
            ("b".into(), Json::Float(1.5)),
        ]);
        assert_eq!(read(r#"{"a":[null,true],"b":1.5}"#), object);
        assert_eq!(read("-3"), Json::Int(-3));
        assert_eq!(read("18446744073709551615"), Json::Float(18_446_744_073_709_551_615.0));
    }

    #[test]
    fn texts_are_borrowed_unless_they_are_escaped() {
        assert!(matches!(read(r#""plain""#), Json::Text(Cow::Borrowed("plain"))));
        assert!(matches!(read(r#""a\nb""#), Json::Text(Cow::Owned(text)) if text == "a\nb"));
    }

    #[test]
    fn a_tower_of_brackets_is_refused_and_does_not_overflow() {
        let tower = "[".repeat(60_000);
        assert!(serde_json::from_str::<Json<'_>>(&tower).is_err());
    }

    #[test]
    fn a_message_repeats_only_the_head_of_a_text() {
        assert_eq!(shown("short"), "\"short\"");
        assert_eq!(shown(&"x".repeat(50)), format!("\"{}\"...", "x".repeat(40)));
    }
}
