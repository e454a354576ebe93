//! Keep models and shards on disk by content, and fetch them resumably.
//!
//! A [`Home`] is one folder with everything that Nesa keeps. Models appear in it whole or not at
//! all, nothing in it is believed without its digest, and a full disk costs only the file that
//! was being written.
//!
//! ```text
//! models/<name>/           manifest.bin common.bin vocabulary.bin layer-NNNN.bin
//!                          tokenizer.json template.jinja source.json
//! sealed/<sealed root>/    manifest.bin common.bin layer-NNNN.bin link.bin
//! decisions/<name>/        model.bin
//! keys/                    0700; files 0600
//! cache/                   downloads, by catalog name
//! receipts/  nodes/<id>/  run/
//! ```

mod calibration;
mod decisions;
mod error;
mod home;
mod install;
mod model_dir;
pub mod pull;
mod sealed;
mod suggest;

pub use calibration::{CALIBRATION_TEXT, CALIBRATION_TOKENS, calibration};
pub use error::{Error, Result};
pub use home::{Home, Listed};
pub use install::{CONTEXT_MAX, Install, install};
pub use model_dir::{ModelDir, Source, SourceFile};
pub use nesa_shards::{Error as DiskError, Lock, PART_BYTES_MAX, PartStore, disk};
pub use sealed::{Link, SealWriter};
pub use suggest::closest;
