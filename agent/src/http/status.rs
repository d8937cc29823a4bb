//! What the gateway says of itself: one object for the page, the local API, the metrics and `vigil status`.

use super::Desk;
use crate::bundles::Standing;
use crate::clock::ClockView;
use crate::pump::{Outage, Stock, Stopping, Thinned};
use crate::sources::broker::{BrokerHandle, Counts};
use crate::sources::decode::Reason;
use crate::sources::decode::foreign::Advice;
use crate::sources::serial::LineState;
use crate::store::Lane;
use crate::uplink::Receiver;
use serde::Serialize;
use std::collections::BTreeMap;
use vigil_cloud_sync::{LinkView, ListenerState, UplinkState};
use vigil_core::engine::Outcome;
use vigil_core::id::GatewayId;
use vigil_core::view::View;

/// How the source of messages is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SourceState {
    /// `embedded` or `external`.
    pub mode: &'static str,
    /// Where it listens, or what it connects to.
    pub address: String,
    /// Whether messages can come in.
    pub connected: bool,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// What waits for the NOC, by lane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outbox {
    /// CRITICAL alerts.
    pub critical: usize,
    /// Other alerts.
    pub alerts: usize,
    /// Closed runs.
    pub tours: usize,
    /// Reports.
    pub reports: usize,
    /// Health.
    pub health: usize,
    /// Events that the NOC rejected, since the store was made.
    pub dead: u64,
    /// The highest number that an event was given; the NOC names the highest that it has. `null` before the first.
    pub highest_sequence: Option<u64>,
}

/// Everything that the gateway says of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// Which gateway.
    pub gateway: GatewayId,
    /// The agent's version.
    pub version: &'static str,
    /// The site, as it is now.
    #[serde(flatten)]
    pub view: View,
    /// What the time is worth.
    pub clock: ClockView,
    /// How messages come in.
    pub source: SourceState,
    /// How the serial lines are.
    pub serial: Vec<LineState>,
    /// Foreign devices that are not set up as they should be, and the setting that mends it.
    pub advice: Vec<Advice>,
    /// Devices that talk without end, and what of theirs was thinned since the start.
    pub floods: Vec<Thinned>,
    /// What the broker inside has counted since the start; `null` with a broker outside.
    pub broker: Option<Counts>,
    /// What the receiver is; `null` without an uplink.
    pub receiver: Option<Receiver>,
    /// How the uplink is; `null` if none is configured.
    pub uplink: Option<UplinkState>,
    /// Whether the NOC can be reached at all; `null` without an uplink.
    pub link: Option<LinkView>,
    /// How the way of commands is; `null` without an uplink, and with one to an Alertmanager.
    pub commands: Option<ListenerState>,
    /// How it stands with site bundles; `null` if none can be taken.
    pub bundle: Option<Standing>,
    /// What waits.
    pub outbox: Outbox,
    /// Inputs refused, by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Observations, by what became of them.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Bytes of the store on disk.
    pub store_bytes: u64,
    /// Why nothing is stored now; `null` while everything is.
    pub outage: Option<Outage>,
    /// For how many seconds the store has not answered, if the disk is stuck.
    pub stuck_secs: Option<u64>,
    /// Inputs that went before their time for want of room, since the store was made.
    pub dropped_inputs: u64,
    /// Commits since the start.
    pub commits: u64,
    /// Records that could not be read and were set aside.
    pub set_aside: u64,
}

impl Status {
    /// Asks the pump.
    pub async fn of(desk: &Desk) -> Result<Self, Stopping> {
        let stock = desk.pump.stock().await?;
        let view = desk.pump.view().await?;
        let ways = desk.uplink.as_ref();
        let commands = ways.and_then(|ways| ways.commands.as_ref());
        let source = desk.source.borrow().clone();
        Ok(Self {
            gateway: desk.gateway.clone(),
            version: env!("CARGO_PKG_VERSION"),
            view,
            clock: desk.clock.view(),
            source,
            serial: desk.serial.iter().map(|line| line.borrow().clone()).collect(),
            advice: desk.recall.advice(),
            floods: stock.floods.clone(),
            broker: desk.broker.as_ref().map(BrokerHandle::counts),
            receiver: ways.map(|ways| ways.receiver),
            uplink: ways.map(|ways| ways.events.borrow().clone()),
            link: ways.map(|ways| ways.link.view(desk.clock.now())),
            commands: commands.map(|commands| commands.borrow().clone()),
            bundle: desk.bundle.as_ref().map(|bundle| bundle.borrow().clone()),
            outbox: outbox(&stock),
            refused: stock.marks.refused,
            outcomes: stock.marks.outcomes,
            store_bytes: stock.bytes,
            outage: desk.pump.outage().map(|outage| Outage::clone(&outage)),
            stuck_secs: None,
            dropped_inputs: stock.dropped,
            commits: stock.commits,
            set_aside: stock.marks.set_aside,
        })
    }
}

fn outbox(stock: &Stock) -> Outbox {
    let depth = |lane: Lane| stock.outbox.get(lane as usize).copied().unwrap_or(0);
    Outbox {
        critical: depth(Lane::Critical),
        alerts: depth(Lane::Alert),
        tours: depth(Lane::Tour),
        reports: depth(Lane::Report),
        health: depth(Lane::Health),
        dead: stock.marks.dead,
        highest_sequence: stock.marks.next_sequence.checked_sub(1),
    }
}
