//! Every architecture compiles, is stored, opens again, and stays close to its float original.

use nesa_checkpoint::random::small_config;
use nesa_checkpoint::{Arch, Config};
use nesa_compile::eval::{FloatModel, Whole, agreement, cosine, similarity};
use nesa_kernels::Level;
use nesa_model::Engine;
use nesa_model::engine::PackedHead;
use nesa_storage::ModelDir;

use crate::parts::{checkpoint, put, scene};

fn configs() -> Vec<(&'static str, Config)> {
    let tied = Config {
        tied_head: true,
        ..small_config(Arch::Llama)
    };
    let alone = Config {
        kv_heads: 4,
        ..small_config(Arch::Llama)
    };
    vec![
        ("llama untied", small_config(Arch::Llama)),
        ("llama tied", tied),
        ("llama without groups", alone),
        ("qwen2", small_config(Arch::Qwen2)),
        ("gpt2", small_config(Arch::Gpt2)),
        ("bert", small_config(Arch::Bert)),
    ]
}

fn whole(model: &ModelDir) -> Whole {
    let vocabulary = model.open_vocabulary().expect("vocabulary");
    Whole {
        shard: model
            .open_shard(0..model.manifest().shape.layers)
            .expect("blocks"),
        head: PackedHead::new(&vocabulary).expect("head"),
        vocabulary,
    }
}

const TEXT: &str = "The other text, which no calibration has seen: 12 geese, 3.50 a piece! é";

#[test]
fn rows_and_predictions_stay_close() {
    for (name, config) in configs() {
        let (folder, home) = scene(&config, 11);
        let model = put(&folder, &home, "m").unwrap_or_else(|e| panic!("{name}: {e}"));
        let float = FloatModel::load(&checkpoint(&folder)).expect("loads");
        let int = whole(&model);
        let ids = model
            .tokenizer()
            .expect("tokenizer")
            .encode(TEXT, false)
            .expect("encodes");
        let (x, mut engine) = (float.rows(&ids), Engine::new(Level::detect(), 1));
        let y = int.rows(&mut engine, &ids).expect("runs");
        let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        let dim = config.dim;
        let mut worst = 1.0f64;
        for (x, y) in x.chunks_exact(dim).zip(y.chunks_exact(dim)) {
            let y: Vec<f64> = y.iter().map(|&v| f64::from(v)).collect();
            worst = worst.min(cosine(&wide(x), &y));
        }
        println!("{name}: smallest cosine of a row {worst:.5}");
        assert!(worst > 0.99, "{name}: smallest cosine of a row {worst}");
        if config.arch == Arch::Bert {
            let pooling = model.manifest().text.pooling;
            let s = similarity(&float, &int, pooling, &[ids], &|| ()).expect("compares");
            assert_eq!(s.sentences, 1);
            assert!(s.cosine_min > 0.99, "{name}: {s:?}");
        } else {
            let a = agreement(&float, &int, std::slice::from_ref(&ids), &|| ()).expect("compares");
            assert_eq!(a.tokens, ids.len() - 1);
            let kl = a.kl_nats / a.tokens as f64;
            println!("{name}: KL {kl:.6}");
            assert!((-1e-9..0.02).contains(&kl), "{name}: KL {kl}");
            assert!(
                (a.int_nats / a.float_nats - 1.0).abs() < 0.02,
                "{name}: {a:?}"
            );
        }
    }
}

#[test]
fn wrong_weights_are_seen_by_the_measure() {
    let (folder, home) = scene(&small_config(Arch::Llama), 11);
    let model = put(&folder, &home, "m").expect("installs");
    let (other, _) = scene(&small_config(Arch::Llama), 12);
    let float = FloatModel::load(&checkpoint(&other)).expect("loads");
    let ids = model
        .tokenizer()
        .expect("tokenizer")
        .encode(TEXT, false)
        .expect("encodes");
    let a = agreement(&float, &whole(&model), &[ids], &|| ()).expect("compares");
    assert!(a.kl_nats / a.tokens as f64 > 0.1, "{a:?}");
}

#[test]
fn the_root_does_not_depend_on_threads() {
    let (folder, home) = scene(&small_config(Arch::Qwen2), 3);
    let root = |threads: usize, name: &str| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("pool");
        pool.install(|| put(&folder, &home, name))
            .expect("installs")
            .root()
    };
    assert_eq!(root(1, "one"), root(3, "three"));
}
