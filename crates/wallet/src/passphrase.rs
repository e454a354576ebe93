//! What opens a keystore file.

use std::fmt;
use std::path::Path;

use nesa_shards::disk;
use zeroize::Zeroizing;

use crate::WalletError;

/// Fewest characters of a passphrase that is set.
const LEAST: usize = 8;

/// Most bytes of a passphrase file.
const FILE_MAX: u64 = 4096;

/// A passphrase; zeroed when dropped, never printed.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// A passphrase that was typed.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// 256 random bits, for a file that lies beside the key.
    ///
    /// # Errors
    /// [`WalletError::Randomness`].
    pub fn random() -> Result<Self, WalletError> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        getrandom::fill(bytes.as_mut()).map_err(WalletError::Randomness)?;
        let text = bytes.iter().fold(String::with_capacity(64), |mut s, b| {
            s.push_str(&format!("{b:02x}"));
            s
        });
        Ok(Self::new(text))
    }

    /// The first line of a file that only its owner may read.
    ///
    /// # Errors
    /// [`WalletError::Readable`], [`WalletError::Read`].
    pub fn of_file(path: &Path) -> Result<Self, WalletError> {
        let read = |error| WalletError::Read {
            path: path.to_owned(),
            error,
        };
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(path).map_err(read)?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(WalletError::Readable(path.to_owned()));
            }
        }
        let bytes =
            disk::read(path, FILE_MAX)?.ok_or_else(|| read(std::io::ErrorKind::NotFound.into()))?;
        let bytes = Zeroizing::new(bytes);
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| read(std::io::ErrorKind::InvalidData.into()))?;
        Ok(Self::new(
            text.lines().next().unwrap_or_default().to_owned(),
        ))
    }

    /// Refuses a passphrase that is too short to be set.
    ///
    /// # Errors
    /// [`WalletError::Short`].
    pub fn long_enough(self) -> Result<Self, WalletError> {
        if self.0.chars().count() < LEAST {
            return Err(WalletError::Short(LEAST));
        }
        Ok(self)
    }

    /// Its bytes.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("passphrase");
        std::fs::write(&path, "a long line\nanother\n").expect("writes");
        for (mode, taken) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, permissions).expect("sets");
            let got = Passphrase::of_file(&path);
            assert_eq!(got.is_ok(), taken, "{mode:o}");
            if let Ok(passphrase) = got {
                assert_eq!(passphrase.reveal(), b"a long line");
            }
        }
        assert!(Passphrase::of_file(&folder.path().join("none")).is_err());
    }

    #[test]
    fn short_ones_are_not_set_and_none_is_printed() {
        let short = Passphrase::new("1234567".to_owned()).long_enough();
        assert!(matches!(short, Err(WalletError::Short(8))));
        let passphrase = Passphrase::random().expect("randomness");
        assert_eq!(passphrase.reveal().len(), 64);
        let other = Passphrase::random().expect("randomness");
        assert_ne!(passphrase.reveal(), other.reveal());
        assert_eq!(format!("{passphrase:?}"), "Passphrase(..)");
    }
}
