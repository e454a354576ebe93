//! Files that are whole or absent, and locks between processes.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// As the process's mask says.
    Shared,
    /// The owner alone: mode 0600.
    Owner,
}

/// Held until dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock file at `path`.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process holds it.
    pub fn take(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(|e| Error::io(path, e, 0))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::Busy {
                path: path.to_owned(),
            }),
            Err(TryLockError::Error(e)) => Err(Error::io(path, e, 0)),
        }
    }
}

/// Creates a folder and its parents.
///
/// # Errors
/// [`Error::Io`].
pub fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| Error::io(path, e, 0))
}

/// Creates a folder that only its owner may enter: mode 0700.
///
/// # Errors
/// [`Error::Io`].
pub fn create_private_folder(path: &Path) -> Result<()> {
    create_folder(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(path, mode).map_err(|e| Error::io(path, e, 0))?;
    }
    Ok(())
}

/// Writes `bytes` so that `path` holds all of them or what it held before.
///
/// # Errors
/// [`Error::DiskFull`] or [`Error::Io`]; nothing is left behind.
pub fn write(path: &Path, bytes: &[u8], access: Access) -> Result<()> {
    let temporary = with_suffix(path, &format!(".{}.tmp", std::process::id()));
    let done = write_synced(&temporary, bytes, access)
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|e| Error::io(path, e, bytes.len() as u64));
    match done {
        Ok(()) => sync_parent(path),
        Err(e) => {
            // The first failure is the one to report.
            let _ = fs::remove_file(&temporary);
            Err(e)
        }
    }
}

fn write_synced(path: &Path, bytes: &[u8], access: Access) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    if access == Access::Owner {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Gives a finished file or folder its name, durably.
///
/// # Errors
/// [`Error::Io`].
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| Error::io(to, e, 0))?;
    sync_parent(to)
}

/// Makes a rename in the folder of `path` survive a power cut.
fn sync_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    match File::open(parent).and_then(|folder| folder.sync_all()) {
        // Some file systems cannot sync folders; the rename itself has happened.
        Err(e) if !matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
            Err(Error::io(parent, e, 0))
        }
        _ => Ok(()),
    }
}

/// The bytes of a file of at most `limit` bytes, or `None` when there is none.
///
/// # Errors
/// [`Error::TooLarge`], [`Error::Io`].
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io(path, e, 0)),
    };
    let size = file.metadata().map_err(|e| Error::io(path, e, 0))?.len();
    if size > limit {
        return Err(Error::TooLarge {
            path: path.to_owned(),
            actual: size,
            limit,
        });
    }
    let mut bytes = Vec::with_capacity(size as usize);
    let read = file.take(size).read_to_end(&mut bytes);
    read.map_err(|e| Error::io(path, e, 0))?;
    Ok(Some(bytes))
}

/// Size of the file at `path`, if there is one.
#[must_use]
pub fn size(path: &Path) -> Option<u64> {
    let meta = fs::metadata(path).ok()?;
    meta.is_file().then_some(meta.len())
}

/// Removes a file that may not be there.
///
/// # Errors
/// [`Error::Io`].
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(path, e, 0)),
        _ => Ok(()),
    }
}

/// Removes a folder with everything in it, if it is there.
///
/// # Errors
/// [`Error::Io`].
pub fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(path, e, 0)),
        _ => Ok(()),
    }
}

/// `path` with `suffix` appended to its name.
#[must_use]
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
