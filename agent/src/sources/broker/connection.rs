//! One greeted client: a reader that takes packets in and a writer that answers when the store has them.
//!
//! ```text
//!  reader ── publish ──► ingress ──► pending (bounded) ──► writer: receipt, subscribers, ack
//!         └─ all else ─► replies (bounded) ─────────────► writer
//!                        session queue (bounded) ───────► writer
//! ```
//!
//! A full `pending` stops the reader, so a client feels the store's pace; a full `replies` stops it too, so a client
//! that does not read is not read from. Acknowledgements leave in the order in which the messages came.

use super::House;
use super::greeting::Guest;
use super::limits::{DRAIN, WRITE_BATCH};
use super::reader::Reader;
use super::writer::Writer;
use rmqtt_codec::v5::DisconnectReasonCode as Reason;
use std::sync::atomic::AtomicUsize;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Answers that may wait for the writer: one batch; more would only hide a client that does not read.
const REPLIES: usize = WRITE_BATCH;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Ending {
    #[error("the client disconnected")]
    Disconnected,
    #[error("the client disconnected and wants its will published")]
    DisconnectedWithWill,
    #[error("the connection closed")]
    Closed,
    #[error("nothing came within one and a half keep-alives")]
    Silent,
    #[error("the client broke the protocol: {0:?}")]
    Protocol(Reason),
    #[error("the client does not read")]
    Unwritable,
    #[error("the broker ended it: {0:?}")]
    Kicked(Reason),
    #[error("a message could not be stored")]
    NotStored,
    #[error("the agent takes no more input")]
    Stopped,
}

impl Ending {
    /// What a v5 client is told.
    pub(super) fn last_word(self) -> Option<Reason> {
        match self {
            Self::Disconnected | Self::DisconnectedWithWill | Self::Closed | Self::Unwritable => None,
            Self::Silent => Some(Reason::KeepAliveTimeout),
            Self::Protocol(reason) | Self::Kicked(reason) => Some(reason),
            Self::NotStored => Some(Reason::UnspecifiedError),
            Self::Stopped => Some(Reason::ServerShuttingDown),
        }
    }

    /// Whether the client left in order, or was cut off by the agent's own trouble: neither says anything about it.
    fn revokes_will(self) -> bool {
        match self {
            Self::Disconnected | Self::NotStored | Self::Stopped => true,
            Self::Kicked(reason) => reason == Reason::ServerShuttingDown,
            Self::DisconnectedWithWill
            | Self::Closed
            | Self::Silent
            | Self::Protocol(_)
            | Self::Unwritable => false,
        }
    }
}

/// Serves a client until its connection ends, and says how.
pub(super) async fn serve(house: &House, guest: Guest) -> Ending {
    let Guest { frames, sink, version, peer, idle, attached } = guest;
    let (mut attachment, mut kicked) = (attached.attachment, attached.kicked);
    let (pending, settling) = mpsc::channel(usize::from(house.exchange.limits.in_flight));
    let (replies, replying) = mpsc::channel(REPLIES);
    let unacked = AtomicUsize::new(0);
    let mut writer = Writer {
        house,
        attachment: &attachment,
        sink,
        version,
        peer,
        settling,
        head: None,
        replying,
        unacked: &unacked,
    };
    let share = house.shares.of(attachment.key().user());
    let unacked = &unacked;
    let reader =
        Reader { house, attachment: &attachment, frames, version, idle, pending, replies, unacked, share };
    let ending = {
        let mut reading = std::pin::pin!(reader.run());
        let mut writing = std::pin::pin!(writer.run());
        tokio::select! {
            ending = &mut reading => drain(ending, writing).await,
            ending = &mut writing => ending,
            reason = &mut kicked => Ending::Kicked(reason.unwrap_or(Reason::SessionTakenOver)),
        }
    };
    writer.say_last_word(ending).await;
    if ending.revokes_will() {
        attachment.forget_will();
    }
    ending
}

/// What was taken before the end is stored and routed all the same; then the connection ends as it did.
async fn drain(ending: Ending, writing: impl Future<Output = Ending>) -> Ending {
    match timeout(DRAIN, writing).await {
        Ok(Ending::NotStored) => Ending::NotStored,
        Ok(_) => ending,
        Err(_) => {
            tracing::warn!("a connection ended while its messages were still on their way to the store");
            ending
        }
    }
}
