//! A resumed broker session without a client-side one.
//!
//! The broker keeps our subscriptions and the jobs that arrive while we are away, so we want to resume its session; what
//! we had under way ourselves is in the outbox and is sent again anyway. The client library refuses to resume a session
//! of which it knows nothing (or, in its compatible mode, refuses to publish in it), so it is given an empty one.

use std::{future::Future, pin::Pin};

use rumqttc::{
    AckMode, MqttOptions, PersistedAckMode, PersistedSession, SessionStore, SessionStoreError, SessionStoreKey,
};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

/// Always holds a session with nothing under way. To be taken out of the options once connected: the library would save
/// every batch of packets into it.
#[derive(Debug)]
pub(super) struct EmptySession(PersistedSession);

impl EmptySession {
    pub fn for_options(options: &MqttOptions) -> Self {
        Self(PersistedSession {
            format_version: 1,
            client_id: options.client_id(),
            clean_start: options.clean_start(),
            session_expiry_interval: options.session_expiry_interval(),
            outgoing_inflight_upper_limit: options.get_outgoing_inflight_upper_limit(),
            ack_mode: match options.ack_mode() {
                AckMode::Automatic => PersistedAckMode::Automatic,
                AckMode::Manual => PersistedAckMode::Manual,
            },
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        })
    }
}

impl SessionStore for EmptySession {
    fn load<'a>(&'a self, _key: &'a SessionStoreKey) -> Answer<'a, Option<PersistedSession>> {
        Box::pin(async { Ok(Some(self.0.clone())) })
    }

    fn save<'a>(&'a self, _key: &'a SessionStoreKey, _session: &'a PersistedSession) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _key: &'a SessionStoreKey) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}
