//! Answers whose every product is checked while they run, over the simulated network.

use std::sync::Arc;

use nesa_client::Assurance;
use nesa_e2e::liars::{request, shape};
use nesa_e2e::{Error, Model, Network, NodeConfig, Served, Talk};
use nesa_model::testing::Noise;
use nesa_pipeline::Fault;
use nesa_proof::verify::{Level, Verdict};

use crate::common::{engine, key};

/// A checked answer over three hops, one of which may lie, and its verdict.
fn checked(
    served: &mut Served,
    liar: Option<(usize, Fault)>,
    seed: u64,
) -> (Talk, Result<Verdict, Error>) {
    let config = NodeConfig {
        liar,
        ..NodeConfig::default()
    };
    let mut network = Network::new(served, 3, &config, seed).unwrap();
    let mut engine = engine();
    let subject = served.subject().unwrap();
    // An answer before, for those who lie with old rows.
    let mut talks: Vec<Talk> = (0..2)
        .map(|i| {
            let r = request(&mut Noise(seed + i), served.shape().vocab);
            let mut talk = network.talk(served, r).unwrap();
            talk.check(Arc::clone(&subject)).unwrap();
            network
                .run(std::slice::from_mut(&mut talk), &mut engine)
                .unwrap();
            if i == 0 {
                network.close(&mut talk, &mut engine).unwrap();
            }
            talk
        })
        .collect();
    let mut talk = talks.pop().unwrap();
    let verdict = network.evidence(&mut talk, served, Assurance::Checked, &mut engine);
    (talk, verdict.map(|(_, verdict)| verdict))
}

#[test]
fn honest_answers_are_checked_and_their_bits_are_those_of_unchecked_ones() {
    let open = Model::random(&shape(), 5).unwrap();
    for mut served in [open.served_open(), open.served_ee(&key()).unwrap()] {
        let (talk, verdict) = checked(&mut served, None, 8);
        assert_eq!(verdict.unwrap().level, Level::Checked);
        let mut network = Network::new(&served, 2, &NodeConfig::default(), 3).unwrap();
        let r = request(&mut Noise(9), served.shape().vocab);
        let mut plain = network.talk(&served, r).unwrap();
        network
            .run(std::slice::from_mut(&mut plain), &mut engine())
            .unwrap();
        assert_eq!(plain.ask.answer(), talk.ask.answer());
        assert_eq!(plain.output_rows, talk.output_rows);
    }
}

#[test]
fn every_lie_that_a_hop_can_tell_is_found_and_the_hop_named() {
    let mut served = Model::random(&shape(), 6)
        .unwrap()
        .served_ee(&key())
        .unwrap();
    for fault in Fault::ALL.into_iter().chain([Fault::FlipSum]) {
        for hop in 0..3 {
            let (_, verdict) = checked(&mut served, Some((hop, fault)), 11 + hop as u64);
            let error = verdict.expect_err(&format!("{fault:?} at hop {hop} is missed"));
            let named = error.violation().and_then(nesa_proof::Violation::hop);
            assert_eq!(named, Some(hop), "{fault:?}: {error}");
        }
    }
}
