//! Evidence that does not belong to the session, or not together, is refused for what it is.

use nesa_client::{Ask, Assurance, ClientError, Evidence, Request};
use nesa_codec::{Digest, merkle};
use nesa_e2e::{Network, Served, Talk};
use nesa_model::Sampling;
use nesa_model::spec::RESIDUAL_MAX;
use nesa_proof::{HopStatement, LayerOpening, SignedHop, Violation, trace};

use crate::common::{engine, spot, world};

/// Two sessions of equal length with other prompts over the same three hops.
fn two() -> (Served, Network, Talk, Talk) {
    let (served, mut network) = world(3, 21);
    let mut talk = |first: u32| {
        let request = Request {
            prompt: (first..first + 9).collect(),
            sampling: Sampling::default(),
            max_tokens: 4,
            chunk: 4,
        };
        let mut talk = network.talk(&served, request).unwrap();
        network
            .run(std::slice::from_mut(&mut talk), &mut engine())
            .unwrap();
        talk
    };
    let (a, b) = (talk(3), talk(50));
    (served, network, a, b)
}

fn refused(talk: &Talk, hops: Vec<SignedHop>) -> Violation {
    refused_with(talk, hops, talk.output_rows.clone())
}

fn refused_with(talk: &Talk, hops: Vec<SignedHop>, rows: Vec<Digest>) -> Violation {
    match Evidence::new(&talk.ask, &talk.route, Assurance::Receipt, hops, rows) {
        Err(ClientError::Violation(v)) => v,
        other => panic!("not refused: {other:?}"),
    }
}

fn chain(hop: usize, what: &'static str) -> Violation {
    Violation::Chain { hop, what }
}

/// The statements of `talk`, hop `i`'s changed by `change` and signed again by that hop.
fn edited(
    network: &Network,
    talk: &Talk,
    i: usize,
    change: impl FnOnce(&mut HopStatement),
) -> Vec<SignedHop> {
    let mut hops = talk.statements();
    change(&mut hops[i].statement);
    hops[i] = network.sign_as(i, &hops[i]);
    hops
}

#[test]
fn hops_in_another_order_missing_or_twice_are_refused() {
    let (_, _, a, _) = two();
    let hops = a.statements();
    let swapped = vec![hops[1].clone(), hops[0].clone(), hops[2].clone()];
    assert_eq!(refused(&a, swapped), chain(0, "the range of blocks"));
    let covered = |covered| Violation::Coverage { covered, layers: 6 };
    assert_eq!(refused(&a, hops[..2].to_vec()), covered(4));
    assert_eq!(refused(&a, Vec::new()), covered(0));
    assert_eq!(
        refused(&a, hops[1..].to_vec()),
        chain(0, "the range of blocks")
    );
    let without_middle = vec![hops[0].clone(), hops[2].clone()];
    assert_eq!(refused(&a, without_middle), chain(1, "the range of blocks"));
    let twice = [&hops[..], &hops[2..]].concat();
    assert_eq!(refused(&a, twice), chain(3, "the range of blocks"));
}

#[test]
fn statements_of_another_session_are_refused_even_when_signed_anew() {
    let (_, network, a, b) = two();
    let (mut hops, old) = (b.statements(), a.statements());
    assert_eq!(refused(&b, old.clone()), chain(0, "the session"));
    hops[1] = old[1].clone();
    assert_eq!(refused(&b, hops.clone()), chain(1, "the session"));
    // The hop lends its old work to the new session, step by step.
    hops[1].statement.session = b.route.session;
    assert_eq!(
        refused(&b, hops.clone()),
        Violation::HopSignature { hop: 1 }
    );
    hops[1] = network.sign_as(1, &hops[1]);
    assert_eq!(
        refused(&b, hops.clone()),
        chain(1, "the challenge commitment")
    );
    hops[1].statement.nonce_commitment = b.statements()[1].statement.nonce_commitment;
    hops[1] = network.sign_as(1, &hops[1]);
    let what = "the input (not what the hop before put out)";
    assert_eq!(refused(&b, hops.clone()), chain(1, what));
    hops[1].statement.input = b.statements()[1].statement.input;
    hops[1] = network.sign_as(1, &hops[1]);
    assert_eq!(refused(&b, hops), chain(2, what));
}

#[test]
fn edited_statements_are_refused_with_and_without_a_signature() {
    let (_, network, a, _) = two();
    let edit = |i, change: fn(&mut HopStatement)| refused(&a, edited(&network, &a, i, change));
    for i in 0..3 {
        let mut hops = a.statements();
        hops[i].statement.price += 1;
        assert_eq!(refused(&a, hops), Violation::HopSignature { hop: i });
        assert_eq!(
            edit(i, |s| s.positions -= 1),
            chain(i, "the number of positions")
        );
        assert_eq!(edit(i, |s| s.model.0[3] ^= 1), chain(i, "the model"));
        assert_eq!(edit(i, |s| s.first += 1), chain(i, "the range of blocks"));
        assert_eq!(
            edit(i, |s| s.nonce_commitment.0[0] ^= 1),
            chain(i, "the challenge commitment")
        );
        // Another node's key: its signature does not hold, and a good one is not the chosen node's.
        let mut hops = a.statements();
        let other = (i + 1) % 3;
        hops[i].statement.node = network.hop_key(other);
        assert_eq!(
            refused(&a, hops.clone()),
            Violation::HopSignature { hop: i }
        );
        hops[i] = network.sign_as(other, &hops[i]);
        assert_eq!(refused(&a, hops), chain(i, "the node or its range"));
    }
    assert_eq!(edit(0, |s| s.end += 1), chain(1, "the range of blocks"));
    assert_eq!(edit(2, |s| s.end += 1), chain(2, "the range of blocks"));
    // Two hops that agree on another cut than the one chosen.
    let mut hops = edited(&network, &a, 0, |s| s.end = 3);
    hops[1].statement.first = 3;
    hops[1] = network.sign_as(1, &hops[1]);
    assert_eq!(refused(&a, hops), chain(0, "the node or its range"));
}

#[test]
fn inputs_and_outputs_are_tied_to_what_the_client_sent_and_received() {
    let (_, network, a, _) = two();
    let hops = edited(&network, &a, 0, |s| s.input.0[0] ^= 1);
    assert_eq!(refused(&a, hops), chain(0, "the input (not what was sent)"));
    let mut rows = a.output_rows.clone();
    rows[2].0[5] ^= 1;
    let listed = "the output (not the listed rows)";
    assert_eq!(
        refused_with(&a, a.statements(), rows.clone()),
        chain(2, listed)
    );
    assert_eq!(
        refused_with(&a, a.statements(), a.output_rows[1..].to_vec()),
        chain(2, listed)
    );
    // The last row was sampled from: the list may not say anything else, whatever was signed.
    let mut rows = a.output_rows.clone();
    rows.last_mut().unwrap().0[5] ^= 1;
    let root = merkle::root(&rows);
    let hops = edited(&network, &a, 2, |s| s.output = root);
    let sent = "the output (not the rows that were sent to the client)";
    assert_eq!(refused_with(&a, hops, rows), chain(2, sent));
}

/// What all cells of `talk` ask of whom.
fn challenges(talk: &Talk, hops: &[SignedHop], rows: &[Digest]) -> Vec<(usize, u32, Vec<u32>)> {
    Evidence::new(
        &talk.ask,
        &talk.route,
        spot(u64::MAX),
        hops.to_vec(),
        rows.to_vec(),
    )
    .unwrap()
    .challenges()
}

/// Why all cells of `talk`, opened as `openings`, are refused.
fn verify_all(
    served: &mut Served,
    talk: &Talk,
    hops: Vec<SignedHop>,
    rows: Vec<Digest>,
    openings: Vec<LayerOpening>,
) -> Violation {
    let mut evidence = Evidence::new(&talk.ask, &talk.route, spot(u64::MAX), hops, rows).unwrap();
    openings.into_iter().for_each(|o| evidence.opened(o));
    match evidence.verify(&mut |i| served.block(i), &mut engine()) {
        Err(ClientError::Violation(v)) => v,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn an_honest_trace_of_other_rows_does_not_cover_a_lie() {
    let (mut served, mut network, mut a, mut b) = two();
    let engine = &mut engine();
    // The middle hop put out what it liked and commits to its flawless work on another session.
    let lent = a.statements()[1].statement.trace;
    let hops = edited(&network, &b, 1, |s| s.trace = lent);
    let rows = b.output_rows.clone();
    let openings = challenges(&b, &hops, &rows)
        .into_iter()
        .map(|c| {
            let source = if c.0 == 1 { &mut a } else { &mut b };
            network.open_cells(source, engine, c).unwrap()
        })
        .collect();
    let v = verify_all(&mut served, &b, hops, rows, openings);
    assert_eq!(v, Violation::Opening { hop: 1, layer: 2 });
}

#[test]
fn an_output_that_the_trace_does_not_end_in_is_refused_even_where_nothing_was_sampled() {
    let (mut served, mut network, mut a, _) = two();
    let engine = &mut engine();
    let mut rows = a.output_rows.clone();
    rows[2] = trace::row(&[7; 24]);
    let root = merkle::root(&rows);
    let hops = edited(&network, &a, 2, |s| s.output = root);
    let openings = challenges(&a, &hops, &rows)
        .into_iter()
        .map(|c| network.open_cells(&mut a, engine, c).unwrap())
        .collect();
    let v = verify_all(&mut served, &a, hops, rows, openings);
    assert_eq!(v, Violation::Opening { hop: 2, layer: 5 });
}

#[test]
fn openings_that_are_missing_changed_or_out_of_range_are_refused() {
    let (mut served, mut network, mut a, _) = two();
    let engine = &mut engine();
    let (hops, rows) = (a.statements(), a.output_rows.clone());
    let honest: Vec<LayerOpening> = challenges(&a, &hops, &rows)
        .into_iter()
        .map(|c| network.open_cells(&mut a, engine, c).unwrap())
        .collect();
    let mut try_with = |change: &dyn Fn(&mut LayerOpening) -> bool| {
        let mut openings = honest.clone();
        openings.retain_mut(|o| o.layer != 3 || change(o));
        verify_all(&mut served, &a, hops.clone(), rows.clone(), openings)
    };
    let cells = Violation::Cells { hop: 1 };
    assert_eq!(try_with(&|_| false), cells);
    let but_last = |o: &mut LayerOpening| {
        o.positions.pop();
        true
    };
    assert_eq!(try_with(&but_last), cells);
    let opening = Violation::Opening { hop: 1, layer: 3 };
    let changes: [fn(&mut LayerOpening); 10] = [
        |o| o.inputs[4][3] ^= 1,
        |o| o.outputs[0][0] += 1,
        |o| o.cached[2].k[1] ^= 1,
        |o| o.cached[2].v[1] ^= 1,
        |o| o.cached[2].k = vec![0; 4096],
        |o| o.input_rows[1].0[0] ^= 1,
        |o| o.output_rows.swap(0, 1),
        |o| o.rest.push(Digest::default()),
        |o| o.paths.swap(0, 2),
        |o| o.inputs[0] = vec![RESIDUAL_MAX + 1; 24],
    ];
    for change in changes {
        let v = try_with(&|o| {
            change(o);
            true
        });
        assert_eq!(v, opening);
    }
}

#[test]
fn the_client_takes_no_rows_out_of_turn_or_out_of_range() {
    let (served, _, a, _) = two();
    let engine = &mut engine();
    let fresh = || {
        let mut ask = Ask::new(
            served.client.clone(),
            served.tier.clone(),
            a.ask.request().clone(),
        )
        .unwrap();
        ask.start().unwrap();
        ask
    };
    let good = vec![5; 24];
    for (start, row) in [
        (0, good.clone()),
        (2, good.clone()),
        (4, good.clone()),
        (u32::MAX, good.clone()),
        (3, vec![5; 23]),
        (3, Vec::new()),
        (3, vec![5; 48]),
        (3, [vec![i32::MIN], vec![0; 23]].concat()),
        (3, vec![RESIDUAL_MAX + 1; 24]),
    ] {
        let e = fresh().on_rows(engine, start, row).unwrap_err();
        assert!(matches!(e, ClientError::OutOfTurn(_)), "{start}: {e}");
    }
    let mut ask = fresh();
    ask.on_rows(engine, 3, good.clone()).unwrap();
    ask.on_rows(engine, 7, good.clone()).unwrap();
    assert!(ask.on_rows(engine, 7, good.clone()).is_err(), "twice");
    let mut done = fresh();
    for start in [3, 7, 8, 9, 10, 11] {
        done.on_rows(engine, start, good.clone()).unwrap();
    }
    assert!(done.finish().is_some());
    assert!(
        done.on_rows(engine, 12, good).is_err(),
        "after the answer's end"
    );
}
