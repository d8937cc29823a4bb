//! The way of a publish: what its sender may do, its size, the store, and then the subscribers.

use super::acl::{User, may_publish, may_retain};
use super::exchange::{Exchange, Key};
use super::limits::MAX_PAYLOAD_BYTES;
use super::session::{Message, property_bytes};
use super::topics::check_name;
use crate::sources::decode::Reason;
use crate::sources::{Intake, Share, Stopped};
use bytes::Bytes;
use rmqtt_codec::types::Publish;
use rmqtt_codec::v5::{PublishAckReason, PublishProperties};
use std::sync::Arc;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use vigil_core::site::Site;
use vigil_core::time::Timestamp;

/// Where everything that clients publish goes through.
#[derive(Debug, Clone)]
pub(super) struct Ingress {
    intake: Intake,
    site: watch::Receiver<Arc<Site>>,
    exchange: Arc<Exchange>,
}

/// A publish that is on its way to the store.
#[derive(Debug)]
pub(super) struct Taken {
    /// Resolves when it is stored.
    pub(super) receipt: oneshot::Receiver<()>,
    /// What its sender is told then.
    pub(super) reason: PublishAckReason,
    /// What subscribers get then; nothing if it is refused.
    pub(super) message: Option<Message>,
}

impl Ingress {
    pub(super) fn new(intake: Intake, site: watch::Receiver<Arc<Site>>, exchange: Arc<Exchange>) -> Self {
        Self { intake, site, exchange }
    }

    /// The site as it is now.
    pub(super) fn site(&self) -> Arc<Site> {
        Arc::clone(&self.site.borrow())
    }

    /// The agent's clock.
    pub(super) fn now(&self) -> Timestamp {
        self.intake.clock.now()
    }

    /// Takes a publish in, or records why not; waits while the store is behind.
    pub(super) async fn take(&self, user: &User, share: &Share, publish: Publish) -> Result<Taken, Stopped> {
        self.exchange.counters.published.add(1);
        let (topic, payload) = (&*publish.topic, &publish.payload);
        let site = self.site();
        if let Some((reason, detail)) = objection(&site, user, &publish) {
            let receipt = self.refuse(reason, topic, detail, payload).await?;
            let reason = ack_reason(reason);
            return Ok(Taken { receipt, reason, message: None });
        }
        let receipt = self.intake.submit_within(Some(share), topic, payload).await?;
        let message = Some(message(&site, publish));
        Ok(Taken { receipt, reason: PublishAckReason::Success, message })
    }

    async fn refuse(
        &self,
        reason: Reason,
        topic: &str,
        detail: String,
        payload: &[u8],
    ) -> Result<oneshot::Receiver<()>, Stopped> {
        self.exchange.counters.refused_publishes.add(1);
        self.intake.refuse(reason, topic, detail, payload).await
    }

    /// Whether a client may leave this will; one that it may not is recorded and forgotten.
    pub(super) async fn permits_will(&self, user: &User, message: &Message) -> Result<bool, Stopped> {
        if check_name(&message.topic).is_ok() && may_publish(&self.site(), user, &message.topic) {
            return Ok(true);
        }
        self.exchange.counters.refused_wills.add(1);
        let detail = format!("{user} may not leave a last will here");
        self.refuse(Reason::NotAllowed, &message.topic, detail, &message.payload).await?;
        Ok(false)
    }

    /// Publishes the will of a client that is gone; `false` if it could not be stored.
    pub(super) async fn publish_will(&self, key: &Key, mut message: Message) -> bool {
        message.retain &= may_retain(&self.site(), &message.topic);
        let Ok(receipt) = self.intake.submit(&message.topic, &message.payload).await else { return false };
        if receipt.await.is_err() {
            return false;
        }
        self.exchange.counters.wills.add(1);
        tracing::info!(client = key.client(), user = %key.user(), "published a last will");
        self.exchange.publish(message.published(Instant::now()), Some(key));
        true
    }
}

fn objection(site: &Site, user: &User, publish: &Publish) -> Option<(Reason, String)> {
    if let Err(error) = check_name(&publish.topic) {
        return Some((Reason::UnknownTopic, error.to_string()));
    }
    if !may_publish(site, user, &publish.topic) {
        let detail = format!(
            "{user} may publish only below vigil/v1/{}/{user}/, and to the foreign topics that the site file gives it",
            site.id
        );
        return Some((Reason::NotAllowed, detail));
    }
    let bytes = publish.payload.len() + publish.properties.as_ref().map_or(0, property_bytes);
    let detail = || format!("{bytes} bytes; at most {MAX_PAYLOAD_BYTES}");
    (bytes > MAX_PAYLOAD_BYTES).then(|| (Reason::TooLarge, detail()))
}

fn ack_reason(reason: Reason) -> PublishAckReason {
    match reason {
        Reason::NotAllowed => PublishAckReason::NotAuthorized,
        Reason::TooLarge => PublishAckReason::QuotaExceeded,
        Reason::UnknownTopic => PublishAckReason::TopicNameInvalid,
        Reason::NotJson
        | Reason::WrongType
        | Reason::OutOfRange
        | Reason::UnknownDevice
        | Reason::NotThisSite
        | Reason::Future
        | Reason::Command
        | Reason::NoRoom
        | Reason::Flood => PublishAckReason::UnspecifiedError,
    }
}

fn message(site: &Site, publish: Publish) -> Message {
    let retain = publish.retain && may_retain(site, &publish.topic);
    // A copy: a slice would keep the connection's whole read buffer alive for as long as the message waits.
    let payload = Bytes::copy_from_slice(&publish.payload);
    let properties =
        publish.properties.map(|p| PublishProperties { topic_alias: None, subscription_ids: vec![], ..p });
    let message = Message::new(&publish.topic, payload, retain).with_qos(publish.qos);
    message.with_properties(properties).published(Instant::now())
}
