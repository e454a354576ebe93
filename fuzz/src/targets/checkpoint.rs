//! A whole GGUF checkpoint: configuration, shapes, tokenizer, and every small tensor.

use nesa_checkpoint::{Checkpoint, Tensor};

use super::gguf::{Builder, DICTIONARY};
use super::{Target, outcome};

pub(crate) const TARGET: Target = Target {
    name: "checkpoint",
    run: |bytes| {
        let checkpoint = match Checkpoint::from_gguf("f", bytes.to_vec()) {
            Ok(checkpoint) => checkpoint,
            Err(error) => return error.to_string(),
        };
        for tensor in Tensor::required(&checkpoint.config).into_iter().take(64) {
            if let Err(error) = checkpoint.tensor(tensor) {
                return error.to_string();
            }
        }
        outcome(checkpoint.tokenizer_json())
    },
    // The input, its header, one decoded tensor (4-bit values become f32: a factor of 8) with up
    // to two copies, the names of at most 1,024 layers of tensors, and a tokenizer's JSON: scores
    // may imply up to eight merges per token of 17 bytes.
    bound: |len| 256 * len + (4 << 20),
    seeds,
    dictionary: DICTIONARY,
};

fn seeds() -> Vec<Vec<u8>> {
    let tokens: Vec<String> = (1..40).map(|n| "a".repeat(n)).collect();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let scores: Vec<u8> = (0..39).flat_map(|n| (-(n as f32)).to_le_bytes()).collect();
    let scores = [&6u32.to_le_bytes()[..], &39u64.to_le_bytes(), &scores].concat();
    let pieces = Builder::default()
        .text("tokenizer.ggml.model", "llama")
        .texts("tokenizer.ggml.tokens", &tokens)
        .entry("tokenizer.ggml.scores", 9, &scores);
    let merges = Builder::default()
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", "smollm")
        .texts("tokenizer.ggml.tokens", &["<e>", "a", "b", "ab"])
        .texts("tokenizer.ggml.merges", &["a b"]);
    vec![llama(pieces).build(), llama(merges).build()]
}

/// A one-layer Llama with the tokenizer that `file` holds already.
fn llama(file: Builder) -> Builder {
    file.text("general.architecture", "llama")
        .u32("llama.block_count", 1)
        .u32("llama.embedding_length", 32)
        .u32("llama.feed_forward_length", 32)
        .u32("llama.attention.head_count", 2)
        .u32("llama.attention.head_count_kv", 1)
        .u32("llama.context_length", 64)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .f32("llama.rope.freq_base", 10_000.0)
        .tensor("token_embd.weight", &[4, 32], 8)
        .tensor("output_norm.weight", &[32], 0)
        .tensor("blk.0.attn_norm.weight", &[32], 0)
        .tensor("blk.0.attn_q.weight", &[32, 32], 8)
        .tensor("blk.0.attn_k.weight", &[16, 32], 8)
        .tensor("blk.0.attn_v.weight", &[16, 32], 8)
        .tensor("blk.0.attn_output.weight", &[32, 32], 8)
        .tensor("blk.0.ffn_norm.weight", &[32], 0)
        .tensor("blk.0.ffn_gate.weight", &[32, 32], 8)
        .tensor("blk.0.ffn_up.weight", &[32, 32], 8)
        .tensor("blk.0.ffn_down.weight", &[32, 32], 8)
}
