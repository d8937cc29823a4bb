//! The log-in as browsers meet it: cookies, waits, one's own password, tickets, TLS and proxies.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has to stop")]

use reqwest::{Client, Response, redirect};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use tokio::sync::oneshot;
use vigil_core::id::OperatorId;
use vigil_core::time::{Span, Timestamp};
use vigil_noc::access::audit::Actor;
use vigil_noc::access::people::{self, Change, NewPerson};
use vigil_noc::access::{Scope, password, sessions};
use vigil_noc::ledger::{Clerk, Database, LedgerError};
use vigil_noc::{Noc, NocConfig, Role, TlsFiles, token_sha256};

const PASSWORD: &str = "a dozen signs and more";

struct Here {
    base: String,
    client: Client,
    clerk: Clerk,
    _stop: oneshot::Sender<()>,
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

impl Here {
    async fn open(config: NocConfig, authority: Option<&str>) -> Self {
        let noc = Noc::bind(config).await.unwrap();
        let (at, clerk, (stop, stopped)): (SocketAddr, _, _) =
            (noc.operator_addr(), noc.clerk(), oneshot::channel());
        tokio::spawn(noc.serve(async { drop(stopped.await) }));
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder().no_proxy().redirect(redirect::Policy::none());
        let mut scheme = "http";
        if let Some(pem) = authority {
            client = client.tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).unwrap()]);
            scheme = "https";
        }
        let host = if authority.is_some() { "localhost".to_owned() } else { at.ip().to_string() };
        let base = format!("{scheme}://{host}:{}", at.port());
        Self { base, client: client.build().unwrap(), clerk, _stop: stop }
    }

    async fn plain(dir: &Path) -> Self {
        Self::open(NocConfig::on_loopback(dir.join("noc"), vec![]), None).await
    }

    async fn within<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Database) -> Result<T, LedgerError> + Send + 'static,
    ) -> T {
        self.clerk.ask(move |ledger| ledger.within(work)).await.unwrap()
    }

    async fn person(&self, name: &str, must_change: bool) {
        let hash = password::hash(PASSWORD).unwrap();
        let name = OperatorId::new(name).unwrap();
        let new = NewPerson { name, tenant: None, role: Role::Admin, hash, must_change };
        self.within(move |tx| people::add(tx, &Actor::console(), now(), &new)).await;
    }

    async fn log_in(&self, name: &str, password: &str) -> Response {
        self.form("/login", "", &format!("name={name}&password={}&next=/audit", password.replace(' ', "+")))
            .await
    }

    async fn form(&self, path: &str, cookie: &str, body: &str) -> Response {
        let request = self.client.post(format!("{}{path}", self.base)).header("cookie", cookie);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(body.to_owned()).send().await.unwrap()
    }

    async fn get(&self, path: &str, cookie: &str) -> Response {
        self.client.get(format!("{}{path}", self.base)).header("cookie", cookie).send().await.unwrap()
    }

    async fn me(&self, cookie: &str) -> (u16, Value) {
        let answer = self.get("/api/me", cookie).await;
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }
}

fn given(answer: &Response) -> &str {
    answer.headers()["set-cookie"].to_str().unwrap()
}

fn cookie(answer: &Response) -> String {
    given(answer).split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn somebody_comes_in_looks_and_goes_out() {
    let dir = tempfile::tempdir().unwrap();
    let here = Here::plain(dir.path()).await;
    let nobody_yet = here.get("/login", "").await.text().await.unwrap();
    assert!(nobody_yet.contains("vigil noc user add NAME --role admin"), "{nobody_yet}");
    let (status, told) = here.me("").await;
    assert!(status == 401 && told["error"].as_str().unwrap().contains("user add"), "{told}");

    here.person("ada", false).await;
    let form = here.get("/login?next=/tokens", "").await.text().await.unwrap();
    assert!(form.contains(r#"name="next" value="/tokens""#) && form.contains(r#"type="password""#), "{form}");
    let answer = here.log_in("ada", PASSWORD).await;
    assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()), (303, "/audit"));
    assert!(
        given(&answer).ends_with("; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200"),
        "{}",
        given(&answer)
    );
    let one = cookie(&answer);
    let two = cookie(&here.log_in("ada", PASSWORD).await);
    assert_ne!(one, two);
    let (status, me) = here.me(&one).await;
    assert_eq!((status, me["name"].as_str(), me["role"].as_str()), (200, Some("ada"), Some("admin")));
    let account = here.get("/account", &one).await.text().await.unwrap();
    assert_eq!(account.matches("127.0.0.1").count(), 2, "{account}");

    let word = me["csrf"].as_str().unwrap();
    assert_eq!(here.form("/logout", &one, "csrf=wrong").await.status().as_u16(), 403);
    let out = here.form("/logout", &one, &format!("csrf={word}")).await;
    assert!(out.status().as_u16() == 303 && given(&out).contains("Max-Age=0"));
    assert_eq!((here.me(&one).await.0, here.me(&two).await.0), (401, 200), "the cookie is good no more");
    let word = here.me(&two).await.1["csrf"].as_str().unwrap().to_owned();
    here.form("/sessions/end", &two, &format!("csrf={word}&session=all")).await;
    assert_eq!(here.me(&two).await.0, 401);
}

#[tokio::test]
async fn what_was_wrong_is_not_said_and_after_five_tries_one_waits() {
    let dir = tempfile::tempdir().unwrap();
    let here = Here::plain(dir.path()).await;
    here.person("ada", false).await;
    here.person("bob", false).await;
    let locked = |tx: &mut dyn Database| {
        people::change(tx, &Actor::console(), now(), &Scope::whole(), ("bob", &Change::Disabled(true)))
    };
    assert!(here.within(locked).await);
    let mut told = vec![];
    for (name, password) in [("ada", "wrong"), ("nobody", PASSWORD), ("bob", PASSWORD), ("no+id", "x")] {
        let answer = here.log_in(name, password).await;
        assert!(answer.status().as_u16() == 401 && !answer.headers().contains_key("set-cookie"), "{name}");
        told.push(answer.text().await.unwrap());
    }
    assert!(told.iter().all(|page| *page == told[0]), "the answers are the same to the letter");
    for _ in 0..4 {
        assert_eq!(here.log_in("ada", "wrong").await.status().as_u16(), 401);
    }
    let answer = here.log_in("ada", PASSWORD).await;
    assert_eq!(answer.status().as_u16(), 429, "also with the right one");
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(here.log_in("bob", PASSWORD).await.status().as_u16(), 401, "another name has its own tries");
}

#[tokio::test]
async fn a_password_that_was_given_is_changed_before_anything_else() {
    let dir = tempfile::tempdir().unwrap();
    let here = Here::plain(dir.path()).await;
    here.person("ada", true).await;
    let first = cookie(&here.log_in("ada", PASSWORD).await);
    let other = cookie(&here.log_in("ada", PASSWORD).await);
    let page = here.get("/audit", &first).await;
    assert_eq!((page.status().as_u16(), page.headers()["location"].to_str().unwrap()), (303, "/password"));
    assert_eq!(here.get("/api/alerts", &first).await.status().as_u16(), 403);
    let word = here.me(&first).await.1["csrf"].as_str().unwrap().to_owned();
    let change = async |old: &str, new: &str| {
        let [old, new] = [old, new].map(|text| text.replace(' ', "+"));
        here.form("/password", &first, &format!("csrf={word}&old={old}&new={new}&again={new}")).await
    };
    for (old, new, part) in [
        (PASSWORD, "too short", "12 to 128 characters"),
        (PASSWORD, PASSWORD, "is the present one"),
        ("wrong", "another dozen of signs", "present password is wrong"),
    ] {
        let answer = change(old, new).await;
        assert_eq!(answer.status().as_u16(), 400, "{new}");
        assert!(answer.text().await.unwrap().contains(part), "{new}");
    }
    let changed = change(PASSWORD, "another dozen of signs").await;
    assert_eq!(changed.status().as_u16(), 303);
    let new = cookie(&changed);
    assert_eq!((here.me(&first).await.0, here.me(&other).await.0), (401, 401), "all others have ended");
    assert_eq!(here.get("/audit", &new).await.status().as_u16(), 200);
    assert_eq!(here.log_in("ada", PASSWORD).await.status().as_u16(), 401);
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_old_or_one_too_many() {
    let dir = tempfile::tempdir().unwrap();
    let here = Here::plain(dir.path()).await;
    here.person("ada", false).await;
    let begun = async |secret: &'static str, ago: Span, idle: Span| {
        here.within(move |tx| {
            let digest = token_sha256(secret);
            sessions::begin(tx, now() - ago, "ada", &digest, ("192.0.2.1", "test"))?;
            let seen = now() - idle;
            tx.execute(
                "UPDATE sessions SET seen_ms = $2 WHERE digest = $1",
                vigil_noc::ledger::args![&digest, seen],
            )
        })
        .await;
        here.me(&format!("vigil={secret}")).await.0
    };
    assert_eq!(begun("fresh", Span::from_mins(50), Span::from_mins(50)).await, 200);
    assert_eq!(begun("idle", Span::from_mins(62), Span::from_mins(61)).await, 401);
    assert_eq!(begun("long", Span::from_mins(11 * 60 + 50), Span::from_mins(1)).await, 200);
    assert_eq!(begun("old", Span::from_mins(12 * 60 + 1), Span::from_mins(1)).await, 401);
    let many = |tx: &mut dyn Database| {
        (0..40).try_for_each(|n| {
            sessions::begin(tx, now(), "ada", &format!("digest-{n}"), ("192.0.2.1", "test"))
        })?;
        sessions::list(tx, now(), "ada")
    };
    assert_eq!(here.within(many).await.len(), 32);
    assert_eq!(here.me("vigil=fresh").await.0, 401, "the oldest give way");
}

#[tokio::test]
async fn a_ticket_is_good_once() {
    let dir = tempfile::tempdir().unwrap();
    let here = Here::plain(dir.path()).await;
    here.person("ada", false).await;
    here.within(|tx| {
        sessions::issue(tx, now(), "ada", &token_sha256("good"))?;
        sessions::issue(tx, now() - Span::from_mins(6), "ada", &token_sha256("late"))
    })
    .await;
    assert_eq!(here.get("/login?ticket=late", "").await.status().as_u16(), 403);
    // A program that looks whether the link is alive does not come in with it.
    let looked = here.client.head(format!("{}/login?ticket=good", here.base)).send().await.unwrap();
    assert!(looked.headers().get("set-cookie").is_none());
    let first = here.get("/login?ticket=good", "").await;
    assert_eq!(first.status().as_u16(), 303);
    assert_eq!(here.me(&cookie(&first)).await.0, 200);
    let second = here.get("/login?ticket=good", "").await;
    assert!(second.status().as_u16() == 403 && !second.headers().contains_key("set-cookie"));
}

#[tokio::test]
async fn over_tls_the_cookie_goes_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let plain = NocConfig::on_loopback(dir.path().join("noc"), vec![]);
    let open = NocConfig { operator_listen: "0.0.0.0:0".parse().unwrap(), ..plain.clone() };
    let why = Noc::bind(open).await.err().unwrap().to_string();
    assert!(why.contains("passwords do not go there without TLS"), "{why}");
    let config = NocConfig { operator_tls: Some(TlsFiles { cert, key }), ..plain };
    let here = Here::open(config, Some(&made.cert.pem())).await;
    here.person("ada", false).await;
    let answer = here.log_in("ada", PASSWORD).await;
    assert!(given(&answer).starts_with("__Host-vigil=") && given(&answer).ends_with("; Secure"));
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=63072000");
    let cookie = cookie(&answer);
    assert_eq!(here.me(&cookie).await.0, 200);
    assert_eq!(here.me(&cookie.replace("__Host-vigil", "vigil")).await.0, 401);
}

#[tokio::test]
async fn an_address_counts_as_the_proxy_says_if_it_is_trusted() {
    for (trusted, waits) in [(true, false), (false, true)] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = NocConfig::on_loopback(dir.path().join("noc"), vec![]);
        if trusted {
            config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        }
        let here = Here::open(config, None).await;
        let mut last = 0;
        for n in 0..21 {
            let request = here.client.post(format!("{}/login", here.base));
            let request = request.header("content-type", "application/x-www-form-urlencoded");
            let request = request.header("x-forwarded-for", format!("192.0.2.{n}"));
            let answer = request.body(format!("name=n-{n}&password=x")).send().await.unwrap();
            last = answer.status().as_u16();
        }
        assert_eq!(last == 429, waits, "trusted: {trusted}, {last}");
    }
}
