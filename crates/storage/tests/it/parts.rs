//! Random checkpoints installed in temporary homes.

use nesa_checkpoint::random::{Store, small_config, write_random};
use nesa_checkpoint::{Arch, Checkpoint, Config};
use nesa_storage::{Home, Install, ModelDir, Result, install};
use tempfile::TempDir;

/// A home and a folder with a random checkpoint of `config`.
pub(crate) fn scene(config: &Config, seed: u64) -> (TempDir, Home) {
    let folder = tempfile::tempdir().expect("temporary folder");
    write_random(&folder.path().join("ckpt"), config, seed, Store::F32).expect("writes");
    let home = Home::open(&folder.path().join("home")).expect("opens");
    (folder, home)
}

/// A random model called `name`.
pub(crate) fn put(folder: &TempDir, home: &Home, name: &str) -> Result<ModelDir> {
    let checkpoint = folder.path().join("ckpt");
    let what = Install {
        name,
        checkpoint: &checkpoint,
        catalog: None,
        never_published: false,
    };
    install(home, &what, &mut |_| ())
}

/// The smallest decoder.
pub(crate) fn tiny() -> Config {
    Config {
        layers: 2,
        ..small_config(Arch::Llama)
    }
}

/// The float checkpoint of a scene.
pub(crate) fn checkpoint(folder: &TempDir) -> Checkpoint {
    Checkpoint::open(&folder.path().join("ckpt")).expect("opens")
}
