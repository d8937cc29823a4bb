//! The people of the centre, for admins. One who belongs to a tenant manages those of that tenant, and knows of no others.

use super::html::{Told, roles, table, tenant, text, when, wide, word};
use super::{Broken, Typed};
use crate::access::people::{self, Added, Change, NewPerson, PersonRow};
use crate::access::{Role, secret};
use crate::console::Shared;
use crate::door::Caller;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

/// `GET /people`
pub async fn page(State(console): State<Shared>, caller: Caller) -> Result<Response, Broken> {
    shown(&console, &caller, Told::Nothing).await
}

async fn shown(console: &Shared, caller: &Caller, told: Told) -> Result<Response, Broken> {
    let scope = caller.person.scope();
    let rows = console.room.clerk.ask(move |ledger| people::list(ledger.database(), &scope)).await?;
    let heads = ["Name", "Tenant", "Role", "Since", "State", ""];
    let list = table(&heads, rows.iter().map(|row| cells(caller, row)));
    let add = format!(
        r#"<section><h2>Let somebody in</h2><form class="row" method="post" action="/people">{}
<label>Name <input name="name" required maxlength="64" autocapitalize="none" spellcheck="false"></label>
<label>Role {}</label>{}<button>Add</button></form>
<p class="quiet">A password is made and shown once; they choose their own at the first log-in.</p></section>"#,
        word(caller),
        roles(Role::Operator),
        tenant(&caller.person)
    );
    Ok(wide(("/people", "People"), caller, &told, &format!("<section>{list}</section>\n{add}")))
}

fn cells(caller: &Caller, row: &PersonRow) -> Vec<String> {
    let name = text(&row.name);
    let state = if row.disabled {
        "locked out"
    } else if row.must_change {
        "has to choose a password"
    } else {
        "may log in"
    };
    let own = row.name == caller.person.name;
    let form = |what: &str, fields: &str, label: &str| {
        format!(
            r#"<form class="row" method="post" action="/people/{name}/{what}">{}{fields}<button class="quiet">{label}</button></form>"#,
            word(caller)
        )
    };
    let role = if own { row.role.to_string() } else { form("role", &roles(row.role), "Set") };
    let acts = if own {
        String::new()
    } else {
        let (to, label) = if row.disabled { ("enabled", "Let in") } else { ("disabled", "Lock out") };
        let state = format!(r#"<input type="hidden" name="state" value="{to}">"#);
        form("state", &state, label) + &form("password", "", "New password")
    };
    let tenant = row.tenant.as_ref().map_or_else(|| "all".to_owned(), text);
    vec![name.clone(), tenant, role, when(row.created_at), state.to_owned(), acts]
}

/// `POST /people`
pub async fn add(
    State(console): State<Shared>,
    caller: Caller,
    Form(typed): Form<Typed>,
) -> Result<Response, Broken> {
    let (name, role, tenant) = match typed.read(caller.person.tenant.as_ref()) {
        Ok(read) => read,
        Err(why) => return shown(&console, &caller, Told::wrong(why)).await,
    };
    let password = secret::password()?;
    let hash = console.hasher.hash(password.clone()).await?;
    let (actor, now, of) = (caller.actor(), (console.room.now)(), name.clone());
    let new = NewPerson { name, tenant, role, hash, must_change: true };
    let added =
        console.room.clerk.ask(move |ledger| ledger.within(|tx| people::add(tx, &actor, now, &new))).await?;
    let told = match added {
        Added::New => Told::Secret(format!("The first password of {of}:"), password),
        Added::Taken => Told::Refused(StatusCode::CONFLICT, format!("The name {of} is taken.")),
        Added::Full => Told::Refused(
            StatusCode::CONFLICT,
            format!("There are {} people already, and no more can be let in.", people::MAX_PEOPLE),
        ),
    };
    shown(&console, &caller, told).await
}

/// A role, as chosen.
#[derive(Deserialize)]
pub struct Chosen {
    role: String,
}

/// `POST /people/{name}/role`
pub async fn role(
    State(console): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Form(chosen): Form<Chosen>,
) -> Result<Response, Broken> {
    match chosen.role.parse::<Role>() {
        Ok(role) => {
            let done = Told::Done(format!("{name} is {role} now, and has to log in again."));
            change(&console, &caller, name, Change::Role(role), done).await
        }
        Err(why) => shown(&console, &caller, Told::wrong(why)).await,
    }
}

/// Whether somebody may log in, as chosen.
#[derive(Deserialize)]
pub struct Standing {
    state: String,
}

/// `POST /people/{name}/state`
pub async fn state(
    State(console): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Form(standing): Form<Standing>,
) -> Result<Response, Broken> {
    let (disabled, done) = match standing.state.as_str() {
        "disabled" => (true, format!("{name} is locked out, and every session of theirs has ended.")),
        "enabled" => (false, format!("{name} may log in.")),
        _ => return shown(&console, &caller, Told::wrong("state: enabled or disabled is expected")).await,
    };
    change(&console, &caller, name, Change::Disabled(disabled), Told::Done(done)).await
}

/// `POST /people/{name}/password`
pub async fn reset(
    State(console): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, Broken> {
    let password = secret::password()?;
    let hash = console.hasher.hash(password.clone()).await?;
    let done = Told::Secret(format!("The new password of {name}:"), password);
    change(&console, &caller, name, Change::Password { hash, must_change: true }, done).await
}

async fn change(
    console: &Shared,
    caller: &Caller,
    name: String,
    change: Change,
    done: Told,
) -> Result<Response, Broken> {
    if name == caller.person.name {
        // Whoever locks themselves out cannot undo it.
        let told = "Another admin does that; your own password is changed under your name.".to_owned();
        return shown(console, caller, Told::Refused(StatusCode::CONFLICT, told)).await;
    }
    let (actor, now, scope) = (caller.actor(), (console.room.now)(), caller.person.scope());
    let changed = console
        .room
        .clerk
        .ask(move |ledger| ledger.within(|tx| people::change(tx, &actor, now, &scope, (&name, &change))))
        .await?;
    if changed { shown(console, caller, done).await } else { Err(Broken::Unknown("person")) }
}
