//! Sealed blocks on disk: written one by one, resumable, visible when all are there.

use std::path::{Path, PathBuf};

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};
use nesa_model::{Manifest, PartId};
use nesa_shards::disk::{self, Access};
use nesa_shards::{Lock, PART_BYTES_MAX};

use crate::model_dir::part_path;
use crate::{Error, ModelDir, Result};

/// Bytes of a link's evidence.
const EVIDENCE_BYTES_MAX: usize = 1 << 16;

/// What ties a sealed model to its original, for the key holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Root of the original.
    pub original: Digest,
    /// Public name of the key.
    pub key: Digest,
    /// What the key holder can check the tie with; its meaning is the sealer's.
    pub evidence: Vec<u8>,
}

impl Encode for Link {
    fn encode(&self, w: &mut Writer) {
        w.digest(&self.original);
        w.digest(&self.key);
        w.bytes(&self.evidence);
    }
}

impl Decode for Link {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            original: r.digest()?,
            key: r.digest()?,
            evidence: r.bytes(EVIDENCE_BYTES_MAX)?.to_vec(),
        })
    }
}

impl Link {
    /// The link of the sealed model in `folder`.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Disk`].
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("link.bin");
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let damaged = |what: String| Error::Damaged {
            name: name.clone(),
            path: path.clone(),
            what,
        };
        let bytes = disk::read(&path, EVIDENCE_BYTES_MAX as u64 + 128)?;
        let bytes = bytes.ok_or_else(|| damaged("the link is missing".into()))?;
        Self::from_bytes(&bytes).map_err(|e| damaged(e.to_string()))
    }
}

fn mark_path(folder: &Path, id: PartId) -> PathBuf {
    disk::with_suffix(&part_path(folder, id), ".mark")
}

/// A sealing in progress; parts stored before an interruption are still there.
#[derive(Debug)]
pub struct SealWriter {
    folder: PathBuf,
    sealed: PathBuf,
    original: Digest,
    key: Digest,
    _lock: Lock,
}

impl SealWriter {
    pub(crate) fn open(sealed: &Path, original: &Digest, key: &Digest) -> Result<Self> {
        disk::create_folder(sealed)?;
        let mut name = format!(".{original}");
        name.truncate(17);
        let mut under = key.to_string();
        under.truncate(16);
        let folder = sealed.join(format!("{name}-{under}.sealing"));
        let lock = Lock::take(&disk::with_suffix(&folder, ".lock"))?;
        disk::create_folder(&folder)?;
        Ok(Self {
            folder,
            sealed: sealed.to_owned(),
            original: *original,
            key: *key,
            _lock: lock,
        })
    }

    /// A part that was stored already, unverified; the caller decides whether it is right.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn part(&self, id: PartId) -> Result<Option<Vec<u8>>> {
        Ok(disk::read(&part_path(&self.folder, id), PART_BYTES_MAX)?)
    }

    /// Stores a sealed part.
    ///
    /// # Errors
    /// [`Error::Disk`]; parts stored before are kept.
    pub fn put(&self, id: PartId, bytes: &[u8]) -> Result<()> {
        Ok(disk::write(
            &part_path(&self.folder, id),
            bytes,
            Access::Shared,
        )?)
    }

    /// The sealer's mark on a stored part, if it left one.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn mark(&self, id: PartId) -> Result<Option<Digest>> {
        let bytes = disk::read(&mark_path(&self.folder, id), 32)?;
        Ok(bytes.and_then(|b| b.try_into().ok()).map(Digest))
    }

    /// Stores the sealer's mark on a part. Marks never leave this folder.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn put_mark(&self, id: PartId, mark: &Digest) -> Result<()> {
        Ok(disk::write(
            &mark_path(&self.folder, id),
            &mark.0,
            Access::Owner,
        )?)
    }

    /// Makes the sealed model visible under its root.
    ///
    /// # Errors
    /// [`Error::Damaged`] when a part is missing, [`Error::Disk`].
    pub fn finish(self, manifest: &Manifest, evidence: Vec<u8>) -> Result<ModelDir> {
        disk::write(
            &self.folder.join("manifest.bin"),
            &manifest.to_bytes(),
            Access::Shared,
        )?;
        let link = Link {
            original: self.original,
            key: self.key,
            evidence,
        };
        disk::write(
            &self.folder.join("link.bin"),
            &link.to_bytes(),
            Access::Shared,
        )?;
        let model = ModelDir::open(&self.folder)?;
        for id in model.parts() {
            if model.part_len(id).is_none() {
                model.part_bytes(id)?;
            }
        }
        let path = self.sealed.join(manifest.root().to_string());
        if path.exists() {
            // The same sealing was finished before; equal root, equal contents.
            disk::remove_folder(&self.folder)?;
        } else {
            disk::rename(&self.folder, &path)?;
        }
        disk::remove(&disk::with_suffix(&self.folder, ".lock"))?;
        ModelDir::open(&path)
    }
}
