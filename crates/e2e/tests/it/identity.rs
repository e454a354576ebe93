//! Bits do not depend on where, how fast, in what company or in what pieces they are computed.

use nesa_client::Request;
use nesa_e2e::identity::{Outcome, compare, product};
use nesa_e2e::liars::shape;
use nesa_e2e::{Model, Network, NodeConfig, Order, Talk};
use nesa_model::reference::Reference;
use nesa_model::testing::{Noise, block, model};
use nesa_model::{KvCache, Sampling, Shape};

use crate::common::{engine, key, world};

/// Large enough that threads share its products, deep enough for five nodes.
fn wide() -> Shape {
    Shape {
        layers: 5,
        dim: 96,
        head_dim: 16,
        ffn: 352,
        ..shape()
    }
}

fn questions(n: u64, vocab: u64) -> Vec<Request> {
    (0..n)
        .map(|seed| {
            let noise = &mut Noise(seed);
            let len = [3, 20, 67, 80][seed as usize % 4];
            Request {
                prompt: (0..len).map(|_| (noise.bits() % vocab) as u32).collect(),
                sampling: Sampling {
                    temperature_milli: 700,
                    seed,
                    ..Sampling::default()
                },
                max_tokens: 5,
                chunk: 64,
            }
        })
        .collect()
}

/// The final rows by the specification, one operator after the other, fed with the same tokens.
fn by_specification(shape: &Shape, seed: u64, q: &Request, o: &Outcome) -> Vec<i32> {
    let m = model(shape, seed);
    let mut fed = q.prompt.clone();
    fed.extend(&o.tokens[..o.tokens.len() - 1]);
    let mut x = m.vocabulary.embed(shape, &fed, 0).unwrap();
    let mut cache = KvCache::new(shape, &(0..shape.layers), fed.len());
    Reference::new(shape, &m.common).forward(&m.blocks, &mut x, &mut cache);
    x
}

#[test]
fn the_full_product_gives_the_same_rows_and_tokens_as_the_specification() {
    let shape = wide();
    let questions = questions(4, shape.vocab as u64);
    let model = Model::random(&shape, 11).unwrap();
    let cases = product(shape.layers);
    let (report, outcomes) = compare(&model, &key(), &cases, &questions, &mut |_| ()).unwrap();
    assert_eq!(report.answers, cases.len() * questions.len());
    for (q, o) in questions.iter().zip(&outcomes) {
        assert_eq!(o.tokens.len(), 5);
        assert_eq!(o.rows, by_specification(&shape, 11, q, o));
    }
}

#[test]
fn a_difference_in_one_weight_would_be_noticed() {
    let shape = wide();
    let questions = questions(1, shape.vocab as u64);
    let cases = &product(shape.layers)[..1];
    let run = |seed| {
        let model = Model::random(&shape, seed).unwrap();
        compare(&model, &key(), cases, &questions, &mut |_| ())
            .unwrap()
            .0
            .digest
    };
    assert_eq!(run(11), run(11));
    assert_ne!(run(11), run(12));
    let mut noise = Noise(1);
    assert_ne!(block(&shape, &mut noise), block(&shape, &mut noise));
}

#[test]
fn learned_positions_and_layer_norm_keep_their_bits_too() {
    let shape = Shape {
        kv_heads: 6,
        gated: false,
        rotary: false,
        ..shape()
    };
    let questions = questions(3, shape.vocab as u64);
    let model = Model::random(&shape, 2).unwrap();
    let cases: Vec<_> = product(shape.layers).into_iter().step_by(5).collect();
    let (_, outcomes) = compare(&model, &key(), &cases, &questions, &mut |_| ()).unwrap();
    for (q, o) in questions.iter().zip(&outcomes) {
        assert_eq!(o.rows, by_specification(&shape, 2, q, o));
    }
}

#[test]
fn no_delay_and_no_order_of_arrival_changes_an_answer_or_a_statement() {
    let run = |order: Order| {
        let (served, _) = world(3, 4);
        let mut network = Network::new(&served, 3, &NodeConfig::default(), 4).unwrap();
        network.order(order);
        let mut talks: Vec<Talk> = questions(4, served.shape().vocab as u64)
            .into_iter()
            .map(|q| network.talk(&served, Request { chunk: 9, ..q }).unwrap())
            .collect();
        network.run(&mut talks, &mut engine()).unwrap();
        let said: Vec<_> = talks
            .iter()
            .map(|t| (t.ask.answer().to_vec(), t.text.clone(), t.statements()))
            .collect();
        (said, network.metrics(1).batches_total)
    };
    let (expected, fair) = run(Order::Fair);
    let mut batches = std::collections::BTreeSet::from([fair]);
    for seed in 0..30 {
        let (said, n) = run(Order::Seeded(Noise(seed)));
        assert_eq!(said, expected, "seed {seed}");
        batches.insert(n);
    }
    assert!(
        batches.len() > 5,
        "orders that differ batch differently: {batches:?}"
    );
}
