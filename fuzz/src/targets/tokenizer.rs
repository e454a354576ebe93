//! tokenizer.json files: build, encode and decode.

use nesa_checkpoint::Tokenizer;
use serde_json::json;

use super::Target;

pub(crate) const TARGET: Target = Target {
    name: "tokenizer",
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let tokenizer = match Tokenizer::from_json(&text, &[0]) {
            Ok(tokenizer) => tokenizer,
            Err(error) => return error.to_string(),
        };
        let mut answer = String::from("ok");
        for special in [false, true] {
            match tokenizer.encode("ab <e> \u{e9}\n12", special) {
                Ok(ids) => {
                    let _ = tokenizer.decode(&ids, special);
                }
                Err(error) => answer = error.to_string(),
            }
        }
        let _ = tokenizer.decode(&[0, 1, 2, u32::MAX], false);
        answer
    },
    // Two tokenizers with hash maps, caches and compiled expressions.
    bound: |len| 256 * len + (64 << 20),
    seeds,
    dictionary: &[
        b"\"type\":\"BPE\"",
        b"\"type\":\"WordPiece\"",
        b"\"type\":\"ByteLevel\"",
        b"\"type\":\"Sequence\"",
        b"\"pretokenizers\":[",
        b"{\"type\":\"Digits\",\"individual_digits\":true}",
        b"{\"type\":\"NFC\"}",
        b"\"unk_token\":\"a\"",
        b"\"merges\":[[\"a\",\"b\"]]",
        b"\"byte_fallback\":true",
        b"\"ignore_merges\":true",
        b"null",
        b"4294967295",
        b"-1",
    ],
};

fn seeds() -> Vec<Vec<u8>> {
    let added = json!([{
        "id": 0, "content": "<e>", "special": true, "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false,
    }]);
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    let split = json!({
        "type": "Split", "pattern": {"Regex": " ?[a-z]+|\\s+"}, "behavior": "Isolated",
        "invert": false,
    });
    let bpe = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": null, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": false, "vocab": {"<e>": 0, "a": 1, "b": 2, "ab": 3},
            "merges": [["a", "b"]],
        },
    });
    let word_piece = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": null,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": {"<e>": 0, "[UNK]": 1, "a": 2, "##b": 3},
        },
    });
    vec![
        bpe.to_string().into_bytes(),
        word_piece.to_string().into_bytes(),
    ]
}
