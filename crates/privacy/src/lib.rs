//! Hide a model and its activations: equivariant rewrites under a key, and secret shares over nodes.
//!
//! [`seal()`] turns a model into another one that computes on hidden rows and gives hidden rows, bit
//! for bit: `sealed(T x) = T model(x)`. Nodes hold the sealed model only. The client, who holds the
//! key, hides embedded rows with a [`RowKey`] and reveals what comes back.
//!
//! ```
//! use nesa_model::{KvCache, reference::Reference, testing};
//! use nesa_privacy::{DeploymentKey, RowKey, seal_block};
//!
//! let shape = &testing::shapes()[0];
//! let model = testing::model(shape, 1);
//! let key = DeploymentKey::generate([7; 32]).for_model(&model.manifest.root());
//! let sealed = seal_block(shape, &model.common, &key, 0, &model.blocks[0])?;
//! let rows = RowKey::new(&key, shape);
//!
//! let reference = Reference::new(shape, &model.common);
//! let cache = || KvCache::new(shape, &(0..1), 8);
//! let mut plain = model.vocabulary.embed(shape, &[3, 1, 4], 0)?;
//! let mut hidden = plain.clone();
//! rows.hide_in_place(&mut hidden)?;
//! reference.forward(&model.blocks[..1], &mut plain, &mut cache());
//! reference.forward(&[sealed], &mut hidden, &mut cache());
//! rows.reveal_in_place(&mut hidden)?;
//! assert_eq!(hidden, plain);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limits
//! Sealing is *obfuscation*. It keeps logs, disks and nodes without the base weights from reading
//! activations; a node that holds the public base weights recovers the maps, and so does anyone with
//! the key. `docs/spec/ee.md` lists what each map hides and what no map can. What holders of base weights
//! may see is hidden by [`shares`].

mod block;
mod key;
mod map;
mod rows;
mod seal;
pub mod shares;

pub use block::seal_block;
pub use key::{DeploymentKey, ModelKey};
pub use rows::{Obfuscated, RowKey, Rows};
pub use seal::{Kept, Link, Progress, Sealed, Sink, StoreError, seal};
pub use shares::Private;

/// Why something was not hidden, revealed or sealed.
#[derive(Debug, thiserror::Error)]
pub enum PrivacyError {
    /// Rows that do not fit the model.
    #[error("{what}: expected {expected}, got {actual}; check that rows and key are of one model")]
    Shape {
        /// The value that is off.
        what: &'static str,
        /// The size that is needed.
        expected: usize,
        /// The size that was given.
        actual: usize,
    },
    /// A part of the base model that is malformed or another model's.
    #[error("the model to seal is damaged: {0}")]
    Model(#[from] nesa_model::ModelError),
    /// A block that cannot be rewritten exactly.
    #[error("{0} cannot be sealed; compile the model again, or use it with privacy `open`")]
    Unsupported(&'static str),
    /// The model is already sealed.
    #[error("the model is sealed already; seal its base model")]
    AlreadySealed,
    /// Reading a base part or keeping a sealed part failed.
    #[error("{part}: {source}; free disk space or check permissions, then seal again to resume")]
    Store {
        /// The part.
        part: nesa_model::PartId,
        /// What the store said.
        #[source]
        source: StoreError,
    },
    /// A link that the key does not vouch for.
    #[error("the link between base and sealed model is not of this key; seal the model again")]
    Link,
    /// Numbers of holders that hide nothing or cannot be put together.
    #[error("{t} of {n} shares cannot hide anything; choose 1 ≤ t < n ≤ 16, such as (1, 2)")]
    Scheme {
        /// How many together shall learn nothing.
        t: usize,
        /// How many there are.
        n: usize,
    },
    /// Evaluation points that do not tell holders apart.
    #[error("evaluation points are 1 to 16 different numbers in 1 to 255; place the session again")]
    Points,
}
