//! Keep the keys that own NES, encrypted, and sign with them.
//!
//! A key is a secp256k1 key, as Ethereum uses them, in a keystore file of version 3: any wallet reads it, and this one
//! reads any wallet's. Secrets are zeroed when dropped, are never printed, and never come from a command line.

mod key;
mod keystore;
mod passphrase;

pub use alloy_primitives::Address;
pub use key::{AddressError, Key, address};
pub use keystore::{Entry, Keystore};
pub use passphrase::Passphrase;

use std::path::PathBuf;

/// Why a key could not be used.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// Not a name of a key.
    #[error("'{0}' is no name for a key; use 1 to 64 of a-z, 0-9 and -")]
    Name(String),
    /// There is no such key.
    #[error(
        "there is no key '{0}'; `nesa key ls` shows those that are here, `nesa key new {0}` makes it"
    )]
    Missing(String),
    /// A key of that name exists.
    #[error("a key '{0}' exists already and is not replaced; choose another name")]
    Exists(String),
    /// The passphrase does not open the file.
    #[error("the passphrase does not open key '{0}'; try again")]
    Passphrase(String),
    /// The passphrase is too short.
    #[error("a passphrase has at least {0} characters; choose a longer one")]
    Short(usize),
    /// A passphrase file that others can read.
    #[error("{0} can be read by others; run `chmod 600` on it")]
    Readable(PathBuf),
    /// No keystore of version 3, or one whose key derivation asks for too much.
    #[error("{path} is no keystore of version 3 that is accepted here: {what}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Not a private key.
    #[error("this is no private key: 64 hexadecimal digits are, below the order of secp256k1")]
    Secret,
    /// The disk.
    #[error(transparent)]
    Disk(#[from] nesa_shards::Error),
    /// A file could not be read.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    Randomness(getrandom::Error),
}
