//! A private key and the address that it owns.

use std::fmt;

use alloy_primitives::Address;
use k256::ecdsa::{RecoveryId, Signature, SigningKey};
use zeroize::Zeroizing;

use crate::WalletError;

/// A private key on secp256k1; zeroed when dropped, never printed.
pub struct Key(SigningKey);

impl Key {
    /// A key from the system's randomness.
    ///
    /// # Errors
    /// [`WalletError::Randomness`].
    pub fn random() -> Result<Self, WalletError> {
        loop {
            let mut secret = Zeroizing::new([0u8; 32]);
            getrandom::fill(secret.as_mut()).map_err(WalletError::Randomness)?;
            // All but 2^-127 of the candidates are keys.
            if let Ok(key) = Self::from_bytes(&secret) {
                return Ok(key);
            }
        }
    }

    /// The key with this scalar, most significant byte first.
    ///
    /// # Errors
    /// [`WalletError::Secret`] for zero or a value from the curve's order on.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, WalletError> {
        let key = SigningKey::from_slice(secret).map_err(|_| WalletError::Secret)?;
        Ok(Self(key))
    }

    /// The key in 64 hexadecimal digits, with or without `0x`.
    ///
    /// # Errors
    /// [`WalletError::Secret`].
    pub fn from_hex(text: &str) -> Result<Self, WalletError> {
        let mut secret = Zeroizing::new([0u8; 32]);
        alloy_primitives::hex::decode_to_slice(text.trim(), secret.as_mut())
            .map_err(|_| WalletError::Secret)?;
        Self::from_bytes(&secret)
    }

    /// The scalar, most significant byte first.
    pub(crate) fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().into())
    }

    /// The address that it owns.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::from_public_key(self.0.verifying_key())
    }

    /// Signs a 32-byte digest, deterministically (RFC 6979), with `s` in the lower half: `r ‖ s` and the parity of
    /// the point.
    #[must_use]
    pub fn sign(&self, digest: &[u8; 32]) -> ([u8; 64], bool) {
        // The curve's order leaves no digest that cannot be signed but with probability 2^-256.
        let signed: Result<(Signature, RecoveryId), _> = self.0.sign_prehash_recoverable(digest);
        signed.map_or(([0; 64], false), |(signature, id)| {
            (signature.to_bytes().into(), id.is_y_odd())
        })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.address())
    }
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not 40 hexadecimal digits after `0x`.
    #[error("'{0}' is no address: 0x and 40 hexadecimal digits are")]
    Form(String),
    /// Mixed case whose checksum does not hold.
    #[error("the checksum of address {0} does not hold: a digit is wrong; copy it again")]
    Checksum(String),
}

/// Reads an address; mixed case must carry its EIP-55 checksum.
///
/// # Errors
/// [`AddressError`].
pub fn address(text: &str) -> Result<Address, AddressError> {
    let form = || AddressError::Form(text.chars().take(64).collect());
    let digits = text.strip_prefix("0x").ok_or_else(form)?;
    let address: Address = text.parse().map_err(|_| form())?;
    let has = |f: fn(&u8) -> bool| digits.as_bytes().iter().any(f);
    if has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && Address::parse_checksummed(text, None).is_err()
    {
        return Err(AddressError::Checksum(text.to_owned()));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use k256::ecdsa::VerifyingKey;

    use super::*;

    /// The first account of Ethereum's usual development mnemonic.
    const SECRET: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    #[test]
    fn a_known_key_owns_its_known_address() {
        let key = Key::from_hex(SECRET).expect("a key");
        let address = key.address().to_string();
        assert_eq!(address, "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        assert!(!format!("{key:?}").contains("ac0974"));
    }

    #[test]
    fn signatures_recover_to_the_address() {
        let key = Key::random().expect("randomness");
        let digest = [7; 32];
        let (bytes, odd) = key.sign(&digest);
        let signature = Signature::from_slice(&bytes).expect("a signature");
        assert!(signature.normalize_s().is_none(), "s is in the lower half");
        let id = RecoveryId::new(odd, false);
        let public = VerifyingKey::recover_from_prehash(&digest, &signature, id);
        let address = Address::from_public_key(&public.expect("recovers"));
        assert_eq!(address, key.address());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        for text in [
            "",
            "0x",
            &"0".repeat(64),
            order,
            &SECRET[..65],
            &"g".repeat(64),
        ] {
            assert!(
                matches!(Key::from_hex(text), Err(WalletError::Secret)),
                "{text}"
            );
        }
    }

    #[test]
    fn addresses_carry_their_checksum() {
        // From EIP-55.
        for text in [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        ] {
            let read = address(text).expect("an address");
            assert_eq!(read.to_string(), text);
            assert_eq!(address(&text.to_lowercase()), Ok(read));
            let wrong = text.replacen('B', "b", 1);
            assert_eq!(address(&wrong), Err(AddressError::Checksum(wrong)));
        }
        for text in [
            "",
            "0x12",
            "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xé",
        ] {
            assert!(matches!(address(text), Err(AddressError::Form(_))));
        }
    }
}
