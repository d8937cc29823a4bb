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

impl Json<'_> {
    /// The number that it is, or that stands in it as a text.
    pub(super) fn number(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "what is beyond 2^53 is beyond every range")]
        let number = match self {
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Null | Self::Bool(_) | Self::List(_) | Self::Object(_) => None,
        };
        number.filter(|number| number.is_finite())
    }

    /// Whether it says yes, in one of the words that devices have for it; `None` if it is neither yes nor no.
    pub(super) fn flag(&self) -> Option<bool> {
        const YES: [&str; 7] = ["true", "on", "yes", "1", "online", "pressed", "open"];
        const NO: [&str; 8] = ["false", "off", "no", "0", "offline", "released", "closed", ""];
        let said =
            |words: &[&str], text: &str| words.iter().any(|word| word.eq_ignore_ascii_case(text.trim()));
        match self {
            Self::Bool(flag) => Some(*flag),
            Self::Int(0 | 1) => Some(*self == Self::Int(1)),
            Self::Float(number) if *number == 0.0 || *number == 1.0 => Some(*number == 1.0),
            Self::Text(text) if said(&YES, text) => Some(true),
            Self::Text(text) if said(&NO, text) => Some(false),
            Self::Null | Self::Int(_) | Self::Float(_) | Self::Text(_) | Self::List(_) | Self::Object(_) => {
                None
            }
        }
    }

    /// A plain value as a text: what a person would compare it with.
    pub(super) fn word(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Bool(_) | Self::Int(_) | Self::Float(_) => Some(self.to_string().into()),
            Self::Null | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// What stands at the end of a way through objects, by their last key of that name, and lists, by their index.
    pub(super) fn at<S: AsRef<str>>(&self, steps: &[S]) -> Option<&Self> {
        steps.iter().try_fold(self, |here, step| match here {
            Self::Object(fields) => {
                fields.iter().rev().find(|(name, _)| name == step.as_ref()).map(|(_, value)| value)
            }
            Self::List(items) => step.as_ref().parse::<usize>().ok().and_then(|index| items.get(index)),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Text(_) => None,
        })
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
    fn a_value_is_found_at_the_end_of_its_way() {
        let value = read(r#"{"a":[{"b":1},{"b":2}],"":{"x":3},"a/b":4,"a":[5,[6]]}"#);
        let at = |steps: &[&str]| value.at(steps).cloned();
        assert_eq!(at(&["a", "1", "0"]), Some(Json::Int(6)), "the last of two counts");
        assert_eq!(at(&["", "x"]), Some(Json::Int(3)));
        assert_eq!(at(&["a/b"]), Some(Json::Int(4)));
        assert_eq!(at(&[]), Some(value.clone()));
        for nowhere in [&["b"][..], &["a", "2"], &["a", "-1"], &["a", "0", "b"]] {
            assert_eq!(at(nowhere), None, "{nowhere:?}");
        }
    }

    #[test]
    fn devices_say_yes_and_no_in_many_words() {
        for yes in ["true", "1", "1.0", r#""ON""#, r#""True""#, r#"" online ""#] {
            assert_eq!(read(yes).flag(), Some(true), "{yes}");
        }
        for no in ["false", "0", r#""Off""#, r#""""#] {
            assert_eq!(read(no).flag(), Some(false), "{no}");
        }
        for neither in ["2", r#""perhaps""#, "[]", "null"] {
            assert_eq!(read(neither).flag(), None, "{neither}");
        }
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
