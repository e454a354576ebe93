//! The prover: walk the trees, commit to the reached leaves, prove one inner product.

use p3_field::PrimeCharacteristicRing;

use super::system::Coefficients;
use super::weights::expand;
use super::{Size, Statement, TreesProof};
use crate::decision::Refusal;
use crate::field::F;
use crate::{inner, pcs};

/// Proves `s`, or says why it cannot: what is refused is never proved in a weaker way.
///
/// # Errors
/// [`Refusal`]; [`Refusal::Scores`] when the statement is false.
pub fn prove(s: &Statement<'_>) -> Result<TreesProof, Refusal> {
    let n = s.decisions().map_err(Refusal::Size)?;
    let size = s.size(n)?;
    prove_cells(s, size, reached(s, size)?)
}

/// One per (leaf, decision) that is reached, after checking the scores.
pub(super) fn reached(s: &Statement<'_>, size: Size) -> Result<Vec<F>, Refusal> {
    let (columns, scores) = (s.trees.columns().len(), s.trees.schema().scores());
    let mut cells = F::zero_vec(1 << size.num_vars());
    for d in 0..size.decisions {
        let row = &s.rows[d * columns..(d + 1) * columns];
        let mut sums = s.trees.base().to_vec();
        let mut first = 0;
        for tree in s.trees.trees() {
            let leaf = tree.leaf(row) as usize;
            sums[tree.class() as usize] += i64::from(tree.leaves()[leaf]);
            cells[((first + leaf) << size.log_decisions) + d] = F::ONE;
            first += tree.leaves().len();
        }
        if sums != s.scores[d * scores..(d + 1) * scores] {
            return Err(Refusal::Scores);
        }
    }
    Ok(cells)
}

/// Proves from committed values on. What they are is the caller's word; false ones are refused by the verifier.
pub(super) fn prove_cells(
    s: &Statement<'_>,
    size: Size,
    cells: Vec<F>,
) -> Result<TreesProof, Refusal> {
    let mut t = s.transcript();
    let (commitment, committed) = pcs::commit(cells, &mut t)?;
    let c = Coefficients::draw(s, size, &mut t);
    let weights = expand(s, size, &c);
    let inner::Proved {
        messages,
        point,
        value,
    } = inner::prove(committed.values(), weights, &mut t);
    t.absorb_ext(&[value]);
    let opening = pcs::open(committed, &point, &mut t)?;
    Ok(TreesProof {
        commitment,
        inner: messages,
        value,
        opening,
    })
}
