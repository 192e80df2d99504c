//! An MQTT broker inside this process (rumqttd), for the demo and for sites with a single box.
//!
//! rumqttd leaves Nagle's algorithm on: what it writes waits until the last packet is acknowledged, and a peer that
//! delays its acknowledgements makes that 40 ms. So clients meet a relay of ours, which acknowledges what the broker sends
//! at once (measured with the demo: p50 of a job 27 ms without it).

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    thread,
};

use ::rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use rustix::net::sockopt::set_tcp_quickack;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// Bytes that the relay carries at once, per direction.
const RELAY_BUFFER: usize = 64 << 10;

/// Starts the broker on its own threads, and the relay on the present tokio runtime; both live as long as the process.
///
/// # Errors
/// The address cannot be bound.
pub fn start(address: SocketAddr, max_packet: usize) -> io::Result<()> {
    let front = std::net::TcpListener::bind(address)?;
    front.set_nonblocking(true)?;
    let front = TcpListener::from_std(front)?;
    // rumqttd binds by itself, so it is told a port that is free now.
    let inner = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    start_broker(inner, max_packet)?;
    tokio::spawn(async move {
        loop {
            match front.accept().await {
                Ok((client, _)) => drop(tokio::spawn(relay(client, inner))),
                Err(error) => {
                    tracing::warn!(%error, "the embedded broker could not accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(())
}

/// Carries bytes both ways until one side ends.
async fn relay(client: TcpStream, inner: SocketAddr) {
    let Ok(broker) = TcpStream::connect(inner).await else { return };
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    tokio::select! {
        _ = carry(from_client, to_broker) => {}
        _ = carry(from_broker, to_client) => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    let mut buffer = vec![0; RELAY_BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        // The kernel falls back to delayed acknowledgements by itself, so this is said after every read.
        let _ = set_tcp_quickack(from.as_ref(), true);
        to.write_all(&buffer[..read]).await?;
    }
}

fn start_broker(address: SocketAddr, max_packet: usize) -> io::Result<()> {
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
