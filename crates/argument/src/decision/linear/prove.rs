//! The prover: commit, look up, add up, open.

use super::count::count;
use super::{Circuit, Messages, total, work};
use crate::decision::Refusal;
use crate::field::F;
use crate::form::{Form, expand};
use crate::tables::Compress;
use crate::transcript::Transcript;
use crate::transformer::families::Alpha;
use crate::transformer::leaves::{Memory, arrange};
use crate::{inner, lookup, pcs};

/// Proves that `cells` satisfy `c`, after the caller absorbed the statement. False values are refused by the
/// verifier. `counted` sees all values once multiplicities are among them.
///
/// # Errors
/// [`Refusal`] for a size that cannot be committed.
pub(crate) fn prove(
    c: &impl Circuit,
    mut cells: Vec<F>,
    counted: impl FnOnce(&mut [F]),
    t: &mut Transcript,
) -> Result<Messages, Refusal> {
    let bits = work(c)?;
    count(c, &mut cells);
    counted(&mut cells);
    let (commitment, committed) = pcs::commit(cells, t)?;
    let nonce = t.grind(bits);
    let (trees, mut forms) = lookups(c, committed.values(), t);
    forms.extend(c.forms(t));
    let weights = expand(c.layout(), &total(forms, t));
    let inner::Proved {
        messages,
        point,
        value,
    } = inner::prove(committed.values(), weights, t);
    t.absorb_ext(&[value]);
    let opening = pcs::open(committed, &point, t)?;
    Ok(Messages {
        commitment,
        nonce,
        trees,
        inner: messages,
        value,
        opening,
    })
}

fn lookups(c: &impl Circuit, f: &[F], t: &mut Transcript) -> (Vec<lookup::Tree>, Vec<Form>) {
    let a = Alpha {
        alpha: t.challenge(),
        compress: Compress::new(t.challenge()),
    };
    let (families, tables) = (c.families(a), c.tables());
    let (mut trees, mut forms) = (Vec::new(), Vec::new());
    let (mut memory, mut scratch) = (Memory::default(), lookup::Scratch::default());
    for l in &arrange(&families, &tables) {
        let filled = l.fill(&families, &tables, (c.layout(), f, &a), &mut memory);
        let (tree, claim) = lookup::prove(&filled, &mut scratch, t);
        forms.extend(l.claims(&claim, &families, &tables, &a));
        trees.push(tree);
    }
    (trees, forms)
}
