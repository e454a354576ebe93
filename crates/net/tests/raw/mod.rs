//! QUIC clients below the protocol, for peers that misbehave, and a relay that can be cut.

#![allow(clippy::unwrap_used, reason = "part of a test")]

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::rustls;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// A certificate chain and the key that signs the handshake.
pub(crate) type Showing = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn make(algorithm: &'static rcgen::SignatureAlgorithm) -> Showing {
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let params = rcgen::CertificateParams::new(["nesa".to_owned()]).unwrap();
    let cert = params.self_signed(&key).unwrap();
    let der = PrivatePkcs8KeyDer::from(key.serialize_der());
    (vec![cert.der().clone()], PrivateKeyDer::Pkcs8(der))
}

pub(crate) fn ed25519() -> Showing {
    make(&rcgen::PKCS_ED25519)
}

pub(crate) fn ecdsa() -> Showing {
    make(&rcgen::PKCS_ECDSA_P256_SHA256)
}

/// A valid certificate followed by another one.
pub(crate) fn chain() -> Showing {
    let (mut certs, key) = ed25519();
    certs.extend(ed25519().0);
    (certs, key)
}

/// Someone else's certificate, signed for with an own key.
pub(crate) fn stolen() -> Showing {
    (ed25519().0, ed25519().1)
}

#[derive(Debug)]
struct TrustAll;

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ED25519,
            SignatureScheme::ECDSA_NISTP256_SHA256,
        ]
    }
}

/// Shows whatever certificate it was given.
#[derive(Debug)]
struct Shows(Arc<rustls::sign::CertifiedKey>);

impl rustls::client::ResolvesClientCert for Shows {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A client that trusts anyone and shows `showing`.
pub(crate) fn client(showing: Option<Showing>, alpn: &[u8]) -> quinn::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAll));
    let mut config = match showing {
        None => builder.with_no_client_auth(),
        Some((certs, key)) => {
            let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
            let shown = rustls::sign::CertifiedKey::new(certs, key);
            builder.with_client_cert_resolver(Arc::new(Shows(Arc::new(shown))))
        }
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()))
}

pub(crate) fn endpoint() -> quinn::Endpoint {
    quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap()
}

/// Forwards datagrams between one client and `server` until aborted.
pub(crate) async fn relay(server: SocketAddr) -> (JoinHandle<()>, SocketAddr) {
    let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = front.local_addr().unwrap();
    // The ports stay bound after the cut, so that only silence tells.
    let (front, back) = (Arc::new(front), Arc::new(back));
    let kept = (front.clone(), back.clone());
    std::mem::forget(kept);
    let task = tokio::spawn(async move {
        let mut client = None;
        let (mut a, mut b) = (vec![0; 65536], vec![0; 65536]);
        loop {
            tokio::select! {
                Ok((n, from)) = front.recv_from(&mut a) => {
                    if n > 1 { client = Some(from); }
                    let _ = back.send_to(&a[..n], server).await;
                }
                Ok((n, _)) = back.recv_from(&mut b) => {
                    if let Some(c) = client { let _ = front.send_to(&b[..n], c).await; }
                }
            }
        }
    });
    (task, address)
}
