//! What a verifier holds instead of a model: everything but its matrices, and a commitment to those.
//!
//! A key follows from the model alone: whoever has the model makes the same bytes. Its digest is what a
//! verifier relies on; the key names the model's root, and nothing else ties the one to the other.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};
use nesa_model::Vocabulary;
use nesa_model::block::{Block, Common};
use nesa_model::manifest::Manifest;
use nesa_model::spec::{Shape, spec_digest};

use super::skeleton;
use super::table::Table;
use crate::field::{F, from_i64};
use crate::pcs::{self, Commitment, MAX_VARS, PcsError};
use crate::transcript::Transcript;
use crate::transformer::holds;

/// Most bytes of an encoded key.
pub const KEY_BYTES_MAX: usize = 256 << 20;

const MAGIC: &[u8; 8] = b"nesakey1";

/// A model's matrices as tables: of all blocks, the token rows, and the head.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    pub blocks: Table,
    pub tokens: Table,
    pub head: Option<Table>,
}

/// A model without its matrices, and the commitments to them.
#[derive(Debug, Clone)]
pub struct Key {
    pub(super) model: Digest,
    pub(super) shape: Shape,
    pub(super) common: Common,
    pub(super) vocabulary: Vocabulary,
    pub(super) blocks: Vec<Block>,
    pub(super) roots: Roots,
    pub(super) tables: Tables,
    digest: Digest,
}

/// One commitment per table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Roots {
    pub blocks: Commitment,
    pub tokens: Commitment,
    pub head: Option<Commitment>,
}

/// Why a model has no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError<X: std::error::Error + 'static> {
    /// More cells than one commitment takes.
    #[error(
        "the model's {0} have more than 2^{MAX_VARS} cells; verify its proofs with the model itself"
    )]
    Size(&'static str),
    /// Parts that do not fit each other, or constants without a circuit.
    #[error(
        "the model's {0} is malformed or has no circuit; verify its proofs with the model itself"
    )]
    Part(&'static str),
    /// A block could not be read.
    #[error("a block of the model: {0}")]
    Block(X),
    /// The commitment.
    #[error(transparent)]
    Pcs(#[from] PcsError),
}

impl Tables {
    fn new(s: &Shape, head: bool) -> Result<Self, &'static str> {
        let one = skeleton::sizes(s);
        let all: Vec<_> = (0..s.layers).flat_map(|_| one.iter().copied()).collect();
        let vocabulary = [(s.vocab, s.dim)];
        Ok(Self {
            blocks: Table::new(&all).ok_or("blocks")?,
            tokens: Table::new(&vocabulary).ok_or("token rows")?,
            head: if head {
                Some(Table::new(&vocabulary).ok_or("head")?)
            } else {
                None
            },
        })
    }

    /// Puts block `l` among the cells of all blocks.
    pub(super) fn fill_block(&self, cells: &mut [F], l: usize, block: &Block) {
        let linears = block.linears(nesa_model::spec::Order::Pre);
        let n = linears.len();
        for (i, (_, linear, _)) in linears.into_iter().enumerate() {
            let of = |v: i8| from_i64(v.into());
            self.blocks.fill(cells, l * n + i, &linear.weight, of);
        }
    }

    /// The cells of all token rows.
    pub(super) fn token_cells(&self, v: &Vocabulary) -> Vec<F> {
        let mut cells = self.tokens.blank();
        self.tokens
            .fill(&mut cells, 0, &v.tokens, |v: i16| from_i64(v.into()));
        cells
    }

    /// The table and the cells of the head.
    pub(super) fn head_cells(&self, v: &Vocabulary) -> Option<(&Table, Vec<F>)> {
        let (table, head) = (self.head.as_ref()?, v.head.as_ref()?);
        let mut cells = table.blank();
        table.fill(&mut cells, 0, &head.weight, |v: i8| from_i64(v.into()));
        Some((table, cells))
    }
}

fn commit(cells: Vec<F>) -> Result<Commitment, PcsError> {
    pcs::commit(cells, &mut Transcript::new("nesa.proof.weights.v1")).map(|(root, _)| root)
}

/// Whether a block fits, and is within the argument's limits with all of its weights.
pub(super) fn whole(b: &Block, s: &Shape, common: &Common) -> bool {
    let weights = |l: &nesa_model::ops::linear::Linear| !l.weight.contains(&i8::MIN);
    b.fits(s, common) && holds(b, true) && b.linears(s.order).iter().all(|(_, l, _)| weights(l))
}

/// Whether a vocabulary has the sizes of its shape, and its head all of its weights.
pub(super) fn sound(v: &Vocabulary, s: &Shape) -> bool {
    let whole = |h: &nesa_model::Linear| {
        h.weight.len() == h.rows * h.cols
            && !h.weight.contains(&i8::MIN)
            && h.divisor.len() == h.rows
    };
    v.fits(s) && v.head.as_ref().is_none_or(whole)
}

impl Key {
    /// The key of a model whose parts were checked against its manifest. Blocks are read one by one.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn new<X: std::error::Error + 'static>(
        manifest: &Manifest,
        common: &Common,
        vocabulary: &Vocabulary,
        block: &mut dyn FnMut(u32) -> Result<Block, X>,
    ) -> Result<Self, KeyError<X>> {
        let shape = &manifest.shape;
        if !shape.is_valid() || !common.fits(shape) {
            return Err(KeyError::Part("shape"));
        }
        if !sound(vocabulary, shape) {
            return Err(KeyError::Part("vocabulary"));
        }
        let head = vocabulary.head.as_ref();
        let tables = Tables::new(shape, head.is_some()).map_err(KeyError::Size)?;
        let tokens = commit(tables.token_cells(vocabulary))?;
        let head = match tables.head_cells(vocabulary) {
            Some((_, cells)) => Some(commit(cells)?),
            None => None,
        };
        let mut cells = tables.blocks.blank();
        let mut blocks = Vec::with_capacity(shape.layers);
        for l in 0..shape.layers {
            let b = block(l as u32).map_err(KeyError::Block)?;
            if !whole(&b, shape, common) {
                return Err(KeyError::Part("block"));
            }
            tables.fill_block(&mut cells, l, &b);
            blocks.push(skeleton::block(&b));
        }
        let roots = Roots {
            blocks: commit(cells)?,
            tokens,
            head,
        };
        let key = Self {
            model: manifest.root(),
            shape: shape.clone(),
            common: common.clone(),
            vocabulary: skeleton::vocabulary(vocabulary),
            blocks,
            roots,
            tables,
            digest: Digest::default(),
        };
        // What a reader would make of it, so that both have the same digest and limits.
        Self::from_bytes(&key.to_bytes()).map_err(|_| KeyError::Part("constants"))
    }

    /// The digest of the key's bytes, under which it is relied on.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The root of the model that the key says it was made of.
    #[must_use]
    pub fn model(&self) -> Digest {
        self.model
    }

    /// The model's shape.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The model's common tables.
    #[must_use]
    pub fn common(&self) -> &Common {
        &self.common
    }

    /// Whether the model gives answers; without a head it gives rows.
    #[must_use]
    pub fn has_head(&self) -> bool {
        self.vocabulary.head.is_some()
    }
}

impl Encode for Key {
    fn encode(&self, w: &mut Writer) {
        w.raw(MAGIC);
        w.digest(&spec_digest());
        w.digest(&self.model);
        self.shape.encode(w);
        self.common.encode(w);
        skeleton::write_vocabulary(w, &self.vocabulary);
        for b in &self.blocks {
            skeleton::write_block(w, b);
        }
        self.roots.blocks.encode(w);
        self.roots.tokens.encode(w);
        if let Some(root) = &self.roots.head {
            root.encode(w);
        }
    }
}

impl Decode for Key {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let all = r.clone();
        if r.raw(MAGIC.len())? != MAGIC {
            return Err(DecodeError::Invalid("not a key of this version"));
        }
        if r.digest()? != spec_digest() {
            return Err(DecodeError::Invalid("a key of other integer semantics"));
        }
        let model = r.digest()?;
        let shape = Shape::decode(r)?;
        let common = Common::decode(r)?;
        if !common.fits(&shape) {
            return Err(DecodeError::Invalid("rotation table"));
        }
        let vocabulary = skeleton::read_vocabulary(r, &shape)?;
        let mut blocks = Vec::new();
        for _ in 0..shape.layers {
            blocks.push(skeleton::read_block(r, &shape, &common)?);
        }
        let roots = Roots {
            blocks: Commitment::decode(r)?,
            tokens: Commitment::decode(r)?,
            head: match vocabulary.head {
                Some(_) => Some(Commitment::decode(r)?),
                None => None,
            },
        };
        let tables = Tables::new(&shape, roots.head.is_some())
            .map_err(|_| DecodeError::Invalid("a key of more cells than can be committed"))?;
        let bytes = all.clone().raw(all.remaining() - r.remaining())?;
        Ok(Self {
            model,
            shape,
            common,
            vocabulary,
            blocks,
            roots,
            tables,
            digest: Hasher::new("nesa.proof.key.v1").bytes(bytes).finish(),
        })
    }
}
