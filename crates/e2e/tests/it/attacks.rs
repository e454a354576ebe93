//! The attacks, as far as they are quick; `cargo xtask attacks` tells all.

use std::collections::BTreeSet;

use nesa_e2e::attacks::{Expected, Level, World, all};

/// Of how many attacks one is told to the succinct proof here.
const PROOF_EVERY: usize = 24;

#[test]
fn every_attack_is_answered_as_declared() {
    let world = World::new().unwrap();
    let mut wrong = Vec::new();
    for (i, attack) in all().into_iter().enumerate() {
        for level in Level::ALL {
            if level == Level::Proof && i % PROOF_EVERY > 0 {
                continue;
            }
            let cell = attack.tell(&world, level).unwrap();
            if !cell.holds() {
                wrong.push(format!("{attack:?}: {cell:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn lies_about_a_run_are_told_at_every_level_and_refused_by_all_but_the_receipt() {
    let runs = ["weights", "operators", "run", "client"];
    let mut count = 0;
    for attack in all().iter().filter(|a| runs.contains(&a.group)) {
        count += 1;
        for (level, expected) in Level::ALL.iter().zip(attack.expected) {
            match expected {
                Expected::Refused(_) => {}
                Expected::Chance(_) => assert_eq!(*level, Level::Spot, "{attack:?}"),
                Expected::NotClaimed => assert_eq!(*level, Level::Receipt, "{attack:?}"),
                Expected::NotApplicable(_) => panic!("{attack:?} at {level:?}"),
            }
        }
    }
    assert!(count >= 100, "{count}");
}

#[test]
fn there_are_hundreds_with_names_of_their_own() {
    let all = all();
    let names: BTreeSet<_> = all.iter().map(|a| (a.group, &a.name)).collect();
    assert_eq!(names.len(), all.len());
    assert!(all.len() >= 570, "{}", all.len());
    assert!(all.iter().skip(1).all(|a| !a.source.is_empty()));
}
