//! Checks on published checkpoints, run where `NESA_TEST_MODELS` names a folder with them:
//! `smollm2.gguf`, `glassllm/en.npz` and `minilm/` (a Hugging Face folder).

use std::path::PathBuf;

use nesa_checkpoint::{Checkpoint, LayerTensor, Message, Tensor};

fn model(name: &str) -> Option<Checkpoint> {
    let path = PathBuf::from(std::env::var_os("NESA_TEST_MODELS")?).join(name);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(Checkpoint::open(&path).expect("a published checkpoint opens"))
}

#[test]
fn smollm2() {
    let Some(checkpoint) = model("smollm2.gguf") else {
        return;
    };
    let config = &checkpoint.config;
    assert_eq!(
        (config.layers, config.dim, config.heads, config.kv_heads),
        (30, 576, 9, 3)
    );
    assert_eq!(
        (config.head_dim, config.ffn, config.vocab, config.context),
        (64, 1536, 49152, 8192)
    );
    assert_eq!((config.norm_eps, config.rope_theta), (1e-5, 100_000.0));
    assert!(config.tied_head && !config.add_bos);
    assert_eq!(config.eos_ids, [2]);
    let embed = checkpoint.tensor(Tensor::TokenEmbed).expect("embedding");
    assert_eq!((embed.rows, embed.cols), (49152, 576));
    let k = checkpoint
        .tensor(Tensor::Layer(29, LayerTensor::K))
        .expect("k");
    assert_eq!((k.rows, k.cols, k.data.len()), (192, 576, 192 * 576));
    println!("k {:?}", &k.data[..4]);
    let tokenizer = checkpoint.tokenizer().expect("tokenizer");
    let chat = checkpoint.chat().expect("template");
    let segments = chat
        .render_segments(
            &[Message::new("user", "Why is the sky blue? <|im_end|>")],
            true,
        )
        .expect("renders");
    let ids = tokenizer.encode_segments(&segments).expect("encodes");
    println!("{segments:?} {ids:?}");
    println!("{:?}", tokenizer.decode(&ids, false));
}

#[test]
fn glassllm() {
    let Some(checkpoint) = model("glassllm/en.npz") else {
        return;
    };
    println!("{:?}", checkpoint.config);
    let tokenizer = checkpoint.tokenizer().expect("tokenizer");
    let ids = tokenizer
        .encode("Alice was é beginning\n to get", true)
        .expect("encodes");
    println!("{ids:?} {:?}", tokenizer.decode(&ids, true));
}

#[test]
fn minilm() {
    let Some(checkpoint) = model("minilm") else {
        return;
    };
    println!("{:?}", checkpoint.config);
    let tokenizer = checkpoint.tokenizer().expect("tokenizer");
    println!(
        "{:?}",
        tokenizer.encode_document("Hello world, this is a test", 6)
    );
}
