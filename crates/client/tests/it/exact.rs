//! The same tokens as `open`, whatever the scheme, the guesses and the padding.

use nesa_client::Padding;
use nesa_client::hss::{Effect, Machine, PrivateEmbed, PrivateRequest, predict};
use nesa_kernels::Level;
use nesa_model::engine::Span;
use nesa_model::testing::Noise;
use nesa_model::{Engine, KvCache, Product, Sampling};

use crate::world::{Net, Outcome, Parts, World, bytes, honest, no_clock, shape};

/// Schemes with their numbers of nodes.
const SCHEMES: [((usize, usize), usize); 6] = [
    ((1, 2), 2),
    ((1, 2), 3),
    ((1, 3), 3),
    ((2, 4), 4),
    ((2, 4), 5),
    ((1, 3), 5),
];
const PADDINGS: [Padding; 3] = [Padding::Off, Padding::Standard, Padding::Strong];

/// A prompt that repeats itself, so that guesses have something to find.
fn prompt(noise: &mut Noise, len: usize) -> Vec<u32> {
    let period = 3 + noise.bits() as usize % 9;
    let part: Vec<u32> = (0..period).map(|_| (noise.bits() % 50) as u32).collect();
    part.iter().copied().cycle().take(len).collect()
}

fn sampling(noise: &mut Noise, i: usize) -> Sampling {
    if i.is_multiple_of(2) {
        return Sampling::default();
    }
    Sampling {
        temperature_milli: 1 + (noise.bits() % 900) as u32,
        top_p_milli: 300 + (noise.bits() % 701) as u32,
        top_k: (noise.bits() % 20) as u32,
        seed: noise.bits(),
    }
}

fn same(open: &Outcome, hidden: &Outcome) {
    assert!(hidden.error.is_none(), "{:?}", hidden.error);
    assert_eq!(open.tokens, hidden.tokens);
    assert_eq!(open.rows, hidden.rows);
    assert_eq!(open.text, hidden.text);
    assert_eq!(open.finish, hidden.finish);
    assert!(hidden.liars.is_empty());
}

#[test]
fn sixty_prompts_and_seeds_with_and_without_guesses() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let worlds = [
        World::new(&shape(0, 3, 200), &(0..16).collect::<Vec<_>>(), 5),
        World::new(&shape(1, 2, 200), &[], 6),
    ];
    let (mut right, mut stopped) = (0, 0);
    for i in 0..60 {
        let noise = &mut Noise(900 + i as u64);
        let world = &worlds[i % 2];
        let len = 1 + noise.bits() as usize % if i.is_multiple_of(5) { 150 } else { 40 };
        let plain = PrivateRequest {
            sampling: sampling(noise, i / 2),
            ..world.request(&prompt(noise, len), 1 + i % 17)
        };
        let open = world.open(engine, &plain);
        stopped += usize::from(open.tokens.len() < plain.max_tokens);
        for width in [1, 2 + i % 7] {
            let request = PrivateRequest {
                width,
                padding: PADDINGS[(i + width) % 3],
                ..plain.clone()
            };
            let (scheme, nodes) = SCHEMES[(i + width) % SCHEMES.len()];
            let mut ask = world.ask(world.private(scheme, nodes), request, i as u64);
            let hidden = world.drive(engine, &mut ask, &mut honest, i as u64);
            same(&open, &hidden);
            assert_eq!(ask.text_so_far().unwrap(), hidden.text);
            right += hidden.traffic.drafts_right;
            assert!(
                hidden.traffic.real_steps + hidden.traffic.drafts_right + 1 >= open.tokens.len()
            );
        }
    }
    assert!(right > 30, "guesses were right {right} times");
    assert!(stopped > 3, "{stopped} answers were ended by the model");
}

#[test]
fn guesses_save_steps_and_leave_the_rows_of_each_as_they_are() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 2, 200), &[], 5);
    let run = |engine: &mut Engine, width| {
        let request = PrivateRequest {
            width,
            ..world.request(&prompt(&mut Noise(4), 20), 60)
        };
        let mut ask = world.ask(world.private((1, 2), 2), request, 1);
        world.drive(engine, &mut ask, &mut honest, 1)
    };
    let (one, many) = (run(engine, 1), run(engine, 6));
    same(&one, &many);
    // A greedy answer of a random model repeats itself soon.
    assert!(
        many.traffic.steps * 3 < one.traffic.steps * 2,
        "{:?}",
        many.traffic
    );
    assert_eq!(
        many.traffic.steps + many.traffic.drafts_right,
        one.traffic.steps
    );
    let positions = |o: &Outcome, width: u32| {
        let steps = o.dealt.iter().filter(|d| d.rows.is_multiple_of(width));
        steps.count() == o.dealt.len()
    };
    assert!(positions(&one, 1));
    let outline = &world.outline;
    for d in many.dealt.iter().skip_while(|d| d.flight < 8) {
        let product = Product::from_code(d.product).unwrap();
        let limbs = outline.limbs(d.layer as usize, product).count;
        assert_eq!(d.rows as usize, 6 * limbs, "every step has as many rows");
    }
}

#[test]
fn a_full_context_is_padded_beyond_its_end() {
    let engine = &mut Engine::new(Level::detect(), 1);
    for kind in [0, 1] {
        let world = World::new(&shape(kind, 2, 260), &[], 5);
        let request = PrivateRequest {
            width: 8,
            padding: Padding::Strong,
            ..world.request(&prompt(&mut Noise(4), 257), 60)
        };
        let open = world.open(engine, &request);
        let mut ask = world.ask(world.private((1, 2), 2), request, 1);
        let hidden = world.drive(engine, &mut ask, &mut honest, 1);
        same(&open, &hidden);
        assert_eq!(hidden.tokens.len(), 4);
        assert_eq!(
            (hidden.traffic.prompt_rows, hidden.traffic.steps),
            (512, 32)
        );
    }
}

#[test]
fn an_answer_cut_by_its_reader_ends_there() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 2, 100), &[], 5);
    let request = PrivateRequest {
        padding: Padding::Standard,
        ..world.request(&[1, 2, 3], 40)
    };
    let mut ask = world.ask(world.private((1, 2), 2), request, 1);
    ask.cut();
    let cut = world.drive(engine, &mut ask, &mut honest, 1);
    assert!(cut.error.is_none() && cut.tokens.is_empty());
    assert_eq!(cut.finish, Some(nesa_client::Finish::Stop));
}

#[test]
fn lengths_within_a_bucket_look_alike() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 2, 400), &[], 5);
    let mut run = |len: usize, max_tokens: usize, padding, width| {
        let noise = &mut Noise(len as u64);
        let request = PrivateRequest {
            padding,
            width,
            ..world.request(&prompt(noise, len), max_tokens)
        };
        let mut ask = world.ask(world.private((1, 2), 3), request, 1);
        let seen = world.drive(engine, &mut ask, &mut honest, 1).dealt;
        let view = |d: &crate::world::Dealt| (d.holder, d.layer, d.product, d.rows);
        let mut seen: Vec<_> = seen.iter().map(view).collect();
        seen.sort_unstable();
        seen
    };
    for padding in [Padding::Standard, Padding::Strong] {
        // 5 and 9 steps fill one bucket of `strong`, 3 and 8 steps one of both.
        let a = run(33, 4, padding, 1);
        assert_eq!(a, run(48, 9, padding, 1), "{padding:?}");
        assert_ne!(a, run(65, 9, padding, 1), "{padding:?}");
        assert_eq!(
            run(130, 9, padding, 4),
            run(131, 9, padding, 4),
            "{padding:?}"
        );
    }
    assert_ne!(run(33, 4, Padding::Off, 1), run(34, 4, Padding::Off, 1));
}

#[test]
fn counters_equal_the_formula() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(1, 3, 200), &[], 5);
    for (scheme, nodes) in SCHEMES {
        for (len, width, padding) in [
            (1, 1, Padding::Off),
            (70, 4, Padding::Standard),
            (40, 2, Padding::Strong),
        ] {
            let request = PrivateRequest {
                width,
                padding,
                ..world.request(&prompt(&mut Noise(3), len), 6)
            };
            let private = world.private(scheme, nodes);
            let placement = private.placement.clone();
            let mut ask = world.ask(private, request, 1);
            let out = world.drive(engine, &mut ask, &mut honest, 1);
            let rows = padding.prompt(len);
            let lane = rows.div_ceil(2).clamp(32, 128);
            let lanes = (0..rows).step_by(lane).map(|at| lane.min(rows - at));
            let all = lanes.chain(std::iter::repeat_n(width, out.traffic.steps));
            let (mut up, mut down, mut flights) = (0, 0, 0);
            for rows in all {
                let (u, d, f) = predict(&world.outline, &placement, rows);
                (up, down, flights) = (up + u, down + d, flights + f);
            }
            let t = &out.traffic;
            assert_eq!(t.up.iter().sum::<u64>(), up);
            assert_eq!(t.flights, flights);
            // Answers that were not needed may still be under way when all is said.
            let got = t.down.iter().sum::<u64>();
            let needed = down * placement.scheme().needed() as u64 / placement.scheme().n() as u64;
            assert!((needed..=down).contains(&got), "{needed} {got} {down}");
            if placement.scheme().n() == placement.scheme().needed() {
                assert_eq!(got, down);
            }
            assert_eq!(t.prompt_rows, rows);
        }
    }
}

#[test]
fn an_encoder_gives_the_rows_of_open() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let encoder = Parts::new(&shape(2, 3, 64), &[], 5);
    let shape = &encoder.model.manifest.shape;
    for (i, (scheme, nodes)) in SCHEMES.into_iter().enumerate() {
        let noise = &mut Noise(i as u64);
        let len = 1 + noise.bits() as usize % 60;
        let tokens: Vec<u32> = (0..len).map(|_| (noise.bits() % 50) as u32).collect();
        let embedded = encoder.model.vocabulary.embed(shape, &tokens, 0).unwrap();
        let mut expected = embedded.clone();
        let mut cache = KvCache::new(shape, &(0..shape.layers), len);
        let mut spans = [Span {
            cache: &mut cache,
            rows: len,
        }];
        engine
            .forward(&encoder.shard, &mut expected, &mut spans)
            .unwrap();
        let private = encoder.private(scheme, nodes);
        let mut net = Net::new(&encoder, private.clone(), i as u64);
        let (root, padding) = (encoder.model.manifest.root(), PADDINGS[i % 3]);
        let entropy = bytes(i as u64);
        let mut embed =
            PrivateEmbed::new(root, private, embedded, padding, entropy, no_clock).unwrap();
        let mut effects = embed.start(engine).unwrap();
        let (mut out, mut is_quiet) = (Outcome::default(), false);
        while !is_quiet {
            for effect in effects {
                match effect {
                    Effect::Send { holder, message } => {
                        net.send(engine, holder, message, &mut honest, &mut out);
                    }
                    Effect::Quiet => is_quiet = true,
                    other => panic!("unexpected {other:?}"),
                }
            }
            effects = match net.next() {
                Some(input) if !is_quiet => embed.on(engine, input).unwrap(),
                _ => Vec::new(),
            };
        }
        assert!(embed.liars().is_empty());
        let rows = padding.prompt(len) as u32;
        assert!(out.dealt.iter().all(|d| d.rows.is_multiple_of(rows)));
        assert_eq!(embed.into_rows(), Some(expected));
    }
}

#[test]
fn the_leakage_statement_says_what_was_sent_and_nothing_else() {
    let engine = &mut Engine::new(Level::detect(), 1);
    let world = World::new(&shape(0, 2, 200), &[], 5);
    let mut statement = |len: usize, max_tokens: usize| {
        let request = PrivateRequest {
            width: 4,
            padding: Padding::Standard,
            ..world.request(&prompt(&mut Noise(3), len), max_tokens)
        };
        let private = world.private((2, 4), 5);
        let placement = private.placement.clone();
        let mut ask = world.ask(private, request, 1);
        let out = world.drive(engine, &mut ask, &mut honest, 1);
        out.traffic.leakage(&placement, Padding::Standard)
    };
    let said = statement(33, 5);
    assert!(!said.contains('\n'));
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(json["tier"], "hss");
    assert_eq!(json["label"], "private");
    assert_eq!(json["scheme"], serde_json::json!({"t": 2, "n": 4}));
    assert_eq!(
        (&json["holders"], &json["step_rows"]),
        (&5.into(), &4.into())
    );
    assert_eq!(
        (&json["prompt_rows"], &json["steps"]),
        (&48.into(), &8.into())
    );
    let assumed = json["assumes"].to_string();
    assert!(assumed.contains("no 3 nodes of the session collude") && assumed.contains("ChaCha20"));
    // Texts of one bucket have one statement.
    assert_eq!(said, statement(47, 3));
    for tier in [
        nesa_client::Privacy::Open,
        nesa_client::Privacy::Ee,
        nesa_client::Privacy::Hss,
    ] {
        let said: serde_json::Value = serde_json::from_str(&tier.leakage(9)).unwrap();
        assert_eq!(said["label"], tier.label().to_string());
    }
}
