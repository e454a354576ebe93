//! Keep shards on disk by content, resumably.
//!
//! A [`PartStore`] holds parts of models under (model root, part), within a byte quota. Whole parts
//! appear under their name at once; unfinished transfers grow in a file of their own and survive a
//! crash. The store never judges contents: whoever reads a part holds it against the manifest
//! (`Manifest::open_layer`), and discards it here if it is wrong.
//!
//! ```text
//! <root>/.lock                       one process at a time
//! <root>/<model root>/layer-0003     a whole part
//! <root>/<model root>/layer-0004.part  a transfer that goes on at its length
//! ```
//!
//! # Limits
//! A part is at most [`PART_BYTES_MAX`]; the sum of all files at most the quota.

pub mod disk;
mod store;

pub use disk::Lock;
pub use store::PartStore;

use std::path::{Path, PathBuf};

/// Bytes of one part. The vocabulary of a model with 2^20 tokens of width 2048 fits.
pub const PART_BYTES_MAX: u64 = 8 << 30;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk has no room left.
    #[error(
        "no space left (or a size limit reached) while writing {path}; free at least {needed} bytes and repeat the command: \
         everything stored before is kept"
    )]
    DiskFull {
        /// The file that was being written.
        path: PathBuf,
        /// Bytes that it still needs.
        needed: u64,
    },
    /// The quota of this store is used up.
    #[error(
        "{needed} more bytes would exceed the store's quota of {quota} ({used} in use); serve \
         fewer layers or raise the quota"
    )]
    Quota {
        /// Bytes allowed.
        quota: u64,
        /// Bytes in use.
        used: u64,
        /// Bytes asked for.
        needed: u64,
    },
    /// A transfer went on at the wrong place.
    #[error("a transfer continues at byte {expected}, not at {actual}; send from {expected}")]
    Offset {
        /// Bytes on disk.
        expected: u64,
        /// Where the sender went on.
        actual: u64,
    },
    /// A file is larger than anything that is stored here.
    #[error("{path} has {actual} bytes, at most {limit} are accepted; remove it")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        actual: u64,
        /// The accepted maximum.
        limit: u64,
    },
    /// Another process holds the lock.
    #[error("{path} is locked by another process; wait until it ends and try again")]
    Busy {
        /// The lock file.
        path: PathBuf,
    },
    /// A read or write failed.
    #[error("{path}: {source}; check that the folder exists and its permissions")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl Error {
    /// The error for a failed operation on `path` that still had to write `needed` bytes.
    #[must_use]
    pub fn io(path: &Path, source: std::io::Error, needed: u64) -> Self {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let path = path.to_owned();
        match source.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::DiskFull { path, needed },
            _ => Self::Io { path, source },
        }
    }
}
