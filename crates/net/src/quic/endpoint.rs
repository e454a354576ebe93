//! The local endpoint: binds a UDP port, dials, and accepts within limits.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{AckFrequencyConfig, EndpointConfig, MtuDiscoveryConfig, TransportConfig, VarInt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::accept::Acceptor;
use super::connection::QuicConnection;
use super::failure::{bind_error, connect_error, dial_error, timed_out};
use super::port::{port_closed, watch};
use super::reset::ConnectionIds;
use super::tls::{Credentials, SERVER_NAME, peer_of_connection};
use crate::limit::Budget;
use crate::{Address, CloseReason, Connection, Identity, NetConfig, NetError, PeerId, Transport};

/// How often a dialled port is probed during the handshake.
const PORT_PROBE: Duration = Duration::from_millis(250);

/// Addresses tried for one DNS name.
const RESOLVED_MAX: usize = 4;

/// Kernel buffer of the UDP socket, each way: a burst of one connection's window.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Longest wait for the close messages of a closing endpoint.
const CLOSE_WAIT: Duration = Duration::from_millis(500);

/// A QUIC endpoint. Clones share it; it closes when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Quic {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    endpoint: quinn::Endpoint,
    address: SocketAddr,
    credentials: Credentials,
    config: Arc<NetConfig>,
    transport: Arc<TransportConfig>,
    partial: Budget,
    accepted: tokio::sync::Mutex<mpsc::Receiver<QuicConnection>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        close_endpoint(&self.endpoint);
    }
}

fn close_endpoint(endpoint: &quinn::Endpoint) {
    let reason = CloseReason::Shutdown;
    endpoint.close(VarInt::from_u32(reason.code()), reason.text().as_bytes());
}

impl Quic {
    /// Listens on `address` as `identity`; port 0 takes any free port. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`NetError::AddressInUse`], [`NetError::Bind`], [`NetError::AddressInvalid`] for anything
    /// but a socket address, [`NetError::Handshake`] if the key does not serve TLS.
    pub fn bind(
        identity: Identity,
        address: &Address,
        mut config: NetConfig,
    ) -> Result<Self, NetError> {
        let wanted = address.socket().ok_or_else(|| NetError::AddressInvalid {
            text: address.to_string(),
            reason: "listening needs an IP address",
        })?;
        if wanted.ip().is_loopback() {
            config.udp_payload_bytes_max = UDP_BYTES_MAX;
        }
        let socket = listen(address, wanted)?;
        let credentials = Credentials::new(identity)?;
        let transport = Arc::new(transport_config(&config)?);
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(credentials.server()?));
        server.transport_config(transport.clone());
        server.max_incoming(config.handshakes_max);
        let mut endpoint_config = EndpointConfig::new(Arc::new(credentials.reset_key()));
        let ids = ConnectionIds::new()?;
        endpoint_config.cid_generator(move || Box::new(ids.clone()));
        let payload = config.udp_payload_bytes_max.max(UDP_PAYLOAD_BYTES_MIN);
        let _ = endpoint_config.max_udp_payload_size(payload);
        let endpoint = quinn::Endpoint::new(
            endpoint_config,
            Some(server),
            socket,
            Arc::new(quinn::TokioRuntime),
        )
        .map_err(|e| bind_error(address, &e))?;
        let bound = endpoint.local_addr().map_err(|e| bind_error(address, &e))?;

        let config = Arc::new(config);
        let partial = Budget::new("bytes of unfinished frames", config.partial_bytes_max);
        let (backlog, accepted) = mpsc::channel(config.accept_backlog_max.max(1));
        let acceptor = Acceptor {
            config: config.clone(),
            partial: partial.clone(),
            handshakes: Budget::new("handshakes", config.handshakes_max),
            connections: Budget::new("connections", config.connections_max),
            peers: Arc::default(),
            backlog,
        };
        tokio::spawn(acceptor.run(endpoint.clone()));
        Ok(Self {
            inner: Arc::new(Inner {
                endpoint,
                address: bound,
                credentials,
                config,
                transport,
                partial,
                accepted: tokio::sync::Mutex::new(accepted),
            }),
        })
    }

    /// Bytes of unfinished frames held for all peers together.
    #[must_use]
    pub fn partial_bytes(&self) -> usize {
        self.inner.partial.used()
    }

    async fn dial(
        &self,
        address: &Address,
        remote: SocketAddr,
        expected: Option<PeerId>,
    ) -> Result<QuicConnection, NetError> {
        let inner = &self.inner;
        let (crypto, verifier) = inner.credentials.client(expected)?;
        let mut client = quinn::ClientConfig::new(Arc::new(crypto));
        client.transport_config(inner.transport.clone());
        let connecting = inner
            .endpoint
            .connect_with(client, remote, SERVER_NAME)
            .map_err(|e| connect_error(address, &e))?;
        let wait = Duration::from_millis(inner.config.handshake_ms_max);
        let outcome = tokio::select! {
            biased;
            outcome = timeout(wait, connecting) => outcome,
            () = port_closed(remote, PORT_PROBE) => {
                return Err(NetError::Refused {
                    address: address.clone(),
                    reason: "nothing listens on this UDP port".into(),
                });
            }
        };
        let quic = match outcome {
            Ok(Ok(quic)) => quic,
            Ok(Err(e)) => {
                return Err(verifier
                    .mismatch()
                    .unwrap_or_else(|| dial_error(address, &e, inner.config.handshake_ms_max)));
            }
            Err(_) => return Err(timed_out(address, inner.config.handshake_ms_max)),
        };
        let peer = peer_of_connection(&quic)?;
        let connection = QuicConnection::new(quic, peer, &inner.config, &inner.partial, None);
        // Whoever dials has chosen the peer.
        connection.trust();
        if inner.config.port_watch_ms > 0 {
            let every = Duration::from_millis(inner.config.port_watch_ms);
            tokio::spawn(watch(connection.weak(), remote, every));
        }
        Ok(connection)
    }

    async fn resolve(&self, address: &Address) -> Result<Vec<SocketAddr>, NetError> {
        let invalid = |reason| NetError::AddressInvalid {
            text: address.to_string(),
            reason,
        };
        match address {
            Address::Socket(a) => Ok(vec![*a]),
            Address::Host(host, port) => {
                let wait = Duration::from_millis(self.inner.config.handshake_ms_max);
                let lookup = tokio::net::lookup_host((host.as_str(), *port));
                let found = timeout(wait, lookup)
                    .await
                    .map_err(|_| timed_out(address, self.inner.config.handshake_ms_max))?
                    .map_err(|_| invalid("the name does not resolve"))?;
                let reachable = |a: &SocketAddr| a.is_ipv4() || self.inner.address.is_ipv6();
                let list: Vec<_> = found.filter(reachable).take(RESOLVED_MAX).collect();
                if list.is_empty() {
                    return Err(invalid("the name has no address of this endpoint's family"));
                }
                Ok(list)
            }
            Address::Simulated(_) => Err(invalid("simulated nodes are not on this network")),
        }
    }
}

/// The UDP socket of `address`, which is `wanted`, with room for bursts.
fn listen(address: &Address, wanted: SocketAddr) -> Result<std::net::UdpSocket, NetError> {
    let socket = std::net::UdpSocket::bind(wanted).map_err(|e| match e.kind() {
        ErrorKind::AddrInUse => NetError::AddressInUse {
            address: address.clone(),
        },
        _ => bind_error(address, &e),
    })?;
    // Best effort: the system clamps the sizes, and smaller buffers only cost retransmissions.
    let raw = socket2::SockRef::from(&socket);
    let _ = raw.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = raw.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    Ok(socket)
}

impl Transport for Quic {
    type Connection = QuicConnection;

    fn peer_id(&self) -> PeerId {
        self.inner.credentials.peer_id()
    }

    fn listen_address(&self) -> Address {
        Address::Socket(self.inner.address)
    }

    async fn connect(
        &self,
        address: &Address,
        expected: Option<PeerId>,
    ) -> Result<QuicConnection, NetError> {
        let mut last = timed_out(address, self.inner.config.handshake_ms_max);
        for remote in self.resolve(address).await? {
            match self.dial(address, remote, expected).await {
                Ok(connection) => return Ok(connection),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    async fn accept(&self) -> Result<QuicConnection, NetError> {
        let next = self.inner.accepted.lock().await.recv().await;
        next.ok_or(NetError::Closed)
    }

    async fn close(&self) {
        close_endpoint(&self.inner.endpoint);
        let _ = timeout(CLOSE_WAIT, self.inner.endpoint.wait_idle()).await;
    }
}

/// Datagrams that the QUIC implementation hands to the kernel at once.
const GSO_SEGMENTS_MAX: usize = 10;

/// Most bytes of UDP payload that the kernel takes at once.
const UDP_BYTES_MAX: u16 = 65_507;

/// Packets that the peer may receive before it must acknowledge.
const ACK_EVERY: u32 = 10;

/// The smallest datagram that QUIC works with.
const UDP_PAYLOAD_BYTES_MIN: u16 = 1200;

fn transport_config(config: &NetConfig) -> Result<TransportConfig, NetError> {
    let idle = Duration::from_millis(config.idle_ms_max);
    let idle = idle.try_into().map_err(|_| NetError::Limit {
        what: "idle milliseconds",
        max: u64::from(u32::MAX),
    })?;
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(config.udp_payload_bytes_max.max(UDP_PAYLOAD_BYTES_MIN));
    let mut congestion = quinn::congestion::CubicConfig::default();
    congestion.initial_window(config.initial_window_bytes);
    // The kernel takes 64 KiB at once: a train of datagrams beyond that would be dropped whole.
    let train = GSO_SEGMENTS_MAX * usize::from(config.udp_payload_bytes_max);
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(ACK_EVERY));
    let mut t = TransportConfig::default();
    t.enable_segmentation_offload(train <= usize::from(UDP_BYTES_MAX))
        .ack_frequency_config(Some(acks));
    t.congestion_controller_factory(Arc::new(congestion));
    t.max_concurrent_bidi_streams(VarInt::from_u32(config.stranger_streams_max))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(config.stream_window_bytes))
        .receive_window(VarInt::from_u32(config.stranger_window_bytes))
        .send_window(config.send_window_bytes)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(Duration::from_millis(config.keep_alive_ms)))
        .initial_rtt(Duration::from_micros(config.initial_rtt_us))
        .mtu_discovery_config(Some(mtu));
    Ok(t)
}
