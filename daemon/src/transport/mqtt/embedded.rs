//! An MQTT broker inside this process (rumqttd), for the demo and for sites with a single box.

use std::{collections::HashMap, net::SocketAddr, thread};

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

/// Starts the broker on its own threads; it lives as long as the process.
///
/// # Errors
/// The address cannot be bound.
pub fn start(address: SocketAddr, max_packet: usize) -> std::io::Result<()> {
    // rumqttd binds on its own thread and only logs a failure, so the address is tried first.
    drop(std::net::TcpListener::bind(address)?);
    let connections = ConnectionSettings {
        connection_timeout_ms: 10_000,
        max_payload_size: max_packet,
        max_inflight_count: 500,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings {
        name: "picket".to_owned(),
        listen: address,
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    let router = RouterConfig {
        max_connections: 1_000,
        max_outgoing_packet_count: 200,
        max_segment_size: 16 << 20,
        max_segment_count: 10,
        ..RouterConfig::default()
    };
    let config = Config { id: 0, router, v5: Some(HashMap::from([("v5".to_owned(), server)])), ..Config::default() };
    thread::Builder::new().name("mqtt-broker".to_owned()).spawn(move || {
        if let Err(error) = Broker::new(config).start() {
            tracing::error!(%error, "the embedded broker ended");
        }
    })?;
    Ok(())
}
