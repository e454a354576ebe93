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
    // to two copies, and the list of required tensors and names: at most 1,024 layers of them.
    bound: |len| 64 * len + (4 << 20),
    seeds,
    dictionary: DICTIONARY,
};

fn seeds() -> Vec<Vec<u8>> {
    let llama = Builder::default()
        .text("general.architecture", "llama")
        .u32("llama.block_count", 1)
        .u32("llama.embedding_length", 32)
        .u32("llama.feed_forward_length", 32)
        .u32("llama.attention.head_count", 2)
        .u32("llama.attention.head_count_kv", 1)
        .u32("llama.context_length", 64)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .f32("llama.rope.freq_base", 10_000.0)
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", "smollm")
        .texts("tokenizer.ggml.tokens", &["<e>", "a", "b", "ab"])
        .texts("tokenizer.ggml.merges", &["a b"])
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
        .tensor("blk.0.ffn_down.weight", &[32, 32], 8);
    vec![llama.build()]
}
