//! Lies about the model and its run: another model or a part of it, another order, other rows, other tokens.
//!
//! A receipt says who said it, not that it is true: lies of hops are accepted there. Every other level must refuse.

mod client;
mod operators;
mod run;
mod weights;

use nesa_argument::inference::InferenceProof;
use nesa_proof::Bundle;

use super::dispute::refereed;
use super::hop::Hand;
use super::levels::{Changes, receipts};
use super::proofs::proved;
use super::world::World;
use super::{Attack, Expected, Judged, Level};
use crate::Result;

/// One lie, told by the second hop or by the client.
#[derive(Clone, Copy)]
struct Lie {
    name: &'static str,
    source: &'static str,
    /// What the hop, or the client, does.
    hand: fn(&World, &mut Hand),
    /// What the client signs instead.
    bundle: fn(&mut Bundle),
    /// What the client hands over as a proof instead.
    proof: fn(&mut InferenceProof),
    expected: [Expected; 5],
}

/// A lie of the hop: what spot, checked, refereed and proof say to it.
const fn hop(
    name: &'static str,
    source: &'static str,
    hand: fn(&World, &mut Hand),
    [spot, checked, refereed, proof]: [&'static str; 4],
) -> Lie {
    Lie {
        name,
        source,
        hand,
        bundle: |_| (),
        proof: |_| (),
        expected: [
            Expected::NotClaimed,
            Expected::Chance(spot),
            Expected::Refused(checked),
            Expected::Refused(refereed),
            Expected::Refused(proof),
        ],
    }
}

/// A lie of the client about its own end: every level recomputes that.
const fn end(
    name: &'static str,
    source: &'static str,
    bundle: fn(&mut Bundle),
    proof: fn(&mut InferenceProof),
    [receipt, proved]: [&'static str; 2],
) -> Lie {
    Lie {
        name,
        source,
        hand: |_, _| (),
        bundle,
        proof,
        expected: [
            Expected::Refused(receipt),
            Expected::Refused(receipt),
            Expected::Refused(receipt),
            Expected::Refused(receipt),
            Expected::Refused(proved),
        ],
    }
}

impl Lie {
    fn tell(&self, w: &World, level: Level) -> Result<Judged> {
        let mut hand = Hand::honest(&w.model);
        (self.hand)(w, &mut hand);
        let s = w.session(&hand)?;
        let bundle = |_: &World, b: &mut Bundle| (self.bundle)(b);
        let changes = Changes {
            bundle: Some(&bundle),
            ..Changes::default()
        };
        match level {
            Level::Receipt | Level::Spot | Level::Checked => receipts(w, level, &s, changes),
            Level::Refereed => refereed(w, &s, &hand, changes),
            Level::Proof => proved(w, &s, &hand, Some(&|_, p| (self.proof)(p))),
        }
    }
}

/// Nothing is changed: every level accepts.
pub(super) fn control() -> Attack {
    let lie = Lie {
        expected: [Expected::NotClaimed; 5],
        ..end("nothing changed", "", |_| (), |_| (), ["", ""])
    };
    attack(super::CONTROL, lie)
}

fn attack(group: &'static str, lie: Lie) -> Attack {
    Attack {
        group,
        name: lie.name.to_owned(),
        source: lie.source,
        expected: lie.expected,
        tell: Box::new(move |w, level| lie.tell(w, level)),
    }
}

/// All of them.
pub(super) fn attacks() -> Vec<Attack> {
    let groups = [
        ("weights", weights::LIES),
        ("operators", operators::LIES),
        ("run", run::LIES),
        ("client", client::LIES),
    ];
    let of = |(group, lies): (&'static str, &'static [Lie])| {
        lies.iter().map(move |&lie| attack(group, lie))
    };
    groups.into_iter().flat_map(of).collect()
}
