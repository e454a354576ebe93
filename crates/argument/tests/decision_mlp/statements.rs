//! Another model, other rows, other scores, other messages: each refused for its reason.

use nesa_argument::decision::Rejection::{
    self, Opening, Relations, Statement as Malformed, Tree, Unsupported, Work,
};
use nesa_argument::decision::mlp::check::forge;
use nesa_argument::decision::mlp::{MlpProof, Statement, prove, verify};
use nesa_argument::decision::{DECISIONS_MAX, Refusal};
use nesa_argument::field::E;
use nesa_argument::pcs::Commitment;
use nesa_codec::{Decode, Digest, Encode};
use nesa_decision::Mlp;
use nesa_decision::mlp::Layer;
use nesa_model::Table;
use p3_field::PrimeCharacteristicRing;

use crate::world::World;

fn rebuilt(m: &Mlp, change: impl FnOnce(&mut Vec<Table>, &mut Vec<Layer>)) -> Mlp {
    let (mut tables, mut layers) = (m.tables().to_vec(), m.layers().to_vec());
    change(&mut tables, &mut layers);
    Mlp::new(m.schema().clone(), m.inputs().to_vec(), tables, layers).expect("a perceptron")
}

/// The lies about a model: a name, and the model that the prover runs instead.
fn lies(w: &World) -> Vec<(&'static str, Mlp)> {
    let m = &w.mlp;
    let mut all = vec![
        (
            "a weight + 1",
            rebuilt(m, |_, l| {
                let v = &mut l[0].linear.weight[0];
                *v = if *v < 127 { *v + 1 } else { 126 };
            }),
        ),
        ("a bias + 1", rebuilt(m, |_, l| l[1].linear.bias[0] += 1)),
        (
            "a divisor + 2",
            rebuilt(m, |_, l| l[2].linear.divisor[0] += 2),
        ),
        (
            "int4 for int8",
            rebuilt(m, |_, l| {
                l.iter_mut()
                    .for_each(|l| l.linear.weight.iter_mut().for_each(|v| *v = *v / 16 * 16));
            }),
        ),
        (
            "rows of a layer exchanged",
            rebuilt(m, |_, l| {
                let l = &mut l[3].linear;
                let (cols, bias) = (l.cols, l.bias[0]);
                l.weight.rotate_left(cols);
                l.bias[0] = l.bias[1];
                l.bias[1] = bias;
            }),
        ),
    ];
    for table in 0..2 {
        let used = w.witness().stated.inputs[table][0];
        let changed = rebuilt(m, |t, _| {
            let mut values = t[table].values().to_vec();
            values[usize::from(used)] += 1;
            t[table] = Table::new(values).expect("a table");
        });
        all.push(("a table entry + 1", changed));
    }
    all
}

#[test]
fn decisions_of_another_model_are_refused() {
    let w = World::small();
    for (name, mlp) in lies(&w) {
        let lying = World::of(mlp, w.rows.clone());
        let proof = prove(&lying.statement()).expect("true of the other model");
        // By its own name it is another statement.
        let s = Statement {
            scores: &lying.scores,
            ..w.statement()
        };
        assert_eq!(verify(&s, &proof), Err(Tree(0)), "{name}");
        // By the honest model's name only the circuit tells.
        let named = Statement {
            model: &w.root,
            ..lying.statement()
        };
        let proof = prove(&named).expect("a prover who lies about the name");
        assert_eq!(verify(&s, &proof), Err(Relations), "{name}");
    }
}

#[test]
fn another_statement_is_refused() {
    let w = World::small();
    let proof = prove(&w.statement()).expect("honest");
    let refused = |change: &dyn Fn(&mut World)| {
        let mut other = w.clone();
        change(&mut other);
        verify(&other.statement(), &proof)
    };
    assert_eq!(refused(&|_| ()), Ok(()));
    assert_eq!(refused(&|w| w.root = Digest([7; 32])), Err(Tree(0)));
    assert_eq!(refused(&|w| w.rows[0] += 1), Err(Tree(0)));
    assert_eq!(refused(&|w| w.scores[5] -= 1), Err(Tree(0)));
    assert_ne!(w.scores[0], w.scores[1]);
    assert_eq!(refused(&|w| w.scores.swap(0, 1)), Err(Tree(0)));
    // One decision less, one more.
    let fewer = |w: &mut World| {
        w.rows.truncate(6);
        w.scores.truncate(4);
    };
    assert!(matches!(refused(&fewer), Err(Tree(_))));
    let more = |w: &mut World| {
        w.rows.extend_from_within(..3);
        w.scores.extend_from_within(..2);
    };
    assert_eq!(refused(&more), Err(Tree(0)));
    // Malformed.
    assert_eq!(
        refused(&|w| {
            w.rows.pop();
        }),
        Err(Malformed("rows"))
    );
    assert_eq!(
        refused(&|w| {
            w.scores.pop();
        }),
        Err(Malformed("scores"))
    );
    assert_eq!(refused(&|w| w.rows[0] = i16::MIN), Err(Malformed("rows")));
    assert_eq!(
        refused(&|w| w.scores[0] = 1 << 27),
        Err(Malformed("scores"))
    );
    assert_eq!(
        refused(&|w| w.scores[0] = i64::MIN),
        Err(Malformed("scores"))
    );
    let none = Err(Malformed("number of decisions"));
    assert_eq!(refused(&|w| w.rows.clear()), none);
    assert_eq!(
        refused(&|w| w.rows = vec![0; 3 * (DECISIONS_MAX + 1)]),
        none
    );
}

#[test]
fn false_scores_and_rows_cannot_be_forged() {
    let w = World::small();
    let mut lying = w.clone();
    lying.scores[3] += 1;
    assert_eq!(lying.judge(w.witness()), Err(Relations), "a score");
    let mut lying = w.clone();
    lying.rows[4] -= 1;
    assert_eq!(lying.judge(w.witness()), Err(Relations), "a row");
    let mut lying = w.clone();
    lying.rows.rotate_left(3);
    assert_eq!(lying.judge(w.witness()), Err(Relations), "rows exchanged");
}

#[test]
fn constants_that_could_wrap_have_no_circuit() {
    let w = World::small();
    let proof = prove(&w.statement()).expect("honest");
    let refused = |what: &'static str, change: &dyn Fn(&mut Layer)| {
        let other = rebuilt(&w.mlp, |_, l| change(&mut l[0]));
        let s = Statement {
            mlp: &other,
            ..w.statement()
        };
        let unsupported = Err(Unsupported(Refusal::Constants(what)));
        assert_eq!(verify(&s, &proof), unsupported);
        assert_eq!(prove(&s).map(|_| ()), Err(Refusal::Constants(what)));
    };
    refused("divisors", &|l| l.linear.divisor[0] = 4_000);
    refused("divisors", &|l| l.linear.divisor[0] = u32::MAX);
    refused("divisors", &|l| l.linear.divisor[0] = 0);
    refused("sizes", &|l| {
        l.linear.divisor.pop();
    });
    refused("sizes", &|l| {
        l.linear.bias.pop();
    });
    refused("weights", &|l| l.linear.weight[0] = -128);
    refused("biases", &|l| {
        l.linear.bias[1] = (1 << 62) - 3 * 127 * 32_767;
    });
}

fn changed(w: &World, p: &MlpProof, change: impl FnOnce(&mut MlpProof)) -> Result<(), Rejection> {
    let mut bad = p.clone();
    change(&mut bad);
    verify(&w.statement(), &bad)
}

#[test]
fn every_message_changed_by_one_is_refused() {
    let w = World::small();
    let p = prove(&w.statement()).expect("honest");
    assert_eq!(changed(&w, &p, |p| p.messages.nonce += 1), Err(Work));
    let mut root = p.messages.commitment.to_bytes();
    root[0] ^= 1;
    let root = Commitment::from_bytes(&root).expect("any bytes");
    assert_eq!(
        changed(&w, &p, |p| p.messages.commitment = root),
        Err(Tree(0))
    );
    for (i, tree) in p.messages.trees.iter().enumerate() {
        for k in 0..2 {
            let bad = changed(&w, &p, |p| p.messages.trees[i].root[k] += E::ONE);
            assert_eq!(bad, Err(Tree(i)), "a root");
        }
        for (l, level) in tree.levels.iter().enumerate() {
            for k in 0..4 {
                let bad = changed(&w, &p, |p| {
                    p.messages.trees[i].levels[l].children[k] += E::ONE;
                });
                assert_eq!(bad, Err(Tree(i)), "a child");
            }
            for r in 0..level.rounds.len() {
                let bad = changed(&w, &p, |p| {
                    p.messages.trees[i].levels[l].rounds[r][1] += E::ONE;
                });
                assert_eq!(bad, Err(Tree(i)), "a round");
            }
        }
        let bad = changed(&w, &p, |p| {
            p.messages.trees[i].levels.pop();
        });
        assert_eq!(bad, Err(Tree(i)), "a level less");
    }
    let fewer = p.messages.trees.len() - 1;
    let bad = changed(&w, &p, |p| {
        p.messages.trees.pop();
    });
    assert_eq!(bad, Err(Tree(fewer)), "a tree less");
    for i in 0..p.messages.inner.len() {
        for k in 0..2 {
            let bad = changed(&w, &p, |p| p.messages.inner[i][k] += E::ONE);
            assert_eq!(bad, Err(Relations), "a round of the inner product");
        }
    }
    let bad = changed(&w, &p, |p| {
        p.messages.inner.pop();
    });
    assert_eq!(bad, Err(Relations), "a round less");
    assert_eq!(
        changed(&w, &p, |p| p.messages.value += E::ONE),
        Err(Relations)
    );
    // The opening of another proof of the same size.
    let mut other = w.clone();
    other.rows[0] += 1;
    let other = World::of(w.mlp.clone(), other.rows);
    let theirs = prove(&other.statement()).expect("honest");
    let bad = changed(&w, &p, |p| {
        p.messages.opening = theirs.messages.opening.clone();
    });
    assert!(matches!(bad, Err(Opening(_))), "{bad:?}");
    let bad = changed(&w, &p, |p| p.messages = theirs.messages.clone());
    assert_eq!(bad, Err(Tree(0)), "another statement's messages");
    let honest = forge(&w.statement(), w.witness(), |_| ()).expect("honest");
    assert_eq!(
        honest.to_bytes(),
        p.to_bytes(),
        "the forger's door is the prover's"
    );
}
