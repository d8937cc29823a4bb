//! What a receiver takes: events a second that are durably stored, over HTTP, from 1, 10 and 100 gateways, on SQLite and on
//! PostgreSQL, beside a loop that does nothing but insert the same texts into the same database; and how long its pages wait for
//! their rows when there are ten million events.
//!
//! `tests/postgres cargo bench -p vigil-tests --bench noc`; `VIGIL_BENCH_ROUNDS` says how often (3), `VIGIL_BENCH_SECS` how long each
//! round takes (5), `VIGIL_BENCH_EVENTS` how many events lie there (10,000,000; some gigabytes in `VIGIL_BENCH_DIR`).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use vigil_cloud_sync::wire::Producer;
use vigil_cloud_sync::{Event, EventKind, Origin, Token, Uplink, UplinkConfig, Verdict, Way};
use vigil_core::id::{GatewayId, OperatorId, SiteId, TenantId};
use vigil_core::time::Timestamp;
use vigil_noc::access::audit::Actor;
use vigil_noc::access::tokens::{self, NewToken};
use vigil_noc::access::{Role, Scope, secret};
use vigil_noc::ledger::{Arg, Database, Engine, Filter, Ledger, Place, insert, within};
use vigil_noc::{GatewayAccess, Noc, NocConfig, token_sha256};
use vigil_tests::bench::figures::{Figure, Table, percentile, short};
use vigil_tests::bench::proc::machine;
use vigil_tests::bench::{Failure, folder, setting};
use vigil_tests::house::{address, fetch_as, new_database};

/// Events in a batch: an hour of a site of fifty guards after an outage.
const BATCH: usize = 100;
/// How many gateways send at once.
const GATEWAYS: [usize; 3] = [1, 10, 100];
/// How long gateways send before anything is counted.
const WARMS_UP: Duration = Duration::from_secs(1);
/// How often each page is asked for.
const QUESTIONS: usize = 200;
/// How often each page is asked for over HTTP: some of them take seconds.
const OPENED: usize = 20;
/// How many days have a report.
const REPORTED: usize = 30;
/// How many rows one statement makes while the ten million are laid down.
const LAID_AT_ONCE: usize = 500_000;

fn main() -> Result<(), Failure> {
    println!("{}\n", machine());
    let rounds = setting("VIGIL_BENCH_ROUNDS", 3)?;
    let lasts = Duration::from_secs(setting("VIGIL_BENCH_SECS", 5)?.try_into()?);
    let runtime = tokio::runtime::Runtime::new()?;
    println!("## Events a second, durably stored, {BATCH} in a batch\n");
    let mut table = Table::new(&["database", "gateways", "events/s", "bare inserts/s", "ratio"]);
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let mut columns = GATEWAYS.map(|gateways| (gateways, Figure::default(), Figure::default()));
        for _ in 0..rounds {
            for (gateways, taken, bare) in &mut columns {
                let dir = tempfile::tempdir_in(folder())?;
                bare.push(insert_bare(place(engine, dir.path()), lasts)?);
                let place = place(engine, dir.path());
                taken.push(runtime.block_on(receive(place, dir.path(), *gateways, lasts))?);
            }
        }
        for (gateways, taken, bare) in &columns {
            let ratio = taken.ratio(bare);
            let cells = [
                format!("{engine:?}"),
                gateways.to_string(),
                taken.to_string(),
                bare.to_string(),
                ratio.to_string(),
            ];
            table.row(cells.to_vec());
        }
    }
    println!("{table}");
    let events = setting("VIGIL_BENCH_EVENTS", 10_000_000)?;
    println!(
        "## Milliseconds for the rows of a page, with {} events\n",
        short(f64::from(u32::try_from(events)?))
    );
    let mut table =
        Table::new(&["database", "page", "median", "p99", "one row by its key", "ratio of the medians"]);
    let mut pages = Table::new(&["database", "page", "median", "most", "kB"]);
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let dir = tempfile::tempdir_in(folder())?;
        let place = match engine {
            Engine::Sqlite => vigil_noc::place(dir.path(), None),
            Engine::Postgres => place(engine, dir.path()),
        };
        ask_pages(place.clone(), events, &mut table)?;
        runtime.block_on(open_pages(engine, place, dir.path(), &mut pages))?;
    }
    println!("{table}");
    println!(
        "## Milliseconds until a page is there, over HTTP, with the same events, {REPORTED} days of 1,000 sites among them\n"
    );
    println!("{pages}");
    Ok(())
}

fn place(engine: Engine, dir: &Path) -> Place {
    match engine {
        Engine::Sqlite => Place::File(dir.join("bare.db")),
        Engine::Postgres => Place::Server(Box::new(address(&new_database()))),
    }
}

/// How many guards a site has.
const GUARDS: usize = 50;

/// When it was detected: the alerts of one guard lie 31 minutes apart, each an incident of its own.
fn detected(number: usize) -> Timestamp {
    let seconds = i64::try_from(number / GUARDS * 1_860 + number % GUARDS).unwrap_or(0);
    Timestamp::from_millis(1_773_160_000_000 + seconds * 1_000)
}

/// An alert as a gateway sends it, of 600 bytes.
fn alert(gateway: usize, number: usize) -> (String, String) {
    let id = format!("3963a8c9-4fcb-5d88-{gateway:04x}-{number:012x}");
    let (guard, at) = (number % GUARDS, detected(number));
    let data = format!(
        r#"{{"id":"{id}","revision":1,"site":"s-{gateway}","rule":"inactivity","severity":"HIGH","status":"DETECTED","subject":"guard:G-{guard}","guard":"G-{guard}","detected_at":"{at}","updated_at":"{at}","cleared_at":null,"escalated":false,"summary":"Asha Rao has not moved for 30 minutes","evidence":{{"window_start":"2026-11-21T04:47:14.000Z","window_end":"2026-11-21T05:17:14.000Z","score":120,"deep_night":true,"consecutive":2,"minutes_since":30}},"verification":{{"method":"NONE"}},"history":[{{"at":"{at}","by":"agent","status":"DETECTED","note":null}}]}}"#
    );
    (format!("{id}.1"), data)
}

/// The same texts, one batch a transaction, into a table with nothing but a key and the text.
fn insert_bare(place: Place, lasts: Duration) -> Result<f64, Failure> {
    let mut ledger = place.open(None)?;
    ledger.database().batch("CREATE TABLE bare (id TEXT NOT NULL PRIMARY KEY, data TEXT NOT NULL)")?;
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < lasts {
        let batch: Vec<_> = (count..count + BATCH).map(|number| alert(0, number)).collect();
        let rows: Vec<_> = batch.iter().map(|(id, data)| vec![Arg::Text(id), Arg::Text(data)]).collect();
        within(ledger.database(), |tx| insert(tx, "INSERT INTO bare (id, data)", "", &rows))?;
        count += BATCH;
    }
    Ok(rate(count, began.elapsed()))
}

fn rate(count: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / took.as_secs_f64()
}

fn origin(gateway: usize) -> Result<Origin, Failure> {
    let (tenant, site) = (TenantId::new("acme")?, SiteId::new(&format!("s-{gateway}"))?);
    Ok(Origin { tenant, site, gateway: GatewayId::new(&format!("gw-{gateway}"))? })
}

fn access(n: usize) -> Result<GatewayAccess, Failure> {
    let Origin { tenant, site, gateway } = origin(n)?;
    let token_sha256 = Some(token_sha256(&format!("token-{n}")));
    Ok(GatewayAccess { gateway, tenant, site, token_sha256, cert_sha256: vec![] })
}

/// A receiver, and that many gateways that send as fast as they are answered.
async fn receive(place: Place, dir: &Path, gateways: usize, lasts: Duration) -> Result<f64, Failure> {
    let database = if let Place::Server(address) = place.clone() { Some(*address) } else { None };
    let gateways_of_it = (0..gateways).map(access).collect::<Result<_, _>>()?;
    let config = NocConfig { database, ..NocConfig::on_loopback(dir.join("noc"), gateways_of_it) };
    let noc = Noc::bind(config).await?;
    let url = format!("http://{}/v1", noc.events_addr());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(noc.serve(async { drop(stopped.await) }));
    let (over, stored) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut senders = vec![];
    for n in 0..gateways {
        let uplink = Uplink::new(UplinkConfig::new(&url, origin(n)?, Token::new(&format!("token-{n}"))))?;
        senders.push(tokio::spawn(send(uplink, n, Arc::clone(&over), Arc::clone(&stored))));
    }
    tokio::time::sleep(WARMS_UP).await;
    if let Place::Server(_) = place {
        // As its autovacuum does within a minute: of tables that it does not know PostgreSQL believes that they are empty.
        tokio::task::spawn_blocking(move || place.open(None)?.database().batch("ANALYZE")).await??;
    }
    let (began, before) = (Instant::now(), stored.load(Ordering::Acquire));
    tokio::time::sleep(lasts).await;
    let (count, took) = (stored.load(Ordering::Acquire) - before, began.elapsed());
    over.store(true, Ordering::Release);
    for sender in senders {
        sender.await??;
    }
    drop(stop);
    serving.await??;
    Ok(rate(count, took))
}

async fn send(
    uplink: Uplink,
    gateway: usize,
    over: Arc<AtomicBool>,
    stored: Arc<AtomicUsize>,
) -> Result<(), Failure> {
    let mut sent = 0;
    while !over.load(Ordering::Acquire) {
        let batch: Vec<Event> = (sent..sent + BATCH).map(|number| event(gateway, number)).collect();
        match uplink.deliver(&batch).await {
            Verdict::Stored(answer) if answer.accepted == BATCH => {
                stored.fetch_add(BATCH, Ordering::AcqRel);
                sent += BATCH;
            }
            // More batches at once than a receiver takes: it asks for a moment, and gets it.
            Verdict::Retry { .. } => tokio::time::sleep(Duration::from_millis(50)).await,
            other @ (Verdict::Stored(_)
            | Verdict::Unauthorized { .. }
            | Verdict::TooLarge
            | Verdict::RejectedWhole { .. }) => {
                return Err(format!("a batch was not stored: {other:?}").into());
            }
        }
    }
    Ok(())
}

fn event(gateway: usize, number: usize) -> Event {
    let (id, data) = alert(gateway, number);
    Event {
        producer: Producer(7),
        sequence: u64::try_from(number).unwrap_or(0) + 1,
        id,
        kind: EventKind::Alert,
        subject: format!("guard:G-{}", number % GUARDS),
        time: detected(number),
        critical: false,
        data,
    }
}

/// Lays down `events` of a thousand sites in a year, one in ten of them an alert of its own, and asks for what pages show.
fn ask_pages(place: Place, events: usize, table: &mut Table) -> Result<(), Failure> {
    let mut ledger = place.open(None)?;
    let laying = Instant::now();
    lay_down(ledger.database(), events)?;
    eprintln!(
        "{:?}: {events} events laid down in {:.0} s",
        ledger.database().engine(),
        laying.elapsed().as_secs_f64()
    );
    let engine = format!("{:?}", ledger.database().engine());
    let scope = Scope::whole();
    let by_key = times(&mut ledger, &mut |ledger, n| {
        let id = format!("a-{}", n * 10);
        let found = ledger.alert(&scope, &format!("acme/s-{}", n * 10 % 1_000), "gw-1", &id)?;
        assert!(found.is_some(), "{id} was laid down");
        Ok(())
    })?;
    let baseline = percentile(&by_key, 50);
    type Ask<'a> = Box<dyn FnMut(&mut Ledger, usize) -> Result<(), vigil_noc::ledger::LedgerError> + 'a>;
    let pages: Vec<(&str, Ask<'_>)> = vec![
        ("the list of alerts (200)", Box::new(|ledger, _| find(ledger, &scope, &Filter::default()))),
        ("those of one site", Box::new(|ledger, n| find(ledger, &scope, &of_site(n)))),
        ("those with two words", Box::new(|ledger, _| find(ledger, &scope, &searched("moved minutes")))),
        ("all gateways (1,000)", Box::new(|ledger, _| ledger.gateways(&scope).map(drop))),
        (
            "the newest runs (200)",
            Box::new(|ledger, _| ledger.records(&scope, EventKind::Tour, 200).map(drop)),
        ),
    ];
    for (page, mut ask) in pages {
        let asked = times(&mut ledger, &mut ask)?;
        let median = percentile(&asked, 50);
        let cells = [median, percentile(&asked, 99), baseline, median / baseline].map(short);
        table.row([vec![engine.clone(), page.to_owned()], cells.to_vec()].concat());
    }
    Ok(())
}

fn find(ledger: &mut Ledger, scope: &Scope, filter: &Filter) -> Result<(), vigil_noc::ledger::LedgerError> {
    ledger.find(scope, filter, None, 200).map(drop)
}

fn of_site(n: usize) -> Filter {
    let mut filter = Filter::default();
    filter.at("acme", &format!("s-{}", n * 10 % 1_000));
    filter
}

fn searched(words: &str) -> Filter {
    let mut filter = Filter::default();
    filter.search(words);
    filter
}

/// The same ledger behind a receiver: what a page waits for, with who asks, the sums and the writing of it.
async fn open_pages(engine: Engine, place: Place, dir: &Path, table: &mut Table) -> Result<(), Failure> {
    let database = if let Place::Server(address) = place { Some(*address) } else { None };
    let noc =
        Noc::bind(NocConfig { database, ..NocConfig::on_loopback(dir.to_owned(), vec![access(0)?]) }).await?;
    let token = secret::made()?;
    let new = NewToken {
        name: OperatorId::new("bench")?,
        tenant: None,
        role: Role::Viewer,
        digest: secret::digest(&token),
    };
    let clerk = noc.clerk();
    clerk
        .ask(move |ledger| {
            ledger.within(|tx| tokens::add(tx, &Actor::console(), Timestamp::from_millis(0), &new))
        })
        .await?;
    let at = noc.operator_addr();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(noc.serve(async { drop(stopped.await) }));
    let pages = [
        ("alerts, 200 of all", "/api/alerts?limit=200"),
        ("alerts, 200 of a site", "/api/alerts?tenant=acme&site=s-70&limit=200"),
        ("alerts with two words", "/api/alerts?q=moved+minutes&limit=200"),
        ("all gateways", "/api/gateways"),
        ("the dashboard", "/api/dashboard"),
        ("a month of one site", "/api/reports?site=acme/s-70&from=2026-05-01&to=2026-05-30"),
        ("a day of all sites", "/api/reports?from=2026-05-30&to=2026-05-30"),
        ("a month of all sites", "/api/reports?from=2026-05-01&to=2026-05-30"),
        ("the ranking of a week", "/api/rankings?from=2026-05-24&to=2026-05-30"),
    ];
    for (page, path) in pages {
        let token = token.clone();
        let asked = tokio::task::spawn_blocking(move || -> Result<(Vec<f64>, usize), Failure> {
            let (mut took, mut bytes) = (vec![], 0);
            for _ in 0..OPENED {
                let began = Instant::now();
                let (status, body) = fetch_as(at, path, Some(&token))?;
                took.push(began.elapsed().as_secs_f64() * 1_000.0);
                if status != 200 {
                    return Err(format!("{path}: {status} {body}").into());
                }
                bytes = body.len();
            }
            took.sort_by(f64::total_cmp);
            Ok((took, bytes))
        });
        let (took, bytes) = asked.await??;
        let cells = [percentile(&took, 50), percentile(&took, 100)].map(short);
        let size = short(f64::from(u32::try_from(bytes)?) / 1_000.0);
        table.row([vec![format!("{engine:?}"), page.to_owned()], cells.to_vec(), vec![size]].concat());
    }
    drop(stop);
    serving.await??;
    Ok(())
}

/// The example that the contract has under a heading: what a gateway sends.
fn example(heading: &str) -> Result<serde_json::Value, Failure> {
    let page = include_str!("../../docs/noc-contract.md");
    let block = page.split(&format!("### {heading}\n")).nth(1).and_then(|rest| rest.split("```").nth(1));
    let block = block.ok_or_else(|| format!("the contract has no example of {heading}"))?;
    Ok(serde_json::from_str(block.trim_start_matches("json"))?)
}

type Asking<'a> = &'a mut dyn FnMut(&mut Ledger, usize) -> Result<(), vigil_noc::ledger::LedgerError>;

/// In milliseconds, the least first.
fn times(ledger: &mut Ledger, ask: Asking<'_>) -> Result<Vec<f64>, Failure> {
    let mut took = vec![];
    for n in 0..QUESTIONS {
        let asked = Instant::now();
        ask(ledger, n * 37)?;
        took.push(asked.elapsed().as_secs_f64() * 1_000.0);
    }
    took.sort_by(f64::total_cmp);
    Ok(took)
}

/// The last days of every site, as the contract's example has one.
fn lay_down_days(database: &mut dyn Database) -> Result<(), Failure> {
    let mut report = example("Report")?;
    let start = "INSERT INTO days (place, gateway, date, tenant, site, revision, data)";
    for day in 1..=REPORTED {
        let date = format!("2026-05-{day:02}");
        report["date"] = date.clone().into();
        let sites = (0..1_000).map(|site| {
            let site = format!("s-{site}");
            report["site"] = site.clone().into();
            (format!("acme/{site}"), site, report.to_string())
        });
        let sites: Vec<_> = sites.collect();
        let row = |(place, site, data)| {
            vec![
                Arg::Text(place),
                Arg::Text("gw-1"),
                Arg::Text(&date),
                Arg::Text("acme"),
                Arg::Text(site),
                Arg::Int(1),
                Arg::Text(data),
            ]
        };
        for some in sites.chunks(100) {
            let rows: Vec<_> = some.iter().map(|(place, site, data)| row((place, site, data))).collect();
            within(database, |tx| insert(tx, start, "", &rows))?;
        }
    }
    Ok(())
}

fn lay_down(database: &mut dyn Database, events: usize) -> Result<(), Failure> {
    let numbers = match database.engine() {
        Engine::Sqlite => "WITH RECURSIVE g(n) AS (SELECT $1 UNION ALL SELECT n + 1 FROM g WHERE n + 1 < $2)",
        Engine::Postgres => "WITH g AS (SELECT n FROM generate_series($1::bigint, $2::bigint - 1) AS n)",
    };
    let (place, millis) = ("'acme/s-' || (n % 1000)", "1750000000000 + n * 3153");
    let body = "'{\"id\":\"a-' || n || '\",\"revision\":1,\"severity\":\"HIGH\",\"status\":\"DETECTED\",\"rule\":\"inactivity\",\"summary\":\"has not moved for 30 minutes\",\"detected_at\":\"2026-11-21T05:17:14.000Z\"}'";
    let kind =
        "CASE WHEN n % 10 = 0 THEN 'vigil.alert' WHEN n % 10 < 4 THEN 'vigil.tour' ELSE 'vigil.health' END";
    let run = example("Tour")?.to_string().replace('\'', "''");
    let statements = [
        format!(
            "{numbers} INSERT INTO events (place, gateway, id, kind, sequence, subject, time_ms, received_ms, data)
             SELECT {place}, 'gw-1', 'e-' || n, {kind}, CAST(n AS TEXT), 'guard:G-7', {millis}, {millis}, {body} FROM g"
        ),
        format!(
            "{numbers} INSERT INTO alerts (place, gateway, id, tenant, site, revision, rule, severity, status, subject, guard,
                 summary, urgent, detected_ms, updated_ms, received_ms, data)
             SELECT {place}, 'gw-1', 'a-' || n, 'acme', 's-' || (n % 1000), 1, 'inactivity', 'HIGH', 'DETECTED', 'guard:G-7', 'G-7',
                 'has not moved for 30 minutes', 0, {millis}, {millis}, {millis}, {body} FROM g WHERE n % 10 = 0"
        ),
        format!(
            "{numbers} INSERT INTO runs (place, gateway, id, tenant, site, revision, tour, guard, scheduled_ms, data)
             SELECT {place}, 'gw-1', 'r-' || n, 'acme', 's-' || (n % 1000), 1, 'T-1', 'G-7', {millis}, '{run}' FROM g
             WHERE n % 10 BETWEEN 1 AND 3"
        ),
        format!("{numbers} INSERT INTO event_ids (place, gateway, id, time_ms) SELECT {place}, 'gw-1', 'e-' || n, {millis} FROM g"),
    ];
    for site in 0..1_000 {
        let (place, site) = (format!("acme/s-{site}"), format!("s-{site}"));
        let args = [Arg::Text(&place), Arg::Text(&site)];
        database.execute("INSERT INTO gateways (place, gateway, tenant, site, sequences) VALUES ($1, 'gw-1', 'acme', $2, '{\"heard\":null,\"holes\":[],\"given_up\":0}')", &args)?;
    }
    lay_down_days(database)?;
    // A name of its own has an event on PostgreSQL alone, where the table of a month cannot say that there is no second one.
    let count = if database.engine() == Engine::Sqlite { 3 } else { 4 };
    for first in (0..events).step_by(LAID_AT_ONCE) {
        let bounds =
            [first, (first + LAID_AT_ONCE).min(events)].map(|n| Arg::Int(i64::try_from(n).unwrap_or(0)));
        for statement in statements.iter().take(count) {
            within(database, |tx| tx.execute(statement, &bounds))?;
        }
    }
    database.batch("ANALYZE")?;
    Ok(())
}
