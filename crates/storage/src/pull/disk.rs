//! Files on disk: hashing, locking, and writing so that a name never holds half a file.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::catalog::PinnedFile;
use super::{Error, OnProgress, Progress, Result, Stage};

const BUFFER_BYTES: usize = 1 << 20;

pub(super) fn io_error(path: &Path, source: io::Error, needed: u64) -> Error {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::DiskFull {
            path: path.to_owned(),
            needed,
        },
        _ => Error::Io {
            path: path.to_owned(),
            source,
        },
    }
}

pub(super) fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| io_error(path, e, 0))
}

/// Held until dropped; another process that pulls the same name waits.
pub(super) fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).map_err(|e| io_error(path, e, 0))?;
    file.lock().map_err(|e| io_error(path, e, 0))?;
    Ok(file)
}

/// Remove a file that may not be there.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(io_error(path, e, 0)),
        _ => Ok(()),
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of the file at `path`, calling `on_bytes` with the bytes hashed so far.
pub(super) fn sha256(path: &Path, on_bytes: &mut dyn FnMut(u64)) -> Result<String> {
    let mut file = File::open(path).map_err(|e| io_error(path, e, 0))?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut hasher = Sha256::new();
    let mut done = 0;
    loop {
        let n = file.read(&mut buffer).map_err(|e| io_error(path, e, 0))?;
        if n == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..n]);
        done += n as u64;
        on_bytes(done);
    }
}

/// Whether `path` holds exactly `file`; a wrong one is deleted.
pub(super) fn verified(
    path: &Path,
    file: &PinnedFile,
    progress: &mut OnProgress<'_>,
) -> Result<bool> {
    let Ok(meta) = fs::metadata(path) else {
        return Ok(false);
    };
    let right = meta.len() == file.bytes && {
        let total = file.bytes;
        let digest = sha256(path, &mut |done| {
            progress(Progress {
                stage: Stage::Verify,
                file: file.path,
                done,
                total,
            });
        })?;
        digest == file.sha256
    };
    if !right {
        remove(path)?;
    }
    Ok(right)
}

/// `path` with `.part` appended.
pub(super) fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

/// Give `part` its name if it is `file`; otherwise delete it.
pub(super) fn accept(
    part: &Path,
    path: &Path,
    file: &PinnedFile,
    progress: &mut OnProgress<'_>,
) -> Result<()> {
    let total = file.bytes;
    let actual = sha256(part, &mut |done| {
        let done = done.min(total);
        progress(Progress {
            stage: Stage::Verify,
            file: file.path,
            done,
            total,
        });
    })?;
    if actual != file.sha256 {
        remove(part)?;
        let (what, expected) = (file.path.to_owned(), file.sha256.to_owned());
        return Err(Error::WrongHash {
            what,
            expected,
            actual,
        });
    }
    fs::rename(part, path).map_err(|e| io_error(path, e, 0))
}

/// Copy at most `limit` bytes of `reader` to a new file at `path` and sync it; the bytes written.
pub(super) fn write_bounded(
    path: &Path,
    reader: &mut dyn Read,
    limit: u64,
    on_bytes: &mut dyn FnMut(u64),
) -> Result<u64> {
    if let Some(parent) = path.parent() {
        create_folder(parent)?;
    }
    let mut file = File::create(path).map_err(|e| io_error(path, e, limit))?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut done = 0;
    let mut reader = reader.take(limit);
    loop {
        let n = reader
            .read(&mut buffer)
            .map_err(|e| io_error(path, e, limit))?;
        if n == 0 {
            break;
        }
        file.write_all(&buffer[..n])
            .map_err(|e| io_error(path, e, limit - done))?;
        done += n as u64;
        on_bytes(done);
    }
    file.sync_all().map_err(|e| io_error(path, e, limit))?;
    Ok(done)
}
