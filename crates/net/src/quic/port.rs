//! Whether a host still has a socket on a UDP port.
//!
//! A connected socket sends one byte, which QUIC stacks ignore; a host without the port answers with
//! ICMP "port unreachable", which the kernel reports as a refused connection. Where such answers
//! are filtered nothing is learnt, and the time limits decide.

use std::io::{ErrorKind, Result};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Weak;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

use super::connection::Shared;

/// Refusals in a row that count: one might be a leftover of an earlier packet.
const REFUSALS: u32 = 2;

/// Resolves when the port is closed; otherwise never.
pub(super) async fn port_closed(remote: SocketAddr, every: Duration) {
    let Ok(socket) = connected(remote).await else {
        return std::future::pending().await;
    };
    let mut refusals = 0;
    while refusals < REFUSALS {
        refusals = if is_refused(&socket, every).await {
            refusals + 1
        } else {
            0
        };
    }
}

/// Marks a connection as lost once the peer's port is closed; ends with the connection.
pub(super) async fn watch(connection: Weak<Shared>, remote: SocketAddr, every: Duration) {
    let Ok(socket) = connected(remote).await else {
        return;
    };
    let mut refusals = 0;
    loop {
        if is_refused(&socket, every).await {
            refusals += 1;
        } else {
            refusals = 0;
        }
        let Some(shared) = connection.upgrade().filter(|c| c.is_open()) else {
            return;
        };
        if refusals >= REFUSALS {
            shared.lose();
            return;
        }
    }
}

async fn connected(remote: SocketAddr) -> Result<UdpSocket> {
    let any: SocketAddr = match remote {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(remote).await?;
    Ok(socket)
}

/// Sends one probe; returns early if it is refused, else after `every`.
async fn is_refused(socket: &UdpSocket, every: Duration) -> bool {
    let refused = |e: &std::io::Error| e.kind() == ErrorKind::ConnectionRefused;
    if let Err(e) = socket.send(&[0]).await
        && refused(&e)
    {
        return true;
    }
    match timeout(every, socket.recv(&mut [0])).await {
        Ok(Err(e)) if refused(&e) => return true,
        // Whatever else comes back does not set the pace.
        Ok(_) => sleep(every).await,
        Err(_) => {}
    }
    false
}
