//! A TCP proxy that breaks connections, in front of a real broker.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{broadcast, watch},
};

/// What happens to bytes that go in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    #[default]
    Pass,
    Delay(Duration),
    /// Swallowed; the connection stays open.
    BlackHole,
    /// Left unread, so that the writer blocks when the buffers are full.
    Blocked,
    /// The connection is cut when so many more bytes have passed.
    CutAfter(usize),
}

/// How present connections end.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// With a RST.
    Reset,
    /// With a FIN to the daemon, while nobody reads what it still sends, for this long.
    Slowly(Duration),
}

/// Both directions, seen from the daemon.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// From the daemon to the broker.
    pub up: Flow,
    /// From the broker to the daemon.
    pub down: Flow,
}

pub struct Proxy {
    pub port: u16,
    weather: watch::Sender<Weather>,
    ends: broadcast::Sender<End>,
    accepted: Arc<AtomicUsize>,
}

impl Proxy {
    /// In front of a port of this machine. Its receive buffers are small, so that a blocked flow is felt soon.
    pub fn start(target: u16) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16_384).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(64).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (weather, forecast) = watch::channel(Weather::default());
        let (ends, _) = broadcast::channel(16);
        let accepted = Arc::new(AtomicUsize::new(0));
        tokio::spawn(accept(listener, target, forecast, ends.clone(), accepted.clone()));
        Self { port, weather, ends, accepted }
    }

    /// From now on, for present and coming connections.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Ends all present connections.
    pub fn end(&self, how: End) {
        let _ = self.ends.send(how); // nobody is there: nothing to end
    }

    /// Connections so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

async fn accept(
    listener: TcpListener,
    target: u16,
    weather: watch::Receiver<Weather>,
    ends: broadcast::Sender<End>,
    accepted: Arc<AtomicUsize>,
) {
    while let Ok((daemon, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::SeqCst);
        // A broker that is away: the daemon's connection ends as well.
        let Ok(broker) = TcpStream::connect(("127.0.0.1", target)).await else { continue };
        tokio::spawn(serve(daemon, broker, weather.clone(), ends.subscribe()));
    }
}

async fn serve(
    mut daemon: TcpStream,
    mut broker: TcpStream,
    weather: watch::Receiver<Weather>,
    mut ends: broadcast::Receiver<End>,
) {
    for stream in [&daemon, &broker] {
        stream.set_nodelay(true).unwrap();
    }
    let how = {
        let (daemon_in, daemon_out) = daemon.split();
        let (broker_in, broker_out) = broker.split();
        tokio::select! {
            // One direction is over, so the whole connection is.
            () = pump(daemon_in, broker_out, weather.clone(), |weather| weather.up) => None,
            () = pump(broker_in, daemon_out, weather, |weather| weather.down) => None,
            how = ends.recv() => how.ok(),
        }
    };
    match how {
        None => {}
        Some(End::Reset) => rustix::net::sockopt::set_socket_linger(&daemon, Some(Duration::ZERO)).unwrap(),
        Some(End::Slowly(span)) => {
            let _ = daemon.shutdown().await; // gone already: as good
            tokio::time::sleep(span).await;
        }
    }
}

/// Carries bytes one way until one end is closed, or the flow is cut.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut weather: watch::Receiver<Weather>,
    mine: fn(&Weather) -> Flow,
) {
    let mut bytes = vec![0; 16_384];
    let mut passed = 0;
    loop {
        while mine(&weather.borrow_and_update()) == Flow::Blocked {
            if weather.changed().await.is_err() {
                return;
            }
        }
        let count = tokio::select! {
            changed = weather.changed() => match changed {
                Ok(()) => {
                    passed = 0;
                    continue;
                }
                Err(_) => return,
            },
            read = from.read(&mut bytes) => match read {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            },
        };
        let flow = mine(&weather.borrow());
        let count = match flow {
            Flow::BlackHole => continue,
            Flow::CutAfter(limit) => count.min(limit - passed),
            Flow::Delay(span) => {
                tokio::time::sleep(span).await;
                count
            }
            Flow::Pass | Flow::Blocked => count,
        };
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
        passed += count;
        if flow == Flow::CutAfter(passed) {
            return;
        }
    }
}
