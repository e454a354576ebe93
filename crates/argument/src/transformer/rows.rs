//! Denominators of a family, row by row, with as little arithmetic as its coefficients need.

use p3_field::{Algebra, PrimeCharacteristicRing};

use super::families::{Family, Part};
use crate::field::{E, F, coordinates};
use crate::form::Vector;
use crate::layout::{Layout, TensorId};

/// What a cell is multiplied by.
enum Factor<K> {
    One,
    MinusOne,
    Base(F),
    Any(K),
    /// Per column.
    Columns(Vec<K>),
}

/// A family prepared to compute its denominators in `K`: the extension field, or the base field where
/// every coefficient lies in it.
pub(crate) struct Rows<'a, K> {
    /// The sum of constants per column, or one for all columns.
    constant: Vec<K>,
    /// Constants per row.
    by_row: Vec<(K, &'a Vector, Option<&'a Vector>)>,
    cells: Vec<(TensorId, Factor<K>, Option<&'a Vector>)>,
    of: fn(E) -> K,
}

fn base(c: E) -> Option<F> {
    let v = coordinates(&c);
    (v[1] == F::ZERO).then_some(v[0])
}

impl<'a, K: Algebra<F> + Copy> Rows<'a, K> {
    /// Prepares `f`; `of` maps coefficients to `K`.
    pub(crate) fn new(f: &'a Family, of: fn(E) -> K) -> Self {
        let mut all = Self {
            constant: vec![K::ZERO; 1],
            by_row: Vec::new(),
            cells: Vec::new(),
            of,
        };
        for p in &f.parts {
            match (p.tensor, &p.outer, &p.inner) {
                (Some(id), outer, _) if p.coefficient != E::ZERO => {
                    all.cells.push((id, all.factor(p), outer.as_ref()));
                }
                (Some(_), ..) => {}
                (None, Some(o), v) => all.by_row.push((of(p.coefficient), o, v.as_ref())),
                (None, None, Some(v)) => all.add_columns(of(p.coefficient), v),
                (None, None, None) => {
                    let c = of(p.coefficient);
                    all.constant.iter_mut().for_each(|o| *o += c);
                }
            }
        }
        all
    }

    fn add_columns(&mut self, c: K, v: &Vector) {
        if self.constant.len() == 1 {
            self.constant = vec![self.constant[0]; v.len()];
        }
        for (o, &i) in self.constant.iter_mut().zip(v.iter()) {
            *o += c * (self.of)(i);
        }
    }

    fn factor(&self, p: &Part) -> Factor<K> {
        let c = p.coefficient;
        if let Some(v) = &p.inner {
            return Factor::Columns(v.iter().map(|&i| (self.of)(c * i)).collect());
        }
        match base(c) {
            Some(c) if c == F::ONE => Factor::One,
            Some(c) if c == F::NEG_ONE => Factor::MinusOne,
            Some(c) => Factor::Base(c),
            None => Factor::Any((self.of)(c)),
        }
    }

    /// The denominators of row `j`.
    pub(crate) fn fill(&self, layout: &Layout, cells: &[F], j: usize, out: &mut [K]) {
        let plain = self.by_row.iter().filter(|(.., v)| v.is_none());
        let by_row: K = plain.map(|&(c, o, _)| c * (self.of)(o[j])).sum();
        match self.constant.as_slice() {
            &[c] => out.fill(c + by_row),
            all => {
                for (o, &c) in out.iter_mut().zip(all) {
                    *o = c + by_row;
                }
            }
        }
        for &(c, o, v) in &self.by_row {
            let c = c * (self.of)(o[j]);
            for (out, &i) in out.iter_mut().zip(v.into_iter().flat_map(|v| v.iter())) {
                *out += c * (self.of)(i);
            }
        }
        for (id, factor, outer) in &self.cells {
            let at = layout.at(*id, j, 0);
            let cells = &cells[at..at + out.len()];
            let out = out.iter_mut().zip(cells);
            let scale = outer.map(|o| (self.of)(o[j]));
            match (factor, scale) {
                (Factor::One, None) => out.for_each(|(o, &x)| *o += x),
                (Factor::MinusOne, None) => out.for_each(|(o, &x)| *o -= x),
                (Factor::Base(c), None) => out.for_each(|(o, &x)| *o += *c * x),
                (Factor::Any(c), None) => out.for_each(|(o, &x)| *o += *c * x),
                (Factor::Columns(v), None) => {
                    out.zip(v).for_each(|((o, &x), &i)| *o += i * x);
                }
                (factor, Some(s)) => {
                    for (k, (o, &x)) in out.enumerate() {
                        *o += s * factor.at(k) * x;
                    }
                }
            }
        }
    }
}

impl<K: Algebra<F> + Copy> Factor<K> {
    fn at(&self, k: usize) -> K {
        match self {
            Self::One => K::ONE,
            Self::MinusOne => K::NEG_ONE,
            Self::Base(c) => K::from(*c),
            Self::Any(c) => *c,
            Self::Columns(v) => v[k],
        }
    }
}
