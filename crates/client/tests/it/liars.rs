//! Holders that answer wrong, late or not at all: never believed, named once, and without a say in what
//! the client does next.

use std::collections::{BTreeMap, BTreeSet};

use nesa_client::hss::{Input, Machine, PrivateRequest};
use nesa_client::{ClientError, Padding};
use nesa_kernels::Level;
use nesa_model::Engine;
use nesa_model::testing::Noise;
use nesa_proof::share::answer_digest;

use crate::world::{Dealt, Deed, Outcome, World, honest, shape};

const PROMPT: [u32; 5] = [3, 14, 15, 9, 26];

/// Does `deed` once, at this holder's flight number `at` (by its own count).
fn one(liar: usize, at: usize, deed: Deed) -> impl FnMut(usize, usize, &Dealt) -> Deed {
    move |holder, before, _| {
        if (holder, before) == (liar, at) {
            deed
        } else {
            Deed::Right
        }
    }
}

/// Evidence convicts who lied, with what it was sent, and says too little to read anything.
fn convicts(world: &World, out: &Outcome, t: usize) {
    let mut shown: BTreeMap<u64, usize> = BTreeMap::new();
    for liar in &out.liars {
        let Some((statement, signature, share, values)) = &liar.signed else {
            continue;
        };
        assert!(statement.is_signed(signature));
        assert_eq!(statement.answer, answer_digest(values));
        assert_eq!(statement.model, world.model.manifest.root());
        let sent = |d: &&Dealt| (d.holder, d.flight) == (liar.holder, statement.flight);
        let dealt = out.dealt.iter().find(sent).unwrap();
        assert!(dealt.share == *share && statement.share == share.digest(dealt.rows));
        *shown.entry(statement.flight).or_default() += 1;
    }
    assert!(
        shown.values().all(|n| *n <= t),
        "shares of a flight are shown: {shown:?}"
    );
}

#[test]
fn one_of_two_ends_the_session_named() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 2, 64), &[], 5);
    let all = Deed::LIES
        .into_iter()
        .chain([Deed::Twice, Deed::Silent, Deed::Lost]);
    for (i, deed) in all.enumerate() {
        let request = world.request(&PROMPT, 4);
        let mut ask = world.ask(world.private((1, 2), 2), request, 1);
        let mut nature = one(1, 9, deed);
        let out = world.drive(engine, &mut ask, &mut nature, i as u64);
        let names: Vec<usize> = out.liars.iter().map(|l| l.holder).collect();
        assert_eq!(names, [1], "{deed:?}");
        let Some(ClientError::Holder {
            operator,
            left,
            needed,
            ..
        }) = &out.error
        else {
            panic!("{deed:?}: {:?}", out.error);
        };
        assert_eq!((operator.as_str(), *left, *needed), ("operator-1", 1, 2));
        assert!(out.finish.is_none());
        let is_proven = matches!(
            deed,
            Deed::Off(..)
                | Deed::WrongLayer
                | Deed::Stale
                | Deed::Zeros
                | Deed::Longer
                | Deed::Shorter
        );
        if is_proven {
            assert!(out.liars[0].signed.is_some(), "{deed:?}");
        }
        convicts(&world, &out, 1);
    }
}

#[test]
fn a_liar_or_a_dead_holder_among_more_changes_nothing() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 3, 64), &[], 5);
    let request = PrivateRequest {
        width: 3,
        padding: Padding::Standard,
        ..world.request(&PROMPT, 7)
    };
    let honestly = world.open(engine, &request);
    let all = Deed::LIES
        .into_iter()
        .chain([Deed::Twice, Deed::Silent, Deed::Lost]);
    for (i, deed) in all.enumerate() {
        for (scheme, nodes) in [((1, 3), 3), ((1, 4), 4), ((1, 3), 5), ((2, 4), 4)] {
            for at in [0, 1, 5, 17] {
                let mut ask = world.ask(world.private(scheme, nodes), request.clone(), 1);
                let mut nature = one(i % nodes, at, deed);
                let out = world.drive(engine, &mut ask, &mut nature, (i + at) as u64);
                assert!(out.error.is_none(), "{deed:?} {:?}", out.error);
                assert_eq!((&out.tokens, &out.rows), (&honestly.tokens, &honestly.rows));
                assert_eq!(out.text, honestly.text);
                let names: Vec<usize> = out.liars.iter().map(|l| l.holder).collect();
                // Whoever falls silent is missed only where others do not suffice.
                if deed != Deed::Silent {
                    assert_eq!(names, [i % nodes], "{deed:?} {scheme:?} {at}");
                }
                let told = out
                    .events
                    .iter()
                    .filter(|e| e.starts_with("excluded"))
                    .count();
                assert_eq!(told, names.len());
                convicts(&world, &out, scheme.0);
            }
        }
    }
}

#[test]
fn no_further_shares_go_to_who_was_left_out() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 2, 64), &[], 5);
    let mut ask = world.ask(world.private((1, 3), 3), world.request(&PROMPT, 5), 1);
    let out = world.drive(engine, &mut ask, &mut one(2, 4, Deed::Zeros), 3);
    let named = out.events.iter().position(|e| e == "excluded 2").unwrap();
    let after = &out.events[named..];
    assert!(after.iter().any(|e| e.starts_with("send 1")));
    assert!(!after.iter().any(|e| e.starts_with("send 2")), "{after:?}");
    assert!(!ask.is_alive(2) && ask.is_alive(0));
}

#[test]
fn ten_thousand_wrong_answers_are_all_refused() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 2, 64), &[], 5);
    let request = world.request(&PROMPT[..2], 1);
    let honestly = world.open(engine, &request);
    let noise = &mut Noise(8);
    let mut lies = 0;
    for round in 0.. {
        // Fourteen of sixteen lie once, each in a flight of its own choice, and two are honest.
        let at: Vec<(usize, Deed)> = (0..16)
            .map(|_| {
                let deed = match noise.bits() as usize % 12 {
                    i if i < Deed::LIES.len() => Deed::LIES[i],
                    _ => Deed::Off(
                        noise.bits() as usize,
                        1 + noise.bits() as u32 % (nesa_field::P - 1),
                    ),
                };
                (noise.bits() as usize % 8, deed)
            })
            .collect();
        let honest_two = [round % 16, (round + 1 + round / 16 % 15) % 16];
        let mut nature = |holder: usize, before: usize, _: &Dealt| {
            let (when, deed) = at[holder];
            if when == before && !honest_two.contains(&holder) {
                deed
            } else {
                Deed::Right
            }
        };
        let mut ask = world.ask(world.private((1, 16), 16), request.clone(), round as u64);
        let out = world.drive(engine, &mut ask, &mut nature, round as u64);
        assert!(out.error.is_none(), "{:?}", out.error);
        assert_eq!((&out.tokens, &out.rows), (&honestly.tokens, &honestly.rows));
        assert!(out.liars.iter().all(|l| !honest_two.contains(&l.holder)));
        convicts(&world, &out, 1);
        // Answers that came after the end were not looked at; all others were.
        let seen = out.liars.len();
        assert!(seen <= out.lies && out.lies <= 14);
        lies += seen;
        if lies >= 10_000 {
            break;
        }
    }
}

#[test]
fn a_signature_that_is_none_is_found_by_the_sample() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 3, 120), &[], 5);
    let request = world.request(&PROMPT, 60);
    let honestly = world.open(engine, &request);
    let mut ask = world.ask(world.private((1, 3), 3), request, 1);
    let mut nature = |holder: usize, _: usize, _: &Dealt| {
        if holder == 0 {
            Deed::BadSignature
        } else {
            Deed::Right
        }
    };
    let out = world.drive(engine, &mut ask, &mut nature, 1);
    assert_eq!(out.tokens, honestly.tokens);
    assert_eq!(out.liars.len(), 1, "of 700 answers one in 64 is sampled");
    assert_eq!(out.liars[0].holder, 0);
    assert!(
        out.liars[0].signed.is_none(),
        "an unsigned answer convicts nobody"
    );
}

#[test]
fn what_is_done_next_does_not_depend_on_what_is_asked() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 2, 64), &[], 5);
    let noise = &mut Noise(21);
    let mut refused = BTreeSet::new();
    for round in 0..60_u64 {
        let (holders, t) = if round % 3 == 0 {
            (2, 1)
        } else {
            (4, 1 + (round % 2) as usize)
        };
        // Errors that a holder can choose: sparse or dense, small or large, the same for all that is asked.
        let (liar, when) = (noise.bits() as usize % holders, noise.bits() as usize % 30);
        let deed = Deed::Off(noise.bits() as usize, (noise.bits() % 4) as u32);
        let mut run = |prompt: &[u32]| {
            let mut ask = world.ask(
                world.private((t, holders), holders),
                world.request(prompt, 4),
                round,
            );
            world.drive(engine, &mut ask, &mut one(liar, when, deed), round)
        };
        let (a, b) = (run(&PROMPT), run(&[49, 0, 0, 1, 22]));
        assert_eq!(a.events, b.events, "{deed:?}");
        let named = |o: &Outcome| o.liars.iter().map(|l| l.holder).collect::<Vec<_>>();
        assert_eq!(named(&a), named(&b));
        assert_eq!(a.error.is_some(), b.error.is_some());
        refused.insert(a.liars.is_empty());
    }
    assert_eq!(refused.len(), 2, "errors of zero pass, all others do not");
}

#[test]
fn hostile_answers_to_nothing_are_refused() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 2, 64), &[], 5);
    let honestly = world.open(engine, &world.request(&PROMPT, 4));
    let noise = &mut Noise(1);
    for i in 0..100 {
        let mut ask = world.ask(world.private((1, 3), 3), world.request(&PROMPT, 4), i);
        let mut effects = ask.start(engine).unwrap();
        let holder = noise.bits() as usize % 5;
        let input = Input::Answer {
            holder,
            flight: [0, 1, u64::MAX, noise.bits()][noise.bits() as usize % 4],
            values: (0..noise.bits() % 300)
                .map(|_| noise.bits() as u32)
                .collect(),
            signature: [noise.bits() as u8; 64],
        };
        effects.extend(ask.on(engine, input).unwrap());
        // Places that nobody has are ignored.
        assert_eq!(ask.liars().len(), usize::from(holder < 3));
        let out = world.go_on(engine, &mut ask, Ok(effects), &mut honest, i);
        assert!(out.error.is_none(), "{:?}", out.error);
        assert_eq!(out.tokens, honestly.tokens);
        assert_eq!(ask.liars().len(), usize::from(holder < 3));
    }
}

#[test]
fn a_holder_that_is_gone_before_the_start_is_not_needed() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 2, 64), &[], 5);
    let request = world.request(&PROMPT, 3);
    let honestly = world.open(engine, &request);
    let mut ask = world.ask(world.private((1, 3), 3), request.clone(), 1);
    assert!(ask.on(engine, Input::Lost { holder: 0 }).unwrap().len() == 1);
    let out = world.drive(engine, &mut ask, &mut honest, 1);
    assert_eq!(out.tokens, honestly.tokens);
    assert!(out.dealt.iter().all(|d| d.holder != 0));

    let mut ask = world.ask(world.private((1, 2), 2), request, 1);
    ask.on(engine, Input::Lost { holder: 1 }).unwrap();
    let refused = ask.start(engine);
    assert!(matches!(refused, Err(ClientError::Holder { left: 1, .. })));
}

#[test]
fn a_holder_that_never_answers_is_left_out_in_the_end_and_not_before_long() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 2, 1200), &[], 5);
    let request = world.request(&PROMPT, 1100);
    let mut ask = world.ask(world.private((1, 3), 3), request, 1);
    let mut nature = |holder: usize, _: usize, _: &Dealt| {
        if holder == 1 {
            Deed::Silent
        } else {
            Deed::Right
        }
    };
    let out = world.drive(engine, &mut ask, &mut nature, 1);
    assert_eq!(out.tokens.len(), 1100);
    assert_eq!(out.liars.len(), 1);
    assert_eq!(out.liars[0].holder, 1);
    let sent = out.dealt.iter().filter(|d| d.holder == 1).count();
    assert!((8000..8500).contains(&sent), "{sent}");
}

#[test]
fn a_holder_may_not_state_more_than_it_was_sent() {
    use nesa_codec::Digest;
    use nesa_proof::share::HolderStatement;
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 3, 64), &[], 5);
    let mut ask = world.ask(world.private((1, 2), 3), world.request(&PROMPT, 3), 1);
    let out = world.drive(engine, &mut ask, &mut honest, 1);
    for i in 0..3 {
        let own: Vec<&Dealt> = out.dealt.iter().filter(|d| d.holder == i).collect();
        let parts = ask.private();
        let layers = parts.placement.layers(i);
        let right = HolderStatement {
            node: parts.placement.nodes()[i].peer,
            session: parts.holders[i].session,
            model: world.model.manifest.root(),
            ranges: layers
                .iter()
                .map(|r| (r.start as u32, r.end as u32))
                .collect(),
            point: i as u8 + 1,
            flights: own.len() as u64,
            rows: own.iter().map(|d| u64::from(d.rows)).sum(),
            transcript: Digest::default(),
            price: 0,
        };
        assert!(ask.is_stated(i, &right));
        assert!(!ask.is_stated((i + 1) % 3, &right) && !ask.is_stated(9, &right));
        let wrong = |change: &dyn Fn(&mut HolderStatement)| {
            let mut s = right.clone();
            change(&mut s);
            !ask.is_stated(i, &s)
        };
        assert!(wrong(&|s| s.rows += 1) && wrong(&|s| s.flights -= 1));
        assert!(wrong(&|s| s.point += 1) && wrong(&|s| s.ranges = vec![(0, 3)]));
        assert!(wrong(&|s| s.session.0[0] ^= 1) && wrong(&|s| s.model.0[0] ^= 1));
    }
}
