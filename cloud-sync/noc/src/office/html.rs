//! Pages that are made here: whole without a script, and nothing that somebody typed is taken for markup.

use super::menu::menu;
use crate::access::{Person, Role};
use crate::door::Caller;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use std::fmt::Display;
use vigil_core::time::Timestamp;

/// Text as it is shown, whatever is in it.
pub fn text(raw: impl Display) -> String {
    let mut safe = String::new();
    for sign in raw.to_string().chars() {
        match sign {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            sign => safe.push(sign),
        }
    }
    safe
}

/// An instant, in UTC: the page does not know where its reader is.
pub fn when(at: Timestamp) -> String {
    let shown = at.to_string();
    let (date, time) = shown.split_once('T').unwrap_or((&shown, ""));
    format!("{} {} UTC", text(date), text(time.get(..8).unwrap_or(time)))
}

/// What is said above a page.
#[derive(Debug, Clone, Default)]
pub enum Told {
    /// Nothing.
    #[default]
    Nothing,
    /// It was done.
    Done(String),
    /// It was not.
    Refused(StatusCode, String),
    /// Something that is shown this once: what it is, and the secret.
    Secret(String, String),
}

impl Told {
    /// Something that was typed wrong.
    pub fn wrong(why: impl Display) -> Self {
        Self::Refused(StatusCode::BAD_REQUEST, why.to_string())
    }

    fn status(&self) -> StatusCode {
        if let Self::Refused(status, _) = self { *status } else { StatusCode::OK }
    }

    fn markup(&self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Done(what) => format!(r#"<p class="told" role="status">{}</p>"#, text(what)),
            Self::Refused(_, why) => format!(r#"<p class="told bad" role="alert">{}</p>"#, text(why)),
            Self::Secret(what, secret) => format!(
                r#"<div class="told" role="status"><p>{}</p><p class="secret">{}</p><p>It is not shown again.</p></div>"#,
                text(what),
                text(secret)
            ),
        }
    }
}

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="dark">
  <link rel="icon" href="/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/vigil.css">
  <link rel="stylesheet" href="/desk.css">
"#;

/// A page for somebody who is not logged in, or has to do one thing first.
pub fn narrow(title: &str, told: &Told, body: &str) -> Response {
    let page = format!(
        "{HEAD}  <title>{title} – Vigil</title>\n</head>\n<body>\n<main class=\"desk narrow\">\n<div><h1>Vigil</h1>\
         <p class=\"quiet\">operations centre</p></div>\n{}\n{body}\n</main>\n</body>\n</html>\n",
        told.markup()
    );
    (told.status(), Html(page)).into_response()
}

/// A page for somebody who is; it stands at that path, and has that title.
pub fn wide((path, title): (&str, &str), caller: &Caller, told: &Told, body: &str) -> Response {
    let page = format!(
        "{HEAD}  <title>{title} – Vigil</title>\n</head>\n<body>\n<header class=\"bar\"><div><h1>Vigil</h1>\
         <p class=\"whose\">operations centre</p></div>{}</header>\n<main class=\"desk\">\n<h2>{title}</h2>\n{}\n{body}\n\
         </main>\n</body>\n</html>\n",
        menu(caller, path),
        told.markup()
    );
    (told.status(), Html(page)).into_response()
}

/// The word of the session, for a form.
pub fn word(caller: &Caller) -> String {
    format!(r#"<input type="hidden" name="csrf" value="{}">"#, text(caller.word()))
}

/// The choice of a role, with one chosen.
pub fn roles(chosen: Role) -> String {
    let options = Role::ALL.map(|role| {
        let mark = if role == chosen { " selected" } else { "" };
        format!("<option{mark}>{role}</option>")
    });
    format!(r#"<select name="role">{}</select>"#, options.concat())
}

/// The field for a tenant. Who belongs to one has no choice.
pub fn tenant(person: &Person) -> String {
    match &person.tenant {
        Some(own) => format!(r#"<label>Tenant <input name="tenant" value="{}" readonly></label>"#, text(own)),
        None => {
            r#"<label>Tenant (empty: all) <input name="tenant" maxlength="64" autocapitalize="none"></label>"#
                .to_owned()
        }
    }
}

/// A table; every cell is markup already.
pub fn table(heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let heads: String = heads.iter().map(|head| format!("<th>{head}</th>")).collect();
    let row = |cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = rows.into_iter().map(row).collect();
    format!(
        "<div class=\"scroll\"><table><thead><tr>{heads}</tr></thead><tbody>\n{rows}</tbody></table></div>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_typed_is_markup() {
        assert_eq!(text(r#"<a href='x' y="z">&"#), "&lt;a href=&#39;x&#39; y=&quot;z&quot;&gt;&amp;");
        assert_eq!(when(Timestamp::from_millis(1_773_160_000_123)), "2026-03-10 16:26:40 UTC");
    }
}
