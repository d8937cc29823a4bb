//! Every bound of the broker, each with the reason for its number, and the counters of what met one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The largest payload that is taken (contract 4); a larger one is acknowledged and refused.
pub(super) const MAX_PAYLOAD_BYTES: usize = 64 * 1024;

/// The largest packet that is read at all: room to say "too large" politely to a message of four times the limit.
pub(super) const MAX_PACKET_BYTES: u32 = 256 * 1024;

/// The largest CONNECT: a name, a password, a small will. Strangers get no bigger buffer than this.
pub(super) const MAX_CONNECT_BYTES: u32 = 8 * 1024;

/// The longest topic: five levels of ids of 64 characters fit in 330 bytes.
pub(super) const MAX_TOPIC_BYTES: usize = 512;

/// The deepest topic: the contract's have 5 levels, ChirpStack's 6; matching recurses once a level.
pub(super) const MAX_TOPIC_LEVELS: usize = 16;

/// The longest client id: the 3.1.1 specification demands 23, phones append a UUID.
pub(super) const MAX_CLIENT_ID_BYTES: usize = 128;

/// Un-acknowledged messages to a client that names no receive maximum: mosquitto's default, which small clients survive.
pub(super) const DEFAULT_WINDOW: u16 = 20;

/// Packets that are encoded before one flush: enough to fill a segment with acknowledgements, little to lose.
pub(super) const WRITE_BATCH: usize = 64;

/// How long a connection that ended may still wait for receipts, so that a message followed by a close is routed.
pub(super) const DRAIN: Duration = Duration::from_secs(5);

/// How long a last word (a v5 DISCONNECT, the end of TLS) may take to a peer that is being closed.
pub(super) const LAST_WORD: Duration = Duration::from_secs(1);

/// How long all connections together may take to end at shutdown: within the five seconds of contract 1.
pub(super) const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// How often expired sessions are looked for; due wills wake the broker by themselves.
pub(super) const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// Password verifications at one time: a flood of wrong ones may occupy no more threads than this.
pub(super) const VERIFICATIONS: usize = 2;

/// The bounds that a site or a test may want different.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections: the thousand guards that the engine is measured with, their readers, and a margin.
    pub connections: usize,
    /// Open connections of one address, loopback excepted: a whole site behind one Wi-Fi router.
    pub connections_per_address: usize,
    /// From accept to the end of authentication, TLS included: a slow radio needs seconds, a scanner gets no more.
    pub connect_timeout: Duration,
    /// Wait before a refused CONNECT is answered: makes guessing passwords slow and costs an honest client nothing.
    pub refusal_pause: Duration,
    /// Un-acknowledged messages of one connection, each way (v5 receive maximum): twice what saturates the store.
    pub in_flight: u16,
    /// Sessions, connected or kept: as many again as connections, for those who are off duty.
    pub sessions: usize,
    /// Longest life of a session without a connection: a guard's week off.
    pub session_expiry: Duration,
    /// Subscriptions of one session: a device needs three, a dashboard a dozen.
    pub subscriptions: usize,
    /// Messages that wait for one client: a night's alerts on a large site.
    pub queued_messages: usize,
    /// Bytes that wait for one client: those thousand messages at 1 KiB each.
    pub queued_bytes: usize,
    /// Bytes that wait for all clients together, in memory and on disk: a full queue for each of thirty-two screens.
    pub queued_bytes_of_all: usize,
    /// Retained messages: a status for each device of the largest site measured, and the gateway's.
    pub retained_messages: usize,
    /// Bytes of retained topics and payloads: 1 KiB each.
    pub retained_bytes: usize,
    /// Silence that is taken from a client with a longer keep-alive or none: three heartbeats would be overdue.
    pub idle: Duration,
    /// How long a client may take to read what it was sent: longer than a Wi-Fi roam, shorter than a supervisor's patience.
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2_048,
            connections_per_address: 256,
            connect_timeout: Duration::from_secs(10),
            refusal_pause: Duration::from_millis(500),
            in_flight: 128,
            sessions: 4_096,
            session_expiry: Duration::from_secs(7 * 24 * 3_600),
            subscriptions: 64,
            queued_messages: 1_000,
            queued_bytes: 1024 * 1024,
            queued_bytes_of_all: 32 * 1024 * 1024,
            retained_messages: 4_096,
            retained_bytes: 4 * 1024 * 1024,
            idle: Duration::from_secs(3_600),
            write_timeout: Duration::from_secs(20),
        }
    }
}

/// A number that only rises.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the broker counts as it runs.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accepted: Counter,
    pub(super) turned_away: Counter,
    pub(super) refused_connects: Counter,
    pub(super) published: Counter,
    pub(super) refused_publishes: Counter,
    pub(super) acknowledged: Counter,
    pub(super) delivered: Counter,
    pub(super) dropped: Counter,
    pub(super) refused_subscriptions: Counter,
    pub(super) refused_wills: Counter,
    pub(super) refused_retained: Counter,
    pub(super) wills: Counter,
    pub(super) takeovers: Counter,
    pub(super) ended_for_room: Counter,
}

/// The counters at one instant, for `/metrics`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Clients that are connected now.
    pub connected: u64,
    /// Sessions that exist now, connected or kept.
    pub sessions: u64,
    /// Retained messages that are kept now.
    pub retained: u64,
    /// Sockets that were accepted.
    pub accepted: u64,
    /// Sockets that were closed at once because a bound of connections was reached.
    pub turned_away: u64,
    /// CONNECTs that were refused.
    pub refused_connects: u64,
    /// Messages that clients published, refused ones included.
    pub published: u64,
    /// Messages that were refused before they were looked at.
    pub refused_publishes: u64,
    /// Messages that were acknowledged to their publisher.
    pub acknowledged: u64,
    /// Messages that were written to subscribers.
    pub delivered: u64,
    /// Messages that a subscriber lost to a full queue, an expiry or its own packet limit.
    pub dropped: u64,
    /// Filters that were refused.
    pub refused_subscriptions: u64,
    /// Last wills that were refused.
    pub refused_wills: u64,
    /// Retained messages that found no room.
    pub refused_retained: u64,
    /// Last wills that were published.
    pub wills: u64,
    /// Connections that ended because their client came again.
    pub takeovers: u64,
    /// Sessions that ended before their time because another needed the room.
    pub ended_for_room: u64,
}

impl Counters {
    /// The counters now, without the three that are not counted but looked up.
    pub(super) fn snapshot(&self) -> Counts {
        Counts {
            accepted: self.accepted.get(),
            turned_away: self.turned_away.get(),
            refused_connects: self.refused_connects.get(),
            published: self.published.get(),
            refused_publishes: self.refused_publishes.get(),
            acknowledged: self.acknowledged.get(),
            delivered: self.delivered.get(),
            dropped: self.dropped.get(),
            refused_subscriptions: self.refused_subscriptions.get(),
            refused_wills: self.refused_wills.get(),
            refused_retained: self.refused_retained.get(),
            wills: self.wills.get(),
            takeovers: self.takeovers.get(),
            ended_for_room: self.ended_for_room.get(),
            ..Counts::default()
        }
    }
}
