//! The tokenizer in GGUF metadata, as a `tokenizer.json`.

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::gguf::Header;
use crate::json;

/// Token types of llama.cpp.
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// The words and numbers of GPT-2's pre-tokenizer.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// Qwen2's: any letter run, single digits, line ends apart.
const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Llama 3's: as Qwen2's, with up to three digits.
const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Bytes of a token that merges are derived for; longer ones never arise from a text's pieces.
const PIECE_BYTES_MAX: usize = 512;
/// Merges per token, on average; published vocabularies have about two.
const MERGES_PER_TOKEN_MAX: usize = 8;

/// A canonical `tokenizer.json` from the vocabulary in the metadata.
///
/// # Errors
/// [`Error::Unsupported`] for other tokenizers than byte-level BPE and SentencePiece BPE,
/// [`Error::Malformed`] where lists are missing or contradict each other.
pub(crate) fn tokenizer_json(file: &str, header: &Header) -> Result<String> {
    match header.text("tokenizer.ggml.model").unwrap_or_default() {
        "gpt2" => byte_level(file, header),
        "llama" => sentence_piece(file, header),
        kind => {
            let what = format!(
                "tokenizer {kind:?} inside GGUF is not supported; gpt2 and llama are: import the \
                 original folder with its tokenizer.json"
            );
            Err(Error::unsupported(file, what))
        }
    }
}

/// The tokens with their types and ids.
struct Vocabulary<'a> {
    tokens: &'a [String],
    types: &'a [i64],
    ids: Map<String, Value>,
}

impl<'a> Vocabulary<'a> {
    fn read(file: &str, header: &'a Header) -> Result<Self> {
        let tokens = list(file, header, "tokenizer.ggml.tokens")?;
        let types = header
            .integers("tokenizer.ggml.token_type")
            .unwrap_or_default();
        if !types.is_empty() && types.len() != tokens.len() {
            return Err(Error::malformed(
                file,
                "token types and tokens differ in number",
            ));
        }
        let mut ids = Map::new();
        for (id, token) in tokens.iter().enumerate() {
            if ids.insert(token.clone(), Value::from(id)).is_some() {
                return Err(Error::malformed(
                    file,
                    format!("token {token:?} appears twice"),
                ));
            }
        }
        Ok(Self { tokens, types, ids })
    }

    /// Tokens that are found in a text before it is split: those of these types.
    fn added(&self, kinds: &[i64]) -> Vec<Value> {
        let kind = |(id, kind): (usize, &i64)| kinds.contains(kind).then_some((id, *kind));
        let chosen = self.types.iter().enumerate().filter_map(kind);
        chosen
            .map(|(id, kind)| {
                json!({
                    "id": id, "content": self.tokens[id], "special": kind != USER_DEFINED,
                    "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
                })
            })
            .collect()
    }
}

fn list<'a>(file: &str, header: &'a Header, key: &str) -> Result<&'a [String]> {
    header
        .texts(key)
        .ok_or_else(|| Error::malformed(file, format!("{key} is missing")))
}

/// GPT-2's kind: merges over a byte alphabet.
fn byte_level(file: &str, header: &Header) -> Result<String> {
    let vocabulary = Vocabulary::read(file, header)?;
    let merges = list(file, header, "tokenizer.ggml.merges")?;
    let mut pairs = Vec::with_capacity(merges.len());
    for merge in merges {
        let Some((left, right)) = merge.split_once(' ') else {
            return Err(Error::malformed(
                file,
                format!("merge {merge:?} is not a pair"),
            ));
        };
        let known = [left.to_owned(), right.to_owned(), format!("{left}{right}")];
        if let Some(part) = known
            .iter()
            .find(|part| !vocabulary.ids.contains_key(*part))
        {
            return Err(Error::malformed(
                file,
                format!("merge part {part:?} is not a token"),
            ));
        }
        pairs.push(json!([left, right]));
    }
    let added = vocabulary.added(&[CONTROL, USER_DEFINED]);
    let name = header.text("tokenizer.ggml.pre").unwrap_or("default");
    let (normalizer, pre_tokenizer, ignore_merges) = pre_tokenizer(file, name)?;
    let decoder = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    Ok(json::canonical(&json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
        "post_processor": null, "decoder": decoder,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
            "byte_fallback": false, "ignore_merges": ignore_merges, "vocab": vocabulary.ids,
            "merges": pairs,
        },
    })))
}

/// SentencePiece's kind: scores instead of merges, U+2581 for spaces, bytes as a fallback.
///
/// Joining the neighbours with the best score first is BPE with the merges sorted by the score of
/// their result.
fn sentence_piece(file: &str, header: &Header) -> Result<String> {
    let vocabulary = Vocabulary::read(file, header)?;
    let scores = header.floats("tokenizer.ggml.scores").unwrap_or_default();
    if scores.len() != vocabulary.tokens.len() || scores.iter().any(|score| score.is_nan()) {
        return Err(Error::malformed(
            file,
            "tokenizer.ggml.scores do not belong to the tokens",
        ));
    }
    let limit = MERGES_PER_TOKEN_MAX * vocabulary.tokens.len();
    let mut merges: Vec<(f32, usize, &str, &str)> = Vec::new();
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        let kind = vocabulary.types.get(id).copied().unwrap_or(1);
        if kind != 1 || token.len() > PIECE_BYTES_MAX {
            continue;
        }
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if vocabulary.ids.contains_key(left) && vocabulary.ids.contains_key(right) {
                merges.push((scores[id], id, left, right));
                let (what, actual) = ("number of merges of the tokenizer", merges.len());
                Error::limit(file, what, actual as u64, limit as u64)?;
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let merges: Vec<Value> = merges
        .into_iter()
        .map(|(_, _, left, right)| json!([left, right]))
        .collect();
    let unknown = vocabulary.types.iter().position(|&kind| kind == UNKNOWN);
    let unknown = unknown.map(|id| vocabulary.tokens[id].as_str());
    let byte_fallback = vocabulary.ids.contains_key("<0x00>");
    let prefix = header
        .bool("tokenizer.ggml.add_space_prefix")
        .unwrap_or(true);
    let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    let spaces = replace(" ", "\u{2581}");
    let mut decoders = vec![
        replace("\u{2581}", " "),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    let normalizer = if prefix {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        let prepend = json!({"type": "Prepend", "prepend": "\u{2581}"});
        json!({"type": "Sequence", "normalizers": [prepend, spaces]})
    } else {
        spaces
    };
    let added = vocabulary.added(&[UNKNOWN, CONTROL, USER_DEFINED]);
    Ok(json::canonical(&json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": normalizer, "pre_tokenizer": null, "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": unknown,
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
            "byte_fallback": byte_fallback, "ignore_merges": false, "vocab": vocabulary.ids,
            "merges": merges,
        },
    })))
}

/// (normaliser, pre-tokenizer, ignore_merges) of the pre-tokenizer called `name` by llama.cpp,
/// in the form of the models' own tokenizer.json.
fn pre_tokenizer(file: &str, name: &str) -> Result<(Value, Value, bool)> {
    let bytes = |use_regex: bool| {
        json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": use_regex,
        })
    };
    let split = |regex: &str| {
        json!({
            "type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false,
        })
    };
    let sequence = |parts: Vec<Value>| json!({"type": "Sequence", "pretokenizers": parts});
    let digits = || json!({"type": "Digits", "individual_digits": true});
    Ok(match name {
        "smollm" | "starcoder" | "refact" | "codeshell" => {
            (Value::Null, sequence(vec![digits(), bytes(true)]), false)
        }
        "gpt-2" | "gpt2" => (Value::Null, bytes(true), false),
        "qwen2" | "deepseek-r1-qwen" => (
            json!({"type": "NFC"}),
            sequence(vec![split(QWEN2), bytes(false)]),
            false,
        ),
        "llama-bpe" | "llama3" => (
            Value::Null,
            sequence(vec![split(LLAMA3), bytes(false)]),
            true,
        ),
        "default" => {
            let punctuation = split(r"[\p{P}\$\+<=>\^~\|]+");
            let parts = vec![
                punctuation,
                split(GPT2),
                split(r"\p{N}+"),
                split("[0-9][0-9][0-9]"),
                bytes(false),
            ];
            (Value::Null, sequence(parts), false)
        }
        _ => {
            let what = format!(
                "pre-tokenizer {name:?} is not known; smollm, gpt-2, qwen2, llama-bpe and default \
                 are: import the original folder with its tokenizer.json"
            );
            return Err(Error::unsupported(file, what));
        }
    })
}
