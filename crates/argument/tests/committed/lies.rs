//! A prover that holds another model, or says something else, and the exact refusal.

use nesa_argument::committed::{CommittedError, CommittedProof, Key, TableError, verify};
use nesa_argument::field::{E, F};
use nesa_argument::pcs::PcsError;
use nesa_argument::transformer::Rejection;
use nesa_model::testing::{Model, shapes};
use p3_field::PrimeCharacteristicRing;

use crate::world::{ask, key, matrices, prove, prove_as, random, refusal, tiny};

fn table(e: &CommittedError, name: &str) -> bool {
    matches!(e, CommittedError::Table { table, .. } if *table == name)
}

fn unopened(e: &CommittedError, name: &str) -> bool {
    let opening = |e: &TableError| matches!(e, TableError::Opening(PcsError::Refused(_)));
    matches!(e, CommittedError::Table { table, error } if *table == name && opening(error))
}

fn product(e: &CommittedError, name: &str) -> bool {
    matches!(e, CommittedError::Table { table, error: TableError::Product } if *table == name)
}

/// One weight more or less by one.
fn nudged(m: &Model, block: usize, which: usize) -> Model {
    let mut other = m.clone();
    let l = matrices(&mut other.blocks[block]).swap_remove(which);
    let w = &mut l.weight[which * 3 % 7];
    *w += if *w > 0 { -1 } else { 1 };
    other
}

#[test]
fn another_weight_in_any_matrix_is_refused_whichever_matrices_are_opened() {
    for shape in [tiny(&shapes()[0]), tiny(&shapes()[2])] {
        let m = random(&shape, 3);
        let key = key(&m);
        let n = matrices(&mut m.blocks[0].clone()).len();
        for which in 0..n {
            let other = nudged(&m, 0, which);
            let mut i = ask(
                &other,
                &[3, 1, 4],
                usize::from(m.vocabulary.head.is_some()),
                7,
            );
            i.model = key.model();
            let asked = [i];
            // Its ranges are proved with the key's digest; the sums are those of its own matrices.
            let own = prove_as(&key, &other, &other, &asked, 1).expect("it makes something");
            assert!(
                unopened(&refusal(&key, &own, "own"), "blocks"),
                "matrix {which}"
            );
            let theirs = prove_as(&key, &other, &m, &asked, 1).expect("it makes something");
            assert!(
                product(&refusal(&key, &theirs, "theirs"), "blocks"),
                "matrix {which}"
            );
        }
    }
}

#[test]
fn another_token_row_is_refused_whichever_rows_are_opened() {
    let m = random(&tiny(&shapes()[2]), 3);
    let key = key(&m);
    let mut other = m.clone();
    other.vocabulary.tokens[3 * 4 + 1] += 1;
    let mut i = ask(&other, &[3, 1, 4], 0, 0);
    i.model = key.model();
    let p = prove_as(&key, &other, &other, &[i], 1).expect("it makes something");
    assert!(unopened(&refusal(&key, &p, "own rows"), "token rows"));
    // The honest proof with another row: what was proved does not start from it; or, where rounding hides the
    // change, everything said about the tables is bound to the rows.
    let asked = [ask(&m, &[3, 1, 4], 0, 0)];
    let mut p = prove(&key, &m, &asked, 1).expect("honest");
    for by in [1, -1, 5000] {
        p.token_rows[5] += by;
        let e = refusal(&key, &p, "token row");
        let range = matches!(e, CommittedError::Range { .. });
        assert!(range || (by.abs() == 1 && table(&e, "blocks")), "{by}: {e}");
        p.token_rows[5] -= by;
    }
}

#[test]
fn another_head_is_refused_whichever_is_opened() {
    let m = random(&tiny(&shapes()[0]), 3);
    let key = key(&m);
    let mut other = m.clone();
    if let Some(head) = &mut other.vocabulary.head {
        head.weight[6] ^= 1;
    }
    let mut i = ask(&other, &[3, 1, 4], 2, 7);
    i.model = key.model();
    let p = prove_as(&key, &m, &other, &[i], 1).expect("it makes something");
    assert!(unopened(&refusal(&key, &p, "own head"), "head"));
}

/// A change of a proof.
type Lie = fn(&mut CommittedProof);

/// What a refusal must be.
type Reason = fn(&CommittedError) -> bool;

fn each(key: &Key, honest: &CommittedProof, lies: &[(&str, Lie, Reason)]) {
    assert_eq!(verify(key, honest), Ok(()));
    for (name, lie, reason) in lies {
        let mut p = honest.clone();
        lie(&mut p);
        let e = refusal(key, &p, name);
        assert!(reason(&e), "{name}: {e}");
    }
}

#[test]
fn everything_that_is_said_is_bound() {
    let m = random(&shapes()[0], 5);
    let key = key(&m);
    let asked = [ask(&m, &[3, 1, 4], 2, 7), ask(&m, &[2, 7], 2, 8)];
    let p = prove(&key, &m, &asked, 2).expect("honest");
    let relations: Reason = |e| {
        matches!(
            e,
            CommittedError::Range {
                error: Rejection::Relations,
                ..
            }
        )
    };
    let range: Reason = |e| matches!(e, CommittedError::Range { .. });
    let other: Reason = |e| matches!(e, CommittedError::Other(_));
    let malformed: Reason = |e| matches!(e, CommittedError::Malformed(_));
    let gap: Reason = |e| matches!(e, CommittedError::Ranges(_));
    let any_table: Reason = |e| matches!(e, CommittedError::Table { .. });
    let lies: [(&str, Lie, Reason); 19] = [
        (
            "a sum",
            |p| p.answers[0].sections[0].sum += E::ONE,
            relations,
        ),
        (
            "sums exchanged",
            |p| {
                let s = p.answers[0].sections[0].sum;
                p.answers[0].sections[0].sum = p.answers[0].sections[1].sum;
                p.answers[0].sections[1].sum = s;
            },
            relations,
        ),
        ("another key", |p| p.key.0[0] ^= 1, other),
        (
            "another model",
            |p| p.answers[1].inference.model.0[0] ^= 1,
            other,
        ),
        (
            "another semantics",
            |p| p.answers[0].inference.spec.0[0] ^= 1,
            other,
        ),
        (
            "answers exchanged, without their statements",
            |p| {
                let s = std::mem::take(&mut p.answers[0].sections);
                p.answers[0].sections = std::mem::replace(&mut p.answers[1].sections, s);
            },
            malformed,
        ),
        (
            "whole answers exchanged",
            |p| p.answers.swap(0, 1),
            any_table,
        ),
        ("an answer less", |p| drop(p.answers.pop()), malformed),
        ("no answers", |p| p.answers.clear(), malformed),
        ("a range less", |p| drop(p.answers[0].sections.pop()), gap),
        (
            "ranges exchanged",
            |p| p.answers[0].sections.swap(0, 1),
            gap,
        ),
        (
            "rows between ranges",
            |p| p.answers[0].sections[0].rows[3] += 1,
            range,
        ),
        (
            "a sum of the head",
            |p| p.answers[0].sums[9] += 1,
            any_table,
        ),
        (
            "a sum of the head that could wrap",
            |p| p.answers[0].sums[9] = 1 << 41,
            malformed,
        ),
        ("no sums", |p| p.answers[1].sums.clear(), malformed),
        ("the head not opened", |p| p.head = None, malformed),
        (
            "another seed",
            |p| p.answers[0].inference.sampling.seed ^= 1 << 40,
            any_table,
        ),
        (
            "the opening of another table",
            |p| p.blocks = p.tokens.clone(),
            any_table,
        ),
        ("a value", |p| p.blocks.value += E::from(F::ONE), any_table),
    ];
    each(&key, &p, &lies);
    let lies: [(&str, Lie, Reason); 4] = [
        (
            "the last token",
            |p| p.answers[0].inference.answer[1] ^= 1,
            |e| table(e, "head") || table(e, "blocks") || table(e, "token rows"),
        ),
        (
            "the prompt",
            |p| p.answers[0].inference.prompt[0] = 1,
            malformed,
        ),
        (
            "a token row more",
            |p| p.token_rows.extend([0; 24]),
            malformed,
        ),
        (
            "a message",
            |p| p.tokens.messages[0][0] += E::ONE,
            |e| product(e, "token rows"),
        ),
    ];
    each(&key, &p, &lies);
}

#[test]
fn a_token_that_the_sums_do_not_give_is_refused() {
    let m = random(&shapes()[0], 5);
    let key = key(&m);
    let mut i = ask(&m, &[3, 1, 4], 2, 7);
    // The last token of an answer is not fed: rows and sums are those of the honest answer.
    i.answer[1] ^= 1;
    let p = prove(&key, &m, &[i], 3).expect("the prover does not look");
    let e = refusal(&key, &p, "token");
    assert_eq!(
        e,
        CommittedError::Token {
            answer: 0,
            token: 1
        }
    );
}

#[test]
fn ranges_and_openings_of_another_proof_are_refused() {
    let m = random(&shapes()[2], 5);
    let key = key(&m);
    let a = prove(&key, &m, &[ask(&m, &[3, 1, 4], 0, 0)], 2).expect("honest");
    let b = prove(&key, &m, &[ask(&m, &[3, 4, 1], 0, 0)], 2).expect("honest");
    let mut p = a.clone();
    p.answers[0].sections[0] = b.answers[0].sections[0].clone();
    assert!(matches!(
        refusal(&key, &p, "a range"),
        CommittedError::Range { .. }
    ));
    let mut p = a.clone();
    p.answers[0].sections = b.answers[0].sections.clone();
    assert!(matches!(
        refusal(&key, &p, "all ranges"),
        CommittedError::Range { .. }
    ));
    let mut p = a.clone();
    p.blocks = b.blocks.clone();
    assert!(product(&refusal(&key, &p, "an opening"), "blocks"));
    let mut p = a.clone();
    p.blocks.opening = b.blocks.opening.clone();
    assert!(unopened(&refusal(&key, &p, "an opening alone"), "blocks"));
    let mut p = a;
    p.tokens = b.tokens;
    assert!(table(&refusal(&key, &p, "rows"), "token rows"));
}

#[test]
fn a_key_of_another_model_takes_no_proof() {
    let m = random(&tiny(&shapes()[2]), 5);
    let other = key(&nudged(&m, 0, 2));
    let p = prove(&key(&m), &m, &[ask(&m, &[3, 1, 4], 0, 0)], 1).expect("honest");
    assert_eq!(refusal(&other, &p, "key"), CommittedError::Other("key"));
    // Renamed to the other key, its ranges are not bound to it.
    let mut renamed = p;
    renamed.key = other.digest();
    let root = other.model();
    renamed.answers[0].inference.model = root;
    assert!(matches!(
        refusal(&other, &renamed, "renamed"),
        CommittedError::Range { .. }
    ));
}
