//! Evidence of one wrong answer that convinces whoever reads it.
//!
//! ```text
//! model root ─ manifest ─ block root ─ its operators' roots ─ matrix root ─ path ─ one tile of weights
//! signature  ─ statement ─ digest of the share in, digest of the answer out
//! convicted where  answer[row, output] ≠ Σ_j weight[output][j] · share[row][j]  mod p
//! ```
//! Only the holder's own signature convicts it, and only arithmetic that anyone can repeat. What is
//! disclosed is one share of one flight, which says nothing about its input.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer, merkle};
use nesa_field::P;
use nesa_model::spec::{Shape, TILE_ROWS, limits};
use nesa_model::split::Product;
use nesa_model::{Block, Linear, Manifest};

use super::{
    AnswerStatement, Share, VALUES_MAX, answer_digest, read_signature, read_values, write_values,
};

/// Operators of a block at most; their roots are the leaves of its tree.
const OPERATORS_MAX: usize = 16;
const MAGIC: &[u8; 8] = b"nesawrg1";

/// One tile of a matrix, and its way to a model's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// The model.
    pub manifest: Manifest,
    /// Roots of the block's operators, in the order of its tree.
    pub operators: Vec<Digest>,
    /// Largest output of the matrix' operator, as its root has it.
    pub clamp: u32,
    /// Lift of the matrix' operator, as its root has it.
    pub lift: u32,
    /// Root over the matrix' tiles.
    pub tiles: Digest,
    /// From this tile to [`Tile::tiles`].
    pub path: merkle::Path,
    /// Divisor and bias of each row of the tile: constants that its digest covers.
    pub constants: Vec<(u32, i64)>,
    /// (tile rows, cols).
    pub weights: Vec<i8>,
}

/// A signed answer and why it is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongAnswer {
    /// What the holder signed.
    pub statement: AnswerStatement,
    /// Its signature.
    pub signature: [u8; 64],
    /// What it received.
    pub share: Share,
    /// What it answered (rows, outputs).
    pub answer: Vec<u32>,
    /// The row that is wrong.
    pub row: u32,
    /// The output of that row that is wrong, counted over all matrices of the product.
    pub output: u32,
    /// The weights of that output.
    pub tile: Tile,
}

/// Why evidence convicts nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// The statement is not signed by the node that it names.
    #[error("the node did not sign this statement; nothing follows from it")]
    Signature,
    /// Share or answer are not the signed ones.
    #[error("{0} is not the one that was signed; use the bytes that were exchanged")]
    Digest(&'static str),
    /// The weights are not those of the model.
    #[error("{0} does not lead to the root of the model; use the model's own parts")]
    Model(&'static str),
    /// The answer is right there.
    #[error("the answer is right at this output; nothing is wrong with it")]
    Right,
}

/// Where an output of a product is: the leaf of its operator in the block's tree, the operator's
/// rows and columns, and the row.
struct Place {
    leaf: usize,
    leaves: usize,
    rows: usize,
    cols: usize,
    row: usize,
}

/// The operators of a product: leaf, rows, cols. As [`Block::root`] orders them.
fn operators(shape: &Shape, product: Product) -> Vec<(usize, usize, usize)> {
    let (d, q, kv, f) = (shape.dim, shape.q_dim(), shape.kv_dim(), shape.ffn);
    match (product, shape.gated) {
        (Product::Qkv, _) => vec![(1, q, d), (2, kv, d), (3, kv, d)],
        (Product::Output, _) => vec![(6, d, q)],
        (Product::Ffn, true) => vec![(9, f, d), (10, f, d)],
        (Product::Ffn, false) => vec![(9, f, d)],
        (Product::Down, true) => vec![(12, d, f)],
        (Product::Down, false) => vec![(10, d, f)],
    }
}

fn place(shape: &Shape, product: Product, output: usize) -> Option<Place> {
    let mut row = output;
    for (leaf, rows, cols) in operators(shape, product) {
        if row < rows {
            let leaves = if shape.gated { 13 } else { 11 };
            return Some(Place {
                leaf,
                leaves,
                rows,
                cols,
                row,
            });
        }
        row -= rows;
    }
    None
}

/// The root of a matrix, as [`Linear::root`] makes it.
fn matrix_root(p: &Place, tile: &Tile) -> Digest {
    Hasher::new("nesa.model.linear.v1")
        .u64(p.rows as u64)
        .u64(p.cols as u64)
        .u64(u64::from(tile.clamp))
        .u64(u64::from(tile.lift))
        .digest(&tile.tiles)
        .finish()
}

/// `Σ w·s mod p`; within 64 bits for up to 2^25 columns.
fn product_mod_p(weights: &[i8], share: &[u32]) -> u32 {
    let sum: i64 = (weights.iter().zip(share))
        .map(|(&w, &s)| i64::from(w) * i64::from(s))
        .sum();
    sum.rem_euclid(i64::from(P)) as u32
}

impl Tile {
    /// The tile of `matrix` that holds its row `row`.
    fn of(
        manifest: &Manifest,
        operators: Vec<Digest>,
        matrix: &Linear,
        row: usize,
    ) -> Option<Self> {
        let tree = merkle::Tree::new(matrix.tiles());
        let first = row / TILE_ROWS * TILE_ROWS;
        let rows = first..(first + TILE_ROWS).min(matrix.rows);
        let bias = |i: usize| matrix.bias.get(i).copied().unwrap_or(0);
        Some(Self {
            manifest: manifest.clone(),
            operators,
            clamp: matrix.clamp.unsigned_abs(),
            lift: matrix.lift,
            tiles: tree.root(),
            path: tree.path(row / TILE_ROWS)?,
            constants: rows.clone().map(|i| (matrix.divisor[i], bias(i))).collect(),
            weights: matrix.weight[rows.start * matrix.cols..rows.end * matrix.cols].to_vec(),
        })
    }

    /// The digest of the tile, as [`Linear::tiles`] makes it.
    fn digest(&self, first: usize, cols: usize) -> Digest {
        let mut w = Writer::default();
        for (divisor, bias) in &self.constants {
            w.u32(*divisor);
            w.i64(*bias);
        }
        let bytes: Vec<u8> = self.weights.iter().map(|&v| v as u8).collect();
        Hasher::new("nesa.model.tile.v1")
            .u64(first as u64)
            .u64(cols as u64)
            .bytes(w.as_slice())
            .bytes(&bytes)
            .finish()
    }

    /// The weights (cols) at `p`, if they are those of block `layer` of `model`.
    fn row(&self, model: &Digest, layer: u32, p: &Place) -> Result<&[i8], NotProven> {
        let first = p.row / TILE_ROWS * TILE_ROWS;
        let rows = TILE_ROWS.min(p.rows - first);
        let sized = self.constants.len() == rows && self.weights.len() == rows * p.cols;
        let block = self.manifest.layers.get(layer as usize);
        if self.manifest.root() != *model {
            Err(NotProven::Model("the manifest"))
        } else if self.operators.len() != p.leaves || block != Some(&merkle::root(&self.operators))
        {
            Err(NotProven::Model("the block"))
        } else if matrix_root(p, self) != self.operators[p.leaf] {
            Err(NotProven::Model("the matrix"))
        } else if !sized
            || !merkle::verify(
                &self.tiles,
                p.rows.div_ceil(TILE_ROWS),
                p.row / TILE_ROWS,
                &self.digest(first, p.cols),
                &self.path,
            )
        {
            Err(NotProven::Model("the tile"))
        } else {
            let at = (p.row - first) * p.cols;
            Ok(&self.weights[at..at + p.cols])
        }
    }
}

impl WrongAnswer {
    /// Evidence from what was exchanged, with the first wrong output, or `None` where every output
    /// is right. `block` is the model's own. Computes the whole product.
    #[must_use]
    pub fn find(
        statement: AnswerStatement,
        signature: [u8; 64],
        share: Share,
        answer: Vec<u32>,
        manifest: &Manifest,
        block: &Block,
    ) -> Option<Self> {
        let product = Product::from_code(statement.product)?;
        let matrices = product.matrices(block);
        let outputs: usize = matrices.iter().map(|m| m.rows).sum();
        let (rows, cols) = (statement.rows as usize, matrices.first()?.cols);
        let inputs = share.clone().expand(rows, cols)?;
        // An answer of another size is wrong everywhere: its first output stands for it.
        let sized = answer.len() == rows.checked_mul(outputs)?;
        let right = |row: usize, output: usize| {
            let mut at = output;
            let s = &inputs[row * cols..(row + 1) * cols];
            for m in &matrices {
                if at < m.rows {
                    let w = &m.weight[at * cols..(at + 1) * cols];
                    return answer[row * outputs + output] == product_mod_p(w, s);
                }
                at -= m.rows;
            }
            true
        };
        let mut all = (0..rows).flat_map(|r| (0..outputs).map(move |o| (r, o)));
        let (row, output) = if sized {
            all.find(|&(r, o)| !right(r, o))?
        } else {
            (0, 0)
        };
        let place = place(&manifest.shape, product, output)?;
        let mut at = output;
        let matrix = matrices.into_iter().find(|m| {
            let here = at < m.rows;
            at = at.wrapping_sub(if here { 0 } else { m.rows });
            here
        })?;
        let tile = Tile::of(manifest, block.operators(), matrix, place.row)?;
        Some(Self {
            statement,
            signature,
            share,
            answer,
            row: row as u32,
            output: output as u32,
            tile,
        })
    }

    /// The public key of the node that gave a wrong answer, if this proves it. Work and memory are
    /// bounded by the sizes of share and answer.
    ///
    /// # Errors
    /// [`NotProven`]: no bytes convict a node whose signed answers are right.
    pub fn verify(&self) -> Result<[u8; 32], NotProven> {
        if !self.statement.is_signed(&self.signature) {
            return Err(NotProven::Signature);
        }
        self.judge()?;
        Ok(self.statement.node)
    }

    /// Whether the answer is wrong, whoever signed it: [`WrongAnswer::verify`] without the signature.
    ///
    /// # Errors
    /// As [`WrongAnswer::verify`].
    pub fn judge(&self) -> Result<(), NotProven> {
        let s = &self.statement;
        if s.share != self.share.digest(s.rows) {
            return Err(NotProven::Digest("the share"));
        }
        if s.answer != answer_digest(&self.answer) {
            return Err(NotProven::Digest("the answer"));
        }
        let shape = &self.tile.manifest.shape;
        let product = Product::from_code(s.product).ok_or(NotProven::Model("the product"))?;
        let (row, output) = (self.row as usize, self.output as usize);
        let place = place(shape, product, output).ok_or(NotProven::Model("the output"))?;
        let weights = self.tile.row(&s.model, s.layer, &place)?;
        let rows = s.rows as usize;
        let outputs: usize = operators(shape, product).iter().map(|o| o.1).sum();
        let sizes = (rows.checked_mul(place.cols)).zip(rows.checked_mul(outputs));
        let Some((_, size)) = sizes.filter(|(i, o)| row < rows && *i.max(o) <= VALUES_MAX) else {
            return Err(NotProven::Digest("the row"));
        };
        let share = self.share_row(rows, row, place.cols)?;
        let right = product_mod_p(weights, &share);
        if self.answer.len() == size && self.answer[row * outputs + output] == right {
            return Err(NotProven::Right);
        }
        Ok(())
    }

    /// Row `row` (cols) of the share.
    fn share_row(&self, rows: usize, row: usize, cols: usize) -> Result<Vec<u32>, NotProven> {
        let at = row * cols;
        match &self.share {
            Share::Seed(seed) => Ok(nesa_field::uniform(seed, at + cols).split_off(at)),
            Share::Values(v) if v.len() == rows * cols => Ok(v[at..at + cols].to_vec()),
            Share::Values(_) => Err(NotProven::Digest("the share's size")),
        }
    }
}

impl Encode for Tile {
    fn encode(&self, w: &mut Writer) {
        self.manifest.encode(w);
        w.seq(&self.operators);
        w.u32(self.clamp);
        w.u32(self.lift);
        w.digest(&self.tiles);
        self.path.encode(w);
        w.len(self.constants.len());
        for (divisor, bias) in &self.constants {
            w.u32(*divisor);
            w.i64(*bias);
        }
        let bytes: Vec<u8> = self.weights.iter().map(|&v| v as u8).collect();
        w.bytes(&bytes);
    }
}

impl Decode for Tile {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            manifest: Manifest::decode(r)?,
            operators: r.seq(OPERATORS_MAX)?,
            clamp: r.u32()?,
            lift: r.u32()?,
            tiles: r.digest()?,
            path: merkle::Path::decode(r)?,
            constants: {
                let n = r.len(TILE_ROWS)?;
                let read = |_| Ok((r.u32()?, r.i64()?));
                (0..n).map(read).collect::<Result<_, DecodeError>>()?
            },
            weights: (r.bytes(TILE_ROWS * limits::FFN)?.iter())
                .map(|&b| b as i8)
                .collect(),
        })
    }
}

impl Encode for WrongAnswer {
    fn encode(&self, w: &mut Writer) {
        w.raw(MAGIC);
        self.statement.encode(w);
        w.raw(&self.signature);
        self.share.encode(w);
        write_values(w, &self.answer);
        w.u32(self.row);
        w.u32(self.output);
        self.tile.encode(w);
    }
}

impl Decode for WrongAnswer {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if r.raw(MAGIC.len())? != MAGIC {
            return Err(DecodeError::Invalid("not evidence of a wrong answer"));
        }
        Ok(Self {
            statement: AnswerStatement::decode(r)?,
            signature: read_signature(r)?,
            share: Share::decode(r)?,
            answer: read_values(r)?,
            row: r.u32()?,
            output: r.u32()?,
            tile: Tile::decode(r)?,
        })
    }
}
