//! No mask is ever used twice: not over steps taken back, nor retries, failover, restarts.

use std::collections::BTreeSet;

use nesa_client::hss::PrivateRequest;
use nesa_kernels::Level;
use nesa_model::Engine;
use nesa_pipeline::share::Share;
use nesa_privacy::shares::Dealer;

use crate::world::{Dealt, Deed, World, shape};

/// What was dealt so far, over all sessions.
#[derive(Default)]
struct Ever {
    seeds: BTreeSet<[u8; 32]>,
    /// First elements of every row that was sent as values, and of every row that a seed stands for.
    rows: BTreeSet<Vec<u32>>,
}

impl Ever {
    fn take(&mut self, world: &World, dealt: &[Dealt]) {
        for d in dealt {
            if let Share::Seed(seed) = &d.share {
                assert!(self.seeds.insert(*seed), "a seed was used twice");
            }
            let product = nesa_model::Product::from_code(d.product).unwrap();
            let (_, cols) = world.outline.dims(d.layer as usize, product);
            let share = d.share.clone().expand(d.rows as usize, cols).unwrap();
            for row in share.chunks_exact(cols) {
                assert!(
                    self.rows.insert(row.to_vec()),
                    "a row of a share was used twice"
                );
            }
        }
    }
}

#[test]
fn masks_differ_over_rollback_retry_failover_and_restart() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 2, 100), &[], 5);
    let prompt = [1, 2, 3, 1, 2, 4, 1, 2, 3, 9, 1, 2];
    let mut ever = Ever::default();
    let mut taken_back = 0;
    // The same question again and again: each is a restart with fresh entropy, and all that is sent again
    // within one is a retry.
    for (i, deed) in [
        Deed::Right,
        Deed::Zeros,
        Deed::Silent,
        Deed::Lost,
        Deed::Twice,
    ]
    .into_iter()
    .enumerate()
    {
        for width in [1, 5] {
            let request = PrivateRequest {
                width,
                ..world.request(&prompt, 12)
            };
            let entropy = (10 * i + width) as u64;
            let mut ask = world.ask(world.private((1, 3), 4), request, entropy);
            let mut nature = |holder: usize, before: usize, _: &Dealt| {
                if (holder, before) == (1, 7) {
                    deed
                } else {
                    Deed::Right
                }
            };
            let out = world.drive(engine, &mut ask, &mut nature, entropy);
            assert!(out.error.is_none());
            taken_back += out.traffic.drafts - out.traffic.drafts_right;
            ever.take(&world, &out.dealt);
        }
    }
    assert!(taken_back > 10, "{taken_back} guesses were wrong");
    assert!(
        ever.seeds.len() > 500 && ever.rows.len() > 3000,
        "{}",
        ever.rows.len()
    );
}

#[test]
fn flights_are_numbered_by_a_counter_alone() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 2, 100), &[], 5);
    let mut ask = world.ask(world.private((1, 3), 3), world.request(&[1; 70], 9), 1);
    let mut nature = |holder: usize, before: usize, _: &Dealt| {
        if (holder, before) == (2, 5) {
            Deed::Zeros
        } else {
            Deed::Right
        }
    };
    let dealt = world.drive(engine, &mut ask, &mut nature, 1).dealt;
    for holder in 0..3 {
        let own: Vec<u64> = dealt
            .iter()
            .filter(|d| d.holder == holder)
            .map(|d| d.flight)
            .collect();
        assert!(own.windows(2).all(|w| w[0] < w[1]));
    }
    // Seeds go ahead of values, so that numbers of different holders interleave.
    let mut all: Vec<u64> = dealt.iter().map(|d| d.flight).collect();
    all.sort_unstable();
    all.dedup();
    assert!(all.iter().copied().eq(0..all.len() as u64));
}

#[test]
fn only_one_in_t_plus_one_holders_can_be_sent_less_than_a_share() {
    // Seeds go to t holders, whoever is left: the others get as many values as there are inputs.
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 2, 64), &[], 5);
    for (t, n) in [(1, 2), (1, 3), (2, 4)] {
        let mut ask = world.ask(world.private((t, n), n), world.request(&[4, 5], 3), 1);
        let dealt = world
            .drive(engine, &mut ask, &mut |_, _, _| Deed::Right, 1)
            .dealt;
        for flight in 0..dealt.last().unwrap().flight {
            let seeds = dealt
                .iter()
                .filter(|d| d.flight == flight && matches!(d.share, Share::Seed(_)));
            assert_eq!(seeds.count(), t);
        }
    }
    let mut dealer = Dealer::new([0; 32]);
    assert!(dealer.deal(Level::detect(), 2, &[1, 2], &[1]).is_err());
}
