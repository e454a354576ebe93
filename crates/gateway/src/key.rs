//! The bearer key that programs on this machine must show.

use crate::GatewayError;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Fewest characters of a key: 16 random hex digits are 64 bits, and guesses go over HTTP.
const KEY_BYTES_MIN: usize = 16;
/// Most characters of a key, so that it fits a header.
const KEY_BYTES_MAX: usize = 256;

/// A key that requests carry as `Authorization: Bearer KEY`. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    /// Takes a stored key.
    ///
    /// # Errors
    /// [`GatewayError::Key`] unless it has 16 to 256 characters, all of them visible ASCII.
    pub fn new(key: impl Into<String>) -> Result<Self, GatewayError> {
        let key = Zeroizing::new(key.into());
        let length_fits = (KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len());
        if !length_fits || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(GatewayError::Key);
        }
        Ok(Self(key))
    }

    /// Draws a fresh key of 256 random bits, `sk-nesa-` and hex digits.
    ///
    /// # Errors
    /// [`GatewayError::Random`] if the system gives no randomness.
    pub fn generate() -> Result<Self, GatewayError> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        getrandom::fill(bytes.as_mut()).map_err(|_| GatewayError::Random)?;
        let mut key = Zeroizing::new(String::with_capacity(8 + 64));
        key.push_str("sk-nesa-");
        push_hex(&mut key, bytes.as_ref());
        Ok(Self(key))
    }

    /// The key itself, to show to its owner.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `offered` is the key. Takes the same time wherever they differ; only a wrong length
    /// shows, and lengths are no secret.
    #[must_use]
    pub(crate) fn matches(&self, offered: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(offered).into()
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// Appends two lower-case hex digits per byte.
pub(crate) fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_checked_compared_and_hidden() {
        assert!(ApiKey::new("short").is_err());
        assert!(ApiKey::new("with a space in the middle").is_err());
        assert!(ApiKey::new("x".repeat(257)).is_err());
        let key = ApiKey::new("0123456789abcdef").unwrap();
        assert!(key.matches(b"0123456789abcdef"));
        assert!(!key.matches(b"0123456789abcdeF"));
        assert!(!key.matches(b"0123456789abcde"));
        assert!(!key.matches(b""));
        assert_eq!(format!("{key:?}"), "ApiKey(..)");
    }

    #[test]
    fn generated_keys_are_fresh_and_valid() {
        let (a, b) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        assert_ne!(a.reveal(), b.reveal());
        assert_eq!(a.reveal().len(), 72);
        assert!(ApiKey::new(a.reveal()).is_ok());
    }
}
