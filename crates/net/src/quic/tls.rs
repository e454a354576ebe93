//! TLS 1.3 with ed25519 identities: every peer signs its own certificate, and the certificate's key
//! *is* the peer. There are no authorities, names or dates to trust; what counts is the
//! `CertificateVerify` signature of the handshake, checked by both sides against that key.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::rustls;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError,
    PeerIncompatible, SignatureScheme,
};

use super::reset::ResetKey;
use crate::{Identity, NetError, PeerId};

/// Application protocol: the name and major version of docs/spec/wire.md.
pub(crate) const ALPN: &[u8] = b"nesa/1";

/// Server name sent in the handshake; it carries no meaning.
pub(crate) const SERVER_NAME: &str = "nesa";

/// DER of an ed25519 SubjectPublicKeyInfo up to the key (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// The peer that a certificate names.
pub(crate) fn peer_of(cert: &CertificateDer<'_>) -> Result<PeerId, NetError> {
    let parsed = ParsedCertificate::try_from(cert).map_err(|e| NetError::Handshake {
        reason: format!("the certificate does not parse: {e}"),
    })?;
    let spki = parsed.subject_public_key_info();
    spki.strip_prefix(&SPKI_PREFIX[..])
        .and_then(|key| <[u8; 32]>::try_from(key).ok())
        .ok_or(NetError::Key {
            reason: "the certificate holds no ed25519 key",
        })
        .and_then(PeerId::checked)
}

/// The peer that a connection's handshake proved.
pub(super) fn peer_of_connection(quic: &quinn::Connection) -> Result<PeerId, NetError> {
    let chain = quic
        .peer_identity()
        .and_then(|any| any.downcast::<Vec<CertificateDer>>().ok());
    match chain.as_deref().map(Vec::as_slice) {
        Some([cert]) => peer_of(cert),
        _ => Err(NetError::Handshake {
            reason: "the peer showed no certificate".into(),
        }),
    }
}

/// This side's certificate and the settings that every handshake shares.
pub(crate) struct Credentials {
    provider: Arc<CryptoProvider>,
    cert: CertificateDer<'static>,
    identity: Identity,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.identity.peer_id())
    }
}

impl Credentials {
    pub(crate) fn new(identity: Identity) -> Result<Self, NetError> {
        let key = identity.pkcs8();
        let key = rcgen::KeyPair::try_from(&PrivatePkcs8KeyDer::from(key.as_slice()))
            .map_err(handshake_error)?;
        let cert = rcgen::CertificateParams::new([SERVER_NAME.to_owned()])
            .and_then(|params| params.self_signed(&key))
            .map_err(handshake_error)?;
        Ok(Self {
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            cert: cert.der().clone(),
            identity,
        })
    }

    pub(crate) fn peer_id(&self) -> PeerId {
        self.identity.peer_id()
    }

    /// The key of stateless resets, see [`ResetKey`].
    pub(crate) fn reset_key(&self) -> ResetKey {
        ResetKey::new(&self.identity)
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.identity.pkcs8().to_vec()))
    }

    /// Settings for accepting. No session resumption: every connection proves its identity anew.
    pub(crate) fn server(&self) -> Result<QuicServerConfig, NetError> {
        let verifier = Arc::new(Verifier::new(self.provider.clone(), None));
        let mut config = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(handshake_error)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.cert.clone()], self.key())
            .map_err(handshake_error)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        QuicServerConfig::try_from(config).map_err(handshake_error)
    }

    /// Settings for one dial, and a view on who answered it.
    pub(crate) fn client(
        &self,
        expected: Option<PeerId>,
    ) -> Result<(QuicClientConfig, Arc<Verifier>), NetError> {
        let verifier = Arc::new(Verifier::new(self.provider.clone(), expected));
        let mut config = rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(handshake_error)?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_auth_cert(vec![self.cert.clone()], self.key())
            .map_err(handshake_error)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        config.enable_sni = false;
        let config = QuicClientConfig::try_from(config).map_err(handshake_error)?;
        Ok((config, verifier))
    }
}

fn handshake_error(e: impl fmt::Display) -> NetError {
    NetError::Handshake {
        reason: e.to_string(),
    }
}

/// Accepts any ed25519 key, or only the expected one, and checks the handshake signature with it.
pub(crate) struct Verifier {
    provider: Arc<CryptoProvider>,
    expected: Option<PeerId>,
    seen: Mutex<Option<PeerId>>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({:?})", self.expected)
    }
}

impl Verifier {
    fn new(provider: Arc<CryptoProvider>, expected: Option<PeerId>) -> Self {
        Self {
            provider,
            expected,
            seen: Mutex::new(None),
        }
    }

    /// Who answered instead of the expected peer.
    pub(crate) fn mismatch(&self) -> Option<NetError> {
        let actual = (*self.seen.lock().unwrap_or_else(PoisonError::into_inner))?;
        let expected = self.expected?;
        (actual != expected).then_some(NetError::PeerMismatch { expected, actual })
    }

    fn check_cert(
        &self,
        cert: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
    ) -> Result<(), TlsError> {
        if !chain.is_empty() {
            return Err(CertificateError::BadEncoding.into());
        }
        let peer = peer_of(cert).map_err(|_| CertificateError::BadEncoding)?;
        if self.expected.is_some_and(|e| e != peer) {
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(peer);
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(())
    }

    fn check_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        if signature.scheme != SignatureScheme::ED25519 {
            return Err(PeerIncompatible::NoSignatureSchemesInCommon.into());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }
}

/// TLS 1.2 is never offered, so its signatures are never valid.
fn no_tls12() -> Result<HandshakeSignatureValid, TlsError> {
    Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        self.check_cert(end_entity, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        self.check_cert(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_names_its_peer() {
        let identity = Identity::from_seed([9; 32]);
        let id = identity.peer_id();
        let c = Credentials::new(identity).unwrap();
        assert_eq!(peer_of(&c.cert).unwrap(), id);
    }

    #[test]
    fn a_certificate_of_another_key_kind_or_garbage_is_refused() {
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let cert = rcgen::CertificateParams::new(["nesa".to_owned()])
            .unwrap()
            .self_signed(&other)
            .unwrap();
        assert!(peer_of(cert.der()).is_err());
        for n in [0, 1, 40, 300] {
            assert!(peer_of(&CertificateDer::from(vec![0x30; n])).is_err());
        }
    }

    #[test]
    fn a_signature_by_another_key_is_refused() {
        let c = Credentials::new(Identity::from_seed([9; 32])).unwrap();
        let v = Verifier::new(c.provider.clone(), None);
        let signed = |key: &Identity| {
            use ed25519_dalek::Signer as _;
            let secret: [u8; 32] = key.pkcs8()[16..].try_into().unwrap();
            let key = ed25519_dalek::SigningKey::from_bytes(&secret);
            let mut bytes = vec![0x08, 0x07, 0, 64];
            bytes.extend_from_slice(&key.sign(b"transcript").to_bytes());
            let mut r = rustls::internal::msgs::codec::Reader::init(&bytes);
            <DigitallySignedStruct as rustls::internal::msgs::codec::Codec>::read(&mut r).unwrap()
        };
        let right = signed(&Identity::from_seed([9; 32]));
        let wrong = signed(&Identity::from_seed([8; 32]));
        v.check_signature(b"transcript", &c.cert, &right).unwrap();
        assert!(v.check_signature(b"transcript", &c.cert, &wrong).is_err());
        assert!(v.check_signature(b"other", &c.cert, &right).is_err());
    }
}
