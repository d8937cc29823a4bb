//! The box: the agent's own pump, store, courier and announcer, life after life, on one thread.

use super::plan::{Death, Point};
use super::road::{Road, Siren};
use super::world::{Case, Door, Stood, World};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Sleep;
use vigil_agent::announcer::Announcer;
use vigil_agent::clock::Clock;
use vigil_agent::pump::{self, Pump, PumpError, Terms, Wakes, rebuild};
use vigil_agent::sources::Intake;
use vigil_agent::store::{Store, StoreError};
use vigil_agent::uplink::StoredOutbox;
use vigil_cloud_sync::{Cadence, Courier, Link, ListenerState, Pace, UplinkState};
use vigil_core::time::{Span, Timestamp};

/// Nothing passes its time while it is looked at.
const RETENTION: Span = Span::from_hours(30 * 24);
/// Larger than any store of some days.
const MAX_BYTES: u64 = 1 << 30;
/// How often the gateway says how it is: rarely, because each time is a commit.
const HEARTBEAT: Duration = Duration::from_secs(600);

/// Why the box cannot be simulated any further.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The store failed, and nobody wanted it to.
    #[error("the store failed by itself: {0}")]
    Store(#[from] StoreError),
    /// The pump.
    #[error("the pump failed by itself: {0}")]
    Pump(#[from] PumpError),
    /// Something ended that does not end.
    #[error("the {0} ended by itself")]
    Ended(&'static str),
}

/// How a life ended.
enum End {
    /// In order.
    Stopped,
    /// Otherwise.
    Died(Death),
}

/// Lives until it is stopped in order.
pub async fn lives(world: Arc<World>, folder: &Path) -> Result<(), Broken> {
    world.boots(world.plan.began);
    for life in 0.. {
        let ended = one_life(&world, folder, life).await;
        world.set_door(None);
        let death = match ended? {
            End::Stopped => return Ok(()),
            End::Died(death) => death,
        };
        let went_down = world.now();
        let mut calm = world.calm.subscribe();
        tokio::select! {
            biased;
            () = tokio::time::sleep(death.down.to_std()) => {}
            _ = calm.wait_for(|calm| *calm) => {}
        }
        if death.reboots {
            world.boots(went_down);
        }
    }
    Ok(())
}

async fn one_life(world: &Arc<World>, folder: &Path, life: usize) -> Result<End, Broken> {
    match the_life(world, folder, life).await {
        Ok(end) => Ok(end),
        // The disk failed because it was to.
        Err(failed) => world.ended().map(End::Died).ok_or(failed),
    }
}

async fn the_life(world: &Arc<World>, folder: &Path, life: usize) -> Result<End, Broken> {
    let case = Case(Arc::clone(world));
    let clock = Clock::of(Arc::new(case.clone()));
    let mut store = Store::open(&folder.join("db"))?;
    if let Some(loss) = store.loss() {
        world.books().fault(format!("{}: {loss}", world.now()));
    }
    store.lies_on(Box::new(case));
    compare(world, &mut store)?;
    let (queue, inbound) = mpsc::channel(pump::QUEUE);
    let wakes = Wakes::default();
    let terms = Terms { retention: RETENTION, max_bytes: MAX_BYTES, has_uplink: true };
    let site = Arc::clone(&world.plan.site);
    let (pump, handle, _) =
        Pump::revive(store, Arc::clone(&site), clock.clone(), terms, inbound, wakes.clone())?;
    let (site, seen) = watch::channel(site);
    world.note(format!("lives, clock {} at {}", clock.view().state, clock.now()));
    let intake = Intake::new(seen.clone(), queue, clock.clone());
    world.set_door(Some(Door { intake, handle: handle.clone() }));
    let (state, uplink) = watch::channel(UplinkState::default());
    let commands = watch::channel(ListenerState::default()).1;
    let told = clock.clone();
    let courier = Courier {
        uplink: Road::new(world, &clock, life),
        outbox: Arc::new(StoredOutbox(handle.clone())),
        wake: Arc::clone(&wakes.uplink),
        state,
        cadence: Cadence::new(Pace::default(), world.plan.seed.wrapping_add(life as u64)),
        now: Arc::new(move || told.now()),
    };
    let never = watch::channel(false);
    let announcer = Announcer {
        pump: handle,
        voice: Siren::new(world, life),
        wake: wakes.announcer,
        unstored: wakes.unstored,
        site: seen,
        gateway: courier_gateway(world),
        link: Some(Link::new(uplink, commands, vigil_cloud_sync::link::patience(HEARTBEAT), clock.now())),
        takes_health: true,
        clock,
        heartbeat: HEARTBEAT,
        bundle: None,
        stopping: never.1,
    };
    let mut stop = world.stop.subscribe();
    let pump = Slow { world: Arc::clone(world), inner: Box::pin(pump.serve(&mut stop)), holds: None };
    let ended = tokio::select! {
        biased;
        () = world.dies.notified() => Err(Broken::Ended("life")),
        ended = pump => match ended {
            Ok(()) => Ok(End::Stopped),
            Err(why) => Err(why.into()),
        },
        _ = vigil_cloud_sync::run(courier, std::future::pending()) => Err(Broken::Ended("courier")),
        _ = announcer.run() => Err(Broken::Ended("announcer")),
    };
    drop((site, never.0));
    ended
}

fn courier_gateway(world: &World) -> vigil_core::id::GatewayId {
    super::world::locked(&world.noc).origin.gateway.clone()
}

/// The engine that comes out of the store is the one that was there, if nothing was written after it was looked at.
fn compare(world: &World, store: &mut Store) -> Result<(), StoreError> {
    let Some(Stood { marks, view }) = world.stood() else { return Ok(()) };
    if *store.marks() != marks {
        return Ok(());
    }
    let mut engine = rebuild(store.past()?, &world.plan.site, marks.judged_until, view.now);
    drop(engine.on_deadline(view.now));
    let mut books = world.books();
    books.counts.compared += 1;
    if engine.view(view.now) != view {
        let at = view.now;
        books.fault(format!("{at}: the engine out of the store is not the one that died"));
    }
    Ok(())
}

/// A pump whose disk takes its time: it is not woken before a write is through.
struct Slow<F> {
    world: Arc<World>,
    inner: Pin<Box<F>>,
    holds: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Future for Slow<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if let Some(holds) = &mut self.holds {
            ready!(holds.as_mut().poll(context));
            self.holds = None;
        }
        if let Poll::Ready(ended) = self.inner.as_mut().poll(context) {
            return Poll::Ready(ended);
        }
        let delay = self.world.disk_delay();
        if !delay.is_zero() {
            let mut holds = Box::pin(tokio::time::sleep(delay));
            if holds.as_mut().poll(context).is_pending() {
                self.holds = Some(holds);
            }
        }
        Poll::Pending
    }
}

/// Lets lives end as the plan says, until all is calm.
pub async fn fate(world: Arc<World>) {
    /// A point that is not met is forced.
    const PATIENCE: Span = Span::from_mins(10);
    for death in world.plan.deaths.clone() {
        world.until(death.at).await;
        if death.point == Point::AtRest {
            ends_at_rest(&world, death).await;
            continue;
        }
        world.arm(death);
        world.until(world.now() + PATIENCE).await;
        if let Some(death) = world.disarm() {
            ends_at_rest(&world, Death { point: Point::AtRest, ..death }).await;
        }
    }
    world.until(world.plan.calm_at).await;
}

/// Ends a life while it waits, and remembers how the engine stood.
async fn ends_at_rest(world: &World, death: Death) {
    let Some(Door { handle, .. }) = world.door() else { return };
    let look = async {
        let before = handle.stock().await.ok()?.marks;
        let view = handle.view().await.ok()?;
        let marks = handle.stock().await.ok()?.marks;
        (before == marks).then_some(Stood { marks, view })
    };
    let stood = look.await;
    if world.door().is_some() {
        world.end(death, stood);
    }
}

/// How long it takes until everything has arrived where it belongs.
pub const BOUND: Span = Span::from_mins(90);

/// Everything is calm: waits until nothing waits any more. What was buried is dug out first.
pub async fn settles(world: &World) -> Result<Timestamp, String> {
    const LOOK: Duration = Duration::from_secs(20);
    let by = world.now() + BOUND;
    let mut waits = "the box does not live".to_owned();
    while world.now() < by {
        tokio::time::sleep(LOOK).await;
        let Some(Door { handle, .. }) = world.door() else { continue };
        match what_waits(world, &handle).await {
            Some(None) => return Ok(world.now()),
            Some(Some(what)) => waits = what,
            None => {}
        }
    }
    Err(format!("after {} min of calm, {waits}", BOUND.millis() / 60_000))
}

/// What waits, if anything; nothing at all if the box does not answer.
async fn what_waits(world: &World, handle: &pump::PumpHandle) -> Option<Option<String>> {
    let letters = handle.dead_letters().await.ok()?;
    {
        let mut books = world.books();
        for (sequence, letter) in &letters {
            if !books.planted_numbers.contains(sequence) {
                let id = &letter.event.id;
                books.fault(format!("{id}, number {sequence}, is buried without a cause: {}", letter.reason));
            }
        }
        books.counts.buried += letters.len() as u64;
    }
    if !letters.is_empty() {
        handle.resend(letters.iter().map(|(sequence, _)| *sequence).collect()).await.ok()?;
    }
    let told = handle.next_announcements(1).await.ok()?.len();
    let outbox: usize = handle.stock().await.ok()?.outbox.iter().sum();
    let unsaid = {
        let books = world.books();
        books.words.values().filter(|word| word.acknowledged.is_none()).count()
    };
    let waits = told + outbox + unsaid > 0;
    Some(waits.then(|| format!("{unsaid} words, {outbox} events and {told} announcements still wait")))
}
