//! The verifier. Reads the messages once, in their order; any of them end in a typed answer.

use super::{Circuit, Messages, work};
use crate::decision::Rejection;
use crate::form::{Form, inner_product};
use crate::pcs;
use crate::transcript::Transcript;
use crate::transformer::families::Alpha;
use crate::transformer::leaves;

/// Accepts exactly if committed values satisfy `c`, but for an error of at most `2^-100`. The caller absorbed
/// the statement.
///
/// # Errors
/// [`Rejection`].
pub(crate) fn verify(
    c: &impl Circuit,
    proof: &Messages,
    t: &mut Transcript,
) -> Result<(), Rejection> {
    let bits = work(c)?;
    let num_vars = c.layout().num_vars() as usize;
    pcs::observe(&proof.commitment, num_vars, t)?;
    if !t.check_grind(bits, proof.nonce) {
        return Err(Rejection::Work);
    }
    let a = Alpha::draw(t);
    let mut forms = leaves::verify(&c.families(a), &c.tables(), &proof.trees, &a, t)?;
    forms.extend(c.forms(t));
    let form = Form::total(forms, t);
    let point = inner_product(c.layout(), &form, &proof.inner, proof.value, t)
        .ok_or(Rejection::Relations)?;
    let (commitment, opening) = (&proof.commitment, &proof.opening);
    pcs::verify(commitment, num_vars, &point, proof.value, opening, t)?;
    Ok(())
}
