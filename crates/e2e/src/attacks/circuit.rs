//! Attacks on the proof of blocks itself, as its own tests tell them: one registry for both.

#[path = "../../../argument/tests/attacks/named/mod.rs"]
#[allow(
    clippy::expect_used,
    reason = "tables of tests: what cannot go on fails where it stands"
)]
mod named;
#[path = "../../../argument/tests/attacks/world.rs"]
#[allow(
    clippy::expect_used,
    reason = "tables of tests: what cannot go on fails where it stands"
)]
mod world;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use nesa_argument::transformer::{Rejection, verify};
use nesa_codec::Encode;

use super::Expected::NotApplicable;
use super::{Attack, Expected, Judged};
use named::Named;
use world::{Family, World};

/// The small worlds by family, made when one is first needed.
#[derive(Default)]
struct Worlds([OnceLock<World>; 4]);

impl Worlds {
    fn get(&self, family: Family) -> &World {
        self.0[family as usize].get_or_init(|| World::new(family))
    }
}

/// A refusal by its variant; what an opening's parts say is left out.
fn name(r: &Rejection) -> String {
    match r {
        Rejection::Opening(_) => "Opening".to_owned(),
        other => format!("{other:?}"),
    }
}

fn judge(attack: &Named, w: &World) -> Judged {
    let (mut bytes, mut time) = (0, Duration::ZERO);
    let verdict = (attack.tell)(w).and_then(|(claimed, proof)| {
        bytes = proof.to_bytes().len() as u64;
        let start = Instant::now();
        let verdict = verify(&claimed.statement(), &proof);
        time = start.elapsed();
        verdict
    });
    Judged {
        refusal: verdict.err().map(|r| name(&r)),
        bytes,
        time,
    }
}

/// Why other levels have nothing like it.
fn elsewhere(group: &str) -> Expected {
    NotApplicable(match group {
        "model" => "told at every level as `weights`, `operators` and `run`",
        "proof statement" | "proof splice" => {
            "other levels' statements are attacked as `statement`"
        }
        "proof message" => "other levels' messages are attacked as `opening`, `sums` and `dispute`",
        _ => "no other level commits to the values inside of an operator",
    })
}

/// All of them.
pub(super) fn attacks() -> Vec<Attack> {
    let worlds = Arc::new(Worlds::default());
    let of = |attack: Named| {
        let other = elsewhere(attack.group);
        // The registry lives as long as the program.
        let expected = Expected::Refused(name(&attack.expected).leak());
        let worlds = Arc::clone(&worlds);
        Attack {
            group: attack.group,
            name: attack.name.clone(),
            source: attack.source,
            expected: [other, other, other, other, expected],
            tell: Box::new(move |_, _| Ok(judge(&attack, worlds.get(attack.family)))),
        }
    };
    named::all().into_iter().map(of).collect()
}
