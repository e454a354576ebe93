//! The registry of named attacks on a proof of blocks: what is changed, whose break it is, what the verifier says.

mod attention;
mod messages;
mod models;
mod multiplicities;
mod roundings;
mod rows;
mod stated;
mod statements;
mod statistics;

use nesa_argument::field::F;
use nesa_argument::transformer::check::{Witness, forge};
use nesa_argument::transformer::{RangeProof, Rejection};

use super::world::{Family, World};

/// A change of an honest witness.
type Forge = fn(&World, &mut Witness);

/// A false cell: name, world, change, refusal.
type Cell = (&'static str, Family, Forge, Rejection);

/// What is handed to the verifier: the statement of a world, and a proof.
type Told = Result<(World, RangeProof), Rejection>;

/// A change of all committed values after multiplicities are counted.
type Counted = Box<dyn FnOnce(&mut [F])>;

/// One attack.
pub(crate) struct Named {
    pub group: &'static str,
    pub name: String,
    pub source: &'static str,
    pub family: Family,
    /// The refusal; of an opening, its kind alone.
    pub expected: Rejection,
    pub tell: Box<dyn Fn(&World) -> Told>,
}

impl Named {
    /// A witness that is not the honest one, proved as it is.
    fn forged(
        (group, name, source): (&'static str, String, &'static str),
        (family, expected): (Family, Rejection),
        witness: impl Fn(&World) -> (Witness, Counted) + 'static,
    ) -> Self {
        let tell = move |w: &World| {
            let (witness, counted) = witness(w);
            let proof = forge(&w.statement(), witness, counted);
            Ok((w.clone(), proof.map_err(Rejection::Unsupported)?))
        };
        Self {
            group,
            name,
            source,
            family,
            expected,
            tell: Box::new(tell),
        }
    }

    fn cell(&(name, family, change, ref expected): &Cell, source: &'static str) -> Self {
        let of = ("cell", name.to_owned(), source);
        Self::forged(of, (family, expected.clone()), move |w| {
            let mut p = w.witness();
            change(w, &mut p);
            (p, nothing())
        })
    }

    /// An honest proof and its statement, one of them changed.
    fn changed(
        (group, name, source): (&'static str, String, &'static str),
        (family, expected): (Family, Rejection),
        change: impl Fn(&mut World, &mut RangeProof) + 'static,
    ) -> Self {
        let tell = move |w: &World| {
            let (mut other, mut proof) = (w.clone(), w.proved().clone());
            change(&mut other, &mut proof);
            other.bind();
            Ok((other, proof))
        };
        Self {
            group,
            name,
            source,
            family,
            expected,
            tell: Box::new(tell),
        }
    }
}

fn nothing() -> Counted {
    Box::new(|_| ())
}

/// All attacks.
pub(crate) fn all() -> Vec<Named> {
    const OUTPUTS: &str = "JSTprove #238: outputs as free hints";
    let cells = [
        (attention::CELLS, "stwo-ml audit C6, M6: softmax, mask"),
        (rows::CELLS, OUTPUTS),
        (
            statistics::CELLS,
            "stwo-ml audit C5: uncommitted mean and variance",
        ),
    ];
    let cells = cells
        .into_iter()
        .flat_map(|(cells, source)| cells.iter().map(move |c| Named::cell(c, source)));
    let mut all: Vec<Named> = cells.collect();
    all.extend(roundings::all());
    all.extend(multiplicities::all());
    all.extend(stated::all());
    all.extend(models::all());
    all.extend(statements::all());
    all.extend(messages::all());
    all
}
