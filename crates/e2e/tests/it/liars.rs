//! Liars are caught as often as promised, and named.

use nesa_e2e::liars::measure;
use nesa_pipeline::Fault;

use crate::common::{engine, signed, spot, world};

#[test]
fn every_lie_is_found_with_the_promised_probability_and_the_liar_is_named() {
    // The full measurement is the example `liars`; in the dev profile fewer runs suffice to notice
    // a formula or a check that is off.
    let runs = if cfg!(debug_assertions) { 60 } else { 200 };
    for fault in Fault::ALL {
        for row in measure(fault, runs, 3).unwrap() {
            assert!(row.holds(), "{row:?} z {}", row.trials.z());
            assert_eq!(row.trials.runs, runs);
            // A lie that is a part of the formula's domain, not an empty one.
            assert!(row.bad.1 > 0 && row.bad.1 < row.cells.1);
            if fault == Fault::FlipBit {
                assert_eq!(row.bad, (1, 1));
            }
        }
    }
}

#[test]
fn honest_networks_pass_at_every_level() {
    for n in [1, 2, 3, 6] {
        let (mut served, mut network) = world(n, n as u64);
        let mut talk = signed(&served, &mut network, 5);
        let cells = 6 * talk.ask.positions() as u64;
        for k in [0, 1, 7, cells] {
            let (bundle, verdict) = network
                .evidence(&mut talk, &mut served, spot(k), &mut engine())
                .unwrap();
            assert_eq!((verdict.cells, verdict.cells_total), (k, cells));
            assert_eq!(bundle.hops.len(), n);
        }
    }
}
