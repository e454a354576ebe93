//! What a conviction makes public, in bytes, kind by kind; and which models' steps fit an answer.

use nesa_model::spec::{Order, Shape};
use nesa_proof::Contradiction;
use nesa_proof::dispute::bound;

use super::*;

fn hops(s: &Scene, lie: &Record) -> Evidence {
    let root = s.model.manifest.root();
    let [a, b] = [&s.truth, lie].map(|r| statement(&r.claim_about(root), 0));
    Evidence::Contradiction(Contradiction::Hops(Box::new([a, b])))
}

#[test]
fn every_kind_makes_public_what_the_design_allows_and_says_how_much() {
    let s = Scene::new();
    let lie = s.lie();
    // Two statements and their signatures: digests and sizes, no row.
    assert_eq!(
        hops(&s, &lie).to_bytes().len(),
        2 + 2 * (32 * 8 + 3 * 4 + 8 + 64)
    );
    // A torn statement adds a leaf and a path.
    let roots = s.truth.roots();
    let torn = Contradiction::Torn {
        hop: Box::new(statement(&s.truth.claim_about(Digest([1; 32])), 0)),
        at_end: false,
        leaf: Digest([2; 32]),
        path: merkle::Tree::new(roots).path(0).unwrap(),
    };
    let torn = Evidence::Contradiction(torn).to_bytes().len();
    assert!(torn < 700, "{torn}");
    // A dispute: the rows that one step reads, of one position or one window, and digests.
    let matter = s.matter(&lie, &s.truth, OWN, 1);
    let t = s.play(&matter, [&lie, &s.truth], [0, OWN]);
    let shape = &s.model.manifest.shape;
    let most = bound::largest(shape, matter.claims()[0].lists(), POSITIONS);
    let opened = t.moves.iter().map(|m| m.bytes.len() as u64).max().unwrap();
    assert!(opened <= most.bytes, "{opened} of {}", most.bytes);
    let walked = t.answer_bytes() - opened;
    assert!(walked < 20_000, "{walked}");
    println!(
        "contradiction {}, torn {torn}, transcript {} of which opened {opened} (at most {})",
        hops(&s, &lie).to_bytes().len(),
        t.to_bytes().len(),
        most.bytes
    );
}

fn llama(layers: usize, dim: usize, heads: usize, kv_heads: usize, ffn: usize) -> Shape {
    Shape {
        layers,
        dim,
        heads,
        kv_heads,
        head_dim: 64,
        ffn,
        vocab: 49_152,
        context: 2_048,
        order: Order::Pre,
        causal: true,
        gated: true,
        rotary: true,
    }
}

#[test]
fn the_widest_step_of_half_a_billion_parameters_fits_an_answer() {
    for (name, shape, fits) in [
        ("135M", llama(30, 576, 9, 3, 1_536), true),
        ("0.5B", llama(24, 896, 14, 2, 4_864), true),
        ("1.5B", llama(28, 1_536, 12, 2, 8_960), false),
    ] {
        let lists = 2 * shape.layers + 1;
        let most = bound::largest(&shape, lists, shape.context).bytes;
        println!("{name}: {most} bytes");
        assert_eq!(most <= ANSWER_BYTES_MAX as u64, fits, "{name}: {most}");
    }
}
