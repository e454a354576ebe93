//! Matrices of a model in one committed polynomial, and openings of weightings over them.
//!
//! A matrix of `rows × cols` is a tensor of `rows · cols / w` rows of `w` cells, `w` the largest power of two that
//! divides `cols`: nothing is padded, and cells are in the order of the matrix.

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};

use crate::field::{E, F, decode_e, encode_e};
use crate::form::{Form, Vector, Weights, inner_product};
use crate::layout::{Layout, TensorId};
use crate::pcs::{self, Commitment, MAX_VARS, Opening, PcsError};
use crate::transcript::Transcript;

/// Where the cells of some matrices stand.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    layout: Layout,
}

/// That weightings over a table come to what is said: an inner product down to one point, and the opening there.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Per round: at 0, and the leading coefficient.
    pub messages: Vec<[E; 2]>,
    /// The table's polynomial at the last point.
    pub value: E,
    /// That it is.
    pub opening: Opening,
}

/// Why weightings over a table are not what is said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// The inner product is inconsistent.
    #[error("what is said of them is not what was committed")]
    Product,
    /// The commitment's opening.
    #[error(transparent)]
    Opening(#[from] PcsError),
}

impl Table {
    /// Matrices of these rows and columns; none when they are more than can be committed at once.
    pub(crate) fn new(sizes: &[(usize, usize)]) -> Option<Self> {
        let mut layout = Layout::default();
        let mut cells = 0usize;
        for &(rows, cols) in sizes {
            cells = cells.checked_add(rows.checked_mul(cols)?)?;
            let log_width = cols.trailing_zeros();
            layout.add(rows * (cols >> log_width), log_width);
        }
        if cells > 1 << MAX_VARS {
            return None;
        }
        layout.place();
        Some(Self { layout })
    }

    /// Variables of the polynomial.
    pub(crate) fn num_vars(&self) -> usize {
        self.layout.num_vars() as usize
    }

    /// All cells, zero.
    pub(crate) fn blank(&self) -> Vec<F> {
        vec![F::default(); 1 << self.num_vars()]
    }

    /// Puts matrix `i` among the cells.
    pub(crate) fn fill<T: Copy>(
        &self,
        cells: &mut [F],
        i: usize,
        matrix: &[T],
        of: impl Fn(T) -> F,
    ) {
        let tensor = self.layout.tensor(TensorId(i as u32));
        for piece in &tensor.pieces {
            let size = 1 << (piece.log_rows + tensor.log_inner);
            let from = &matrix[piece.first << tensor.log_inner..];
            for (c, &v) in cells[piece.offset..][..size].iter_mut().zip(from) {
                *c = of(v);
            }
        }
    }

    /// Adds `scale · rows ⊗ columns` on matrix `i`.
    pub(crate) fn add(&self, f: &mut Form, i: usize, scale: E, rows: &Vector, columns: &Vector) {
        let (heads, matrix) = (rows.clone(), columns.clone());
        let weights = Weights::Headed { heads, matrix };
        f.push(TensorId(i as u32), scale, weights);
    }

    /// The places.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Starts the part of a transcript that is about this table.
    pub(crate) fn start(
        &self,
        t: &mut Transcript,
        name: &str,
        root: &Commitment,
    ) -> Result<(), PcsError> {
        t.absorb_bytes(name.as_bytes());
        pcs::observe(root, self.num_vars(), t)
    }

    /// Accepts if `form` is zero at what was committed; `t` has been through [`Table::start`].
    pub(crate) fn verify(
        &self,
        root: &Commitment,
        form: &Form,
        opened: &Opened,
        t: &mut Transcript,
    ) -> Result<(), TableError> {
        let point = inner_product(&self.layout, form, &opened.messages, opened.value, t)
            .ok_or(TableError::Product)?;
        let num_vars = self.num_vars();
        pcs::verify(root, num_vars, &point, opened.value, &opened.opening, t)?;
        Ok(())
    }
}

impl Encode for Opened {
    fn encode(&self, w: &mut Writer) {
        w.len(self.messages.len());
        for v in self.messages.as_flattened() {
            encode_e(v, w);
        }
        encode_e(&self.value, w);
        self.opening.encode(w);
    }
}

impl Decode for Opened {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let n = r.len(MAX_VARS)?;
        let mut messages = Vec::with_capacity(n);
        for _ in 0..n {
            messages.push([decode_e(r)?, decode_e(r)?]);
        }
        Ok(Self {
            messages,
            value: decode_e(r)?,
            opening: Opening::decode(r)?,
        })
    }
}
