//! The float reference equals candle, by rows that `oracle golden` wrote, on all architectures.

use nesa_checkpoint::random::{Store, small_config, write_random};
use nesa_checkpoint::{Arch, Checkpoint};
use nesa_compile::float::{Layer, Text, block};

#[test]
fn float_reference_equals_candle() {
    for (arch, golden) in [
        (
            Arch::Llama,
            include_str!("../../../oracle/vectors/llama.json"),
        ),
        (
            Arch::Qwen2,
            include_str!("../../../oracle/vectors/qwen2.json"),
        ),
        (
            Arch::Gpt2,
            include_str!("../../../oracle/vectors/gpt2.json"),
        ),
        (
            Arch::Bert,
            include_str!("../../../oracle/vectors/bert.json"),
        ),
    ] {
        let golden: serde_json::Value = serde_json::from_str(golden).expect("JSON");
        let list = |value: &serde_json::Value| value.as_array().expect("list").clone();
        let folder = tempfile::tempdir().expect("temporary folder");
        let config = small_config(arch);
        let seed = golden["seed"].as_u64().expect("seed");
        write_random(folder.path(), &config, seed, Store::F32).expect("writes");
        let checkpoint = Checkpoint::open(folder.path()).expect("opens");
        let ids: Vec<u32> = list(&golden["ids"])
            .iter()
            .map(|id| id.as_u64().expect("id") as u32)
            .collect();
        let text = Text::load(&checkpoint).expect("text side");
        let mut x = text.embed(&config, &ids);
        for index in 0..config.layers {
            let _ = block(
                &config,
                &Layer::load(&checkpoint, index).expect("layer"),
                &mut x,
            );
        }
        let rows = if arch == Arch::Bert {
            x
        } else {
            text.logits(&config, &x)
        };
        let width = rows.len() / ids.len();
        let mut worst = 0.0f64;
        for (position, row) in list(&golden["positions"]).iter().zip(list(&golden["rows"])) {
            let position = position.as_u64().expect("position") as usize;
            let ours = &rows[position * width..][..width];
            let theirs = list(&row);
            assert_eq!(ours.len(), theirs.len());
            for (ours, theirs) in ours.iter().zip(theirs) {
                worst = worst.max((f64::from(*ours) - theirs.as_f64().expect("value")).abs());
            }
        }
        println!("{arch:?}: largest difference {worst:.6}");
        assert!(worst < 1e-3, "{arch:?}: {worst}");
    }
}
