//! Keys that everybody can compute: for measurements only.

use ed25519_dalek::SigningKey as VoteKey;
use k256::ecdsa::SigningKey;
use nesa_codec::{Digest, Hasher};
use nesa_ledger::Address;
use nesa_ledger::tx::{Tx, Unsigned};

fn seed(what: &str, i: u32) -> [u8; 32] {
    let h = Hasher::new("nesa.drill.key.v1").bytes(what.as_bytes());
    h.u64(u64::from(i)).finish().0
}

/// The key of sender `i`.
pub(crate) fn key(i: u32) -> SigningKey {
    // All but 2^-127 of the seeds are keys, and these are fixed.
    SigningKey::from_slice(&seed("sender", i)).expect("a fixed seed below the curve's order")
}

/// The address of sender `i`.
pub(crate) fn address(i: u32) -> Address {
    alloy_primitives::Address::from_public_key(key(i).verifying_key()).into()
}

/// An ed25519 key: of a session, a node or a validator.
pub(crate) fn ed25519(what: &str, i: u32) -> VoteKey {
    VoteKey::from_bytes(&seed(what, i))
}

/// A salt.
pub(crate) fn salt(i: u32) -> Digest {
    Digest(seed("salt", i))
}

/// Signs as the holder of `key`.
pub(crate) fn sign(key: &SigningKey, body: Unsigned) -> Tx {
    let hash = body.signing_hash();
    let (s, id) = key.sign_prehash_recoverable(&hash).expect("RFC 6979 signs");
    let (r, s) = (s.r().to_bytes().into(), s.s().to_bytes().into());
    let signed = body.signed(r, s, id.is_y_odd());
    signed.expect("a fresh signature is canonical")
}
