//! The verifier. Reads the messages once, in their order; any of them end in a typed answer.

use p3_field::PrimeCharacteristicRing;

use super::{Circuit, Messages, total, work};
use crate::decision::Rejection;
use crate::field::E;
use crate::form::{Form, evaluate};
use crate::tables::Compress;
use crate::transcript::Transcript;
use crate::transformer::families::Alpha;
use crate::transformer::leaves::arrange;
use crate::{lookup, pcs};

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
    let mut forms = lookups(c, proof, t)?;
    forms.extend(c.forms(t));
    let form = total(forms, t);
    let point = inner_product(c, &form, proof, t)?;
    let (commitment, opening) = (&proof.commitment, &proof.opening);
    pcs::verify(commitment, num_vars, &point, proof.value, opening, t)?;
    Ok(())
}

fn lookups(c: &impl Circuit, proof: &Messages, t: &mut Transcript) -> Result<Vec<Form>, Rejection> {
    let a = Alpha {
        alpha: t.challenge(),
        compress: Compress::new(t.challenge()),
    };
    let (families, tables) = (c.families(a), c.tables());
    let leaves = arrange(&families, &tables);
    if leaves.len() != proof.trees.len() {
        return Err(Rejection::Tree(proof.trees.len()));
    }
    let mut forms = Vec::new();
    let (mut num, mut den) = (E::ZERO, E::ONE);
    for (i, (l, tree)) in leaves.iter().zip(&proof.trees).enumerate() {
        let claim = lookup::verify(tree, l.log, t).ok_or(Rejection::Tree(i))?;
        let [n, d] = tree.root;
        num = num * d + n * den;
        den *= d;
        forms.extend(l.claims(&claim, &families, &tables, &a));
    }
    if den == E::ZERO {
        return Err(Rejection::Zero);
    }
    if num != E::ZERO {
        return Err(Rejection::Lookup);
    }
    Ok(forms)
}

fn inner_product(
    c: &impl Circuit,
    form: &Form,
    proof: &Messages,
    t: &mut Transcript,
) -> Result<Vec<E>, Rejection> {
    if proof.inner.len() != c.layout().num_vars() as usize {
        return Err(Rejection::Relations);
    }
    let mut claim = -form.constant;
    let mut point = Vec::with_capacity(proof.inner.len());
    for m in &proof.inner {
        t.absorb_ext(m);
        let r = t.challenge();
        let [zero, lead] = *m;
        let slope = claim - zero - zero - lead;
        claim = zero + r * (slope + r * lead);
        point.push(r);
    }
    if evaluate(c.layout(), form, &point) * proof.value != claim {
        return Err(Rejection::Relations);
    }
    t.absorb_ext(&[proof.value]);
    Ok(point)
}
