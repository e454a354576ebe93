//! Parts of models on a node's disk, by (model root, part).

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nesa_codec::Digest;
use nesa_model::PartId;

use crate::disk::{self, Access, Lock};
use crate::{Error, PART_BYTES_MAX, Result};

/// A folder of parts; one process at a time owns it.
#[derive(Debug)]
pub struct PartStore {
    root: PathBuf,
    quota: u64,
    /// Bytes of all files; held while a file changes, so that the quota cannot be overrun.
    used: Mutex<u64>,
    _lock: Lock,
}

impl PartStore {
    /// Opens or creates the store in `root`, which may hold `quota` bytes.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process has it open, [`Error::Io`].
    pub fn open(root: &Path, quota: u64) -> Result<Self> {
        disk::create_folder(root)?;
        let lock = Lock::take(&root.join(".lock"))?;
        let used = measure(root)?;
        Ok(Self {
            root: root.to_owned(),
            quota,
            used: Mutex::new(used),
            _lock: lock,
        })
    }

    /// Bytes of everything held, unfinished transfers included.
    #[must_use]
    pub fn used(&self) -> u64 {
        *self.count()
    }

    /// Bytes that may be held.
    #[must_use]
    pub fn quota(&self) -> u64 {
        self.quota
    }

    /// Whether the whole part is here.
    #[must_use]
    pub fn has(&self, model: &Digest, part: PartId) -> bool {
        self.len(model, part).is_some()
    }

    /// Bytes of the whole part, if it is here.
    #[must_use]
    pub fn len(&self, model: &Digest, part: PartId) -> Option<u64> {
        disk::size(&self.path(model, part))
    }

    /// The whole part, if it is here. Its contents are not verified.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn get(&self, model: &Digest, part: PartId) -> Result<Option<Vec<u8>>> {
        disk::read(&self.path(model, part), PART_BYTES_MAX)
    }

    /// Stores a whole part and drops an unfinished transfer of it.
    ///
    /// # Errors
    /// [`Error::Quota`], [`Error::DiskFull`], [`Error::Io`]; the store is as before.
    pub fn put(&self, model: &Digest, part: PartId, bytes: &[u8]) -> Result<()> {
        let mut used = self.count();
        let path = self.path(model, part);
        let partial = partial_of(&path);
        let freed = disk::size(&path).unwrap_or(0) + disk::size(&partial).unwrap_or(0);
        let new = bytes.len() as u64;
        let before = used.saturating_sub(freed);
        self.allow(before, new)?;
        disk::create_folder(&self.folder(model))?;
        disk::write(&path, bytes, Access::Shared)?;
        disk::remove(&partial)?;
        *used = before + new;
        Ok(())
    }

    /// Bytes received of an unfinished transfer.
    #[must_use]
    pub fn partial_len(&self, model: &Digest, part: PartId) -> u64 {
        disk::size(&partial_of(&self.path(model, part))).unwrap_or(0)
    }

    /// Adds `bytes` at `offset` of an unfinished transfer; returns its new length.
    ///
    /// # Errors
    /// [`Error::Offset`] unless `offset` is the present length; [`Error::Quota`],
    /// [`Error::DiskFull`] and [`Error::Io`] keep what was received.
    pub fn append_partial(
        &self,
        model: &Digest,
        part: PartId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<u64> {
        let mut used = self.count();
        let path = partial_of(&self.path(model, part));
        let expected = disk::size(&path).unwrap_or(0);
        if offset != expected {
            return Err(Error::Offset {
                expected,
                actual: offset,
            });
        }
        let new = bytes.len() as u64;
        self.allow(*used, new)?;
        if expected + new > PART_BYTES_MAX {
            return Err(Error::TooLarge {
                path,
                actual: expected + new,
                limit: PART_BYTES_MAX,
            });
        }
        disk::create_folder(&self.folder(model))?;
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|e| Error::io(&path, e, new))?;
        if let Err(e) = file.write_all(bytes) {
            // A torn append must not shift what is sent next.
            let _ = file.set_len(expected);
            return Err(Error::io(&path, e, new));
        }
        *used += new;
        Ok(expected + new)
    }

    /// Everything received of an unfinished transfer.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn partial(&self, model: &Digest, part: PartId) -> Result<Vec<u8>> {
        let path = partial_of(&self.path(model, part));
        Ok(disk::read(&path, PART_BYTES_MAX)?.unwrap_or_default())
    }

    /// Turns a transfer that the caller has verified into a whole part.
    ///
    /// # Errors
    /// [`Error::Io`], also when there is no transfer.
    pub fn complete(&self, model: &Digest, part: PartId) -> Result<()> {
        let mut used = self.count();
        let path = self.path(model, part);
        let partial = partial_of(&path);
        let replaced = disk::size(&path).unwrap_or(0);
        let file = fs::File::open(&partial).map_err(|e| Error::io(&partial, e, 0))?;
        file.sync_all().map_err(|e| Error::io(&partial, e, 0))?;
        disk::rename(&partial, &path)?;
        *used = used.saturating_sub(replaced);
        Ok(())
    }

    /// Drops a part and an unfinished transfer of it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn discard(&self, model: &Digest, part: PartId) -> Result<()> {
        let mut used = self.count();
        let path = self.path(model, part);
        for path in [partial_of(&path), path] {
            let size = disk::size(&path).unwrap_or(0);
            disk::remove(&path)?;
            *used = used.saturating_sub(size);
        }
        Ok(())
    }

    /// Drops all parts of a model.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn discard_model(&self, model: &Digest) -> Result<()> {
        let mut used = self.count();
        disk::remove_folder(&self.folder(model))?;
        *used = measure(&self.root)?;
        Ok(())
    }

    /// The roots of all models of which something is held, sorted.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn models(&self) -> Result<Vec<Digest>> {
        let mut roots = Vec::new();
        for path in entries(&self.root)? {
            let name = path.file_name().and_then(|n| n.to_str());
            roots.extend(name.and_then(|n| n.parse::<Digest>().ok()));
        }
        roots.sort_unstable();
        Ok(roots)
    }

    fn count(&self) -> MutexGuard<'_, u64> {
        // The count is re-derivable and never half written: a poisoned lock is as good as any.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allow(&self, used: u64, needed: u64) -> Result<()> {
        if used.saturating_add(needed) <= self.quota {
            return Ok(());
        }
        Err(Error::Quota {
            quota: self.quota,
            used,
            needed,
        })
    }

    fn folder(&self, model: &Digest) -> PathBuf {
        self.root.join(model.to_string())
    }

    fn path(&self, model: &Digest, part: PartId) -> PathBuf {
        self.folder(model).join(part.to_string())
    }
}

fn partial_of(path: &Path) -> PathBuf {
    disk::with_suffix(path, ".part")
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = fs::read_dir(folder).map_err(|e| Error::io(folder, e, 0))?;
    list.map(|entry| entry.map(|e| e.path()).map_err(|e| Error::io(folder, e, 0)))
        .collect()
}

/// Bytes of all files, after dropping temporary ones that a crash left behind.
fn measure(root: &Path) -> Result<u64> {
    let mut used = 0;
    for folder in entries(root)?.iter().filter(|p| p.is_dir()) {
        for path in entries(folder)? {
            if path.extension().is_some_and(|e| e == "tmp") {
                disk::remove(&path)?;
            } else {
                used += disk::size(&path).unwrap_or(0);
            }
        }
    }
    Ok(used)
}

#[cfg(test)]
mod tests;
