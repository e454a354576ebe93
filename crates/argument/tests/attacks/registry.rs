//! Every named attack is refused, and for its reason.

use std::collections::BTreeSet;

use nesa_argument::transformer::{Rejection, verify};

use crate::named::{Named, all};
use crate::world::{Family, World};

/// Whether `got` is the refusal that must come; of an opening, its kind.
fn is(expected: &Rejection, got: &Result<(), Rejection>) -> bool {
    match (got, expected) {
        (Err(Rejection::Opening(_)), Rejection::Opening(_)) => true,
        (got, expected) => got.as_ref().err() == Some(expected),
    }
}

/// Runs the attacks of one group.
fn refused(group: &str, least: usize) {
    let worlds = [Family::Llama, Family::Wide, Family::Gpt, Family::Bert]
        .map(|family| (family, World::new(family)));
    let attacks: Vec<Named> = all().into_iter().filter(|a| a.group == group).collect();
    assert!(attacks.len() >= least, "{}", attacks.len());
    let mut wrong = Vec::new();
    for a in attacks {
        let (_, w) = worlds.iter().find(|w| w.0 == a.family).expect("a world");
        let got = (a.tell)(w).and_then(|(claimed, proof)| verify(&claimed.statement(), &proof));
        if !is(&a.expected, &got) {
            wrong.push(format!(
                "{} ({}): {got:?}, not {:?}",
                a.name, a.source, a.expected
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn false_cells_are_refused() {
    refused("cell", 60);
}

#[test]
fn roundings_off_by_one_are_refused() {
    refused("rounding", 30);
}

#[test]
fn multiplicities_are_counted() {
    refused("multiplicity", 28);
}

#[test]
fn statistics_out_of_range_are_refused_before_anything_is_checked() {
    refused("stated", 20);
}

#[test]
fn runs_of_another_model_are_refused() {
    refused("model", 35);
}

#[test]
fn a_proof_is_of_one_statement() {
    refused("proof statement", 40);
}

#[test]
fn parts_of_two_proofs_do_not_join() {
    refused("proof splice", 12);
}

#[test]
fn messages_are_refused_where_they_stand() {
    refused("proof message", 60);
}

#[test]
fn names_are_of_one_attack() {
    let all = all();
    let names: BTreeSet<_> = all.iter().map(|a| (a.group, a.name.clone())).collect();
    assert_eq!(names.len(), all.len());
}
