//! What a node receives under `ee` holds nothing that can be read; under `open` it does.

use std::collections::HashSet;

use nesa_client::Request;
use nesa_e2e::liars::shape;
use nesa_e2e::{Model, Network, NodeConfig, Order, Served, Talk};
use nesa_model::testing::Noise;
use nesa_model::{Sampling, Shape};

use crate::common::{engine, key};

/// Bytes that a search looks for at once.
const WINDOW: usize = 12;

fn wide() -> Shape {
    Shape {
        layers: 5,
        dim: 96,
        head_dim: 16,
        ffn: 80,
        vocab: 1000,
        ..shape()
    }
}

/// Whether any [`WINDOW`] bytes of a secret, at any of its offsets divisible by `step`, occur.
fn leaks(received: &[u8], secret: &[u8], step: usize) -> bool {
    assert!(secret.len() >= WINDOW);
    let windows: HashSet<&[u8]> = secret.windows(WINDOW).step_by(step).collect();
    received.windows(WINDOW).any(|w| windows.contains(w))
}

fn u32s(v: &[u32]) -> Vec<u8> {
    v.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn u16s(v: &[u32]) -> Vec<u8> {
    v.iter().flat_map(|v| (*v as u16).to_le_bytes()).collect()
}

/// Secrets of a finished talk by name, each with the step between values.
fn secrets(served: &Served, talk: &Talk, text: &str) -> Vec<(&'static str, Vec<u8>, usize)> {
    let (prompt, answer) = (&talk.ask.request().prompt, talk.ask.answer());
    let fed = [&prompt[..], &answer[..answer.len() - 1]].concat();
    let vocabulary = &served.client.vocabulary;
    let rows = vocabulary.embed(served.shape(), &fed, 0).unwrap();
    let dim = served.shape().dim;
    let table = fed
        .iter()
        .flat_map(|&t| &vocabulary.tokens[t as usize * dim..][..dim])
        .flat_map(|v| v.to_le_bytes())
        .collect();
    vec![
        ("prompt ids as u32", u32s(prompt), 4),
        ("prompt ids as u16", u16s(prompt), 2),
        ("answer ids as u32", u32s(answer), 4),
        ("answer ids as u16", u16s(answer), 2),
        ("text", text.as_bytes().to_vec(), 1),
        ("answer text", talk.text.as_bytes().to_vec(), 1),
        (
            "embedding rows",
            rows.iter().flat_map(|v| v.to_le_bytes()).collect(),
            4,
        ),
        ("embedding table", table, 2),
        ("deployment key", key().expose_bytes().to_vec(), 1),
        ("nonce", talk.route.nonce.0.to_vec(), 1),
        ("salt", talk.route.salt.0.to_vec(), 1),
    ]
}

/// Runs one conversation and gives what each hop received, and its secrets.
fn record(served: &mut Served, hops: usize) -> (Network, Talk, String) {
    let config = NodeConfig {
        record: true,
        ..NodeConfig::default()
    };
    let mut network = Network::new(served, hops, &config, 7).unwrap();
    network.order(Order::Seeded(Noise(3)));
    let noise = &mut Noise(9);
    let ids: Vec<u32> = (0..40).map(|_| (noise.bits() % 1000) as u32).collect();
    let text = ids
        .iter()
        .map(|i| format!("w{i}"))
        .collect::<Vec<_>>()
        .join(" ");
    let prompt = served.client.tokenizer.encode(&text, false).unwrap();
    assert_eq!(prompt, ids);
    let request = Request {
        prompt,
        sampling: Sampling {
            temperature_milli: 900,
            ..Sampling::default()
        },
        max_tokens: 8,
        chunk: 16,
    };
    let mut talk = network.talk(served, request).unwrap();
    let engine = &mut engine();
    network
        .run(std::slice::from_mut(&mut talk), engine)
        .unwrap();
    network
        .evidence(&mut talk, served, crate::common::spot(20), engine)
        .unwrap();
    (network, talk, text)
}

#[test]
fn under_ee_no_hop_receives_ids_text_rows_or_keys_and_under_open_rows_are_found() {
    let model = Model::random(&wide(), 5).unwrap();
    for hops in [1, 3] {
        let mut ee = model.served_ee(&key()).unwrap();
        let (network, talk, text) = record(&mut ee, hops);
        for i in 0..hops {
            assert!(network.received(i).len() > 100_000, "shards and rows");
            for (name, secret, step) in secrets(&ee, &talk, &text) {
                let leaked = leaks(network.received(i), &secret, step);
                assert!(!leaked, "hop {i} of {hops} received: {name}");
            }
        }
        // The same search finds what `open` shows: it is not blind.
        let mut open = model.served_open();
        let (network, talk, text) = record(&mut open, hops);
        for (name, secret, step) in secrets(&open, &talk, &text) {
            let leaked = leaks(network.received(0), &secret, step);
            assert_eq!(leaked, name == "embedding rows", "{name}");
        }
    }
}

#[test]
fn under_ee_sorted_magnitudes_do_show_as_the_leakage_statement_says() {
    let mut ee = Model::random(&wide(), 5)
        .unwrap()
        .served_ee(&key())
        .unwrap();
    let (network, talk, _) = record(&mut ee, 2);
    let sorted = |row: &[i32]| {
        let mut row: Vec<u32> = row.iter().map(|v| v.unsigned_abs()).collect();
        row.sort_unstable();
        row
    };
    let dim = ee.shape().dim;
    let prompt = &talk.ask.request().prompt;
    let mut rows = ee.client.vocabulary.embed(ee.shape(), prompt, 0).unwrap();
    let plain = rows.clone();
    ee.tier.hide(&mut rows).unwrap();
    let hidden: Vec<u8> = rows[..dim].iter().flat_map(|v| v.to_le_bytes()).collect();
    let seen = network.received(0).windows(4 * dim).any(|w| w == hidden);
    assert!(seen, "hop 0 receives the first hidden row");
    assert_eq!(sorted(&rows[..dim]), sorted(&plain[..dim]));
    let said = talk.ask.tier().privacy().leakage(3);
    assert!(said.contains("sorted magnitudes") && said.contains("recovers the key"));
}
