//! The embedded broker of a build without rumqttd: mosquitto as a child of this process, with a configuration of ours.

use std::{
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    process::Stdio,
};

use tempfile::NamedTempFile;
use tokio::process::{Child, Command};

/// Debian puts it where a user's PATH does not look.
const PROGRAMS: [&str; 3] = ["mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"];

/// Starts the broker, which ends with the present tokio runtime and listens soon. What it has to say goes to our standard error.
///
/// # Errors
/// The address cannot be bound, or mosquitto is not installed.
pub fn start(address: SocketAddr, max_packet: usize) -> io::Result<()> {
    // Said by us, at once, instead of by mosquitto's log.
    drop(TcpListener::bind(address)?);
    let mut config = NamedTempFile::new()?;
    config.write_all(configuration(address, max_packet).as_bytes())?;
    let mut broker = spawn(&config)?;
    tokio::spawn(async move {
        let _config = config;
        let status = broker.wait().await;
        tracing::error!(?status, "the embedded broker ended");
    });
    Ok(())
}

/// As rumqttd is set up: anybody on that address, nothing on disk, packets up to `max_packet` bytes.
fn configuration(address: SocketAddr, max_packet: usize) -> String {
    format!(
        "listener {} {}\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\nmax_packet_size {max_packet}\n\
         max_inflight_messages 500\nmax_queued_messages 0\nlog_dest stderr\nlog_type error\n",
        address.port(),
        address.ip()
    )
}

fn spawn(config: &NamedTempFile) -> io::Result<Child> {
    for program in PROGRAMS {
        let spawned = Command::new(program)
            .arg("-c")
            .arg(config.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        match spawned {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        "error[mqtt/no-broker]: this build starts mosquitto as its broker, and there is none (apt install mosquitto)",
    ))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bytes::Bytes;

    use super::*;
    use crate::transport::mqtt::asker::Asker;

    fn free_port() -> u16 {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn it_carries_what_is_published_until_its_runtime_ends() {
        let port = free_port();
        start((Ipv4Addr::LOCALHOST, port).into(), 1 << 20).unwrap();
        while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            tokio::task::yield_now().await;
        }
        let topic = "picket/v1/here/job/digits".to_owned();
        let (asker, mut heard) = Asker::connect(port, "answers", std::slice::from_ref(&topic)).await.unwrap();
        // More than mosquitto keeps for a client by itself: nothing is thrown away here.
        for number in 0..2_000_u32 {
            asker.ask(&topic, &number.to_string(), Bytes::from(number.to_le_bytes().to_vec())).await.unwrap();
        }
        for number in 0..2_000_u32 {
            assert_eq!(heard.recv().await.unwrap().payload, number.to_le_bytes().as_slice());
        }
    }

    #[tokio::test]
    async fn an_address_that_somebody_has_is_refused_at_once() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let error = start(taken.local_addr().unwrap(), 1 << 20).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
