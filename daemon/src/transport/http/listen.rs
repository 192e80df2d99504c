//! The door: a TCP address or a Unix socket, and the connections that come through it.

use std::{
    fmt, io,
    net::SocketAddr,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use picket_core::limits;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::watch,
    task::JoinSet,
};

/// Where to listen, as the configuration says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listen {
    Tcp(SocketAddr),
    /// Guarded by the permissions of the file.
    Unix(PathBuf),
}

/// A bound listener.
pub(super) enum Door {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

enum Guest {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Listen {
    /// `127.0.0.1:8470`, `[::1]:8470` or `unix:/path`.
    ///
    /// # Errors
    /// Says how it is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path);
            return if path.is_absolute() {
                Ok(Self::Unix(path.to_owned()))
            } else {
                Err(format!("`{text}`: the path of a Unix socket starts with /, as in unix:/run/picket/picket.sock"))
            };
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            format!("`listen = \"{text}\"`: write 127.0.0.1:8470, [::1]:8470 or unix:/run/picket/picket.sock")
        })
    }

    /// Only programs on this machine can come here.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Binds; must be called on a tokio runtime.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub fn bind(&self) -> anyhow::Result<Door> {
        let tried = || format!("cannot listen on {self}");
        match self {
            Self::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address).with_context(tried)?;
                listener.set_nonblocking(true).with_context(tried)?;
                Ok(Door::Tcp(TcpListener::from_std(listener).with_context(tried)?))
            }
            Self::Unix(path) => {
                remove_stale(path).with_context(tried)?;
                Ok(Door::Unix(UnixListener::bind(path).with_context(tried)?, path.clone()))
            }
        }
    }
}

/// A socket file that nobody listens on is left over from a process that was killed.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

impl Door {
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => listener.local_addr().map_or_else(|why| why.to_string(), |at| at.to_string()),
            Self::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }

    /// Waits for the next connection.
    async fn accept(&self) -> io::Result<Guest> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Small answers must not wait for the delayed acknowledgement of the packet before.
                stream.set_nodelay(true)?;
                Ok(Guest::Tcp(stream))
            }
            Self::Unix(listener, _) => Ok(Guest::Unix(listener.accept().await?.0)),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Serves until told to stop, then until the requests under way have their answers.
pub(super) async fn serve(door: Door, router: Router, mut stop: watch::Receiver<bool>) {
    let mut guests = JoinSet::new();
    let stopped = stop.clone();
    loop {
        let room = guests.len() < limits::HTTP_CONNECTIONS;
        tokio::select! {
            () = told(&mut stop) => break,
            _ = guests.join_next(), if !guests.is_empty() => {}
            guest = door.accept(), if room => match guest {
                Ok(Guest::Tcp(stream)) => { guests.spawn(converse(stream, router.clone(), stopped.clone())); }
                Ok(Guest::Unix(stream)) => { guests.spawn(converse(stream, router.clone(), stopped.clone())); }
                Err(error) => {
                    // Out of file descriptors, mostly: others must end before the next can come.
                    tracing::warn!(%error, "cannot take an HTTP connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(door);
    while guests.join_next().await.is_some() {}
}

/// Resolves when it is time to stop; a sender that is gone counts as well.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// One connection, request after request.
async fn converse<S>(stream: S, router: Router, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(Duration::from(limits::HTTP_HEAD_WAIT));
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_to_listen_is_an_address_or_a_socket_file() {
        assert!(Listen::parse("127.0.0.1:0").unwrap().is_local());
        assert!(Listen::parse("[::1]:8470").unwrap().is_local());
        assert!(Listen::parse("[::ffff:127.0.0.1]:8470").unwrap().is_local());
        assert!(Listen::parse("unix:/run/picket.sock").unwrap().is_local());
        assert!(!Listen::parse("0.0.0.0:8470").unwrap().is_local());
        assert!(!Listen::parse("[::]:8470").unwrap().is_local());
        for wrong in ["8470", "localhost", "unix:picket.sock", "http://127.0.0.1:8470", ""] {
            assert!(Listen::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_left_over_socket_file_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picket.sock");
        let listen = Listen::Unix(path.clone());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let door = listen.bind().unwrap();
        assert!(listen.bind().is_err(), "somebody listens there");
        drop(door);
        assert!(!path.exists());
        std::fs::write(&path, "not a socket").unwrap();
        assert!(listen.bind().is_err());
        assert!(path.exists(), "somebody's file is not ours to remove");
    }
}
