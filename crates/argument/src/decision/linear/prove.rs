//! The prover: commit, look up, add up, open.

use super::count::count;
use super::{Circuit, Messages, work};
use crate::decision::Refusal;
use crate::field::F;
use crate::form::{Form, expand};
use crate::transcript::Transcript;
use crate::transformer::families::Alpha;
use crate::transformer::leaves;
use crate::{inner, pcs};

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
    let a = Alpha::draw(t);
    let cells = (c.layout(), committed.values(), &a);
    let (trees, mut forms) = leaves::prove(&c.families(a), &c.tables(), cells, t);
    forms.extend(c.forms(t));
    let weights = expand(c.layout(), &Form::total(forms, t));
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
