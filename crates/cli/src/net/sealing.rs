//! The deployment key and the models sealed under it.

use nesa_codec::{Decode, Digest, Encode};
use nesa_model::PartId;
use nesa_privacy::{DeploymentKey, Kept, Sink, StoreError, seal};
use nesa_storage::{Home, ModelDir, SealWriter};
use zeroize::Zeroizing;

use super::NetworkError;
use super::answer::random;

/// Name of the key file.
const KEY: &str = "deployment";

/// The deployment key of this home, made at first use.
///
/// # Errors
/// [`NetworkError::Storage`] when the key file cannot be read or written.
pub fn deployment_key(home: &Home) -> Result<DeploymentKey, NetworkError> {
    if let Some(bytes) = home.read_key(KEY)? {
        let bytes = Zeroizing::new(bytes);
        let array: [u8; 32] = bytes.as_slice().try_into().map_err(|_| {
            NetworkError::Process(format!(
                "the key file keys/{KEY} is damaged; restore it from a backup, or move it away and \
                 seal again"
            ))
        })?;
        return Ok(DeploymentKey::from_bytes(array));
    }
    let key = fresh(home)?;
    make_current(home, &key)?;
    Ok(key)
}

/// Name of the file that keeps the key with public name `id`.
fn archive(id: &Digest) -> String {
    let mut id = id.to_string();
    id.truncate(32);
    format!("{KEY}-{id}")
}

/// A new key, kept under its public name but not current yet.
///
/// # Errors
/// As [`deployment_key`].
pub fn fresh(home: &Home) -> Result<DeploymentKey, NetworkError> {
    let key = DeploymentKey::generate(random()?.0);
    home.write_key(&archive(&key.id()), key.expose_bytes())?;
    Ok(key)
}

/// Makes `key` the current one. Older keys are kept under their public names, so that receipts made
/// under them can still be verified.
///
/// # Errors
/// As [`deployment_key`].
pub fn make_current(home: &Home, key: &DeploymentKey) -> Result<(), NetworkError> {
    Ok(home.write_key(KEY, key.expose_bytes())?)
}

/// The key whose public name is `id`, if this home has it.
///
/// # Errors
/// As [`deployment_key`].
pub fn key_named(home: &Home, id: &Digest) -> Result<Option<DeploymentKey>, NetworkError> {
    let Some(bytes) = home.read_key(&archive(id))? else {
        return Ok(None);
    };
    let bytes = Zeroizing::new(bytes);
    Ok(bytes
        .as_slice()
        .try_into()
        .ok()
        .map(DeploymentKey::from_bytes))
}

/// Stores sealed parts in a home; marks go beside them.
struct Parts<'a> {
    writer: &'a SealWriter,
}

impl Sink for Parts<'_> {
    fn kept(&mut self, part: PartId) -> Result<Option<Kept>, StoreError> {
        let Some(bytes) = self.writer.part(part)? else {
            return Ok(None);
        };
        let Some(mark) = self.writer.mark(part)? else {
            return Ok(None);
        };
        Ok(Some(Kept { bytes, mark }))
    }

    fn keep(&mut self, part: PartId, _root: &Digest, kept: Kept) -> Result<(), StoreError> {
        self.writer.put(part, &kept.bytes)?;
        self.writer.put_mark(part, &kept.mark)?;
        Ok(())
    }
}

/// `model` sealed under `key`: from disk, or sealed now.
///
/// # Errors
/// [`NetworkError::Privacy`] and [`NetworkError::Storage`]; an interrupted run goes on later.
pub fn sealed(
    home: &Home,
    model: &ModelDir,
    key: &DeploymentKey,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<ModelDir, NetworkError> {
    let root = model.root();
    for (sealed, link) in home.sealed_of(&root)? {
        let ours = nesa_privacy::Link::from_bytes(&link.evidence);
        if ours.is_ok_and(|l| l.sealed_root == sealed.root() && l.check(key).is_ok()) {
            return Ok(sealed);
        }
    }
    let writer = home.sealing(&root, &key.id())?;
    let mut sink = Parts { writer: &writer };
    let mut read = |id: PartId| model.part_bytes(id).map_err(|e| Box::new(e) as StoreError);
    let done = seal(model.manifest(), key, &mut read, &mut sink, &mut |p| {
        progress(p.done, p.total);
    })?;
    Ok(writer.finish(&done.manifest, done.link.to_bytes())?)
}
