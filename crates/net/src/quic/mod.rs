//! The QUIC twin: quinn and TLS 1.3, identities as in `tls`, limits as in [`crate::NetConfig`].
//!
//! ```no_run
//! # async fn demo() -> Result<(), nesa_net::NetError> {
//! use nesa_net::{Connection, Frame, Identity, NetConfig, Transport, quic::Quic, stream_kind};
//! let node = Quic::bind(Identity::generate()?, &"127.0.0.1:0".parse()?, NetConfig::local())?;
//! let peer = node.connect(&"127.0.0.1:7000".parse()?, None).await?;
//! let mut stream = peer.open(stream_kind::SESSION).await?;
//! stream.send(Frame::new(1, "hello")).await?;
//! # Ok(()) }
//! ```

mod accept;
mod connection;
mod endpoint;
mod failure;
mod port;
mod reset;
mod stream;
mod tls;

pub use connection::QuicConnection;
pub use endpoint::Quic;
pub use stream::{QuicReceiver, QuicSender};
