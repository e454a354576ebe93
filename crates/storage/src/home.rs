//! The one folder with everything that Nesa keeps.

use std::path::{Path, PathBuf};

use nesa_codec::Digest;
use nesa_shards::Lock;
use nesa_shards::disk::{self, Access};

use crate::pull::catalog;
use crate::sealed::{Link, SealWriter};
use crate::{Error, ModelDir, Result, closest};

/// Digits of a root that name a model.
const PREFIX_MIN: usize = 6;
/// Bytes of a key file.
const KEY_BYTES_MAX: u64 = 1 << 16;

/// A home folder. Cheap to clone; holds no lock.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
}

/// A model in a listing.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its folder, or why it cannot be opened.
    pub model: Result<ModelDir>,
}

impl Home {
    /// Opens or creates the home at `root`.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn open(root: &Path) -> Result<Self> {
        disk::create_folder(root)?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of downloads.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// The folder of compiled models.
    #[must_use]
    pub fn models_folder(&self) -> PathBuf {
        self.root.join("models")
    }

    /// The folder of sealed models.
    #[must_use]
    pub fn sealed_folder(&self) -> PathBuf {
        self.root.join("sealed")
    }

    /// The folder of receipts, created.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn receipts(&self) -> Result<PathBuf> {
        self.folder("receipts")
    }

    /// The folder for the state of a running network, created.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn run(&self) -> Result<PathBuf> {
        self.folder("run")
    }

    /// The folder of local node `id`, created; only its owner may enter it.
    ///
    /// # Errors
    /// [`Error::BadName`], [`Error::Disk`].
    pub fn node(&self, id: &str) -> Result<PathBuf> {
        check_name(id)?;
        let path = self.root.join("nodes").join(id);
        disk::create_private_folder(&path)?;
        Ok(path)
    }

    /// The folder of keys, created; only its owner may enter it.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn keys(&self) -> Result<PathBuf> {
        let path = self.root.join("keys");
        disk::create_private_folder(&path)?;
        Ok(path)
    }

    /// Stores a key file that only its owner may read.
    ///
    /// # Errors
    /// [`Error::BadName`], [`Error::Disk`].
    pub fn write_key(&self, name: &str, bytes: &[u8]) -> Result<()> {
        check_name(name)?;
        Ok(disk::write(&self.keys()?.join(name), bytes, Access::Owner)?)
    }

    /// A key file, if there is one.
    ///
    /// # Errors
    /// [`Error::BadName`], [`Error::Disk`].
    pub fn read_key(&self, name: &str) -> Result<Option<Vec<u8>>> {
        check_name(name)?;
        Ok(disk::read(&self.keys()?.join(name), KEY_BYTES_MAX)?)
    }

    /// All models, by name.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn models(&self) -> Result<Vec<Listed>> {
        let folder = self.models_folder();
        let listed = names(&folder)?.into_iter().map(|name| Listed {
            model: ModelDir::open(&folder.join(&name)),
            name,
        });
        Ok(listed.collect())
    }

    /// The model called `name`, or whose root starts with it (at least six digits).
    ///
    /// # Errors
    /// [`Error::UnknownModel`] with near names, [`Error::Ambiguous`], [`Error::Damaged`].
    pub fn model(&self, name: &str) -> Result<ModelDir> {
        let folder = self.models_folder();
        let known = names(&folder)?;
        if known.iter().any(|k| k == name) {
            return ModelDir::open(&folder.join(name));
        }
        let hex = name.len() >= PREFIX_MIN && name.bytes().all(|b| b.is_ascii_hexdigit());
        if hex {
            let mut found: Vec<ModelDir> = (known.iter())
                .filter_map(|k| ModelDir::open(&folder.join(k)).ok())
                .filter(|m| m.root().to_string().starts_with(&name.to_lowercase()))
                .collect();
            // Two names for one root are the same model.
            found.dedup_by_key(|m| m.root());
            match found.len() {
                0 => {}
                1 => return Ok(found.swap_remove(0)),
                _ => {
                    let names: Vec<&str> = found.iter().map(ModelDir::name).collect();
                    return Err(Error::Ambiguous {
                        prefix: name.to_owned(),
                        names: names.join(", "),
                    });
                }
            }
        }
        Err(Error::UnknownModel {
            name: name.to_owned(),
            hint: hint(name, &known),
        })
    }

    /// Removes a model and its sealed versions; returns the bytes freed.
    ///
    /// # Errors
    /// [`Error::UnknownModel`], [`Error::Disk`].
    pub fn remove(&self, name: &str) -> Result<u64> {
        let folder = self.models_folder();
        let known = names(&folder)?;
        if !known.iter().any(|k| k == name) {
            // A root prefix removes nothing: too easy to mistype.
            let hint = hint(name, &known);
            return Err(Error::UnknownModel {
                name: name.to_owned(),
                hint,
            });
        }
        let _lock = self.lock_model(name)?;
        let path = folder.join(name);
        let mut freed = folder_bytes(&path);
        if let Ok(model) = ModelDir::open(&path) {
            let twin = |l: &Listed| {
                l.name != name && l.model.as_ref().is_ok_and(|m| m.root() == model.root())
            };
            if !self.models()?.iter().any(twin) {
                for (sealed, _) in self.sealed_of(&model.root())? {
                    freed += sealed.bytes();
                    disk::remove_folder(sealed.path())?;
                }
            }
        }
        let gone = folder.join(format!(".{name}.removed"));
        disk::remove_folder(&gone)?;
        disk::rename(&path, &gone)?;
        disk::remove_folder(&gone)?;
        Ok(freed)
    }

    /// The sealed model of this root.
    ///
    /// # Errors
    /// [`Error::UnknownSealed`], [`Error::Damaged`].
    pub fn sealed(&self, root: &Digest) -> Result<ModelDir> {
        let path = self.sealed_folder().join(root.to_string());
        if !path.is_dir() {
            return Err(Error::UnknownSealed { root: *root });
        }
        let model = ModelDir::open(&path)?;
        if model.root() == *root {
            return Ok(model);
        }
        Err(Error::Damaged {
            name: root.to_string(),
            path: path.join("manifest.bin"),
            what: format!("the manifest has root {}", model.root()),
        })
    }

    /// All sealed versions of the model with root `of`, with their links, by root.
    ///
    /// # Errors
    /// [`Error::Disk`]; folders that cannot be read are left out.
    pub fn sealed_of(&self, of: &Digest) -> Result<Vec<(ModelDir, Link)>> {
        let folder = self.sealed_folder();
        let open = |name: String| {
            let model = ModelDir::open(&folder.join(name)).ok()?;
            let link = Link::read(model.path()).ok()?;
            (link.original == *of).then_some((model, link))
        };
        Ok(names(&folder)?.into_iter().filter_map(open).collect())
    }

    /// Starts or goes on sealing the model with root `original` under the key named `key`.
    ///
    /// # Errors
    /// [`Error::Disk`], in particular when another process is sealing the same.
    pub fn sealing(&self, original: &Digest, key: &Digest) -> Result<SealWriter> {
        SealWriter::open(&self.sealed_folder(), original, key)
    }

    /// The lock of everything that changes model `name`.
    pub(crate) fn lock_model(&self, name: &str) -> Result<Lock> {
        let folder = self.models_folder();
        disk::create_folder(&folder)?;
        Ok(Lock::take(&folder.join(format!(".{name}.lock")))?)
    }

    fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        disk::create_folder(&path)?;
        Ok(path)
    }
}

/// Whether `name` can be a folder's.
///
/// # Errors
/// [`Error::BadName`].
pub(crate) fn check_name(name: &str) -> Result<()> {
    let bytes = name.as_bytes();
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(b);
    let starts = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
    if starts && bytes.len() <= 64 && bytes.iter().all(plain) {
        return Ok(());
    }
    Err(Error::BadName {
        name: name.chars().take(80).collect(),
    })
}

/// Names of the visible folders in `folder`, sorted; none where it does not exist.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(nesa_shards::Error::io(folder, e, 0).into()),
    };
    let mut found: Vec<String> = entries
        .flatten()
        .filter(|e| e.path().is_dir())
        .filter_map(|e| e.file_name().into_string().ok())
        .filter(|n| check_name(n).is_ok())
        .collect();
    found.sort_unstable();
    Ok(found)
}

fn folder_bytes(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter_map(|e| disk::size(&e.path())).sum()
}

/// What to do about an unknown name.
fn hint(name: &str, installed: &[String]) -> String {
    if let Some(near) = closest(name, installed.iter().map(String::as_str)) {
        return format!("did you mean {near}?");
    }
    if let Some(near) = closest(name, catalog::names()) {
        return format!("run `nesa model pull {near}` first");
    }
    let pull: Vec<&str> = catalog::names().collect();
    if installed.is_empty() {
        return format!(
            "none is here yet, run `nesa model pull NAME` with one of {}",
            pull.join(", ")
        );
    }
    format!(
        "here are {}; others come by `nesa model pull` ({}) or `nesa model import PATH`",
        installed.join(", "),
        pull.join(", ")
    )
}
