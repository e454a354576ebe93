//! The map of the residual stream: what the client does to rows before they leave and after they
//! return.
//!
//! One map per key and model, the same at every layer boundary, so that a sealed model can be cut
//! into hops anywhere.

use std::fmt;

use nesa_model::{Order, Shape};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::PrivacyError;
use crate::key::{ModelKey, Purpose};
use crate::map::Map;

/// Values that the equivariant rewrite hides: *obfuscated*, not private.
///
/// Against a node that holds the base model's weights this hides nothing; see `docs/spec/ee.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obfuscated<T>(T);

/// Residual rows (n, dim).
#[derive(Clone, PartialEq, Eq)]
pub struct Rows {
    dim: usize,
    values: Vec<i32>,
}

/// Hides and reveals residual rows. Holds secrets: whoever has it can undo the hiding of rows.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RowKey {
    hide: Map,
    reveal: Map,
}

/// Whether rows of `shape` may change signs: RMSNorm passes them through, LayerNorm's mean does not.
///
/// Every architecture that normalises before its operators and rotates by position uses RMSNorm;
/// [`crate::seal_block`] refuses one that does not.
pub(crate) fn has_signs(shape: &Shape) -> bool {
    shape.order == Order::Pre && shape.rotary
}

/// The map of the residual stream.
pub(crate) fn row_map(key: &ModelKey, shape: &Shape) -> Map {
    let mut stream = key.stream(Purpose::Rows, 0);
    if has_signs(shape) {
        Map::signed(&mut stream, shape.dim)
    } else {
        Map::permutation(&mut stream, shape.dim)
    }
}

fn in_place(map: &Map, rows: &mut [i32]) -> Result<(), PrivacyError> {
    let dim = map.len();
    if !rows.len().is_multiple_of(dim) {
        return Err(PrivacyError::Shape {
            what: "residual values",
            expected: rows.len().next_multiple_of(dim),
            actual: rows.len(),
        });
    }
    let mut before = vec![0; dim];
    for row in rows.chunks_exact_mut(dim) {
        before.copy_from_slice(row);
        map.apply(&before, row);
    }
    Ok(())
}

impl RowKey {
    /// The map for the model of `key`, whose shape is `shape`.
    #[must_use]
    pub fn new(key: &ModelKey, shape: &Shape) -> Self {
        let hide = row_map(key, shape);
        let reveal = hide.inverse();
        Self { hide, reveal }
    }

    /// Residual width.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.hide.len()
    }

    /// Hides `rows` (n, dim) in place.
    ///
    /// # Errors
    /// [`PrivacyError::Shape`] when the values are not whole rows.
    pub fn hide_in_place(&self, rows: &mut [i32]) -> Result<(), PrivacyError> {
        in_place(&self.hide, rows)
    }

    /// Reveals hidden `rows` (n, dim) in place. Any values are accepted: they may come from anyone.
    ///
    /// # Errors
    /// [`PrivacyError::Shape`] when the values are not whole rows.
    pub fn reveal_in_place(&self, rows: &mut [i32]) -> Result<(), PrivacyError> {
        in_place(&self.reveal, rows)
    }

    /// Hides `values` (n, dim).
    ///
    /// # Errors
    /// [`PrivacyError::Shape`] when the values are not whole rows.
    pub fn hide(&self, values: Vec<i32>) -> Result<Obfuscated<Rows>, PrivacyError> {
        let mut rows = Rows::new(self.dim(), values)?;
        self.hide_in_place(&mut rows.values)?;
        Ok(Obfuscated(rows))
    }

    /// Reveals what a node returned.
    ///
    /// # Errors
    /// [`PrivacyError::Shape`] for rows of another width.
    pub fn reveal(&self, rows: Obfuscated<Rows>) -> Result<Rows, PrivacyError> {
        let mut rows = rows.0;
        if rows.dim != self.dim() {
            return Err(PrivacyError::Shape {
                what: "row width",
                expected: self.dim(),
                actual: rows.dim,
            });
        }
        self.reveal_in_place(&mut rows.values)?;
        Ok(rows)
    }
}

impl Rows {
    /// Rows of `dim` values each.
    ///
    /// # Errors
    /// [`PrivacyError::Shape`] when the values are not whole rows.
    pub fn new(dim: usize, values: Vec<i32>) -> Result<Self, PrivacyError> {
        if dim > 0 && values.len().is_multiple_of(dim) {
            Ok(Self { dim, values })
        } else {
            Err(PrivacyError::Shape {
                what: "residual values",
                expected: values.len().next_multiple_of(dim.max(1)),
                actual: values.len(),
            })
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Values per row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All values (n, dim).
    #[must_use]
    pub fn values(&self) -> &[i32] {
        &self.values
    }

    /// All values (n, dim).
    #[must_use]
    pub fn into_values(self) -> Vec<i32> {
        self.values
    }
}

impl<T> Obfuscated<T> {
    /// Marks what a node sent as hidden.
    #[must_use]
    pub fn received(hidden: T) -> Self {
        Self(hidden)
    }

    /// What a node may see.
    #[must_use]
    pub fn as_hidden(&self) -> &T {
        &self.0
    }

    /// What a node may see.
    #[must_use]
    pub fn into_hidden(self) -> T {
        self.0
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rows({} × {})", self.count(), self.dim)
    }
}

impl fmt::Debug for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowKey(dim {})", self.dim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeploymentKey;
    use nesa_codec::Digest;
    use nesa_model::testing::{Noise, shapes};

    fn key(n: u8) -> ModelKey {
        DeploymentKey::from_bytes([n; 32]).for_model(&Digest([n; 32]))
    }

    #[test]
    fn revealing_undoes_hiding_and_hiding_hides() {
        for s in shapes() {
            for seed in 0..20u8 {
                let rows = RowKey::new(&key(seed), &s);
                let mut noise = Noise(u64::from(seed));
                let x: Vec<i32> = (0..s.dim * 5).map(|_| noise.bits() as i32).collect();
                let hidden = rows.hide(x.clone()).unwrap();
                assert_ne!(hidden.as_hidden().values(), x);
                let negative = |v: &[i32]| v.iter().filter(|v| **v < 0).count();
                let same_signs = negative(&x) == negative(hidden.as_hidden().values());
                // Signs change exactly where the normalisation lets them.
                assert!(same_signs || has_signs(&s));
                assert_eq!(rows.reveal(hidden).unwrap().into_values(), x);
            }
        }
    }

    #[test]
    fn rows_of_another_width_are_refused() {
        let rows = RowKey::new(&key(1), &shapes()[0]);
        assert!(rows.hide(vec![1; 25]).is_err());
        assert!(rows.hide_in_place(&mut [1; 23]).is_err());
        let wide = Rows::new(48, vec![0; 96]).unwrap();
        assert!(rows.reveal(Obfuscated::received(wide)).is_err());
        assert!(Rows::new(0, vec![]).is_err());
        assert_eq!(rows.hide(vec![]).unwrap().into_hidden().count(), 0);
    }

    #[test]
    fn debug_shows_no_value() {
        let rows = Rows::new(2, vec![123_456, -7]).unwrap();
        assert_eq!(
            format!("{:?}", Obfuscated::received(rows)),
            "Obfuscated(Rows(1 × 2))"
        );
        assert_eq!(
            format!("{:?}", RowKey::new(&key(1), &shapes()[0])),
            "RowKey(dim 24)"
        );
    }
}
