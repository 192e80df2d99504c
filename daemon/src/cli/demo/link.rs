//! A TCP link between the two Pickets that can be cut.

use std::{io, sync::Arc};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Forwards connections while it is open. A cut ends the standing ones and refuses new ones.
pub struct Link {
    open: Arc<watch::Sender<bool>>,
    pub port: u16,
}

impl Link {
    pub async fn to(target: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let open = Arc::new(watch::Sender::new(true));
        let state = open.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *state.borrow() {
                    tokio::spawn(forward(near, target, state.subscribe()));
                }
            }
        });
        Ok(Self { open, port })
    }

    pub fn set_open(&self, open: bool) {
        self.open.send_if_modified(|state| std::mem::replace(state, open) != open);
    }

    pub fn is_open(&self) -> bool {
        *self.open.borrow()
    }
}

async fn forward(mut near: TcpStream, target: u16, mut state: watch::Receiver<bool>) {
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = state.wait_for(|open| !open) => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_cut_ends_connections_and_refuses_new_ones() {
        let echo = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = echo.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut peer, _)) = echo.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = peer.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        let link = Link::to(port).await.unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", link.port)).await.unwrap();
        client.write_all(b"a").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'a');
        link.set_open(false);
        assert!(client.read_u8().await.is_err());
        let mut refused = TcpStream::connect(("127.0.0.1", link.port)).await.unwrap();
        assert!(refused.read_u8().await.is_err());
        link.set_open(true);
        let mut again = TcpStream::connect(("127.0.0.1", link.port)).await.unwrap();
        again.write_all(b"b").await.unwrap();
        assert_eq!(again.read_u8().await.unwrap(), b'b');
    }
}
