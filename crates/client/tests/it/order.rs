//! What holders see is the same within a bucket, in order; answers end alike wherever they end; evidence
//! convicts; nothing is printed.

use nesa_client::hss::{Effect, Input, Machine, PrivateRequest};
use nesa_client::{Finish, Padding};
use nesa_codec::{Decode, Encode};
use nesa_kernels::Level;
use nesa_model::Engine;
use nesa_model::testing::Noise;
use nesa_proof::share::{NotProven, WrongAnswer};

use crate::world::{Dealt, Deed, Outcome, World, honest, shape};

fn prompt(seed: u64, len: usize) -> Vec<u32> {
    let mut noise = Noise(seed);
    (0..len).map(|_| (noise.bits() % 50) as u32).collect()
}

/// All that was sent and answered, in order, without what only the reader sees.
fn seen(out: &Outcome) -> Vec<&String> {
    assert!(out.error.is_none(), "{:?}", out.error);
    out.events.iter().filter(|e| *e != "done").collect()
}

#[test]
fn the_order_of_flights_does_not_tell_where_a_text_ends() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 2, 1100), &[], 5);
    let mut run = |len: usize, max_tokens, padding, deed| {
        let request = PrivateRequest {
            width: 3,
            padding,
            ..world.request(&prompt(len as u64, len), max_tokens)
        };
        let mut ask = world.ask(world.private((1, 3), 3), request, 1);
        let mut nature = |holder: usize, before: usize, _: &Dealt| match (holder, before) {
            (2, 11) => deed,
            _ => Deed::Right,
        };
        world.drive(engine, &mut ask, &mut nature, 4)
    };
    for deed in [Deed::Right, Deed::Off(3, 7)] {
        // Two, four and eight lanes, of which half and more are padding; answers of no step and of some.
        for (a, b) in [(65, 128), (257, 512), (520, 1000)] {
            let (none, some, full) = (
                run(a, 1, Padding::Strong, deed),
                run(a, 5, Padding::Strong, deed),
                run(b, 9, Padding::Strong, deed),
            );
            assert!(seen(&none) == seen(&full) && seen(&some) == seen(&full));
        }
        let (a, b) = (
            run(113, 1, Padding::Standard, deed),
            run(128, 9, Padding::Standard, deed),
        );
        assert_eq!(seen(&a), seen(&b));
    }
}

#[test]
fn answers_at_the_end_of_the_context_are_those_of_open() {
    let engine = &mut Engine::new(Level::detect(), 1);
    for kind in [0, 1] {
        let context = 40;
        let world = World::new(&shape(kind, 2, context), &[], 5);
        for (i, left) in [1, 2, 3, 7, 39].into_iter().enumerate() {
            for (width, padding) in [
                (1, Padding::Off),
                (4, Padding::Standard),
                (usize::MAX, Padding::Off),
            ] {
                let request = PrivateRequest {
                    width,
                    padding,
                    ..world.request(&prompt(i as u64 % 2, context - left), usize::MAX)
                };
                let open = world.open(engine, &request);
                let mut ask = world.ask(world.private((1, 2), 3), request, i as u64);
                let out = world.drive(engine, &mut ask, &mut honest, i as u64);
                assert!(out.error.is_none(), "{:?}", out.error);
                assert_eq!((&out.tokens, &out.rows), (&open.tokens, &open.rows));
                assert_eq!(out.tokens.len(), left + 1);
                assert_eq!((out.text, out.finish), (open.text, Some(Finish::Length)));
            }
        }
    }
}

#[test]
fn a_first_token_that_ends_the_answer_is_followed_by_padding_alone() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 2, 100), &(0..60).collect::<Vec<_>>(), 5);
    for (padding, steps) in [
        (Padding::Off, 0),
        (Padding::Standard, 8),
        (Padding::Strong, 32),
    ] {
        let request = PrivateRequest {
            padding,
            width: 2,
            ..world.request(&prompt(1, 30), 9)
        };
        let mut ask = world.ask(world.private((1, 2), 2), request, 1);
        let out = world.drive(engine, &mut ask, &mut honest, 1);
        assert_eq!((out.tokens.len(), out.text.as_str()), (1, ""));
        assert_eq!(out.finish, Some(Finish::Stop));
        assert_eq!((out.traffic.real_steps, out.traffic.steps), (0, steps));
        assert!(ask.owed().is_empty());
    }
}

#[test]
fn a_reader_may_cut_at_any_time_and_holders_see_whole_buckets() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 2, 200), &[], 5);
    for at in [1, 5, 9, 17, 18, 40, 90, 150] {
        let request = PrivateRequest {
            padding: Padding::Standard,
            width: 3,
            ..world.request(&prompt(3, 70), 30)
        };
        let open = world.open(engine, &request);
        let mut ask = world.ask(world.private((1, 2), 2), request, 1);
        let (mut inputs, mut cut_at) = (0, None);
        let mut effects = ask.start(engine).unwrap();
        let mut nature = honest;
        let mut out = Outcome::default();
        let mut net = crate::world::Net::new(&world, ask.private().clone(), at as u64);
        'all: loop {
            for effect in effects {
                match effect {
                    Effect::Send { holder, message } => {
                        net.send(engine, holder, message, &mut nature, &mut out);
                    }
                    Effect::Quiet => break 'all,
                    Effect::Done(_) => assert!(out.finish.replace(Finish::Stop).is_none()),
                    Effect::Text(_) | Effect::Excluded { .. } => {}
                }
            }
            inputs += 1;
            if inputs == at {
                ask.cut();
                cut_at = Some(ask.answer().len());
            }
            effects = ask.on(engine, net.next().unwrap()).unwrap();
        }
        let cut_at = cut_at.unwrap();
        assert_eq!(ask.answer(), &open.tokens[..cut_at]);
        assert_eq!(ask.finish(), Some(Finish::Stop));
        assert!(out.finish.is_some());
        assert!(ask.traffic().steps.is_multiple_of(8) && ask.traffic().steps > 0);
    }
    // An answer that ended by itself did not end because it was cut later.
    let mut ask = world.ask(world.private((1, 2), 2), world.request(&[1, 2], 2), 1);
    world.drive(engine, &mut ask, &mut honest, 1);
    ask.cut();
    assert_eq!(ask.finish(), Some(Finish::Length));
}

#[test]
fn what_a_liar_signed_convicts_it_and_nobody_else() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 2, 64), &[], 5);
    let manifest = &world.model.manifest;
    let mut convicted = 0;
    let lies = [
        Deed::Off(0, 1),
        Deed::Off(999_983, nesa_field::P - 1),
        Deed::WrongLayer,
        Deed::Stale,
        Deed::Zeros,
        Deed::Longer,
        Deed::Shorter,
    ];
    for (i, deed) in lies.into_iter().enumerate() {
        for (liar, at) in [(0, 0), (1, 5), (2, 10), (1, 15)] {
            let request = world.request(&prompt(i as u64, 5), 3);
            let mut ask = world.ask(world.private((1, 3), 3), request, 1);
            let mut nature = |holder: usize, before: usize, _: &Dealt| {
                if (holder, before) == (liar, at) {
                    deed
                } else {
                    Deed::Right
                }
            };
            let out = world.drive(engine, &mut ask, &mut nature, i as u64);
            assert_eq!(out.liars.len(), 1, "{deed:?}");
            let signed = out.liars[0].signed.clone().unwrap();
            let (statement, signature, share, answer) = signed;
            let block = &world.model.blocks[statement.layer as usize];
            let found =
                WrongAnswer::find(statement, signature, share, answer, manifest, block).unwrap();
            let sent = WrongAnswer::from_bytes(&found.to_bytes()).unwrap();
            let node = ask.private().placement.nodes()[liar].peer;
            assert_eq!(sent.verify(), Ok(node), "{deed:?}");
            let mut framed = sent;
            framed.statement.node = ask.private().placement.nodes()[(liar + 1) % 3].peer;
            assert_eq!(framed.verify(), Err(NotProven::Signature));
            convicted += 1;
        }
    }
    assert_eq!(convicted, 28);
}

#[test]
fn nothing_secret_is_printed() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 2, 64), &[], 5);
    let mut ask = world.ask(world.private((1, 2), 2), world.request(&[1, 2, 3], 4), 1);
    let effects = format!("{:?} {ask:?}", ask.start(engine).unwrap());
    assert!(effects.len() < 1000, "{effects}");
    let input = Input::Answer {
        holder: 0,
        flight: 0,
        values: vec![123_456_789; 500],
        signature: [7; 64],
    };
    assert!(!format!("{input:?}").contains("123456789"));
    let mut nature = |_: usize, _: usize, _: &Dealt| Deed::Zeros;
    let out = world.drive(
        engine,
        &mut world.ask(world.private((1, 2), 2), world.request(&[1, 2, 3], 4), 1),
        &mut nature,
        1,
    );
    assert!(out.liars[0].signed.is_some());
    assert!(format!("{:?}", out.liars[0]).len() < 60);
}
