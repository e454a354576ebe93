//! What a client needs of a model under `hss`: its outline and the keys that check answers.

use std::path::PathBuf;
use std::sync::Arc;

use nesa_codec::{Decode, Digest, Encode};
use nesa_kernels::Level;
use nesa_model::split::Outline;
use nesa_privacy::shares::Checks;
use nesa_storage::disk::{self, Access};
use nesa_storage::{Home, ModelDir};
use zeroize::Zeroizing;

use crate::net::NetworkError;
use crate::net::answer::random;

/// Most bytes of the outline or the checks of one model.
const FILE_BYTES_MAX: u64 = 512 << 20;

/// A model's outline and check keys. Both are made once, from the weights; later calls read no weights.
pub(super) fn load(
    home: &Home,
    model: &ModelDir,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(Outline, Checks), NetworkError> {
    match kept(home, model) {
        Some(found) => Ok(found),
        None => make(home, model, progress),
    }
}

fn paths(home: &Home, root: &Digest) -> Result<[PathBuf; 2], NetworkError> {
    let keys = home.keys()?;
    Ok(["outline", "checks"].map(|what| keys.join(format!("{what}-{root}"))))
}

/// Whatever is missing, damaged or another model's is made again.
fn kept(home: &Home, model: &ModelDir) -> Option<(Outline, Checks)> {
    let [outline, checks] = paths(home, &model.root()).ok()?;
    let read = |path| disk::read(path, FILE_BYTES_MAX).ok().flatten();
    let outline = model.manifest().open_outline(&read(&outline)?).ok()?;
    let checks = Checks::from_bytes(&Zeroizing::new(read(&checks)?)).ok()?;
    let fits = *checks.root() == model.root() && checks.layers() == outline.shape().layers;
    fits.then_some((outline, checks))
}

fn make(
    home: &Home,
    model: &ModelDir,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(Outline, Checks), NetworkError> {
    let shape = model.manifest().shape.clone();
    let common = Arc::new(model.open_common()?);
    let layers = shape.layers;
    let mut outline = Outline::new(shape, Arc::clone(&common));
    let mut checks = Checks::new(random()?.0, model.root());
    let bad = |e: nesa_model::ModelError| NetworkError::Process(e.to_string());
    for i in 0..layers {
        let block = model.open_layer(i as u32, &common)?;
        outline.push(&block).map_err(bad)?;
        checks.push(Level::detect(), &block);
        progress(i + 1, layers);
    }
    let [outline_path, checks_path] = paths(home, &model.root())?;
    let write = |path: &PathBuf, bytes: &[u8]| {
        disk::write(path, bytes, Access::Owner).map_err(nesa_storage::Error::from)
    };
    write(&outline_path, &outline.to_bytes())?;
    write(&checks_path, &Zeroizing::new(checks.to_bytes()))?;
    Ok((outline, checks))
}

/// Forgets the check keys of a model: whoever was caught may have learned something about them.
pub(super) fn renew(home: &Home, root: &Digest) -> Result<(), NetworkError> {
    let [_, checks] = paths(home, root)?;
    Ok(disk::remove(&checks).map_err(nesa_storage::Error::from)?)
}
