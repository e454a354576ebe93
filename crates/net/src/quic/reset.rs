//! Connection identifiers and stateless resets that survive a restart.
//!
//! A node that restarts gets packets of connections that it no longer knows. It answers with QUIC's
//! stateless reset (RFC 9000 §10.3), whose token follows from the identity, so that the new process
//! can compute the old one's tokens and peers learn at once that their connections are void.

use std::time::Duration;

use nesa_codec::{Digest, Hasher};
use quinn::crypto::CryptoError;
use quinn::{ConnectionId, ConnectionIdGenerator};
use zeroize::Zeroizing;

use crate::{Identity, Namespace, NetError, SIGNATURE_BYTES};

/// Length of the connection identifiers: unguessable enough, and short in every packet.
const CONNECTION_ID_BYTES: usize = 8;

/// What the secret of stateless resets is derived under.
const RESET_NAMESPACE: Namespace = Namespace::new("nesa.net.reset-secret.v1");

/// Keyed BLAKE3 under a secret that only the identity's holder can derive.
pub(crate) struct ResetKey(Zeroizing<[u8; SIGNATURE_BYTES]>);

impl ResetKey {
    /// The key of `identity`.
    pub(super) fn new(identity: &Identity) -> Self {
        Self(Zeroizing::new(identity.sign(RESET_NAMESPACE, &[])))
    }
}

impl quinn::crypto::HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let Digest(tag) = Hasher::new("nesa.net.reset-token.v1")
            .bytes(&self.0[..])
            .bytes(data)
            .finish();
        let n = signature_out.len().min(tag.len());
        signature_out[..n].copy_from_slice(&tag[..n]);
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let mut tag = [0; 32];
        self.sign(data, &mut tag);
        // Reset tokens are public once sent, so the comparison's timing tells nothing.
        if tag[..] == *signature {
            Ok(())
        } else {
            Err(CryptoError)
        }
    }
}

/// Random-looking connection identifiers from a fresh secret. Unlike quinn's default generator it
/// does not drop packets with a former life's identifiers, which want a reset.
#[derive(Clone)]
pub(super) struct ConnectionIds {
    secret: Zeroizing<[u8; 32]>,
    count: u64,
}

impl ConnectionIds {
    /// A generator with a secret of its own.
    ///
    /// # Errors
    /// [`NetError::Key`] if the operating system gives no randomness.
    pub(super) fn new() -> Result<Self, NetError> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(secret.as_mut()).map_err(|_| NetError::Key {
            reason: "the operating system gave no randomness",
        })?;
        Ok(Self { secret, count: 0 })
    }
}

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        self.count += 1;
        let Digest(id) = Hasher::new("nesa.net.connection-id.v1")
            .bytes(&self.secret[..])
            .u64(self.count)
            .finish();
        ConnectionId::new(&id[..CONNECTION_ID_BYTES])
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
