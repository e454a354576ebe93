//! A record of what a node serves, so that a restart serves it again.

use std::path::{Path, PathBuf};

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};
use nesa_model::Manifest;
use nesa_pipeline::deploy::MANIFEST_BYTES_MAX;
use nesa_shards::disk::{self, Access};

/// Bytes of one record.
const RECORD_BYTES_MAX: u64 = MANIFEST_BYTES_MAX as u64 + 64;
/// Records read at a start.
const RECORDS_MAX: usize = 256;

/// One range of blocks of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) manifest: Manifest,
    pub(crate) first: u32,
    pub(crate) end: u32,
}

impl Encode for Record {
    fn encode(&self, w: &mut Writer) {
        w.bytes(&self.manifest.to_bytes());
        w.u32(self.first);
        w.u32(self.end);
    }
}

impl Decode for Record {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let manifest = Manifest::from_bytes(r.bytes(MANIFEST_BYTES_MAX)?)?;
        let (first, end) = (r.u32()?, r.u32()?);
        if first >= end || end as usize > manifest.layers.len() {
            return Err(DecodeError::Invalid("range of blocks"));
        }
        Ok(Self {
            manifest,
            first,
            end,
        })
    }
}

/// Records in one folder, by model root and range.
#[derive(Debug)]
pub(crate) struct Records {
    folder: PathBuf,
}

impl Records {
    pub(crate) fn open(folder: PathBuf) -> nesa_shards::Result<Self> {
        disk::create_folder(&folder)?;
        Ok(Self { folder })
    }

    fn path(&self, root: &Digest, first: u32, end: u32) -> PathBuf {
        self.folder.join(format!("{root}.{first}-{end}"))
    }

    fn path_of(&self, r: &Record) -> PathBuf {
        self.path(&r.manifest.root(), r.first, r.end)
    }

    /// Where earlier versions kept the one range of a model.
    fn old_path(&self, r: &Record) -> PathBuf {
        self.folder.join(r.manifest.root().to_string())
    }

    pub(crate) fn keep(&self, record: &Record) -> nesa_shards::Result<()> {
        disk::write(&self.path_of(record), &record.to_bytes(), Access::Shared)
    }

    pub(crate) fn forget(&self, root: &Digest, first: u32, end: u32) -> nesa_shards::Result<()> {
        // Earlier versions kept one record per model, under its root alone.
        disk::remove(&self.folder.join(root.to_string()))?;
        disk::remove(&self.path(root, first, end))
    }

    /// All readable records, by root; damaged ones are left out and said so.
    pub(crate) fn all(&self) -> Vec<Record> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        paths.sort();
        paths
            .iter()
            .take(RECORDS_MAX)
            .filter_map(|p| self.read(p))
            .collect()
    }

    fn read(&self, path: &Path) -> Option<Record> {
        let bytes = disk::read(path, RECORD_BYTES_MAX).ok()??;
        match Record::from_bytes(&bytes) {
            Ok(r) if self.path_of(&r) == path || self.old_path(&r) == path => Some(r),
            _ => {
                tracing::warn!(path = %path.display(), "not a record of blocks; ignored");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nesa_model::testing;

    #[test]
    fn records_survive_and_damage_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path().join("served")).unwrap();
        let model = testing::model(&testing::shapes()[0], 1);
        let record = Record {
            manifest: model.manifest,
            first: 1,
            end: 3,
        };
        records.keep(&record).unwrap();
        std::fs::write(folder.path().join("served/junk"), b"junk").unwrap();
        assert_eq!(records.all(), std::slice::from_ref(&record));
        let wrong = Record {
            first: 3,
            end: 3,
            ..record.clone()
        };
        assert!(Record::from_bytes(&wrong.to_bytes()).is_err());
        // Another range of the same model is another record, and old names are still read.
        let more = Record {
            first: 0,
            end: 1,
            ..record.clone()
        };
        let old = folder
            .path()
            .join("served")
            .join(more.manifest.root().to_string());
        std::fs::write(old, more.to_bytes()).unwrap();
        assert_eq!(records.all(), [more, record.clone()]);
        records.forget(&record.manifest.root(), 1, 3).unwrap();
        assert_eq!(records.all(), []);
    }
}
