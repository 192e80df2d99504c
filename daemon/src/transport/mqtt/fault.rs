//! Why a connection ended. The codes are stable: operators search for them.

use std::fmt;

use rumqttc::{ConnectReturnCode, ConnectionError, DisconnectReasonCode, StateError, mqttbytes};

use crate::tls::TlsFault;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// The connection broke, could not be opened, or the broker said good-bye.
    Disconnected,
    /// It stood, and nothing came or went any more.
    Stalled,
    /// Another client came with our client id.
    ClientIdStolen,
    NotAuthorised,
    /// The broker did not answer CONNECT in time.
    ConnectTimeout,
    /// The broker does not want us at all.
    Refused,
    /// The broker did what MQTT does not allow.
    ProtocolError,
    /// The broker sent more than we told it that we take.
    PacketTooLarge,
    /// The connection is not to be trusted, or the broker does not trust us.
    Tls(TlsFault),
}

impl FaultKind {
    pub const fn code(self) -> &'static str {
        match self {
            Self::Disconnected => "mqtt/disconnected",
            Self::Stalled => "mqtt/stalled",
            Self::ClientIdStolen => "mqtt/client-id-stolen",
            Self::NotAuthorised => "mqtt/not-authorised",
            Self::ConnectTimeout => "mqtt/connect-timeout",
            Self::Refused => "mqtt/refused",
            Self::ProtocolError => "mqtt/protocol-error",
            Self::PacketTooLarge => "mqtt/packet-too-large",
            Self::Tls(fault) => fault.code(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Fault {
    pub kind: FaultKind,
    why: String,
}

impl Fault {
    pub fn new(kind: FaultKind, why: impl Into<String>) -> Self {
        Self { kind, why: why.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl From<ConnectionError> for Fault {
    fn from(error: ConnectionError) -> Self {
        if let Some(fault) = tls_fault(&error) {
            return Self { kind: FaultKind::Tls(fault), why: error.to_string() };
        }
        let kind = match &error {
            ConnectionError::MqttState(error) => of_state(error),
            ConnectionError::Timeout(_) => FaultKind::ConnectTimeout,
            ConnectionError::ConnectionRefused(code) => of_refusal(*code),
            ConnectionError::NotConnAck(_) | ConnectionError::SessionStateMismatch { .. } => FaultKind::ProtocolError,
            _ => FaultKind::Disconnected,
        };
        Self { kind, why: error.to_string() }
    }
}

fn tls_fault(error: &ConnectionError) -> Option<TlsFault> {
    match error {
        // The library does not name its cause. With TLS 1.3 a broker refuses a client's certificate after the handshake.
        ConnectionError::MqttState(StateError::Deserialization(cause)) => TlsFault::of(cause),
        other => TlsFault::of(other),
    }
}

fn of_state(error: &StateError) -> FaultKind {
    match error {
        // Two keep-alives without a word.
        StateError::AwaitPingResp => FaultKind::Stalled,
        StateError::IncomingPacketTooLarge { .. }
        | StateError::Deserialization(mqttbytes::Error::PayloadSizeLimitExceeded { .. }) => FaultKind::PacketTooLarge,
        StateError::ServerDisconnect { reason_code, .. } => of_good_bye(*reason_code),
        StateError::ConnFail { reason } => of_refusal(*reason),
        StateError::Io(_) | StateError::ConnectionAborted | StateError::Deserialization(mqttbytes::Error::Io(_)) => {
            FaultKind::Disconnected
        }
        _ => FaultKind::ProtocolError,
    }
}

fn of_refusal(code: ConnectReturnCode) -> FaultKind {
    match code {
        ConnectReturnCode::NotAuthorized | ConnectReturnCode::BadUserNamePassword => FaultKind::NotAuthorised,
        _ => FaultKind::Refused,
    }
}

pub(super) fn of_good_bye(reason: DisconnectReasonCode) -> FaultKind {
    match reason {
        DisconnectReasonCode::SessionTakenOver => FaultKind::ClientIdStolen,
        DisconnectReasonCode::NotAuthorized => FaultKind::NotAuthorised,
        // We did something wrong in the broker's eyes; from here it is the same as the other way round.
        DisconnectReasonCode::MalformedPacket | DisconnectReasonCode::ProtocolError => FaultKind::ProtocolError,
        _ => FaultKind::Disconnected,
    }
}
