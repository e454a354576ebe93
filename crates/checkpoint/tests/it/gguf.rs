//! GGUF files: the same model as a Hugging Face folder gives the same tensors; hostile files give
//! errors.

use std::path::Path;

use crate::common::Gguf;
use nesa_checkpoint::gguf::{Header, Value};
use nesa_checkpoint::random::{Store, small_config, write_random};
use nesa_checkpoint::{Arch, Checkpoint, Config, Error, LayerTensor, Matrix, Tensor};

fn header(bytes: &[u8]) -> Result<Header, Error> {
    Header::parse(bytes, "test.gguf", bytes.len() as u64)
}

/// Everything but the tokenizer.
fn bare_metadata(config: &Config) -> Gguf {
    let arch = config.arch.name();
    let key = |name: &str| format!("{arch}.{name}");
    let eps = match config.arch {
        Arch::Llama | Arch::Qwen2 => "attention.layer_norm_rms_epsilon",
        Arch::Gpt2 | Arch::Bert => "attention.layer_norm_epsilon",
    };
    Gguf::default()
        .text("general.architecture", arch)
        .text("general.name", &config.name)
        .u32(&key("block_count"), config.layers as u32)
        .u32(&key("embedding_length"), config.dim as u32)
        .u32(&key("feed_forward_length"), config.ffn as u32)
        .u32(&key("attention.head_count"), config.heads as u32)
        .u32(&key("attention.head_count_kv"), config.kv_heads as u32)
        .u32(&key("context_length"), config.context as u32)
        .f32(&key(eps), config.norm_eps as f32)
        .f32(&key("rope.freq_base"), config.rope_theta as f32)
}

fn metadata(config: &Config) -> Gguf {
    bare_metadata(config)
        .u32(
            "tokenizer.ggml.padding_token_id",
            config.pad_id.unwrap_or(0),
        )
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", "smollm")
        .texts(
            "tokenizer.ggml.tokens",
            &["<e>", "a", "b", "c", "ab", "abc"],
        )
        .texts("tokenizer.ggml.merges", &["a b", "ab c"])
        .i32s("tokenizer.ggml.token_type", &[3, 1, 1, 1, 1, 1])
        .u32("tokenizer.ggml.eos_token_id", 0)
}

/// What llama.cpp's converter does to Q and K: w.reshape(h, 2, d/2, in).swapaxes(1, 2).
fn permuted(matrix: &Matrix, heads: usize) -> Vec<f32> {
    let half = matrix.rows / heads / 2;
    let mut out = Vec::new();
    for head in 0..heads {
        for j in 0..half {
            for part in 0..2 {
                out.extend_from_slice(matrix.row((head * 2 + part) * half + j));
            }
        }
    }
    out
}

fn convert(source: &Checkpoint) -> Gguf {
    convert_weights(source, metadata(&source.config))
}

/// `file` with every tensor of `source` under its GGUF name and layout.
fn convert_weights(source: &Checkpoint, mut file: Gguf) -> Gguf {
    use LayerTensor::*;
    let config = &source.config;
    for tensor in Tensor::required(config) {
        let matrix = source.tensor(tensor).expect("tensor");
        let mut data = matrix.data.clone();
        let name = match tensor {
            Tensor::TokenEmbed => "token_embd.weight".to_owned(),
            Tensor::PosEmbed => "position_embd.weight".to_owned(),
            Tensor::TypeEmbed => "token_types.weight".to_owned(),
            Tensor::EmbedNormGain => "token_embd_norm.weight".to_owned(),
            Tensor::EmbedNormBias => "token_embd_norm.bias".to_owned(),
            Tensor::FinalNormGain => "output_norm.weight".to_owned(),
            Tensor::FinalNormBias => "output_norm.bias".to_owned(),
            Tensor::Head => "output.weight".to_owned(),
            Tensor::Layer(layer, part) => {
                if config.arch == Arch::Llama && part == Q {
                    data = permuted(&matrix, config.heads);
                }
                if config.arch == Arch::Llama && part == K {
                    data = permuted(&matrix, config.kv_heads);
                }
                let (norm1, norm2) = match config.arch {
                    Arch::Bert => ("attn_output_norm", "layer_output_norm"),
                    _ => ("attn_norm", "ffn_norm"),
                };
                let (stem, bias) = match part {
                    Norm1Gain => (norm1, false),
                    Norm1Bias => (norm1, true),
                    Norm2Gain => (norm2, false),
                    Norm2Bias => (norm2, true),
                    Q => ("attn_q", false),
                    QBias => ("attn_q", true),
                    K => ("attn_k", false),
                    KBias => ("attn_k", true),
                    V => ("attn_v", false),
                    VBias => ("attn_v", true),
                    O => ("attn_output", false),
                    OBias => ("attn_output", true),
                    Gate => ("ffn_gate", false),
                    Up => ("ffn_up", false),
                    UpBias => ("ffn_up", true),
                    Down => ("ffn_down", false),
                    DownBias => ("ffn_down", true),
                };
                format!(
                    "blk.{layer}.{stem}.{}",
                    if bias { "bias" } else { "weight" }
                )
            }
        };
        let shape = match matrix.cols {
            1 => vec![matrix.rows as u64],
            cols => vec![matrix.rows as u64, cols as u64],
        };
        file = file.floats(&name, &shape, &data);
    }
    file
}

fn open(bytes: &[u8]) -> Result<Checkpoint, Error> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).expect("writes");
    Checkpoint::open(&path)
}

fn random(arch: Arch, path: &Path) -> Checkpoint {
    let config = Config {
        layers: 2,
        vocab: 300,
        ..small_config(arch)
    };
    write_random(path, &config, 11, Store::F32).expect("writes");
    Checkpoint::open(path).expect("opens")
}

#[test]
fn gguf_and_safetensors_of_one_model_agree() {
    for arch in [Arch::Llama, Arch::Qwen2, Arch::Bert] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let source = random(arch, folder.path());
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, convert(&source).build()).expect("writes");
        let gguf = Checkpoint::open(&path).expect("opens");
        let mut expected = source.config.clone();
        expected.eos_ids = vec![0];
        expected.pad_id = Some(0);
        assert_eq!(gguf.config, expected);
        for tensor in Tensor::required(&source.config) {
            let (a, b) = (
                source.tensor(tensor).expect("a"),
                gguf.tensor(tensor).expect("b"),
            );
            assert_eq!(a, b, "{arch:?} {tensor:?}");
        }
    }
}

#[test]
fn fused_gpt2_attention_agrees() {
    use LayerTensor::*;
    let folder = tempfile::tempdir().expect("temporary folder");
    let source = random(Arch::Gpt2, folder.path());
    let mut file = metadata(&source.config);
    for tensor in Tensor::required(&source.config) {
        let matrix = source.tensor(tensor).expect("tensor");
        let (name, data) = match tensor {
            Tensor::TokenEmbed => ("token_embd.weight".to_owned(), matrix.data),
            Tensor::PosEmbed => ("position_embd.weight".to_owned(), matrix.data),
            Tensor::FinalNormGain => ("output_norm.weight".to_owned(), matrix.data),
            Tensor::FinalNormBias => ("output_norm.bias".to_owned(), matrix.data),
            Tensor::Layer(layer, part) => {
                let parts = |parts: [LayerTensor; 3]| -> Vec<f32> {
                    let part = |part| {
                        source
                            .tensor(Tensor::Layer(layer, part))
                            .expect("part")
                            .data
                    };
                    parts.into_iter().flat_map(part).collect()
                };
                let (name, data) = match part {
                    Q => ("attn_qkv.weight", parts([Q, K, V])),
                    QBias => ("attn_qkv.bias", parts([QBias, KBias, VBias])),
                    K | V | KBias | VBias => continue,
                    Norm1Gain => ("attn_norm.weight", matrix.data),
                    Norm1Bias => ("attn_norm.bias", matrix.data),
                    O => ("attn_output.weight", matrix.data),
                    OBias => ("attn_output.bias", matrix.data),
                    Norm2Gain => ("ffn_norm.weight", matrix.data),
                    Norm2Bias => ("ffn_norm.bias", matrix.data),
                    Up => ("ffn_up.weight", matrix.data),
                    UpBias => ("ffn_up.bias", matrix.data),
                    Down => ("ffn_down.weight", matrix.data),
                    DownBias => ("ffn_down.bias", matrix.data),
                    Gate => panic!("GPT-2 has no gate"),
                };
                (format!("blk.{layer}.{name}"), data)
            }
            other => panic!("GPT-2 has no {other:?}"),
        };
        let rows = (data.len() / matrix.cols) as u64;
        let shape = if matrix.cols == 1 {
            vec![rows]
        } else {
            vec![rows, matrix.cols as u64]
        };
        file = file.floats(&name, &shape, &data);
    }
    let gguf = open(&file.build()).expect("opens");
    for tensor in Tensor::required(&source.config) {
        let (a, b) = (source.tensor(tensor).expect("a"), gguf.tensor(tensor));
        // The temporary file is gone by now on purpose: an open file can still be read.
        assert_eq!(a, b.expect("b"), "{tensor:?}");
    }
}

#[test]
fn tokenizer_from_metadata() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let gguf = open(&convert(&random(Arch::Llama, folder.path())).build()).expect("opens");
    let tokenizer = gguf.tokenizer().expect("tokenizer");
    assert_eq!(
        tokenizer.encode("abcab<e>", true).expect("encodes"),
        [5, 4, 0]
    );
    assert_eq!(tokenizer.encode("abc", false).expect("encodes"), [5]);
    assert!(tokenizer.is_eos(0));
    assert_eq!(
        gguf.tokenizer_json().expect("json"),
        gguf.tokenizer_json().expect("json")
    );
}

#[test]
fn sentence_pieces_equal_llama_cpp() {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../vectors/pieces.json")).expect("golden JSON");
    let list = |key: &str| golden[key].as_array().expect("list").clone();
    let tokens = list("tokens");
    let tokens: Vec<&str> = tokens
        .iter()
        .map(|token| token.as_str().expect("text"))
        .collect();
    let types: Vec<i32> = list("types")
        .iter()
        .map(|n| n.as_i64().expect("type") as i32)
        .collect();
    let folder = tempfile::tempdir().expect("temporary folder");
    let config = Config {
        layers: 1,
        vocab: tokens.len(),
        ..small_config(Arch::Llama)
    };
    write_random(folder.path(), &config, 11, Store::F32).expect("writes");
    let source = Checkpoint::open(folder.path()).expect("opens");
    let mut scores = [
        6u32.to_le_bytes().to_vec(),
        (tokens.len() as u64).to_le_bytes().to_vec(),
    ];
    for score in list("scores") {
        scores[1].extend((score.as_f64().expect("score") as f32).to_le_bytes());
    }
    let file = convert_weights(&source, bare_metadata(&config))
        .text("tokenizer.ggml.model", "llama")
        .texts("tokenizer.ggml.tokens", &tokens)
        .raw("tokenizer.ggml.scores", 9, &scores.concat())
        .i32s("tokenizer.ggml.token_type", &types)
        .u32("tokenizer.ggml.eos_token_id", 2);
    let tokenizer = open(&file.build())
        .expect("opens")
        .tokenizer()
        .expect("tokenizer");
    let rows = list("rows");
    assert!(rows.len() > 60);
    for row in rows {
        let text = row[0].as_str().expect("text");
        let ids: Vec<u64> = row[1]
            .as_array()
            .expect("ids")
            .iter()
            .filter_map(|n| n.as_u64())
            .collect();
        let ours = tokenizer.encode(text, false).expect("encodes");
        assert_eq!(
            ours.iter().map(|&id| u64::from(id)).collect::<Vec<_>>(),
            ids,
            "{text:?}"
        );
        // The mark for spaces cannot be told from a space afterwards.
        let decoded = tokenizer.decode(&ours, true).expect("decodes");
        assert_eq!(decoded, text.replace('\u{2581}', " "));
    }
}

#[test]
fn any_cut_or_changed_byte_is_harmless() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let bytes = convert(&random(Arch::Llama, folder.path())).build();
    let end = bytes
        .windows(4)
        .rposition(|window| window == b"norm")
        .expect("header")
        + 64;
    for cut in 0..end {
        assert!(header(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    assert!(
        header(&bytes[..bytes.len() - 1]).is_err(),
        "the last weight is cut off"
    );
    for at in 0..end {
        for flip in [0x01, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            let _ = header(&changed);
        }
    }
}

#[test]
fn announced_sizes_are_not_believed() {
    let huge = u64::MAX.to_le_bytes();
    let counts = |tensors: u64, entries: u64| {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(entries.to_le_bytes());
        bytes
    };
    for (what, bytes) in [
        ("tensors", counts(u64::MAX, 0)),
        ("entries", counts(0, u64::MAX)),
        ("tensors beyond the file", counts(99_999, 0)),
        ("entries beyond the file", counts(0, 65_000)),
        ("key length", [counts(0, 1), huge.to_vec()].concat()),
        ("array length", {
            let mut value = 8u32.to_le_bytes().to_vec();
            value.extend(3_999_999u64.to_le_bytes());
            Gguf::default().raw("k", 9, &value).build()
        }),
        (
            "array of arrays",
            Gguf::default()
                .raw("k", 9, &[9, 0, 0, 0, 1, 0, 0, 0])
                .build(),
        ),
        (
            "dimension",
            Gguf::default()
                .tensor("t", &[u64::MAX, u64::MAX], 0, &[0; 32])
                .build(),
        ),
        (
            "five dimensions",
            Gguf::default().tensor("t", &[1; 5], 0, &[0; 32]).build(),
        ),
        (
            "beyond the end",
            Gguf::default().tensor("t", &[1 << 30], 0, &[0; 32]).build(),
        ),
        (
            "part of a block",
            Gguf::default().tensor("t", &[16], 8, &[0; 64]).build(),
        ),
        (
            "type",
            Gguf::default().tensor("t", &[1], 77, &[0; 64]).build(),
        ),
        (
            "twice",
            Gguf::default()
                .floats("t", &[1], &[0.0])
                .floats("t", &[1], &[0.0])
                .build(),
        ),
        ("key twice", Gguf::default().u32("k", 1).u32("k", 1).build()),
        (
            "alignment",
            Gguf::default().u32("general.alignment", 0).build(),
        ),
        ("version", Gguf::default().version(1).build()),
    ] {
        let error = header(&bytes).expect_err(what).to_string();
        assert!(error.starts_with("test.gguf: "), "{what}: {error}");
    }
}

#[test]
fn skipped_and_kept_values() {
    let bools = [7, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1];
    let file = Gguf::default()
        .raw("a", 9, &bools)
        .i32s("b", &[-1, 7])
        .raw("c", 7, &[1])
        .build();
    let header = header(&file).expect("parses");
    assert_eq!(header.metadata["a"], Value::Skipped);
    assert_eq!(header.integers("b"), Some([-1, 7].as_slice()));
    assert_eq!(header.bool("c"), Some(true));
    assert_eq!(header.text("c"), None);
}

#[test]
fn wrong_models_are_refused_by_name() {
    let error = open(
        &Gguf::default()
            .text("general.architecture", "mamba")
            .build(),
    );
    let text = error.expect_err("unknown").to_string();
    for known in ["mamba", "llama", "qwen2", "gpt2", "bert", "model.gguf"] {
        assert!(text.contains(known), "{text}");
    }
    let folder = tempfile::tempdir().expect("temporary folder");
    let source = random(Arch::Llama, folder.path());
    let error = open(&metadata(&source.config).build()).expect_err("no tensors");
    assert!(matches!(error, Error::MissingTensor { .. }), "{error}");
    let wrong = convert(&source)
        .floats("blk.0.attn_q.bias", &[3], &[0.0; 3])
        .build();
    assert!(matches!(open(&wrong), Err(Error::Shape { .. })));
    let scaled = convert(&source)
        .text("llama.rope.scaling.type", "yarn")
        .build();
    assert!(matches!(open(&scaled), Err(Error::Unsupported { .. })));
    let heads = convert(&source)
        .u32("llama.attention.key_length", 7)
        .build();
    assert!(open(&heads).is_err());
}
