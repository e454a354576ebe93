//! What is left to show of the tables, as forms over their cells: the same on both sides.

use nesa_codec::{Encode, Hasher};
use p3_field::PrimeCharacteristicRing;

use super::key::Key;
use super::{Answer, SUM_MAX, distinct};
use crate::field::{E, F, from_i64};
use crate::form::{Form, Vector};
use crate::layout::{eq_first, log_ceil};
use crate::transcript::Transcript;
use crate::transformer::Left;

/// What one range leaves, and its first block.
pub(super) type Rest = (u32, Left);

/// A transcript that has absorbed all that is stated: the tables' transcripts continue copies of it.
pub(super) fn bind(key: &Key, answers: &[Answer], token_rows: &[i16], rest: &[Rest]) -> Transcript {
    let mut t = Transcript::new("nesa.proof.committed.v1");
    let mut h = Hasher::new("nesa.proof.committed.v1")
        .digest(&key.digest())
        .i16s(token_rows)
        .u64(answers.len() as u64);
    for a in answers {
        let sums: Vec<u8> = a.sums.iter().flat_map(|s| s.to_le_bytes()).collect();
        h = h.bytes(&a.inference.to_bytes()).bytes(&sums);
    }
    t.absorb_bytes(&h.finish().0);
    for (first, left) in rest {
        t.absorb(&[F::from_u32(*first)]);
        // The coins bind the range's statement and messages.
        t.absorb_ext(&[left.sum, left.coins[0], left.coins[1]]);
    }
    t
}

/// The ranges' products with the blocks' matrices come to what the ranges say.
pub(super) fn blocks(key: &Key, rest: &[Rest], t: &mut Transcript) -> Form {
    let mut form = Form::default();
    let per_block = super::skeleton::sizes(&key.shape).len();
    let gamma = t.challenge();
    for ((first, left), scale) in rest.iter().zip(gamma.powers()) {
        for p in &left.products {
            let i = (*first + p.block) as usize * per_block + p.which as usize;
            key.tables
                .blocks
                .add(&mut form, i, scale, &p.rows, &p.columns);
        }
        form.constant -= scale * left.sum;
    }
    form
}

/// The rows of `tokens` are those of the table.
pub(super) fn tokens(key: &Key, tokens: &[u32], rows: &[i16], t: &mut Transcript) -> Form {
    let s = &key.shape;
    let which = eq_first(&t.challenges(log_ceil(tokens.len()) as usize), tokens.len());
    let columns: Vector = eq_first(&t.challenges(log_ceil(s.dim) as usize), s.dim).into();
    let mut heads = E::zero_vec(s.vocab);
    let mut form = Form::default();
    for ((&token, &e), row) in tokens.iter().zip(&which).zip(rows.chunks_exact(s.dim)) {
        heads[token as usize] = e;
        let sum: E = row
            .iter()
            .zip(columns.iter())
            .map(|(&x, &c)| c * F::from_i16(x))
            .sum();
        form.constant -= e * sum;
    }
    key.tables
        .tokens
        .add(&mut form, 0, E::ONE, &heads.into(), &columns);
    form
}

/// What the head reads for every sampled token, and the sums that are stated of it.
pub(super) struct Sampled<'a> {
    /// (tokens, dim).
    pub inputs: Vec<i16>,
    /// (vocab) each.
    pub sums: Vec<&'a [i64]>,
}

impl<'a> Sampled<'a> {
    /// Of all answers; `None` when rows or sums are not as many as tokens, or too large.
    pub(super) fn of(key: &Key, answers: &'a [Answer]) -> Option<Self> {
        let s = &key.shape;
        let mut all = Self {
            inputs: Vec::new(),
            sums: Vec::new(),
        };
        for a in answers {
            let tokens = a.inference.answer.len();
            let small = a
                .sums
                .iter()
                .all(|v| v.unsigned_abs() <= SUM_MAX.unsigned_abs());
            if tokens.checked_mul(s.vocab)? != a.sums.len() || !small {
                return None;
            }
            if tokens == 0 {
                continue;
            }
            for row in a.sampled(s.dim)?.chunks_exact(s.dim) {
                all.inputs.extend(key.vocabulary.head_input(row));
            }
            all.sums.extend(a.sums.chunks_exact(s.vocab));
        }
        Some(all)
    }

    /// The sums are the head's products with its inputs.
    pub(super) fn form(&self, key: &Key, t: &mut Transcript) -> Form {
        let (s, n) = (&key.shape, self.sums.len());
        let which = eq_first(&t.challenges(log_ceil(n) as usize), n);
        let rows: Vector = eq_first(&t.challenges(log_ceil(s.vocab) as usize), s.vocab).into();
        let mut columns = E::zero_vec(s.dim);
        let mut form = Form::default();
        for ((&e, x), sums) in which
            .iter()
            .zip(self.inputs.chunks_exact(s.dim))
            .zip(&self.sums)
        {
            for (c, &x) in columns.iter_mut().zip(x) {
                *c += e * F::from_i16(x);
            }
            let sum: E = sums
                .iter()
                .zip(rows.iter())
                .map(|(&v, &r)| r * from_i64(v))
                .sum();
            form.constant -= e * sum;
        }
        if let Some(head) = &key.tables.head {
            head.add(&mut form, 0, E::ONE, &rows, &columns.into());
        }
        form
    }
}

/// Token ids as places among the distinct tokens.
pub(super) fn places(all: &[u32], fed: &[u32]) -> Vec<u32> {
    let place = |t: &u32| all.binary_search(t).unwrap_or(all.len()) as u32;
    fed.iter().map(place).collect()
}

/// As [`distinct`], when all of them are tokens of the model.
pub(super) fn known(key: &Key, answers: &[Answer]) -> Option<Vec<u32>> {
    let all = distinct(answers);
    let inside = all.last().is_some_and(|&t| (t as usize) < key.shape.vocab);
    inside.then_some(all)
}
