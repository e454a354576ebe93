//! Decision models: one file each, `decisions/<name>/model.bin`.

use std::path::PathBuf;

use nesa_codec::{Decode, Encode};
use nesa_decision::Model;
use nesa_shards::disk::{self, Access};

use crate::home::{check_name, names};
use crate::{Error, Home, Result, closest};

/// Bytes of a stored model: importers take files of 256 MiB.
const MODEL_BYTES_MAX: u64 = 512 << 20;

impl Home {
    /// The folder of decision models.
    #[must_use]
    pub fn decisions_folder(&self) -> PathBuf {
        self.root().join("decisions")
    }

    /// Stores a decision model under a name that is free; returns its file.
    ///
    /// # Errors
    /// [`Error::BadName`], [`Error::ExistsDecision`], [`Error::Disk`].
    pub fn keep_decision(&self, name: &str, model: &Model) -> Result<PathBuf> {
        check_name(name)?;
        let folder = self.decisions_folder().join(name);
        if folder.exists() {
            return Err(Error::ExistsDecision { path: folder });
        }
        disk::create_folder(&folder)?;
        let file = folder.join("model.bin");
        disk::write(&file, &model.to_bytes(), Access::Shared)?;
        Ok(file)
    }

    /// The decision model called `name`.
    ///
    /// # Errors
    /// [`Error::UnknownDecision`] with a near name, [`Error::Damaged`], [`Error::Disk`].
    pub fn decision(&self, name: &str) -> Result<Model> {
        let file = self.decisions_folder().join(name).join("model.bin");
        let stored = match check_name(name) {
            Ok(()) => disk::read(&file, MODEL_BYTES_MAX)?,
            Err(_) => None,
        };
        let Some(bytes) = stored else {
            let known = self.decisions()?;
            let hint = match closest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near}?"),
                None => "run `nesa model import-decision FILE` first".to_owned(),
            };
            return Err(Error::UnknownDecision {
                name: name.to_owned(),
                hint,
            });
        };
        Model::from_bytes(&bytes).map_err(|e| Error::Damaged {
            name: name.to_owned(),
            path: file,
            what: e.to_string(),
        })
    }

    /// Names of the decision models.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn decisions(&self) -> Result<Vec<String>> {
        names(&self.decisions_folder())
    }
}
